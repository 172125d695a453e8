#include "protocol/data_decoder.h"

#include <cstring>

namespace holdfast {
namespace {

const char* Find(absl::string_view text, char c) {
  if (text.empty()) return nullptr;
  return static_cast<const char*>(memchr(text.data(), c, text.size()));
}

}  // namespace

void DataDecoder::Content(absl::string_view bytes, std::string* out) {
  out->append(bytes.data(), bytes.size());
  line_bytes_ += bytes.size();
  size_ += bytes.size();
}

void DataDecoder::EndLine(std::string* out) {
  out->push_back('\n');
  if (framing_ == Framing::kBinary && line_bytes_ == 0) in_body_ = true;
  if (line_bytes_ >= kMaxTextLineBytes) long_line_ = true;
  line_bytes_ = 0;
  ++size_;
  at_ = At::kLineStart;
}

// The common case, a whole line in one piece: one search, one copy.  False if
// the line is not like that.
bool DataDecoder::TakeUpToLineEnd(absl::string_view* in, std::string* out) {
  const char* lf = Find(*in, '\n');
  if (lf == nullptr) return false;
  const size_t length = static_cast<size_t>(lf - in->data());
  if (length == 0 || in->data()[length - 1] != '\r') return false;
  const absl::string_view text = in->substr(0, length - 1);
  if (Find(text, '\r') != nullptr) return false;
  Content(text, out);
  EndLine(out);
  in->remove_prefix(length + 1);
  return true;
}

void DataDecoder::DecodeLines(absl::string_view* in, std::string* out) {
  while (!in->empty() && !done_ && !in_body_) {
    switch (at_) {
      case At::kLineStart:
        if (in->front() == '.' && framing_ == Framing::kDots) {
          at_ = At::kDot;
          in->remove_prefix(1);
          break;
        }
        at_ = At::kMidLine;
        [[fallthrough]];

      case At::kMidLine: {
        if (TakeUpToLineEnd(in, out)) break;
        // Up to a CR, which may begin a line end, or to a bare LF.
        const size_t stop = in->find_first_of("\r\n");
        const size_t length = stop == in->npos ? in->size() : stop;
        Content(in->substr(0, length), out);
        in->remove_prefix(length);
        if (in->empty()) break;
        if (in->front() == '\r') {
          at_ = At::kCr;
        } else if (normalise_) {
          EndLine(out);
          if (framing_ == Framing::kDots) at_ = At::kMidLine;
        } else {
          bare_newline_ = true;
          Content("\n", out);
        }
        in->remove_prefix(1);
        break;
      }

      case At::kCr:
        if (in->front() == '\n') {
          EndLine(out);
          in->remove_prefix(1);
        } else {
          bare_newline_ = true;
          Content("\r", out);
          at_ = At::kMidLine;
        }
        break;

      case At::kDot:
        if (in->front() == '\r') {
          at_ = At::kDotCr;
          in->remove_prefix(1);
        } else {
          // A stuffed dot: it is dropped, but counts.
          ++size_;
          ++line_bytes_;
          at_ = At::kMidLine;
        }
        break;

      case At::kDotCr:
        if (in->front() == '\n') {
          done_ = true;
          in->remove_prefix(1);
        } else {
          ++size_;
          ++line_bytes_;
          at_ = At::kCr;
        }
        break;
    }
  }
  if (line_bytes_ >= kMaxTextLineBytes) long_line_ = true;
}

DataDecoder::Result DataDecoder::Decode(absl::string_view* in,
                                        std::string* out) {
  const size_t before = out->size();
  out->reserve(before + in->size());
  DecodeLines(in, out);
  if (Find(absl::string_view(*out).substr(before), '\0') != nullptr)
    bare_newline_ = true;
  if (in_body_) {
    out->append(in->data(), in->size());
    size_ += in->size();
    in->remove_prefix(in->size());
  }
  return done_ ? Result::kDone : Result::kNeedMore;
}

void DataDecoder::Finish(std::string* out) {
  if (in_body_) return;
  if (at_ == At::kCr) {
    bare_newline_ = true;
    Content("\r", out);
    at_ = At::kMidLine;
  }
  if (at_ != At::kLineStart) EndLine(out);
}

}  // namespace holdfast
