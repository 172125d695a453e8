// Rows of the queue sealed with XAES-256-GCM (storage/value_sealer.h,
// FORMAT.md, "Sealing").
#ifndef HOLDFAST_STORAGE_CRYPTO_SEALING_H_
#define HOLDFAST_STORAGE_CRYPTO_SEALING_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "storage/crypto/extended_gcm.h"
#include "storage/value_sealer.h"

namespace holdfast {

// What is made of a key of `queue encryption`; wiped when it goes.
class SealingKey {
 public:
  // Any number of octets; smtpd.conf asks for 32.
  explicit SealingKey(absl::string_view secret);
  ~SealingKey();
  SealingKey(const SealingKey&) = delete;
  SealingKey& operator=(const SealingKey&) = delete;

  KeyId id() const { return id_; }
  // 32 octets that only who has the key can make.
  std::string Prove(absl::string_view text) const;
  const ExtendedGcm& gcm() const { return *gcm_; }

 private:
  KeyId id_ = 0;  // never zero
  std::string proving_;
  std::unique_ptr<ExtendedGcm> gcm_;
};

// Both are equal; how long it takes does not tell where they differ.
bool SameProof(absl::string_view one, absl::string_view other);

class Sealing : public ValueSealer {
 public:
  // What is written is sealed with the first of `keys` if `seal`, else with
  // none.
  Sealing(std::vector<std::unique_ptr<SealingKey>> keys, bool seal,
          bool allow_plain);

  KeyId current() const override;
  bool allows_plain() const override { return allow_plain_; }
  std::string Seal(uint8_t table, absl::string_view key,
                   absl::string_view row) const override;
  bool Open(uint8_t table, absl::string_view key, absl::string_view sealed,
            std::string* row) const override;
  std::string Prove(KeyId id, absl::string_view text) const override;

 private:
  const SealingKey* Find(KeyId id) const;

  const std::vector<std::unique_ptr<SealingKey>> keys_;
  const bool seal_;
  const bool allow_plain_;
  // No nonce comes twice: half of it is drawn for each object, the other half
  // counts.
  std::string nonce_start_;
  mutable std::atomic<uint64_t> sealed_{0};
};

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_CRYPTO_SEALING_H_
