#include "server/relay/resolver.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/loop/fake_event_loop.h"
#include "server/relay/fake_dns.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class ResolverTest : public ::testing::Test {
 protected:
  ResolverTest() { Make({}); }

  void Make(ResolverOptions options) {
    if (options.own.empty()) options.own = {*IpAddress::Parse("198.51.100.1")};
    resolver_ = MakeDnsResolver(
        &loop_, std::move(options), [this](const ResolvConf& conf) {
          auto dns = std::make_unique<FakeDns>(&loop_);
          dns_ = dns.get();
          servers_ = conf.servers;
          if (!conf.servers.empty() && conf.servers[0].port == 54) {
            dns->Address("open.test", "192.0.2.2");
            dns->Address("h.test", "192.0.2.3");
          }
          return dns;
        });
  }

  // "192.0.2.1 mx.a.test 10" of each host, or the failure's text.
  std::string Text(const MailHosts& hosts) {
    if (hosts.result == MailHosts::Result::kTempFail) return "T " + hosts.text;
    if (hosts.result == MailHosts::Result::kPermFail) return "P " + hosts.text;
    EXPECT_FALSE(hosts.hosts.empty());
    return absl::StrJoin(hosts.hosts, ", ", [](std::string* out, auto& h) {
      absl::StrAppend(out, h.address.ToString(), " ", h.name, " ",
                      h.preference);
    });
  }
  std::string Mx(const std::string& domain, const std::string& backup = "") {
    std::optional<MailHosts> result;
    resolver_->FindMx(domain, backup,
                      [&](MailHosts hosts) { result = std::move(hosts); });
    EXPECT_FALSE(result) << "answered within the call";
    loop_.RunReady();
    if (!result) return "no answer";
    last_ = *result;
    return Text(*result);
  }
  std::string Host(const std::string& name) {
    std::string text = "no answer";
    resolver_->FindHost(name, [&](MailHosts hosts) { text = Text(hosts); });
    EXPECT_EQ(text, "no answer");
    loop_.RunReady();
    return text;
  }
  std::string Name(const std::string& address) {
    std::string text = "no answer";
    resolver_->FindName(*IpAddress::Parse(address), [&](HostName name) {
      static const char* const kConfirmed[] = {"pass", "fail", "error"};
      text = absl::StrCat(name.name, ":", kConfirmed[int(name.confirmed)]);
    });
    EXPECT_EQ(text, "no answer");
    loop_.RunReady();
    return text;
  }

  FakeEventLoop loop_;
  FakeDns* dns_ = nullptr;  // the present one
  std::vector<ResolvConf::Server> servers_;
  std::unique_ptr<Resolver> resolver_;
  MailHosts last_;
};

TEST_F(ResolverTest, MxInOrderOfPreference) {
  dns_->Mx("a.test", 20, "mx2.a.test");
  dns_->Mx("a.test", 10, "mx1.a.test");
  dns_->Address("mx1.a.test", "192.0.2.1");
  dns_->Address("mx1.a.test", "192.0.2.2");
  dns_->Address("mx2.a.test", "192.0.2.3");
  EXPECT_EQ(Mx("A.test"),
            "192.0.2.1 mx1.a.test 10, 192.0.2.2 mx1.a.test 10, "
            "192.0.2.3 mx2.a.test 20");
}

