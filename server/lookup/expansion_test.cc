#include "server/lookup/expansion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "config/parser.h"
#include "server/tls/sha1.h"

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
    request.sender = sender_;
    request.rcpt = SplitAddress(rcpt);
    std::optional<SrsRewriter> srs;
    if (!config_->srs.key.empty()) {
      srs.emplace(config_->srs.key, config_->srs.backup_key,
                  config_->srs.ttl_days, Sha1);
    }
    ExpansionContext context;
    context.now = now_;
    context.srs = srs ? &*srs : nullptr;
    Expansion expansion(config_, request, context);
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
      } else if (const auto* forward =
                     std::get_if<Expansion::NeedForward>(&step)) {
        const ForwardQuestion& q = forward->question;
        forward_asked_.push_back(
            q.has_user
                ? absl::StrCat(q.name, ":", q.uid, ":", q.gid, ":", q.home)
                : q.name);
        const auto found = forwards_.find(q.name);
        ForwardAnswer none;
        none.result = ForwardAnswer::Result::kNone;
        step = expansion.OnForward(found == forwards_.end() ? none
                                                            : found->second);
      } else if (std::holds_alternative<Expansion::NeedTurn>(step)) {
        ++turns_;
        step = expansion.Run();
      } else {
        return std::get<ExpandAnswer>(std::move(step));
      }
    }
  }

  void Forward(const std::string& user, const std::string& contents,
               uint32_t uid = 1000) {
    ForwardAnswer answer;
    answer.result = ForwardAnswer::Result::kFound;
    answer.contents = contents;
    answer.uid = uid;
    forwards_[user] = answer;
  }
  void NoForward(const std::string& user, ForwardAnswer::Result result,
                 const std::string& error) {
    ForwardAnswer answer;
    answer.result = result;
    answer.error = error;
    forwards_[user] = answer;
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
      if (!r.mda_exec.empty()) {
        absl::StrAppend(&all.back(), " by ", r.mda_exec);
      }
    }
    return all;
  }

  MailAddress sender_ = {"sender", "s.test"};
  absl::Time now_ = absl::FromUnixSeconds(1700000000);
  std::map<std::string, ForwardAnswer> forwards_;
  std::vector<std::string> forward_asked_;
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

TEST_F(ExpansionTest, QuotedNamesAreForOtherHosts) {
  Configure(
      "table v { \"@\" = root }\naction \"local\" mbox virtual <v>\n"
      "action out relay\n"
      "match from any for domain mx.test action \"local\"\n"
      "match from any for any action out\n");
  EXPECT_THAT(Places("\"a b\"@mx.test"), ElementsAre(kInvalid));
  EXPECT_THAT(Places("\"a b\"@far.test"),
              ElementsAre("mta out \"a b\"@far.test   far.test direct"));
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
  // The configuration would have been refused with these in it; a table may
  // have come to them since.
  ConfigureAliases("a: joe\n");
  config_->tables.at("aliases")->Replace(
      ParseTableBytes("static", "/aliases", "a: joe, a b\nb: u@d_x\n").value());
  EXPECT_THAT(Places("a@mx.test"), ElementsAre(kProblemNow));
  EXPECT_THAT(Places("b@mx.test"), ElementsAre(kProblemNow));
  EXPECT_EQ(warnings_.size(), 2u);
}

