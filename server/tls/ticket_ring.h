// The keys of session tickets (RFC 5077, RFC 8446 section 4.6.1) as one context
// uses them; made and changed by `keys`.
#ifndef HOLDFAST_SERVER_TLS_TICKET_RING_H_
#define HOLDFAST_SERVER_TLS_TICKET_RING_H_

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>

#include <cstdint>

#include "absl/status/status.h"
#include "server/door/keys_messages.h"
#include "server/tls/tls_library.h"

namespace holdfast {

inline constexpr size_t kTicketNameBytes = SSL_TICKET_KEY_NAME_LEN;
inline constexpr size_t kTicketSecretBytes = 48;
inline constexpr size_t kMaxTicketKeys = 8;

// Used on the loop's thread.
class TicketRing {
 public:
  ~TicketRing() { Wipe(); }

  // Refused, and the old ones stay, if they are not of the sizes above.
  absl::Status Set(const TicketKeys& keys);
  bool empty() const { return keys_.keys.empty(); }

  // What SSL_CTX_set_tlsext_ticket_key_cb() wants.
  int Use(uint8_t* name, uint8_t* iv, EVP_CIPHER_CTX* cipher, HMAC_CTX* hmac,
          bool encrypt) const;

 private:
  void Wipe();

  TicketKeys keys_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_TLS_TICKET_RING_H_
