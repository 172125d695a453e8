// SCRAM-SHA-256 as a client has it (RFC 5802, RFC 7677), without channel
// binding.  The server must show that it knows the password too, before its
// 2xx is believed.
#ifndef HOLDFAST_PROTOCOL_SCRAM_CLIENT_H_
#define HOLDFAST_PROTOCOL_SCRAM_CLIENT_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "protocol/sasl_client.h"

namespace holdfast {

// What a server may ask for.  RFC 7677 wants 4096 at least: with less a server
// that only pretends could try passwords against our proof; and a million is
// a second or so in which nothing else is relayed.
inline constexpr uint32_t kMinScramClientIterations = 4096;
inline constexpr uint32_t kMaxScramClientIterations = 100'000;

// `crypto` must outlive it.
std::unique_ptr<SaslClient> MakeScramClient(Secret user, Secret password,
                                            const SaslCrypto* crypto);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_SCRAM_CLIENT_H_
