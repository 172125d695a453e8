#include "protocol/dns_message.h"

#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"

namespace holdfast {
namespace {

constexpr size_t kHeaderBytes = 12;
constexpr size_t kMaxLabel = 63;
constexpr size_t kMaxName = 255;
constexpr uint16_t kClassIn = 1;
constexpr uint16_t kTypeOpt = 41;

void PutU16(uint16_t v, std::string* out) {
  out->push_back(static_cast<char>(v >> 8));
  out->push_back(static_cast<char>(v));
}

absl::Status PutName(absl::string_view name, std::string* out) {
  const size_t start = out->size();
  while (!name.empty()) {
    const absl::string_view label = name.substr(0, name.find('.'));
    if (label.empty() || label.size() > kMaxLabel)
      return absl::InvalidArgumentError("bad label");
    out->push_back(static_cast<char>(label.size()));
    for (const char c : label) {
      if (!absl::ascii_isgraph(c) || c == '\\')
        return absl::InvalidArgumentError("bad byte in a name");
      out->push_back(absl::ascii_tolower(c));
    }
    name.remove_prefix(std::min(name.size(), label.size() + 1));
  }
  out->push_back(0);
  if (out->size() - start > kMaxName)
    return absl::InvalidArgumentError("name is too long");
  return absl::OkStatus();
}

// Reads a message from front to back.  After the first thing that doesn't fit
// all reads fail.
class Reader {
 public:
  explicit Reader(absl::string_view message) : message_(message) {}

  bool ok() const { return ok_; }
  size_t position() const { return position_; }
  void Seek(size_t position) { position_ = position; }

  uint8_t U8() {
    if (position_ >= message_.size()) return Fail();
    return static_cast<uint8_t>(message_[position_++]);
  }
  uint16_t U16() {
    const uint16_t high = U8();
    return static_cast<uint16_t>(high << 8 | U8());
  }
  uint32_t U32() {
    const uint32_t high = U16();
    return high << 16 | U16();
  }
  absl::string_view Bytes(size_t n) {
    if (!ok_ || n > message_.size() - position_) {
      Fail();
      return {};
    }
    position_ += n;
    return message_.substr(position_ - n, n);
  }

  std::string Name() {
    std::string name;
    size_t wire_bytes = 1;
    size_t at = position_;
    // Every pointer leads before the place the last one led to: no loops.
    size_t floor = position_;
    bool jumped = false;
    while (true) {
      if (at >= message_.size()) return Fail(), "";
      const uint8_t length = static_cast<uint8_t>(message_[at]);
      if ((length & 0xc0) == 0xc0) {
        if (at + 1 >= message_.size()) return Fail(), "";
        const size_t to = static_cast<size_t>(length & 0x3f) << 8 |
                          static_cast<uint8_t>(message_[at + 1]);
        if (to >= floor || to < kHeaderBytes) return Fail(), "";
        if (!jumped) position_ = at + 2;
        jumped = true;
        at = floor = to;
        continue;
      }
      if ((length & 0xc0) != 0) return Fail(), "";
      if (length == 0) {
        if (!jumped) position_ = at + 1;
        return name;
      }
      wire_bytes += 1u + length;
      if (wire_bytes > kMaxName || length > message_.size() - at - 1)
        return Fail(), "";
      if (!name.empty()) name.push_back('.');
      AppendLabel(message_.substr(at + 1, length), &name);
      at += 1u + length;
    }
  }

 private:
  static void AppendLabel(absl::string_view label, std::string* name) {
    for (const char c : label) {
      if (absl::ascii_isgraph(c) && c != '.' && c != '\\')
        name->push_back(absl::ascii_tolower(c));
      else
        absl::StrAppendFormat(name, "\\%03d", static_cast<uint8_t>(c));
    }
  }
  uint8_t Fail() {
    ok_ = false;
    position_ = message_.size();
    return 0;
  }

