#include "protocol/milter_header.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace holdfast {
namespace {

// The length of the name at the front of a header line; 0: it is none.
size_t NameLength(absl::string_view line) {
  const size_t colon = line.find(':');
  if (colon == absl::string_view::npos) return 0;
  const absl::string_view name =
      absl::StripTrailingAsciiWhitespace(line.substr(0, colon));
  const bool sound = std::all_of(name.begin(), name.end(),
                                 [](char c) { return c > ' ' && c < 0x7f; });
  return sound ? name.size() : 0;
}

// A field as a milter names it.  What would end the header, or make two fields
// of one, becomes a folded line.
MilterHeader::Field FieldOf(const MilterChange& change, bool leading_space) {
  MilterHeader::Field field;
  field.name = change.name;
  for (absl::string_view line : absl::StrSplit(
           change.value, absl::ByAnyChar("\r\n"), absl::SkipEmpty())) {
    if (!field.value.empty()) {
      absl::StrAppend(&field.value, "\n");
      if (!absl::ascii_isblank(line[0])) absl::StrAppend(&field.value, "\t");
    } else if (!leading_space) {
      absl::StrAppend(&field.value, " ");
    }
    absl::StrAppend(&field.value, line);
  }
  field.text = absl::StrCat(field.name, ":", field.value, "\n");
  return field;
}

}  // namespace

MilterHeader::State MilterHeader::Feed(absl::string_view* text) {
  while (!done_ && !too_long_ && !text->empty()) {
    const size_t end = text->find('\n');
    const size_t n = end == absl::string_view::npos ? text->size() : end + 1;
    bytes_ += n;
    too_long_ = bytes_ > kMaxMilterHeaderBytes;
    absl::StrAppend(&line_, text->substr(0, n));
    text->remove_prefix(n);
    if (end == absl::string_view::npos) continue;
    OnLine(std::exchange(line_, std::string()));
  }
  return too_long_ ? State::kTooLong : done_ ? State::kDone : State::kMore;
}

MilterHeader::State MilterHeader::Finish() {
  if (!done_ && !too_long_ && !line_.empty())
    OnLine(absl::StrCat(std::exchange(line_, std::string()), "\n"));
  EndField();
  done_ = true;
  return too_long_ ? State::kTooLong : State::kDone;
}

void MilterHeader::OnLine(absl::string_view line) {
  const bool continued = absl::ascii_isblank(line[0]) && !field_.empty();
  if (continued) {
    absl::StrAppend(&field_, line);
    return;
  }
  EndField();
  if (NameLength(line) > 0) {
    field_ = std::string(line);
    return;
  }
  done_ = true;
  if (line == "\n") {
    empty_line_ = true;
  } else {
    rest_ = std::string(line);
  }
}

void MilterHeader::EndField() {
  if (field_.empty()) return;
  if (fields_.size() == kMaxMilterHeaderFields) {
    too_long_ = true;
    return;
  }
  Field field;
  field.text = std::exchange(field_, std::string());
  absl::string_view text = field.text;
  field.name = std::string(text.substr(0, NameLength(text)));
  text.remove_prefix(text.find(':') + 1);
  absl::ConsumeSuffix(&text, "\n");
  field.value = std::string(text);
  if (field.name.size() + field.value.size() > kMaxMilterFieldBytes)
    too_long_ = true;
  if (absl::EqualsIgnoreCase(field.name, "Received") && !message_.empty() &&
      absl::StrContains(field.value, " (Holdfast) with ") &&
      absl::StrContains(field.value, absl::StrCat(" id ", message_))) {
    field.ours = true;
    // Its own X-Spam stands right above.
    if (!fields_.empty() && fields_.back().text == "X-Spam: Yes\n")
      fields_.back().ours = true;
  }
  fields_.push_back(std::move(field));
}

MilterHeader::Field* MilterHeader::Find(absl::string_view name,
                                        uint32_t index) {
  for (Field& field : fields_) {
    if (field.ours || !absl::EqualsIgnoreCase(field.name, name)) continue;
    if (index <= 1) return &field;
    --index;
  }
  return nullptr;
}

bool MilterHeader::Add(size_t index, Field field) {
  if (++added_fields_ > kMaxMilterHeaderFields) return false;
  fields_.insert(fields_.begin() + std::min(index, fields_.size()),
                 std::move(field));
  return true;
}

bool MilterHeader::Apply(const MilterChange& change, bool leading_space) {
  Field field = FieldOf(change, leading_space);
  added_bytes_ += field.text.size();
  if (added_bytes_ > kMaxMilterHeaderBytes) return false;
  switch (change.kind) {
    case MilterChange::Kind::kAddHeader:
      return Add(fields_.size(), std::move(field));
    case MilterChange::Kind::kInsertHeader:
      return Add(change.index, std::move(field));
    case MilterChange::Kind::kChangeHeader: {
      Field* present = Find(change.name, change.index);
      if (change.value.empty()) {
        if (present != nullptr) present->deleted = true;
      } else if (present != nullptr) {
        *present = std::move(field);
      } else {
        return Add(fields_.size(), std::move(field));
      }
      break;
    }
    default:
      break;
  }
  return true;
}

std::string MilterHeader::Text() const {
  std::string text;
  for (const Field& field : fields_)
    if (!field.deleted) absl::StrAppend(&text, field.text);
  absl::StrAppend(&text, empty_line_ ? "\n" : "", rest_);
  return text;
}

}  // namespace holdfast
