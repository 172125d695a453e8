#include "protocol/message_headers.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "protocol/address_completion.h"

namespace holdfast {
namespace {

using Verdict = MessageHeaders::Verdict;

HeaderOptions Options(bool add_missing = false) {
  HeaderOptions options;
  options.domain = "mx.test";
  options.add_missing = add_missing;
  options.now = absl::FromUnixSeconds(1795324300);
  options.zone = absl::UTCTimeZone();
  options.message_id_number = 0x30e4722ccbffde8e;
  return options;
}

struct Result {
  std::string text;
  Verdict verdict = Verdict::kOk;
};

Result Rewrite(absl::string_view text, bool add_missing = false,
               size_t cut = 0) {
  MessageHeaders headers(Options(add_missing));
  Result result;
  headers.Write(text.substr(0, cut), &result.text);
  headers.Write(text.substr(cut), &result.text);
  headers.Finish(&result.text);
  result.verdict = headers.verdict();
  return result;
}

std::string Complete(absl::string_view value) {
  std::string out;
  CompleteAddresses(value, "mx.test", &out);
  return out;
}

TEST(AddressCompletionTest, GivesADomainToAddressesThatHaveNone) {
  const struct {
    const char* in;
    const char* out;
  } kCases[] = {
      {" Joe\n", " Joe@mx.test\n"},
      {" foo, \"a, b\" <bar>, x@y.z\n",
       " foo@mx.test, \"a, b\" <bar@mx.test>, x@y.z\n"},
      {" Joe (at home, now)\n", " Joe@mx.test (at home, now)\n"},
      {" Joe Doe < joe >\n", " Joe Doe < joe@mx.test >\n"},
      {" a,\n\tb,\n c@d\n", " a@mx.test,\n\tb@mx.test,\n c@d\n"},
      {" <@r,@s:joe@d>, k\n", " <@r,@s:joe@d>, k@mx.test\n"},
      {" \"quoted\\\"x\"\n", " \"quoted\\\"x\"@mx.test\n"},
      // The reference writes "grp: a, b;@mx.test".
      {" grp: a, b@c;, d\n", " grp: a@mx.test, b@c;, d@mx.test\n"},
      {" undisclosed-recipients:;\n", " undisclosed-recipients:;\n"},
      // Nothing to complete, or not understood.
      {" , ,\n", " , ,\n"},
      {" Joe <>\n", " Joe <>\n"},
      {" (only a comment)\n", " (only a comment)\n"},
      {" \"unbalanced, joe\n", " \"unbalanced, joe\n"},
      {" joe (unbalanced\n", " joe (unbalanced\n"},
      {" ann, joe <unbalanced\n", " ann, joe <unbalanced\n"},
      {"", ""},
  };
  for (const auto& c : kCases) EXPECT_EQ(Complete(c.in), c.out) << c.in;
}

TEST(AddressCompletionTest, ReplacesEveryAddress) {
  const struct {
    const char* in;
    const char* out;
  } kCases[] = {
      {" Foo Bar <x@y>, other@z\n", " Foo Bar <j@mx.test>, j@mx.test\n"},
      {" joe\n", " j@mx.test\n"},
      {" Joe Doe\n", " Joe j@mx.test\n"},
      {" joe (at home)\n", " j@mx.test (at home)\n"},
      {" \"a <b@c>, d\" < e@f >\n", " \"a <b@c>, d\" < j@mx.test >\n"},
      {" \"a b\"@c,\n\t<@r,@s:x@y>\n", " j@mx.test,\n\t<j@mx.test>\n"},
      {" grp: a, b@c;\n", " grp: j@mx.test, j@mx.test;\n"},
      {" Joe <>\n", " Joe <>\n"},
      // Not understood: nothing is kept.
      {" \"unbalanced <x@y>\n", " j@mx.test\n"},
      {" joe <x@y\n", " j@mx.test\n"},
  };
  for (const auto& c : kCases) {
    std::string out;
    ReplaceAddresses(c.in, "j@mx.test", &out);
    EXPECT_EQ(out, c.out) << c.in;
  }
}

TEST(MessageHeadersTest, MasqueradesFromOnly) {
  const absl::string_view in =
      "fRom: Foo <x@y>,\n other@z\n"
      "Sender: x@y\n"
      "To: x@y, k\n\nFrom: x@y\n";
  const absl::string_view out =
      "fRom: Foo <joe@a.test>,\n joe@a.test\n"
      "Sender: x@y\n"
      "To: x@y, k@mx.test\n\nFrom: x@y\n";
  for (size_t cut = 0; cut <= in.size(); ++cut) {
    HeaderOptions options = Options();
    options.masquerade = "joe@a.test";
    MessageHeaders headers(options);
    std::string text;
    headers.Write(in.substr(0, cut), &text);
    headers.Write(in.substr(cut), &text);
    headers.Finish(&text);
    EXPECT_EQ(text, out);
  }
}

TEST(MessageHeadersTest, RewritesTheHeaderAndLeavesTheBodyAlone) {
  const absl::string_view in =
      "From: Joe\n"
      "bcc: secret@x,\n"
      "\tother@y\n"
      "Subject: a\n"
      " folded: subject\n"
      "To: foo,\n"
      "  bar@y.z\n"
      "\n"
      "To: nobody\n"
      "Bcc: text\n";
  const std::string out =
      "From: Joe@mx.test\n"
      "Subject: a\n"
      " folded: subject\n"
      "To: foo@mx.test,\n"
      "  bar@y.z\n"
      "\n"
      "To: nobody\n"
      "Bcc: text\n";
  for (size_t cut = 0; cut <= in.size(); ++cut) {
    const Result result = Rewrite(in, false, cut);
    EXPECT_EQ(result.text, out) << cut;
    EXPECT_EQ(result.verdict, Verdict::kOk);
  }
}

TEST(MessageHeadersTest, AddsDateAndMessageIdAtTheEndOfTheHeader) {
  EXPECT_EQ(Rewrite("Subject: x\n\nbody\n", true).text,
            "Subject: x\n"
            "Date: Sun, 22 Nov 2026 05:11:40 +0000 (UTC)\n"
            "Message-ID: <30e4722ccbffde8e@mx.test>\n"
            "\nbody\n");
  EXPECT_EQ(Rewrite("DATE: x\nmessage-id: y\n\n", true).text,
            "DATE: x\nmessage-id: y\n\n");
  // No empty line, and none is made.
  EXPECT_EQ(Rewrite("Date: x\n", true).text,
            "Date: x\nMessage-ID: <30e4722ccbffde8e@mx.test>\n");
}

TEST(MessageHeadersTest, AcceptsHeaderOnlyAndEmptyMessages) {
  for (const char* text : {"", "\n", "\nbody\n", "A: b\n", "A: b\n\n"}) {
    const Result result = Rewrite(text);
    EXPECT_EQ(result.verdict, Verdict::kOk) << text;
    EXPECT_EQ(result.text, text);
  }
}

TEST(MessageHeadersTest, RefusesWhatIsNotAHeader) {
  for (const char* text : {"no colon\n", " A: b\n", "\tx\n",
                           "A: b\nno colon\n\nbody\n", "A: b\nFrom joe\n"}) {
    EXPECT_EQ(Rewrite(text).verdict, Verdict::kMalformed) << text;
  }
  EXPECT_EQ(Rewrite(std::string(1023, 'n') + ": x\n").verdict, Verdict::kOk);
  EXPECT_EQ(Rewrite(std::string(1024, 'n') + ": x\n").verdict,
            Verdict::kMalformed);
}

TEST(MessageHeadersTest, TheHundredthReceivedHeaderIsALoop) {
  std::string text;
  for (int i = 0; i < 99; ++i) absl::StrAppend(&text, "received: x\n");
  EXPECT_EQ(Rewrite(text).verdict, Verdict::kOk);
  EXPECT_EQ(Rewrite(text + "Received: x\n").verdict, Verdict::kLoop);
  EXPECT_EQ(Rewrite(text + "\nReceived: x\n").verdict, Verdict::kOk);
}

TEST(MessageHeadersTest, AnAddressHeaderIsBounded) {
  std::string text = "To: a@b";
  while (text.size() < kMaxAddressHeaderBytes)
    absl::StrAppend(&text, ",\n ", std::string(900, 'x'), "@b");
  EXPECT_EQ(Rewrite(text + "\n\n").verdict, Verdict::kMalformed);
}

TEST(MessageHeadersTest, ManyHeadersPassInOneGo) {
  std::string text;
  for (int i = 0; i < 100000; ++i) absl::StrAppend(&text, "X-", i, ": y\n");
  EXPECT_EQ(Rewrite(text).text, text);
}

}  // namespace
}  // namespace holdfast
