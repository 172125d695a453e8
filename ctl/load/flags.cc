#include "ctl/load/flags.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace holdfast {

void Flags::Switch(const std::string& name, bool* target,
                   const std::string& help) {
  options_[name] = {false,
                    [target](const std::string&) {
                      *target = true;
                      return absl::OkStatus();
                    },
                    help};
}

void Flags::Number(const std::string& name, int64_t* target,
                   const std::string& help) {
  Each(
      name,
      [name, target](const std::string& value) {
        if (!absl::SimpleAtoi(value, target) || *target < 0) {
          return absl::InvalidArgumentError(
              absl::StrCat("--", name, ": not a number: ", value));
        }
        return absl::OkStatus();
      },
      absl::StrCat(help, " (", *target, ")"));
}

void Flags::Text(const std::string& name, std::string* target,
                 const std::string& help) {
  Each(
      name,
      [target](const std::string& value) {
        *target = value;
        return absl::OkStatus();
      },
      target->empty() ? help : absl::StrCat(help, " (", *target, ")"));
}

void Flags::Each(const std::string& name,
                 std::function<absl::Status(const std::string&)> take,
                 const std::string& help) {
  options_[name] = {true, std::move(take), help};
}

absl::StatusOr<std::vector<std::string>> Flags::Parse(int argc,
                                                      char** argv) const {
  std::vector<std::string> rest;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.compare(0, 2, "--") != 0) {
      rest.push_back(word);
      continue;
    }
    const size_t equals = word.find('=');
    const std::string name = word.substr(
        2, equals == std::string::npos ? std::string::npos : equals - 2);
    const auto found = options_.find(name);
    if (found == options_.end()) {
      return absl::InvalidArgumentError(absl::StrCat("no option ", word));
    }
    std::string value;
    if (equals != std::string::npos) {
      if (!found->second.takes_value) {
        return absl::InvalidArgumentError(
            absl::StrCat("--", name, " takes no value"));
      }
      value = word.substr(equals + 1);
    } else if (found->second.takes_value) {
      if (++i == argc) {
        return absl::InvalidArgumentError(
            absl::StrCat("--", name, " needs a value"));
      }
      value = argv[i];
    }
    absl::Status taken = found->second.take(value);
    if (!taken.ok()) return taken;
  }
  return rest;
}

std::string Flags::Help() const {
  std::string text = absl::StrCat("usage: ", usage_, "\n");
  for (const auto& [name, option] : options_) {
    absl::StrAppend(&text,
                    absl::StrFormat("  --%-18s %s\n", name, option.help));
  }
  return text;
}

}  // namespace holdfast
