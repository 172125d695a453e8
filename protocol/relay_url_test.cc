#include "protocol/relay_url.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

struct Good {
  const char* text;
  RelayProtocol protocol;
  const char* label;
  const char* host;
  int port;
};

TEST(RelayUrlTest, WhatTheReferenceTakes) {
  const Good cases[] = {
      {"mx.example.org", RelayProtocol::kSmtp, "", "mx.example.org", 25},
      {"mx.example.org:2525", RelayProtocol::kSmtp, "", "mx.example.org", 2525},
      {"smtp://h", RelayProtocol::kSmtp, "", "h", 25},
      {"SMTP+NoTLS://127.0.0.1:65535", RelayProtocol::kSmtpNotls, "",
       "127.0.0.1", 65535},
      {"smtp+tls://lab@h_1.test", RelayProtocol::kSmtpTls, "lab", "h_1.test",
       25},
      {"smtps://lab@h", RelayProtocol::kSmtps, "lab", "h", 465},
      {"smtps://h:1", RelayProtocol::kSmtps, "", "h", 1},
      {"lmtp://localhost:24", RelayProtocol::kLmtp, "", "localhost", 24},
      {"smtp://[192.0.2.1]:26", RelayProtocol::kSmtp, "", "[192.0.2.1]", 26},
      {"[IPv6:2001:db8::1]", RelayProtocol::kSmtp, "", "[IPv6:2001:db8::1]",
       25},
  };
  for (const Good& c : cases) {
    const absl::StatusOr<RelayUrl> url = ParseRelayUrl(c.text);
    ASSERT_TRUE(url.ok()) << c.text << ": " << url.status();
    EXPECT_EQ(url->protocol, c.protocol) << c.text;
    EXPECT_EQ(url->label, c.label) << c.text;
    EXPECT_EQ(url->host, c.host) << c.text;
    EXPECT_EQ(url->port, c.port) << c.text;
  }
}

TEST(RelayUrlTest, WhatItRefuses) {
  for (const char* text : {"",
                           "smtp://",
                           "http://h",
                           "://h",
                           "smtp://lab@h",
                           "smtp+notls://l@h",
                           "lmtp://l@h:24",
                           "lmtp://h",
                           "smtps://@h",
                           "h:",
                           "h:0",
                           "h:65536",
                           "h:-1",
                           "h:1x",
                           "h:000025",
                           "a b",
                           "h/",
                           "[192.0.2.1",
                           "[nonsense]",
                           "[192.0.2.1]x",
                           "-h",
                           ".h",
                           "a..b",
                           "2001:db8::1",
                           "h\r\n"})
    EXPECT_FALSE(ParseRelayUrl(text).ok()) << text;
  EXPECT_FALSE(ParseRelayUrl(std::string(256, 'a')).ok());
}

TEST(RelayUrlTest, Names) {
  EXPECT_STREQ(RelayProtocolName(RelayProtocol::kSmtp), "smtp");
  EXPECT_STREQ(RelayProtocolName(RelayProtocol::kLmtp), "lmtp");
}

TEST(WeightedRelayUrl, PlainOnesWeighOne) {
  const auto plain = ParseWeightedRelayUrl(" smtps://a@mx.example.net:4650 ");
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->url, "smtps://a@mx.example.net:4650");
  EXPECT_EQ(plain->weight, 1u);
}

TEST(WeightedRelayUrl, Weights) {
  const auto heavy = ParseWeightedRelayUrl("mx.example.net \t weight=30");
  ASSERT_TRUE(heavy.ok());
  EXPECT_EQ(heavy->url, "mx.example.net");
  EXPECT_EQ(heavy->weight, 30u);
  EXPECT_EQ(ParseWeightedRelayUrl("mx weight=0")->weight, 0u);
  EXPECT_EQ(ParseWeightedRelayUrl("mx weight=1000")->weight, 1000u);
  // No URL; that is found when mail is to go there.
  EXPECT_EQ(ParseWeightedRelayUrl("mx 3")->url, "mx 3");
}

TEST(WeightedRelayUrl, WhatIsNoWeight) {
  for (const char* bad :
       {"mx weight=", "mx weight=-1", "mx weight=+1", "mx weight=1001",
        "mx weight=99999999999", "mx weight=3x", "mx weight=3 weight=4",
        "mx weight =3", "mx weight"}) {
    const auto parsed = ParseWeightedRelayUrl(bad);
    ASSERT_FALSE(parsed.ok()) << bad;
    EXPECT_EQ(parsed.status().message(), "weight=N wanted, N from 0 to 1000");
  }
}

}  // namespace
}  // namespace holdfast
