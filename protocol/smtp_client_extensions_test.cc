// What a server offers, and what becomes of messages that need it.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protocol/smtp_client_dialogue.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Dialogue = SmtpClientDialogue;

constexpr char kAllWords[] =
    "PIPELINING,8BITMIME,SMTPUTF8,CHUNKING,BINARYMIME,REQUIRETLS,MT-PRIORITY,"
    "DELIVERBY 60,DSN";

SmtpTransaction Plain() { return MessageTo({"a@b.test"}); }
SmtpTransaction EightBit() {
  SmtpTransaction t = Plain();
  t.flags = kFlag8BitMime;
  t.eight_bit = true;
  return t;
}
SmtpTransaction Binary() {
  SmtpTransaction t = Plain();
  t.flags = kFlagBinaryMime;
  return t;
}
SmtpTransaction RequireTls() {
  SmtpTransaction t = Plain();
  t.flags = kFlagRequireTls;
  return t;
}
SmtpTransaction Utf8Header() {
  SmtpTransaction t = Plain();
  t.flags = kFlagSmtpUtf8;
  t.eight_bit = t.header_eight_bit = true;
  return t;
}
SmtpTransaction Utf8Recipient() {
  return MessageTo(
      {"j\xc3\xb6rg@b\xc3\xbc"
       "cher.test"});
}
SmtpTransaction Utf8Domain() {
  return MessageTo(
      {"info@b\xc3\xbc"
       "cher.test"});
}
SmtpTransaction Utf8Sender() {
  SmtpTransaction t = Plain();
  t.sender = "j\xc3\xb6rg@a.test";
  return t;
}
SmtpTransaction Asked() {  // for SMTPUTF8, but all is ASCII
  SmtpTransaction t = Plain();
  t.flags = kFlagSmtpUtf8;
  return t;
}
SmtpTransaction By(int64_t seconds, bool returned, bool trace = false) {
  SmtpTransaction t = Plain();
  t.deliver_by = {seconds, returned, trace};
  return t;
}
SmtpTransaction Priority(int priority) {
  SmtpTransaction t = Plain();
  t.priority = priority;
  return t;
}

// A message, a server without one word (or with all), and what comes of it:
// the MAIL command, or the error.
struct ExtensionCase {
  const char* name;
  SmtpTransaction transaction;
  const char* without;  // "": all words are offered
  bool tls;
  const char* mail;   // behind "MAIL FROM:<from@a.test>"; null: not sent
  const char* error;  // "5.6.3 text"
};

