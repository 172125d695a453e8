#include "storage/records.h"

#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/keys.h"
#include "storage/sample_envelope.h"

namespace holdfast {
namespace {

constexpr uint32_t kSampleSeed = 4;

absl::Time At(int64_t seconds) { return absl::FromUnixSeconds(seconds); }

EnvelopeRecord SampleRecord() {
  EnvelopeRecord record;
  record.envelope = SampleEnvelope(kSampleSeed);
  record.destination = DestinationId{77};
  record.due = At(1795324100);
  record.deadline = At(1795338448);
  record.flags = record.envelope.flags;
  return record;
}

// Bytes as version 1 of each record writes them: these must be readable for
// ever, whatever is added.  Printed by this test when it fails.
struct Example {
  const char* name;
  std::string bytes;
  const char* hex;
};

std::string EnvelopeBytes() {
  const EnvelopeRecord record = SampleRecord();
  return SealEnvelope(EnvelopeKey(record.envelope.id), record);
}
std::string ReportBytes() {
  const Envelope envelope = SampleEnvelope(kSampleSeed);
  return SealReport(ReportRowKey(envelope.id, 1), {At(1795324200), envelope});
}
MessageRecord SampleMessage() {
  MessageRecord message;
  message.serial = 12345;
  message.live = 3;
  message.created = At(1795324048);
  message.body = {BodyCodec::kZstd,   10000, 4500, 1,
                  0x1122334455667788, 200,   true, true};
  return message;
}
DestinationRecord SampleDestination() {
  DestinationRecord record;
  record.action = "relay";
  record.routing_key = "example.org";
  record.envelopes = 12;
  record.next_due = At(1795324100);
  record.postponed_until = At(1795324300);
  record.first_failure = At(1795324000);
  record.failures = 2;
  record.error = "Connection refused";
  return record;
}

// With all fields that came behind those of version 1's first writer.
EnvelopeRecord FullRecord() {
  EnvelopeRecord record = SampleRecord();
  Envelope& e = record.envelope;
  e.hold_until = At(1795330000);
  e.deliver_by = At(1795331000);
  e.deliver_by_trace = true;
  e.priority = -4;
  e.flags |= kFlagSmtpUtf8 | kFlagRequireTls | kFlagDeliverByReturn;
  record.flags = e.flags;
  return record;
}

Attempt SampleAttempt(int number) {
  Attempt attempt;
  attempt.began = At(1795324100 + 400 * number);
  attempt.took = absl::Milliseconds(1234);
  attempt.result = Attempt::Result::kTempFail;
  attempt.source = "192.0.2.1";
  attempt.relay = "198.51.100.9 (mx1.example.net)";
  attempt.tls = "TLSv1.3:TLS_AES_256_GCM_SHA384:256 verified";
  attempt.answer = "451 4.7.1 Greylisting in action, please come back later";
  return attempt;
}

HistoryRecord SampleHistory() {
  HistoryRecord record;
  record.ended = At(1795324900);
  record.ending = Ending::kReported;
  record.envelope = FullRecord().envelope;
  record.envelope.attempts = {SampleAttempt(0), SampleAttempt(1)};
  return record;
}

#include "storage/records_golden.inc"

TEST(RecordsTest, ExamplesOfEveryVersionAreUnderstood) {
  const Envelope sample = SampleEnvelope(kSampleSeed);
  const auto envelope =
      OpenEnvelope(EnvelopeKey(sample.id), absl::HexStringToBytes(kEnvelope1));
  ASSERT_TRUE(envelope.ok()) << absl::BytesToHexString(EnvelopeBytes());
  EXPECT_EQ(Encode(envelope->envelope), Encode(sample));
  EXPECT_EQ(envelope->destination, DestinationId{77});
  EXPECT_EQ(envelope->due, At(1795324100));
  EXPECT_EQ(envelope->deadline, At(1795338448));

  const auto report =
      OpenReport(ReportRowKey(sample.id, 1), absl::HexStringToBytes(kReport1));
  ASSERT_TRUE(report.ok()) << absl::BytesToHexString(ReportBytes());
  EXPECT_EQ(Encode(report->envelope), Encode(sample));
  EXPECT_EQ(report->added, At(1795324200));

  const Key message_key = MessageKey(MessageId{0x1234});
  const auto message =
      OpenRow<MessageRecord>(message_key, absl::HexStringToBytes(kMessage1));
  ASSERT_TRUE(message.ok())
      << absl::BytesToHexString(SealRow(message_key, SampleMessage()));
  EXPECT_EQ(Encode(*message), Encode(SampleMessage()));

  const Key destination_key = DestinationKey(DestinationId{77});
  const auto destination = OpenRow<DestinationRecord>(
      destination_key, absl::HexStringToBytes(kDestination1));
  ASSERT_TRUE(destination.ok())
      << absl::BytesToHexString(SealRow(destination_key, SampleDestination()));
  EXPECT_EQ(Encode(*destination), Encode(SampleDestination()));

  const IncomingRecord incoming{3, 99, 2, 65536};
  const auto got_incoming =
      OpenRow<IncomingRecord>(message_key, absl::HexStringToBytes(kIncoming1));
  ASSERT_TRUE(got_incoming.ok())
      << absl::BytesToHexString(SealRow(message_key, incoming));
  EXPECT_EQ(Encode(*got_incoming), Encode(incoming));

  const AsideRecord aside{At(1795324048), "why", "bytes"};
  const Key aside_key = ReportRowKey(sample.id, 0);
  const auto got_aside =
      OpenRow<AsideRecord>(aside_key, absl::HexStringToBytes(kAside1));
  ASSERT_TRUE(got_aside.ok())
      << absl::BytesToHexString(SealRow(aside_key, aside));
  EXPECT_EQ(Encode(*got_aside), Encode(aside));

  const DoubtRecord doubt{EnvelopeId{5}, At(1795324048), DeliveryKind::kMda,
                          "a@b", "c@d"};
  const Key doubt_key = SerialKey(8);
  const auto got_doubt =
      OpenRow<DoubtRecord>(doubt_key, absl::HexStringToBytes(kDoubt1));
  ASSERT_TRUE(got_doubt.ok())
      << absl::BytesToHexString(SealRow(doubt_key, doubt));
  EXPECT_EQ(Encode(*got_doubt), Encode(doubt));

  StateRecord state;
  state.start = 9;
  state.serial = 1000;
  state.next_message = 0xfffffff0;
  state.accepted = 10;
  state.queued = 4;
  state.delivered = 6;
  const auto got_state =
      OpenRow<StateRecord>(kStateKey, absl::HexStringToBytes(kState1));
  ASSERT_TRUE(got_state.ok())
      << absl::BytesToHexString(SealRow(kStateKey, state));
  EXPECT_EQ(Encode(*got_state), Encode(state));

  SchemaRecord schema;
  schema.schema = 1;
  schema.uuid = 0x0123456789abcdef;
  schema.created = At(1795324048);
  const auto got_schema =
      OpenRow<SchemaRecord>(kSchemaKey, absl::HexStringToBytes(kSchema1));
  ASSERT_TRUE(got_schema.ok())
      << absl::BytesToHexString(SealRow(kSchemaKey, schema));
  EXPECT_EQ(Encode(*got_schema), Encode(schema));
}

// Those of an older writer end earlier: what they do not say is not so.
TEST(RecordsTest, FieldsThatAnOlderWriterDidNotKnow) {
  const Envelope sample = SampleEnvelope(kSampleSeed);
  const auto old =
      OpenEnvelope(EnvelopeKey(sample.id), absl::HexStringToBytes(kEnvelope1));
  ASSERT_TRUE(old.ok());
  EXPECT_EQ(old->envelope.hold_until, absl::UnixEpoch());
  EXPECT_EQ(old->envelope.deliver_by, absl::UnixEpoch());
  EXPECT_FALSE(old->envelope.deliver_by_trace);
  EXPECT_EQ(old->envelope.Released(), old->envelope.created);

  const EnvelopeRecord full = FullRecord();
  const Key key = EnvelopeKey(full.envelope.id);
  const auto today = OpenEnvelope(key, absl::HexStringToBytes(kEnvelope1Full));
  ASSERT_TRUE(today.ok()) << absl::BytesToHexString(SealEnvelope(key, full));
  EXPECT_EQ(Encode(today->envelope), Encode(full.envelope));
  EXPECT_EQ(today->flags, full.flags);
  EXPECT_EQ(today->envelope.hold_until, At(1795330000));

  const Key message_key = MessageKey(MessageId{0x1234});
  MessageRecord message = SampleMessage();
  message.body.header_eight_bit = false;
  const auto now = OpenRow<MessageRecord>(
      message_key, absl::HexStringToBytes(kMessage1Full));
  ASSERT_TRUE(now.ok()) << absl::BytesToHexString(
      SealRow(message_key, message));
  EXPECT_FALSE(now->body.header_eight_bit);
  const auto older =
      OpenRow<MessageRecord>(message_key, absl::HexStringToBytes(kMessage1));
  ASSERT_TRUE(older.ok());
  EXPECT_TRUE(older->body.header_eight_bit) << "it is not known: it may be so";
}

TEST(RecordsTest, AttemptsAndHistory) {
  EnvelopeRecord record = FullRecord();
  record.envelope.attempts = {SampleAttempt(0)};
  const Key key = EnvelopeKey(record.envelope.id);
  const auto envelope =
      OpenEnvelope(key, absl::HexStringToBytes(kEnvelope1Attempts));
  ASSERT_TRUE(envelope.ok())
      << absl::BytesToHexString(SealEnvelope(key, record));
  EXPECT_EQ(Encode(envelope->envelope), Encode(record.envelope));

  const HistoryRecord sample = SampleHistory();
  const Key history_key = HistoryKey(99, sample.envelope.id);
  const auto history =
      OpenHistory(history_key, absl::HexStringToBytes(kHistory1));
  ASSERT_TRUE(history.ok())
      << absl::BytesToHexString(SealHistory(history_key, sample));
  EXPECT_EQ(Encode(history->envelope), Encode(sample.envelope));
  EXPECT_EQ(history->ended, sample.ended);
  EXPECT_EQ(history->ending, sample.ending);
  const auto head =
      OpenHistory(history_key, absl::HexStringToBytes(kHistory1), true);
  ASSERT_TRUE(head.ok());
  EXPECT_EQ(head->ended, sample.ended);
  EXPECT_TRUE(head->envelope.attempts.empty());
  // In another's place.
  EXPECT_FALSE(OpenHistory(HistoryKey(98, sample.envelope.id),
                           absl::HexStringToBytes(kHistory1))
                   .ok());
}

// Attempts of one envelope are much alike: eight take less than twice one.
TEST(RecordsTest, AttemptsShrink) {
  size_t none = 0, one = 0, eight = 0, plain = 0;
  for (uint32_t seed = 0; seed < 200; ++seed) {
    EnvelopeRecord record;
    record.envelope = SampleEnvelope(0x40000000 + seed);
    record.flags = record.envelope.flags;
    const Key key = EnvelopeKey(record.envelope.id);
    none += SealEnvelope(key, record).size();
    for (int i = 0; i < 8; ++i) {
      record.envelope.attempts.push_back(SampleAttempt(i));
      if (i == 0) one += SealEnvelope(key, record).size();
    }
    eight += SealEnvelope(key, record).size();
    plain += Encode(record.envelope).size();
  }
  RecordProperty("none", static_cast<int>(none / 200));
  RecordProperty("one", static_cast<int>(one / 200));
  RecordProperty("eight", static_cast<int>(eight / 200));
  RecordProperty("plain", static_cast<int>(plain / 200));
  EXPECT_LT(eight, 2 * one);
  EXPECT_LT(3 * eight, plain) << none << " " << one << " " << eight;
}

TEST(RecordsTest, TodaysBytesAreTheExamples) {
  MessageRecord message = SampleMessage();
  message.body.header_eight_bit = false;
  EXPECT_EQ(
      absl::BytesToHexString(SealRow(MessageKey(MessageId{0x1234}), message)),
      kMessage1Full);
}

TEST(RecordsTest, EnvelopesGoThereAndBackAndShrink) {
  size_t plain = 0, packed = 0;
  for (uint32_t seed = 0; seed < 2000; ++seed) {
    EnvelopeRecord record;
    // Not of the training material.
    record.envelope = SampleEnvelope(0x40000000 + seed);
    record.flags = record.envelope.flags;
    const Key key = EnvelopeKey(record.envelope.id);
    const std::string bytes = SealEnvelope(key, record);
    plain += Encode(record.envelope).size();
    packed += bytes.size();
    const auto back = OpenEnvelope(key, bytes);
    ASSERT_TRUE(back.ok()) << back.status();
    ASSERT_EQ(Encode(back->envelope), Encode(record.envelope));
    const auto head = OpenEnvelope(key, bytes, /*head_only=*/true);
    ASSERT_TRUE(head.ok());
    EXPECT_EQ(head->flags, record.flags);
  }
  EXPECT_LT(packed * 10, plain * 8);
}

TEST(RecordsTest, EveryTruncationAndEveryFlippedBitIsFound) {
  const EnvelopeRecord record = SampleRecord();
  const Key key = EnvelopeKey(record.envelope.id);
  const std::string bytes = EnvelopeBytes();
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(OpenEnvelope(key, bytes.substr(0, size)).ok()) << size;
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string bad = bytes;
    bad[bit / 8] ^= static_cast<char>(1 << bit % 8);
    EXPECT_FALSE(OpenEnvelope(key, bad).ok()) << bit;
  }
  EXPECT_FALSE(OpenEnvelope(key, bytes + "x").ok());
  EXPECT_FALSE(OpenEnvelope(EnvelopeKey(EnvelopeId{1}), bytes).ok());
}

TEST(RecordsTest, PayloadsThatLieWithAGoodChecksumAreRefused) {
  // As a bug, not a bad disk, would write them.
  const Key key = EnvelopeKey(EnvelopeId{1});
  for (int first = 0; first < 256; ++first) {
    const std::string payload(1 + first % 40, static_cast<char>(first));
    EXPECT_FALSE(
        OpenEnvelope(key, SealRecord(Table::kEnvelopes, key, 1, payload)).ok());
  }
  EXPECT_FALSE(OpenRow<MessageRecord>(key, SealRecord(Table::kMessages, key, 2,
                                                      Encode(SampleMessage())))
                   .ok());
}

TEST(KeysTest, KeysSortAsTheirValues) {
  const absl::Time times[] = {
      absl::InfinitePast(),  At(-5), At(0), At(5), At(1795324048),
      absl::InfiniteFuture()};
  for (size_t i = 0; i < std::size(times); ++i) {
    EXPECT_EQ(KeyReader(Key().Put(times[i])).GetTime(), times[i]);
    if (i == 0) continue;
    EXPECT_LT(Key().Put(times[i - 1]).ToString(),
              Key().Put(times[i]).ToString());
  }
  const auto lane = [](int8_t priority, int64_t due) {
    return LaneKey(DestinationId{1}, priority, At(due), EnvelopeId{1})
        .ToString();
  };
  EXPECT_LT(lane(127, 9), lane(1, 1));
  EXPECT_LT(lane(1, 9), lane(0, 1));
  EXPECT_LT(lane(0, 9), lane(-1, 1));
  EXPECT_LT(lane(-1, 9), lane(-128, 1));
  EXPECT_LT(lane(0, 1), lane(0, 2));
}

TEST(KeysTest, ShortKeysReadAsZeros) {
  KeyReader reader("abc");
  EXPECT_EQ(reader.Get32(), 0u);
  EXPECT_EQ(reader.Get64(), 0u);
  EXPECT_FALSE(reader.ok());
}

}  // namespace
}  // namespace holdfast
