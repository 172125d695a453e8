#include "server/relay/fake_dns.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace holdfast {
namespace {

void Put16(uint32_t v, std::string* out) {
  out->push_back(static_cast<char>(v >> 8));
  out->push_back(static_cast<char>(v));
}
void Put32(uint32_t v, std::string* out) {
  Put16(v >> 16, out);
  Put16(v & 0xffff, out);
}
void PutName(const std::string& name, std::string* out) {
  for (absl::string_view label : absl::StrSplit(name, '.', absl::SkipEmpty())) {
    out->push_back(static_cast<char>(label.size()));
    out->append(label.data(), label.size());
  }
  out->push_back('\0');
}

std::string Data(const DnsRecord& r) {
  std::string data;
  switch (r.type) {
    case DnsType::kA:
    case DnsType::kAaaa:
      data.assign(reinterpret_cast<const char*>(r.address.bytes.data()),
                  r.address.inet6 ? 16 : 4);
      break;
    case DnsType::kMx:
      Put16(r.preference, &data);
      [[fallthrough]];
    case DnsType::kCname:
    case DnsType::kPtr:
      PutName(r.target, &data);
      break;
    case DnsType::kSoa:
      PutName("ns", &data);
      PutName("hostmaster", &data);
      for (int i = 0; i < 4; ++i) Put32(1, &data);
      Put32(r.minimum, &data);
      break;
  }
  return data;
}

void PutRecord(const DnsRecord& r, std::string* out) {
  PutName(r.name, out);
  Put16(static_cast<uint16_t>(r.type), out);
  Put16(1, out);
  Put32(r.ttl, out);
  const std::string data = Data(r);
  Put16(static_cast<uint32_t>(data.size()), out);
  out->append(data);
}

const char* TypeName(DnsType type) {
  switch (type) {
    case DnsType::kA:
      return "a";
    case DnsType::kAaaa:
      return "aaaa";
    case DnsType::kMx:
      return "mx";
    case DnsType::kPtr:
      return "ptr";
    default:
      return "other";
  }
}

}  // namespace

std::string MakeDnsResponse(absl::string_view question,
                            const std::vector<DnsRecord>& answers,
                            DnsRcode rcode, uint32_t minimum) {
  const absl::StatusOr<DnsMessage> asked = ParseDnsMessage(question);
  std::string out(question.substr(0, 2));
  Put16(0x8180 | static_cast<uint32_t>(rcode), &out);
  Put16(1, &out);
  Put16(static_cast<uint32_t>(answers.size()), &out);
  Put16(answers.empty() ? 1 : 0, &out);
  Put16(0, &out);
  PutName(asked.ok() ? asked->question : "", &out);
  Put16(asked.ok() ? asked->question_type : 0, &out);
  Put16(1, &out);
  for (const DnsRecord& r : answers) PutRecord(r, &out);
  if (answers.empty()) {
    DnsRecord soa;
    soa.type = DnsType::kSoa;
    soa.ttl = 3600;
    soa.minimum = minimum;
    PutRecord(soa, &out);
  }
  return out;
}

void FakeDns::Address(const std::string& name, const std::string& address,
                      uint32_t ttl) {
  DnsRecord r;
  r.name = name;
  r.address = *IpAddress::Parse(address);
  r.type = r.address.inet6 ? DnsType::kAaaa : DnsType::kA;
  r.ttl = ttl;
  records_.push_back(std::move(r));
}

void FakeDns::Mx(const std::string& name, uint16_t preference,
                 const std::string& target) {
  DnsRecord r;
  r.name = name;
  r.type = DnsType::kMx;
  r.ttl = 300;
  r.preference = preference;
  r.target = target;
  records_.push_back(std::move(r));
}

void FakeDns::Alias(const std::string& name, const std::string& target) {
  DnsRecord r;
  r.name = name;
  r.type = DnsType::kCname;
  r.ttl = 300;
  r.target = target;
  records_.push_back(std::move(r));
}

void FakeDns::Pointer(const std::string& address, const std::string& target) {
  DnsRecord r;
  r.name = ReverseDnsName(*IpAddress::Parse(address));
  r.type = DnsType::kPtr;
  r.ttl = 300;
  r.target = target;
  records_.push_back(std::move(r));
}

void FakeDns::Ask(const std::string& name, DnsType type, Done done) {
  questions_.push_back(absl::StrCat(TypeName(type), " ", name));
  timers_.push_back(loop_->RunAfter(
      absl::ZeroDuration(),
      [answer = Answer(name, type), done = std::move(done)]() mutable {
        done(std::move(answer));
      }));
}

absl::StatusOr<std::string> FakeDns::Answer(const std::string& name,
                                            DnsType type) {
  const auto failure = failures_.find(name);
  if (failure != failures_.end()) return failure->second;
  const auto raw = raw_.find(name);
  if (raw != raw_.end()) return raw->second;
  const absl::StatusOr<std::string> question =
      EncodeDnsQuestion(1, name, type, 512);
  if (!question.ok()) return question.status();
  const auto rcode = rcodes_.find(name);
  if (rcode != rcodes_.end())
    return MakeDnsResponse(*question, {}, rcode->second);
  std::vector<DnsRecord> answers;
  bool exists = false;
  std::string at = name;
  // At most as many links as there are records: cycles end.
  for (size_t links = 0; links <= records_.size(); ++links) {
    std::string next;
    for (const DnsRecord& r : records_) {
      if (r.name != at) continue;
      exists = true;
      if (r.type == type || r.type == DnsType::kCname) answers.push_back(r);
      if (r.type == DnsType::kCname) next = r.target;
    }
    if (next.empty() || short_chains_) break;
    at = next;
  }
  return MakeDnsResponse(*question, answers,
                         exists ? DnsRcode::kNoError : DnsRcode::kNxDomain);
}

}  // namespace holdfast
