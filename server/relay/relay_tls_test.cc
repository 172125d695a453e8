// TLS and credentials: policies, fallbacks, and what is said of failures.
#include "server/relay/relay_test_bed.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr char kOk[] = "250 2.0.0 queued";

class RelayTlsTest : public RelayTestBed {
 protected:
  // All servers offer STARTTLS, and inside it `inside`.
  void OfferTls(std::vector<std::string> inside = {"PIPELINING"}) {
    dialer_->prepare = [inside](size_t, Server* s) {
      s->extensions = {"PIPELINING", "STARTTLS"};
      s->extensions_in_tls = inside;
    };
  }
  Action& action() { return config_->actions["out"]; }
  RelayBatch To(uint64_t id, const std::string& url) {
    RelayBatch batch = Batch(id, {{"a@x.test"}});
    batch.target.domain = url;
    batch.target.smarthost = true;
    return batch;
  }
  void Auth() {
    action().auth =
        std::make_shared<Table>("secrets", Table::Kind::kMap, "static", "");
    secrets_["lab"] = {"joe", "secret"};
  }
  static absl::Status SelfSigned() {
    return absl::UnauthenticatedError(
        "certificate verification failed: self-signed certificate");
  }
};

TEST_F(RelayTlsTest, TlsIsUsedWhereItIsOffered) {
  Start();
  OfferTls();
  Give(Batch(1, {{"a@a.test"}}));
  EXPECT_THAT(outcomes_, ElementsAre("100 Ok 250 2.0.0 queued"));
  EXPECT_THAT(Commands(0),
              HasSubstr("EHLO me.test|STARTTLS|EHLO me.test|MAIL FROM:"));
  ASSERT_THAT(tls_->asked, SizeIs(1));
  EXPECT_EQ(tls_->asked[0].name, "mx.a.test");
  EXPECT_FALSE(tls_->asked[0].verify);
  EXPECT_EQ(batches_heard_.back().tls,
            "TLSv1.3:TLS_AES_256_GCM_SHA384:256 unverified");
  EXPECT_THAT(slots_, ElementsAre("1 ready"));
}

TEST_F(RelayTlsTest, InClearOnceMoreWhereTlsDoesNotWork) {
  for (const absl::Status& failure :
       {absl::InternalError("wrong version number"),
        absl::UnavailableError("closed"), absl::DeadlineExceededError("")}) {
    SCOPED_TRACE(failure.ToString());
    Start();
    outcomes_.clear();
    slots_.clear();
    slot_ = 0;
    slot_requests_.clear();
    OfferTls();
    tls_->results = {failure};
    testing::internal::CaptureStderr();
    Give(Batch(1, {{"a@a.test"}, {"b@a.test"}}));
    loop_.Advance(kReplyTimeout);
    const std::string log = testing::internal::GetCapturedStderr();
    EXPECT_THAT(outcomes_, ElementsAre("100 Ok 250 2.0.0 queued",
                                       "101 Ok 250 2.0.0 queued"));
    EXPECT_EQ(connections(), 2u);
    EXPECT_FALSE(open(0));
    EXPECT_THAT(Commands(1), Not(HasSubstr("STARTTLS")));
    EXPECT_EQ(batches_heard_.back().tls, "");
    // One slot for both.
    EXPECT_THAT(slot_requests_, SizeIs(1));
    EXPECT_EQ(slots_[0], "1 ready");
    EXPECT_THAT(log, HasSubstr("opportunistic TLS failed, downgrading to "
                               "plain\n"));
    EXPECT_THAT(log, HasSubstr("mta connecting address=smtp+notls://"
                               "192.0.2.1:25 host=192.0.2.1\n"));
  }
}

TEST_F(RelayTlsTest, ARefusalOfStartTlsIsNoReasonToLeave) {
  Start();
  OfferTls();
  dialer_->prepare = [](size_t, Server* s) {
    s->extensions = {"STARTTLS"};
    s->answers["STARTTLS"] = {"454 4.7.0 not now"};
  };
  Give(Batch(1, {{"a@a.test"}}));
  EXPECT_THAT(outcomes_, ElementsAre("100 Ok 250 2.0.0 queued"));
  EXPECT_EQ(connections(), 1u);
  EXPECT_THAT(tls_->asked, IsEmpty());
}

