// DNS messages as far as mail needs them: questions written, answers read
// (RFC 1035 section 4; AAAA: RFC 3596).  Names are text in lower case without
// the final dot; the root is "".  A byte of a label that is a dot, a backslash
// or not printable is written \DDD, so that it can't pass for something else.
#ifndef HOLDFAST_PROTOCOL_DNS_MESSAGE_H_
#define HOLDFAST_PROTOCOL_DNS_MESSAGE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "protocol/ip_address.h"

namespace holdfast {

enum class DnsType : uint16_t {
  kA = 1,
  kCname = 5,
  kSoa = 6,
  kPtr = 12,
  kMx = 15,
  kAaaa = 28,
};

enum class DnsRcode : uint8_t {
  kNoError = 0,
  kFormErr = 1,
  kServFail = 2,
  kNxDomain = 3,
  kNotImp = 4,
  kRefused = 5,
};

// A record of class IN and one of the types above.
struct DnsRecord {
  std::string name;  // whose
  DnsType type{};
  uint32_t ttl = 0;         // seconds; above 2^31 - 1 is 0 (RFC 2181 section 8)
  IpAddress address;        // kA, kAaaa
  std::string target;       // kCname, kPtr, kMx
  uint16_t preference = 0;  // kMx
  uint32_t minimum = 0;     // kSoa: bounds the life of a negative answer
};

struct DnsMessage {
  uint16_t id = 0;
  bool response = false;
  bool truncated = false;
  DnsRcode rcode = DnsRcode::kNoError;
  std::string question;  // empty if there was none
  uint16_t question_type = 0;
  std::vector<DnsRecord> answers;
  std::vector<DnsRecord> authority;  // SOA only
};

// Records beyond these are not kept.
inline constexpr size_t kMaxDnsRecords = 1000;

// A recursive question with an EDNS0 option that allows answers of
// `udp_bytes`; it is the last thing in the message, 11 bytes.
// kInvalidArgument if `name` is none: an empty or overlong label, more than
// 255 bytes, a byte outside ASCII's printable ones.
absl::StatusOr<std::string> EncodeDnsQuestion(uint16_t id,
                                              absl::string_view name,
                                              DnsType type, uint16_t udp_bytes);

// kDataLoss for anything that is not a whole message; never reads outside of
// `bytes`, takes time linear in them, and follows a pointer only backwards.
// The records of a truncated message are those that are whole.
absl::StatusOr<DnsMessage> ParseDnsMessage(absl::string_view bytes);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_DNS_MESSAGE_H_
