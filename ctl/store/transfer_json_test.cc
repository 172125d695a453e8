// The JSON of archives: there and back, and what storage/EXPORT.md says of it.
#include "ctl/store/transfer_json.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "absl/strings/str_cat.h"
#include "ctl/store/archive_writer.h"
#include "ctl/store/exporter.h"

namespace holdfast {
namespace {

using Json = nlohmann::json;

absl::Time At(int64_t seconds) { return absl::FromUnixSeconds(seconds); }

// Every field has something.
ExportEnvelope FullEnvelope() {
  ExportEnvelope one;
  Envelope& e = one.envelope;
  e.id = MakeEnvelopeId(MessageId{0x1234}, 7);
  e.kind = DeliveryKind::kMda;
  e.action = "local";
  e.routing_key = "user";
  e.sender = {"s", "a.example"};
  e.rcpt = {"r", "b.example"};
  e.dest = {"d", "c.example"};
  e.tag = "T";
  e.smtpname = "mx";
  e.helo = "\xff\r\n";
  e.hostname = "h";
  e.username = "u";
  e.sockaddr = "192.0.2.1";
  e.created = At(1000);
  e.expires = At(9000);
  e.last_try = At(1001);
  e.last_bounce = At(1002);
  e.hold_until = At(1003);
  e.deliver_by = At(1004);
  e.deliver_by_trace = true;
  e.retry = 3;
  e.flags = kFlagAuthenticated | kFlagBounce | kFlagInternal | kFlagSuspended |
            kFlagHeld | kFlagInDoubt | kFlagRequireTls | kFlagSmtpUtf8 |
            kFlagBinaryMime | kFlag8BitMime | kFlagDeliverByReturn | kFlagTls;
  e.priority = -4;
  e.status = EnhancedStatus::Make(4, 7, 30);
  e.error_line = "451 no \"thing\"";
  Attempt attempt;
  attempt.began = At(1001);
  attempt.took = absl::Milliseconds(20);
  attempt.result = Attempt::Result::kTempFail;
  attempt.source = "192.0.2.2";
  attempt.relay = "mx.example";
  attempt.tls = "TLSv1.3";
  attempt.answer = "451 no";
  e.attempts = {attempt};
  one.due = At(2000);
  e.dsn_notify = kNotifySuccess | kNotifyFailure | kNotifyDelay;
  e.dsn_ret = DsnReturn::kHeaders;
  e.dsn_envid = "envid";
  e.dsn_orcpt = "rfc822;r@b.example";
  e.mda_user = "user";
  e.mda_subaddress = "sub";
  e.mda_exec = "|cmd";
  return one;
}

ExportMessage FullMessage() {
  ExportMessage message;
  message.id = MessageId{0x1234};
  message.origin_store = 0xabc;
  message.origin_serial = 5;
  message.created = At(1000);
  message.body.raw_bytes = 42;
  return message;
}

TEST(TransferJsonTest, ThereAndBack) {
  const std::string text = ToJson(FullEnvelope());
  const auto back = EnvelopeFromJson(text);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(ToJson(*back), text);
  EXPECT_EQ(back->envelope.helo, "\xff\r\n");
  EXPECT_EQ(back->envelope.flags, FullEnvelope().envelope.flags);
  EXPECT_EQ(back->due, FullEnvelope().due);
  const std::string message = ToJson(FullMessage());
  const auto again = MessageFromJson(message);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(ToJson(*again), message);
}

TEST(TransferJsonTest, WhatIsWrongIsRefused) {
  for (const char* text :
       {"", "[]", "{", "null", R"({"id": 7})", R"({"id": "000012340000000G"})",
        R"({"id": "0000123400000007", "retry": -1})",
        R"({"id": "0000123400000007", "retry": 4294967296})",
        R"({"id": "0000123400000007", "priority": 200})",
        R"({"id": "0000123400000007", "flags": ["what"]})",
        R"({"id": "0000123400000007", "flags": "held"})",
        R"({"id": "0000123400000007", "kind": "mua"})",
        R"({"id": "0000123400000007", "created": "yesterday"})",
        R"({"id": "0000123400000007", "sender": "a@b"})",
        R"({"id": "0000123400000007", "helo": {"base64": "%"}})",
        R"({"id": "0000123400000007", "attempts": [1]})"})
    EXPECT_FALSE(EnvelopeFromJson(text).ok()) << text;
  EXPECT_FALSE(EnvelopeFromJson(std::string(100'000, '[')).ok());
  EXPECT_FALSE(
      EnvelopeFromJson(absl::StrCat(R"({"id": "0000123400000007", "x": ")",
                                    std::string(kMaxTransferJson, 'x'), "\"}"))
          .ok());
  EXPECT_FALSE(MessageFromJson(R"({"id": "00001234"})").ok());
}

// ---- The document

std::map<std::string, Json> Schemas() {
  std::ifstream file("storage/EXPORT.md");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  std::map<std::string, Json> schemas;
  const std::string begin = "```json\n";
  for (size_t at = text.find(begin); at != text.npos;
       at = text.find(begin, at)) {
    at += begin.size();
    const size_t end = text.find("```", at);
    Json schema = Json::parse(text.substr(at, end - at));
    schemas[schema["$id"]] = schema;
    at = end + 3;
  }
  return schemas;
}

// Checks what the schemas of the document use; `seen`: the properties that were
// there.
class Validator {
 public:
  explicit Validator(const Json& root) : root_(root) {}

  void Check(Json schema, const Json& value, const std::string& where) {
    if (schema.contains("$ref"))
      schema = root_.at(
          Json::json_pointer(schema["$ref"].get<std::string>().substr(1)));
    CheckType(schema, value, where);
    if (schema.contains("enum")) {
      bool one = false;
      for (const Json& allowed : schema["enum"]) one |= allowed == value;
      EXPECT_TRUE(one) << where << ": " << value;
    }
    if (schema.contains("pattern")) {
      const std::regex pattern(schema["pattern"].get<std::string>());
      EXPECT_TRUE(std::regex_match(value.get<std::string>(), pattern))
          << where << ": " << value;
    }
    for (const Json& name : schema.value("required", Json::array()))
      EXPECT_TRUE(value.contains(name.get<std::string>())) << where << name;
    if (value.is_array())
      for (const Json& item : value) Check(schema["items"], item, where + "[]");
    if (!value.is_object() || !schema.contains("properties")) return;
    for (const auto& [name, field] : value.items()) {
      ASSERT_TRUE(schema["properties"].contains(name))
          << where << ": " << name << " is not documented";
      Check(schema["properties"][name], field, where + "." + name);
    }
    for (const auto& [name, field] : schema["properties"].items())
      EXPECT_TRUE(value.contains(name))
          << where << ": " << name << " is not written";
  }

 private:
  static void CheckType(const Json& schema, const Json& value,
                        const std::string& where) {
    if (!schema.contains("type")) return;
    const Json& type = schema["type"];
    const std::string is =
        value.is_number_integer() ? "integer" : value.type_name();
    bool one = type == is;
    if (type.is_array())
      for (const Json& allowed : type) one |= allowed == is;
    EXPECT_TRUE(one) << where << " is a " << is;
  }

  const Json& root_;
};

void Fits(const std::string& id, const std::string& text) {
  const auto schemas = Schemas();
  ASSERT_TRUE(schemas.count(id) > 0) << id;
  const Json& schema = schemas.at(id);
  Validator(schema).Check(schema, Json::parse(text), id);
}

TEST(ExportDocumentTest, SaysWhatIsWritten) {
  Fits("message", ToJson(FullMessage()));
  Fits("envelope", ToJson(FullEnvelope()));
  ExportBegin begin;
  begin.store = 0xabc;
  begin.taken = At(1000);
  begin.messages = begin.envelopes = begin.queued = 1;
  Fits("about", AboutText(begin));
  Fits("manifest", absl::StrCat(ManifestBegin(),
                                ManifestEntry(true, "messages/00001234.json", 5,
                                              std::string(64, 'a')),
                                ManifestEnd(1, 1)));
}

}  // namespace
}  // namespace holdfast
