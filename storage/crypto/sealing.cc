#include "storage/crypto/sealing.h"

#include <openssl/digest.h>
#include <openssl/hkdf.h>
#include <openssl/hmac.h>
#include <openssl/mem.h>
#include <openssl/rand.h>
#include <sys/mman.h>

#include <cstdlib>
#include <utility>

namespace holdfast {
namespace {

constexpr size_t kProofBytes = 32;
constexpr size_t kNonceAt = 5;
constexpr size_t kTextAt = kNonceAt + ExtendedGcm::kNonceBytes;
constexpr size_t kNonceStartBytes = 12;
static_assert(kTextAt + ExtendedGcm::kTagBytes == kSealBytes);

uint8_t* Bytes(std::string* text) {
  return reinterpret_cast<uint8_t*>(text->data());
}
const uint8_t* Bytes(absl::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

// HKDF-SHA-256 (RFC 5869); fails only without memory.
std::string Derive(absl::string_view secret, absl::string_view purpose,
                   size_t bytes) {
  std::string out(bytes, '\0');
  if (HKDF(Bytes(&out), out.size(), EVP_sha256(), Bytes(secret), secret.size(),
           nullptr, 0, Bytes(purpose), purpose.size()) != 1) {
    abort();
  }
  return out;
}

void AppendBigEndian(uint64_t number, int bytes, std::string* out) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
    out->push_back(static_cast<char>(number >> shift));
}

// What a row is bound to.
std::string Place(uint8_t table, KeyId id, absl::string_view key) {
  std::string place;
  place.reserve(6 + key.size());
  place.push_back(static_cast<char>(kSealedMark));
  place.push_back(static_cast<char>(table));
  AppendBigEndian(id, 4, &place);
  place.append(key.data(), key.size());
  return place;
}

}  // namespace

// ---- SealingKey

SealingKey::SealingKey(absl::string_view secret)
    : proving_(Derive(secret, "holdfast queue 1: proof", kProofBytes)) {
  const std::string id = Derive(secret, "holdfast queue 1: key id", 4);
  for (const char c : id) id_ = id_ << 8 | static_cast<uint8_t>(c);
  if (id_ == 0) id_ = 1;
  std::string key =
      Derive(secret, "holdfast queue 1: sealing", ExtendedGcm::kKeyBytes);
  gcm_ = std::make_unique<ExtendedGcm>(key);
  OPENSSL_cleanse(key.data(), key.size());
  // Not to the swap file, if that may be.
  (void)mlock(gcm_.get(), sizeof *gcm_);
}

SealingKey::~SealingKey() { OPENSSL_cleanse(proving_.data(), proving_.size()); }

std::string SealingKey::Prove(absl::string_view text) const {
  std::string proof(kProofBytes, '\0');
  unsigned int size = 0;
  if (HMAC(EVP_sha256(), proving_.data(), proving_.size(), Bytes(text),
           text.size(), Bytes(&proof), &size) == nullptr) {
    abort();
  }
  return proof;
}

bool SameProof(absl::string_view one, absl::string_view other) {
  return one.size() == other.size() &&
         CRYPTO_memcmp(one.data(), other.data(), one.size()) == 0;
}

// ---- Sealing

Sealing::Sealing(std::vector<std::unique_ptr<SealingKey>> keys, bool seal,
                 bool allow_plain)
    : keys_(std::move(keys)),
      seal_(seal && !keys_.empty()),
      allow_plain_(allow_plain),
      nonce_start_(kNonceStartBytes, '\0') {
  if (RAND_bytes(Bytes(&nonce_start_), nonce_start_.size()) != 1) abort();
}

KeyId Sealing::current() const { return seal_ ? keys_.front()->id() : 0; }

const SealingKey* Sealing::Find(KeyId id) const {
  for (const auto& key : keys_) {
    if (key->id() == id) return key.get();
  }
  return nullptr;
}

std::string Sealing::Seal(uint8_t table, absl::string_view key,
                          absl::string_view row) const {
  if (!seal_) return std::string(row);
  const SealingKey& with = *keys_.front();
  std::string sealed;
  sealed.reserve(kSealBytes + row.size());
  sealed.push_back(static_cast<char>(kSealedMark));
  AppendBigEndian(with.id(), 4, &sealed);
  sealed += nonce_start_;
  AppendBigEndian(0, 4, &sealed);
  AppendBigEndian(sealed_.fetch_add(1, std::memory_order_relaxed), 8, &sealed);
  const std::string nonce = sealed.substr(kNonceAt);
  with.gcm().Seal(nonce, Place(table, with.id(), key), row, &sealed);
  return sealed;
}

bool Sealing::Open(uint8_t table, absl::string_view key,
                   absl::string_view sealed, std::string* row) const {
  row->clear();
  if (!IsSealed(sealed) || sealed.size() < kSealBytes) return false;
  const SealingKey* const with = Find(KeyIdOf(sealed));
  return with != nullptr &&
         with->gcm().Open(sealed.substr(kNonceAt, ExtendedGcm::kNonceBytes),
                          Place(table, with->id(), key), sealed.substr(kTextAt),
                          row);
}

std::string Sealing::Prove(KeyId id, absl::string_view text) const {
  const SealingKey* const with = Find(id);
  return with == nullptr ? std::string() : with->Prove(text);
}

}  // namespace holdfast
