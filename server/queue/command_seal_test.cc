#include "server/queue/command_seal.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

ExpandedRecipient Place() {
  ExpandedRecipient place;
  place.action = "local";
  place.mda_user = "joe";
  place.mda_subaddress = "tag";
  place.dest = {"joe", "mx.test"};
  place.mda_exec = "|/bin/x";
  return place;
}

Envelope From(const ExpandedRecipient& place, const std::string& exec) {
  Envelope e;
  e.action = place.action;
  e.mda_user = place.mda_user;
  e.mda_subaddress = place.mda_subaddress;
  e.dest = place.dest;
  e.mda_exec = exec;
  return e;
}

TEST(CommandSeals, OnlyWhatWasSealed) {
  CommandSeals seals;
  Envelope e = From(Place(), SealCommand("key", Place()));
  EXPECT_TRUE(absl::IsPermissionDenied(seals.Open(&e)));  // no key yet
  seals.AddKey("key");
  ASSERT_TRUE(seals.Open(&e).ok());
  EXPECT_EQ(e.mda_exec, "|/bin/x");
  // Once more it has no seal.
  EXPECT_TRUE(absl::IsPermissionDenied(seals.Open(&e)));
  Envelope none;
  EXPECT_TRUE(seals.Open(&none).ok());
}

TEST(CommandSeals, NothingOfItCanBeExchanged) {
  CommandSeals seals;
  seals.AddKey("key");
  const std::string sealed = SealCommand("key", Place());
  for (size_t at = 0; at < sealed.size(); ++at) {
    Envelope e = From(Place(), sealed);
    e.mda_exec[at] ^= 1;
    EXPECT_FALSE(seals.Open(&e).ok()) << at;
  }
  Envelope e = From(Place(), sealed);
  e.mda_user = "root";
  EXPECT_FALSE(seals.Open(&e).ok());
  e = From(Place(), sealed);
  e.action = "other";
  EXPECT_FALSE(seals.Open(&e).ok());
  e = From(Place(), sealed);
  e.mda_subaddress = "";
  EXPECT_FALSE(seals.Open(&e).ok());
  e = From(Place(), sealed);
  e.dest.user = "jim";
  EXPECT_FALSE(seals.Open(&e).ok());
  for (const char* exec : {"|/bin/x", "x", "AAAAAAAAAAAAAAAAAAAAAA"}) {
    e = From(Place(), exec);
    EXPECT_FALSE(seals.Open(&e).ok()) << exec;
  }
}

TEST(CommandSeals, TheKeyBeforeCounts) {
  CommandSeals seals;
  for (const char* key : {"1", "1", "2", "2", "3"}) seals.AddKey(key);
  for (const char* key : {"1", "2", "3"}) {
    Envelope e = From(Place(), SealCommand(key, Place()));
    EXPECT_EQ(seals.Open(&e).ok(), key[0] != '1') << key;
  }
}

}  // namespace
}  // namespace holdfast
