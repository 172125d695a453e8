// Messages and envelopes as the JSON of an archive (storage/EXPORT.md).  Fields
// that have their default are left out.  Strings that are not UTF-8 are
// {"base64": "..."}.
#ifndef HOLDFAST_CTL_STORE_TRANSFER_JSON_H_
#define HOLDFAST_CTL_STORE_TRANSFER_JSON_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "protocol/queue_transfer.h"

namespace holdfast {

inline constexpr size_t kMaxTransferJson = 256 << 10;
inline constexpr int kMaxTransferJsonDepth = 8;

// One line each, with its line end.  Of the body only its size.
std::string ToJson(const ExportMessage& message);
std::string ToJson(const ExportEnvelope& envelope);

// kInvalidArgument: not what these would write.
absl::StatusOr<ExportMessage> MessageFromJson(absl::string_view text);
absl::StatusOr<ExportEnvelope> EnvelopeFromJson(absl::string_view text);

// Eight, or sixteen, lower-case hex digits; false: something else.
bool ParseHex(absl::string_view text, size_t digits, uint64_t* value);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_STORE_TRANSFER_JSON_H_