  absl::string_view message_;
  size_t position_ = 0;
  bool ok_ = true;
};

// What the record's data are.  False: not as its type says.
bool ReadData(uint16_t length, Reader* reader, DnsRecord* record) {
  switch (record->type) {
    case DnsType::kA:
    case DnsType::kAaaa: {
      if (length != (record->type == DnsType::kA ? 4 : 16)) return false;
      std::optional<IpAddress> address =
          IpAddress::FromBytes(reader->Bytes(length));
      if (!address) return false;
      record->address = *address;
      return true;
    }
    case DnsType::kMx:
      record->preference = reader->U16();
      [[fallthrough]];
    case DnsType::kCname:
    case DnsType::kPtr:
      record->target = reader->Name();
      return reader->ok();
    case DnsType::kSoa:
      reader->Name();
      reader->Name();
      reader->Bytes(16);  // serial, refresh, retry, expire
      record->minimum = reader->U32();
      return reader->ok();
  }
  return false;
}

bool IsKnown(uint16_t type) {
  switch (static_cast<DnsType>(type)) {
    case DnsType::kA:
    case DnsType::kCname:
    case DnsType::kSoa:
    case DnsType::kPtr:
    case DnsType::kMx:
    case DnsType::kAaaa:
      return true;
  }
  return false;
}

// Reads one record; nothing if it is of a kind that we don't know.
absl::StatusOr<std::optional<DnsRecord>> ReadRecord(Reader* reader) {
  DnsRecord record;
  record.name = reader->Name();
  const uint16_t type = reader->U16();
  const uint16_t klass = reader->U16();
  record.ttl = reader->U32();
  if (record.ttl > INT32_MAX) record.ttl = 0;
  const uint16_t length = reader->U16();
  const size_t start = reader->position();
  reader->Bytes(length);  // all of it must be there
  if (!reader->ok()) return absl::DataLossError("record is cut off");
  if (klass != kClassIn || !IsKnown(type)) return std::nullopt;
  reader->Seek(start);
  record.type = static_cast<DnsType>(type);
  if (!ReadData(length, reader, &record) ||
      reader->position() != start + length)
    return absl::DataLossError("record is malformed");
  return record;
}

absl::Status ReadSection(int count, bool soa, Reader* reader,
                         std::vector<DnsRecord>* records) {
  for (int i = 0; i < count; ++i) {
    absl::StatusOr<std::optional<DnsRecord>> record = ReadRecord(reader);
    if (!record.ok()) return record.status();
    if (record->has_value() && ((*record)->type == DnsType::kSoa) == soa &&
        records->size() < kMaxDnsRecords)
      records->push_back(**std::move(record));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> EncodeDnsQuestion(uint16_t id,
                                              absl::string_view name,
                                              DnsType type,
                                              uint16_t udp_bytes) {
  std::string out;
  PutU16(id, &out);
  PutU16(0x0100, &out);  // recursion desired
  PutU16(1, &out);       // one question,
  PutU16(0, &out);
  PutU16(0, &out);
  PutU16(1, &out);  // one additional record: OPT
  if (absl::Status status = PutName(name, &out); !status.ok()) return status;
  PutU16(static_cast<uint16_t>(type), &out);
  PutU16(kClassIn, &out);
  out.push_back(0);  // OPT (RFC 6891 section 6.1.2): of the root,
  PutU16(kTypeOpt, &out);
  PutU16(udp_bytes, &out);
  out.append(6, '\0');  // no extended rcode or flags, no options
  return out;
}

absl::StatusOr<DnsMessage> ParseDnsMessage(absl::string_view bytes) {
  Reader reader(bytes);
  DnsMessage message;
  message.id = reader.U16();
  const uint16_t flags = reader.U16();
  message.response = flags & 0x8000;
  message.truncated = flags & 0x0200;
  message.rcode = static_cast<DnsRcode>(flags & 15);
  const int questions = reader.U16();
  const int answers = reader.U16();
  const int authority = reader.U16();
  reader.U16();  // additional records are of no use to us
  if (questions > 1) return absl::DataLossError("more than one question");
  if (questions == 1) {
    message.question = reader.Name();
    message.question_type = reader.U16();
    reader.U16();
  }
  if (!reader.ok()) return absl::DataLossError("header is cut off");
  absl::Status status =
      ReadSection(answers, /*soa=*/false, &reader, &message.answers);
  if (status.ok())
    status = ReadSection(authority, /*soa=*/true, &reader, &message.authority);
  if (!status.ok() && !message.truncated) return status;
  return message;
}

}  // namespace holdfast
