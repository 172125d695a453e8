#include "ctl/tables/table_settings.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "protocol/vis.h"
#include "storage/owned_fd.h"

namespace holdfast {
namespace {

// Behind the word and the one character after it: blanks, and a colon that
// stands before a blank.
absl::string_view SkipToValue(absl::string_view rest) {
  while (!rest.empty()) {
    const bool colon =
        rest[0] == ':' && rest.size() > 1 && absl::ascii_isspace(rest[1]);
    if (!colon && !absl::ascii_isspace(rest[0])) break;
    rest.remove_prefix(1);
  }
  return rest == ":" ? absl::string_view() : rest;
}

absl::Status ReadWhole(int fd, std::string* text) {
  char buffer[4096];
  for (;;) {
    const ssize_t got = read(fd, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return absl::InvalidArgumentError(strerror(errno));
    if (got == 0) return absl::OkStatus();
    text->append(buffer, static_cast<size_t>(got));
    if (text->size() > kMaxTableSettings)
      return absl::InvalidArgumentError("too large");
  }
}

// "SCHEME://USER:PASSWORD@HOST"; a colon behind the '@' stands before a port.
bool IsAddressWithPassword(absl::string_view text) {
  const size_t start = text.find("://");
  if (start == absl::string_view::npos) return false;
  text.remove_prefix(start + 3);
  text = text.substr(0, text.find_first_of("/?"));
  const size_t at = text.find('@');
  return at != absl::string_view::npos && text.find(':') < at;
}

bool HoldsSecret(const TableSettings::Word& word) {
  return word.name == "password" ||
         (word.name == "conninfo" &&
          (absl::StrContains(word.value, "password") ||
           IsAddressWithPassword(word.value)));
}

}  // namespace

absl::Status TableSettings::Fault(Faults faults, size_t line,
                                  absl::string_view name,
                                  absl::string_view what) {
  const std::string text =
      absl::StrCat(file_, ":", line, ": ", VisEncode(name), ": ", what);
  if (faults == Faults::kErrors) return absl::InvalidArgumentError(text);
  warnings_.push_back(text);
  return absl::OkStatus();
}

absl::StatusOr<TableSettings> TableSettings::Parse(absl::string_view file,
                                                   absl::string_view text,
                                                   Faults faults) {
  TableSettings settings;
  settings.file_ = VisEncode(file);
  size_t number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line[0] == '#') continue;
    const size_t end = std::min(line.find_first_of(" \t:"), line.size());
    const absl::string_view name = line.substr(0, end);
    const absl::string_view value =
        SkipToValue(line.substr(std::min(end + 1, line.size())));
    absl::Status fault;
    const bool twice =
        std::any_of(settings.words_.begin(), settings.words_.end(),
                    [&](const Word& word) { return word.name == name; });
    if (value.find('\0') != absl::string_view::npos)
      fault = settings.Fault(Faults::kErrors, number, name, "has a NUL");
    else if (value.empty())
      fault = settings.Fault(faults, number, name, "has no value");
    else if (twice)
      fault = settings.Fault(faults, number, name, "is there twice");
    else
      settings.words_.push_back(
          {std::string(name), std::string(value), number});
    if (!fault.ok()) return fault;
  }
  return settings;
}

absl::StatusOr<TableSettings> TableSettings::Read(const std::string& path,
                                                  Faults faults) {
  OwnedFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  std::string text;
  absl::Status read = fd.get() < 0 ? absl::InvalidArgumentError(strerror(errno))
                                   : ReadWhole(fd.get(), &text);
  if (!read.ok())
    return absl::InvalidArgumentError(
        absl::StrCat(VisEncode(path), ": ", read.message()));
  absl::StatusOr<TableSettings> settings = Parse(path, text, faults);
  if (!settings.ok()) return settings;
  struct stat about;
  if (fstat(fd.get(), &about) == 0 && (about.st_mode & S_IROTH) != 0 &&
      std::any_of(settings->words_.begin(), settings->words_.end(),
                  HoldsSecret))
    settings->warnings_.push_back(absl::StrCat(
        settings->file_, ": holds a password, and everybody may read it"));
  return settings;
}

std::optional<TableSettings::Word> TableSettings::Take(absl::string_view name) {
  for (auto word = words_.begin(); word != words_.end(); ++word) {
    if (word->name != name) continue;
    Word taken = std::move(*word);
    words_.erase(word);
    return taken;
  }
  return std::nullopt;
}

std::string TableSettings::TakeText(absl::string_view name,
                                    absl::string_view otherwise) {
  std::optional<Word> word = Take(name);
  return word ? std::move(word->value) : std::string(otherwise);
}

absl::StatusOr<int64_t> TableSettings::TakeNumber(absl::string_view name,
                                                  int64_t otherwise,
                                                  int64_t least, int64_t most) {
  const std::optional<Word> word = Take(name);
  if (!word) return otherwise;
  int64_t number = 0;
  if (!absl::SimpleAtoi(word->value, &number) || number < least ||
      number > most)
    return Wrong(*word,
                 absl::StrCat("must be a number from ", least, " to ", most));
  return number;
}

absl::StatusOr<bool> TableSettings::TakeSwitch(absl::string_view name,
                                               bool otherwise) {
  const std::optional<Word> word = Take(name);
  if (!word) return otherwise;
  if (word->value == "yes") return true;
  if (word->value == "no") return false;
  return Wrong(*word, "must be yes or no");
}

absl::Status TableSettings::Wrong(const Word& word,
                                  absl::string_view what) const {
  return absl::InvalidArgumentError(
      absl::StrCat(file_, ":", word.line, ": ", word.name, ": ", what));
}

absl::Status TableSettings::Lacks(absl::string_view what) const {
  return absl::InvalidArgumentError(absl::StrCat(file_, ": ", what));
}

std::vector<std::string> TableSettings::Warnings() const {
  std::vector<std::string> lines = warnings_;
  for (const Word& word : words_)
    lines.push_back(absl::StrCat(file_, ":", word.line, ": ",
                                 VisEncode(word.name), ": unknown word"));
  return lines;
}

}  // namespace holdfast
