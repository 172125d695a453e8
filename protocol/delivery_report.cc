#include "protocol/delivery_report.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protocol/idna.h"
#include "protocol/mail_date.h"
#include "protocol/xtext.h"

namespace holdfast {
namespace {

// RFC 2046 section 5.1.1: at most 70 characters.
constexpr size_t kMaxBoundary = 70;

constexpr char kEightBit[] = "Content-Transfer-Encoding: 8bit\n";

constexpr absl::string_view kIntroduction =
    "    Hi!\n"
    "\n"
    "    This is the MAILER-DAEMON, please DO NOT REPLY to this email.\n"
    "\n";

// Printable ASCII (or, with `utf8`, printable UTF-8) as it is, anything else
// as '?'; longer text is cut and ends in "...".
std::string Clean(absl::string_view text, size_t limit, bool utf8 = false) {
  // Not within a character.
  size_t end = text.size();
  if (end > limit) {
    end = limit - 3;
    while (end > 0 && (text[end] & 0xc0) == 0x80) --end;
  }
  std::string out(text.substr(0, end));
  if (!utf8 || !IsValidUtf8(out)) {
    for (char& c : out)
      if (!absl::ascii_isprint(static_cast<unsigned char>(c))) c = '?';
  }
  if (text.size() > limit) out += "...";
  return out;
}

std::string Address(const DeliveryReport& report, const MailAddress& address) {
  return Clean(address.ToString(), kMaxReportedAddress, report.utf8);
}

// What `xtext` stands for; if it is malformed, itself.
std::string Decoded(const std::string& xtext) {
  return DecodeXtext(xtext).value_or(xtext);
}

void AppendUtf8(uint32_t c, std::string* out) {
  if (c < 0x80) {
    out->push_back(static_cast<char>(c));
    return;
  }
  const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  constexpr uint32_t kLead[] = {0, 0xc0, 0xe0, 0xf0};
  out->push_back(static_cast<char>(kLead[more] | c >> 6 * more));
  for (int i = more - 1; i >= 0; --i)
    out->push_back(static_cast<char>(0x80 | (c >> 6 * i & 0x3f)));
}

// "\x{E9}" in an ORCPT stands for a character (RFC 6533 section 3).
std::string DecodeUtf8Address(absl::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t end = text.find('}');
    uint32_t character = 0;
    if (!absl::StartsWith(text, "\\x{") || end == absl::string_view::npos ||
        !absl::SimpleHexAtoi(text.substr(3, end - 3), &character) ||
        character > 0x10ffff) {
      out += text.front();
      text.remove_prefix(1);
      continue;
    }
    AppendUtf8(character, &out);
    text.remove_prefix(end + 1);
  }
  return out;
}

bool StartsWithReplyCode(absl::string_view line) {
  return line.size() >= 4 && line[0] >= '2' && line[0] <= '5' &&
         absl::ascii_isdigit(line[1]) && absl::ascii_isdigit(line[2]) &&
         (line[3] == ' ' || line[3] == '-');
}

// The reply as people should read it: codes of class 1 and 6 are ours and say
// nothing, and the '-' of a first of several lines is of the protocol only.
std::string ReadableLine(const DeliveryReport& report, absl::string_view raw) {
  if (raw.size() > 4 && (raw[0] == '1' || raw[0] == '6')) raw.remove_prefix(4);
  std::string line = Clean(raw, kMaxReportedLine, report.utf8);
  if (StartsWithReplyCode(line)) line[3] = ' ';
  return line;
}

std::string Boundary(const DeliveryReport& report) {
  std::string name = report.smtpname;
  for (char& c : name)
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '.' &&
        c != '-')
      c = '_';
  return absl::StrFormat("%d/%s", report.boundary, name)
      .substr(0, kMaxBoundary);
}

std::string FirstParagraph(const DeliveryReport& report) {
  switch (report.action) {
    case ReportAction::kFailed:
      return "    An error has occurred while attempting to deliver a message "
             "for\n"
             "    the following list of recipients:\n\n";
    case ReportAction::kDelayed:
      return absl::StrCat("    A message is delayed for more than ",
                          FormatLongDuration(report.delay),
                          " for the following\n    list of recipients:\n\n");
    case ReportAction::kDelivered:
      return "    Your message was successfully delivered to these "
             "recipients.\n\n";
    case ReportAction::kRelayed:
      return "    Your message was relayed to these recipients.\n\n";
  }
  return "";
}

