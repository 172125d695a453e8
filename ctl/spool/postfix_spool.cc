#include "ctl/spool/postfix_spool.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace holdfast {
namespace {

// Types of records.
constexpr char kSize = 'C', kArrival = 'T', kSender = 'S', kRecipient = 'R',
               kDelivered = 'D', kDeleted = '/', kOriginal = 'O',
               kAttribute = 'A', kContent = 'M', kLine = 'N', kPartOfLine = 'L',
               kExtracted = 'X', kEnd = 'E', kPointer = 'p', kKilled = 'K',
               kRedirect = '>', kPadding = 'w', kEnvid = 'i', kReturn = '<',
               kOrcpt = 'o', kNotify = 'n';

absl::Status Bad(absl::string_view what) {
  return absl::InvalidArgumentError(std::string(what));
}

// RFC 3461 section 4; Postfix keeps what the value stood for.
std::string ToXtext(absl::string_view text) {
  std::string encoded;
  for (const char c : text) {
    if (c > ' ' && c <= '~' && c != '+' && c != '=') {
      encoded.push_back(c);
    } else {
      absl::StrAppendFormat(&encoded, "+%02X", static_cast<uint8_t>(c));
    }
  }
  return encoded;
}

std::string ToOrcpt(absl::string_view text) {
  const size_t semicolon = text.find(';');
  if (semicolon == text.npos) return absl::StrCat("rfc822;", ToXtext(text));
  return absl::StrCat(text.substr(0, semicolon + 1),
                      ToXtext(text.substr(semicolon + 1)));
}

bool IsAtom(absl::string_view text) {
  return !text.empty() && text.front() != '.' && text.back() != '.' &&
         !absl::StrContains(text, "..") &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return c > ' ' && c != '\x7f' &&
                  absl::string_view("()<>[]:;@\\,\"").find(c) ==
                      absl::string_view::npos;
         });
}

// Postfix keeps addresses without the quotes that SMTP wants.
MailAddress ToAddress(absl::string_view text) {
  MailAddress address = SplitAddress(text);
  if (address.user.empty() || IsAtom(address.user)) return address;
  std::string quoted = "\"";
  for (const char c : address.user) {
    if (c == '"' || c == '\\') quoted.push_back('\\');
    quoted.push_back(c);
  }
  address.user = quoted + "\"";
  return address;
}

// Postfix: 1 never, 2 success, 4 failure, 8 delay.
uint8_t ToNotify(uint32_t flags) {
  uint8_t notify = 0;
  if (flags & 1) notify |= kNotifyNever;
  if (flags & 2) notify |= kNotifySuccess;
  if (flags & 4) notify |= kNotifyFailure;
  if (flags & 8) notify |= kNotifyDelay;
  return notify;
}

class Reader {
 public:
  Reader(RandomBytes* file,
         absl::FunctionRef<absl::Status(absl::string_view)> body)
      : file_(*file), body_(body) {}

  absl::StatusOr<PostfixMessage> Run() {
    for (;;) {
      absl::Status status = NextRecord();
      if (!status.ok()) return status;
      if (first_ && type_ != kSize) return Bad("it is not a queue file");
      first_ = false;
      if (type_ == kEnd) break;
      status = part_ == Part::kContent ? OnContent() : OnEnvelope();
      if (!status.ok()) return status;
    }
    if (part_ != Part::kExtracted) return Bad("it has no content");
    if (!sender_) return Bad("it has no sender");
    if (m_.arrived == absl::UnixEpoch()) return Bad("it has no arrival time");
    return std::move(m_);
  }

 private:
  enum class Part { kEnvelope, kContent, kExtracted };

  absl::Status NextByte(uint8_t* byte) {
    const absl::string_view bytes = file_.From(at_);
    if (bytes.empty()) return Bad("it ends too early");
    *byte = static_cast<uint8_t>(bytes[0]);
    ++at_;
    return absl::OkStatus();
  }

