#include "protocol/dns_message.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using ::testing::SizeIs;

std::string Raw(std::initializer_list<int> bytes) {
  std::string s;
  for (const int b : bytes) s.push_back(static_cast<char>(b));
  return s;
}

std::string Header(int flags, int questions, int answers, int authority) {
  return Raw({0x12, 0x34, flags >> 8, flags & 255, 0, questions, 0, answers, 0,
              authority, 0, 0});
}

// "example.org" at offset 12, type and class IN behind it.
std::string Question(int type) {
  return Raw({7}) + "example" + Raw({3}) + "org" + Raw({0, 0, type, 0, 1});
}
const std::string kPointer = Raw({0xc0, 12});

std::string Record(const std::string& name, int type, uint32_t ttl,
                   const std::string& data, int klass = 1) {
  return name + Raw({0, type, 0, klass}) +
         Raw({int(ttl >> 24), int(ttl >> 16 & 255), int(ttl >> 8 & 255),
              int(ttl & 255)}) +
         Raw({int(data.size() >> 8), int(data.size() & 255)}) + data;
}

TEST(DnsMessageTest, AQuestionIsWrittenAsInRfc1035) {
  const absl::StatusOr<std::string> q =
      EncodeDnsQuestion(0x1234, "Example.ORG", DnsType::kMx, 1232);
  ASSERT_TRUE(q.ok());
  EXPECT_EQ(*q, Raw({0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1}) + Question(15) +
                    Raw({0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0}));
  const absl::StatusOr<DnsMessage> m = ParseDnsMessage(*q);
  ASSERT_TRUE(m.ok()) << m.status();
  EXPECT_EQ(m->id, 0x1234);
  EXPECT_FALSE(m->response);
  EXPECT_EQ(m->question, "example.org");
  EXPECT_EQ(m->question_type, 15);
}

TEST(DnsMessageTest, NamesThatAreNone) {
  for (const std::string& bad :
       {std::string("a..b"), std::string(".a"), std::string(64, 'a'),
        std::string("a b"), std::string("a\\b"), std::string("\xc3\xa9"),
        std::string("a\0b", 3), std::string("a\n")})
    EXPECT_FALSE(EncodeDnsQuestion(1, bad, DnsType::kA, 512).ok()) << bad;
  std::string longest;
  for (int i = 0; i < 127; ++i) longest += "a.";
  EXPECT_TRUE(EncodeDnsQuestion(1, longest, DnsType::kA, 512).ok());
  EXPECT_FALSE(EncodeDnsQuestion(1, longest + "a", DnsType::kA, 512).ok());
}

TEST(DnsMessageTest, RecordsOfAllTypes) {
  const std::string name = Raw({2}) + "MX" + kPointer;
  const std::string message =
      Header(0x8180, 1, 7, 1) + Question(15) +
      Record(kPointer, 15, 300, Raw({0, 10}) + name) +
      Record(kPointer, 15, 300, Raw({0, 0, 0})) +  // null MX
      Record(name, 1, 60, Raw({192, 0, 2, 1})) +
      Record(name, 28, 0xffffffff,
             Raw({0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})) +
      Record(name, 5, 1, name) + Record(name, 12, 1, kPointer) +
      Record(name, 16, 1, "\4text") +
      Record(kPointer, 6, 900, Raw({0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0,
                                    0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5}));
  const absl::StatusOr<DnsMessage> m = ParseDnsMessage(message);
  ASSERT_TRUE(m.ok()) << m.status();
  EXPECT_TRUE(m->response);
  ASSERT_THAT(m->answers, SizeIs(6));  // the TXT record is left out
  EXPECT_EQ(m->answers[0].target, "mx.example.org");
  EXPECT_EQ(m->answers[0].preference, 10);
  EXPECT_EQ(m->answers[0].ttl, 300u);
  EXPECT_EQ(m->answers[1].target, "");
  EXPECT_EQ(m->answers[2].address.ToString(), "192.0.2.1");
  EXPECT_EQ(m->answers[2].name, "mx.example.org");
  EXPECT_EQ(m->answers[3].address.ToString(), "2001:db8::1");
  EXPECT_EQ(m->answers[3].ttl, 0u);
  EXPECT_EQ(m->answers[4].target, "mx.example.org");
  EXPECT_EQ(m->answers[5].target, "example.org");
  ASSERT_THAT(m->authority, SizeIs(1));
  EXPECT_EQ(m->authority[0].minimum, 5u);
  EXPECT_EQ(m->authority[0].ttl, 900u);

  // Every cut of it is refused, or, if it says so, understood so far.
  for (size_t n = 0; n < message.size(); ++n)
    EXPECT_FALSE(ParseDnsMessage(message.substr(0, n)).ok()) << n;
  std::string truncated = message.substr(0, message.size() - 40);
  truncated[2] |= 2;
  ASSERT_TRUE(ParseDnsMessage(truncated).ok());
  EXPECT_TRUE(ParseDnsMessage(truncated)->truncated);
}

