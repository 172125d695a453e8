#include "protocol/envelope_filter.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

EnvelopeFacts Sample() {
  EnvelopeFacts facts;
  Envelope& e = facts.envelope;
  e.id = MakeEnvelopeId(MessageId{0x1a2b3c4d}, 0x9);
  e.kind = DeliveryKind::kMta;
  e.action = "relay";
  e.tag = "office";
  e.smtpname = "mx.example.com";
  e.username = "joe";
  e.sockaddr = "192.0.2.1";
  e.sender = {"Joe", "Sender.example"};
  e.rcpt = {"alias", "example.com"};
  e.dest = {"user", "Example.org"};
  e.created = kNow - absl::Hours(3);
  e.expires = kNow + absl::Hours(93);
  e.retry = 3;
  e.priority = 2;
  e.flags = kFlagTls | kFlagAuthenticated;
  e.status = EnhancedStatus::Make(4, 7, 1);
  facts.size = 5000;
  facts.destination = "example.org";
  facts.due = kNow + absl::Minutes(5);
  facts.state = EnvelopeState::kDeferred;
  facts.error = "421 4.7.1 Try again later";
  return facts;
}

bool Matches(const std::string& text, const EnvelopeFacts& facts = Sample()) {
  const auto filter = EnvelopeFilter::Parse(text, kNow);
  EXPECT_TRUE(filter.ok()) << filter.status();
  return filter.ok() && filter->Matches(facts);
}