  // Into type_, data_ and record_at_.
  absl::Status NextRecord() {
    record_at_ = at_;
    uint8_t byte = 0;
    absl::Status status = NextByte(&byte);
    if (!status.ok()) return status;
    type_ = static_cast<char>(byte);
    uint64_t length = 0;
    for (int shift = 0;; shift += 7) {
      if (shift > 28) return Bad("a record without end");
      status = NextByte(&byte);
      if (!status.ok()) return status;
      length |= uint64_t{byte & 0x7fu} << shift;
      if ((byte & 0x80) == 0) break;
    }
    if (length > kMaxPostfixRecord) return Bad("a record is too long");
    data_.clear();
    while (data_.size() < length) {
      const absl::string_view bytes = file_.From(at_);
      if (bytes.empty()) return Bad("it ends too early");
      const absl::string_view piece = bytes.substr(0, length - data_.size());
      absl::StrAppend(&data_, piece);
      at_ += piece.size();
    }
    // Pointers must not make a file endless.
    read_ += at_ - record_at_;
    if (read_ > 2 * file_.size()) return Bad("its pointers go in circles");
    return absl::OkStatus();
  }

  absl::Status Jump() {
    int64_t to = 0;
    if (!absl::SimpleAtoi(data_, &to) || to < 0) return Bad("a bad pointer");
    // 0: nothing was put in its place.
    if (to > 0) at_ = static_cast<uint64_t>(to);
    return absl::OkStatus();
  }

  absl::Status OnContent() {
    switch (type_) {
      case kLine:
        data_.push_back('\n');
        return body_(data_);
      case kPartOfLine:
        return data_.empty() ? absl::OkStatus() : body_(data_);
      case kPointer:
        return Jump();
      case kPadding:
        return absl::OkStatus();
      case kExtracted:
        part_ = Part::kExtracted;
        return absl::OkStatus();
      default:
        return Bad("a record that does not belong into content");
    }
  }

  absl::Status OnEnvelope() {
    switch (type_) {
      case kSize:
        return OnSize();
      case kArrival:
        return OnArrival();
      case kSender:
        m_.sender = ToAddress(data_);
        sender_ = true;
        return absl::OkStatus();
      case kRecipient:
      case kDelivered:
      case kDeleted:
        return OnRecipient();
      case kOriginal:
        original_ = data_;
        return absl::OkStatus();
      case kAttribute:
        return OnAttribute();
      case kEnvid:
        return Attribute("envelope_id", data_);
      case kReturn:
        return Attribute("ret_flags", data_);
      case kOrcpt:
        return Attribute("dsn_orig_rcpt", data_);
      case kNotify:
        return Attribute("notify_flags", data_);
      case kPointer:
        return Jump();
      case kKilled:
        return Bad("Postfix has given it up");
      case kRedirect:
        m_.unknown = "redirect";
        return absl::OkStatus();
      case kContent:
        if (part_ != Part::kEnvelope) return Bad("it has content twice");
        part_ = Part::kContent;
        return absl::OkStatus();
      default:
        return absl::OkStatus();
    }
  }

  // Size, where the content is, recipients, flags, size of the content, and
  // (since 3.0) whether SMTPUTF8 was asked for.
  absl::Status OnSize() {
    const std::vector<absl::string_view> words =
        absl::StrSplit(data_, ' ', absl::SkipEmpty());
    uint32_t flags = 0;
    if (words.size() > 5 && absl::SimpleAtoi(words[5], &flags))
      m_.smtputf8 = (flags & 1) != 0;
    return words.empty() ? Bad("it was never finished") : absl::OkStatus();
  }

