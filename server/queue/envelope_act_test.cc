#include "server/queue/envelope_act.h"

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"

namespace holdfast {
namespace {

using Kind = EnvelopeAct::Kind;

class EnvelopeActTest : public ::testing::Test {
 protected:
  EnvelopeActTest() {
    config_.actions["out"].method = ActionMethod::kRelay;
    config_.actions["box"].method = ActionMethod::kMaildir;
    config_.actions["names"].method = ActionMethod::kExpandOnly;
  }
  absl::StatusOr<ActRequest> Parse(absl::string_view line) {
    return ParseActRequest(absl::StrSplit(line, ' '), config_);
  }
  ActRequest Good(absl::string_view line) {
    absl::StatusOr<ActRequest> request = Parse(line);
    EXPECT_TRUE(request.ok()) << line << ": " << request.status();
    return request.ok() ? *request : ActRequest();
  }
  std::string Error(absl::string_view line) {
    const absl::StatusOr<ActRequest> request = Parse(line);
    return request.ok() ? "" : std::string(request.status().message());
  }
  Config config_;
};

TEST_F(EnvelopeActTest, OptionsThenTheFilter) {
  const ActRequest remove = Good("remove --yes domain = example.org");
  EXPECT_EQ(remove.act.kind, Kind::kRemove);
  EXPECT_TRUE(remove.yes);
  EXPECT_EQ(remove.filter, "domain = example.org");
  EXPECT_EQ(Good("hold all").filter, "");
  EXPECT_TRUE(Good("hold all").filter_given);
  const ActRequest token = Good("hold --token=12ab");
  EXPECT_EQ(token.token, "12ab");
  EXPECT_FALSE(token.filter_given);
  const absl::StatusOr<ActRequest> bounce = ParseActRequest(
      {"bounce", "--text", "No such user", "age", ">", "2h"}, config_);
  ASSERT_TRUE(bounce.ok());
  EXPECT_EQ(bounce->act.text, "No such user");
  EXPECT_EQ(bounce->filter, "age > 2h");
  EXPECT_FALSE(Good("bounce all").act.text.empty());
}

TEST_F(EnvelopeActTest, WhereToReroute) {
  EXPECT_EQ(Good("reroute --to out all").act.action, "out");
  EXPECT_TRUE(Good("reroute --to box all").act.local);
  EXPECT_EQ(Good("reroute --to mx.example.net all").act.next_hop,
            "smtp://mx.example.net");
  EXPECT_EQ(Good("reroute --to [192.0.2.1]:2525 all").act.next_hop,
            "smtp://[192.0.2.1]:2525");
  EXPECT_EQ(Good("reroute --to smtps://mx.example.net all").act.next_hop,
            "smtps://mx.example.net");
  EXPECT_EQ(Good("reroute --token 12 ").act.next_hop, "");
  EXPECT_TRUE(absl::StrContains(Error("reroute --to outt all"),
                                "there are: box, names, out"));
  EXPECT_NE(Error("reroute --to lmtp://mx.example.net all"), "");
  EXPECT_NE(Error("reroute --to names all"), "");
  EXPECT_EQ(Error("reroute all"), "reroute where?  --to ACTION|HOST|URL");
}

TEST_F(EnvelopeActTest, WhatCanBeSet) {
  EXPECT_EQ(Good("set priority -3 all").act.priority, -3);
  EXPECT_EQ(Good("set expiry 2h all").act.expires_in, absl::Hours(2));
  EXPECT_EQ(Good("set ttl 4d all").act.ttl, absl::Hours(96));
  EXPECT_EQ(Good("set --yes priority 9 all").yes, true);
  EXPECT_EQ(Error("set sender x all"),
            "field \"sender\" can't be set; possible fields: expiry, priority, "
            "ttl");
  for (const char* bad :
       {"set", "set priority", "set priority 10 all", "set priority x all",
        "set ttl 4 all", "set ttl d all", "set ttl 366d all",
        "set ttl 99999999w all", "set ttl -1d all", "set priority 1"})
    EXPECT_NE(Error(bad), "") << bad;
}

TEST_F(EnvelopeActTest, WhatIsWrong) {
  for (const char* bad :
       {"remove", "remove --yes", "delete all", "remove --force all",
        "remove --text x all", "remove --yes --token 1", "remove --token",
        "remove --token= all", "remove --yes=1 all", "bounce --text= all",
        "bounce --text a\nb all"})
    EXPECT_NE(Error(bad), "") << bad;
  EXPECT_NE(
      Error("bounce --text " + std::string(kMaxBounceText + 1, 'a') + " all"),
      "");
}

TEST_F(EnvelopeActTest, TextTellsActsApart) {
  EXPECT_EQ(ActText(Good("set priority 3 all").act), "set priority 3");
  EXPECT_EQ(ActText(Good("set ttl 1h all").act), "set ttl 3600s");
  EXPECT_EQ(ActText(Good("reroute --to out all").act), "reroute --to \"out\"");
  EXPECT_EQ(ActText(Good("bounce --text why all").act),
            "bounce --text \"why\"");
}

TEST_F(EnvelopeActTest, WhatMakesNoSense) {
  Envelope relayed, local, command;
  relayed.kind = DeliveryKind::kMta;
  local.kind = command.kind = DeliveryKind::kMda;
  command.mda_exec = "|cat";
  for (Envelope* e : {&relayed, &local, &command})
    e->dest.domain = "example.org";
  relayed.action = "out";
  auto can_act = [this](const EnvelopeAct& act, const Envelope& e) {
    return CanAct(act, e, config_);
  };
  const EnvelopeAct box = Good("reroute --to box all").act;
  EXPECT_FALSE(can_act(box, relayed)) << "was never expanded";
  EXPECT_TRUE(can_act(box, local));
  EXPECT_FALSE(can_act(box, command));
  const EnvelopeAct host = Good("reroute --to mx.example.net all").act;
  EXPECT_TRUE(can_act(host, relayed));
  EXPECT_FALSE(can_act(host, local));
  relayed.action = "gone";
  EXPECT_FALSE(can_act(host, relayed)) << "its action is not there any more";
  EXPECT_TRUE(can_act(Good("reroute --to out all").act, relayed));
  EXPECT_TRUE(can_act(Good("reroute --to out all").act, local));
  EXPECT_TRUE(can_act(Good("remove all").act, command));
}

}  // namespace
}  // namespace holdfast
