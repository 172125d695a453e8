#include "server/queue/delivery_log.h"

#include "absl/strings/str_cat.h"
#include "protocol/vis.h"

namespace holdfast {
namespace {

std::string DelayOf(const Envelope& envelope, absl::Time now) {
  return FormatDelay(
      absl::FromUnixSeconds(absl::ToUnixSeconds(now)) -
      absl::FromUnixSeconds(absl::ToUnixSeconds(envelope.created)));
}

// "-" says that the recipient was not rewritten.
std::string RcptUnlessDest(const Envelope& envelope) {
  if (envelope.rcpt == envelope.dest) return "-";
  return VisEncode(envelope.rcpt.ToString());
}

}  // namespace

std::string FormatDelay(absl::Duration delay) {
  int64_t seconds = absl::ToInt64Seconds(delay);
  if (seconds <= 0) return "0s";
  std::string out;
  if (seconds >= 86400) absl::StrAppend(&out, seconds / 86400, "d");
  seconds %= 86400;
  if (seconds >= 3600) absl::StrAppend(&out, seconds / 3600, "h");
  seconds %= 3600;
  if (seconds >= 60) absl::StrAppend(&out, seconds / 60, "m");
  seconds %= 60;
  if (seconds > 0) absl::StrAppend(&out, seconds, "s");
  return out;
}

std::string DeliveryLogLine(const Envelope& envelope, const DeliveryLine& line,
                            absl::Time now) {
  const bool mta = envelope.kind == DeliveryKind::kMta;
  const std::string head = absl::StrCat(
      ToString(line.session), mta ? " mta" : " mda",
      " delivery evpid=", ToString(envelope.id), " from=<",
      VisEncode(envelope.sender.ForPath()), "> to=<",
      VisEncode(envelope.dest.ToString()), "> rcpt=<",
      mta ? RcptUnlessDest(envelope) : VisEncode(envelope.rcpt.ToString()),
      ">");
  const std::string delay = DelayOf(envelope, now);
  if (!mta) {
    return absl::StrCat(head, " user=", VisEncode(envelope.mda_user),
                        " delay=", delay, " result=", line.result,
                        " stat=", VisEncode(line.stat));
  }
  const std::string relay =
      VisEncode(line.relay.empty() ? absl::string_view(envelope.dest.domain)
                                   : line.relay);
  return absl::StrCat(head, " source=\"",
                      line.source.empty() ? "-" : VisEncode(line.source),
                      "\" relay=\"", relay, "\" delay=", delay, " result=\"",
                      line.result, "\" stat=\"", VisEncode(line.stat), "\"");
}

std::string EndingLogLine(const Envelope& envelope, absl::string_view verb,
                          absl::string_view stat, absl::Time now) {
  return absl::StrCat(
      envelope.kind == DeliveryKind::kMta ? "relay: " : "delivery: ", verb,
      " for ", ToString(envelope.id), ": from=<",
      VisEncode(envelope.sender.ToString()), ">, to=<",
      VisEncode(envelope.dest.ToString()), ">, rcpt=<",
      RcptUnlessDest(envelope), ">, delay=", DelayOf(envelope, now),
      ", stat=", VisEncode(stat));
}

}  // namespace holdfast
