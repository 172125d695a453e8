#include "ctl/load/load_message.h"

#include <array>
#include <random>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace holdfast {
namespace {

constexpr int kDotEvery = 16;  // lines

constexpr std::array<uint32_t, 256> MakeCrcTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) {
      value = (value & 1) ? 0xedb88320u ^ (value >> 1) : value >> 1;
    }
    table[i] = value;
  }
  return table;
}

constexpr std::array<uint32_t, 256> kCrcTable = MakeCrcTable();

constexpr const char* kWords[] = {
    "the",     "harbour", "letter", "answer", "of",     "and",      "meeting",
    "morning", "please",  "find",   "in",     "report", "attached", "with",
    "regards", "order",   "number", "next",   "week",   "shipment", "to",
    "invoice", "delayed", "kelp",   "rock",   "tide",   "current",  "is",
    "holding", "between", "ship",   "anchor"};

constexpr char kBase64[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr size_t kLineLength = 72;

std::string WordLine(std::mt19937_64& random) {
  std::string line;
  while (line.size() < kLineLength - 8) {
    if (!line.empty()) line += ' ';
    line += kWords[random() % std::size(kWords)];
  }
  return line;
}

std::string Base64Line(std::mt19937_64& random) {
  std::string line;
  while (line.size() < kLineLength) line += kBase64[random() % 64];
  return line;
}

LoadBody MakeBody(size_t size, std::mt19937_64& random) {
  LoadBody body;
  for (int number = 1; body.plain.size() + 2 < size || number == 1; ++number) {
    std::string line =
        body.plain.size() * 2 < size ? WordLine(random) : Base64Line(random);
    if (number % kDotEvery == 0) line.insert(0, 1, '.');
    const size_t room =
        size > body.plain.size() + 2 ? size - body.plain.size() - 2 : size_t{1};
    if (line.size() > room) line.resize(room);
    body.crc = Crc32(Crc32(body.crc, line), "\n");
    if (line[0] == '.') body.stuffed += '.';
    absl::StrAppend(&body.stuffed, line, "\r\n");
    absl::StrAppend(&body.plain, line, "\r\n");
  }
  return body;
}

// The value of a field if `line` begins it.
bool FieldValue(absl::string_view line, absl::string_view name,
                std::string* value) {
  if (!absl::StartsWithIgnoreCase(line, name)) return false;
  *value = std::string(absl::StripAsciiWhitespace(line.substr(name.size())));
  return true;
}

}  // namespace

uint32_t Crc32(uint32_t crc, absl::string_view bytes) {
  crc = ~crc;
  for (const char c : bytes) {
    crc = kCrcTable[(crc ^ static_cast<uint8_t>(c)) & 0xff] ^ (crc >> 8);
  }
  return ~crc;
}

std::string FormatCrc32(uint32_t crc) { return absl::StrFormat("%08x", crc); }

std::vector<LoadBody> MakeLoadBodies(size_t count, size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<LoadBody> bodies;
  bodies.reserve(count);
  for (size_t i = 0; i < count; ++i) bodies.push_back(MakeBody(size, random));
  return bodies;
}

std::string MakeLoadHeader(const std::string& id, const std::string& sender,
                           const std::string& recipient,
                           const std::string& date, const LoadBody& body) {
  return absl::StrCat("From: <", sender, ">\r\nTo: <", recipient,
                      ">\r\nSubject: load ", id, "\r\nDate: ", date,
                      "\r\nMessage-ID: <", id,
                      "@load.invalid>\r\nX-Load-Id: ", id,
                      "\r\nX-Load-Body: ", FormatCrc32(body.crc), "\r\n\r\n");
}

void LoadMessageReader::Line(absl::string_view line) {
  if (in_body_) {
    crc_ = Crc32(Crc32(crc_, line), "\n");
  } else if (line.empty()) {
    in_body_ = true;
  } else {
    HeaderLine(line);
  }
}

void LoadMessageReader::HeaderLine(absl::string_view line) {
  const bool continued = line[0] == ' ' || line[0] == '\t';
  if (!continued) {
    in_received_ = absl::StartsWithIgnoreCase(line, "Received:");
    if (in_received_) ++received_;
    FieldValue(line, "X-Load-Id:", &id_);
    FieldValue(line, "X-Load-Body:", &checksum_);
    if (delivered_to_.empty()) {
      FieldValue(line, "Delivered-To:", &delivered_to_);
    }
  }
  if (in_received_ && received_ == 1 && msgid_.empty()) {
    const size_t at = line.find(" id ");
    if (at == absl::string_view::npos) return;
    const absl::string_view word = line.substr(at + 4, 8);
    for (const char c : word) {
      if (!absl::ascii_isxdigit(c)) return;
    }
    if (word.size() == 8) msgid_ = std::string(word);
  }
}

}  // namespace holdfast