TEST_F(ExpansionTest, CommandsAndFilesOfAliases) {
  ConfigureAliases("p: \"|/bin/x y\"\nf+t: joe, /var/mail/f, /var/mail/f\n");
  EXPECT_THAT(
      Places("p@mx.test"),
      ElementsAre("mda local p@mx.test _smtpd  _smtpd direct by |/bin/x y"));
  EXPECT_THAT(warnings_,
              ElementsAre("info: commands executed from aliases run with "
                          "_smtpd privileges"));
  EXPECT_THAT(Places("f+t@mx.test"),
              UnorderedElementsAre(
                  "mda local f+t@mx.test _smtpd  _smtpd direct by /var/mail/f",
                  "mda local f+t@mx.test joe  joe direct"));
  EXPECT_EQ(warnings_.size(), 1u);
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

TEST_F(ExpansionTest, ForwardElsewhere) {
  ConfigureAliases("root: joe\n");
  Forward("joe", "out@far.test\n# nothing\njim\n");
  EXPECT_THAT(Places("root@mx.test"),
              UnorderedElementsAre("mta out out@far.test   far.test internal",
                                   "mda local root@mx.test jim  jim direct"));
  EXPECT_THAT(forward_asked_, ElementsAre("joe:1000:1000:/home/joe",
                                          "jim:1001:1001:/home/jim"));
}

TEST_F(ExpansionTest, ForwardThatKeepsACopy) {
  ConfigureAliases("# none\n");
  for (const char* name : {"joe", "\\joe", "Joe"}) {
    Forward("joe", absl::StrCat(name, ", out@far.test"));
    EXPECT_THAT(
        Places("joe+tag@mx.test"),
        UnorderedElementsAre("mta out out@far.test   far.test internal",
                             "mda local joe+tag@mx.test joe  joe direct"))
        << name;
  }
  EXPECT_EQ(forward_asked_.size(), 3u);  // not again for the copy
}

// A name that an alias repeats is the user, whose .forward counts.
TEST_F(ExpansionTest, ForwardBehindAnAliasOfTheSameName) {
  ConfigureAliases("joe: joe\n");
  Forward("joe", "out@far.test");
  EXPECT_THAT(Places("joe@mx.test"),
              ElementsAre("mta out out@far.test   far.test internal"));
}

TEST_F(ExpansionTest, ForwardCommands) {
  ConfigureAliases("# none\n");
  Forward("joe", "\"|/bin/vacation joe\"\n/home/joe/copy\n");
  EXPECT_THAT(
      Places("joe+tag@mx.test"),
      UnorderedElementsAre(
          "mda local joe+tag@mx.test joe tag joe direct by |/bin/vacation joe",
          "mda local joe+tag@mx.test joe tag joe direct by /home/joe/copy"));
  EXPECT_THAT(warnings_, IsEmpty());
  Forward("joe", "|/bin/x", 0);
  EXPECT_THAT(Places("joe@mx.test"), ElementsAre(kTemporary));
  Forward("joe", "jim", 0);
  EXPECT_THAT(Places("joe@mx.test"),
              ElementsAre("mda local joe@mx.test jim  jim direct"));
}

TEST_F(ExpansionTest, ForwardErrorItem) {
  ConfigureAliases("# none\n");
  Forward("joe", "error:550 moved away");
  EXPECT_THAT(Places("joe@mx.test"), ElementsAre("550 moved away"));
}

TEST_F(ExpansionTest, ForwardOfNothingDeliversHere) {
  ConfigureAliases("# none\n");
  for (const char* contents : {"", "# none\n", ":include:/etc/passwd\n"}) {
    Forward("joe", contents);
    EXPECT_THAT(Places("joe@mx.test"),
                ElementsAre("mda local joe@mx.test joe  joe direct"));
  }
  NoForward("joe", ForwardAnswer::Result::kNone, "info: forward file is empty");
  EXPECT_THAT(Places("joe@mx.test"),
              ElementsAre("mda local joe@mx.test joe  joe direct"));
  EXPECT_THAT(warnings_, ElementsAre("info: forward file is empty"));
}

// Each of them is there already where the other names him.
TEST_F(ExpansionTest, ForwardLoopsEndInAMailbox) {
  ConfigureAliases("both: joe, jim\n");
  Forward("joe", "jim");
  Forward("jim", "joe");
  EXPECT_THAT(Places("joe@mx.test"),
              ElementsAre("mda local joe@mx.test jim  jim direct"));
  EXPECT_THAT(Places("both@mx.test"),
              UnorderedElementsAre("mda local both@mx.test joe  joe direct",
                                   "mda local both@mx.test jim  jim direct"));
  // By addresses, each new to the one before it, only the depth ends it.
  Forward("joe", "joe@mx.test");
  EXPECT_THAT(Places("joe@mx.test"), ElementsAre(kProblem));
}

TEST_F(ExpansionTest, ForwardThatIsRefused) {
  ConfigureAliases("# none\n");
  NoForward("joe", ForwardAnswer::Result::kUnsafe,
            "warn: smtpd: /home/joe/.forward: insecure file");
  EXPECT_THAT(Places("joe@mx.test"), ElementsAre(kProblem));
  NoForward("joe", ForwardAnswer::Result::kError, "warn: smtpd: sticky\n");
  EXPECT_THAT(Places("joe@mx.test"), ElementsAre(kProblemNow));
  NoForward("joe", ForwardAnswer::Result::kError, "");
  EXPECT_THAT(Places("joe@mx.test"), ElementsAre(kProblemNow));
  Forward("joe", "jim\nno such thing\n");
  EXPECT_THAT(Places("joe@mx.test"), ElementsAre(kProblemNow));
  EXPECT_THAT(warnings_,
              ElementsAre("warn: smtpd: /home/joe/.forward: insecure file",
                          "warn: smtpd: sticky\\n",
                          "warn: .forward of joe: could not be asked for",
                          "info: parse error in forward file"));
}

TEST_F(ExpansionTest, ForwardTooManyNodes) {
  ConfigureAliases("# none\n");
  std::string list;
  // With the address and the user there are a hundred.
  for (int i = 0; i < 98; ++i) absl::StrAppend(&list, "u", i, "@far.test\n");
  Forward("joe", list);
  EXPECT_EQ(Expand("joe@mx.test").recipients.size(), 98u);
  Forward("joe", absl::StrCat(list, "one@far.test\n"));
  EXPECT_THAT(Places("joe@mx.test"), ElementsAre(kProblemNow));
  EXPECT_THAT(warnings_,
              ElementsAre("info: forward file expanded too many nodes"));
}

TEST_F(ExpansionTest, DeliveryAsAnotherUserIgnoresForward) {
  Configure(absl::StrCat("action \"local\" maildir user vmail ", kLocalUsers,
                         "\nmatch from any for any action \"local\"\n"));
  EXPECT_THAT(Places("joe@mx.test"),
              ElementsAre("mda local joe@mx.test joe  joe direct"));
  EXPECT_THAT(forward_asked_, IsEmpty());
  Configure(absl::StrCat("action \"local\" maildir user joe ", kLocalUsers,
                         "\nmatch from any for any action \"local\"\n"));
  Expand("joe@mx.test");
  EXPECT_EQ(forward_asked_.size(), 1u);
}

TEST_F(ExpansionTest, ExpandOnly) {
  files_["/aliases"] =
      "out: out@far.test\npipe: |/bin/x\njim: jim\nerr: error:550 no\n";
  Configure(absl::StrCat(
      "table aliases file:/aliases\naction e expand-only alias <aliases> ",
      kLocalUsers,
      "\naction out relay\nmatch from any for domain mx.test action e\n"
      "match for any action out\n"));
  EXPECT_THAT(Places("out@mx.test"),
              ElementsAre("mta out out@far.test   far.test internal"));
  EXPECT_THAT(Places("pipe@mx.test"),
              ElementsAre("mda e pipe@mx.test _smtpd  _smtpd direct by "
                          "|/bin/x"));
  EXPECT_THAT(Places("err@mx.test"), ElementsAre("550 no"));
  EXPECT_THAT(Places("joe@mx.test"), ElementsAre(kProblem));
  EXPECT_THAT(Places("jim@mx.test"), ElementsAre(kProblem));
  Forward("joe", "/home/joe/box");
  EXPECT_THAT(Places("joe@mx.test"),
              ElementsAre("mda e joe@mx.test joe  joe direct by "
                          "/home/joe/box"));
  // What the reference accepts and then has no command for.
  Forward("joe", "joe");
  EXPECT_THAT(Places("joe@mx.test"), ElementsAre(kProblem));
}

TEST_F(ExpansionTest, ForwardOnly) {
  files_["/aliases"] =
      "out: out@far.test\npipe: |/bin/x\nfile: /x\nerr: error:550 no\n";
  Configure(absl::StrCat(
      "table aliases file:/aliases\naction f forward-only alias <aliases> ",
      kLocalUsers,
      "\naction out relay\nmatch from any for domain mx.test action f\n"
      "match for any action out\n"));
  EXPECT_THAT(Places("out@mx.test"),
              ElementsAre("mta out out@far.test   far.test internal"));
  for (const char* rcpt : {"pipe@mx.test", "file@mx.test", "err@mx.test"}) {
    EXPECT_THAT(Places(rcpt), ElementsAre(kTemporary));
  }
  EXPECT_THAT(Places("joe@mx.test"), ElementsAre(kProblemNow));
  Forward("joe", "jim@far.test");
  EXPECT_THAT(Places("joe@mx.test"),
              ElementsAre("mta out jim@far.test   far.test internal"));
  Forward("joe", "joe, jim@far.test");
  EXPECT_THAT(Places("joe@mx.test"), ElementsAre(kProblemNow));
}

TEST_F(ExpansionTest, SrsComesBack) {
  Configure(
      "srs key secret\nsrs key backup old\naction out relay srs\n"
      "match from any for domain fwd.test reject\n"
      "match from local for any action out\n");
  constexpr char kRewritten[] = "SRS0=tPe3=G3=example.org=ann@fwd.test";
  // Only for reports.
  EXPECT_THAT(Places(kRewritten), ElementsAre(kInvalid));
  sender_ = {};
  EXPECT_THAT(Places(kRewritten),
              ElementsAre("mta out ann@example.org   example.org internal"));
  EXPECT_THAT(warnings_, IsEmpty());
  EXPECT_THAT(Places("SRS0=tPe4=G3=example.org=ann@fwd.test"),
              ElementsAre(kInvalid));
  EXPECT_THAT(warnings_, ElementsAre("info: SRS failed to decode: "
                                     "SRS0=tPe4=G3=example.org=ann@fwd.test"));
  now_ += 5 * absl::Hours(24);
  EXPECT_THAT(Places(kRewritten), ElementsAre(kInvalid));
  now_ -= 5 * absl::Hours(24);
  // Without a key it is a name like others.
  Configure("action out relay\nmatch from any for any action out\n");
  EXPECT_THAT(
      Places(kRewritten),
      ElementsAre(absl::StrCat("mta out ", kRewritten, "   fwd.test direct")));
}

}  // namespace
}  // namespace holdfast
