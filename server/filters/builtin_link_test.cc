// Every phase, condition and decision of builtin filters, as they are written.
#include "server/filters/builtin_link.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "config/parser.h"

namespace holdfast {
namespace {

using testing::ElementsAre;

class BuiltinLinkTest : public testing::Test {
 protected:
  BuiltinLinkTest() {
    facts_.rdns = "mail.client.test";
    facts_.fcrdns = "pass";
    facts_.source = "192.0.2.1:25";
    facts_.source_address = "192.0.2.1";
    ask_ = [this](const Table& table, TableService service, std::string key,
                  Matched done) {
      asked_.push_back(
          absl::StrCat(table.name(), " ", static_cast<int>(service), " ", key));
      done_ = std::move(done);
    };
  }

  // `rest`: behind `filter f phase`; `tables`: lines before it.
  void Write(const std::string& rest, const std::string& tables = "") {
    session_.reset();
    ParseOptions options;
    options.path = "/c";
    options.server_name = "mx.test";
    const std::string text =
        absl::StrCat(tables, "filter f phase ", rest,
                     "\nlisten on 127.0.0.1 filter f\n"
                     "action a maildir\nmatch for any action a\n");
    ParseResult parsed = ParseConfig(
        options,
        [&](const std::string&) -> absl::StatusOr<std::string> { return text; },
        [](const Table&) { return nullptr; });
    ASSERT_NE(parsed.config, nullptr)
        << rest << ": " << (parsed.messages.empty() ? "" : parsed.messages[0]);
    config_ = parsed.config;
    link_ =
        std::make_unique<BuiltinLink>(&config_->filters.at("f"), '+', &ask_);
    session_ = link_->Begin(absl::UnixEpoch(), facts_);
  }
  // The verdict that `rest` gives; nothing: it waits.
  std::optional<LinkAnswer> Decide(const std::string& rest,
                                   const std::string& tables = "") {
    Write(rest, tables);
    return Ask();
  }
  std::optional<LinkAnswer> Ask() {
    answer_.reset();
    FilterQuestion question;
    question.phase = link_->phase();
    session_->Ask(question,
                  [this](LinkAnswer answer) { answer_ = std::move(answer); });
    return answer_;
  }
  bool Matches(const std::string& phase_and_condition,
               const std::string& tables = "") {
    const auto answer =
        Decide(phase_and_condition + " reject \"550 no\"", tables);
    EXPECT_TRUE(answer.has_value());
    return answer && answer->verdict == LinkAnswer::Verdict::kReject;
  }

