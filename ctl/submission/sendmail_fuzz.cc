#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "absl/strings/str_split.h"
#include "ctl/submission/message_body.h"
#include "ctl/submission/message_headers.h"
#include "ctl/submission/sendmail_options.h"

// Any bytes as a message, and as a command line.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast;
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  (void)ParseSendmailOptions(absl::StrSplit(input, '|'));

  LineEnds ends;
  std::string text;
  ends.Write(input, &text);
  ends.Finish(&text);
  MessageHeaders headers;
  for (const absl::string_view line : absl::StrSplit(text, '\n'))
    if (headers.Line(line) != MessageHeaders::Taken::kHeader) break;
  (void)headers.Recipients();
  HeaderAdditions additions;
  additions.sender = headers.Sender();
  additions.full_name = std::string(input);
  additions.zone = absl::UTCTimeZone();
  additions.quoted_printable = true;
  const std::string complete = CompleteHeaders(headers, additions);
  // No empty line stands among headers.
  if (complete.find("\n\n") != complete.size() - 2) std::abort();

  std::string quoted, stuffed;
  QuotedPrintable encoder;
  encoder.Write(text, &quoted);
  encoder.Finish(&quoted);
  for (const absl::string_view line : absl::StrSplit(quoted, '\n'))
    if (line.size() > 76) std::abort();
  DotStuffing().Write(text, &stuffed);
  if (stuffed.find("\r\n.\r\n") != std::string::npos) std::abort();
  return 0;
}
