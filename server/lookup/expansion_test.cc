#include "server/lookup/expansion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "config/parser.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr char kLocalUsers[] =
    "userbase { joe = \"1000:1000:/home/joe\", jim = \"1001:1001:/home/jim\","
    " bad = \"x\", \"odd+name\" = \"1:1:/\" }";

class ExpansionTest : public ::testing::Test {
 protected:
  void Configure(const std::string& text) {
    ParseOptions options;
    options.path = "c.conf";
    options.server_name = "mx.test";
    options.local_addresses = {"127.0.0.1"};
    const ParseResult result =
        ParseConfig(options, [&](const std::string& path) {
          return path == "c.conf"
                     ? absl::StatusOr<std::string>(text)
                     : absl::StatusOr<std::string>(files_.at(path));
        });
    for (const std::string& line : result.messages) ADD_FAILURE() << line;
    config_ = result.config;
  }

  // Rules for aliases of mx.test, and all else by relay.
  void ConfigureAliases(const std::string& aliases) {
    files_["/aliases"] = aliases;
    Configure(
        absl::StrCat("table aliases file:/aliases\n"
                     "action \"local\" mbox alias <aliases> ",
                     kLocalUsers,
                     " ttl 1h\n"
                     "action out relay\n"
                     "match from any for domain mx.test action \"local\"\n"
                     "match from local for any action out\n"));
  }

  ExpandAnswer Expand(const std::string& rcpt) {
    ExpandRequest request;
    request.question = 42;
    request.sockaddr = "203.0.113.9";
    request.rdns = "client.test";
    request.sender = {"sender", "s.test"};
    request.rcpt = SplitAddress(rcpt);
    Expansion expansion(config_, request);
    Expansion::Step step = expansion.Run();
    while (true) {
      for (std::string& line : expansion.TakeWarnings()) {
        warnings_.push_back(std::move(line));
      }
      if (const auto* user = std::get_if<Expansion::NeedUser>(&step)) {
        asked_.push_back(user->name);
        const auto found = system_.find(user->name);
        step = expansion.OnUser(found == system_.end()
                                    ? Expansion::UserResult::kNotFound
                                    : found->second);
      } else if (const auto* file = std::get_if<Expansion::NeedFile>(&step)) {
        const auto found = files_.find(file->path);
        if (found == files_.end()) {
          step = expansion.OnFile(missing_);
        } else {
          step = expansion.OnFile(found->second);
        }
      } else if (std::holds_alternative<Expansion::NeedTurn>(step)) {
        ++turns_;
        step = expansion.Run();
      } else {
        return std::get<ExpandAnswer>(std::move(step));
      }
    }
  }

  // "kind action dest user sub routing_key", or the refusal.
  std::vector<std::string> Places(const std::string& rcpt) {
    const ExpandAnswer answer = Expand(rcpt);
    EXPECT_EQ(answer.question, 42u);
    if (!answer.refusal.empty()) {
      EXPECT_TRUE(answer.recipients.empty());
      return {answer.refusal};
    }
    std::vector<std::string> all;
    for (const ExpandedRecipient& r : answer.recipients) {
      all.push_back(absl::StrJoin(
          {std::string(r.kind == DeliveryKind::kMta ? "mta" : "mda"), r.action,
           r.dest.ToString(), r.mda_user, r.mda_subaddress, r.routing_key,
           std::string(r.internal ? "internal" : "direct")},
          " "));
    }
    return all;
  }

  std::map<std::string, std::string> files_;
  std::map<std::string, Expansion::UserResult> system_;
  absl::Status missing_ = absl::NotFoundError("not there");
  std::shared_ptr<const Config> config_;
  std::vector<std::string> warnings_;
  std::vector<std::string> asked_;
  int turns_ = 0;
};

