// Values of filters, from text; inside envelope_filter only.
#ifndef HOLDFAST_PROTOCOL_ENVELOPE_FILTER_VALUES_H_
#define HOLDFAST_PROTOCOL_ENVELOPE_FILTER_VALUES_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "protocol/envelope_fields.h"
#include "protocol/envelope_filter_node.h"

namespace holdfast {

// The error says what was expected; the caller knows where.
absl::StatusOr<FilterValue> ParseFilterValue(const EnvelopeFieldInfo& field,
                                             absl::string_view text);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_ENVELOPE_FILTER_VALUES_H_
