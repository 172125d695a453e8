#include "ctl/submission/message_headers.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "protocol/address_list.h"
#include "protocol/mail_date.h"

namespace holdfast {
namespace {

// RFC 5322 section 2.2: printable ASCII but ':'.
size_t NameLength(absl::string_view line) {
  size_t n = 0;
  while (n < line.size() && absl::ascii_isgraph(line[n]) && line[n] != ':') ++n;
  return n;
}

// "Name" of "Name: value" or "Name : value"; empty if the line is no header.
absl::string_view FieldName(absl::string_view line) {
  const size_t length = NameLength(line);
  size_t colon = length;
  while (colon < line.size() && (line[colon] == ' ' || line[colon] == '\t'))
    ++colon;
  if (length == 0 || colon == line.size() || line[colon] != ':') return "";
  return line.substr(0, length);
}

bool IsFold(absl::string_view line) {
  return !line.empty() && (line[0] == ' ' || line[0] == '\t');
}

// A display name as it may stand before <...> (RFC 5322 section 3.4).
std::string DisplayName(absl::string_view name) {
  std::string clean;
  bool special = false;
  for (const char c : name) {
    if (absl::ascii_iscntrl(c)) continue;
    if (absl::StrContains("()<>[]:;@\\,.\"", c)) special = true;
    clean += c;
  }
  if (!special) return clean;
  std::string quoted = "\"";
  for (const char c : clean) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

}  // namespace

MessageHeaders::Taken MessageHeaders::Line(absl::string_view line) {
  if (line.empty()) return Taken::kSeparator;
  if (raw_.size() + line.size() >= kMaxSubmittedHeaders) return Taken::kTooLong;
  if (IsFold(line)) {
    if (!in_header_) return Taken::kBody;
    Keep(line, line);
    return Taken::kHeader;
  }
  if (absl::StartsWith(line, "From ")) {
    // The first line of a message in an mbox.
    field_ = Field::kDropped;
    Keep(line, "");
    return Taken::kHeader;
  }
  if (FieldName(line).empty()) return Taken::kBody;
  field_ = Recognise(line);
  in_header_ = true;
  Keep(line, line.substr(line.find(':') + 1));
  return Taken::kHeader;
}

MessageHeaders::Field MessageHeaders::Recognise(absl::string_view line) {
  const std::string name = absl::AsciiStrToLower(FieldName(line));
  if (name == "return-path") return Field::kDropped;
  if (name == "subject" || name == "message-id" || name == "user-agent") {
    known_ = true;
    return Field::kOther;
  }
  static constexpr struct {
    absl::string_view name;
    Field field;
    bool MessageHeaders::*seen;
  } kFields[] = {
      {"from", Field::kFrom, &MessageHeaders::has_from_},
      {"to", Field::kRecipients, nullptr},
      {"cc", Field::kRecipients, nullptr},
      {"bcc", Field::kBlind, nullptr},
      {"date", Field::kOther, &MessageHeaders::has_date_},
      {"mime-version", Field::kOther, &MessageHeaders::has_mime_version_},
      {"content-type", Field::kOther, &MessageHeaders::has_content_type_},
      {"content-disposition", Field::kOther,
       &MessageHeaders::has_content_disposition_},
      {"content-transfer-encoding", Field::kOther,
       &MessageHeaders::has_encoding_},
  };
  for (const auto& f : kFields) {
    if (name != f.name) continue;
    known_ = true;
    if (f.seen != nullptr) this->*f.seen = true;
    // Lists in several headers of a name are one.
    if (f.field == Field::kRecipients) recipients_ += ",";
    if (f.field == Field::kBlind) blind_ += ",";
    return f.field;
  }
  return Field::kOther;
}

void MessageHeaders::Keep(absl::string_view line, absl::string_view value) {
  absl::StrAppend(&raw_, line, "\n");
  switch (field_) {
    case Field::kOther:
      break;
    case Field::kFrom:
      absl::StrAppend(&from_, value, "\n");
      break;
    case Field::kRecipients:
      absl::StrAppend(&recipients_, value, "\n");
      break;
    case Field::kBlind:
      absl::StrAppend(&blind_, value, "\n");
      return;
    case Field::kDropped:
      return;
  }
  absl::StrAppend(&kept_, line, "\n");
}

std::string MessageHeaders::Sender() const {
  absl::StatusOr<std::vector<std::string>> list = ParseAddressList(from_);
  return list.ok() && !list->empty() ? list->front() : "";
}

absl::StatusOr<std::vector<std::string>> MessageHeaders::Recipients() const {
  absl::StatusOr<std::vector<std::string>> list = ParseAddressList(recipients_);
  if (!list.ok()) return list;
  absl::StatusOr<std::vector<std::string>> blind = BlindRecipients();
  if (!blind.ok()) return blind;
  list->insert(list->end(), blind->begin(), blind->end());
  return list;
}

absl::StatusOr<std::vector<std::string>> MessageHeaders::BlindRecipients()
    const {
  return ParseAddressList(blind_);
}

std::string CompleteHeaders(const MessageHeaders& headers,
                            const HeaderAdditions& additions) {
  std::string out;
  if (!headers.has_from()) {
    const std::string name = DisplayName(additions.full_name);
    absl::StrAppend(&out, "From: ", name, name.empty() ? "" : " ", "<",
                    additions.sender, ">\n");
  }
  if (!headers.has_date())
    absl::StrAppend(
        &out, "Date: ", FormatMailDate(additions.now, additions.zone), "\n");
  if (additions.quoted_printable) {
    if (!headers.has_mime_version()) out += "MIME-Version: 1.0\n";
    if (!headers.has_content_type())
      out += "Content-Type: text/plain; charset=unknown-8bit\n";
    if (!headers.has_content_disposition())
      out += "Content-Disposition: inline\n";
    out += "Content-Transfer-Encoding: quoted-printable\n";
  }
  // Without headers of its own all that was read is the body's.
  if (!headers.Unknown()) out += headers.text();
  return out + "\n";
}

}  // namespace holdfast
