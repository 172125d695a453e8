// Command lines of the load tools: `--name VALUE`, `--name=VALUE`, `--switch`,
// and the rest as positional arguments.
#ifndef HOLDFAST_CTL_LOAD_FLAGS_H_
#define HOLDFAST_CTL_LOAD_FLAGS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace holdfast {

class Flags {
 public:
  // `usage` is the first line of Help(), e.g. "smtp-load [options] HOST:PORT".
  explicit Flags(std::string usage) : usage_(std::move(usage)) {}

  // Each registers an option; the target keeps its value as the default.
  void Switch(const std::string& name, bool* target, const std::string& help);
  void Number(const std::string& name, int64_t* target,
              const std::string& help);
  void Text(const std::string& name, std::string* target,
            const std::string& help);
  // May be given several times.
  void Each(const std::string& name,
            std::function<absl::Status(const std::string&)> take,
            const std::string& help);

  // The positional arguments, or what is wrong.
  absl::StatusOr<std::vector<std::string>> Parse(int argc, char** argv) const;
  std::string Help() const;

 private:
  struct Option {
    bool takes_value;
    std::function<absl::Status(const std::string&)> take;
    std::string help;
  };
  std::string usage_;
  std::map<std::string, Option> options_;
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_LOAD_FLAGS_H_
