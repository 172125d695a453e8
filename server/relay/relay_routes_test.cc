#include "server/relay/relay_test_bed.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class RelayRoutesTest : public RelayTestBed {};

TEST_F(RelayRoutesTest, LaterMeansToAskAgain) {
  Start();
  answers_.push_back(
      {0, SlotAnswer::Result::kLater, 0, 0, absl::Seconds(5), ""});
  answers_.push_back(
      {0, SlotAnswer::Result::kLater, 0, 0, absl::Seconds(5), ""});
  Give(Batch(1, {{"a@a.test"}}));
  EXPECT_EQ(connections(), 0u);
  loop_.Advance(absl::Seconds(11));
  EXPECT_THAT(outcomes_, ElementsAre("100 Ok 250 2.0.0 queued"));
  EXPECT_THAT(slot_requests_, SizeIs(3));
}

TEST_F(RelayRoutesTest, WhoHasWaitedForLongGivesItsWorkBack) {
  Start();
  for (int i = 0; i < 1000; ++i)
    answers_.push_back(
        {0, SlotAnswer::Result::kLater, 0, 0, absl::Seconds(5), ""});
  Give(Batch(1, {{"a@a.test"}}));
  loop_.Advance(kMaxSlotWait - absl::Seconds(1));
  EXPECT_THAT(outcomes_, SizeIs(0));
  loop_.Advance(absl::Seconds(1));
  EXPECT_THAT(outcomes_, ElementsAre("100 Returned "));
  EXPECT_THAT(finished_, ElementsAre(1));
  EXPECT_EQ(failure_, "");  // no fault of the destination
  const size_t asked = slot_requests_.size();
  loop_.Advance(absl::Minutes(1));
  EXPECT_EQ(slot_requests_.size(), asked);
}

TEST_F(RelayRoutesTest, TheNextHostIfOneFails) {
  Start();
  Hosts("a.test", {"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"});
  dialer_->refusing = {"192.0.2.1"};
  dialer_->hanging = {"192.0.2.2"};
  dialer_->prepare = [](size_t n, Server* s) {
    if (n == 0) s->answers["banner"] = {"554 go away"};
  };
  Give(Batch(1, {{"a@a.test"}}));
  loop_.Advance(kReplyTimeout);
  EXPECT_THAT(outcomes_, ElementsAre("100 Ok 250 2.0.0 queued"));
  EXPECT_EQ(batches_heard_.back().relay, "192.0.2.4 (192.0.2.4)");
  EXPECT_THAT(slots_,
              ElementsAre("1 failed", "2 failed", "3 failed", "4 ready"));
}

TEST_F(RelayRoutesTest, NoHostTakesAConnection) {
  Start();
  Hosts("a.test", {"192.0.2.1", "192.0.2.2"});
  dialer_->refusing = {"192.0.2.1", "192.0.2.2"};
  Give(Batch(1, {{"a@a.test", "b@a.test"}}));
  EXPECT_EQ(failure_,
            "Network error on destination MXs (192.0.2.1: IO Error: Connection "
            "refused; 192.0.2.2: IO Error: Connection refused)");
  EXPECT_THAT(outcomes_, ElementsAre("100 Returned ", "101 Returned "));
  EXPECT_EQ(batches_heard_.back().relay, "a.test");
  EXPECT_EQ(batches_heard_.back().source, "-");
  EXPECT_EQ(static_cast<uint64_t>(batches_heard_.back().session), 0u);
  EXPECT_THAT(finished_, ElementsAre(1));
  answers_.push_back({0, SlotAnswer::Result::kNoRoute, 0, 0, {}, ""});
  failure_.clear();
  Give(Batch(2, {{"a@a.test"}}));
  EXPECT_EQ(failure_,  // not tried: why the last time
            "Network error on destination MXs (192.0.2.1: IO Error: Connection "
            "refused; 192.0.2.2: IO Error: Connection refused)");
  // What the router says otherwise is said.
  answers_.push_back({0,
                      SlotAnswer::Result::kNoRoute,
                      0,
                      0,
                      {},
                      "All routes to destination blocked"});
  Give(Batch(3, {{"a@a.test"}}));
  EXPECT_EQ(failure_, "All routes to destination blocked");
  // Once it works, nothing is left of it.
  dialer_->refusing.clear();
  Give(Batch(4, {{"a@a.test"}}));
  loop_.Advance(absl::Minutes(1));
  answers_.push_back({0, SlotAnswer::Result::kNoRoute, 0, 0, {}, ""});
  Give(Batch(5, {{"a@a.test"}}));
  EXPECT_EQ(failure_, "Network error on destination MXs");
}

