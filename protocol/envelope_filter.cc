#include "protocol/envelope_filter.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "protocol/envelope_filter_node.h"

namespace holdfast {
namespace {

using Op = FilterOperator;
using Kind = FilterNode::Kind;

int64_t CutTo(int64_t status, StatusDepth depth) {
  switch (depth) {
    case StatusDepth::kClass:
      return status - status % 1000000;
    case StatusDepth::kSubject:
      return status - status % 1000;
    case StatusDepth::kDetail:
      break;
  }
  return status;
}

bool Compare(Op op, int64_t fact, int64_t value) {
  switch (op) {
    case Op::kEqual:
      return fact == value;
    case Op::kNotEqual:
      return fact != value;
    case Op::kLess:
      return fact < value;
    case Op::kLessEqual:
      return fact <= value;
    case Op::kGreater:
      return fact > value;
    case Op::kGreaterEqual:
      return fact >= value;
    case Op::kMatches:
    case Op::kMatchesNot:
      break;
  }
  return false;
}

bool NumberFits(const FilterNode& node, std::optional<int64_t> fact) {
  if (!fact) return node.op == Op::kNotEqual;
  const bool none_of = node.op == Op::kNotEqual;
  for (const FilterValue& value : node.values) {
    const int64_t number = InfoOf(node.field).type == FieldType::kStatus
                               ? CutTo(*fact, value.depth)
                               : *fact;
    if (Compare(none_of ? Op::kEqual : node.op, number, value.number))
      return !none_of;
  }
  return none_of;
}

bool TextFits(const FilterNode& node, const std::string& fact) {
  const bool words = InfoOf(node.field).type == FieldType::kWords;
  for (const FilterValue& value : node.values) {
    bool same = false;
    if (words) {
      for (const absl::string_view word : absl::StrSplit(fact, ','))
        same = same || word == absl::string_view(value.text);
    } else {
      same = absl::EqualsIgnoreCase(fact, value.text);
    }
    if (same) return node.op == Op::kEqual;
  }
  return node.op == Op::kNotEqual;
}

bool Fits(const FilterNode& node, const EnvelopeFacts& facts, absl::Time now) {
  switch (node.kind) {
    case Kind::kAnd:
      return std::all_of(
          node.children.begin(), node.children.end(),
          [&](const FilterNodePtr& c) { return Fits(*c, facts, now); });
    case Kind::kOr:
      return std::any_of(
          node.children.begin(), node.children.end(),
          [&](const FilterNodePtr& c) { return Fits(*c, facts, now); });
    case Kind::kNot:
      return !Fits(*node.children[0], facts, now);
    case Kind::kCompare:
      break;
  }
  if (node.pattern != nullptr)
    return RE2::PartialMatch(FieldText(facts, node.field, now),
                             *node.pattern) == (node.op == Op::kMatches);
  switch (InfoOf(node.field).type) {
    case FieldType::kText:
    case FieldType::kWord:
    case FieldType::kWords:
      return TextFits(node, FieldText(facts, node.field, now));
    default:
      return NumberFits(node, FieldNumber(facts, node.field, now));
  }
}

}  // namespace

absl::StatusOr<EnvelopeFilter> EnvelopeFilter::Parse(absl::string_view text,
                                                     absl::Time now) {
  absl::StatusOr<FilterNodePtr> root = ParseFilter(text);
  if (!root.ok()) return root.status();
  EnvelopeFilter filter;
  filter.root_ = *std::move(root);
  filter.now_ = now;
  if (filter.root_ != nullptr) filter.hints_ = HintsOf(*filter.root_, now);
  return filter;
}

bool EnvelopeFilter::Matches(const EnvelopeFacts& facts) const {
  return root_ == nullptr || Fits(*root_, facts, now_);
}

}  // namespace holdfast