constexpr char kInvalid[] = "550 Invalid recipient";
constexpr char kTemporary[] = "451 Temporary failure";
constexpr char kProblem[] = "524 5.2.4 Mailing list expansion problem";
constexpr char kProblemNow[] = "424 4.2.4 Mailing list expansion problem";

TEST_F(ExpansionTest, LocalUsers) {
  ConfigureAliases("# none\n");
  EXPECT_THAT(Places("Joe@MX.test"),
              ElementsAre("mda local Joe@MX.test joe  joe direct"));
  EXPECT_THAT(Places("joe+Tag+x@mx.test"),
              ElementsAre("mda local joe+Tag+x@mx.test joe tag+x joe direct"));
  EXPECT_THAT(Places("nobody@mx.test"), ElementsAre(kInvalid));
  EXPECT_THAT(Places("bad@mx.test"), ElementsAre(kTemporary));
  EXPECT_THAT(Places("x@nowhere.test"), ElementsAre(kInvalid));
}

TEST_F(ExpansionTest, TimeToLive) {
  Configure(
      "queue ttl 2d\naction a relay ttl 1h\naction b relay\n"
      "match from any for domain a.test action a\n"
      "match from any for any action b\n");
  EXPECT_EQ(Expand("x@a.test").recipients[0].ttl, absl::Hours(1));
  EXPECT_EQ(Expand("x@b.test").recipients[0].ttl, absl::Hours(48));
}

TEST_F(ExpansionTest, Relay) {
  Configure(
      "action out relay\nmatch from any for domain no.test reject\n"
      "match from any for any action out\n");
  EXPECT_THAT(Places("Joe@Example.ORG"),
              ElementsAre("mta out Joe@Example.ORG   example.org direct"));
  EXPECT_THAT(Places("joe@no.test"), ElementsAre(kInvalid));
}

TEST_F(ExpansionTest, Aliases) {
  ConfigureAliases(
      "root: joe\npostmaster: root, jim@mx.test, out@far.test\n"
      "jim: jim, joe\njoe+list: jim\ngone: error:550 go away\n"
      "later: joe, error:450 not\\, now\n");
  EXPECT_THAT(Places("root@mx.test"),
              ElementsAre("mda local root@mx.test joe  joe direct"));
  EXPECT_THAT(
      Places("postmaster@mx.test"),
      UnorderedElementsAre("mda local postmaster@mx.test joe  joe direct",
                           "mta out out@far.test   far.test internal",
                           "mda local jim@mx.test jim  jim internal",
                           "mda local jim@mx.test joe  joe internal"));
  // A name that repeats its parent is the user, not the alias again.
  EXPECT_THAT(Places("jim@mx.test"),
              ElementsAre("mda local jim@mx.test jim  jim direct",
                          "mda local jim@mx.test joe  joe direct"));
  // With the tag first, which an alias then drops.
  EXPECT_THAT(
      Places("joe+list@mx.test"),
      UnorderedElementsAre("mda local joe+list@mx.test jim  jim direct",
                           "mda local joe+list@mx.test joe  joe direct"));
  EXPECT_THAT(Places("root+tag@mx.test"),
              ElementsAre("mda local root+tag@mx.test joe  joe direct"));
  EXPECT_THAT(Places("gone@mx.test"), ElementsAre("550 go away"));
  EXPECT_THAT(Places("later@mx.test"), ElementsAre("450 not, now"));
}

TEST_F(ExpansionTest, LoopsAndDepth) {
  ConfigureAliases(
      "loop1: loop2\nloop2: loop1\n"
      "again: again@mx.test\n"
      "d1: d2\nd2: d3\nd3: d4\nd4: d5\nd5: d6\nd6: d7\nd7: d8\nd8: joe\n"
      "e0: d1\n");
  EXPECT_THAT(Places("loop1@mx.test"), ElementsAre(kProblem));
  // Each is an address of its own: the depth ends it.
  EXPECT_THAT(Places("again@mx.test"), ElementsAre(kProblem));
  EXPECT_THAT(Places("d1@mx.test"),
              ElementsAre("mda local d1@mx.test joe  joe direct"));
  EXPECT_THAT(Places("e0@mx.test"), ElementsAre(kProblem));
}

