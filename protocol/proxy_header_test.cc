#include "protocol/proxy_header.h"

#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace holdfast {
namespace {

using State = ProxyHeader::State;

struct Outcome {
  State state = State::kIncomplete;
  std::string source;  // "-": none
  int port = 0;        // its
  std::string error;
  std::string rest;
  bool operator==(const Outcome&) const = default;
};

Outcome Parse(ProxyVersion version, absl::string_view bytes, size_t piece) {
  ProxyHeader header(version);
  Outcome out;
  while (!bytes.empty() && out.state == State::kIncomplete) {
    absl::string_view part = bytes.substr(0, piece);
    const size_t before = part.size();
    out.state = header.Take(&part);
    bytes.remove_prefix(before - part.size());
    if (out.state == State::kIncomplete) {
      EXPECT_TRUE(part.empty());
    }
  }
  out.source = header.source() ? header.source()->ToString() : "-";
  out.port = header.source_port();
  out.error = header.error();
  if (out.state == State::kDone) out.rest = std::string(bytes);
  return out;
}

// The same, however the bytes are cut.
Outcome Parse(ProxyVersion version, absl::string_view bytes) {
  const Outcome whole = Parse(version, bytes, bytes.size() + 1);
  for (size_t piece = 1; piece < bytes.size() && piece < 40; ++piece)
    EXPECT_EQ(Parse(version, bytes, piece), whole) << piece;
  return whole;
}

Outcome V1(absl::string_view bytes) { return Parse(ProxyVersion::kV1, bytes); }
Outcome V2(absl::string_view bytes) { return Parse(ProxyVersion::kV2, bytes); }

std::string Binary(uint8_t version_command, uint8_t family,
                   const std::string& rest) {
  std::string out("\r\n\r\n\0\r\nQUIT\n", 12);
  out.push_back(static_cast<char>(version_command));
  out.push_back(static_cast<char>(family));
  out.push_back(static_cast<char>(rest.size() >> 8));
  out.push_back(static_cast<char>(rest.size() & 255));
  return out + rest;
}

const std::string kFour("\xc0\0\x02\x01\xc6\x33\x64\x02\x12\x34\0\x19", 12);
const std::string kSix(
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07"
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x08\x12\x34\0\x19",
    36);

TEST(ProxyHeader, Version1) {
  Outcome out = V1("PROXY TCP4 192.0.2.1 198.51.100.2 4660 25\r\nEHLO x\r\n");
  EXPECT_EQ(out.state, State::kDone);
  EXPECT_EQ(out.source, "192.0.2.1");
  EXPECT_EQ(out.port, 4660);
  EXPECT_EQ(out.rest, "EHLO x\r\n");
  EXPECT_EQ(V1("PROXY TCP6 2001:db8::7 2001:db8::8 1 25\r\n").source,
            "2001:db8::7");
  EXPECT_EQ(V1("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 25\r\n").source, "192.0.2.1");
  out = V1("PROXY UNKNOWN\r\n");
  EXPECT_EQ(out.state, State::kDone);
  EXPECT_EQ(out.source, "-");
  EXPECT_EQ(V1("PROXY UNKNOWN what ever this is\r\n").state, State::kDone);
  EXPECT_EQ(V1("PROXY TCP4 192.0.2.1").state, State::kIncomplete);
}

TEST(ProxyHeader, Version1Wrong) {
  for (const auto& [line, error] :
       std::vector<std::pair<std::string, std::string>>{
           {"EHLO client\r\n", "invalid signature"},
           {"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "invalid signature"},
           {"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", "invalid signature"},
           {"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", "unsupported address family"},
           {"PROXY TCP4 ::1 ::2 1 2\r\n", "unsupported address family"},
           {"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", "unsupported address family"},
           {"PROXY TCP4 1.2.3.4 nobody 1 2\r\n", "unsupported address family"},
           {"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "address info too short"},
           {"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", "address info too short"},
           {"PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n", "address info too short"},
           {"PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n", "address info too short"},
           {"PROXY UNKNOWN " + std::string(100, 'x') + "\r\n",
            "header too long"},
           {"PROXY " + std::string(1000, 'x'), "header too long"},
       }) {
    const Outcome out = V1(line);
    EXPECT_EQ(out.state, State::kError) << line;
    EXPECT_EQ(out.error, error) << line;
  }
  // The longest there is.
  const std::string longest =
      "PROXY UNKNOWN " + std::string(kMaxProxyLine - 16, 'x') + "\r\n";
  ASSERT_EQ(longest.size(), kMaxProxyLine);
  EXPECT_EQ(V1(longest).state, State::kDone);
}

TEST(ProxyHeader, Version2) {
  Outcome out = V2(Binary(0x21, 0x11, kFour) + "EHLO x\r\n");
  EXPECT_EQ(out.state, State::kDone);
  EXPECT_EQ(out.source, "192.0.2.1");
  EXPECT_EQ(out.port, 0x1234);
  EXPECT_EQ(out.rest, "EHLO x\r\n");
  EXPECT_EQ(V2(Binary(0x21, 0x21, kSix)).source, "2001:db8::7");
  EXPECT_EQ(V2(Binary(0x21, 0x21, kSix)).port, 0x1234);
  // TLVs, whatever is in them.
  EXPECT_EQ(V2(Binary(0x21, 0x11, kFour + std::string(500, '\n'))).source,
            "192.0.2.1");
  EXPECT_EQ(V2(Binary(0x21, 0x21, kSix + std::string(3000, '\r')) + "x").rest,
            "x");
  // A Unix socket: done, but who it is has no address.
  out = V2(Binary(0x21, 0x31, std::string(216, 'u')));
  EXPECT_EQ(out.state, State::kDone);
  EXPECT_EQ(out.source, "-");
}

TEST(ProxyHeader, Version2Local) {
  for (const std::string& header :
       {Binary(0x20, 0x00, ""), Binary(0x20, 0x00, "tlv"),
        Binary(0x20, 0x11, kFour), Binary(0x20, 0x11, ""),
        Binary(0x20, 0x21, kSix + "tlv")}) {
    const Outcome out = V2(header + "rest");
    EXPECT_EQ(out.state, State::kDone);
    EXPECT_EQ(out.source, "-");
    EXPECT_EQ(out.rest, "rest");
  }
}

TEST(ProxyHeader, Version2Wrong) {
  std::string long_one = Binary(0x21, 0x11, kFour);
  long_one[14] = '\x7f';
  for (const auto& [header, error] :
       std::vector<std::pair<std::string, std::string>>{
           {"EHLO client.example\r\n", "invalid signature"},
           {Binary(0x11, 0x11, kFour), "invalid version"},
           {Binary(0x22, 0x11, kFour), "unknown command"},
           {Binary(0x21, 0x00, ""), "unsupported address family"},
           {Binary(0x21, 0x12, kFour), "unsupported address family"},
           {Binary(0x21, 0x41, kFour), "unsupported address family"},
           {Binary(0x20, 0x50, kFour), "unsupported address family"},
           {Binary(0x21, 0x11, kFour.substr(1)), "address info too short"},
           {Binary(0x21, 0x21, kFour), "address info too short"},
           {long_one, "header too long"},
       }) {
    const Outcome out = V2(header);
    EXPECT_EQ(out.state, State::kError) << error;
    EXPECT_EQ(out.error, error);
  }
}

TEST(ProxyHeader, AWrongSignatureIsSeenAtOnce) {
  ProxyHeader header(ProxyVersion::kV2);
  absl::string_view bytes = "E";
  EXPECT_EQ(header.Take(&bytes), State::kError);
}

}  // namespace
}  // namespace holdfast