TEST_F(RelayRoutesTest, WhatTheDnsSays) {
  Start();
  MailHosts& none = resolver_->domains["none.test"];
  none.result = MailHosts::Result::kPermFail;
  none.text = "Domain does not exist";
  none.status = {5, 12};
  RelayBatch batch = Batch(1, {{"a@none.test"}, {"b@none.test"}});
  batch.target.domain = "none.test";
  Give(batch);
  EXPECT_THAT(outcomes_, ElementsAre("100 Perm Domain does not exist",
                                     "101 Perm Domain does not exist"));
  EXPECT_EQ(failure_, "");
  EXPECT_EQ(last_.status.code, 12);
  resolver_->domains["slow.test"].text = "Temporary failure in MX lookup";
  batch = Batch(2, {{"a@slow.test"}});
  batch.target.domain = "slow.test";
  Give(batch);
  EXPECT_EQ(outcomes_.back(), "200 Returned ");
  EXPECT_EQ(failure_, "Temporary failure in MX lookup");
}

TEST_F(RelayRoutesTest, Smarthosts) {
  Start();
  Hosts("relay.test", {"2001:db8::1"});
  const auto give = [&](uint64_t id, const std::string& url) {
    RelayBatch batch = Batch(id, {{"a@x.test"}});
    batch.target.domain = url;
    batch.target.smarthost = true;
    Give(batch);
  };
  give(1, "smtp+notls://relay.test:2525");
  EXPECT_EQ(outcomes_.back(), "100 Ok 250 2.0.0 queued");
  EXPECT_EQ(dialer_->connections[0]->port, 2525);
  EXPECT_EQ(slot_requests_.back().domain, "relay.test");
  EXPECT_EQ(batches_heard_.back().relay, "[2001:db8::1] (2001:db8::1)");
  give(2, "http://relay.test");
  EXPECT_EQ(outcomes_.back(), "200 Temp Cannot parse smarthost");
  EXPECT_EQ(batches_heard_.back().relay, "http://relay.test");
}

TEST_F(RelayRoutesTest, SourceAddresses) {
  auto table = std::make_shared<Table>("src", Table::Kind::kList, "static", "");
  table->Add("198.51.100.1", "");
  table->Add("198.51.100.2", "");
  config_->actions["out"].src = table;
  config_->actions["out"].helo = "out.me.test";
  Start();
  Hosts("a.test", {"2001:db8::1", "192.0.2.1"});
  dialer_->cannot_bind = "198.51.100.1";
  Give(Batch(1, {{"a@a.test"}}));
  EXPECT_EQ(outcomes_.back(), "100 Ok 250 2.0.0 queued");
  EXPECT_EQ(dialer_->connections[0]->source, "198.51.100.2");
  EXPECT_EQ(slot_requests_.back().source, "198.51.100.2");
  ASSERT_THAT(slot_requests_.back().hosts, SizeIs(1));  // of its family
  EXPECT_EQ(slot_requests_.back().hosts[0].address, "192.0.2.1");
  EXPECT_THAT(Commands(0), HasSubstr("EHLO out.me.test"));
  Hosts("b.test", {"2001:db8::1"});
  RelayBatch batch = Batch(2, {{"b@b.test"}});
  batch.target.domain = "b.test";
  Give(batch);
  EXPECT_EQ(failure_, "Address family mismatch on destination MXs");
}