TEST_F(ExpansionTest, OneFailureFailsAll) {
  ConfigureAliases("list: joe, nobody\nfar: joe, x@mx.test\n");
  EXPECT_THAT(Places("list@mx.test"), ElementsAre(kInvalid));
  EXPECT_THAT(Places("far@mx.test"), ElementsAre(kInvalid));
}

TEST_F(ExpansionTest, UnparsableItems) {
  ConfigureAliases("a: joe, a b\nb: u@d_x\n");
  EXPECT_THAT(Places("a@mx.test"), ElementsAre(kProblemNow));
  EXPECT_THAT(Places("b@mx.test"), ElementsAre(kProblemNow));
  EXPECT_EQ(warnings_.size(), 2u);
}

TEST_F(ExpansionTest, PipesAndFilesAreRefusedByName) {
  ConfigureAliases("p: \"|/bin/x y\"\nf: joe, /var/mail/f\n");
  EXPECT_THAT(Places("p@mx.test"), ElementsAre(kProblemNow));
  EXPECT_THAT(Places("f@mx.test"), ElementsAre(kProblemNow));
  EXPECT_THAT(
      warnings_,
      ElementsAre(
          "warn: alias \"p\" of action \"local\": delivery to \"|/bin/x "
          "y\" does not work in this version yet",
          "warn: alias \"f\" of action \"local\": delivery to "
          "\"/var/mail/f\" does not work in this version yet"));
}

TEST_F(ExpansionTest, Includes) {
  files_["/list"] =
      "# a comment\njoe, jim\nthis line is lost # comment\n"
      ":include:/other\nout@far.test\n";
  files_["/empty"] = "";
  ConfigureAliases(
      "list: :include:/list\nmix: far@far.test, include:/list, joe\n"
      "joe: :include:/missing\nnone: :include:/empty\n");
  EXPECT_THAT(Places("list@mx.test"),
              UnorderedElementsAre("mda local list@mx.test joe  joe direct",
                                   "mda local list@mx.test jim  jim direct",
                                   "mta out out@far.test   far.test internal"));
  EXPECT_THAT(Places("mix@mx.test"),
              UnorderedElementsAre("mta out far@far.test   far.test internal",
                                   "mda local mix@mx.test joe  joe direct",
                                   "mda local mix@mx.test jim  jim direct",
                                   "mta out out@far.test   far.test internal"));
  // What cannot be read names nobody: the name stays a user's.
  warnings_.clear();
  EXPECT_THAT(Places("joe@mx.test"),
              ElementsAre("mda local joe@mx.test joe  joe direct"));
  EXPECT_THAT(warnings_, ElementsAre("not there"));
  EXPECT_THAT(Places("none@mx.test"), ElementsAre(kInvalid));
  missing_ = absl::ResourceExhaustedError("too large");
  EXPECT_THAT(Places("joe@mx.test"), ElementsAre(kProblemNow));
}

TEST_F(ExpansionTest, SystemUsers) {
  Configure(
      "action \"local\" maildir user vmail\nmatch from any for any action "
      "\"local\"\n");
  system_ = {{"joe", Expansion::UserResult::kFound},
             {"slow", Expansion::UserResult::kError}};
  EXPECT_THAT(Places("Joe+tag@mx.test"),
              ElementsAre("mda local Joe+tag@mx.test joe tag joe direct"));
  EXPECT_THAT(Places("nobody@mx.test"), ElementsAre(kInvalid));
  EXPECT_THAT(Places("slow@mx.test"), ElementsAre(kTemporary));
  EXPECT_THAT(asked_, ElementsAre("joe", "nobody", "slow"));
}

