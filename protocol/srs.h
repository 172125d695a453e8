// The Sender Rewriting Scheme: senders of forwarded mail become addresses of
// ours, so that SPF passes, and come back to them when that mail bounces
// (reference part 1, section 3.8; its keys, hashes and days are OpenSMTPD's, so
// that what one of them rewrote the other takes back).
//
// Pure; the hash function (SHA-1) and the time are given in.
#ifndef HOLDFAST_PROTOCOL_SRS_H_
#define HOLDFAST_PROTOCOL_SRS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "protocol/mail_address.h"

namespace holdfast {

// Longer addresses are not rewritten.
inline constexpr size_t kMaxSrsBytes = 255;

class SrsRewriter {
 public:
  using Sha1 = std::function<std::string(absl::string_view)>;  // 20 octets

  // `backup_key` (empty: none) is for decoding only.
  SrsRewriter(std::string key, std::string backup_key, int ttl_days, Sha1 sha1);

  // `sender` as an address of `domain`.  As it is, if it is null, or cannot be
  // written that way (too long, quoted).
  MailAddress Encode(const MailAddress& sender, const std::string& domain,
                     absl::Time now) const;

  // The sender that `address` was made from; nullopt: not by us, or too long
  // ago.
  std::optional<MailAddress> Decode(const MailAddress& address,
                                    absl::Time now) const;

 private:
  bool IsSigned(absl::string_view hash, const std::string& text) const;
  // `code` is a day between `now` - ttl and tomorrow.
  bool IsRecent(absl::string_view code, absl::Time now) const;

  std::string key_;
  std::string backup_key_;
  int ttl_days_;
  Sha1 sha1_;
};

// Whether a local part begins as one that was rewritten, in any case.
bool LooksRewritten(absl::string_view user);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_SRS_H_
