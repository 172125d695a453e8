#include "protocol/srs.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace holdfast {
namespace {

constexpr absl::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
constexpr int64_t kDays = 1024;  // two digits
constexpr size_t kHashBytes = 4;
constexpr size_t kDayBytes = 2;

constexpr absl::string_view kFirst = "SRS0=";
constexpr absl::string_view kSecond = "SRS1=";

int64_t Today(absl::Time now) {
  const int64_t day = absl::ToUnixSeconds(now) / 86400;
  return ((day % kDays) + kDays) % kDays;
}

std::string DayCode(int64_t day) {
  return {kDigits[static_cast<size_t>(day >> 5)],
          kDigits[static_cast<size_t>(day & 31)]};
}

std::string HashOf(const SrsRewriter::Sha1& sha1, const std::string& key,
                   const std::string& text) {
  return absl::WebSafeBase64Escape(sha1(absl::StrCat(key, text)))
      .substr(0, kHashBytes);
}

bool SameInConstantTime(absl::string_view a, absl::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned char difference = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference |= static_cast<unsigned char>(a[i] ^ b[i]);
  }
  return difference == 0;
}

// Cuts "<size bytes>=" off.
bool Take(size_t size, absl::string_view* text, absl::string_view* taken) {
  if (text->size() <= size || (*text)[size] != '=') return false;
  *taken = text->substr(0, size);
  text->remove_prefix(size + 1);
  return true;
}

bool TakePrefix(absl::string_view prefix, absl::string_view* text) {
  if (!absl::StartsWithIgnoreCase(*text, prefix)) return false;
  text->remove_prefix(prefix.size());
  return true;
}

}  // namespace

bool LooksRewritten(absl::string_view user) {
  return absl::StartsWithIgnoreCase(user, kFirst) ||
         absl::StartsWithIgnoreCase(user, kSecond);
}

SrsRewriter::SrsRewriter(std::string key, std::string backup_key, int ttl_days,
                         Sha1 sha1)
    : key_(std::move(key)),
      backup_key_(std::move(backup_key)),
      ttl_days_(ttl_days),
      sha1_(std::move(sha1)) {}

MailAddress SrsRewriter::Encode(const MailAddress& sender,
                                const std::string& domain,
                                absl::Time now) const {
  // What is quoted would need quotes around all of it, which no decoder knows.
  if (sender.IsNull() || absl::StartsWith(sender.user, "\"")) return sender;
  absl::string_view user = sender.user;
  absl::string_view prefix = kSecond;
  std::string text;  // behind the hash
  if (TakePrefix(kFirst, &user)) {
    text = absl::StrCat(sender.domain, "==", user);
  } else if (TakePrefix(kSecond, &user)) {
    // Another's hash makes room for ours; who came first stays.
    absl::string_view hash;
    if (!Take(kHashBytes, &user, &hash)) return sender;
    text = std::string(user);
  } else {
    prefix = kFirst;
    text = absl::StrCat(DayCode(Today(now)), "=", sender.domain, "=", user);
  }
  MailAddress out;
  out.user = absl::StrCat(
      prefix, HashOf(sha1_, key_, absl::StrCat(text, "@", domain)), "=", text);
  out.domain = domain;
  return out.ToString().size() > kMaxSrsBytes ? sender : out;
}

bool SrsRewriter::IsSigned(absl::string_view hash,
                           const std::string& text) const {
  return SameInConstantTime(hash, HashOf(sha1_, key_, text)) ||
         (!backup_key_.empty() &&
          SameInConstantTime(hash, HashOf(sha1_, backup_key_, text)));
}

bool SrsRewriter::IsRecent(absl::string_view code, absl::Time now) const {
  int64_t day = 0;
  for (const char c : code) {
    const size_t digit =
        kDigits.find(absl::ascii_toupper(static_cast<unsigned char>(c)));
    if (digit == absl::string_view::npos) return false;
    day = day * 32 + static_cast<int64_t>(digit);
  }
  const int64_t age = (Today(now) - day + kDays) % kDays;
  return age <= ttl_days_ || age == kDays - 1;  // tomorrow
}

std::optional<MailAddress> SrsRewriter::Decode(const MailAddress& address,
                                               absl::Time now) const {
  absl::string_view rest = address.user;
  const bool first = TakePrefix(kFirst, &rest);
  if (!first && !TakePrefix(kSecond, &rest)) return std::nullopt;
  absl::string_view hash;
  if (!Take(kHashBytes, &rest, &hash) ||
      !IsSigned(hash, absl::StrCat(rest, "@", address.domain))) {
    return std::nullopt;
  }
  absl::string_view day;
  if (first && (!Take(kDayBytes, &rest, &day) || !IsRecent(day, now))) {
    return std::nullopt;
  }
  absl::string_view domain;
  if (!Take(rest.find('='), &rest, &domain) || domain.empty()) {
    return std::nullopt;
  }
  MailAddress out;
  out.domain = std::string(domain);
  if (first) {
    if (rest.empty()) return std::nullopt;
    out.user = std::string(rest);
    return out;
  }
  // What is left is "=HHHH=TT=...": who wrote it checks the hash.
  out.user = absl::StrCat("SRS0", rest);
  absl::string_view inner = rest;
  if (!Take(0, &inner, &hash) || !Take(kHashBytes, &inner, &hash) ||
      !Take(kDayBytes, &inner, &day) || !IsRecent(day, now)) {
    return std::nullopt;
  }
  return out;
}

}  // namespace holdfast
