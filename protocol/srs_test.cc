#include "protocol/srs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

// Stands for SHA-1, which protocol/ has not; server/tls/sha1_test.cc has the
// vectors.
std::string FakeHash(absl::string_view bytes) {
  uint64_t state = 0xcbf29ce484222325;
  std::string out;
  for (int round = 0; round < 20; ++round) {
    for (const char c : bytes) {
      state = (state ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    }
    out.push_back(static_cast<char>(state >> 32));
  }
  return out;
}

const absl::Time kNow = absl::FromUnixSeconds(1700000000);

SrsRewriter Make(const std::string& key, const std::string& backup = "") {
  return SrsRewriter(key, backup, 4, FakeHash);
}

std::string Decoded(const SrsRewriter& srs, const MailAddress& address,
                    absl::Time now = kNow) {
  const auto sender = srs.Decode(address, now);
  return sender ? sender->ToString() : "no";
}

TEST(Srs, ThereAndBack) {
  const SrsRewriter srs = Make("secret");
  const MailAddress out = srs.Encode({"ann", "example.org"}, "fwd.test", kNow);
  EXPECT_EQ(out.domain, "fwd.test");
  EXPECT_EQ(out.user.substr(0, 5), "SRS0=");
  EXPECT_EQ(out.user.substr(9), "=G3=example.org=ann");
  EXPECT_EQ(Decoded(srs, out), "ann@example.org");
  EXPECT_EQ(Decoded(srs, srs.Encode({"a=b+c", "x.test"}, "fwd.test", kNow)),
            "a=b+c@x.test");
}

TEST(Srs, TheSecondAndTheThirdForwarder) {
  const SrsRewriter one = Make("1"), two = Make("2"), three = Make("3");
  const MailAddress first = one.Encode({"ann", "a.test"}, "one.test", kNow);
  const MailAddress second = two.Encode(first, "two.test", kNow);
  EXPECT_EQ(second.user.substr(0, 5), "SRS1=");
  EXPECT_EQ(second.user.substr(9), "=one.test==" + first.user.substr(5));
  const MailAddress third = three.Encode(second, "three.test", kNow);
  EXPECT_EQ(third.user.substr(0, 5), "SRS1=");
  // Both go straight to the first.
  EXPECT_EQ(third.user.substr(9), second.user.substr(9));
  EXPECT_EQ(Decoded(two, second), first.ToString());
  EXPECT_EQ(Decoded(three, third), first.ToString());
  EXPECT_EQ(Decoded(one, first), "ann@a.test");
}

TEST(Srs, WhatIsNotRewritten) {
  const SrsRewriter srs = Make("secret");
  for (const MailAddress& sender :
       {MailAddress{}, MailAddress{"\"a b\"", "x.test"},
        MailAddress{std::string(230, 'a'), "x.test"},
        MailAddress{"SRS1=abc", "x.test"}}) {
    EXPECT_EQ(srs.Encode(sender, "fwd.test", kNow), sender);
  }
  // 255 bytes in all: "SRS0=HHHH=TT=x.test=" and "@fwd.test".
  const MailAddress longest{std::string(255 - 20 - 9, 'a'), "x.test"};
  EXPECT_EQ(srs.Encode(longest, "fwd.test", kNow).ToString().size(), 255u);
}

TEST(Srs, Days) {
  const SrsRewriter srs = Make("secret");
  const MailAddress out = srs.Encode({"ann", "a.test"}, "fwd.test", kNow);
  const auto on_day = [&](int day) {
    return Decoded(srs, out, kNow + day * absl::Hours(24));
  };
  EXPECT_EQ(on_day(-2), "no");
  EXPECT_EQ(on_day(-1), "ann@a.test");  // a clock that is behind
  EXPECT_EQ(on_day(4), "ann@a.test");
  EXPECT_EQ(on_day(5), "no");
  EXPECT_EQ(on_day(1024), "ann@a.test");  // days come again
  // Round the end of the counter: day 1023 and day 1.
  const absl::Time end = absl::UnixEpoch() + 1023 * absl::Hours(24);
  const MailAddress last = srs.Encode({"ann", "a.test"}, "fwd.test", end);
  EXPECT_EQ(last.user.substr(9, 4), "=77=");
  EXPECT_EQ(Decoded(srs, last, end + 2 * absl::Hours(24)), "ann@a.test");
  EXPECT_EQ(Decoded(srs, last, end + 5 * absl::Hours(24)), "no");
}

TEST(Srs, TheInnerDayCountsToo) {
  const SrsRewriter one = Make("1"), two = Make("2");
  const MailAddress first = one.Encode({"ann", "a.test"}, "one.test", kNow);
  const absl::Time later = kNow + 3 * absl::Hours(24);
  const MailAddress second = two.Encode(first, "two.test", later);
  EXPECT_EQ(Decoded(two, second, later), first.ToString());
  EXPECT_EQ(Decoded(two, second, kNow + 5 * absl::Hours(24)), "no");
  // What another forwarder wrote may be no SRS0 of this kind.
  const MailAddress odd =
      two.Encode({"SRS0=abc", "odd.test"}, "two.test", kNow);
  EXPECT_EQ(odd.user.substr(9), "=odd.test==abc");
  EXPECT_EQ(Decoded(two, odd), "no");
}

TEST(Srs, Keys) {
  const MailAddress out = Make("old").Encode({"ann", "a.test"}, "f.test", kNow);
  EXPECT_EQ(Decoded(Make("new", "old"), out), "ann@a.test");
  EXPECT_EQ(Decoded(Make("new"), out), "no");
  EXPECT_EQ(Decoded(Make("new", "other"), out), "no");
  // The backup key does not write.
  EXPECT_EQ(
      Decoded(Make("old"),
              Make("new", "old").Encode({"ann", "a.test"}, "f.test", kNow)),
      "no");
}

TEST(Srs, Forgeries) {
  const SrsRewriter srs = Make("secret");
  const MailAddress good = srs.Encode({"ann", "a.test"}, "f.test", kNow);
  for (size_t at = 5; at < good.user.size(); ++at) {
    MailAddress bad = good;
    bad.user[at] ^= 1;
    EXPECT_EQ(Decoded(srs, bad), "no") << bad.user;
  }
  MailAddress bad = good;
  bad.domain = "g.test";
  EXPECT_EQ(Decoded(srs, bad), "no");
  // The hash has a case; the prefix has none.
  MailAddress lower = good;
  absl::AsciiStrToLower(&lower.user);
  EXPECT_EQ(Decoded(srs, lower), "no");
  MailAddress prefix = good;
  prefix.user.replace(0, 3, "srs");
  EXPECT_EQ(Decoded(srs, prefix), "ann@a.test");
  for (const char* user :
       {"", "SRS0", "SRS0=", "SRS0=abcd", "SRS0=abcd=", "SRS0=abcd=G3",
        "SRS1=abcd=", "SRS1=abcd==", "ann"}) {
    EXPECT_EQ(Decoded(srs, {user, "f.test"}), "no") << user;
  }
}

TEST(Srs, LooksRewritten) {
  EXPECT_TRUE(LooksRewritten("srs0=x"));
  EXPECT_TRUE(LooksRewritten("SRS1="));
  EXPECT_FALSE(LooksRewritten("SRS0+x"));
  EXPECT_FALSE(LooksRewritten("srs"));
}

TEST(Srs, AnySenderComesBack) {
  std::mt19937 random(1);
  const std::string letters = "abcXYZ019=.-+_!#";
  const auto word = [&](size_t most) {
    std::string text;
    const size_t size = 1 + random() % most;
    while (text.size() < size) {
      text.push_back(letters[random() % letters.size()]);
    }
    return text;
  };
  const SrsRewriter srs = Make("k");
  for (int i = 0; i < 20000; ++i) {
    MailAddress sender{word(60), word(30)};
    // No domain has this; and what looks rewritten is another case.
    sender.domain.erase(
        std::remove(sender.domain.begin(), sender.domain.end(), '='),
        sender.domain.end());
    if (sender.domain.empty() || LooksRewritten(sender.user)) continue;
    const absl::Time then = kNow + absl::Hours(random() % 100000);
    const MailAddress out = srs.Encode(sender, "f.test", then);
    ASSERT_EQ(Decoded(srs, out, then + absl::Hours(random() % 96)),
              sender.ToString());
  }
}

}  // namespace
}  // namespace holdfast
