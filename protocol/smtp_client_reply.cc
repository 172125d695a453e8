#include "protocol/smtp_client_reply.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace holdfast {
namespace {

using absl::ascii_isdigit;

// Takes "d.d.d" off the front of `text` where it stands alone.
void StripEnhancedCode(absl::string_view* text) {
  const absl::string_view t = *text;
  if (t.size() >= 5 && ascii_isdigit(t[0]) && t[1] == '.' &&
      ascii_isdigit(t[2]) && t[3] == '.' && ascii_isdigit(t[4]) &&
      (t.size() == 5 || absl::ascii_isspace(t[5])))
    text->remove_prefix(5);
}

void Fold(absl::string_view line, SmtpReply* reply) {
  if (reply->lines.empty()) {
    reply->text = std::string(line);
  } else {
    absl::string_view rest = line.substr(std::min<size_t>(line.size(), 4));
    StripEnhancedCode(&rest);
    rest = absl::StripLeadingAsciiWhitespace(rest);
    if (!rest.empty()) absl::StrAppend(&reply->text, " ", rest);
  }
  if (reply->text.size() > kMaxReplyTextBytes)
    reply->text.resize(kMaxReplyTextBytes);
}

// Reads digits off the front: at most three.  -1: none.
int TakeNumber(absl::string_view* text) {
  int n = -1;
  for (int i = 0; i < 3 && !text->empty() && ascii_isdigit(text->front());
       ++i) {
    n = std::max(n, 0) * 10 + (text->front() - '0');
    text->remove_prefix(1);
  }
  return n;
}

absl::Status Bad(absl::string_view line) {
  return absl::InvalidArgumentError(
      absl::StrCat("Bad response: ", line.substr(0, 512)));
}

}  // namespace

EnhancedStatus SmtpReply::Enhanced() const {
  const EnhancedStatus status = EnhancedStatus::Make(klass(), 0, 0);
  if (lines.empty()) return status;
  absl::string_view text = lines.front();
  if (TakeNumber(&text) != klass() || !absl::ConsumePrefix(&text, "."))
    return status;
  const int subject = TakeNumber(&text);
  if (subject < 0 || subject > 9 || !absl::ConsumePrefix(&text, "."))
    return status;
  const int detail = TakeNumber(&text);
  if (detail < 0 || (!text.empty() && !absl::ascii_isspace(text.front())))
    return status;
  return EnhancedStatus::Make(klass(), subject, detail);
}

absl::StatusOr<bool> SmtpReplyParser::Parse(absl::string_view* bytes,
                                            SmtpReply* reply) {
  while (!bytes->empty()) {
    const size_t lf = bytes->find('\n');
    const bool whole = lf != absl::string_view::npos;
    const absl::string_view part = bytes->substr(0, lf);
    if (line_.size() + part.size() > kMaxReplyLineBytes)
      return absl::ResourceExhaustedError("Input too long");
    bytes->remove_prefix(part.size() + (whole ? 1 : 0));
    if (!whole) {
      line_.append(part.data(), part.size());
      return false;
    }
    std::string kept;
    absl::string_view line = part;
    if (!line_.empty()) {
      kept = std::exchange(line_, {});
      kept.append(part.data(), part.size());
      line = kept;
    }
    absl::ConsumeSuffix(&line, "\r");
    if (on_line_) on_line_(line);
    absl::StatusOr<bool> last = TakeLine(line);
    if (!last.ok()) return last.status();
    if (!*last) continue;
    *reply = std::exchange(reply_, {});
    return true;
  }
  return false;
}

// True: it was the last line of the reply.
absl::StatusOr<bool> SmtpReplyParser::TakeLine(absl::string_view line) {
  if (line.size() < 3 || line[0] < '2' || line[0] > '5' ||
      !ascii_isdigit(line[1]) || !ascii_isdigit(line[2]) ||
      line.find('\0') != absl::string_view::npos)
    return Bad(line);
  // "250" alone is a last line without text.
  const char separator = line.size() > 3 ? line[3] : ' ';
  if (separator != ' ' && separator != '-') return Bad(line);
  const int code =
      (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
  if (!reply_.lines.empty() && code != reply_.code) return Bad(line);
  if (reply_.lines.size() == kMaxReplyLines)
    return absl::ResourceExhaustedError("Input too long");
  reply_.code = code;
  Fold(line, &reply_);
  reply_.lines.emplace_back(line.substr(std::min<size_t>(line.size(), 4)));
  return separator == ' ';
}

}  // namespace holdfast