  SessionFacts facts_;
  AskTable ask_;
  std::vector<std::string> asked_;
  Matched done_;
  std::shared_ptr<const Config> config_;
  std::unique_ptr<BuiltinLink> link_;
  std::unique_ptr<LinkSession> session_;
  std::optional<LinkAnswer> answer_;
};

TEST_F(BuiltinLinkTest, EveryPhaseIsItsOwn) {
  for (const char* phase : {"connect", "helo", "ehlo", "auth", "mail-from",
                            "rcpt-to", "data", "commit"}) {
    Write(absl::StrCat(phase, " match fcrdns reject \"550 no\""));
    EXPECT_EQ(link_->phases(), MaskOf(*FilterPhaseNamed(phase)));
    for (int i = 0; i < kFilterPhases; ++i) {
      EXPECT_EQ(session_->Wants(FilterPhase(i)),
                FilterPhase(i) == *FilterPhaseNamed(phase));
    }
  }
}

TEST_F(BuiltinLinkTest, EveryDecision) {
  using V = LinkAnswer::Verdict;
  const struct {
    const char* words;
    V verdict;
    const char* text;
  } cases[] = {
      {"reject \"550 no\"", V::kReject, "550 no"},
      {"disconnect \"554 bye\"", V::kDisconnect, "554 bye"},
      {"rewrite \"<a@b>\"", V::kRewrite, "<a@b>"},
      {"junk", V::kJunk, ""},
      {"bypass", V::kBypass, ""},
      {"report \"seen\"", V::kReport, "seen"},
  };
  for (const auto& one : cases) {
    const auto answer =
        Decide(absl::StrCat("mail-from match fcrdns ", one.words));
    ASSERT_TRUE(answer.has_value());
    EXPECT_EQ(answer->verdict, one.verdict) << one.words;
    EXPECT_EQ(answer->text, one.text);
    const auto other =
        Decide(absl::StrCat("mail-from match !fcrdns ", one.words));
    ASSERT_TRUE(other.has_value());
    EXPECT_EQ(other->verdict, V::kProceed) << one.words;
  }
}

TEST_F(BuiltinLinkTest, Fcrdns) {
  EXPECT_TRUE(Matches("connect match fcrdns"));
  for (const char* other : {"fail", "error"}) {
    facts_.fcrdns = other;
    EXPECT_FALSE(Matches("connect match fcrdns"));
    EXPECT_TRUE(Matches("connect match !fcrdns"));
  }
}

TEST_F(BuiltinLinkTest, Rdns) {
  EXPECT_TRUE(Matches("connect match rdns"));
  EXPECT_TRUE(Matches("connect match rdns { \"*.client.test\" }"));
  EXPECT_FALSE(Matches("connect match rdns { client.test }"));
  EXPECT_TRUE(Matches("connect match rdns regex { \"^mail[.]\" }"));
  for (const char* none : {"<unknown>", "192.0.2.1", "[2001:db8::1]", ""}) {
    facts_.rdns = none;
    EXPECT_FALSE(Matches("connect match rdns")) << none;
    EXPECT_TRUE(Matches("connect match !rdns")) << none;
  }
}

TEST_F(BuiltinLinkTest, Source) {
  EXPECT_TRUE(Matches("connect match src { 192.0.2.0/24 }"));
  EXPECT_FALSE(Matches("connect match src { 198.51.100.0/24 }"));
  EXPECT_TRUE(Matches("connect match src regex { \"^192\" }"));
  facts_.source_address = "[2001:db8::1]";
  EXPECT_TRUE(Matches("connect match src { 2001:db8::/32 }"));
}

TEST_F(BuiltinLinkTest, Helo) {
  facts_.helo = "Mail.client.test";
  EXPECT_TRUE(Matches("ehlo match helo { mail.client.test }"));
  EXPECT_FALSE(Matches("ehlo match !helo { mail.client.test }"));
  EXPECT_EQ(link_->events_in(), MaskOf(FilterEvent::kLinkIdentify));
}

TEST_F(BuiltinLinkTest, Auth) {
  EXPECT_FALSE(Matches("mail-from match auth"));
  EXPECT_TRUE(Matches("mail-from match !auth"));
  EXPECT_FALSE(Matches("mail-from match auth { joe }"));
  facts_.user = "joe";
  EXPECT_TRUE(Matches("mail-from match auth"));
  EXPECT_TRUE(Matches("mail-from match auth { joe }"));
  EXPECT_TRUE(Matches("mail-from match auth { joe = \"$6$x\" }"));
  EXPECT_FALSE(Matches("mail-from match auth { ann }"));
  EXPECT_TRUE(Matches("mail-from match auth regex { \"^j\" }"));
  EXPECT_EQ(link_->events_in(), MaskOf(FilterEvent::kLinkAuth));
}

TEST_F(BuiltinLinkTest, SenderAndRecipient) {
  facts_.sender = "Joe+x@Example.org";
  facts_.recipient = "ann@example.net";
  EXPECT_TRUE(Matches("mail-from match mail-from { \"joe@example.org\" }"));
  EXPECT_TRUE(Matches("rcpt-to match mail-from { \"@example.org\" }"));
  EXPECT_EQ(link_->events_in(),
            MaskOf(FilterEvent::kTxMail) | MaskOf(FilterEvent::kTxReset));
  EXPECT_FALSE(Matches("mail-from match mail-from { \"@example.net\" }"));
  EXPECT_TRUE(Matches("rcpt-to match rcpt-to { \"ann@example.net\" }"));
  EXPECT_FALSE(Matches("rcpt-to match rcpt-to { \"bob@example.net\" }"));
  facts_.sender = "";
  EXPECT_TRUE(Matches("mail-from match mail-from regex { \"^$\" }"));
  facts_.sender = "x";
  EXPECT_FALSE(Matches("mail-from match mail-from regex { \"^$\" }"));
}

TEST_F(BuiltinLinkTest, TablesOfProgramsAreWaitedFor) {
  const std::string table = "table t proc:/etc/t\n";
  EXPECT_FALSE(
      Decide("connect match src <t> reject \"550 no\"", table).has_value());
  EXPECT_THAT(asked_, ElementsAre(absl::StrCat(
                          "t ", int{static_cast<int>(TableService::kNetaddr)},
                          " 192.0.2.1")));
  done_(true);
  ASSERT_TRUE(answer_.has_value());
  EXPECT_EQ(answer_->verdict, LinkAnswer::Verdict::kReject);
  EXPECT_FALSE(Ask().has_value());
  done_(false);
  ASSERT_TRUE(answer_.has_value());
  EXPECT_EQ(answer_->verdict, LinkAnswer::Verdict::kProceed);
}

TEST_F(BuiltinLinkTest, UsersOfAProgramAreNamesThenCredentials) {
  facts_.user = "joe";
  Decide("mail-from match auth <t> reject \"550 no\"", "table t proc:/etc/t\n");
  std::exchange(done_, nullptr)(false);
  EXPECT_FALSE(answer_.has_value());
  EXPECT_EQ(asked_.size(), 2u);
  EXPECT_EQ(
      asked_[1],
      absl::StrCat("t ", static_cast<int>(TableService::kCredentials), " joe"));
  std::exchange(done_, nullptr)(true);
  ASSERT_TRUE(answer_.has_value());
  EXPECT_EQ(answer_->verdict, LinkAnswer::Verdict::kReject);
}

// What a program does not offer, it does not have; but something must answer.
TEST_F(BuiltinLinkTest, UsersOfAProgramThatOffersOneOfBoth) {
  using V = LinkAnswer::Verdict;
  const absl::Status none = absl::UnimplementedError("not offered");
  const struct {
    absl::StatusOr<bool> names, credentials;
    V verdict;
    const char* text;
  } cases[] = {
      {none, true, V::kReject, "550 no"},
      {none, false, V::kProceed, ""},
      {false, none, V::kProceed, ""},
      {none, none, V::kReject, "451 4.3.0 Temporary failure"},
      {false, absl::UnavailableError("down"), V::kReject,
       "451 4.3.0 Temporary failure"},
  };
  facts_.user = "joe";
  for (const auto& one : cases) {
    Decide("mail-from match auth <t> reject \"550 no\"",
           "table t proc:/etc/t\n");
    std::exchange(done_, nullptr)(one.names);
    EXPECT_FALSE(answer_.has_value());
    std::exchange(done_, nullptr)(one.credentials);
    ASSERT_TRUE(answer_.has_value());
    EXPECT_EQ(answer_->verdict, one.verdict);
    EXPECT_EQ(answer_->text, one.text);
  }
  // Of anything else one cannot say without it.
  Decide("connect match src <t> reject \"550 no\"", "table t proc:/etc/t\n");
  std::exchange(done_, nullptr)(none);
  ASSERT_TRUE(answer_.has_value());
  EXPECT_EQ(answer_->verdict, V::kDisconnect);
}

// The room has nothing of them: they may hold passwords.
TEST_F(BuiltinLinkTest, TablesInFilesAreAskedOfLookup) {
  facts_.user = "joe";
  EXPECT_FALSE(Decide("mail-from match auth <t> reject \"550 no\"",
                      "table t file:/etc/passwords\n")
                   .has_value());
  std::exchange(done_, nullptr)(true);
  ASSERT_TRUE(answer_.has_value());
  EXPECT_EQ(answer_->verdict, LinkAnswer::Verdict::kReject);
  EXPECT_THAT(asked_,
              ElementsAre(absl::StrCat(
                  "t ", static_cast<int>(TableService::kString), " joe")));
}

// Whether it is negated or not: nobody can say.
TEST_F(BuiltinLinkTest, ATableThatCannotSayRefusesForNow) {
  const struct {
    const char* words;
    LinkAnswer::Verdict verdict;
    const char* text;
  } cases[] = {
      {"connect match src <t> reject \"550 no\"",
       LinkAnswer::Verdict::kDisconnect, "421 4.3.0 Temporary failure"},
      {"ehlo match !src <t> reject \"550 no\"", LinkAnswer::Verdict::kReject,
       "451 4.3.0 Temporary failure"},
      {"mail-from match auth <t> junk", LinkAnswer::Verdict::kReject,
       "451 4.3.0 Temporary failure"},
  };
  facts_.user = "joe";
  for (const auto& one : cases) {
    EXPECT_FALSE(Decide(one.words, "table t proc:/etc/t\n").has_value());
    std::exchange(done_, nullptr)(absl::UnavailableError("down"));
    ASSERT_TRUE(answer_.has_value()) << one.words;
    EXPECT_EQ(answer_->verdict, one.verdict) << one.words;
    EXPECT_EQ(answer_->text, one.text) << one.words;
  }
}

TEST_F(BuiltinLinkTest, AnAnswerAfterTheSessionIsNobodys) {
  Decide("connect match src <t> reject \"550 no\"", "table t proc:/etc/t\n");
  session_.reset();
  done_(true);
  EXPECT_FALSE(answer_.has_value());
}

}  // namespace
}  // namespace holdfast
