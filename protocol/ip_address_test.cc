#include "protocol/ip_address.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

TEST(IpAddressTest, TextGoesThereAndBack) {
  EXPECT_EQ(IpAddress::Parse("192.0.2.1")->ToString(), "192.0.2.1");
  EXPECT_EQ(IpAddress::Parse("192.0.2.1")->ToBracketed(), "192.0.2.1");
  EXPECT_EQ(IpAddress::Parse("2001:DB8:0::1")->ToString(), "2001:db8::1");
  EXPECT_EQ(IpAddress::Parse("2001:db8::1")->ToBracketed(), "[2001:db8::1]");
  for (const char* bad : {"", "1.2.3", "1.2.3.4.5", "256.1.1.1", "[::1]",
                          "fe80::1%eth0", "::1 ", "host"})
    EXPECT_FALSE(IpAddress::Parse(bad)) << bad;
  EXPECT_FALSE(IpAddress::Parse(absl::string_view("1.2.3.4\0x", 9)));
}

TEST(IpAddressTest, AMappedAddressIsTheIpv4One) {
  EXPECT_EQ(*IpAddress::Parse("::ffff:127.0.0.1"),
            *IpAddress::Parse("127.0.0.1"));
}

TEST(IpAddressTest, KnowsWhatIsNotARemoteHost) {
  for (const char* local :
       {"127.0.0.1", "127.9.9.9", "0.0.0.0", "::", "::1", "::ffff:127.0.0.1"})
    EXPECT_TRUE(IpAddress::Parse(local)->IsLoopbackOrUnspecified()) << local;
  for (const char* remote : {"128.0.0.1", "::2", "2001::1", "1.0.0.0"})
    EXPECT_FALSE(IpAddress::Parse(remote)->IsLoopbackOrUnspecified()) << remote;
  EXPECT_TRUE(IpAddress::Parse("fe80::1")->IsLinkLocal());
  EXPECT_TRUE(IpAddress::Parse("169.254.1.1")->IsLinkLocal());
  EXPECT_FALSE(IpAddress::Parse("fec0::1")->IsLinkLocal());
}

TEST(IpAddressTest, Literals) {
  EXPECT_EQ(ParseAddressLiteral("[192.0.2.1]")->ToString(), "192.0.2.1");
  EXPECT_EQ(ParseAddressLiteral("[ipv6:2001:db8::1]")->ToString(),
            "2001:db8::1");
  EXPECT_EQ(ParseAddressLiteral("[2001:db8::1]")->ToString(), "2001:db8::1");
  for (const char* bad :
       {"192.0.2.1", "[192.0.2.1", "[]", "[", "[IPv6:192.0.2.1]", "[x]"})
    EXPECT_FALSE(ParseAddressLiteral(bad)) << bad;
}

TEST(IpAddressTest, ReverseNames) {
  EXPECT_EQ(ReverseDnsName(*IpAddress::Parse("192.0.2.1")),
            "1.2.0.192.in-addr.arpa");
  EXPECT_EQ(ReverseDnsName(*IpAddress::Parse("2001:db8::1")),
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2."
            "ip6.arpa");
}

}  // namespace
}  // namespace holdfast
