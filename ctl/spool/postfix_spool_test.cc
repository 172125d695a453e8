#include "ctl/spool/postfix_spool.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

class Bytes : public RandomBytes {
 public:
  explicit Bytes(std::string all) : all_(std::move(all)) {}
  uint64_t size() const override { return all_.size(); }
  absl::string_view From(uint64_t at) override {
    return at < all_.size() ? absl::string_view(all_).substr(at, 7)
                            : absl::string_view();
  }

 private:
  const std::string all_;
};

std::string Record(char type, absl::string_view data) {
  std::string bytes(1, type);
  for (size_t n = data.size();; n >>= 7) {
    bytes.push_back(static_cast<char>((n & 0x7f) | (n > 0x7f ? 0x80 : 0)));
    if (n <= 0x7f) break;
  }
  return absl::StrCat(bytes, data);
}

const char kSizes[] =
    "           5302             795               2               2"
    "            5302               1";

// Up to the recipients, as Postfix writes it.
std::string Head(absl::string_view sender = "jo smith@from.example") {
  return absl::StrCat(
      Record('C', kSizes), Record('T', "1795396421 494518"),
      Record('A', "create_time=1795396421"),
      Record('A', "log_ident=78D19B403C7"), Record('A', "envelope_id=QQ=1"),
      Record('A', "ret_flags=2"), Record('S', sender),
      Record('A', "encoding=8bit"), Record('A', "client_name=c.example"),
      Record('A', "client_address=2001:db8::1"),
      Record('A', "helo_name=helo.example"), Record('A', "sasl_username=jo"));
}

std::string Tail() {
  return absl::StrCat(Record('M', ""), Record('N', "Subject: x"),
                      Record('N', ""), Record('L', std::string(2048, 'y')),
                      Record('N', "end"), Record('w', "gone"), Record('X', ""),
                      Record('A', "inspect="), Record('E', ""));
}

struct Read {
  absl::StatusOr<PostfixMessage> message;
  std::string body;
};
Read ReadAll(const std::string& file) {
  Bytes bytes(file);
  Read read{absl::UnknownError(""), ""};
  read.message = ReadPostfixFile(&bytes, [&](absl::string_view piece) {
    absl::StrAppend(&read.body, piece);
    return absl::OkStatus();
  });
  return read;
}

TEST(PostfixSpoolTest, ReadsEnvelopeRecipientsAndContent) {
  const std::string before = Head();
  const Read read = ReadAll(absl::StrCat(
      before, Record('D', "done@one.example"), Record('A', "notify_flags=10"),
      Record('A', "dsn_orig_rcpt=rfc822;dan+x@one.example"),
      Record('O', "list@one.example"), Record('R', "dan@two.example"),
      Record('R', "eve@one.example"), Tail()));
  ASSERT_TRUE(read.message.ok()) << read.message.status();
  const PostfixMessage& m = *read.message;
  EXPECT_EQ(m.queue_id, "78D19B403C7");
  EXPECT_EQ(m.arrived,
            absl::FromUnixMicros(int64_t{1795396421} * 1'000'000 + 494518));
  EXPECT_EQ(m.sender.ToString(), "\"jo smith\"@from.example");
  EXPECT_EQ(m.helo, "helo.example");
  EXPECT_EQ(m.client_name, "c.example");
  EXPECT_EQ(m.client_address, "2001:db8::1");
  EXPECT_EQ(m.username, "jo");
  EXPECT_EQ(m.envid, "QQ+3D1");
  EXPECT_EQ(m.ret, DsnReturn::kHeaders);
  EXPECT_TRUE(m.smtputf8);
  EXPECT_TRUE(m.eight_bit);
  EXPECT_EQ(m.delivered, 1u);
  ASSERT_EQ(m.recipients.size(), 2u);
  EXPECT_EQ(m.recipients[0].number, 2u);
  EXPECT_EQ(m.recipients[0].address.ToString(), "dan@two.example");
  EXPECT_EQ(m.recipients[0].original.ToString(), "list@one.example");
  EXPECT_EQ(m.recipients[0].notify, kNotifySuccess | kNotifyDelay);
  EXPECT_EQ(m.recipients[0].orcpt, "rfc822;dan+2Bx@one.example");
  // What stood before one recipient is not the next one's.
  EXPECT_EQ(m.recipients[1].number, 3u);
  EXPECT_EQ(m.recipients[1].original.ToString(), "eve@one.example");
  EXPECT_EQ(m.recipients[1].notify, 0);
  EXPECT_EQ(m.recipients[1].orcpt, "");
  EXPECT_EQ(read.body,
            absl::StrCat("Subject: x\n\n", std::string(2048, 'y'), "end\n"));
}

