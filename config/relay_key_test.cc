#include "config/relay_key.h"

#include <functional>
#include <vector>

#include "gtest/gtest.h"

namespace holdfast {
namespace {

std::string Key(const Action& action) {
  return RelayKey(&action, "example.org", false, "");
}

TEST(RelayKey, ActionsThatDifferInWhatASessionIsNeverShareOne) {
  const std::vector<std::function<void(Action*)>> changes = {
      [](Action* a) { a->tls = Action::Tls::kRequired; },
      [](Action* a) { a->tls = Action::Tls::kNoVerify; },
      [](Action* a) { a->helo = "other.example"; },
      [](Action* a) { a->pki = "p"; },
      [](Action* a) { a->ca = "p"; },
      [](Action* a) { a->ciphers = "p"; },
      [](Action* a) { a->protocols = "p"; },
      [](Action* a) { a->filter = "p"; },
      [](Action* a) { a->method = ActionMethod::kLmtp; },
  };
  const std::string plain = Key(Action());
  std::vector<std::string> keys = {plain};
  for (const auto& change : changes) {
    Action action;
    change(&action);
    for (const std::string& other : keys) EXPECT_NE(Key(action), other);
    keys.push_back(Key(action));
  }
}

TEST(RelayKey, WhatConcernsMessagesOnlyDoesNotSplitSessions) {
  Action action;
  action.name = "another";
  action.mail_from = "x@example.org";
  action.srs = true;
  action.verp = true;
  action.ttl = absl::Hours(1);
  EXPECT_EQ(Key(action), Key(Action()));
}

TEST(RelayKey, TheNextHopIsPartOfIt) {
  const Action action;
  EXPECT_EQ(RelayKey(&action, "Example.ORG", false, ""), Key(action));
  EXPECT_NE(RelayKey(&action, "example.org", true, ""), Key(action));
  EXPECT_NE(RelayKey(&action, "example.org", false, "mx1"), Key(action));
  EXPECT_NE(RelayKey(&action, "smtps://a@example.org", true, ""),
            RelayKey(&action, "smtps://b@example.org", true, ""));
}

}  // namespace
}  // namespace holdfast
