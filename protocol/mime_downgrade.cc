#include "protocol/mime_downgrade.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace holdfast {
namespace {

// So much of a line tells whether it is a boundary, and which field it begins.
constexpr size_t kHeadBytes = kMaxMimeBoundary + 8;
// Pieces that lines are cut into.
constexpr size_t kPieceBytes = 4096;

bool IsHigh(char c) { return static_cast<unsigned char>(c) > 127; }

}  // namespace

bool MimeDowngrade::Append(absl::string_view text, std::string* out) {
  while (!text.empty() && !failed_) {
    const size_t lf = text.substr(0, kPieceBytes).find('\n');
    const absl::string_view piece = text.substr(0, std::min(lf, kPieceBytes));
    text.remove_prefix(piece.size());
    if (!piece.empty()) OnText(piece, out);
    if (absl::ConsumePrefix(&text, "\n")) OnBreak(out);
  }
  return !failed_;
}

bool MimeDowngrade::Finish(std::string* out) {
  if (!in_line_ && !head_.empty()) BeginLine(true, out);
  EndPart(true, out);
  return !failed_;
}

// ---- lines

void MimeDowngrade::OnText(absl::string_view piece, std::string* out) {
  if (in_line_) return Write(piece, out);
  absl::StrAppend(&head_, piece);
  if (head_.size() >= kHeadBytes) BeginLine(false, out);
}

void MimeDowngrade::OnBreak(std::string* out) {
  if (!in_line_) BeginLine(true, out);
  WriteBreak(out);
  in_line_ = as_it_is_ = dropped_ = false;
}

// `whole`: head_ is all of the line.
void MimeDowngrade::BeginLine(bool whole, std::string* out) {
  in_line_ = true;
  column_ = 0;
  if (TakeBoundary(out)) {
    as_it_is_ = true;
  } else if (mode_ == Mode::kHeader) {
    if (whole && (head_.empty() || head_ == "\r")) {
      dropped_ = true;
      head_.clear();
      return EndHeader(out);
    }
    header_.StartLine(head_);
  }
  Write(std::exchange(head_, {}), out);
}

// Whether head_ begins the boundary of an open multipart.  Of several the
// longest is meant.
bool MimeDowngrade::TakeBoundary(std::string* out) {
  absl::string_view line = head_;
  if (open_.empty() || !absl::ConsumePrefix(&line, "--")) return false;
  size_t found = open_.size();
  for (size_t i = 0; i < open_.size(); ++i)
    if (absl::StartsWith(line, open_[i].boundary) &&
        (found == open_.size() ||
         open_[i].boundary.size() >= open_[found].boundary.size()))
      found = i;
  if (found == open_.size()) return false;
  EndPart(false, out);
  line.remove_prefix(open_[found].boundary.size());
  const bool last = absl::StartsWith(line, "--");
  open_.resize(last ? found : found + 1);
  mode_ = last ? Mode::kBetween : Mode::kHeader;
  if (!last) header_ = MimePartHeader(false, open_.back().digest);
  return true;
}

void MimeDowngrade::Write(absl::string_view piece, std::string* out) {
  if (as_it_is_) {
    // Behind a boundary nobody reads.
    for (const char c : piece) out->push_back(IsHigh(c) ? '?' : c);
    return;
  }
  switch (mode_) {
    case Mode::kHeader:
      return header_.Text(piece, out);
    case Mode::kLookahead:
      return Hold(piece, out);
    case Mode::kEncode:
      return encoder_->Text(piece, out);
    case Mode::kPass:
      if (options_.strict && HasEightBit(piece)) failed_ = true;
      absl::StrAppend(out, piece);
      return;
    case Mode::kQuoted:
      return WriteQuoted(piece, out);
    case Mode::kBase64:
      // What is not of its alphabet says nothing (RFC 2045 section 6.8).
      std::copy_if(piece.begin(), piece.end(), std::back_inserter(*out),
                   [](char c) { return !IsHigh(c); });
      return;
    case Mode::kBetween:
      std::replace_copy_if(piece.begin(), piece.end(), std::back_inserter(*out),
                           IsHigh, '?');
      return;
  }
}

