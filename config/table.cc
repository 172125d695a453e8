#include "config/table.h"

#include <re2/re2.h>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace holdfast {
namespace {

// What one compiled pattern may use; a larger one never matches.
constexpr int64_t kMaxPatternMemory = 1 << 20;
// Lookup keys are bounded (reference part 1, section 2.1).
constexpr size_t kMaxKeyBytes = 1023;

std::shared_ptr<const re2::RE2> Compile(const std::string& pattern) {
  re2::RE2::Options options;
  options.set_case_sensitive(false);
  options.set_log_errors(false);
  options.set_encoding(re2::RE2::Options::EncodingLatin1);
  options.set_max_mem(kMaxPatternMemory);
  return std::make_shared<const re2::RE2>(pattern, options);
}

}  // namespace

void Table::Add(absl::string_view key, absl::string_view value) {
  const std::string written(key);
  std::string lower = absl::AsciiStrToLower(key);
  if (lower.find('*') != std::string::npos) wildcards_.insert(lower);
  const auto spelled = spellings_.find(lower);
  if (spelled != spellings_.end()) {
    spelled->second.insert(written);
  } else if (written != lower) {
    std::set<std::string>& all = spellings_[lower];
    if (entries_.count(lower) > 0) all.insert(lower);
    all.insert(written);
  }
  entries_[std::move(lower)] = std::string(value);
}

const Table::Entry* Table::FindDomain(const std::string& key) const {
  const auto exact = entries_.find(key);
  const Entry* found = exact == entries_.end() ? nullptr : &*exact;
  for (const std::string& pattern : wildcards_) {
    if (found != nullptr && found->first <= pattern) break;
    if (DomainMatches(pattern, key)) return &*entries_.find(pattern);
  }
  return found;
}

bool Table::PatternMatches(const std::string& pattern,
                           const std::string& key) const {
  std::shared_ptr<const re2::RE2>& regex = compiled_[pattern];
  if (regex == nullptr) regex = Compile(pattern);
  return regex->ok() && re2::RE2::PartialMatch(key, *regex);
}

const Table::Entry* Table::FindRegex(const std::string& key) const {
  for (const Entry& entry : entries_) {
    const auto spelled = spellings_.find(entry.first);
    if (spelled == spellings_.end()) {
      if (PatternMatches(entry.first, key)) return &entry;
      continue;
    }
    for (const std::string& pattern : spelled->second) {
      if (PatternMatches(pattern, key)) return &entry;
    }
  }
  return nullptr;
}

const Table::Entry* Table::Find(TableService service, const std::string& key,
                                char delimiter) const {
  switch (service) {
    case TableService::kDomain:
      return FindDomain(key);
    case TableService::kRegex:
      return FindRegex(key);
    case TableService::kNetaddr:
      for (const Entry& entry : entries_) {
        if (NetaddrMatches(entry.first, key)) return &entry;
      }
      return nullptr;
    case TableService::kMailaddr:
      for (const Entry& entry : entries_) {
        if (MailaddrMatches(entry.first, key, delimiter)) return &entry;
      }
      return nullptr;
    default: {
      const auto exact = entries_.find(key);
      return exact == entries_.end() ? nullptr : &*exact;
    }
  }
}

absl::StatusOr<std::optional<std::string>> Table::Lookup(TableService service,
                                                         absl::string_view key,
                                                         char delimiter) const {
  if (!is_static()) {
    return absl::UnavailableError(
        absl::StrFormat("table \"%s\" is not static", name_));
  }
  if (key.size() > kMaxKeyBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("lookup key too long: ", key));
  }
  const Entry* entry = Find(service, absl::AsciiStrToLower(key), delimiter);
  if (entry == nullptr) return std::optional<std::string>();
  return std::optional<std::string>(entry->second);
}

absl::StatusOr<bool> Table::Check(TableService service, absl::string_view key,
                                  char delimiter) const {
  const absl::StatusOr<std::optional<std::string>> found =
      Lookup(service, key, delimiter);
  if (!found.ok()) return found.status();
  return found->has_value();
}

std::optional<std::string> Table::Fetch() const {
  if (entries_.empty()) return std::nullopt;
  auto next = entries_.upper_bound(fetched_);
  if (next == entries_.end()) next = entries_.begin();
  fetched_ = next->first;
  return fetched_;
}

}  // namespace holdfast