TEST(SmtpClientExtensionsTest, EveryExtensionOfferedAndWithheld) {
  const char* const kNoBinary = "5.6.3 Next hop does not support BINARYMIME";
  const char* const kNoUtf8 =
      "5.6.7 Next hop does not support internationalized mail (SMTPUTF8)";
  const char* const kNoTls = "5.7.30 REQUIRETLS support required";
  const char* const kLate = "5.4.7 Delivery time expired";
  SmtpTransaction undeclared = EightBit();
  undeclared.flags = 0;
  const ExtensionCase cases[] = {
      {"8bit", EightBit(), "", false, " BODY=8BITMIME", nullptr},
      {"8bit declared", EightBit(), "8BITMIME", false, "", nullptr},
      {"8bit not declared", undeclared, "8BITMIME", false, "", nullptr},
      {"binary", Binary(), "", false, " BODY=BINARYMIME", nullptr},
      {"binary", Binary(), "CHUNKING", false, nullptr, kNoBinary},
      {"binary", Binary(), "BINARYMIME", false, nullptr, kNoBinary},
      {"header", Utf8Header(), "", false, " BODY=8BITMIME SMTPUTF8", nullptr},
      {"header", Utf8Header(), "SMTPUTF8", false, nullptr, kNoUtf8},
      {"rcpt", Utf8Recipient(), "", false, " SMTPUTF8", nullptr},
      {"rcpt", Utf8Recipient(), "SMTPUTF8", false, nullptr, kNoUtf8},
      {"domain", Utf8Domain(), "SMTPUTF8", false, "", nullptr},
      {"sender", Utf8Sender(), "SMTPUTF8", false, nullptr, kNoUtf8},
      {"ascii", Asked(), "", false, "", nullptr},
      {"ascii", Asked(), "SMTPUTF8", false, "", nullptr},
      {"tls", RequireTls(), "", true, " REQUIRETLS", nullptr},
      {"tls", RequireTls(), "", false, nullptr, kNoTls},
      {"tls", RequireTls(), "REQUIRETLS", true, nullptr, kNoTls},
      {"priority", Priority(-3), "", false, " MT-PRIORITY=-3", nullptr},
      {"priority", Priority(9), "MT-PRIORITY", false, "", nullptr},
      {"R", By(90, true, true), "", false, " BY=90;RT", nullptr},
      {"R", By(90, true), "DELIVERBY 60", false, nullptr,
       "5.3.3 Next hop does not support DELIVERBY"},
      {"R", By(59, true), "", false, nullptr,
       "5.4.7 Next hop cannot deliver in time"},
      {"R", By(0, true), "", false, nullptr, kLate},
      {"N", By(-5, false), "", false, " BY=-5;N", nullptr},
      {"N", By(5'000'000'000, false, true), "", false, " BY=999999999;NT",
       nullptr},
      {"N", By(5, false), "DELIVERBY 60", false, "", nullptr},
  };
  for (const ExtensionCase& c : cases) {
    SmtpClientSession::Options options = {"me.test"};
    options.secure = options.tls_verified = c.tls;
    Dialogue d(options);
    d.server.extensions.clear();
    for (absl::string_view word : absl::StrSplit(kAllWords, ','))
      if (word != c.without) d.server.extensions.emplace_back(word);
    d.to_send = {c.transaction};
    d.Run();
    if (c.error != nullptr) {
      EXPECT_THAT(d.server.commands(), ElementsAre("EHLO me.test", "QUIT"));
      const SmtpResult& r = d.last;
      EXPECT_EQ(absl::StrCat(r.status.klass, ".", r.status.subject(), ".",
                             r.status.detail(), " ", r.text),
                c.error)
          << c.name;
      EXPECT_EQ(r.kind, SmtpResult::Kind::kPermFail);
      continue;
    }
    ASSERT_EQ(d.server.messages().size(), 1u) << c.name << c.without;
    EXPECT_EQ(d.server.commands()[1],
              absl::StrCat("MAIL FROM:<", c.transaction.sender, ">", c.mail))
        << c.name;
  }
}

TEST(SmtpClientExtensionsTest, ADomainGoesAsALabelsWhereItMust) {
  Dialogue d;
  d.to_send = {Utf8Domain()};
  d.Run();
  EXPECT_EQ(d.server.messages().at(0).recipients.at(0),
            "RCPT TO:<info@xn--bcher-kva.test>");
  Dialogue with;
  with.server.extensions.push_back("SMTPUTF8");
  with.to_send = {Utf8Domain()};
  with.Run();
  EXPECT_EQ(with.server.messages().at(0).recipients.at(0),
            "RCPT TO:<info@b\xc3\xbc"
            "cher.test>");
}

TEST(SmtpClientExtensionsTest, OneUnfitRecipientDoesNotHinderTheOthers) {
  Dialogue d;
  d.to_send = {MessageTo({"j\xc3\xb6rg@b.test", "ok@b.test"})};
  d.Run();
  EXPECT_THAT(d.results,
              ElementsAre(HasSubstr("Perm Next hop does not support"),
                          "Ok 250 2.0.0 queued"));
}

TEST(SmtpClientExtensionsTest, OrcptInUtf8OnlyWhereItIsUnderstood) {
  SmtpTransaction t = Plain();
  t.recipients[0].dsn_orcpt = "utf-8;j\xc3\xb6rg@b.test";
  for (const bool utf8 : {true, false}) {
    Dialogue d;
    if (utf8) d.server.extensions.push_back("SMTPUTF8");
    d.to_send = {t};
    d.Run();
    EXPECT_EQ(d.server.messages().at(0).recipients.at(0),
              utf8 ? "RCPT TO:<a@b.test> ORCPT=utf-8;j\xc3\xb6rg@b.test"
                   : "RCPT TO:<a@b.test>");
  }
}

TEST(SmtpClientExtensionsTest, QuotedLocalPartsGoAsTheyAre) {
  const std::vector<std::string> paths = {
      R"("a b"@b.test)", R"("a@b"@b.test)", R"("a\"b\\c"@b.test)",
      R"("<a>"@b.test)", R"(""@b.test)",    R"("a.b..c."@b.test)"};
  Dialogue d;
  SmtpTransaction t = MessageTo(paths);
  t.sender = R"("me > you"@a.test)";
  d.to_send = {t};
  d.Run();
  EXPECT_EQ(d.server.commands()[1], R"(MAIL FROM:<"me > you"@a.test>)");
  for (size_t i = 0; i < paths.size(); ++i)
    EXPECT_EQ(d.server.commands()[2 + i], "RCPT TO:<" + paths[i] + ">");
  EXPECT_THAT(d.results, ::testing::Each("Ok 250 2.0.0 queued"));
}

const std::string kBinaryBody =
    std::string("Subject: x\n\n.dot\r\nbare\rcr bare\nlf \0 nul\r\n.\r\n", 43);
const std::string kBinaryWire = std::string(
    "Subject: x\r\n\r\n.dot\r\nbare\rcr bare\nlf \0 nul\r\n.\r\n", 45);

