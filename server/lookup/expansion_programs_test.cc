// Expansions whose tables are programs: what they say comes later, and nothing
// else is different.
#include <gtest/gtest.h>

#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "config/parser.h"
#include "server/lookup/expansion.h"
#include "server/tls/sha1.h"

namespace holdfast {
namespace {

constexpr char kEntries[] =
    "table domains { \"mx.test\", \"*.mx.test\" }\n"
    "table vdomains { \"v.test\" }\n"
    "table friends { \"@s.test\" }\n"
    "table aliases { list = \"joe, jim+x, ann@far.test, :include:/more\","
    " loop = \"loop, other\", other = \"loop\","
    " empty = \":include:/nothing\", root = joe }\n"
    "table virtuals { \"info@v.test\" = \"joe, x@mx.test\", \"@v.test\" = jim,"
    " joe = \"joe\" }\n"
    "table users { joe = \"1000:1000:/home/joe\","
    " jim = \"1001:1001:/home/jim\", odd = \"x\","
    " empty = \"1002:1002:/home/e\" }\n";
class ExpansionProgramsTest : public ::testing::Test {
 protected:
  static std::shared_ptr<const Config> Parse(const std::string& text) {
    ParseOptions options;
    options.path = "c.conf";
    options.server_name = "mx.test";
    const ParseResult result = ParseConfig(options, [&](const std::string&) {
      return absl::StatusOr<std::string>(text);
    });
    for (const std::string& line : result.messages) ADD_FAILURE() << line;
    return result.config;
  }
  static std::string Rules() {
    return absl::StrCat(
        "srs key secret\n",
        "action here mbox alias <aliases> userbase <users>\n"
        "action virt mbox virtual <virtuals> userbase <users>\n"
        "action out relay\n"
        "match from any for domain <domains> mail-from <friends> action here\n"
        "match from any for domain <vdomains> action virt\n"
        "match for any action out\n");
  }

  // All that an expansion does, as text; tables of programs answer from
  // those of the same name in `entries_`.
  std::string Run(const std::shared_ptr<const Config>& config,
                  const std::string& rcpt) {
    ExpandRequest request;
    request.sockaddr = "203.0.113.9";
    request.sender = sender_;
    request.rcpt = SplitAddress(rcpt);
    ExpansionTrace trace;
    const SrsRewriter srs("secret", "", 4, Sha1);
    ExpansionContext context;
    context.now = absl::FromUnixSeconds(1700000000);
    context.srs = &srs;
    context.trace = &trace;
    Expansion expansion(config, request, context);
    Expansion::Step step = expansion.Run();
    std::string text;
    while (true) {
      for (const std::string& line : expansion.TakeWarnings())
        absl::StrAppend(&text, line, "\n");
      if (const auto* table = std::get_if<Expansion::NeedTable>(&step)) {
        ++questions_;
        step = expansion.OnTable(Answer(table->query));
      } else if (const auto* user = std::get_if<Expansion::NeedUser>(&step)) {
        absl::StrAppend(&text, "asks the system for ", user->name, "\n");
        step = expansion.OnUser(Expansion::UserResult::kNotFound);
      } else if (const auto* file = std::get_if<Expansion::NeedFile>(&step)) {
        absl::StrAppend(&text, "reads ", file->path, "\n");
        step = expansion.OnFile(file->path == "/more"
                                    ? absl::StatusOr<std::string>("root\n")
                                    : absl::NotFoundError("gone"));
      } else if (const auto* f = std::get_if<Expansion::NeedForward>(&step)) {
        absl::StrAppend(&text, ".forward of ", f->question.name, " ",
                        f->question.uid, " ", f->question.home, "\n");
        ForwardAnswer answer;
        answer.result = f->question.name == "joe"
                            ? ForwardAnswer::Result::kFound
                            : ForwardAnswer::Result::kNone;
        answer.contents = "joe, jim";
        step = expansion.OnForward(answer);
      } else if (std::holds_alternative<Expansion::NeedTurn>(step)) {
        step = expansion.Run();
      } else {
        break;
      }
    }
    Tell(std::get<ExpandAnswer>(step), trace, &text);
    return text;
  }

