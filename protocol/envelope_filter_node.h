// A filter as parsed; inside envelope_filter only.
#ifndef HOLDFAST_PROTOCOL_ENVELOPE_FILTER_NODE_H_
#define HOLDFAST_PROTOCOL_ENVELOPE_FILTER_NODE_H_

#include <re2/re2.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "protocol/envelope_fields.h"
#include "protocol/envelope_filter.h"

namespace holdfast {

enum class FilterOperator : uint8_t {
  kEqual,  // one of the values
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kMatches,
  kMatchesNot,
};

// How much of a status a value names.
enum class StatusDepth : uint8_t { kClass = 1, kSubject = 2, kDetail = 3 };

struct FilterValue {
  std::string text;    // in lower case
  int64_t number = 0;  // as FieldNumber() gives it
  StatusDepth depth = StatusDepth::kDetail;
};

struct FilterNode {
  enum class Kind : uint8_t { kAnd, kOr, kNot, kCompare } kind = Kind::kCompare;
  std::vector<std::shared_ptr<const FilterNode>> children;

  // kCompare.
  EnvelopeField field = EnvelopeField::kId;
  FilterOperator op = FilterOperator::kEqual;
  std::vector<FilterValue> values;  // one, but for = and != (lists)
  std::unique_ptr<const RE2> pattern;
};

using FilterNodePtr = std::shared_ptr<const FilterNode>;

// Null: the text is empty.
absl::StatusOr<FilterNodePtr> ParseFilter(absl::string_view text);

// What is wrong at `at` of the text, in three lines.
std::string FilterError(absl::string_view text, size_t at,
                        absl::string_view what);

FilterHints HintsOf(const FilterNode& node, absl::Time now);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_ENVELOPE_FILTER_NODE_H_