TEST_F(ResolverTest, TheTableOfTheReference) {
  dns_->Address("plain.test", "192.0.2.1");
  EXPECT_EQ(Mx("plain.test"), "192.0.2.1 plain.test 0");
  dns_->Mx("lost.test", 10, "nowhere.test");
  EXPECT_EQ(Mx("lost.test"), "T No MX found for domain");
  dns_->Pointer("192.0.2.99", "x");  // the name exists, without an address
  EXPECT_EQ(Mx("99.2.0.192.in-addr.arpa"), "T No MX found for domain");
  EXPECT_EQ(Mx("none.test"), "P Domain does not exist");
  dns_->Rcode("servfail.test", DnsRcode::kServFail);
  EXPECT_EQ(Mx("servfail.test"), "T Temporary failure in MX lookup");
  dns_->Fail("timeout.test", absl::UnavailableError("Timeout"));
  EXPECT_EQ(Mx("timeout.test"), "T Temporary failure in MX lookup");
  // A name server that refuses to work for us says nothing about the domain:
  // no reason to give mail back.
  dns_->Rcode("refused.test", DnsRcode::kRefused);
  EXPECT_EQ(Mx("refused.test"), "T Temporary failure in MX lookup");
  dns_->Rcode("formerr.test", DnsRcode::kFormErr);
  EXPECT_EQ(Mx("formerr.test"), "P Invalid domain name");
  EXPECT_EQ(Mx("a..test"), "P Invalid domain name");
  dns_->Raw("junk.test", "junk");
  EXPECT_EQ(Mx("junk.test"), "T Temporary failure in MX lookup");
  EXPECT_EQ(Host("none.test"), "T Host not found");
  EXPECT_EQ(Host("servfail.test"), "T Host not found");
}

TEST_F(ResolverTest, NullMxAndLocalhost) {
  dns_->Mx("null.test", 0, "");
  EXPECT_EQ(Mx("null.test"), "P Domain does not accept mail");
  dns_->Mx("local.test", 10, "localhost");
  EXPECT_EQ(Mx("local.test"), "P Domain does not accept mail");
  dns_->Mx("both.test", 0, "");
  dns_->Mx("both.test", 5, "localhost");
  dns_->Mx("both.test", 10, "mx.both.test");
  dns_->Address("mx.both.test", "192.0.2.1");
  EXPECT_EQ(Mx("both.test"), "192.0.2.1 mx.both.test 10");
}

TEST_F(ResolverTest, ErrorsOfSingleHostsAreIgnored) {
  dns_->Mx("a.test", 10, "bad.test");
  dns_->Rcode("bad.test", DnsRcode::kServFail);
  dns_->Mx("a.test", 20, "good.test");
  dns_->Address("good.test", "192.0.2.1");
  EXPECT_EQ(Mx("a.test"), "192.0.2.1 good.test 20");
}

