// What comes from mail on its way into a mailbox: addresses that become paths,
// headers that are searched, text that becomes a piece of an mbox.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "config/format_specifiers.h"
#include "protocol/header_watch.h"
#include "server/deliver/delivery_text.h"
#include "storage/mailbox/mbox_format.h"

namespace holdfast {
namespace {

void Check(bool holds) {
  if (!holds) abort();
}

void FuzzPath(const std::string& text) {
  FormatValues values;
  values.rcpt = SplitAddress(text);
  values.sender = {text, ""};
  values.dest = {"", text};
  values.username = "bob";
  values.directory = "/home/bob";
  for (const char* format :
       {"/mail/%{rcpt:raw}/x", "~/%{sender.user:raw}%{dest.domain:raw}",
        "/m/.%{rcpt.user:raw|strip}/%{rcpt.domain[0:2]}"}) {
    absl::StatusOr<std::string> path = ExpandPath(format, values);
    if (!path.ok()) continue;
    Check(path->find('\0') == std::string::npos && path->size() < 1024);
    for (absl::string_view part : absl::StrSplit(*path, '/'))
      Check(part != "..");
  }
  // As the format: whatever it says, it ends.
  (void)ExpandPath(text, values);
}

void FuzzHeader(const std::string& text) {
  std::vector<std::string> whole, bytes;
  HeaderWatch a([&](absl::string_view line) { whole.emplace_back(line); });
  HeaderWatch b([&](absl::string_view line) { bytes.emplace_back(line); });
  a.Feed(text);
  for (const char c : text) b.Feed(absl::string_view(&c, 1));
  Check(whole == bytes && a.done() == b.done());
  const std::string trace = TraceHeader({text, text}, {text, text});
  Check(absl::StrContains(trace, "Delivered-To: "));
  Check(std::count(trace.begin(), trace.end(), '\n') == 2 || text.empty());
}

void FuzzMbox(const std::string& text) {
  MboxEncoder encoder(text, "now");
  std::string out;
  for (size_t i = 0; i < text.size(); i += 3)
    encoder.Write(absl::string_view(text).substr(i, 3), &out);
  encoder.Finish(&out);
  Check(absl::StartsWith(out, "From ") && absl::EndsWith(out, "\n\n"));
  // Nobody finds a second letter in it.
  Check(!absl::StrContains(out, "\n\nFrom "));
}

}  // namespace
}  // namespace holdfast

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  holdfast::FuzzPath(text);
  holdfast::FuzzHeader(text);
  holdfast::FuzzMbox(text);
  return 0;
}