TEST_F(RelayTlsTest, WhatIsSaidBehindTheGoAheadIsNotBelieved) {
  action().tls = Action::Tls::kRequired;
  Start();
  dialer_->prepare = [](size_t, Server* s) {
    s->extensions = {"STARTTLS"};
    s->answers["STARTTLS"] = {"220 go\r\n250 AUTH PLAIN"};
  };
  Give(Batch(1, {{"a@a.test"}}));
  EXPECT_THAT(outcomes_, ElementsAre("100 Returned "));
  EXPECT_THAT(failure_, HasSubstr("(192.0.2.1: "));
  EXPECT_THAT(tls_->asked, IsEmpty());
  EXPECT_FALSE(open(0));
}

TEST_F(RelayTlsTest, RequiredMeansRequired) {
  action().tls = Action::Tls::kRequired;
  Start();
  Give(Batch(1, {{"a@a.test"}}));  // not offered
  EXPECT_EQ(failure_,
            "Network error on destination MXs (192.0.2.1: TLS required but "
            "not supported by remote host)");
  EXPECT_THAT(outcomes_, ElementsAre("100 Returned "));
  EXPECT_THAT(slots_, ElementsAre("1 failed"));
  EXPECT_THAT(server(0).messages(), IsEmpty());
  EXPECT_NE(last_.began, absl::UnixEpoch());  // it was an attempt
}

TEST_F(RelayTlsTest, ACertificateThatDoesNotHoldIsNamedAndNothingLoops) {
  // The route works for others.
  config_->actions["plain"] = action();
  action().tls = Action::Tls::kRequired;
  Start();
  OfferTls();
  RelayBatch plain = Batch(1, {{"a@a.test"}});
  plain.target.action = "plain";
  Give(plain);
  EXPECT_THAT(outcomes_, SizeIs(1));
  tls_->results = {SelfSigned()};
  testing::internal::CaptureStderr();
  Give(Batch(2, {{"a@a.test"}, {"b@a.test"}}));
  loop_.Advance(absl::Hours(1));
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(failure_,
            "Network error on destination MXs (192.0.2.1: IO Error: "
            "certificate verification failed: self-signed certificate)");
  EXPECT_EQ(connections(), 2u);  // and no more
  EXPECT_EQ(tls_->asked[1].action, "out");
  EXPECT_TRUE(tls_->asked[1].verify);
  EXPECT_THAT(finished_, ElementsAre(1, 2));
  EXPECT_THAT(log, HasSubstr("mta error reason=IO Error: certificate "
                             "verification failed: self-signed "
                             "certificate\n"));
  EXPECT_THAT(log, HasSubstr("mta connecting address=smtp+tls://192.0.2.1:25 "
                             "host=192.0.2.1\n"));
}

TEST_F(RelayTlsTest, TheNextHostMayBeBetter) {
  action().tls = Action::Tls::kRequired;
  Start();
  Hosts("a.test", {"192.0.2.1", "192.0.2.2"});
  OfferTls();
  tls_->results = {SelfSigned()};
  Give(Batch(1, {{"a@a.test"}}));
  EXPECT_THAT(outcomes_, ElementsAre("100 Ok 250 2.0.0 queued"));
  EXPECT_THAT(slots_, ElementsAre("1 failed", "2 ready"));
  EXPECT_EQ(batches_heard_.back().tls,
            "TLSv1.3:TLS_AES_256_GCM_SHA384:256 verified");
}

TEST_F(RelayTlsTest, NoVerifyIsForOneActionOnly) {
  config_->actions["lax"] = action();
  config_->actions["lax"].name = "lax";
  config_->actions["lax"].tls = Action::Tls::kNoVerify;
  action().tls = Action::Tls::kRequired;
  Start();
  OfferTls();
  RelayBatch lax = Batch(1, {{"a@a.test"}});
  lax.target.action = "lax";
  Give(lax);
  Give(Batch(2, {{"a@a.test"}}));
  Give(To(3, "smtps://relay.test"));
  ASSERT_THAT(tls_->asked, SizeIs(2));
  EXPECT_FALSE(tls_->asked[0].verify);
  EXPECT_TRUE(tls_->asked[1].verify);
  EXPECT_EQ(connections(), 2u);  // and a session is never lent
}

