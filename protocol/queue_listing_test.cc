#include "protocol/queue_listing.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

constexpr int64_t kNow = 1795324265;
absl::Time At(int64_t seconds) { return absl::FromUnixSeconds(seconds); }

Envelope Example() {
  Envelope e;
  e.id = EnvelopeId(0x8d1fc6650ae2cde2u);
  e.sockaddr = "local";
  e.flags = kFlagAuthenticated | kFlagSuspended;
  e.sender = {"alice", "mx.example.org"};
  e.rcpt = e.dest = {"temp", "example.net"};
  e.created = At(1795324100);
  e.expires = At(1795324100 + 345600);
  e.retry = 1;
  e.error_line = "450 4.2.1 Try later";
  return e;
}

// The reference's examples, with the expiry that is meant (section 12, 1).
TEST(QueueListing, Pending) {
  EXPECT_EQ(QueueListingLine(
                Example(), {ListingState::State::kPending, At(kNow + 399), ""},
                At(kNow)),
            "8d1fc6650ae2cde2|local|mta|auth,suspend|alice@mx.example.org|"
            "temp@example.net|temp@example.net|1795324100|1795669700|0|1|"
            "pending|399|450 4.2.1 Try later\n");
}

TEST(QueueListing, InFlight) {
  Envelope e = Example();
  e.flags = kFlagBounce | kFlagInternal | kFlagHeld;
  e.kind = DeliveryKind::kMda;
  e.sockaddr = "[2001:db8::1]";
  e.sender = {};
  e.error_line.clear();
  EXPECT_EQ(
      QueueListingLine(e, {ListingState::State::kInFlight, At(kNow - 25), ""},
                       At(kNow)),
      "8d1fc6650ae2cde2|inet6|mda|bounce,internal,hold|@|"
      "temp@example.net|temp@example.net|1795324100|1795669700|"
      "1795324240|1|inflight|25|\n");
}

TEST(QueueListing, OfflineAndPostponed) {
  Envelope e = Example();
  e.sockaddr = "192.0.2.1";
  e.last_try = At(1795324110);
  const std::string offline =
      QueueListingLine(e, {ListingState::State::kOffline, At(0), ""}, At(kNow));
  EXPECT_EQ(offline.substr(offline.find("|1795669700|")),
            "|1795669700|1795324110|1|offline||450 4.2.1 Try later\n");
  const std::string line = QueueListingLine(
      e, {ListingState::State::kPending, At(kNow - 3), "Network error"},
      At(kNow));
  EXPECT_EQ(line.substr(line.find("pending")), "pending|-3|Network error\n");
}

TEST(QueueListing, ControlCharactersAreEscaped) {
  Envelope e = Example();
  e.error_line = "450 a\r\nb\x1b[m";
  const std::string line = QueueListingLine(e, {}, At(kNow));
  EXPECT_EQ(line.find_first_of("\r\x1b"), std::string::npos);
  EXPECT_EQ(line.find('\n'), line.size() - 1);
}

TEST(QueueListing, Ids) {
  EXPECT_EQ(ParseEnvelopeId("8d1fc6650ae2cde2"),
            EnvelopeId(0x8d1fc6650ae2cde2u));
  EXPECT_EQ(ParseMessageId("8d1fc665"), MessageId(0x8d1fc665u));
  for (const char* bad :
       {"", "0000000000000000", "8d1fc6650ae2cde", "8d1fc66500000000",
        "000000000ae2cde2", "0x1fc6650ae2cde2", "8d1fc6650ae2cdeg"})
    EXPECT_EQ(ParseEnvelopeId(bad), std::nullopt) << bad;
  EXPECT_EQ(ParseMessageId("00000000"), std::nullopt);
  EXPECT_EQ(ParseMessageId("+d1fc665"), std::nullopt);
}

TEST(DoubtLine, HasFiveColumns) {
  EXPECT_EQ(DoubtLine(EnvelopeId(0x100000002u), At(5), DeliveryKind::kMda,
                      "a@b", "c@d"),
            "0000000100000002|5|mda|a@b|c@d\n");
}

}  // namespace
}  // namespace holdfast
