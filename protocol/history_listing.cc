#include "protocol/history_listing.h"

#include <algorithm>
#include <array>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protocol/attempts.h"
#include "protocol/json_line.h"
#include "protocol/queue_listing.h"
#include "protocol/vis.h"

namespace holdfast {
namespace {

// Wider texts push what follows to the right.
constexpr size_t kMaxColumn = 60;

std::string TimeText(absl::Time time) {
  if (time == absl::UnixEpoch()) return "-";
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

std::string TookText(absl::Duration took) {
  return absl::StrFormat("%.3fs", absl::ToDoubleSeconds(took));
}

std::string OrDash(absl::string_view text) {
  return text.empty() ? "-" : VisEncode(text);
}

using Columns = std::array<std::string, 7>;

Columns ColumnsOf(const Attempt& attempt) {
  return {TimeText(attempt.began),
          TookText(attempt.took),
          std::string(AttemptResultWord(attempt.result)),
          OrDash(attempt.source),
          OrDash(attempt.relay),
          OrDash(attempt.tls),
          OrDash(attempt.answer)};
}

Json JsonOf(const Attempt& attempt) {
  Json json;
  json["time"] = JsonTime(attempt.began);
  json["duration"] = absl::ToInt64Milliseconds(attempt.took) / 1000.0;
  json["result"] = std::string(AttemptResultWord(attempt.result));
  json["source"] = attempt.source;
  json["relay"] = attempt.relay;
  json["tls"] = attempt.tls;
  json["answer"] = attempt.answer;
  return json;
}

Json JsonOf(const DestinationFailure& failure) {
  if (failure.error.empty()) return nullptr;
  Json json;
  json["error"] = failure.error;
  json["failures"] = failure.failures;
  json["since"] = JsonTime(failure.since);
  json["until"] = JsonTime(failure.until);
  return json;
}

}  // namespace

std::optional<HistoryRequest> ParseHistoryRequest(
    const std::vector<std::string>& words) {
  if (words.empty() || words[0] != "history") return std::nullopt;
  HistoryRequest request;
  bool named = false;
  for (size_t i = 1; i < words.size(); ++i) {
    if (words[i] == "--json" && !request.json) {
      request.json = true;
      continue;
    }
    const auto envelope = ParseEnvelopeId(words[i]);
    const auto message = ParseMessageId(words[i]);
    if (named || (!envelope && !message)) return std::nullopt;
    named = true;
    request.first =
        envelope.value_or(MakeEnvelopeId(message.value_or(MessageId{}), 0));
    request.last =
        envelope.value_or(MakeEnvelopeId(message.value_or(MessageId{}), ~0u));
  }
  if (!named) return std::nullopt;
  return request;
}

std::string HistoryText(const HistoryListing& listing) {
  const Envelope& e = *listing.envelope;
  std::string text = absl::StrCat(
      ToString(e.id), " ", KindWord(e.kind), " from=<",
      VisEncode(e.sender.ToString()), "> to=<", VisEncode(e.dest.ToString()),
      "> ", listing.state,
      listing.ended == absl::UnixEpoch() ? "" : " " + TimeText(listing.ended),
      "\n");
  std::vector<Columns> rows;
  std::array<size_t, 7> widths{};
  for (const Attempt& attempt : e.attempts) {
    rows.push_back(ColumnsOf(attempt));
    for (size_t i = 0; i < widths.size(); ++i)
      widths[i] =
          std::max(widths[i], std::min(rows.back()[i].size(), kMaxColumn));
  }
  for (const Columns& row : rows) {
    for (size_t i = 0; i + 1 < row.size(); ++i)
      absl::StrAppendFormat(&text, "  %-*s", static_cast<int>(widths[i]),
                            row[i]);
    absl::StrAppend(&text, "  ", row.back(), "\n");
  }
  const DestinationFailure& d = listing.destination;
  if (!d.error.empty())
    absl::StrAppend(&text, "  destination: ", d.failures, " failure",
                    d.failures == 1 ? "" : "s", " since ", TimeText(d.since),
                    ", waits until ", TimeText(d.until), "  ",
                    VisEncode(d.error), "\n");
  return text;
}

std::string HistoryJson(const HistoryListing& listing) {
  const Envelope& e = *listing.envelope;
  Json json;
  json["envelope"] = ToString(e.id);
  json["serial"] = listing.serial == 0 ? Json(nullptr) : Json(listing.serial);
  json["kind"] = std::string(KindWord(e.kind));
  json["sender"] = e.sender.ToString();
  json["recipient"] = e.rcpt.ToString();
  json["destination"] = e.dest.ToString();
  json["created"] = JsonTime(e.created);
  json["state"] = std::string(listing.state);
  json["ended"] = JsonTime(listing.ended);
  json["destination_failure"] = JsonOf(listing.destination);
  json["attempts"] = Json::array();
  for (const Attempt& attempt : e.attempts)
    json["attempts"].push_back(JsonOf(attempt));
  return JsonLine(json);
}

}  // namespace holdfast
