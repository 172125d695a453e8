// The language in which operators ask for envelopes:
//
//   domain = example.org and age > 2h and (attempts >= 3 or error ~ "421")
//
//   filter     = [ terms ]                      nothing: every envelope
//   terms      = all *("or" all)
//   all        = one *("and" one)
//   one        = "not" one / "(" terms ")" / comparison
//   comparison = FIELD ("=" / "!=" / "<" / "<=" / ">" / ">=") VALUE
//              / FIELD ("~" / "!~" / "~*" / "!~*") PATTERN
//              / FIELD ["not"] "in" "(" VALUE *("," VALUE) ")"
//
// Fields are those of envelope_fields.h, patterns RE2's ("~*": either case).
// A comparison with a value that an envelope does not have (`due` of one that
// is held, `status` of one never tried) is false, "!=" and "!~" are true.
// Described for operators in docs/OPERATING.md.  Pure.
#ifndef HOLDFAST_PROTOCOL_ENVELOPE_FILTER_H_
#define HOLDFAST_PROTOCOL_ENVELOPE_FILTER_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "protocol/envelope_fields.h"
#include "protocol/ids.h"

namespace holdfast {

inline constexpr size_t kMaxFilterBytes = 8192;
inline constexpr size_t kMaxFilterDepth = 32;    // parentheses and "not"s
inline constexpr size_t kMaxFilterTerms = 256;   // comparisons
inline constexpr size_t kMaxFilterValues = 512;  // in one list
inline constexpr size_t kMaxFilterPatterns = 8;
inline constexpr int64_t kMaxPatternMemory = 1 << 20;  // of RE2, each

// What every envelope that matches has, for finding it by an index: nullopt is
// "not known".  Lists are sorted, without repeats, and may be empty (then
// nothing matches).
struct FilterHints {
  std::optional<std::vector<EnvelopeId>> ids;
  std::optional<std::vector<MessageId>> messages;
  // In lower case: the recipient's domain; the routing key.
  std::optional<std::vector<std::string>> domains;
  std::optional<std::vector<std::string>> destinations;
  // It is due, and not later than this.
  std::optional<absl::Time> due_until;
  // It is held or suspended.
  bool held = false;
};

struct FilterNode;

// Copies share the parsed text.  Safe from any thread.
class EnvelopeFilter {
 public:
  // `now` is what ages are counted to.  kInvalidArgument: what is wrong, the
  // text, and a line with a caret below the character, without a final newline.
  static absl::StatusOr<EnvelopeFilter> Parse(absl::string_view text,
                                              absl::Time now);
  // Matches every envelope.
  EnvelopeFilter() = default;

  bool Matches(const EnvelopeFacts& facts) const;
  const FilterHints& hints() const { return hints_; }
  bool matches_all() const { return root_ == nullptr; }
  absl::Time now() const { return now_; }

 private:
  std::shared_ptr<const FilterNode> root_;
  FilterHints hints_;
  absl::Time now_ = absl::UnixEpoch();
};

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_ENVELOPE_FILTER_H_