std::string SecondParagraph(const DeliveryReport& report) {
  if (report.action != ReportAction::kDelayed) return "";
  return absl::StrCat(
      "    Please note that this is only a temporary failure report.\n"
      "    The message is kept in the queue for up to ",
      FormatLongDuration(report.ttl),
      ".\n"
      "    You DO NOT NEED to re-send the message to these recipients.\n\n");
}

// RFC 3464 section 2.3.4: the class says the same as the action.
std::string StatusText(ReportAction action, EnhancedStatus status) {
  const char klass = action == ReportAction::kFailed    ? '5'
                     : action == ReportAction::kDelayed ? '4'
                                                        : '2';
  if (status.klass == 0) status.code = 0;
  return absl::StrFormat("%c.%d.%d", klass, status.subject(), status.detail());
}

std::string RecipientFields(const DeliveryReport& report,
                            const ReportedRecipient& recipient) {
  std::string out;
  const size_t semicolon = recipient.dsn_orcpt.find(';');
  if (semicolon != std::string::npos) {
    const std::string type = recipient.dsn_orcpt.substr(0, semicolon);
    const std::string value = recipient.dsn_orcpt.substr(semicolon + 1);
    const bool utf8 = absl::EqualsIgnoreCase(type, "utf-8");
    // In an ASCII report the characters stay encoded.
    const std::string decoded = !utf8         ? Decoded(value)
                                : report.utf8 ? DecodeUtf8Address(value)
                                              : value;
    absl::StrAppend(
        &out, "Original-Recipient: ", Clean(type, kMaxReportedAddress), "; ",
        Clean(decoded, kMaxReportedAddress, report.utf8), "\n");
  }
  const std::string dest = Address(report, recipient.dest);
  absl::StrAppend(
      &out, "Final-Recipient: ", IsAscii(dest) ? "rfc822; " : "utf-8; ", dest,
      "\nAction: ", ActionWord(report.action),
      "\nStatus: ", StatusText(report.action, recipient.status), "\n");
  const std::string line = ReadableLine(report, recipient.error_line);
  const bool reply = StartsWithReplyCode(line);
  // RFC 3464 section 2.3.5: only if it was that host who said so.
  if (reply && !recipient.remote_mta.empty())
    absl::StrAppend(&out, "Remote-MTA: dns; ",
                    Clean(recipient.remote_mta, kMaxReportedAddress), "\n");
  if (!line.empty())
    absl::StrAppend(&out,
                    "Diagnostic-Code: ", reply ? "smtp; " : "x-holdfast; ",
                    line, "\n");
  if (recipient.last_attempt != absl::InfinitePast())
    absl::StrAppend(&out, "Last-Attempt-Date: ",
                    FormatMailDate(recipient.last_attempt, report.zone), "\n");
  if (report.action == ReportAction::kDelayed)
    absl::StrAppend(&out, "Will-Retry-Until: ",
                    FormatMailDate(recipient.expires, report.zone), "\n");
  return absl::StrCat(out, "\n");
}

// Whom it goes to.  A domain in UTF-8, if that is all, becomes A-labels: then
// the report needs no SMTPUTF8.
std::string To(const DeliveryReport& report) {
  const std::string path = report.to.ToString();
  return Clean(PathToAscii(path).value_or(path), kMaxReportedAddress,
               report.utf8);
}

std::string RecipientLines(const DeliveryReport& report) {
  std::string out;
  for (const ReportedRecipient& r : report.recipients)
    absl::StrAppend(&out, Address(report, r.dest), ": ",
                    ReadableLine(report, r.error_line), "\n");
  return out;
}

std::string OriginalEnvelopeId(const DeliveryReport& report) {
  return Clean(Decoded(report.dsn_envid), kMaxReportedAddress);
}

std::string ValueOf(const DeliveryReport& report, ReportVariable variable) {
  switch (variable) {
    case ReportVariable::kAction:
      return std::string(ActionWord(report.action));
    case ReportVariable::kArrival:
      return FormatMailDate(report.arrival, report.zone);
    case ReportVariable::kDelay:
      return FormatLongDuration(report.delay);
    case ReportVariable::kEnvid:
      return OriginalEnvelopeId(report);
    case ReportVariable::kReason:
      return report.recipients.empty()
                 ? ""
                 : ReadableLine(report, report.recipients[0].error_line);
    case ReportVariable::kRecipients: {
      // The line it stands in has its own end.
      std::string lines = RecipientLines(report);
      if (!lines.empty()) lines.pop_back();
      return lines;
    }
    case ReportVariable::kSender:
      return To(report);
    case ReportVariable::kSmtpname:
      return Clean(report.smtpname, kMaxReportedAddress);
    case ReportVariable::kTtl:
      return FormatLongDuration(report.ttl);
  }
  return "";
}

