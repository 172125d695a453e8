#include "server/lookup/credentials.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "protocol/secret.h"
#include "server/auth/crypt_password.h"
#include "storage/crypto/key_derivation.h"

namespace holdfast {
namespace {

constexpr size_t kMinValue = 3;
constexpr size_t kMaxValue = 2047;

absl::Status NoAnswer(const Table& table) {
  return absl::UnavailableError(
      absl::StrCat("table ", table.name(), " can't be asked"));
}

}  // namespace

std::optional<std::string> StoredPassword(absl::string_view value) {
  if (value.size() < kMinValue || value.size() > kMaxValue) {
    return std::nullopt;
  }
  // A verifier has colons of its own.
  if (LooksLikeScramVerifier(value)) return std::string(value);
  const size_t colon = value.find(':');
  if (colon == absl::string_view::npos) return std::string(value);
  if (colon == 0 || colon + 1 == value.size()) return std::nullopt;
  return std::string(value.substr(colon + 1));
}

bool IsUsablePassword(const std::string& stored) {
  return LooksLikeScramVerifier(stored) ? ParseScramVerifier(stored).has_value()
                                        : IsCryptHash(stored);
}

Credentials::Credentials(std::string secret)
    : secret_(std::move(secret)), nothing_known_{PreferredCryptSetting()} {}

const Credentials::Look& Credentials::LookAt(const TableRef& table,
                                             absl::Duration now) {
  Look& look = looks_[table.get()];
  const size_t size = table->entries().size();
  if (look.table != nullptr && look.entries == size && now < look.until) {
    return look;
  }
  look = Look();
  look.table = table;
  look.entries = size;
  look.until = now + kLooksGood;
  const size_t stride = std::min(size, kMaxLookedAt) / kMaxStandIns + 1;
  size_t number = 0;
  bool others = false;
  for (const auto& [key, value] : table->entries()) {
    if (number == kMaxLookedAt) break;
    const bool wanted = number++ % stride == 0;
    std::optional<std::string> stored = StoredPassword(value);
    if (!stored || !IsUsablePassword(*stored)) continue;
    const bool scram = LooksLikeScramVerifier(*stored);
    others = others || !scram;
    look.all_scram = look.all_scram || scram;
    if (!wanted) continue;
    if (scram) look.verifiers.push_back(*stored);
    look.stand_ins.push_back(*std::move(stored));
  }
  look.all_scram = look.all_scram && !others;
  return look;
}

std::string Credentials::MadeUp(absl::string_view what,
                                absl::string_view user) const {
  return HmacSha256(secret_,
                    absl::StrCat(what, ":", absl::AsciiStrToLower(user)));
}

const std::string& Credentials::Choose(const std::vector<std::string>& choices,
                                       absl::string_view user) const {
  const std::string number = MadeUp("choice", user);
  uint32_t at = 0;
  for (size_t i = 0; i < sizeof at; ++i) {
    at = at << 8 | static_cast<unsigned char>(number[i]);
  }
  return choices[at % choices.size()];
}

absl::StatusOr<Credentials::Found> Credentials::Find(const TableRef& table,
                                                     const std::string& user,
                                                     absl::Duration now) {
  if (!table->is_static()) return NoAnswer(*table);
  absl::StatusOr<std::optional<std::string>> value =
      table->Lookup(TableService::kCredentials, user);
  if (!value.ok()) return value.status();
  // Looked at in any case: what a miss costs, a hit costs.
  const Look& look = LookAt(table, now);
  const std::string& stand_in =
      Choose(look.stand_ins.empty() ? nothing_known_ : look.stand_ins, user);
  Found found = Judge(*value, stand_in);
  if (*value) Wipe(&**value);
  return found;
}

// Nobody else's hash is at hand: what users have by default is compared with.
Credentials::Found Credentials::FromValue(
    const std::optional<std::string>& value, const std::string& user) const {
  return Judge(value, Choose(nothing_known_, user));
}

Credentials::Found Credentials::Judge(const std::optional<std::string>& value,
                                      const std::string& stand_in) const {
  Found found;
  std::optional<std::string> stored =
      value ? StoredPassword(*value) : std::nullopt;
  found.real = stored && IsUsablePassword(*stored);
  found.unusable = value && !found.real;
  found.stored = found.real ? *std::move(stored) : stand_in;
  return found;
}

absl::StatusOr<Credentials::FoundVerifier> Credentials::FindVerifier(
    const TableRef& table, const std::string& user, absl::Duration now) {
  absl::StatusOr<Found> password = Find(table, user, now);
  if (!password.ok()) return password.status();
  FoundVerifier found;
  if (password->real) {
    if (std::optional<ScramVerifier> verifier =
            ParseScramVerifier(password->stored)) {
      found.real = true;
      found.verifier = *std::move(verifier);
      return found;
    }
  }
  // As others of the table have it.
  found.verifier.iterations = kScramIterations;
  size_t salt_bytes = kScramSaltBytes;
  const Look& look = LookAt(table, now);
  if (!look.verifiers.empty()) {
    const std::optional<ScramVerifier> other =
        ParseScramVerifier(Choose(look.verifiers, user));
    found.verifier.iterations = other->iterations;
    salt_bytes = other->salt.size();
  }
  for (int part = 0; found.verifier.salt.size() < salt_bytes; ++part) {
    found.verifier.salt += MadeUp(absl::StrCat("salt", part), user);
  }
  found.verifier.salt.resize(salt_bytes);
  found.verifier.stored_key = MadeUp("stored", user);
  found.verifier.server_key = MadeUp("server", user);
  return found;
}

bool Credentials::AllScram(const TableRef& table, absl::Duration now) {
  return table->is_static() && LookAt(table, now).all_scram;
}

}  // namespace holdfast
