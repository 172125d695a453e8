// The words of reports, where an administrator wants others than the
// reference's: the file of `bounce-text` (docs/CONFIGURATION.md).
//
//     # comment
//     [failed]
//     Subject: Your mail could not be delivered
//
//     %{smtpname} could not deliver your mail to
//
//     %{recipients}
//
// A section for each kind of report, all of them optional; a subject, if its
// first line is one; then the text.  Only the part for people is made of it,
// and the subject: nothing in it, and nothing of the mail, can add a header or
// a part.  Pure.
#ifndef HOLDFAST_PROTOCOL_REPORT_TEXT_H_
#define HOLDFAST_PROTOCOL_REPORT_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"

namespace holdfast {

enum class ReportAction : uint8_t { kFailed, kDelayed, kDelivered, kRelayed };

// "failed", "delayed", "delivered", "relayed": the subject's and RFC 3464's.
absl::string_view ActionWord(ReportAction action);

enum class ReportVariable : uint8_t {
  kAction,
  kArrival,     // when the original came in
  kDelay,       // delayed: the warning interval
  kEnvid,       // ENVID of the original, or nothing
  kReason,      // of the first recipient
  kRecipients,  // "address: reason", a line for each; stands alone in its line
  kSender,
  kSmtpname,
  kTtl,  // how long mail is kept
};

// Text, or what stands for one.
using ReportPiece = std::variant<std::string, ReportVariable>;

struct ReportWords {
  std::vector<ReportPiece> subject;  // empty: the reference's
  std::vector<ReportPiece> body;     // lines end with LF
};

struct ReportTextError {
  int line;
  std::string what;
};

class ReportText {
 public:
  // Of a file, of a line of it, and variables of one section.
  static constexpr size_t kMaxBytes = 32 << 10;
  static constexpr size_t kMaxLine = 500;
  static constexpr size_t kMaxVariables = 64;

  static std::variant<ReportText, ReportTextError> Parse(
      absl::string_view text);

  // Null: the reference's words.
  const ReportWords* For(ReportAction action) const;

 private:
  std::map<ReportAction, ReportWords> words_;
};

// Longest line of a rendered text, and longest rendered subject, in octets.
inline constexpr size_t kMaxReportTextLine = 900;
inline constexpr size_t kMaxReportSubject = 300;

// `text`, whose lines end with LF, with those that are too long for SMTP cut
// into several.
std::string WrapLongLines(absl::string_view text);

// What a variable stands for; cleaned of what may not stand in a report.
using ReportValues = absl::FunctionRef<std::string(ReportVariable)>;

// `pieces` with the values in their places, wrapped.
std::string RenderReportBody(const std::vector<ReportPiece>& pieces,
                             ReportValues values);
// The value of a Subject field, ASCII, folded: encoded (RFC 2047) if it is not
// ASCII or would be read as if it were encoded.
std::string RenderReportSubject(const std::vector<ReportPiece>& pieces,
                                ReportValues values);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_REPORT_TEXT_H_
