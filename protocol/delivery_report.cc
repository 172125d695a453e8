#include "protocol/delivery_report.h"

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protocol/mail_date.h"

namespace holdfast {
namespace {

// RFC 2046 section 5.1.1: at most 70 characters.
constexpr size_t kMaxBoundary = 70;

constexpr absl::string_view kIntroduction =
    "    Hi!\n"
    "\n"
    "    This is the MAILER-DAEMON, please DO NOT REPLY to this email.\n"
    "\n";

// Printable ASCII as it is, anything else as '?'; longer text is cut and ends
// in "...".
std::string Clean(absl::string_view text, size_t limit) {
  std::string out(text.substr(0, limit));
  for (char& c : out)
    if (!absl::ascii_isprint(static_cast<unsigned char>(c))) c = '?';
  if (text.size() > limit) out.replace(limit - 3, 3, "...");
  return out;
}

std::string Address(const MailAddress& address) {
  return Clean(address.ToString(), kMaxReportedAddress);
}

bool StartsWithReplyCode(absl::string_view line) {
  return line.size() >= 4 && line[0] >= '2' && line[0] <= '5' &&
         absl::ascii_isdigit(line[1]) && absl::ascii_isdigit(line[2]) &&
         (line[3] == ' ' || line[3] == '-');
}

// The reply as people should read it: codes of class 1 and 6 are ours and say
// nothing, and the '-' of a first of several lines is of the protocol only.
std::string ReadableLine(absl::string_view raw) {
  if (raw.size() > 4 && (raw[0] == '1' || raw[0] == '6')) raw.remove_prefix(4);
  std::string line = Clean(raw, kMaxReportedLine);
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
    absl::StrAppend(
        &out, "Original-Recipient: ",
        Clean(recipient.dsn_orcpt.substr(0, semicolon), kMaxReportedAddress),
        "; ",
        Clean(DecodeXtext(recipient.dsn_orcpt.substr(semicolon + 1)),
              kMaxReportedAddress),
        "\n");
  }
  absl::StrAppend(&out, "Final-Recipient: rfc822; ", Address(recipient.dest),
                  "\nAction: ", ActionWord(report.action),
                  "\nStatus: ", StatusText(report.action, recipient.status),
                  "\n");
  const std::string line = ReadableLine(recipient.error_line);
  if (!line.empty())
    absl::StrAppend(&out, "Diagnostic-Code: ",
                    StartsWithReplyCode(line) ? "smtp; " : "x-holdfast; ", line,
                    "\n");
  if (report.action == ReportAction::kDelayed)
    absl::StrAppend(&out, "Will-Retry-Until: ",
                    FormatMailDate(recipient.expires, report.zone), "\n");
  return absl::StrCat(out, "\n");
}

std::string Headers(const DeliveryReport& report, absl::string_view boundary) {
  return absl::StrCat(
      "Subject: Delivery status notification: ", ActionWord(report.action),
      "\nFrom: Mailer Daemon <MAILER-DAEMON@",
      Clean(report.smtpname, kMaxReportedAddress),
      ">\nTo: ", Address(report.to),
      "\nDate: ", FormatMailDate(report.date, report.zone),
      "\nAuto-Submitted: auto-replied"
      "\nMIME-Version: 1.0"
      "\nContent-Type: multipart/report; report-type=delivery-status;\n"
      "\tboundary=\"",
      boundary, "\"\n",
      report.eight_bit ? "Content-Transfer-Encoding: 8bit\n" : "",
      report.message_id.empty()
          ? ""
          : absl::StrCat("Message-ID: <", report.message_id, ">\n"),
      "\n");
}

std::string Notification(const DeliveryReport& report) {
  std::string out = absl::StrCat(
      "Content-Description: Notification\n"
      "Content-Type: text/plain; charset=us-ascii\n\n",
      kIntroduction, FirstParagraph(report));
  for (const ReportedRecipient& r : report.recipients)
    absl::StrAppend(&out, Address(r.dest), ": ", ReadableLine(r.error_line),
                    "\n");
  absl::StrAppend(&out, "\n", SecondParagraph(report),
                  "    Below is a copy of the original message:\n\n");
  return out;
}

std::string MachineReadable(const DeliveryReport& report) {
  std::string out = absl::StrCat(
      "Content-Description: Delivery Report\n"
      "Content-Type: message/delivery-status\n\n");
  if (!report.dsn_envid.empty())
    absl::StrAppend(&out, "Original-Envelope-Id: ",
                    Clean(DecodeXtext(report.dsn_envid), kMaxReportedAddress),
                    "\n");
  absl::StrAppend(
      &out, "Reporting-MTA: dns; ", Clean(report.smtpname, kMaxReportedAddress),
      "\nArrival-Date: ", FormatMailDate(report.arrival, report.zone), "\n\n");
  for (const ReportedRecipient& r : report.recipients)
    out += RecipientFields(report, r);
  return out;
}

}  // namespace

absl::string_view ActionWord(ReportAction action) {
  switch (action) {
    case ReportAction::kFailed:
      return "failed";
    case ReportAction::kDelayed:
      return "delayed";
    case ReportAction::kDelivered:
      return "delivered";
    case ReportAction::kRelayed:
      return "relayed";
  }
  return "failed";
}

std::string ReportHead(const DeliveryReport& report) {
  const std::string boundary = Boundary(report);
  const std::string delimiter = absl::StrCat("--", boundary, "\n");
  return absl::StrCat(
      Headers(report, boundary), "This is a MIME-encapsulated message.\n\n",
      delimiter, Notification(report), delimiter, MachineReadable(report),
      delimiter,
      report.full ? "Content-Description: Original message\n"
                    "Content-Type: message/rfc822\n"
                  : "Content-Description: Message headers\n"
                    "Content-Type: text/rfc822-headers\n",
      report.eight_bit ? "Content-Transfer-Encoding: 8bit\n" : "", "\n");
}

std::string ReportTail(const DeliveryReport& report) {
  return absl::StrCat("\n--", Boundary(report), "--\n");
}

std::string DecodeXtext(absl::string_view xtext) {
  std::string out;
  for (size_t i = 0; i < xtext.size(); ++i) {
    if (xtext[i] == '+' && i + 2 < xtext.size() &&
        absl::ascii_isxdigit(xtext[i + 1]) &&
        absl::ascii_isxdigit(xtext[i + 2])) {
      out += absl::HexStringToBytes(xtext.substr(i + 1, 2));
      i += 2;
    } else {
      out += xtext[i];
    }
  }
  return out;
}

}  // namespace holdfast
