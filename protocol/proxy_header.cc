#include "protocol/proxy_header.h"

#include <algorithm>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace holdfast {
namespace {

constexpr absl::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);

// The fixed part of version 2.
constexpr size_t kVersionAt = 12, kFamilyAt = 13, kLengthAt = 14;
constexpr uint8_t kVersion2 = 2;
enum Command : uint8_t { kLocal = 0, kProxy = 1 };
enum Family : uint8_t { kUnspec = 0, kInet = 1, kInet6 = 2, kUnix = 3 };
constexpr uint8_t kStreamTransport = 1;

// Source and destination address; for TCP their ports.
constexpr size_t AddressBytes(uint8_t family) {
  switch (family) {
    case kInet:
      return 12;
    case kInet6:
      return 36;
    case kUnix:
      return 216;
    default:
      return 0;
  }
}

uint8_t Octet(absl::string_view bytes, size_t at) {
  return static_cast<uint8_t>(bytes[at]);
}

bool IsPort(absl::string_view text) {
  uint32_t port = 0;
  return text.size() <= 5 && !text.empty() && text[0] != '+' &&
         absl::SimpleAtoi(text, &port) && port <= 65535;
}

}  // namespace

ProxyHeader::State ProxyHeader::Fail(absl::string_view why) {
  error_ = std::string(why);
  return State::kError;
}

ProxyHeader::State ProxyHeader::Take(absl::string_view* bytes) {
  return version_ == ProxyVersion::kV1 ? TakeLine(bytes) : TakeBinary(bytes);
}

// ---- Version 1

ProxyHeader::State ProxyHeader::TakeLine(absl::string_view* bytes) {
  constexpr absl::string_view kWord = "PROXY ";
  const size_t end = bytes->find('\n');
  const size_t want = end == bytes->npos ? bytes->size() : end + 1;
  const size_t room = kMaxProxyLine - kept_.size();
  const size_t take = std::min(want, room);
  kept_.append(bytes->data(), take);
  bytes->remove_prefix(take);
  const size_t compare = std::min(kept_.size(), kWord.size());
  if (kept_.compare(0, compare, kWord.data(), compare) != 0)
    return Fail("invalid signature");
  if (take < want || (kept_.back() != '\n' && kept_.size() == kMaxProxyLine))
    return Fail("header too long");
  if (kept_.back() != '\n') return State::kIncomplete;
  absl::string_view line(kept_);
  if (!absl::EndsWith(line, "\r\n")) return Fail("invalid signature");
  line.remove_prefix(kWord.size());
  line.remove_suffix(2);
  return ParseLine(line);
}

ProxyHeader::State ProxyHeader::ParseLine(absl::string_view line) {
  const std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
  // What stands behind it is to be ignored.
  if (words[0] == "UNKNOWN") return State::kDone;
  const bool inet6 = words[0] == "TCP6";
  if (!inet6 && words[0] != "TCP4") return Fail("unsupported address family");
  if (words.size() != 5) return Fail("address info too short");
  for (const size_t i : {size_t{1}, size_t{2}}) {
    // An IPv4-mapped address of TCP6 becomes an IPv4 one.
    const std::optional<IpAddress> address = IpAddress::Parse(words[i]);
    if (!address || absl::StrContains(words[i], ':') != inet6)
      return Fail("unsupported address family");
    if (i == 1) source_ = address;
  }
  if (!IsPort(words[3]) || !IsPort(words[4]))
    return Fail("address info too short");
  uint32_t port = 0;
  if (absl::SimpleAtoi(words[3], &port))
    source_port_ = static_cast<uint16_t>(port);
  return State::kDone;
}

// ---- Version 2

ProxyHeader::State ProxyHeader::TakeBinary(absl::string_view* bytes) {
  const auto fill = [&](size_t want) {
    const size_t take =
        std::min(bytes->size(), want - std::min(want, kept_.size()));
    kept_.append(bytes->data(), take);
    bytes->remove_prefix(take);
    return kept_.size() >= want;
  };
  if (!checked_) {
    const bool all = fill(kProxyV2Fixed);
    const size_t compare = std::min(kept_.size(), kSignature.size());
    if (kept_.compare(0, compare, kSignature.data(), compare) != 0)
      return Fail("invalid signature");
    if (!all) return State::kIncomplete;
    const State state = CheckFixed();
    if (state != State::kIncomplete) return state;
    checked_ = true;
  }
  if (!fill(kProxyV2Fixed + AddressBytes(Octet(kept_, kFamilyAt) >> 4)))
    return State::kIncomplete;
  const size_t skipped = std::min(skip_, bytes->size());
  skip_ -= skipped;
  bytes->remove_prefix(skipped);
  return skip_ > 0 ? State::kIncomplete : ParseAddresses();
}

// kIncomplete: it may go on.
ProxyHeader::State ProxyHeader::CheckFixed() {
  const uint8_t version = Octet(kept_, kVersionAt) >> 4;
  const uint8_t command = Octet(kept_, kVersionAt) & 15;
  const uint8_t family = Octet(kept_, kFamilyAt) >> 4;
  const uint8_t transport = Octet(kept_, kFamilyAt) & 15;
  const size_t length = static_cast<size_t>(Octet(kept_, kLengthAt)) << 8 |
                        Octet(kept_, kLengthAt + 1);
  if (version != kVersion2) return Fail("invalid version");
  if (command > kProxy) return Fail("unknown command");
  if (length > kMaxProxyV2Rest) return Fail("header too long");
  const bool unspecified = family == kUnspec && transport == 0;
  const bool known = family >= kInet && family <= kUnix;
  if (command == kProxy && (!known || transport != kStreamTransport))
    return Fail("unsupported address family");
  if (command == kLocal && !known && !unspecified)
    return Fail("unsupported address family");
  // LOCAL may leave the addresses out.
  const size_t addresses = AddressBytes(family);
  if (length < addresses) {
    if (command == kProxy) return Fail("address info too short");
    kept_[kFamilyAt] = 0;
    skip_ = length;
  } else {
    skip_ = length - addresses;
  }
  return State::kIncomplete;
}

ProxyHeader::State ProxyHeader::ParseAddresses() {
  const uint8_t command = Octet(kept_, kVersionAt) & 15;
  const uint8_t family = Octet(kept_, kFamilyAt) >> 4;
  if (command == kLocal || family == kUnix) return State::kDone;
  const size_t bytes = family == kInet ? 4 : 16;
  source_ = IpAddress::FromBytes(
      absl::string_view(kept_).substr(kProxyV2Fixed, bytes));
  const size_t port = kProxyV2Fixed + 2 * bytes;  // behind both addresses
  source_port_ =
      static_cast<uint16_t>(Octet(kept_, port) << 8 | Octet(kept_, port + 1));
  return State::kDone;
}

}  // namespace holdfast
