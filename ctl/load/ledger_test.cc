#include "ctl/load/ledger.h"

#include <stdlib.h>

#include <fstream>

#include "gtest/gtest.h"

namespace holdfast {
namespace {

std::string TempPath(const std::string& name) {
  return testing::TempDir() + "/" + name;
}

TEST(LedgerTest, EveryKindSurvivesFormatAndParse) {
  LedgerEntry entry;
  entry.serial = 7;
  entry.id = "run-3";
  entry.msgid = "0a1b2c3d";
  entry.recipients = {"a@x.example", "b@y.example"};
  for (const auto kind :
       {LedgerEntry::Kind::kAcknowledged, LedgerEntry::Kind::kTook,
        LedgerEntry::Kind::kUnknown, LedgerEntry::Kind::kRefused}) {
    entry.kind = kind;
    entry.body = kind == LedgerEntry::Kind::kTook ? LedgerEntry::Body::kDamaged
                                                  : LedgerEntry::Body::kUnknown;
    const auto parsed = ParseLedgerEntry(FormatLedgerEntry(entry));
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(parsed->kind, entry.kind);
    EXPECT_EQ(parsed->serial, 7u);
    EXPECT_EQ(parsed->id, "run-3");
    EXPECT_EQ(parsed->msgid, "0a1b2c3d");
    EXPECT_EQ(parsed->recipients, entry.recipients);
    EXPECT_EQ(parsed->body, entry.body);
  }
}

TEST(LedgerTest, TextFromTheNetworkStaysOneWord) {
  LedgerEntry entry;
  entry.id = "x\nACK 1 forged";
  entry.recipients = {"a b,c@x"};
  const std::string line = FormatLedgerEntry(entry);
  EXPECT_EQ(line, "ACK 0 x?ACK?1?forged - a?b?c@x\n");
}

TEST(LedgerTest, RefusesOtherLines) {
  EXPECT_FALSE(ParseLedgerEntry("").ok());
  EXPECT_FALSE(ParseLedgerEntry("ACK x id - a@b").ok());
  EXPECT_FALSE(ParseLedgerEntry("NACK 1 id - a@b").ok());
  EXPECT_FALSE(ParseLedgerEntry("TOOK 1 id - a@b").ok());
}

TEST(LedgerTest, AppendsAndReadsBackWithoutTheTornLine) {
  const std::string path = TempPath("ledger");
  remove(path.c_str());
  const std::string device = TempPath("device");
  std::ofstream(device) << std::string(4096, 'x');
  {
    LedgerWriter writer;
    LedgerWriter::Options options;
    options.path = path;
    options.sync = true;
    options.serial_device = device;
    ASSERT_TRUE(writer.Open(options).ok());
    LedgerEntry entry;
    entry.id = "one";
    entry.recipients = {"a@b"};
    writer.Add(entry);
    entry.id = "two";
    writer.Add(entry);
    ASSERT_TRUE(writer.Flush().ok());
  }
  std::ofstream(path, std::ios::app) << "ACK 3 torn - a";
  const auto entries = ReadLedger(path);
  ASSERT_TRUE(entries.ok()) << entries.status();
  ASSERT_EQ(entries->size(), 2u);
  EXPECT_EQ((*entries)[1].id, "two");
  EXPECT_EQ((*entries)[1].serial, 2u);
  std::string serial;
  std::getline(std::ifstream(device), serial);
  EXPECT_EQ(serial, "2");
}

}  // namespace
}  // namespace holdfast