std::string ErrorOf(const std::string& text) {
  const auto filter = EnvelopeFilter::Parse(text, kNow);
  EXPECT_FALSE(filter.ok()) << text;
  EXPECT_EQ(filter.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(filter.status().message());
}

TEST(EnvelopeFilter, TheIssuesExample) {
  EXPECT_TRUE(
      Matches("domain = example.org and age > 2h and attempts >= 3 and error "
              "~ \"421\""));
  EXPECT_FALSE(Matches("domain = example.org and age > 4h"));
}

TEST(EnvelopeFilter, NothingAsksForAll) {
  EXPECT_TRUE(Matches(""));
  EXPECT_TRUE(Matches("  \t "));
  EXPECT_TRUE(EnvelopeFilter().Matches(Sample()));
  EXPECT_TRUE(EnvelopeFilter::Parse(" ", kNow)->matches_all());
  EXPECT_FALSE(EnvelopeFilter::Parse("age>1", kNow)->matches_all());
}

TEST(EnvelopeFilter, EveryFieldByEveryName) {
  for (const char* text : {"id = 1a2b3c4d00000009",
                           "evpid = 1A2B3C4D00000009",
                           "message = 1a2b3c4d",
                           "msgid = 1a2b3c4d",
                           "sender = joe@sender.example",
                           "from = <joe@sender.example>",
                           "sender-domain = sender.example",
                           "from-domain = sender.example",
                           "sender.domain = sender.example",
                           "recipient = user@example.org",
                           "to = user@example.org",
                           "domain = EXAMPLE.ORG",
                           "recipient.domain = example.org",
                           "recipient-domain = example.org",
                           "rcpt = alias@example.com",
                           "destination = example.org",
                           "kind = mta",
                           "action = relay",
                           "tag = office",
                           "listener = mx.example.com",
                           "user = joe",
                           "client = 192.0.2.1",
                           "size = 5000",
                           "size > 4K",
                           "size < 5k",
                           "age = 3h",
                           "age = 10800",
                           "age >= 180m",
                           "due = 5m",
                           "due <= 300s",
                           "expiry = 3d21h",
                           "attempts = 3",
                           "tries = 3",
                           "status = 4.7.1",
                           "status = 4.7",
                           "status = 4",
                           "state = deferred",
                           "priority = 2",
                           "flag = tls",
                           "flag = auth",
                           "error ~ Try"})
    EXPECT_TRUE(Matches(text)) << text;
}

TEST(EnvelopeFilter, OtherValuesDoNotMatch) {
  for (const char* text : {"id = 1a2b3c4d0000000a",
                           "message != 1a2b3c4d",
                           "sender = joe",
                           "domain = xample.org",
                           "kind = mda",
                           "size > 5000",
                           "size >= 5K",
                           "age < 3h",
                           "age != 3h",
                           "due < 5m",
                           "status = 4.7.2",
                           "status = 5",
                           "status > 4",
                           "state = queued",
                           "priority < 2",
                           "flag = bounce",
                           "flag != tls",
                           "error ~ try",
                           "error !~ Try",
                           "tag = ''"})
    EXPECT_FALSE(Matches(text)) << text;
}

TEST(EnvelopeFilter, PatternsAndTheirCase) {
  EXPECT_TRUE(Matches("error ~* 'TRY AGAIN'"));
  EXPECT_FALSE(Matches("error !~* 'TRY AGAIN'"));
  EXPECT_TRUE(Matches("error ~ '(?i)TRY'"));
  EXPECT_TRUE(Matches("error ~ \"^421 4\\.7\\.\""));
  EXPECT_TRUE(Matches("sender ~ '^Joe@'"));
  EXPECT_TRUE(Matches("id ~ '^1a2b'"));
  EnvelopeFacts facts = Sample();
  facts.error = "\xff\xfe odd";
  EXPECT_TRUE(Matches("error ~ '^.. odd$'", facts));
}

TEST(EnvelopeFilter, Lists) {
  EXPECT_TRUE(Matches("domain in (a.example, example.org)"));
  EXPECT_FALSE(Matches("domain not in ( a.example ,example.org )"));
  EXPECT_TRUE(Matches("state in(held,deferred)"));
  EXPECT_TRUE(Matches("attempts not in (1, 2)"));
  EXPECT_TRUE(Matches("status in (5, 4.7)"));
  EXPECT_TRUE(Matches("flag in (bounce, tls)"));
  EXPECT_FALSE(Matches("flag not in (bounce, tls)"));
}

TEST(EnvelopeFilter, AndBindsMoreThanOrAndNotMost) {
  EXPECT_TRUE(Matches("kind = mta or kind = mda and age > 9h"));
  EXPECT_FALSE(Matches("(kind = mta or kind = mda) and age > 9h"));
  EXPECT_FALSE(Matches("not kind = mta or age > 9h"));
  EXPECT_TRUE(Matches("NOT (kind = mda AND age > 9h) Or age > 9h"));
  EXPECT_TRUE(Matches("not not kind = mta"));
}

TEST(EnvelopeFilter, WhatAnEnvelopeDoesNotHave) {
  EnvelopeFacts held = Sample();
  held.due.reset();
  held.envelope.status = {};
  for (const char* text :
       {"due < 1h", "due >= 1h", "due = 0", "status = 4", "status < 5"})
    EXPECT_FALSE(Matches(text, held)) << text;
  for (const char* text : {"due != 0", "not due < 1h", "status != 4",
                           "status not in (4, 5)", "due not in (0)"})
    EXPECT_TRUE(Matches(text, held)) << text;
}

TEST(EnvelopeFilter, TheNullSender) {
  EnvelopeFacts report = Sample();
  report.envelope.sender = {};
  EXPECT_TRUE(Matches("sender = \"\"", report));
  EXPECT_TRUE(Matches("sender = <>", report));
  EXPECT_FALSE(Matches("sender = <>"));
}

TEST(EnvelopeFilter, QuotesAndEscapes) {
  EnvelopeFacts odd = Sample();
  odd.error = "say \"no\", (or) \\ 'yes'";
  EXPECT_TRUE(Matches("error = \"say \\\"no\\\", (or) \\\\ 'yes'\"", odd));
  EXPECT_TRUE(Matches("error ~ 'say \"no\"'", odd));
  EnvelopeFacts srs = Sample();
  srs.envelope.sender = {"SRS0=ab=cd=x.example=joe", "example.com"};
  EXPECT_TRUE(Matches("sender=SRS0=ab=cd=x.example=joe@example.com", srs));
}

TEST(EnvelopeFilter, ErrorsPointAtTheCharacter) {
  EXPECT_EQ(ErrorOf("age > 2h and domian = x.example"),
            "there is no field 'domian', did you mean 'domain'?\n"
            "  age > 2h and domian = x.example\n"
            "               ^");
  EXPECT_EQ(ErrorOf("domain"),
            "expected one of = != ~ !~ or 'in' after 'domain'\n"
            "  domain\n"
            "        ^");
  EXPECT_EQ(ErrorOf("age > 2x"),
            "expected a time: numbers with s, m, h, d or w behind each\n"
            "  age > 2x\n"
            "        ^");
  EXPECT_EQ(ErrorOf("error ~ \"(\""),
            "not a regular expression: missing ): (\n"
            "  error ~ \"(\"\n"
            "          ^");
}

TEST(EnvelopeFilter, ErrorsSayWhatWasExpected) {
  const struct {
    const char* text;
    const char* says;
    size_t column;
  } kCases[] = {
      {"(age > 2h", "there is no ')' for this '('", 0},
      {"age > 2h)", "there is no '(' for this ')'", 8},
      {"age > 2h tag = x", "expected 'and', 'or' or the end", 9},
      {"(age > 2h tag = x)", "expected 'and', 'or' or ')'", 10},
      {"and age > 2h", "there is no field 'and'", 0},
      {"age > 2h and", "expected a field, 'not' or '('", 12},
      {"= 2h", "expected a field, 'not' or '('", 0},
      {"age", "expected one of = != < <= > >= or 'in' after 'age'", 3},
      {"age >", "expected a value", 5},
      {"age ~ 2", "'~' does not go with 'age', which is a number", 4},
      {"tag < a", "'<' does not go with 'tag', which has no order", 4},
      {"tag not a", "expected 'in'", 8},
      {"tag in a", "expected '(' and values with commas between them", 7},
      {"tag in (a", "there is no ')' for this '('", 7},
      {"tag in (a b)", "expected ',' or ')'", 10},
      {"tag in ()", "expected a value", 8},
      {"tag = 'a", "this quote is not closed", 6},
      {"size > 3X", "expected a size: a number with K, M or G", 7},
      {"size > 9999999999999999T", "expected a size", 7},
      {"attempts > many", "expected a number", 11},
      {"state = hold",
       "expected one of queued, deferred, doubt, held, "
       "suspended, inflight (did you mean 'held'?)",
       8},
      {"id = 1a2b3c4d",
       "expected an envelope id of 16 hex digits (a message "
       "id is asked for with 'message')",
       5},
      {"message = 123", "expected a message id of 8 hex digits", 10},
      {"status = 421", "expected a status code: 2, 4 or 5", 9},
      {"status = 4.4.1.1", "expected a status code", 9},
      {"status = 3", "expected a status code", 9},
  };
  for (const auto& c : kCases) {
    const std::string error = ErrorOf(c.text);
    EXPECT_EQ(error.rfind(c.says, 0), 0u) << error;
    EXPECT_EQ(error.substr(error.rfind('\n') + 1),
              "  " + std::string(c.column, ' ') + "^")
        << error;
  }
}

TEST(EnvelopeFilter, TheCaretStaysBelowItsCharacter) {
  // One column for each letter of UTF-8, a '?' for what would move the cursor.
  EXPECT_EQ(ErrorOf("tag = m\xc3\xbcller\t\x1b x"),
            "expected 'and', 'or' or the end\n"
            "  tag = m\xc3\xbcller?? x\n"
            "               ^");
  const std::string far = ErrorOf(absl::StrCat(
      "tag = ", std::string(200, 'a'), " nor x = y", std::string(200, 'b')));
  EXPECT_EQ(far.substr(far.rfind('\n') + 1), "  " + std::string(53, ' ') + "^");
  EXPECT_EQ(far.substr(far.find('\n') + 1).substr(2 + 53, 3), "nor");
}

TEST(EnvelopeFilter, Limits) {
  const auto ok = [](const std::string& text) {
    return EnvelopeFilter::Parse(text, kNow).ok();
  };
  const auto repeated = [](const std::string& text, size_t times,
                           const std::string& between) {
    std::string all;
    for (size_t i = 0; i < times; ++i) all += (i == 0 ? "" : between) + text;
    return all;
  };
  const std::string most(kMaxFilterBytes - 8, 'a');
  EXPECT_TRUE(ok("tag = 'a" + most.substr(1) + "'"));
  EXPECT_FALSE(ok("tag = 'a" + most + "'"));

  EXPECT_TRUE(ok(std::string(kMaxFilterDepth, '(') + "age>1" +
                 std::string(kMaxFilterDepth, ')')));
  EXPECT_FALSE(ok(std::string(kMaxFilterDepth + 1, '(') + "age>1" +
                  std::string(kMaxFilterDepth + 1, ')')));
  EXPECT_TRUE(ok(repeated("not", kMaxFilterDepth, " ") + " age>1"));
  EXPECT_FALSE(ok(repeated("not", kMaxFilterDepth + 1, " ") + " age>1"));

  EXPECT_TRUE(ok(repeated("age>1", kMaxFilterTerms, " or ")));
  EXPECT_FALSE(ok(repeated("age>1", kMaxFilterTerms + 1, " or ")));

  EXPECT_TRUE(ok("age in (" + repeated("1", kMaxFilterValues, ",") + ")"));
  EXPECT_FALSE(ok("age in (" + repeated("1", kMaxFilterValues + 1, ",") + ")"));

  EXPECT_TRUE(ok(repeated("tag ~ a", kMaxFilterPatterns, " or ")));
  EXPECT_FALSE(ok(repeated("tag ~ a", kMaxFilterPatterns + 1, " or ")));
  // RE2 says so before it takes more memory than it may.
  EXPECT_FALSE(ok("tag ~ '((a{100}){100}){100}'"));
  EXPECT_FALSE(ok("tag ~ '(\\pL{1000}){9}'"));
}

TEST(EnvelopeFilter, HintsForAnIndex) {
  const auto hints = [](const std::string& text) {
    return EnvelopeFilter::Parse(text, kNow)->hints();
  };
  using Texts = std::vector<std::string>;
  EXPECT_EQ(*hints("domain = B.example and age > 1h").domains,
            Texts{"b.example"});
  EXPECT_EQ(
      *hints("domain in (b.example, a.example) or domain=c.example").domains,
      (Texts{"a.example", "b.example", "c.example"}));
  EXPECT_EQ(
      *hints("domain in (a.example, b.example) and to = x@B.example").domains,
      Texts{"b.example"});
  EXPECT_TRUE(hints("domain = a and domain = b").domains->empty());
  EXPECT_FALSE(hints("domain = a.example or age > 1h").domains);
  EXPECT_FALSE(hints("not domain = a.example").domains);
  EXPECT_FALSE(hints("domain != a.example").domains);
  EXPECT_FALSE(hints("domain ~ a").domains);
  EXPECT_EQ(*hints("destination = Joe").destinations, Texts{"joe"});
  EXPECT_EQ(hints("id in (1a2b3c4d00000009,1a2b3c4d00000009)").ids,
            std::vector<EnvelopeId>{EnvelopeId{0x1a2b3c4d00000009}});
  EXPECT_EQ(hints("message = ff000001").messages,
            std::vector<MessageId>{MessageId{0xff000001}});
  EXPECT_EQ(hints("due < 10m and due < 5m").due_until,
            kNow + absl::Seconds(301));
  EXPECT_EQ(hints("due in (1m, 2m)").due_until, kNow + absl::Seconds(121));
  EXPECT_FALSE(hints("due > 10m").due_until);
  EXPECT_FALSE(hints("due not in (1m)").due_until);
  EXPECT_TRUE(hints("state in (held, suspended) and age > 1h").held);
  EXPECT_TRUE(hints("flag = hold or state = suspended").held);
  EXPECT_FALSE(hints("state in (held, queued)").held);
}

TEST(EnvelopeFields, StatesByPrecedence) {
  Envelope e;
  const absl::Time later = kNow + absl::Seconds(1);
  EXPECT_EQ(StateOf(e, false, kNow, kNow), EnvelopeState::kQueued);
  EXPECT_EQ(StateOf(e, false, later, kNow), EnvelopeState::kDeferred);
  e.flags = kFlagInDoubt;
  EXPECT_EQ(StateOf(e, false, later, kNow), EnvelopeState::kInDoubt);
  e.flags |= kFlagHeld;
  EXPECT_EQ(StateOf(e, false, {}, kNow), EnvelopeState::kHeld);
  e.flags |= kFlagSuspended;
  EXPECT_EQ(StateOf(e, false, {}, kNow), EnvelopeState::kSuspended);
  EXPECT_EQ(StateOf(e, true, later, kNow), EnvelopeState::kInFlight);
}

TEST(EnvelopeFields, TheTableIsInTheEnumsOrder) {
  size_t at = 0;
  for (const EnvelopeFieldInfo& info : EnvelopeFieldTable()) {
    EXPECT_EQ(static_cast<size_t>(info.field), at++);
    EXPECT_EQ(FindEnvelopeField(info.name), &info);
    EXPECT_FALSE(info.meaning.empty());
  }
}

}  // namespace
}  // namespace holdfast