TEST_F(ResolverTest, NoMailToOurselves) {
  dns_->Mx("us.test", 10, "mx.us.test");
  dns_->Address("mx.us.test", "198.51.100.1");
  EXPECT_EQ(Mx("us.test"), "T No MX found for destination");
  EXPECT_TRUE(last_.loops_back);
  for (const char* self :
       {"127.0.0.1", "127.1.2.3", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"}) {
    dns_->Address("mx.us.test", self);
    EXPECT_EQ(Mx(absl::StrCat("[", self, "]")),
              "T No MX found for destination");
  }
  dns_->Mx("us.test", 20, "other.test");
  dns_->Address("other.test", "192.0.2.1");
  dns_->Mx("us.test", 5, "best.test");
  dns_->Address("best.test", "192.0.2.2");
  loop_.Advance(absl::Hours(1));
  // What stands behind us would come back.
  EXPECT_EQ(Mx("us.test"), "192.0.2.2 best.test 5");
  // Nobody's machine hides none.
  dns_->Mx("loopback.test", 10, "localhost.test");
  dns_->Address("localhost.test", "127.0.0.1");
  dns_->Mx("loopback.test", 20, "other.test");
  EXPECT_EQ(Mx("loopback.test"), "192.0.2.1 other.test 20");
  // A smarthost may well be on this machine.
  EXPECT_EQ(Host("mx.us.test"),
            "198.51.100.1 mx.us.test 0, 127.0.0.1 mx.us.test 0, "
            "127.1.2.3 mx.us.test 0, 0.0.0.0 mx.us.test 0, "
            "127.0.0.1 mx.us.test 0");
}

TEST_F(ResolverTest, BackupUsesBetterHostsOnly) {
  dns_->Mx("b.test", 10, "best.test");
  dns_->Mx("b.test", 20, "US.test");
  dns_->Mx("b.test", 20, "same.test");
  dns_->Mx("b.test", 30, "worse.test");
  dns_->Address("best.test", "192.0.2.1");
  dns_->Address("same.test", "192.0.2.2");
  dns_->Address("worse.test", "192.0.2.3");
  EXPECT_EQ(Mx("b.test", "us.test"), "192.0.2.1 best.test 10");
  EXPECT_FALSE(last_.backup_not_found);
  EXPECT_EQ(Mx("b.test", "best.test"), "T No MX found for destination");
  EXPECT_EQ(Mx("b.test", "unknown.test"),
            "192.0.2.1 best.test 10, 192.0.2.2 same.test 20, "
            "192.0.2.3 worse.test 30");
  EXPECT_TRUE(last_.backup_not_found);
}

TEST_F(ResolverTest, Literals) {
  EXPECT_EQ(Mx("[192.0.2.1]"), "192.0.2.1 [192.0.2.1] -1");
  EXPECT_EQ(Mx("[IPv6:2001:db8::1]"), "2001:db8::1 [IPv6:2001:db8::1] -1");
  EXPECT_EQ(Mx("[nonsense]"), "P Invalid domain name");
  EXPECT_EQ(Host("[192.0.2.1]"), "192.0.2.1 [192.0.2.1] 0");
  EXPECT_EQ(Host("192.0.2.1"), "192.0.2.1 192.0.2.1 0");
  EXPECT_THAT(dns_->questions(), IsEmpty());
}

TEST_F(ResolverTest, HostsFileAndSearchList) {
  ResolverOptions options;
  options.hosts = HostsFile("192.0.2.7 files\n");
  options.conf = ParseResolvConf("search a.test b.test\n");
  Make(std::move(options));
  EXPECT_EQ(Host("files"), "192.0.2.7 files 0");
  EXPECT_EQ(Host("localhost"), "127.0.0.1 localhost 0, ::1 localhost 0");
  EXPECT_THAT(dns_->questions(), IsEmpty());
  dns_->Address("mail.b.test", "192.0.2.8");
  EXPECT_EQ(Host("mail"), "192.0.2.8 mail 0");
  EXPECT_THAT(dns_->questions(), ElementsAre("a mail.a.test", "a mail.b.test"));
}

TEST_F(ResolverTest, BothFamiliesWhereWeHaveBoth) {
  ResolverOptions options;
  options.own = {*IpAddress::Parse("198.51.100.1"),
                 *IpAddress::Parse("2001:db8:1::1")};
  Make(std::move(options));
  dns_->Address("h.test", "2001:db8::1");
  dns_->Address("h.test", "192.0.2.1");
  EXPECT_EQ(Host("h.test"), "192.0.2.1 h.test 0, 2001:db8::1 h.test 0");
}

TEST_F(ResolverTest, AliasesAreFollowedToABoundedDepth) {
  for (const bool short_chains : {false, true}) {
    Make({});
    if (short_chains) dns_->SetShortChains();
    for (int i = 0; i < 11; ++i)
      dns_->Alias(absl::StrCat("c", i, ".test"),
                  absl::StrCat("c", i + 1, ".test"));
    dns_->Address("c11.test", "192.0.2.1");
    EXPECT_EQ(Host("c1.test"), "192.0.2.1 c1.test 0");  // 10 links
    EXPECT_EQ(Host("c0.test"), "T Host not found");     // 11
    dns_->Alias("loop.test", "pool.test");
    dns_->Alias("pool.test", "loop.test");
    EXPECT_EQ(Mx("loop.test"), "T Temporary failure in MX lookup");
    EXPECT_LE(dns_->questions().size(), 40u);
  }
}

TEST_F(ResolverTest, FanOutIsBounded) {
  for (int i = 0; i < 200; ++i) {
    const std::string mx = absl::StrCat("mx", i, ".test");
    dns_->Mx("many.test", static_cast<uint16_t>(i), mx);
    for (int j = 0; j < 20; ++j)
      dns_->Address(mx, absl::StrCat("192.0.2.", j), /*ttl=*/0);
  }
  Mx("many.test");
  EXPECT_THAT(last_.hosts, SizeIs(kMaxMxHosts * kMaxAddressesPerHost));
  EXPECT_THAT(dns_->questions(), SizeIs(1 + kMaxMxHosts));
}

TEST_F(ResolverTest, AnswersAreKeptForTheirTime) {
  dns_->Address("h.test", "192.0.2.1", /*ttl=*/100);
  Host("h.test");
  loop_.Advance(absl::Seconds(99));
  Host("h.test");
  EXPECT_THAT(dns_->questions(), SizeIs(1));
  loop_.Advance(absl::Seconds(2));
  Host("h.test");
  EXPECT_THAT(dns_->questions(), SizeIs(2));
  // Also that there is nothing: as long as the SOA says.
  Host("none.test");
  Host("none.test");
  EXPECT_THAT(dns_->questions(), SizeIs(3));
  loop_.Advance(absl::Seconds(61));
  Host("none.test");
  EXPECT_THAT(dns_->questions(), SizeIs(4));
}

TEST_F(ResolverTest, OneQuestionForAllWhoWant) {
  dns_->Address("h.test", "192.0.2.1");
  int answers = 0;
  for (int i = 0; i < 5; ++i)
    resolver_->FindHost("h.test", [&](MailHosts) { ++answers; });
  loop_.RunReady();
  EXPECT_EQ(answers, 5);
  EXPECT_THAT(dns_->questions(), SizeIs(1));
}

TEST_F(ResolverTest, ANewResolvConfIsUsedAtOnce) {
  ResolverOptions options;
  options.conf = ParseResolvConf("nameserver 192.0.2.53\n");
  Make(std::move(options));
  dns_->Address("h.test", "192.0.2.1");
  EXPECT_EQ(Host("h.test"), "192.0.2.1 h.test 0");
  // A question is open while the files change: the new servers answer it.
  std::string open;
  resolver_->FindHost("open.test", [&](MailHosts h) { open = Text(h); });
  resolver_->SetFiles(ParseResolvConf("nameserver [192.0.2.54]:54\n"),
                      HostsFile("192.0.2.9 known.test\n"));
  EXPECT_EQ(servers_.at(0).address.ToString(), "192.0.2.54");
  loop_.RunReady();
  EXPECT_EQ(open, "192.0.2.2 open.test 0");
  // Nothing of the old answers is kept.
  EXPECT_EQ(Host("h.test"), "192.0.2.3 h.test 0");
  EXPECT_EQ(Host("known.test"), "192.0.2.9 known.test 0");
}

TEST_F(ResolverTest, NamesOfAddresses) {
  dns_->Pointer("192.0.2.1", "good.test");
  dns_->Address("good.test", "192.0.2.1");
  EXPECT_EQ(Name("192.0.2.1"), "good.test:pass");
  dns_->Pointer("192.0.2.2", "good.test");
  EXPECT_EQ(Name("192.0.2.2"), "good.test:fail");
  EXPECT_EQ(Name("192.0.2.3"), ":fail");
  dns_->Rcode(ReverseDnsName(*IpAddress::Parse("192.0.2.4")),
              DnsRcode::kServFail);
  EXPECT_EQ(Name("192.0.2.4"), ":error");
  dns_->Pointer("192.0.2.5", "broken.test");
  dns_->Rcode("broken.test", DnsRcode::kServFail);
  EXPECT_EQ(Name("192.0.2.5"), "broken.test:error");
  dns_->Pointer("192.0.2.6", "192.0.2.6");
  EXPECT_EQ(Name("192.0.2.6"), "192.0.2.6:fail");
  dns_->Pointer("192.0.2.7", "evil]\n[name.test");
  EXPECT_EQ(Name("192.0.2.7"), ":fail");
  EXPECT_EQ(Name("127.0.0.1"), "localhost:pass");
}

}  // namespace
}  // namespace holdfast
