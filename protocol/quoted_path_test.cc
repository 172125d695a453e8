// What a client wrote as a local part goes out to the next hop as a path that
// means the same, and that is read back as the same: property test over
// ParseRcptArgument() and the client's commands.
#include <random>
#include <string>
#include <variant>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "protocol/delivery_report.h"
#include "protocol/queue_listing.h"
#include "protocol/smtp_client_commands.h"
#include "protocol/smtp_path.h"

namespace holdfast {
namespace {

const MailAddress* Parsed(const std::variant<ForwardPath, Reply>& result) {
  const ForwardPath* path = std::get_if<ForwardPath>(&result);
  return path == nullptr ? nullptr : &path->address;
}

// A quoted local part of any of the octets that it may hold.
std::string RandomQuoted(std::mt19937& random) {
  static constexpr char kHard[] = "\"\\@<> .,;:()[]+|%!";
  std::string out = "\"";
  const size_t length = random() % 20;
  for (size_t i = 0; i < length; ++i) {
    const char c = random() % 2 ? kHard[random() % (sizeof kHard - 1)]
                                : static_cast<char>(' ' + random() % 95);
    if (c == '"' || c == '\\' || random() % 8 == 0) out.push_back('\\');
    out.push_back(c);
  }
  return out + "\"";
}

TEST(QuotedPathTest, GoesOutAsItCameInAndComesBackTheSame) {
  std::mt19937 random(7);
  int kept = 0;
  for (int i = 0; i < 20'000; ++i) {
    const std::string sent =
        absl::StrCat("<", RandomQuoted(random), "@example.org>");
    const auto first = ParseRcptArgument(sent, {});
    const MailAddress* address = Parsed(first);
    if (address == nullptr) continue;  // too long, or an empty local part
    ++kept;
    const std::string path = address->ForPath();
    ASSERT_TRUE(IsSafePath(path)) << sent;
    std::string command;
    AppendRcptCommand({path, 0, ""}, {}, &command);
    ASSERT_EQ(command, absl::StrCat("RCPT TO:<", path, ">\r\n"));
    const std::string argument =
        command.substr(8, command.size() - 8 - 2);  // without verb and CRLF
    const auto again = ParseRcptArgument(argument, {});
    const MailAddress* back = Parsed(again);
    ASSERT_NE(back, nullptr) << sent << " went out as " << command;
    ASSERT_EQ(back->user, address->user) << sent;
    ASSERT_EQ(back->domain, "example.org");
    ASSERT_EQ(SplitAddress(path).user, address->user) << "split at the last @";
  }
  EXPECT_GT(kept, 15'000);
}

TEST(QuotedPathTest, ReportsAndListingsShowItInOneLine) {
  std::mt19937 random(8);
  for (int i = 0; i < 2'000; ++i) {
    const auto result = ParseRcptArgument(
        absl::StrCat("<", RandomQuoted(random), "@example.org>"), {});
    const MailAddress* address = Parsed(result);
    if (address == nullptr) continue;
    DeliveryReport report;
    report.smtpname = "mx.example.org";
    report.recipients.push_back({*address, "", {5, 11}, "", absl::UnixEpoch()});
    ASSERT_TRUE(absl::StrContains(ReportHead(report),
                                  absl::StrCat("\nFinal-Recipient: rfc822; ",
                                               address->ToString(), "\n")));
    Envelope e;
    e.id = EnvelopeId(0x0000000100000001);
    e.dest = *address;
    const std::string line = QueueListingLine(e, {}, absl::UnixEpoch());
    ASSERT_EQ(line.find('\n'), line.size() - 1);
  }
}

}  // namespace
}  // namespace holdfast