TEST_F(RelayRoutesTest, ADisabledSourceIsNotTheOnlyOne) {
  auto table = std::make_shared<Table>("src", Table::Kind::kList, "static", "");
  table->Add("198.51.100.1", "");
  table->Add("198.51.100.2", "");
  config_->actions["out"].src = table;
  Start();
  answers_.push_back({0, SlotAnswer::Result::kNoRoute, 0, 0, {}, ""});
  Give(Batch(1, {{"a@a.test"}}));
  EXPECT_EQ(outcomes_.back(), "100 Ok 250 2.0.0 queued");
  ASSERT_THAT(slot_requests_, SizeIs(2));
  EXPECT_NE(slot_requests_[0].source, slot_requests_[1].source);
}

// The table gives its addresses in turn: behind the wait for the second comes
// the first again.
TEST_F(RelayRoutesTest, ASourceThatHasToWaitIsNotLost) {
  auto table = std::make_shared<Table>("src", Table::Kind::kList, "static", "");
  table->Add("198.51.100.1", "");
  table->Add("198.51.100.2", "");
  config_->actions["out"].src = table;
  Start();
  answers_.push_back({0, SlotAnswer::Result::kNoRoute, 0, 0, {}, ""});
  for (int i = 0; i < 3; ++i)
    answers_.push_back(
        {0, SlotAnswer::Result::kLater, 0, 0, absl::Seconds(5), ""});
  Give(Batch(1, {{"a@a.test"}}));
  loop_.Advance(absl::Seconds(16));
  EXPECT_THAT(outcomes_, ElementsAre("100 Ok 250 2.0.0 queued"));
  ASSERT_THAT(slot_requests_, SizeIs(5));
  for (int i = 2; i < 5; ++i)
    EXPECT_EQ(slot_requests_[i].source, slot_requests_[1].source);
}

TEST_F(RelayRoutesTest, TheNameWeGiveDependsOnTheSource) {
  auto src = std::make_shared<Table>("src", Table::Kind::kList, "static", "");
  src->Add("198.51.100.1", "");
  src->Add("198.51.100.2", "");
  auto names =
      std::make_shared<Table>("names", Table::Kind::kMap, "static", "");
  names->Add("198.51.100.2", "two.test");
  Action& action = config_->actions["out"];
  action.src = src;
  action.helo_src = names;
  action.helo = "out.me.test";
  Start();
  testing::internal::CaptureStderr();
  Give(Batch(1, {{"a@a.test"}}));
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(Commands(0), HasSubstr("EHLO two.test"));
  EXPECT_EQ(dialer_->connections[0]->source, "198.51.100.2");
  EXPECT_THAT(slots_, ElementsAre("1 closed", "2 ready"));
  EXPECT_THAT(log, HasSubstr("smtp-out: Error on 198.51.100.1 <-> 192.0.2.1 "
                             "(192.0.2.1): Failed to retrieve helo string\n"));
}

TEST_F(RelayRoutesTest, WithoutASourceOfOursTheNameIsThatOfTheAction) {
  config_->actions["out"].helo_src =
      std::make_shared<Table>("names", Table::Kind::kMap, "static", "");
  config_->actions["out"].helo = "out.me.test";
  Start();
  Give(Batch(1, {{"a@a.test"}}));
  EXPECT_THAT(Commands(0), HasSubstr("EHLO out.me.test"));
}

TEST_F(RelayRoutesTest, ProgramsNameTheSourceAndWhatItIsCalled) {
  Action& action = config_->actions["out"];
  action.src =
      std::make_shared<Table>("src", Table::Kind::kDynamic, "ldap", "");
  action.helo_src =
      std::make_shared<Table>("names", Table::Kind::kDynamic, "ldap", "");
  // One that is none, one of another family, one that is called by no name, and
  // one that is.
  tables_["src "] = {"nonsense", "[2001:db8::9]", "198.51.100.1",
                     "198.51.100.2"};
  tables_["names 198.51.100.2"] = {"two.test"};
  Start();
  NewLookup();
  Give(Batch(1, {{"a@a.test"}}));
  EXPECT_EQ(outcomes_.back(), "100 Ok 250 2.0.0 queued");
  EXPECT_EQ(dialer_->connections[0]->source, "198.51.100.2");
  EXPECT_EQ(slot_requests_.back().source, "198.51.100.2");
  EXPECT_THAT(Commands(0), HasSubstr("EHLO two.test"));
}