std::string Subject(const DeliveryReport& report) {
  if (report.words == nullptr || report.words->subject.empty())
    return absl::StrCat("Delivery status notification: ",
                        ActionWord(report.action));
  return RenderReportSubject(
      report.words->subject,
      [&report](ReportVariable v) { return ValueOf(report, v); });
}

// The text for people.
std::string Words(const DeliveryReport& report) {
  if (report.words != nullptr)
    return RenderReportBody(report.words->body, [&report](ReportVariable v) {
      return ValueOf(report, v);
    });
  return WrapLongLines(
      absl::StrCat(kIntroduction, FirstParagraph(report),
                   RecipientLines(report), "\n", SecondParagraph(report),
                   "    Below is a copy of the original message:\n"));
}

std::string Headers(const DeliveryReport& report, absl::string_view boundary,
                    bool eight_bit) {
  return absl::StrCat(
      "Subject: ", Subject(report), "\nFrom: Mailer Daemon <MAILER-DAEMON@",
      Clean(report.smtpname, kMaxReportedAddress), ">\nTo: ", To(report),
      "\nDate: ", FormatMailDate(report.date, report.zone),
      "\nAuto-Submitted: auto-replied"
      "\nMIME-Version: 1.0"
      "\nContent-Type: multipart/report; report-type=",
      report.utf8 ? "global-delivery-status" : "delivery-status",
      ";\n\tboundary=\"", boundary, "\"\n", eight_bit ? kEightBit : "",
      report.message_id.empty()
          ? ""
          : absl::StrCat("Message-ID: <", report.message_id, ">\n"),
      "\n");
}

std::string Notification(const DeliveryReport& report,
                         absl::string_view words) {
  return absl::StrCat(
      "Content-Description: Notification\n"
      "Content-Type: text/plain; charset=",
      report.utf8 || !IsAscii(words) ? absl::StrCat("utf-8\n", kEightBit)
                                     : "us-ascii\n",
      "\n", words, "\n");
}

std::string MachineReadable(const DeliveryReport& report) {
  std::string out = absl::StrCat(
      "Content-Description: Delivery Report\n"
      "Content-Type: message/",
      report.utf8 ? absl::StrCat("global-delivery-status\n", kEightBit)
                  : "delivery-status\n",
      "\n");
  if (!report.dsn_envid.empty())
    absl::StrAppend(&out, "Original-Envelope-Id: ", OriginalEnvelopeId(report),
                    "\n");
  absl::StrAppend(
      &out, "Reporting-MTA: dns; ", Clean(report.smtpname, kMaxReportedAddress),
      "\nArrival-Date: ", FormatMailDate(report.arrival, report.zone), "\n");
  if (report.deliver_by != absl::UnixEpoch())
    absl::StrAppend(&out, "Deliver-By-Date: ",
                    FormatMailDate(report.deliver_by, report.zone), "\n");
  out += "\n";
  for (const ReportedRecipient& r : report.recipients)
    out += RecipientFields(report, r);
  return out;
}

absl::string_view QuotedType(const DeliveryReport& report) {
  if (report.full) return report.utf8 ? "message/global" : "message/rfc822";
  return report.utf8 ? "message/global-headers" : "text/rfc822-headers";
}

}  // namespace

std::string ReportHead(const DeliveryReport& report) {
  const std::string boundary = Boundary(report);
  const std::string delimiter = absl::StrCat("--", boundary, "\n");
  const std::string words = Words(report);
  const bool quoted_eight_bit = report.eight_bit || report.utf8;
  return absl::StrCat(
      Headers(report, boundary, quoted_eight_bit || !IsAscii(words)),
      "This is a MIME-encapsulated message.\n\n", delimiter,
      Notification(report, words), delimiter, MachineReadable(report),
      delimiter,
      report.full ? "Content-Description: Original message\n"
                  : "Content-Description: Message headers\n",
      "Content-Type: ", QuotedType(report), "\n",
      quoted_eight_bit ? kEightBit : "", "\n");
}

std::string ReportTail(const DeliveryReport& report) {
  return absl::StrCat("\n--", Boundary(report), "--\n");
}

}  // namespace holdfast
