#include "server/tls/sha1.h"

#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "protocol/srs.h"

namespace holdfast {
namespace {

TEST(Sha1, Vectors) {
  // FIPS 180-4's own.
  EXPECT_EQ(absl::BytesToHexString(Sha1("abc")),
            "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(absl::BytesToHexString(Sha1("")),
            "da39a3ee5e6b4b0d3255bfef95601890afd80709");
}

// Calculated apart from this program, by the scheme's description.
TEST(Sha1, WhatSrsMakesOfIt) {
  const absl::Time now = absl::FromUnixSeconds(1700000000);
  const SrsRewriter one("secret", "", 4, Sha1);
  const MailAddress first = one.Encode({"ann", "example.org"}, "fwd.test", now);
  EXPECT_EQ(first.ToString(), "SRS0=tPe3=G3=example.org=ann@fwd.test");
  const MailAddress second =
      SrsRewriter("key2", "", 4, Sha1).Encode(first, "second.test", now);
  EXPECT_EQ(second.ToString(),
            "SRS1=jeqr=fwd.test==tPe3=G3=example.org=ann@second.test");
  const MailAddress third =
      SrsRewriter("key3", "", 4, Sha1).Encode(second, "third.test", now);
  EXPECT_EQ(third.ToString(),
            "SRS1=1ALL=fwd.test==tPe3=G3=example.org=ann@third.test");
  EXPECT_EQ(one.Decode(first, now)->ToString(), "ann@example.org");
}

}  // namespace
}  // namespace holdfast
