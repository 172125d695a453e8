// Any text: the parser ends, and gives a configuration or says why not, at a
// place that is in a file; a configuration is the same when it is printed and
// read again.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "config/parser.h"
#include "config/print.h"
#include "config/ruleset.h"

namespace {

using holdfast::ParseResult;

constexpr char kName[] = "c.conf";
constexpr size_t kMaxFiles = 8;
// A file that includes itself many times shows nothing new, slowly.
constexpr int kMaxReads = 16;

[[noreturn]] void Fail(const char* why, const std::string& text) {
  fprintf(stderr, "%s:\n%s\n", why, text.c_str());
  std::abort();
}

// The file itself, and for every other name half of it, a few times.
class Files {
 public:
  Files(std::string text, std::string half) : half_(std::move(half)) {
    files_[kName] = std::move(text);
  }

  absl::StatusOr<std::string> Read(const std::string& path) {
    const bool full = files_.count(path) == 0 && files_.size() > kMaxFiles;
    if (full || ++reads_ > kMaxReads) {
      return absl::NotFoundError("no");
    }
    return files_.try_emplace(path, half_).first->second;
  }

  // "FILE:LINE: ..." of a file that was read names a line that it has.
  void CheckPosition(absl::string_view message) const {
    // A name may begin like another, and hold anything.
    absl::string_view file;
    for (const auto& [name, text] : files_) {
      if (name.size() >= file.size() && absl::StartsWith(message, name)) {
        file = name;
      }
    }
    absl::string_view rest = message.substr(file.size());
    int line = 0;
    if (file.empty() || !absl::ConsumePrefix(&rest, ":") ||
        !absl::SimpleAtoi(rest.substr(0, rest.find(": ")), &line)) {
      return;
    }
    const std::string& text = files_.at(std::string(file));
    const auto lines = std::count(text.begin(), text.end(), '\n') + 1;
    if (line < 1 || line > lines) {
      Fail("position outside of the file", std::string(message));
    }
  }

  ParseResult Parse() {
    holdfast::ParseOptions options;
    options.path = kName;
    options.server_name = "mx.example.org";
    options.local_addresses = {"127.0.0.1", "::1"};
    return holdfast::ParseConfig(
        options, [this](const std::string& path) { return Read(path); });
  }

 private:
  std::map<std::string, std::string> files_;
  std::string half_;
  int reads_ = 0;
};

void CheckPrinting(const holdfast::Config& config, const std::string& half) {
  const std::string printed = holdfast::ConfigToText(config);
  const ParseResult again = Files(printed, half).Parse();
  if (again.config == nullptr) {
    Fail("what is printed is not right",
         printed + (again.messages.empty() ? "" : again.messages.front()));
  }
  const std::string twice = holdfast::ConfigToText(*again.config);
  if (twice != printed) Fail("printed twice, it differs", printed + twice);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const std::string half = text.substr(size / 2);
  Files files(text, half);
  const ParseResult result = files.Parse();
  for (const std::string& message : result.messages) {
    files.CheckPosition(message);
  }
  for (const std::string& warning : result.warnings) {
    files.CheckPosition(warning);
  }
  if (result.config == nullptr) {
    if (result.messages.empty()) std::abort();
    return 0;
  }
  CheckPrinting(*result.config, half);
  holdfast::MailSubject subject;
  subject.sockaddr = "192.0.2.1";
  subject.rdns = subject.helo = "a.test";
  subject.dest = {"joe", "example.org"};
  for (const bool internal : {false, true}) {
    subject.internal = internal;
    (void)holdfast::FirstMatch(*result.config, subject);
  }
  return 0;
}