TEST(SmtpClientExtensionsTest, BinaryMessagesGoByBdatUnchanged) {
  for (const bool pipelining : {true, false}) {
    for (size_t piece = 1; piece < 30; ++piece) {
      Dialogue d;
      d.server.extensions = {"CHUNKING", "BINARYMIME"};
      if (pipelining) d.server.extensions.push_back("PIPELINING");
      d.server.answers["RCPT TO:<no@b.test>"] = {"550 no"};
      SmtpTransaction t = MessageTo({"no@b.test", "a@b.test"});
      t.flags = kFlagBinaryMime;
      d.to_send = {t, t};
      d.body = kBinaryBody;
      d.Run(piece);
      EXPECT_THAT(d.results,
                  ElementsAre("Perm 550 no", "Ok 250 2.0.0 queued",
                              "Ok 250 2.0.0 queued", "Ok 250 2.0.0 queued"));
      ASSERT_EQ(d.server.messages().size(), 2u);
      EXPECT_EQ(d.server.messages()[0].text, kBinaryWire);
      EXPECT_EQ(d.end, "");
    }
  }
}

TEST(SmtpClientExtensionsTest, EightBitTextIsConvertedWhereItMust) {
  const std::string body = "MIME-Version: 1.0\nA: b\n\n.\xc3\xbc\n";
  for (const size_t piece : {1, 1000}) {
    for (const bool offered : {true, false}) {
      Dialogue d;
      d.server.extensions = {"SIZE 100"};
      if (offered) d.server.extensions.push_back("8BITMIME");
      d.to_send = {EightBit()};
      d.body = body;
      d.body_piece = piece;
      d.Run();
      ASSERT_EQ(d.server.messages().size(), 1u);
      EXPECT_EQ(d.server.messages()[0].text,
                offered ? "MIME-Version: 1.0\r\nA: b\r\n\r\n..\xc3\xbc\r\n"
                        : "MIME-Version: 1.0\r\nA: b\r\n"
                          "Content-Type: text/plain; charset=unknown-8bit\r\n"
                          "Content-Transfer-Encoding: quoted-printable\r\n"
                          "\r\n..=C3=BC\r\n");
      // What is converted has another size.
      EXPECT_EQ(d.server.commands()[1],
                offered ? "MAIL FROM:<from@a.test> SIZE=10 BODY=8BITMIME"
                        : "MAIL FROM:<from@a.test>");
    }
  }
}

TEST(SmtpClientExtensionsTest, WhatCannotBeConvertedFails) {
  const std::string text =
      "Content-Type: multipart/signed; boundary=b\n\n--b\n\n\xc3\xbc\n";
  // Declared, not declared, UTF-8 in the header of a part.
  SmtpTransaction undeclared = EightBit();
  undeclared.flags = 0;
  SmtpTransaction utf8 = EightBit();
  utf8.flags = kFlagSmtpUtf8;
  for (const SmtpTransaction& t : {EightBit(), undeclared, utf8}) {
    Dialogue d;
    d.server.extensions = {"PIPELINING"};
    d.to_send = {t, Plain()};
    d.body = t.flags == kFlagSmtpUtf8
                 ? "Content-Type: multipart/mixed; boundary=b\n\n"
                   "--b\nContent-Description: \xc3\xbc\n\nx\n--b--\n"
                 : text;
    d.Run();
    if (t.flags == 0) {
      EXPECT_THAT(d.results, ElementsAre(HasSubstr("Ok"), HasSubstr("Ok")));
      EXPECT_THAT(d.server.messages().at(0).text, HasSubstr("\xc3\xbc"));
      continue;
    }
    EXPECT_THAT(d.results, ElementsAre(HasSubstr("cannot be converted")));
    EXPECT_EQ(d.last.kind, SmtpResult::Kind::kPermFail);
    EXPECT_EQ(d.last.status.subject(), 6);
    EXPECT_EQ(d.last.status.detail(), 3);
    // No dot was sent: the server has nothing.
    EXPECT_TRUE(d.server.messages().empty());
    EXPECT_THAT(d.end, HasSubstr("cannot be converted"));
  }
}

