// The words of `smtpctl queue list`: what to list and how.
#ifndef HOLDFAST_PROTOCOL_QUEUE_LIST_REQUEST_H_
#define HOLDFAST_PROTOCOL_QUEUE_LIST_REQUEST_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "protocol/envelope_fields.h"

namespace holdfast {

struct QueueListRequest {
  enum class Format : uint8_t {
    kText,    // columns for people
    kJson,    // an object a line
    kCsv,     // RFC 4180, with a header
    kFields,  // values of `fields` with tabs between them
  };
  std::string filter;  // protocol/envelope_filter.h; not parsed yet
  Format format = Format::kText;
  // Which fields kJson, kCsv and kFields give; never empty then.
  std::vector<EnvelopeField> fields;
  std::optional<EnvelopeField> sort;
  bool descending = false;
  std::optional<uint64_t> limit;  // rows, or groups
  bool count = false;             // only how many, and their octets
  std::optional<EnvelopeField> group_by;
};

// `words` are those behind "queue list": options, anywhere, and the words of
// the filter.  Behind "--" there are no options.  kInvalidArgument says which
// word is wrong and why.
absl::StatusOr<QueueListRequest> ParseQueueListRequest(
    const std::vector<std::string>& words);

// A filter of several words: as the shell took them apart.
std::string JoinFilterWords(const std::vector<std::string>& words);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_QUEUE_LIST_REQUEST_H_
