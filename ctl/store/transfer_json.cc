#include "ctl/store/transfer_json.h"

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace holdfast {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kTimeFormat[] = "%Y-%m-%dT%H:%M:%E6SZ";

struct Bit {
  uint32_t bit;
  const char* word;
};
constexpr Bit kFlags[] = {
    {kFlagAuthenticated, "authenticated"},
    {kFlagBounce, "bounce"},
    {kFlagInternal, "internal"},
    {kFlagSuspended, "suspended"},
    {kFlagHeld, "held"},
    {kFlagInDoubt, "in-doubt"},
    {kFlagRequireTls, "requiretls"},
    {kFlagSmtpUtf8, "smtputf8"},
    {kFlagBinaryMime, "binarymime"},
    {kFlag8BitMime, "8bitmime"},
    {kFlagDeliverByReturn, "deliver-by-return"},
    {kFlagTls, "tls"},
};
constexpr Bit kNotify[] = {
    {kNotifySuccess, "success"},
    {kNotifyFailure, "failure"},
    {kNotifyDelay, "delay"},
    {kNotifyNever, "never"},
};
// Values of enums.
constexpr Bit kKinds[] = {
    {static_cast<uint32_t>(DeliveryKind::kMda), "mda"},
    {static_cast<uint32_t>(DeliveryKind::kMta), "mta"},
};
constexpr Bit kReturns[] = {
    {static_cast<uint32_t>(DsnReturn::kFull), "full"},
    {static_cast<uint32_t>(DsnReturn::kHeaders), "headers"},
};
constexpr Bit kResults[] = {
    {static_cast<uint32_t>(Attempt::Result::kOk), "ok"},
    {static_cast<uint32_t>(Attempt::Result::kTempFail), "tempfail"},
    {static_cast<uint32_t>(Attempt::Result::kPermFail), "permfail"},
    {static_cast<uint32_t>(Attempt::Result::kLoop), "loop"},
    {static_cast<uint32_t>(Attempt::Result::kInDoubt), "in-doubt"},
};

// Well-formed UTF-8 (RFC 3629) without control characters but tabs.
bool IsText(absl::string_view s) {
  for (size_t i = 0; i < s.size();) {
    const auto at = [&](size_t n) {
      return n < s.size() ? static_cast<uint8_t>(s[n]) : 0;
    };
    const uint8_t c = at(i);
    size_t more = 0;
    if (c < 0x80) {
      if ((c < 0x20 && c != '\t') || c == 0x7f) return false;
    } else if (c >= 0xc2 && c <= 0xdf) {
      more = 1;
    } else if (c >= 0xe0 && c <= 0xef) {
      more = 2;
      if (c == 0xe0 && at(i + 1) < 0xa0) return false;
      if (c == 0xed && at(i + 1) > 0x9f) return false;
    } else if (c >= 0xf0 && c <= 0xf4) {
      more = 3;
      if (c == 0xf0 && at(i + 1) < 0x90) return false;
      if (c == 0xf4 && at(i + 1) > 0x8f) return false;
    } else {
      return false;
    }
    for (size_t k = 1; k <= more; ++k)
      if ((at(i + k) & 0xc0) != 0x80) return false;
    i += more + 1;
  }
  return true;
}

// ---- Fields, by name, in both directions

class Writer {
 public:
  static constexpr bool kReads = false;

  void Text(const char* name, std::string& v) {
    if (v.empty()) return;
    if (IsText(v)) {
      json_[name] = v;
    } else {
      json_[name] = {{"base64", absl::Base64Escape(v)}};
    }
  }
  template <class T>
  void Number(const char* name, T& v) {
    if (v != 0) json_[name] = v;
  }
  void Flag(const char* name, bool& v) {
    if (v) json_[name] = true;
  }
  void Hex(const char* name, uint64_t& v, int digits) {
    json_[name] = absl::StrFormat("%0*x", digits, v);
  }
  void Time(const char* name, absl::Time& v) {
    if (v == absl::UnixEpoch()) return;
    json_[name] = absl::FormatTime(kTimeFormat, v, absl::UTCTimeZone());
  }
  template <size_t n>
  void Words(const char* name, uint32_t& v, const Bit (&bits)[n]) {
    Json list = Json::array();
    for (const Bit& b : bits)
      if ((v & b.bit) != 0) list.push_back(b.word);
    if (!list.empty()) json_[name] = std::move(list);
  }
  template <size_t n>
  void Word(const char* name, uint32_t& v, const Bit (&values)[n]) {
    for (const Bit& b : values)
      if (v == b.bit) json_[name] = b.word;
  }
  template <class Fields>
  void Object(const char* name, Fields fields) {
    Writer inner;
    fields(inner);
    if (!inner.json_.empty()) json_[name] = std::move(inner.json_);
  }
  template <class T, class Fields>
  void List(const char* name, std::vector<T>& v, Fields fields) {
    if (v.empty()) return;
    Json list = Json::array();
    for (T& one : v) {
      Writer inner;
      fields(inner, one);
      list.push_back(std::move(inner.json_));
    }
    json_[name] = std::move(list);
  }
  std::string Line() const { return json_.dump() + "\n"; }

 private:
  Json json_ = Json::object();
};

class Reader {
 public:
  static constexpr bool kReads = true;

  explicit Reader(const Json& json) : json_(json), ok_(json.is_object()) {}

  bool ok() const { return ok_; }
  const std::string& wrong() const { return wrong_; }

  void Text(const char* name, std::string& v) {
    const Json* j = Find(name);
    if (j == nullptr) return;
    if (j->is_string()) {
      v = j->get_ref<const std::string&>();
    } else if (!j->is_object() || !j->contains("base64") ||
               !(*j)["base64"].is_string() ||
               !absl::Base64Unescape(
                   (*j)["base64"].get_ref<const std::string&>(), &v)) {
      Wrong(name);
    }
  }
  template <class T>
  void Number(const char* name, T& v) {
    const Json* j = Find(name);
    if (j == nullptr) return;
    if (!j->is_number_integer()) return Wrong(name);
    if (j->is_number_unsigned()) {
      const uint64_t n = j->get<uint64_t>();
      v = static_cast<T>(n);
      if (static_cast<uint64_t>(v) != n || v < T{}) Wrong(name);
    } else {
      const int64_t n = j->get<int64_t>();
      v = static_cast<T>(n);
      if (static_cast<int64_t>(v) != n || (n < 0) != (v < T{})) Wrong(name);
    }
  }
  void Flag(const char* name, bool& v) {
    const Json* j = Find(name);
    if (j == nullptr) return;
    if (!j->is_boolean()) return Wrong(name);
    v = j->get<bool>();
  }
  void Hex(const char* name, uint64_t& v, int digits) {
    std::string text;
    Text(name, text);
    if (!ParseHex(text, static_cast<size_t>(digits), &v)) Wrong(name);
  }
  void Time(const char* name, absl::Time& v) {
    v = absl::UnixEpoch();
    std::string text, error;
    Text(name, text);
    if (text.empty()) return;
    if (!absl::ParseTime(absl::RFC3339_full, text, &v, &error)) Wrong(name);
    // As it will be written.
    if (v != absl::InfiniteFuture() && v != absl::InfinitePast())
      v = absl::FromUnixMicros(absl::ToUnixMicros(v));
  }
  template <size_t n>
  void Words(const char* name, uint32_t& v, const Bit (&bits)[n]) {
    const Json* j = Find(name);
    if (j == nullptr) return;
    if (!j->is_array()) return Wrong(name);
    for (const Json& word : *j) {
      const uint32_t bit = BitOf(word, bits);
      if (bit == 0) return Wrong(name);
      v |= bit;
    }
  }
  template <size_t n>
  void Word(const char* name, uint32_t& v, const Bit (&values)[n]) {
    const Json* j = Find(name);
    if (j == nullptr) return;
    v = BitOf(*j, values);
    if (v == 0) Wrong(name);
  }
  template <class Fields>
  void Object(const char* name, Fields fields) {
    const Json* j = Find(name);
    if (j == nullptr) return;
    Reader inner(*j);
    fields(inner);
    if (!inner.ok()) Wrong(name);
  }
  template <class T, class Fields>
  void List(const char* name, std::vector<T>& v, Fields fields) {
    const Json* j = Find(name);
    if (j == nullptr) return;
    if (!j->is_array() || j->size() > kMaxAttemptsBytes) return Wrong(name);
    for (const Json& one : *j) {
      Reader inner(one);
      fields(inner, v.emplace_back());
      if (!inner.ok()) return Wrong(name);
    }
  }

 private:
  const Json* Find(const char* name) {
    if (!ok_) return nullptr;
    const auto it = json_.find(name);
    return it == json_.end() ? nullptr : &*it;
  }
  template <size_t n>
  static uint32_t BitOf(const Json& word, const Bit (&bits)[n]) {
    if (!word.is_string()) return 0;
    for (const Bit& b : bits)
      if (word.get_ref<const std::string&>() == b.word) return b.bit;
    return 0;
  }
  void Wrong(const char* name) {
    if (ok_) wrong_ = name;
    ok_ = false;
  }

  const Json& json_;
  bool ok_;
  std::string wrong_;
};

// ---- What has which fields

template <class A, class Enum, size_t n>
void EnumField(A& a, const char* name, Enum& v, const Bit (&values)[n]) {
  uint32_t number = static_cast<uint32_t>(v);
  a.Word(name, number, values);
  v = static_cast<Enum>(number);
}

template <class A>
void AddressField(A& a, const char* name, MailAddress& v) {
  a.Object(name, [&](auto& inner) {
    inner.Text("user", v.user);
    inner.Text("domain", v.domain);
  });
}

template <class A>
void StatusField(A& a, EnhancedStatus& v) {
  std::string text;
  if (!A::kReads && v.klass != 0)
    text = absl::StrCat(v.klass, ".", v.subject(), ".", v.detail());
  a.Text("status", text);
  if (!A::kReads || text.empty()) return;
  const std::vector<std::string> parts = absl::StrSplit(text, '.');
  int n[3] = {0, 0, 0};
  for (size_t i = 0; i < 3 && i < parts.size(); ++i)
    if (!absl::SimpleAtoi(parts[i], &n[i])) n[i] = 0;
  if (n[0] >= 2 && n[0] <= 5) v = EnhancedStatus::Make(n[0], n[1], n[2]);
}

template <class A>
void AttemptFields(A& a, Attempt& v) {
  a.Time("began", v.began);
  int64_t took = absl::ToInt64Microseconds(v.took);
  a.Number("microseconds", took);
  v.took = absl::Microseconds(took);
  EnumField(a, "result", v.result, kResults);
  a.Text("source", v.source);
  a.Text("relay", v.relay);
  a.Text("tls", v.tls);
  a.Text("answer", v.answer);
}

template <class A>
void OriginFields(A& a, Envelope& e) {
  a.Text("tag", e.tag);
  a.Text("listener", e.smtpname);
  a.Text("helo", e.helo);
  a.Text("hostname", e.hostname);
  a.Text("username", e.username);
  a.Text("sockaddr", e.sockaddr);
}

template <class A>
void StateFields(A& a, Envelope& e) {
  a.Time("created", e.created);
  a.Time("expires", e.expires);
  a.Time("last_try", e.last_try);
  a.Time("last_bounce", e.last_bounce);
  a.Time("hold_until", e.hold_until);
  a.Time("deliver_by", e.deliver_by);
  a.Flag("deliver_by_trace", e.deliver_by_trace);
  a.Number("retry", e.retry);
  a.Words("flags", e.flags, kFlags);
  a.Number("priority", e.priority);
  StatusField(a, e.status);
  a.Text("error", e.error_line);
  a.List("attempts", e.attempts,
         [](auto& inner, Attempt& one) { AttemptFields(inner, one); });
}

template <class A>
void EnvelopeFields(A& a, ExportEnvelope& v) {
  Envelope& e = v.envelope;
  uint64_t id = static_cast<uint64_t>(e.id);
  a.Hex("id", id, 16);
  e.id = EnvelopeId{id};
  EnumField(a, "kind", e.kind, kKinds);
  a.Text("action", e.action);
  a.Text("routing_key", e.routing_key);
  AddressField(a, "sender", e.sender);
  AddressField(a, "rcpt", e.rcpt);
  AddressField(a, "dest", e.dest);
  OriginFields(a, e);
  StateFields(a, e);
  absl::Time due = v.due.value_or(absl::UnixEpoch());
  a.Time("due", due);
  if (A::kReads && due != absl::UnixEpoch()) v.due = due;
  uint32_t notify = e.dsn_notify;
  a.Words("dsn_notify", notify, kNotify);
  e.dsn_notify = static_cast<uint8_t>(notify);
  EnumField(a, "dsn_ret", e.dsn_ret, kReturns);
  a.Text("dsn_envid", e.dsn_envid);
  a.Text("dsn_orcpt", e.dsn_orcpt);
  a.Text("mda_user", e.mda_user);
  a.Text("mda_subaddress", e.mda_subaddress);
  a.Text("mda_exec", e.mda_exec);
}

template <class A>
void MessageFields(A& a, ExportMessage& m) {
  uint64_t id = static_cast<uint64_t>(m.id);
  a.Hex("id", id, 8);
  m.id = MessageId{static_cast<uint32_t>(id)};
  a.Object("origin", [&](auto& inner) {
    inner.Hex("store", m.origin_store, 16);
    inner.Number("serial", m.origin_serial);
  });
  a.Time("created", m.created);
  a.Number("size", m.body.raw_bytes);
}

// Octets in strings don't count.
bool TooDeep(absl::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxTransferJsonDepth) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

template <class Value, class Fields>
absl::StatusOr<Value> FromJson(absl::string_view text, Fields fields) {
  if (text.size() > kMaxTransferJson || TooDeep(text))
    return absl::InvalidArgumentError("JSON that is too large or too deep");
  const Json json = Json::parse(text.begin(), text.end(), nullptr, false);
  Value value;
  Reader reader(json);
  fields(reader, value);
  if (!reader.ok())
    return absl::InvalidArgumentError(
        absl::StrCat("not the JSON of an export: ",
                     reader.wrong().empty() ? "no object" : reader.wrong()));
  return value;
}

}  // namespace

