#include "config/table.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "config/db_file.h"
#include "protocol/relay_url.h"
#include "protocol/vis.h"

namespace holdfast {

Table::Table(std::string name, Kind kind, std::string backend, std::string path)
    : name_(std::move(name)),
      kind_(kind),
      backend_(std::move(backend)),
      path_(std::move(path)) {}

Table::Kind Table::kind() const {
  if (backend_ != "static") return Kind::kDynamic;
  if (path_.empty()) return kind_;
  return contents()->kind() == TableContents::Kind::kList ? Kind::kList
                                                          : Kind::kMap;
}

void Table::Add(absl::string_view key, absl::string_view value) {
  added_.emplace_back(std::string(key), std::string(value));
  contents_.reset();
}

void Table::Replace(std::shared_ptr<const TableContents> contents) {
  contents_ = std::move(contents);
}

const std::shared_ptr<const TableContents>& Table::contents() const {
  if (contents_ == nullptr) {
    TableContents::Builder builder(kind_ == Kind::kList
                                       ? TableContents::Kind::kList
                                       : TableContents::Kind::kMap);
    // The configuration's text is far below the limit of Add().
    for (const auto& [key, value] : added_) builder.Add(key, value);
    contents_ = builder.Finish();
  }
  return contents_;
}

void Table::Prepare(const TableContents& contents) const {
  for (const TableService service :
       {TableService::kNetaddr, TableService::kRegex}) {
    if ((uses_ & 1u << int(service)) != 0) contents.Prepare(service);
  }
}

absl::Status Table::CheckUses(const TableContents& contents) const {
  const auto used = [this](TableService service) {
    return (uses_ & 1u << int(service)) != 0;
  };
  if (used(TableService::kAlias) && !contents.bad_aliases().empty()) {
    const TableContents::BadAlias& bad = contents.bad_aliases().front();
    return absl::InvalidArgumentError(BadAliasText(path_, bad));
  }
  if (!used(TableService::kRelayhost) ||
      contents.kind() != TableContents::Kind::kList) {
    return absl::OkStatus();
  }
  const std::string bad = BadSmarthostText(contents);
  return bad.empty()
             ? absl::OkStatus()
             : absl::InvalidArgumentError(absl::StrCat(path_, ": ", bad));
}

std::string BadSmarthostText(const TableContents& contents) {
  for (size_t i = 0; i < contents.size(); ++i) {
    const absl::string_view element = contents.at(i).first;
    const auto parsed = ParseWeightedRelayUrl(element);
    if (parsed.ok()) continue;
    return absl::StrCat("invalid smarthost ", VisEncode(element), ": ",
                        std::string(parsed.status().message()));
  }
  return "";
}

std::string BadAliasText(absl::string_view path,
                         const TableContents::BadAlias& bad) {
  const std::string place = bad.line == 0 ? "" : absl::StrCat(":", bad.line);
  return absl::StrCat(path, place, ": invalid entry for ", VisEncode(bad.key));
}

absl::StatusOr<std::optional<size_t>> Table::Find(TableService service,
                                                  absl::string_view key,
                                                  char delimiter) const {
  if (!is_static()) {
    return absl::UnavailableError(
        absl::StrFormat("table \"%s\" is not static", name_));
  }
  if (key.size() > kMaxTableKey) {
    return absl::InvalidArgumentError(
        absl::StrCat("lookup key too long: ", key));
  }
  return contents()->Find(service, absl::AsciiStrToLower(key), delimiter);
}

absl::StatusOr<std::optional<std::string>> Table::Lookup(TableService service,
                                                         absl::string_view key,
                                                         char delimiter) const {
  const auto found = Find(service, key, delimiter);
  if (!found.ok()) return found.status();
  if (!found->has_value()) return std::optional<std::string>();
  return std::optional<std::string>(contents()->at(**found).second);
}

absl::StatusOr<bool> Table::Check(TableService service, absl::string_view key,
                                  char delimiter) const {
  const auto found = Find(service, key, delimiter);
  if (!found.ok()) return found.status();
  return found->has_value();
}

std::optional<std::string> Table::Fetch() const {
  const TableContents& now = *contents();
  if (now.empty()) return std::nullopt;
  size_t next = now.UpperBound(fetched_);
  if (next == now.size()) next = 0;
  fetched_ = std::string(now.at(next).first);
  return fetched_;
}

absl::StatusOr<std::shared_ptr<const TableContents>> ParseTableBytes(
    absl::string_view backend, absl::string_view path,
    absl::string_view bytes) {
  return backend == "db" ? ParseDbFile(path, bytes)
                         : ParseTableText(path, bytes);
}

}  // namespace holdfast