  static void Tell(const ExpandAnswer& answer, const ExpansionTrace& trace,
                   std::string* text) {
    absl::StrAppend(text, "refusal ", answer.refusal, "\n");
    for (const ExpandedRecipient& r : answer.recipients) {
      absl::StrAppend(text, r.action, " ", r.dest.ToString(), " ", r.mda_user,
                      "+", r.mda_subaddress, " ", r.routing_key, " ",
                      r.internal, "\n");
    }
    for (const ExpansionTrace::Node& node : trace.nodes()) {
      absl::StrAppend(text, node.parent, " ", node.title, " (",
                      node.notes_before_rules, ")\n  ",
                      absl::StrJoin(node.notes, "\n  "), "\n");
      for (const RuleTrace& rule : node.rules) {
        for (const CriterionTrace& c : rule.criteria) {
          absl::StrAppend(text, "  ", c.criterion, " ", c.key, " ",
                          c.answer.ok() && *c.answer, "\n");
        }
      }
    }
  }

  TableResult Answer(const TableQuery& query) {
    if (query.table == fails_)
      return absl::UnavailableError("database is gone");
    const Table& table = *entries_->tables.at(query.table);
    if (query.op == TableOp::kLookup)
      return table.Lookup(query.service, query.key);
    const absl::StatusOr<bool> found = table.Check(query.service, query.key);
    EXPECT_TRUE(found.ok());
    return *found ? std::optional<std::string>("") : std::nullopt;
  }

  const std::string programs_ =
      "table domains p\ntable vdomains p\ntable friends p\ntable aliases p\n"
      "table virtuals p:/etc/v\ntable users p\n";
  const std::shared_ptr<const Config> entries_ =
      Parse(absl::StrCat(kEntries, Rules()));
  const std::shared_ptr<const Config> asking_ =
      Parse(absl::StrCat(programs_, Rules()));
  MailAddress sender_ = {"sender", "s.test"};
  std::string fails_;  // name of a table
  int questions_ = 0;
};

TEST_F(ExpansionProgramsTest, SayTheSameAsOtherTables) {
  int all = 0;
  for (const char* rcpt :
       {"list@mx.test", "joe@mx.test", "jim+tag@mx.test", "loop@mx.test",
        "empty@mx.test", "odd@mx.test", "nobody@mx.test", "list@a.mx.test",
        "info@v.test", "info+x@v.test", "else@v.test", "joe@v.test",
        "x@far.test", "\"q x\"@mx.test"}) {
    SCOPED_TRACE(rcpt);
    EXPECT_EQ(Run(asking_, rcpt), Run(entries_, rcpt));
    EXPECT_GT(questions_, 0);
    all += std::exchange(questions_, 0);
  }
  // As many as are needed: no table is asked twice for one node.
  EXPECT_LT(all, 200);
  sender_ = {};
  const char* const report = "SRS0=tPe3=G3=example.org=ann@mx.test";
  EXPECT_EQ(Run(asking_, report), Run(entries_, report));
  const char* const forged = "SRS0=tPe4=G3=example.org=ann@mx.test";
  EXPECT_EQ(Run(asking_, forged), Run(entries_, forged));
}

TEST_F(ExpansionProgramsTest, FailuresAreTemporary) {
  struct {
    const char* table;
    const char* rcpt;
    const char* refusal;
    const char* warning;
  } const cases[] = {
      {"domains", "joe@mx.test", "451 Temporary failure",
       "warn: table \"domains\": database is gone"},
      {"aliases", "joe@mx.test", "424 4.2.4 Mailing list expansion problem",
       "warn: table aliases: joe: database is gone"},
      {"virtuals", "joe@v.test", "424 4.2.4 Mailing list expansion problem",
       "warn: table virtuals: joe@v.test: database is gone"},
      {"users", "joe@mx.test", "451 Temporary failure",
       "warn: table users: joe: database is gone"},
  };
  for (const auto& c : cases) {
    fails_ = c.table;
    const std::string text = Run(asking_, c.rcpt);
    EXPECT_TRUE(absl::StrContains(text, absl::StrCat("refusal ", c.refusal)))
        << text;
    EXPECT_TRUE(absl::StartsWith(text, absl::StrCat(c.warning, "\n"))) << text;
  }
  // A rule that is not reached asks nobody.
  fails_ = "vdomains";
  EXPECT_TRUE(absl::StrContains(Run(asking_, "joe@mx.test"), "refusal \n"));
}

}  // namespace
}  // namespace holdfast