TEST_F(RelayTlsTest, SmtpsBeginsWithTls) {
  Start();
  Hosts("relay.test", {"192.0.2.7"});
  resolver_->domains["relay.test"].hosts[0].name = "relay.test";
  testing::internal::CaptureStderr();
  Give(To(1, "smtps://relay.test"));
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(outcomes_, ElementsAre("100 Ok 250 2.0.0 queued"));
  EXPECT_EQ(dialer_->connections[0]->port, 465);
  ASSERT_THAT(tls_->asked, SizeIs(1));
  EXPECT_EQ(tls_->asked[0].name, "relay.test");
  EXPECT_TRUE(tls_->asked[0].verify);
  EXPECT_THAT(Commands(0), Not(HasSubstr("STARTTLS")));
  EXPECT_EQ(batches_heard_.back().tls,
            "TLSv1.3:TLS_AES_256_GCM_SHA384:256 verified");
  const std::string id = ToString(batches_heard_.back().session);
  EXPECT_THAT(
      log,
      HasSubstr(id +
                " mta connecting address=smtps://192.0.2.7:465 "
                "host=192.0.2.7\n" +
                id + " mta connected\n" + id +
                " mta tls ciphers=TLSv1.3:TLS_AES_256_GCM_SHA384:256\n" + id +
                " mta cert-check result=\"valid\" "
                "fingerprint=\"SHA256:5eed\"\n"));
}

TEST_F(RelayTlsTest, SmtpsIsNeverDowngraded) {
  Start();
  Hosts("relay.test", {"192.0.2.7"});
  tls_->results = {absl::InternalError("wrong version number")};
  Give(To(1, "smtps://relay.test"));
  EXPECT_EQ(failure_,
            "Network error on destination MXs (192.0.2.7: IO Error: wrong "
            "version number)");
  EXPECT_EQ(connections(), 1u);
  EXPECT_THAT(slots_, ElementsAre("1 failed"));
  // A handshake without end.
  tls_->results = {absl::DeadlineExceededError("")};
  Give(To(2, "smtps://relay.test"));
  loop_.Advance(kReplyTimeout);
  EXPECT_EQ(failure_,
            "Network error on destination MXs (192.0.2.7: Connection "
            "timeout)");
  // No TLS at all is possible.
  tls_->cannot = absl::InvalidArgumentError("cannot read authorities");
  Give(To(3, "smtps://relay.test"));
  EXPECT_THAT(failure_, HasSubstr("cannot read authorities"));
  EXPECT_THAT(finished_, ElementsAre(1, 2, 3));
}

TEST_F(RelayTlsTest, ALiteralIsCheckedWithoutItsBrackets) {
  Start();
  Hosts("[IPv6:2001:db8::1]", {"2001:db8::1"});
  resolver_->domains["[IPv6:2001:db8::1]"].hosts[0].name = "[IPv6:2001:db8::1]";
  Give(To(1, "smtps://[IPv6:2001:db8::1]"));
  ASSERT_THAT(tls_->asked, SizeIs(1));
  EXPECT_EQ(tls_->asked[0].name, "2001:db8::1");
}

TEST_F(RelayTlsTest, AHandshakeThatIsNotWantedAnyMore) {
  Start();
  Hosts("relay.test", {"192.0.2.7"});
  for (const char* url : {"smtps://relay.test", "smtp+tls://relay.test"}) {
    tls_->results = {absl::DeadlineExceededError("")};
    OfferTls();
    Give(To(1, url), /*claimed=*/false);
    Claim(BatchId(1), /*ok=*/false);
    loop_.Advance(absl::Minutes(10));
  }
  EXPECT_THAT(batches_heard_, IsEmpty());
}

// ---- credentials

TEST_F(RelayTlsTest, CredentialsAreAskedForWhenASessionWantsThem) {
  Auth();
  Start();
  Hosts("relay.test", {"192.0.2.7"});
  dialer_->prepare = [](size_t, Server* s) {
    s->extensions = {"AUTH PLAIN LOGIN"};
  };
  Give(To(1, "smtps://lab@relay.test"));
  EXPECT_THAT(outcomes_, ElementsAre("100 Ok 250 2.0.0 queued"));
  ASSERT_THAT(secret_questions_, SizeIs(1));
  EXPECT_EQ(secret_questions_[0].action, "out");
  EXPECT_EQ(secret_questions_[0].label, "lab");
  EXPECT_THAT(Commands(0),
              HasSubstr("EHLO me.test|AUTH PLAIN AGpvZQBzZWNyZXQ=|MAIL"));
  // Once for a session.
  Give(To(2, "smtps://lab@relay.test"));
  EXPECT_THAT(secret_questions_, SizeIs(1));
  EXPECT_EQ(connections(), 1u);
  // Another label is another session.
  secrets_["other"] = {"jim", "x"};
  Give(To(3, "smtps://other@relay.test"));
  EXPECT_EQ(connections(), 2u);
  EXPECT_THAT(outcomes_, SizeIs(3));
}

