#include "protocol/queue_rows.h"

#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "protocol/json_line.h"
#include "protocol/vis.h"

namespace holdfast {
namespace {

using F = EnvelopeField;
using Format = QueueListRequest::Format;

// For people: texts of more octets push what follows to the right.
constexpr absl::string_view kRowForm = "%-16s  %-9s %6s %7s %5s %6s  %-28s  ";

// RFC 4180: quotes where they are needed, CRLF at the end.
std::string CsvLine(const std::vector<std::string>& values) {
  std::vector<std::string> cells;
  for (const std::string& value : values)
    cells.push_back(
        value.find_first_of(",\"\r\n") == std::string::npos
            ? value
            : absl::StrCat("\"", absl::StrReplaceAll(value, {{"\"", "\"\""}}),
                           "\""));
  return absl::StrCat(absl::StrJoin(cells, ","), "\r\n");
}

bool IsNumeric(FieldType type) {
  return type == FieldType::kNumber || type == FieldType::kBytes ||
         type == FieldType::kDuration;
}

void AddJson(const EnvelopeFacts& facts, F field, absl::Time now, Json* json) {
  const EnvelopeFieldInfo& info = InfoOf(field);
  const std::string name = absl::StrReplaceAll(info.name, {{"-", "_"}});
  Json& value = (*json)[name];
  if (IsNumeric(info.type)) {
    const std::optional<int64_t> number = FieldNumber(facts, field, now);
    value = number ? Json(*number) : Json(nullptr);
    if (field == F::kAge) (*json)["created"] = JsonTime(facts.envelope.created);
    if (field == F::kDue)
      (*json)["due_at"] = JsonTime(facts.due.value_or(absl::InfiniteFuture()));
    if (field == F::kExpiry)
      (*json)["expires"] = JsonTime(facts.envelope.expires);
    return;
  }
  const std::string text = FieldText(facts, field, now);
  if (info.type == FieldType::kWords) {
    value = Json::array();
    for (const absl::string_view word :
         absl::StrSplit(text, ',', absl::SkipEmpty()))
      value.push_back(std::string(word));
  } else if (info.type == FieldType::kStatus && text.empty()) {
    value = nullptr;
  } else {
    value = text;
  }
}

std::string JsonRow(const QueueListRequest& request, const EnvelopeFacts& facts,
                    absl::Time now) {
  Json json = Json::object();
  for (const F field : request.fields) AddJson(facts, field, now, &json);
  return JsonLine(json);
}

std::string OrDash(absl::string_view text) {
  return text.empty() ? "-" : VisEncode(text);
}

std::string TextRow(const EnvelopeFacts& facts, absl::Time now) {
  const auto number = [&](F field) { return FieldNumber(facts, field, now); };
  const std::optional<int64_t> due = number(F::kDue);
  return absl::StrCat(
      absl::StrFormat(
          kRowForm, ToString(facts.envelope.id), StateWord(facts.state),
          ShortDuration(number(F::kAge).value_or(0)),
          due ? ShortDuration(*due) : "-",
          absl::StrCat(number(F::kAttempts).value_or(0)),
          ShortBytes(facts.size),
          absl::StrCat("<", VisEncode(facts.envelope.sender.ForPath()), ">")),
      absl::StrFormat(
          "%-28s  ",
          absl::StrCat("<", VisEncode(facts.envelope.dest.ForPath()), ">")),
      OrDash(facts.error), "\n");
}

std::vector<std::string> EncodedValues(const QueueListRequest& request,
                                       const EnvelopeFacts& facts,
                                       absl::Time now) {
  std::vector<std::string> values;
  for (const F field : request.fields)
    values.push_back(VisEncode(FieldText(facts, field, now)));
  return values;
}

std::vector<std::string> Names(const std::vector<F>& fields) {
  std::vector<std::string> names;
  for (const F field : fields) names.emplace_back(InfoOf(field).name);
  return names;
}

int64_t AgeOf(const QueueGroup& group, absl::Time now) {
  return absl::ToInt64Seconds(now - group.oldest);
}

}  // namespace

std::string QueueRowHeader(const QueueListRequest& request) {
  switch (request.format) {
    case Format::kText:
      return absl::StrCat(absl::StrFormat(kRowForm, "ID", "STATE", "AGE", "DUE",
                                          "TRIES", "SIZE", "SENDER"),
                          absl::StrFormat("%-28s  ", "RECIPIENT"), "ERROR\n");
    case Format::kCsv:
      return CsvLine(Names(request.fields));
    case Format::kJson:
    case Format::kFields:
      break;
  }
  return "";
}

std::string QueueRow(const QueueListRequest& request,
                     const EnvelopeFacts& facts, absl::Time now) {
  switch (request.format) {
    case Format::kText:
      return TextRow(facts, now);
    case Format::kJson:
      return JsonRow(request, facts, now);
    case Format::kCsv:
      return CsvLine(EncodedValues(request, facts, now));
    case Format::kFields:
      break;
  }
  return absl::StrCat(absl::StrJoin(EncodedValues(request, facts, now), "\t"),
                      "\n");
}

std::string QueueGroupHeader(const QueueListRequest& request) {
  const absl::string_view name = InfoOf(*request.group_by).name;
  if (request.format == Format::kCsv)
    return CsvLine({std::string(name), "count", "bytes", "oldest"});
  if (request.format == Format::kJson) return "";
  return absl::StrFormat("%9s %7s %7s  %s\n", "COUNT", "BYTES", "OLDEST",
                         absl::AsciiStrToUpper(name));
}

std::string QueueGroupRow(const QueueListRequest& request,
                          const QueueGroup& group, absl::Time now) {
  if (request.format == Format::kCsv)
    return CsvLine({VisEncode(group.value), absl::StrCat(group.count),
                    absl::StrCat(group.bytes),
                    absl::StrCat(AgeOf(group, now))});
  if (request.format == Format::kJson) {
    Json json;
    json["field"] = std::string(InfoOf(*request.group_by).name);
    json["value"] = group.value;
    json["count"] = group.count;
    json["bytes"] = group.bytes;
    json["oldest"] = AgeOf(group, now);
    json["oldest_created"] = JsonTime(group.oldest);
    return JsonLine(json);
  }
  return absl::StrFormat("%9d %7s %7s  %s\n", group.count,
                         ShortBytes(group.bytes),
                         ShortDuration(AgeOf(group, now)), OrDash(group.value));
}

std::string QueueCount(const QueueListRequest& request, uint64_t count,
                       uint64_t bytes) {
  if (request.format == Format::kCsv)
    return absl::StrCat(CsvLine({"count", "bytes"}),
                        CsvLine({absl::StrCat(count), absl::StrCat(bytes)}));
  if (request.format != Format::kJson) return absl::StrCat(count, "\n");
  Json json;
  json["count"] = count;
  json["bytes"] = bytes;
  return JsonLine(json);
}

std::string ShortDuration(int64_t seconds) {
  const char* sign = seconds < 0 ? "-" : "";
  const uint64_t n = seconds < 0 ? 0 - static_cast<uint64_t>(seconds)
                                 : static_cast<uint64_t>(seconds);
  if (n < 60) return absl::StrFormat("%s%ds", sign, n);
  if (n < 3600) return absl::StrFormat("%s%dm", sign, n / 60);
  if (n < 86400)
    return absl::StrFormat("%s%dh%02dm", sign, n / 3600, n / 60 % 60);
  return absl::StrFormat("%s%dd%02dh", sign, n / 86400, n / 3600 % 24);
}

std::string ShortBytes(uint64_t bytes) {
  if (bytes < 1024) return absl::StrCat(bytes);
  double n = static_cast<double>(bytes) / 1024;
  for (const char unit : {'K', 'M', 'G'}) {
    if (n < 10) return absl::StrFormat("%.1f%c", n, unit);
    if (n < 1024) return absl::StrFormat("%.0f%c", n, unit);
    n /= 1024;
  }
  return absl::StrFormat("%.0fT", n);
}

}  // namespace holdfast