TEST_F(RelayRoutesTest, ProgramsMayCallASourceOfInet6WithoutBrackets) {
  Action& action = config_->actions["out"];
  action.src =
      std::make_shared<Table>("src", Table::Kind::kDynamic, "ldap", "");
  action.helo_src =
      std::make_shared<Table>("names", Table::Kind::kDynamic, "ldap", "");
  tables_["src "] = {"2001:db8::9", "2001:db8::9"};
  tables_["names 2001:db8::9"] = {"six.test"};
  Start();
  NewLookup();
  Hosts("a.test", {"2001:db8::1"});
  Give(Batch(1, {{"a@a.test"}}));
  EXPECT_THAT(Commands(0), HasSubstr("EHLO six.test"));
}

TEST_F(RelayRoutesTest, AProgramThatKnowsNoSource) {
  config_->actions["out"].src =
      std::make_shared<Table>("src", Table::Kind::kDynamic, "ldap", "");
  Start();
  Give(Batch(1, {{"a@a.test"}}));
  EXPECT_TRUE(slot_requests_.empty());
  EXPECT_EQ(failure_, "Could not retrieve source address");
  // Not for ever.
  for (int i = 0; i < 2 * kMaxSourceFetches; ++i)
    tables_["src "].push_back("nonsense");
  RelayBatch batch = Batch(2, {{"b@a.test"}});
  Give(batch);
  EXPECT_EQ(tables_["src "].size(), kMaxSourceFetches);
}

TEST_F(RelayRoutesTest, AProgramThatNamesOnlySourcesThatAreOfNoUse) {
  config_->actions["out"].src =
      std::make_shared<Table>("src", Table::Kind::kDynamic, "ldap", "");
  for (int i = 1; i <= 5 * kMaxSourceFetches; ++i) {
    tables_["src "].push_back(absl::StrCat("198.51.100.", i));
    answers_.push_back(
        {0, SlotAnswer::Result::kNoRoute, 0, 0, {}, "No valid route"});
  }
  Start();
  Give(Batch(1, {{"a@a.test"}}));
  EXPECT_THAT(slot_requests_, SizeIs(kMaxSourceFetches));
  EXPECT_EQ(failure_, "No valid route");
  EXPECT_THAT(outcomes_, ElementsAre("100 Returned "));
}

TEST_F(RelayRoutesTest, NothingOfSourcesIsUsable) {
  config_->actions["out"].src =
      std::make_shared<Table>("src", Table::Kind::kList, "static", "");
  Start();
  Give(Batch(1, {{"a@a.test"}}));
  EXPECT_EQ(failure_, "Could not retrieve source address");
}

TEST_F(RelayRoutesTest, MailForAnIdnDomainAsksDnsInAscii) {
  Start();
  Hosts("xn--bcher-kva.test", {"192.0.2.9"});
  RelayBatch batch = Batch(1, {{"a@b\xc3\xbc"
                                "cher.test"}});
  batch.target.domain =
      "b\xc3\xbc"
      "cher.test";
  Give(batch);
  EXPECT_EQ(dialer_->connections.at(0)->address, "192.0.2.9");
  EXPECT_THAT(Commands(0), HasSubstr("RCPT TO:<a@xn--bcher-kva.test>"));
  RelayBatch bad = Batch(2, {{"a@\xff.test"}});
  bad.target.domain = "\xff.test";
  Give(bad);
  EXPECT_EQ(outcomes_.back(), "200 Perm Malformed domain");
}

}  // namespace
}  // namespace holdfast
