#include "protocol/mime_part_header.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

constexpr char kEncodingField[] = "Content-Transfer-Encoding";

MimeEncoding EncodingOf(absl::string_view word) {
  if (word.empty() || word == "7bit") return MimeEncoding::k7Bit;
  if (word == "8bit" || word == "binary") return MimeEncoding::k8Bit;
  if (word == "quoted-printable") return MimeEncoding::kQuoted;
  if (word == "base64") return MimeEncoding::kBase64;
  return MimeEncoding::kOther;
}

// As much as there is room for.
void AppendBounded(absl::string_view text, std::string* to) {
  absl::StrAppend(
      to, text.substr(0, kMaxMimeField - std::min(kMaxMimeField, to->size())));
}

}  // namespace

bool HasEightBit(absl::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) > 127;
  });
}

void MimePartHeader::StartLine(absl::string_view head) {
  if (absl::StartsWith(head, " ") || absl::StartsWith(head, "\t")) return;
  EndField();
  const size_t colon = head.find(':');
  if (colon == absl::string_view::npos) return;
  const absl::string_view name =
      absl::StripTrailingAsciiWhitespace(head.substr(0, colon));
  if (absl::EqualsIgnoreCase(name, "Content-Type"))
    field_ = Field::kType;
  else if (absl::EqualsIgnoreCase(name, kEncodingField))
    field_ = Field::kEncoding;
  else if (absl::EqualsIgnoreCase(name, "MIME-Version"))
    has_version_ = true;
}

void MimePartHeader::Text(absl::string_view piece, std::string* out) {
  eight_bit_ |= HasEightBit(piece);
  if (field_ != Field::kOther) AppendBounded(piece, &value_);
  if (field_ == Field::kEncoding)
    AppendBounded(piece, &kept_);
  else
    absl::StrAppend(out, piece);
}

void MimePartHeader::Break(std::string* out) {
  if (field_ == Field::kEncoding)
    kept_.push_back('\n');
  else
    out->push_back('\n');
}

void MimePartHeader::EndField() {
  const Field field = std::exchange(field_, Field::kOther);
  const std::string text = std::exchange(value_, {});
  absl::string_view value = text;
  value.remove_prefix(std::min(value.find(':') + 1, value.size()));
  // Of several the first counts.
  if (field == Field::kType && !std::exchange(has_type_, true))
    type_ = ParseContentType(value);
  if (field == Field::kEncoding && !std::exchange(has_encoding_, true))
    encoding_ = EncodingOf(ParseMimeWord(value));
}

void MimePartHeader::End() {
  EndField();
  if (!type_.type.empty()) return;
  type_ = in_digest_ && !has_type_ ? ContentType{"message", "rfc822", ""}
                                   : ContentType{"text", "plain", ""};
}

void MimePartHeader::WriteEnd(Change change, std::string* out) const {
  const bool encoded = change == Change::kQuoted || change == Change::kBase64;
  const bool multipart = change == Change::k7Bit && type_.type == "multipart";
  if (root_ && !has_version_ && (encoded || multipart))
    out->append("MIME-Version: 1.0\n");
  if (root_ && !has_type_ && encoded)
    out->append("Content-Type: text/plain; charset=unknown-8bit\n");
  absl::string_view word;
  if (change == Change::k7Bit && encoding_ == MimeEncoding::k8Bit)
    word = "7bit";
  if (change == Change::kQuoted) word = "quoted-printable";
  if (change == Change::kBase64) word = "base64";
  if (word.empty())
    absl::StrAppend(out, kept_, "\n");
  else
    absl::StrAppend(out, kEncodingField, ": ", word, "\n\n");
}

}  // namespace holdfast