  // Seconds and microseconds.
  absl::Status OnArrival() {
    const std::vector<absl::string_view> words =
        absl::StrSplit(data_, ' ', absl::SkipEmpty());
    int64_t seconds = 0, micros = 0;
    if (words.empty() || !absl::SimpleAtoi(words[0], &seconds) || seconds < 0 ||
        seconds > 253'402'300'799)
      return Bad("a bad arrival time");
    if (words.size() > 1 && (!absl::SimpleAtoi(words[1], &micros) ||
                             micros < 0 || micros >= 1'000'000))
      micros = 0;
    m_.arrived = absl::FromUnixSeconds(seconds) + absl::Microseconds(micros);
    return absl::OkStatus();
  }

  absl::Status OnRecipient() {
    ++number_;
    PostfixRecipient r;
    std::swap(r, next_);
    const std::string original = std::exchange(original_, "");
    if (type_ != kRecipient) {
      m_.delivered += type_ == kDelivered;
      return absl::OkStatus();
    }
    if (data_.empty()) return Bad("a recipient without an address");
    if (m_.recipients.size() >= kMaxPostfixRecipients)
      return Bad("it has too many recipients");
    r.number = number_;
    r.offset = record_at_;
    r.address = ToAddress(data_);
    r.original = ToAddress(original.empty() ? data_ : original);
    m_.recipients.push_back(std::move(r));
    return absl::OkStatus();
  }

  absl::Status OnAttribute() {
    const absl::string_view data = data_;
    const size_t equals = data.find('=');
    if (equals == data.npos) return absl::OkStatus();
    return Attribute(data.substr(0, equals), data.substr(equals + 1));
  }

  absl::Status Attribute(absl::string_view name, absl::string_view value) {
    const std::pair<absl::string_view, std::string*> texts[] = {
        {"log_ident", &m_.queue_id},
        {"helo_name", &m_.helo},
        {"client_name", &m_.client_name},
        {"sasl_username", &m_.username},
        {"client_address", &m_.client_address}};
    for (const auto& [key, text] : texts)
      if (name == key) *text = std::string(value);
    uint32_t number = 0;
    const bool is_number = absl::SimpleAtoi(value, &number);
    if (name == "envelope_id") m_.envid = ToXtext(value);
    if (name == "encoding" && value == "8bit") m_.eight_bit = true;
    if (name == "dsn_orig_rcpt" && !value.empty()) next_.orcpt = ToOrcpt(value);
    if (name == "notify_flags" && is_number) next_.notify = ToNotify(number);
    if (name == "ret_flags" && is_number && number >= 1 && number <= 2)
      m_.ret = number == 1 ? DsnReturn::kFull : DsnReturn::kHeaders;
    return absl::OkStatus();
  }

  RandomBytes& file_;
  absl::FunctionRef<absl::Status(absl::string_view)> body_;
  PostfixMessage m_;
  Part part_ = Part::kEnvelope;
  bool first_ = true, sender_ = false;
  uint64_t at_ = 0, read_ = 0;
  char type_ = 0;
  uint64_t record_at_ = 0;
  std::string data_;
  // Of the recipient that comes.
  PostfixRecipient next_;
  std::string original_;
  uint32_t number_ = 0;
};

// "4.4.1"
EnhancedStatus ToStatus(absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, '.');
  int klass = 0, subject = 0, detail = 0;
  if (parts.size() != 3 || !absl::SimpleAtoi(parts[0], &klass) ||
      !absl::SimpleAtoi(parts[1], &subject) ||
      !absl::SimpleAtoi(parts[2], &detail) || klass < 2 || klass > 5)
    return {};
  return EnhancedStatus::Make(klass, subject, detail);
}

}  // namespace

absl::StatusOr<PostfixMessage> ReadPostfixFile(
    RandomBytes* file,
    absl::FunctionRef<absl::Status(absl::string_view)> body) {
  return Reader(file, body).Run();
}

std::vector<PostfixDeferral> ParsePostfixDeferLog(absl::string_view text) {
  std::vector<PostfixDeferral> all;
  PostfixDeferral one;
  // A paragraph for each recipient.
  for (const absl::string_view line :
       absl::StrSplit(text.substr(0, kMaxPostfixDeferLog), '\n')) {
    if (line.empty()) {
      if (one.offset != 0) all.push_back(std::move(one));
      one = PostfixDeferral();
    } else if (absl::StartsWith(line, "offset=")) {
      if (!absl::SimpleAtoi(line.substr(7), &one.offset)) one.offset = 0;
    } else if (absl::StartsWith(line, "status=")) {
      one.status = ToStatus(line.substr(7));
    } else if (absl::StartsWith(line, "reason=")) {
      one.reason = std::string(line.substr(7, 2000));
    }
  }
  if (one.offset != 0) all.push_back(std::move(one));
  return all;
}

}  // namespace holdfast
