#include "server/relay/resolver_config.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(ResolverConfigTest, ResolvConf) {
  const ResolvConf conf = ParseResolvConf(
      "# comment\n"
      "nameserver 192.0.2.53 ; the near one\n"
      "nameserver 2001:db8::53\r\n"
      "nameserver [127.0.0.1]:5353\n"
      "nameserver fe80::1%eth0\nnameserver nonsense\nnameserver\n"
      "nameserver [::1]:0\nnameserver [::1]:65536\n"
      "domain old.test\nsearch a.test b.test.\n"
      "options ndots:1 timeout:2 attempts:99 rotate\n");
  ASSERT_EQ(conf.servers.size(), 3u);
  EXPECT_EQ(conf.servers[0].address.ToString(), "192.0.2.53");
  EXPECT_EQ(conf.servers[0].port, 53);
  EXPECT_EQ(conf.servers[1].address.ToString(), "2001:db8::53");
  EXPECT_EQ(conf.servers[2].port, 5353);
  EXPECT_THAT(conf.search, ElementsAre("a.test", "b.test"));
  EXPECT_EQ(conf.timeout, absl::Seconds(2));
  EXPECT_EQ(conf.attempts, 5);
}

TEST(ResolverConfigTest, WithoutAServerItIsThisMachine) {
  for (const char* text : {"", "nonsense\n\n\0", "nameserver x\n"}) {
    const ResolvConf conf = ParseResolvConf(text);
    ASSERT_EQ(conf.servers.size(), 1u);
    EXPECT_EQ(conf.servers[0].address.ToString(), "127.0.0.1");
  }
}

TEST(ResolverConfigTest, Hosts) {
  const HostsFile hosts(
      "192.0.2.1\tmx.a.test MX alias # 192.0.2.9 x\n"
      "2001:db8::1 mx.a.test\n192.0.2.1 second\nnonsense mx\n192.0.2.2\n");
  const std::vector<IpAddress> both = hosts.Addresses("Mx.A.test");
  ASSERT_EQ(both.size(), 2u);
  EXPECT_EQ(both[1].ToString(), "2001:db8::1");
  EXPECT_EQ(hosts.Addresses("mx").size(), 1u);
  EXPECT_THAT(hosts.Addresses("x"), IsEmpty());
  EXPECT_EQ(hosts.Name(*IpAddress::Parse("192.0.2.1")), "mx.a.test");
  EXPECT_EQ(hosts.Name(*IpAddress::Parse("192.0.2.7")), "");
}

TEST(ResolverConfigTest, LocalhostIsAlwaysThere) {
  EXPECT_EQ(HostsFile("").Addresses("LocalHost").size(), 2u);
  EXPECT_EQ(HostsFile("").Name(*IpAddress::Parse("::1")), "localhost");
  const HostsFile own("127.0.0.5 localhost\n127.0.0.1 me\n");
  ASSERT_EQ(own.Addresses("localhost").size(), 1u);
  EXPECT_EQ(own.Addresses("localhost")[0].ToString(), "127.0.0.5");
  EXPECT_EQ(own.Name(*IpAddress::Parse("127.0.0.1")), "me");
}

}  // namespace
}  // namespace holdfast