TEST(DnsMessageTest, BytesOfLabelsCannotPassForSomethingElse) {
  const std::string name = Raw({5}) + "a.b\\\n" + Raw({0});
  const absl::StatusOr<DnsMessage> m =
      ParseDnsMessage(Header(0x8180, 0, 1, 0) + Record(name, 12, 1, name));
  ASSERT_TRUE(m.ok());
  EXPECT_EQ(m->answers[0].target, "a\\046b\\092\\010");
}

TEST(DnsMessageTest, PointersThatLeadNowhere) {
  const std::string head = Header(0x8180, 0, 1, 0);
  for (const std::string& name :
       {Raw({0xc0, 12}),                             // to itself
        Raw({0xc0, 14, 0xc0, 12}),                   // forwards
        Raw({0xc0, 0}),                              // into the header
        Raw({0xff, 0xff}), Raw({1, 'a', 0xc0, 12}),  // to its own start
        Raw({0x40, 0}), Raw({0x80, 0})})
    EXPECT_FALSE(ParseDnsMessage(head + Record(name, 1, 1, "\1\1\1\1")).ok());
  // A name of 255 bytes is one, of 256 is none, however it is put together.
  std::string labels;
  for (int i = 0; i < 3; ++i) labels += Raw({63}) + std::string(63, 'x');
  EXPECT_TRUE(ParseDnsMessage(head + Record(labels + Raw({61}) +
                                                std::string(61, 'y') + Raw({0}),
                                            1, 1, "\1\1\1\1"))
                  .ok());
  EXPECT_FALSE(
      ParseDnsMessage(
          head + Record(labels + Raw({62}) + std::string(62, 'y') + Raw({0}), 1,
                        1, "\1\1\1\1"))
          .ok());
}

TEST(DnsMessageTest, DataThatDoesNotFitItsType) {
  const std::string head = Header(0x8180, 1, 1, 0) + Question(1);
  EXPECT_FALSE(ParseDnsMessage(head + Record(kPointer, 1, 1, "\1\1\1")).ok());
  EXPECT_FALSE(
      ParseDnsMessage(head + Record(kPointer, 28, 1, "\1\1\1\1")).ok());
  EXPECT_FALSE(ParseDnsMessage(head + Record(kPointer, 15, 1, "\1")).ok());
  EXPECT_FALSE(
      ParseDnsMessage(head + Record(kPointer, 15, 1, Raw({0, 1, 0, 7}))).ok());
  EXPECT_FALSE(
      ParseDnsMessage(head + Record(kPointer, 6, 1, Raw({0, 0}))).ok());
  // Of another class: not ours to judge.
  const absl::StatusOr<DnsMessage> m =
      ParseDnsMessage(head + Record(kPointer, 1, 1, "\1", 3));
  ASSERT_TRUE(m.ok());
  EXPECT_THAT(m->answers, SizeIs(0));
}

TEST(DnsMessageTest, RecordsAreBounded) {
  std::string message = Header(0x8180, 0, 0, 0);
  message[6] = 8;  // 2048 answers
  for (int i = 0; i < 2048; ++i) message += Record(Raw({0}), 1, 1, "\1\1\1\1");
  const absl::StatusOr<DnsMessage> m = ParseDnsMessage(message);
  ASSERT_TRUE(m.ok());
  EXPECT_THAT(m->answers, SizeIs(kMaxDnsRecords));
}

}  // namespace
}  // namespace holdfast