// Only what is not allowed there is encoded.
void MimeDowngrade::WriteQuoted(absl::string_view piece, std::string* out) {
  for (const char c : piece) {
    if (!IsHigh(c)) {
      out->push_back(c);
      ++column_;
      continue;
    }
    if (column_ + 3 >= kMaxEncodedLine) {
      out->append("=\n");
      column_ = 0;
    }
    absl::StrAppend(out, QuotedOctet(c));
    column_ += 3;
  }
}

void MimeDowngrade::WriteBreak(std::string* out) {
  if (dropped_) return;
  if (as_it_is_) return out->push_back('\n');
  if (mode_ == Mode::kHeader) return header_.Break(out);
  if (mode_ == Mode::kLookahead) return Hold("\n", out);
  if (mode_ == Mode::kEncode) return encoder_->Break(out);
  out->push_back('\n');
}

// ---- parts

void MimeDowngrade::EndHeader(std::string* out) {
  header_.End();
  if (header_.eight_bit() && options_.strict_headers) failed_ = true;
  const ContentType& type = header_.type();
  const bool seven = header_.encoding() == MimeEncoding::k7Bit ||
                     header_.encoding() == MimeEncoding::k8Bit;
  if (type.type == "multipart" && type.subtype != "signed" && seven &&
      !type.boundary.empty() && type.boundary.size() <= kMaxMimeBoundary &&
      open_.size() < kMaxMimeDepth) {
    header_.WriteEnd(MimePartHeader::Change::k7Bit, out);
    open_.push_back({type.boundary, type.subtype == "digest"});
    mode_ = Mode::kBetween;
    return;
  }
  if (type.type == "message" && type.subtype == "rfc822" && seven) {
    header_.WriteEnd(MimePartHeader::Change::k7Bit, out);
    header_ = MimePartHeader(true, false);
    return;
  }
  mode_ = ModeOfLeaf();
  if (mode_ != Mode::kLookahead)
    header_.WriteEnd(MimePartHeader::Change::kNone, out);
}

MimeDowngrade::Mode MimeDowngrade::ModeOfLeaf() const {
  const ContentType& type = header_.type();
  // Of message/* only these may be encoded (RFC 6532 section 3.7, RFC 6533
  // section 6).
  if (type.type == "multipart" ||
      (type.type == "message" && !absl::StartsWith(type.subtype, "global")))
    return Mode::kPass;
  switch (header_.encoding()) {
    case MimeEncoding::k7Bit:
    case MimeEncoding::k8Bit:
      return Mode::kLookahead;
    case MimeEncoding::kQuoted:
      return Mode::kQuoted;
    case MimeEncoding::kBase64:
      return Mode::kBase64;
    case MimeEncoding::kOther:
      break;
  }
  return Mode::kPass;
}

// Of a leaf.
void MimeDowngrade::Hold(absl::string_view text, std::string* out) {
  absl::StrAppend(&held_, text);
  if (HasEightBit(text) || held_.size() > kLookaheadBytes) StartEncoding(out);
}

void MimeDowngrade::StartEncoding(std::string* out) {
  mode_ = Mode::kEncode;
  const bool text =
      header_.type().type == "text" || header_.type().type == "message";
  if (text)
    encoder_ = std::make_unique<QuotedPrintableEncoder>();
  else
    encoder_ = std::make_unique<Base64Encoder>();
  header_.WriteEnd(
      text ? MimePartHeader::Change::kQuoted : MimePartHeader::Change::kBase64,
      out);
  const std::string held = std::exchange(held_, {});
  absl::string_view rest = held;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    encoder_->Text(rest.substr(0, end), out);
    rest.remove_prefix(end);
    if (absl::ConsumePrefix(&rest, "\n")) encoder_->Break(out);
  }
}

void MimeDowngrade::EndPart(bool last_break, std::string* out) {
  if (mode_ == Mode::kHeader) {
    header_.End();
    if (header_.eight_bit() && options_.strict_headers) failed_ = true;
    absl::StrAppend(out, header_.kept());
  }
  if (mode_ == Mode::kLookahead) {
    header_.WriteEnd(MimePartHeader::Change::k7Bit, out);
    absl::StrAppend(out, std::exchange(held_, {}));
  }
  if (mode_ == Mode::kEncode) {
    encoder_->Finish(last_break, out);
    encoder_.reset();
  }
}

}  // namespace holdfast
