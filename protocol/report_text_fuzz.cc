// Any file of words, for a report of any recipient: nothing in it makes a
// header or a part, and no line is too long.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "absl/strings/str_split.h"
#include "protocol/delivery_report.h"
#include "protocol/report_text.h"

namespace holdfast {
namespace {

size_t Count(const std::string& text, absl::string_view what) {
  size_t count = 0;
  for (size_t at = text.find(what.data(), 0, what.size());
       at != std::string::npos;
       at = text.find(what.data(), at + 1, what.size()))
    ++count;
  return count;
}

void Check(const DeliveryReport& report) {
  const std::string head = ReportHead(report);
  const std::string header = head.substr(0, head.find("\n\n") + 1);
  for (const char* field : {"\nSubject:", "\nFrom:", "\nTo:", "\nContent-Type:",
                            "\nMIME-Version:"}) {
    if (Count("\n" + header, field) != 1) abort();
  }
  if (Count(head, "\n--4242424242/mx.example\n") != 3) abort();
  for (const absl::string_view line : absl::StrSplit(head, '\n')) {
    if (line.size() > 998 || line.find('\r') != line.npos) abort();
  }
}

void Run(absl::string_view words, const std::string& outside) {
  DeliveryReport report;
  report.smtpname = "mx.example";
  report.boundary = 4242424242;
  report.to = {outside, "example.com"};
  report.dsn_envid = outside;
  report.recipients.resize(1);
  report.recipients[0].dest = {outside, "example.net"};
  report.recipients[0].error_line = outside;
  // Nobody can guess the number of a boundary.
  if (words.find("--42424242") != words.npos) return;
  const auto parsed = ReportText::Parse(words);
  if (const auto* const error = std::get_if<ReportTextError>(&parsed)) {
    if (error->line < 1 || error->what.empty()) abort();
    return;
  }
  for (const ReportAction action :
       {ReportAction::kFailed, ReportAction::kDelayed, ReportAction::kDelivered,
        ReportAction::kRelayed}) {
    report.action = action;
    report.words = std::get<ReportText>(parsed).For(action);
    for (const bool utf8 : {false, true}) {
      report.utf8 = utf8;
      Check(report);
    }
  }
}

}  // namespace
}  // namespace holdfast

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  // What is outside is the file's second half, the file's own, and a fixed one.
  holdfast::Run(text, text.substr(size / 2));
  holdfast::Run("[failed]\nSubject: %{sender} %{reason}\n%{recipients}\n",
                text);
  holdfast::Run(text, "a\r\nBcc: b\n\n--4242424242/mx.example\n\xff\xc3\xb6");
  return 0;
}
