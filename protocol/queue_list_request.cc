#include "protocol/queue_list_request.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "protocol/near_miss.h"

namespace holdfast {
namespace {

using Format = QueueListRequest::Format;

absl::Status Wrong(absl::string_view what) {
  return absl::InvalidArgumentError(what);
}

std::string MeantText(const std::string& meant) {
  return meant.empty() ? "" : absl::StrCat(", did you mean '", meant, "'?");
}

absl::StatusOr<EnvelopeField> ParseField(absl::string_view option,
                                         absl::string_view name) {
  const EnvelopeFieldInfo* info = FindEnvelopeField(name);
  if (info != nullptr) return info->field;
  return Wrong(absl::StrCat(option, ": there is no field '", name, "'",
                            MeantText(NearEnvelopeField(name))));
}

absl::StatusOr<std::vector<EnvelopeField>> ParseFields(absl::string_view list) {
  std::vector<EnvelopeField> fields;
  for (const absl::string_view name : absl::StrSplit(list, ',')) {
    absl::StatusOr<EnvelopeField> field =
        ParseField("--format", absl::StripAsciiWhitespace(name));
    if (!field.ok()) return field.status();
    fields.push_back(*field);
    if (fields.size() > EnvelopeFieldTable().size())
      return Wrong("--format: too many fields");
  }
  return fields;
}

std::vector<EnvelopeField> AllFields() {
  std::vector<EnvelopeField> fields;
  for (const EnvelopeFieldInfo& info : EnvelopeFieldTable())
    fields.push_back(info.field);
  return fields;
}

// text, json, csv, FIELDS, json:FIELDS, csv:FIELDS
absl::Status SetFormat(absl::string_view value, QueueListRequest* request) {
  if (value == "text") {
    request->format = Format::kText;
    return absl::OkStatus();
  }
  const std::pair<absl::string_view, Format> kNames[] = {
      {"json", Format::kJson}, {"csv", Format::kCsv}};
  absl::string_view list = value;
  request->format = Format::kFields;
  for (const auto& [name, format] : kNames) {
    if (value != name && !absl::StartsWith(value, absl::StrCat(name, ":")))
      continue;
    request->format = format;
    request->fields = AllFields();
    if (value == name) return absl::OkStatus();
    list.remove_prefix(name.size() + 1);
  }
  absl::StatusOr<std::vector<EnvelopeField>> fields = ParseFields(list);
  if (!fields.ok()) return fields.status();
  request->fields = *std::move(fields);
  return absl::OkStatus();
}

// FIELD, FIELD,desc or FIELD,asc
absl::Status SetSort(absl::string_view value, QueueListRequest* request) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(value, absl::MaxSplits(',', 1));
  absl::StatusOr<EnvelopeField> field = ParseField("--sort", parts.first);
  if (!field.ok()) return field.status();
  request->sort = *field;
  request->descending = parts.second == "desc";
  if (parts.first.size() < value.size() && parts.second != "desc" &&
      parts.second != "asc")
    return Wrong("--sort: behind the comma stands 'desc' or 'asc'");
  return absl::OkStatus();
}

absl::Status SetLimit(absl::string_view value, QueueListRequest* request) {
  uint64_t n = 0;
  if (!absl::SimpleAtoi(value, &n) || n == 0)
    return Wrong("--limit: expected a number above 0");
  request->limit = n;
  return absl::OkStatus();
}

absl::Status SetGroup(absl::string_view value, QueueListRequest* request) {
  absl::StatusOr<EnvelopeField> field = ParseField("--group-by", value);
  if (!field.ok()) return field.status();
  const FieldType type = InfoOf(*field).type;
  if (type == FieldType::kDuration || type == FieldType::kBytes)
    return Wrong(absl::StrCat("--group-by: '", InfoOf(*field).name,
                              "' differs from envelope to envelope"));
  request->group_by = *field;
  return absl::OkStatus();
}

struct ValueOption {
  absl::string_view name;
  absl::Status (*set)(absl::string_view, QueueListRequest*);
};
constexpr ValueOption kValueOptions[] = {{"--sort", SetSort},
                                         {"--limit", SetLimit},
                                         {"--group-by", SetGroup},
                                         {"--format", SetFormat}};

absl::Status SetFlag(absl::string_view word, QueueListRequest* request) {
  if (word == "--count") {
    request->count = true;
    return absl::OkStatus();
  }
  if (word == "--json") return SetFormat("json", request);
  std::vector<std::string> names = {"--count", "--json"};
  for (const ValueOption& option : kValueOptions)
    names.emplace_back(option.name);
  const absl::string_view name = word.substr(0, word.find('='));
  return Wrong(absl::StrCat("there is no option '", name, "'",
                            MeantText(NearMiss(name, names))));
}

// Takes the option at `*at`, and its value.
absl::Status TakeOption(const std::vector<std::string>& words, size_t* at,
                        QueueListRequest* request) {
  const absl::string_view word = words[*at];
  for (const ValueOption& option : kValueOptions) {
    if (word == option.name) {
      if (++*at == words.size())
        return Wrong(absl::StrCat(option.name, ": a value must follow"));
      return option.set(words[*at], request);
    }
    if (absl::StartsWith(word, absl::StrCat(option.name, "=")))
      return option.set(word.substr(option.name.size() + 1), request);
  }
  return SetFlag(word, request);
}

absl::Status CheckTogether(const QueueListRequest& request) {
  if (request.count && (request.sort || request.limit || request.group_by))
    return Wrong("--count goes with a filter and --format only");
  if (request.group_by && request.sort)
    return Wrong("--sort does not go with --group-by: the largest come first");
  if ((request.count || request.group_by) && request.format == Format::kFields)
    return Wrong("--format: here it is text, json or csv");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<QueueListRequest> ParseQueueListRequest(
    const std::vector<std::string>& words) {
  QueueListRequest request;
  std::vector<std::string> filter;
  bool options = true;
  for (size_t i = 0; i < words.size(); ++i) {
    if (!options || !absl::StartsWith(words[i], "--")) {
      filter.push_back(words[i]);
      continue;
    }
    if (words[i] == "--") {
      options = false;
      continue;
    }
    const absl::Status status = TakeOption(words, &i, &request);
    if (!status.ok()) return status;
  }
  const absl::Status status = CheckTogether(request);
  if (!status.ok()) return status;
  request.filter = JoinFilterWords(filter);
  return request;
}

std::string JoinFilterWords(const std::vector<std::string>& words) {
  return absl::StrJoin(words, " ");
}

}  // namespace holdfast