TEST(PostfixSpoolTest, FollowsThePointersThatMiltersLeave) {
  // Content whose second line was replaced by one behind the end.
  const std::string start = absl::StrCat(Head(), Record('R', "a@b.example"),
                                         Record('M', ""), Record('N', "one"));
  const std::string pointer = Record('p', "             00");
  const std::string rest = absl::StrCat(Record('N', "two"), Record('N', ""),
                                        Record('X', ""), Record('E', ""));
  const uint64_t behind = start.size() + pointer.size() + rest.size();
  const uint64_t back =
      start.size() + pointer.size() + Record('N', "two").size();
  const auto to = [](uint64_t at) {
    std::string text = absl::StrCat(at);
    return Record('p', std::string(15 - text.size(), ' ') + text);
  };
  const Read read = ReadAll(
      absl::StrCat(start, to(behind), rest, Record('N', "new"), to(back)));
  ASSERT_TRUE(read.message.ok()) << read.message.status();
  EXPECT_EQ(read.body, "one\nnew\n\n");
  // One that points to 0 is not used.
  EXPECT_EQ(ReadAll(absl::StrCat(start, to(0), rest)).body, "one\ntwo\n\n");
  // One that points to itself.
  EXPECT_FALSE(
      ReadAll(absl::StrCat(start, to(start.size()), rest)).message.ok());
}

TEST(PostfixSpoolTest, WhatIsNotWholeIsRefused) {
  const std::string file =
      absl::StrCat(Head(), Record('R', "a@b.example"), Tail());
  EXPECT_TRUE(ReadAll(file).message.ok());
  for (size_t cut = 0; cut < file.size(); ++cut)
    EXPECT_FALSE(ReadAll(file.substr(0, cut)).message.ok()) << cut;
  const std::string r = Record('R', "a@b.example");
  for (const std::string& bad : {
           r + Tail(),                                      // no sizes
           Head() + r + Record('E', ""),                    // no content
           Head() + Record('K', "") + r + Tail(),           // given up
           Head() + Record('R', "") + Tail(),               // nobody
           Record('C', kSizes) + Record('S', "") + Tail(),  // no time
           Record('C', "   ") + r + Tail(),                 // not finished
           Head() + r + Record('M', "") + Record('S', "x") + Tail(),
       }) {
    EXPECT_FALSE(ReadAll(bad).message.ok());
  }
}

TEST(PostfixSpoolTest,
     TooManyRecipientsAreRefusedAndMailThatIsSentElsewhereIsTold) {
  std::string many = Head();
  for (size_t i = 0; i <= kMaxPostfixRecipients; ++i)
    absl::StrAppend(&many, Record('R', "a@b.example"));
  EXPECT_FALSE(ReadAll(many + Tail()).message.ok());
  const Read read = ReadAll(absl::StrCat(Head(), Record('>', "x@y.example"),
                                         Record('R', "a@b.example"), Tail()));
  ASSERT_TRUE(read.message.ok());
  EXPECT_EQ(read.message->unknown, "redirect");
}

TEST(PostfixSpoolTest, ReadsWhatTheLastTriesSaid) {
  const auto all = ParsePostfixDeferLog(
      "\n<dan@one.example>: refused\nrecipient=dan@one.example\noffset=688\n"
      "dsn_orig_rcpt=rfc822;dan@one.example\nstatus=4.4.1\naction=delayed\n"
      "reason=connect to 127.0.0.1: Connection refused\n\n\n"
      "<eve@one.example>: later\noffset=776\nstatus=x\nreason=later\n\n"
      "offset=none\nreason=nobody\n");
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].offset, 688u);
  EXPECT_EQ(all[0].status.klass, 4);
  EXPECT_EQ(all[0].status.code, 41);
  EXPECT_EQ(all[0].reason, "connect to 127.0.0.1: Connection refused");
  EXPECT_EQ(all[1].offset, 776u);
  EXPECT_EQ(all[1].status.klass, 0);
}

}  // namespace
}  // namespace holdfast
