// The message that tells a sender what became of his mail: failed (a bounce),
// delayed, delivered or relayed.  Text and order of parts are the reference's
// (part 2, section 4.2); the form is multipart/report (RFC 6522) with
// message/delivery-status (RFC 3464), and the original is quoted as
// message/rfc822 or text/rfc822-headers.
//
// Pure.  A report is  ReportHead() + what is quoted + ReportTail(),  so that
// whoever makes it can stream the original through.  Lines end with LF.
//
// A report about an internationalized message is one itself (RFC 6533):
// message/global-delivery-status with addresses in UTF-8, and the original as
// message/global or message/global-headers.
//
// All that comes from outside (addresses, replies, ENVID, ORCPT) is cut and
// cleaned of everything that is not printable ASCII, or UTF-8 in such a report:
// no reply can add a header.
#ifndef HOLDFAST_PROTOCOL_DELIVERY_REPORT_H_
#define HOLDFAST_PROTOCOL_DELIVERY_REPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "protocol/envelope.h"
#include "protocol/mail_address.h"
#include "protocol/report_text.h"

namespace holdfast {

// One recipient the report is about.
struct ReportedRecipient {
  MailAddress dest;        // Final-Recipient
  std::string dsn_orcpt;   // "rfc822;xtext" as given in ORCPT, or empty
  EnhancedStatus status;   // its class is made to agree with the action
  std::string error_line;  // raw: "550-5.1.1 No such user"
  absl::Time expires;      // delayed: Will-Retry-Until
  // Of the last attempt; InfinitePast: there was none.
  absl::Time last_attempt = absl::InfinitePast();
  // The next hop that gave `error_line`: its name, or its address in brackets.
  // Empty: nobody did.
  std::string remote_mta{};
};

struct DeliveryReport {
  ReportAction action = ReportAction::kFailed;
  std::string smtpname;  // of the listener the mail came in by: Reporting-MTA
  MailAddress to;        // the original sender
  absl::Time date;
  absl::TimeZone zone = absl::UTCTimeZone();
  uint64_t boundary = 0;   // a random number
  absl::Duration delay;    // delayed: the warning interval
  absl::Duration ttl;      // delayed: how long the mail is kept
  std::string dsn_envid;   // xtext, or empty
  absl::Time arrival;      // of the original
  std::string message_id;  // without brackets; empty: no such header
  bool full = false;       // the whole original follows, not its headers only
  bool eight_bit = false;  // the original holds octets above 127
  bool utf8 = false;       // the original, or an address, is internationalized
  // When the original was to be delivered (RFC 2852 section 5); the epoch: no
  // such wish.
  absl::Time deliver_by = absl::UnixEpoch();
  std::vector<ReportedRecipient> recipients;
  // The administrator's words, which outlive it; null: the reference's.
  const ReportWords* words = nullptr;
};

// Longest reply text that is quoted, and longest address.
inline constexpr size_t kMaxReportedLine = 512;
inline constexpr size_t kMaxReportedAddress = 600;

// All up to the empty line behind which the quoted text begins.
std::string ReportHead(const DeliveryReport& report);
// All behind the quoted text.
std::string ReportTail(const DeliveryReport& report);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_DELIVERY_REPORT_H_