bool ParseHex(absl::string_view text, size_t digits, uint64_t* value) {
  if (text.size() != digits) return false;
  *value = 0;
  for (const char c : text) {
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(c)) ||
        absl::ascii_isupper(static_cast<unsigned char>(c)))
      return false;
    *value =
        *value << 4 | static_cast<uint64_t>(c <= '9' ? c - '0' : c - 'a' + 10);
  }
  return true;
}

std::string ToJson(const ExportMessage& message) {
  Writer writer;
  ExportMessage copy = message;
  MessageFields(writer, copy);
  return writer.Line();
}

std::string ToJson(const ExportEnvelope& envelope) {
  Writer writer;
  ExportEnvelope copy = envelope;
  EnvelopeFields(writer, copy);
  return writer.Line();
}

absl::StatusOr<ExportMessage> MessageFromJson(absl::string_view text) {
  auto message = FromJson<ExportMessage>(
      text, [](Reader& r, ExportMessage& m) { MessageFields(r, m); });
  if (message.ok() &&
      (message->origin_store == 0 || message->origin_serial == 0))
    return absl::InvalidArgumentError("a message without its origin");
  return message;
}

absl::StatusOr<ExportEnvelope> EnvelopeFromJson(absl::string_view text) {
  return FromJson<ExportEnvelope>(
      text, [](Reader& r, ExportEnvelope& e) { EnvelopeFields(r, e); });
}

}  // namespace holdfast