TEST_F(ExpansionTest, Virtual) {
  files_["/virtual"] =
      "u+t@v.test: one@far.org\nu@v.test: two@far.org\nu+s: three@far.org\n"
      "w: four@far.org\n@v.test: five@far.org\n"
      "local@v.test: joe\nempty@v.test: :include:/none\n"
      "joe@: jim@far.org\n";
  files_["/none"] = "";
  Configure(absl::StrCat(
      "table v file:/virtual\naction virt maildir virtual <v> ", kLocalUsers,
      "\naction out relay\n"
      "match from any for domain \"*.test\" action virt\n"
      "match from local for any action out\n"));
  const auto relayed = [&](const char* rcpt) {
    const ExpandAnswer answer = Expand(rcpt);
    if (answer.recipients.size() != 1) return answer.refusal;
    return answer.recipients[0].dest.user;
  };
  EXPECT_EQ(relayed("U+T@V.test"), "one");
  EXPECT_EQ(relayed("u@v.test"), "two");
  EXPECT_EQ(relayed("u+s@v.test"), "two");
  EXPECT_EQ(relayed("u+s@w.test"), "three");
  EXPECT_EQ(relayed("w+x@w.test"), "four");
  EXPECT_EQ(relayed("w@w.test"), "four");
  EXPECT_EQ(relayed("any@v.test"), "five");
  EXPECT_EQ(relayed("any@w.test"), kProblem);
  EXPECT_EQ(relayed("empty@v.test"), kProblem);
  // A user that a virtual name gives is looked up once more, without domain.
  EXPECT_EQ(relayed("local@v.test"), "jim");
}

TEST_F(ExpansionTest, VirtualCatchAllAndUsers) {
  files_["/virtual"] = "@: joe\n";
  Configure(
      absl::StrCat("table v file:/virtual\naction virt maildir virtual <v> ",
                   kLocalUsers, "\nmatch from any for any action virt\n"));
  EXPECT_THAT(Places("any+tag@v.test"),
              ElementsAre("mda virt any+tag@v.test joe  joe direct"));
}

TEST_F(ExpansionTest, ATableErrorIsTemporary) {
  ConfigureAliases("root: joe\n");
  EXPECT_THAT(Places(absl::StrCat("x@", std::string(1024, 'x'))),
              ElementsAre(kTemporary));
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("lookup key too long")));
}

TEST_F(ExpansionTest, LongListsYieldAndVeryLongOnesFail) {
  std::string list;
  for (int i = 0; i < 1000; ++i) absl::StrAppend(&list, "u", i, "@far.test\n");
  files_["/list"] = list;
  for (int i = 0; i < 20000; ++i) absl::StrAppend(&list, "v", i, "@far.test\n");
  files_["/long"] = list;
  ConfigureAliases("list: :include:/list\nlong: :include:/long\n");
  EXPECT_EQ(Expand("list@mx.test").recipients.size(), 1000u);
  EXPECT_EQ(turns_, 1000 / kNodesPerTurn);
  EXPECT_THAT(warnings_, IsEmpty());
  EXPECT_THAT(Places("long@mx.test"), ElementsAre(kProblemNow));
  EXPECT_EQ(warnings_.size(), 1u);
}

// Addresses that produce each other, many at a time, end too.
TEST_F(ExpansionTest, ExplosionIsBounded) {
  std::string value;
  for (int i = 0; i < 10; ++i)
    absl::StrAppend(&value, i ? "," : "", "a", i, "@mx.test");
  std::string aliases;
  for (int i = 0; i < 10; ++i)
    absl::StrAppend(&aliases, "a", i, ": ", value, "\n");
  ConfigureAliases(aliases);
  const std::vector<std::string> refused = Places("a0@mx.test");
  ASSERT_EQ(refused.size(), 1u);
  EXPECT_EQ(refused[0], kProblemNow);
}

}  // namespace
}  // namespace holdfast