TEST_F(RelayTlsTest, CredentialsGoBehindStartTlsOnly) {
  Auth();
  Start();
  Hosts("relay.test", {"192.0.2.7"});
  dialer_->prepare = [](size_t, Server* s) {
    s->extensions = {"STARTTLS", "AUTH PLAIN"};
    s->extensions_in_tls = {"AUTH PLAIN"};
  };
  Give(To(1, "smtp+tls://lab@relay.test"));
  EXPECT_THAT(Commands(0), HasSubstr("EHLO me.test|STARTTLS|EHLO me.test|AUTH "
                                     "PLAIN AGpvZQBzZWNyZXQ=|MAIL"));
  EXPECT_THAT(outcomes_, ElementsAre("100 Ok 250 2.0.0 queued"));
}

TEST_F(RelayTlsTest, ARefusalOfCredentialsIsTemporary) {
  Auth();
  Start();
  Hosts("relay.test", {"192.0.2.7"});
  dialer_->prepare = [](size_t, Server* s) {
    s->extensions = {"AUTH PLAIN"};
    s->answers["AUTH"] = {"535 5.7.8 no\x1b[31m"};
  };
  Give(To(1, "smtps://lab@relay.test"));
  EXPECT_THAT(outcomes_, ElementsAre("100 Returned "));
  EXPECT_THAT(failure_, HasSubstr("(192.0.2.7: AUTH rejected: 535 5.7.8 no"));
  EXPECT_EQ(failure_.find('\x1b'), std::string::npos);
  EXPECT_THAT(slots_, ElementsAre("1 failed"));
  // No server that we know of, none that offers it.
  dialer_->prepare = [](size_t, Server* s) { s->extensions = {}; };
  Give(To(2, "smtps://lab@relay.test"));
  EXPECT_THAT(failure_, HasSubstr("(192.0.2.7: AUTH not advertised)"));
}

TEST_F(RelayTlsTest, NoCredentials) {
  Auth();
  secrets_.clear();
  Start();
  Hosts("relay.test", {"192.0.2.7", "192.0.2.8"});
  dialer_->prepare = [](size_t, Server* s) { s->extensions = {"AUTH PLAIN"}; };
  testing::internal::CaptureStderr();
  Give(To(1, "smtps://lab@relay.test"));
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(failure_, "Could not retrieve credentials");
  EXPECT_EQ(connections(), 1u);  // the next host would not help
  EXPECT_THAT(slots_, ElementsAre("1 closed"));
  EXPECT_THAT(log, HasSubstr("warn: Failed to retrieve secret for [relay:"
                             "relay.test,port=465,smtps,auth=secrets:lab,mx]"
                             "\n"));
}

TEST_F(RelayTlsTest, ALookupThatIsSilent) {
  Auth();
  silent_lookup_ = true;
  Start();
  Hosts("relay.test", {"192.0.2.7"});
  dialer_->prepare = [](size_t, Server* s) { s->extensions = {"AUTH PLAIN"}; };
  Give(To(1, "smtps://lab@relay.test"));
  EXPECT_EQ(failure_, "");
  loop_.Advance(kSecretTimeout);
  EXPECT_EQ(failure_, "Could not retrieve credentials");
  // One that is started anew answers.
  Give(To(2, "smtps://lab@relay.test"));
  silent_lookup_ = false;
  NewLookup();
  EXPECT_EQ(outcomes_.back(), std::string("200 Ok ") + kOk);
}

TEST_F(RelayTlsTest, WhatTheConfigurationForbids) {
  action().tls = Action::Tls::kRequired;
  Start();
  Give(To(1, "smtp+notls://relay.test"));
  EXPECT_EQ(outcomes_.back(), "100 Temp TLS required for relaying");
  Give(To(2, "smtps://lab@relay.test"));
  EXPECT_EQ(outcomes_.back(), "200 Temp No auth table for relaying");
  EXPECT_EQ(connections(), 0u);
}

}  // namespace
}  // namespace holdfast