TEST(SmtpClientExtensionsTest, LargeMessagesGoInChunksWhereThatCostsNothing) {
  struct Case {
    std::vector<std::string> offered;
    uint64_t bytes;
    bool chunks;
  };
  const Case cases[] = {
      {{"CHUNKING", "PIPELINING", "8BITMIME"}, kMinChunkedBytes + 1, true},
      {{"CHUNKING", "PIPELINING", "8BITMIME"}, kMinChunkedBytes, false},
      {{"CHUNKING", "8BITMIME"}, kMinChunkedBytes + 1, false},
      {{"PIPELINING", "8BITMIME"}, kMinChunkedBytes + 1, false},
  };
  for (const Case& c : cases) {
    Dialogue d;
    d.server.extensions = c.offered;
    SmtpTransaction t = Plain();
    t.wire_bytes = c.bytes;
    d.to_send = {t};
    d.body = "A: b\n\n.dot\nbare\rcr\n" + std::string(200'000, 'x');
    d.body_piece = 10'000;
    d.Run();
    ASSERT_EQ(d.server.messages().size(), 1u);
    EXPECT_EQ(d.server.messages()[0].chunks.size() > 1, c.chunks);
    EXPECT_EQ(
        d.server.messages()[0].text,
        absl::StrCat("A: b\r\n\r\n", c.chunks ? "" : ".", ".dot\r\nbare cr\r\n",
                     std::string(200'000, 'x'), "\r\n"));
    EXPECT_EQ(d.end, "");
  }
}

TEST(SmtpClientExtensionsTest, TheLastChunkWaitsForFinishBody) {
  Dialogue d;
  d.server.extensions = {"CHUNKING", "PIPELINING"};
  SmtpTransaction t = Plain();
  t.wire_bytes = kMinChunkedBytes + 1;
  d.to_send = {t};
  d.body = "A: b\n\n" + std::string(200'000, 'x');
  d.body_piece = 10'000;
  d.finish = false;
  d.Run();
  EXPECT_TRUE(d.session->in_body());
  EXPECT_THAT(d.server.messages(), ::testing::IsEmpty());
  for (const std::string& c : d.server.commands())
    EXPECT_EQ(c.find("LAST"), std::string::npos);
  d.session->FinishBody();
  EXPECT_TRUE(d.session->in_final());
  d.Go();
  EXPECT_THAT(d.results, ElementsAre("Ok 250 2.0.0 queued"));
}

TEST(SmtpClientExtensionsTest, LargeBinaryMessagesGoInChunks) {
  for (const bool pipelining : {true, false}) {
    Dialogue d;
    d.server.extensions = {"CHUNKING", "BINARYMIME"};
    if (pipelining) d.server.extensions.push_back("PIPELINING");
    d.to_send = {Binary()};
    d.body = "A: b\n\n" + std::string(300'000, '\n');
    d.body_piece = 10'000;
    d.Run();
    ASSERT_EQ(d.server.messages().size(), 1u);
    EXPECT_EQ(d.server.messages()[0].text,
              "A: b\r\n\r\n" + std::string(300'000, '\n'));
    EXPECT_GT(d.server.messages()[0].chunks.size(), 1u);
    EXPECT_THAT(d.results, ElementsAre("Ok 250 2.0.0 queued"));
  }
}

TEST(SmtpClientExtensionsTest, AFailedChunkFailsTheTransactionOnly) {
  for (const bool pipelining : {true, false}) {
    // One at a time it is two, all that waited in the second.
    for (int bad = 0; bad < (pipelining ? 4 : 2); ++bad) {
      Dialogue d;
      d.server.extensions = {"CHUNKING", "BINARYMIME"};
      if (pipelining) d.server.extensions.push_back("PIPELINING");
      for (int i = 0; i < bad; ++i)
        d.server.answers["BDAT"].push_back("250 2.0.0 queued");
      d.server.answers["BDAT"].push_back("552 too much");
      for (int i = bad; pipelining && i < 4; ++i)
        d.server.answers["BDAT"].push_back("503 no");
      if (bad == 3) d.server.answers["BDAT"].resize(4);
      d.to_send = {Binary(), Plain()};
      d.body = "A: b\n\n" + std::string(250'000, 'x');
      d.body_piece = 1000;
      d.Run();
      EXPECT_THAT(d.results, ElementsAre("Perm 552 too much", HasSubstr("Ok")))
          << pipelining << bad;
      EXPECT_EQ(d.end, "");
    }
  }
}

TEST(SmtpClientExtensionsTest, LimitsAreRead) {
  Dialogue d;
  d.server.extensions = {"LIMITS MAILMAX=3 RCPTMAX=20 RCPTDOMAINMAX=1 X=y",
                         "DELIVERBY"};
  d.Run();
  EXPECT_EQ(d.session->extensions().mail_max, 3u);
  EXPECT_EQ(d.session->extensions().rcpt_max, 20u);
  EXPECT_EQ(d.session->extensions().rcpt_domain_max, 1u);
  Dialogue junk;
  junk.server.extensions = {"LIMITS MAILMAX= RCPTMAX=x =5 RCPTDOMAINMAX"};
  junk.Run();
  EXPECT_EQ(junk.session->extensions().rcpt_max, 0u);
}

}  // namespace
}  // namespace holdfast
