#include "storage/mailbox/mbox_format.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

constexpr absl::string_view kFrom = "From ";

}  // namespace

MboxEncoder::MboxEncoder(absl::string_view sender, absl::string_view ctime,
                         Quote quote)
    : quote_(quote), head_(absl::StrCat(kFrom, sender, " ", ctime, "\n")) {
  // A sender with a line end in it would make a line of its own.
  for (size_t i = 0; i + 1 < head_.size(); ++i) {
    if (static_cast<unsigned char>(head_[i]) < ' ') head_[i] = '?';
  }
}

void MboxEncoder::WriteHeld(std::string* out) {
  out->append(held_);
  held_.clear();
}

MboxEncoder::Line MboxEncoder::AfterText() const {
  return quote_ == Quote::kEveryLine ? Line::kStartAfterEmpty : Line::kStart;
}

void MboxEncoder::Write(absl::string_view text, std::string* out) {
  out->append(head_);
  head_.clear();
  for (const char c : text) {
    if (line_ == Line::kStartAfterEmpty) {
      held_.push_back(c);
      if (held_ == kFrom) {
        out->push_back('>');
        WriteHeld(out);
        line_ = Line::kInside;
      } else if (!absl::StartsWith(kFrom, held_)) {
        const bool empty = held_ == "\n";
        const bool ended = c == '\n';
        WriteHeld(out);
        line_ = empty   ? Line::kStartAfterEmpty
                : ended ? AfterText()
                        : Line::kInside;
      }
      continue;
    }
    out->push_back(c);
    if (c != '\n') {
      line_ = Line::kInside;
    } else {
      line_ = line_ == Line::kStart ? Line::kStartAfterEmpty : AfterText();
    }
  }
}

void MboxEncoder::Finish(std::string* out) {
  out->append(head_);
  head_.clear();
  const bool inside = line_ == Line::kInside || !held_.empty();
  WriteHeld(out);
  out->append(inside ? "\n\n" : "\n");
}

}  // namespace holdfast
