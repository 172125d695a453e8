#include "storage/store_sealing.h"

#include <string.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protocol/wire.h"
#include "storage/crypto/sealing.h"

namespace holdfast {
namespace {

using Keys = std::vector<std::unique_ptr<SealingKey>>;

// What each of its keys vouches for.
std::string ProvenText(const SealingRecord& record) {
  std::string text = absl::StrCat("holdfast queue sealing\n", record.current,
                                  record.plain ? " plain" : "");
  for (const SealingRecord::Key& key : record.keys)
    absl::StrAppend(&text, " ", key.id);
  return text;
}

bool Has(const SealingRecord& record, KeyId id) {
  return std::any_of(record.keys.begin(), record.keys.end(),
                     [id](const auto& key) { return key.id == id; });
}

absl::StatusOr<Keys> MakeKeys(const StoreKeys& given) {
  Keys keys;
  for (const std::string* secret : {&given.current, &given.previous}) {
    if (secret->empty()) continue;
    auto key = std::make_unique<SealingKey>(*secret);
    if (keys.empty() || keys[0]->id() != key->id()) {
      keys.push_back(std::move(key));
    } else if (given.current != given.previous) {
      return absl::InvalidArgumentError(
          "queue: the two keys have the same id; choose another");
    }
  }
  return keys;
}

absl::Status CheckKeys(const SealingRecord& record, const Keys& given) {
  // Such a record nobody has vouched for.
  if (record.keys.empty() ||
      (record.current != 0 && !Has(record, record.current))) {
    return absl::DataLossError(
        "queue: the record of its keys is not whole; nothing was changed");
  }
  for (const SealingRecord::Key& wanted : record.keys) {
    const auto found =
        std::find_if(given.begin(), given.end(),
                     [&](const auto& key) { return key->id() == wanted.id; });
    if (given.empty()) {
      return absl::UnauthenticatedError(
          absl::StrCat("queue: it is sealed with key ", KeyIdText(wanted.id),
                       ", and there is no key for it"));
    }
    if (found == given.end()) {
      return absl::UnauthenticatedError(absl::StrCat(
          "queue: it is sealed with key ", KeyIdText(wanted.id),
          ", which is not the one given (", KeyIdText(given[0]->id()),
          "); a former key stands behind \"previous\"; nothing was changed"));
    }
    if (!SameProof((*found)->Prove(ProvenText(record)), wanted.proof)) {
      return absl::DataLossError(absl::StrCat(
          "queue: the record of its keys is not what key ",
          KeyIdText(wanted.id), " has vouched for; nothing was changed"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::string KeyIdText(KeyId id) { return absl::StrFormat("%08x", id); }

void WipeKeys(StoreKeys* keys) {
  for (std::string* secret : {&keys->current, &keys->previous}) {
    explicit_bzero(secret->data(), secret->size());
    secret->clear();
  }
}

void ProveSealing(const ValueSealer& sealer, SealingRecord* record) {
  const std::string text = ProvenText(*record);
  for (SealingRecord::Key& key : record->keys)
    key.proof = sealer.Prove(key.id, text);
}

absl::StatusOr<StoreSealing> OpenSealing(const SealedState& state,
                                         const StoreKeys& given,
                                         bool read_only) {
  StoreSealing sealing;
  auto keys = MakeKeys(given);
  if (!keys.ok()) return keys.status();
  if (state.record.has_value()) {
    const absl::Status status = CheckKeys(*state.record, *keys);
    if (!status.ok()) return status;
  }
  const KeyId wanted = given.current.empty() ? 0 : (*keys)[0]->id();
  // What is not sealed and never was needs none of this.
  if (!state.record.has_value() && (wanted == 0 || read_only)) return sealing;

  SealingRecord record = state.record.value_or(SealingRecord());
  if (!state.record.has_value()) record.plain = !state.empty;
  const bool seals = read_only ? record.current != 0 : wanted != 0;
  const bool changes = !read_only && record.current != wanted;
  if (changes || !state.record.has_value()) {
    record.current = wanted;
    record.plain = record.plain || wanted == 0;
    if (wanted != 0 && !Has(record, wanted))
      record.keys.push_back({wanted, ""});
    record.table = 0;
    record.after.clear();
  }
  sealing.sealer =
      std::make_shared<Sealing>(*std::move(keys), seals, record.plain);
  if (changes) {
    ProveSealing(*sealing.sealer, &record);
    sealing.record = std::move(record);
  }
  return sealing;
}

}  // namespace holdfast
