// The PROXY protocol's header, version 1 and 2: who a balancer in front of us
// has connected for (reference part 1, section 4.12).
#ifndef HOLDFAST_PROTOCOL_PROXY_HEADER_H_
#define HOLDFAST_PROTOCOL_PROXY_HEADER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "protocol/ip_address.h"

namespace holdfast {

enum class ProxyVersion { kV1, kV2 };

// Version 1 is one line, of at most so many octets with its CRLF.
inline constexpr size_t kMaxProxyLine = 107;
// Version 2: 16 octets, then what they announce, addresses and TLVs.
inline constexpr size_t kProxyV2Fixed = 16;
inline constexpr size_t kMaxProxyV2Rest = 4096;

// Takes the bytes of a connection as they come, until the header is over.
// Keeps no more than one header; TLVs are skipped.
class ProxyHeader {
 public:
  enum class State {
    kIncomplete,
    kDone,   // see source()
    kError,  // see error()
  };

  explicit ProxyHeader(ProxyVersion version) : version_(version) {}

  // Removes from `*bytes` what belongs to the header.  Not after kDone or
  // kError.
  State Take(absl::string_view* bytes);

  // kDone: who is behind the balancer; nullopt: the connection is its own
  // (LOCAL, UNKNOWN) or came through a Unix socket.
  const std::optional<IpAddress>& source() const { return source_; }
  uint16_t source_port() const { return source_port_; }
  // kError: why, in the reference's words: "invalid signature", ...
  const std::string& error() const { return error_; }

 private:
  State TakeLine(absl::string_view* bytes);
  State TakeBinary(absl::string_view* bytes);
  State ParseLine(absl::string_view line);
  State CheckFixed();
  State ParseAddresses();
  State Fail(absl::string_view why);

  const ProxyVersion version_;
  std::string kept_;      // of the header, so far, without TLVs
  size_t skip_ = 0;       // version 2: octets of TLVs still to come
  bool checked_ = false;  // version 2: the fixed part
  std::optional<IpAddress> source_;
  uint16_t source_port_ = 0;
  std::string error_;
};

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_PROXY_HEADER_H_
