// What an operator may ask of an envelope in the queue, by name: the fields of
// filters, of sorting and grouping, and of listings.  Pure.
#ifndef HOLDFAST_PROTOCOL_ENVELOPE_FIELDS_H_
#define HOLDFAST_PROTOCOL_ENVELOPE_FIELDS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "protocol/envelope.h"

namespace holdfast {

// Where an envelope is on its way; the first that fits, from below upwards.
enum class EnvelopeState : uint8_t {
  kQueued,     // due
  kDeferred,   // due later: after a failure, its own or its destination's
  kInDoubt,    // waits, and an attempt ended without an answer (promise P3)
  kHeld,       // its action is gone, or an operator holds it
  kSuspended,  // an operator paused it
  kInFlight,   // with a worker
};

// An envelope with what is known of it besides.
struct EnvelopeFacts {
  Envelope envelope;
  uint64_t size = 0;        // octets of the message, uncompressed
  uint64_t serial = 0;      // of the message; unique in the life of the store
  std::string destination;  // routing key: the domain (mta) or user (mda)
  // When it may go next, its destination's postponement counted; nullopt: only
  // when an operator releases it.
  std::optional<absl::Time> due;
  EnvelopeState state = EnvelopeState::kQueued;
  std::string error;  // its own, or why its destination waits
  // In a row, of its destination as a whole; 0 once it answers.
  uint32_t destination_failures = 0;
};

enum class EnvelopeField : uint8_t {
  kId,
  kMessage,
  kSender,
  kSenderDomain,
  kRecipient,
  kDomain,
  kRcpt,
  kDestination,
  kKind,
  kAction,
  kTag,
  kListener,
  kUser,
  kClient,
  kSize,
  kAge,
  kDue,
  kExpiry,
  kAttempts,
  kError,
  kStatus,
  kState,
  kPriority,
  kFlag,
};

// How values of a field are written and compared.
enum class FieldType : uint8_t {
  kId,        // hex digits; ordered
  kText,      // letters of either case are equal; no order
  kWord,      // one of a few words; no order
  kWords,     // several of them at once: "=" asks whether it has the word
  kNumber,    // ordered
  kBytes,     // a number with K, M or G (1,024 each)
  kDuration,  // whole seconds with s, m, h, d or w
  kStatus,    // "4", "4.4" or "4.4.1": compared as far as it goes
};

struct EnvelopeFieldInfo {
  EnvelopeField field;
  absl::string_view name;
  // Other names, separated by spaces.
  absl::string_view aliases;
  FieldType type;
  absl::string_view meaning;  // a line of help
};

// All of them, in the enum's order.
const std::vector<EnvelopeFieldInfo>& EnvelopeFieldTable();
const EnvelopeFieldInfo& InfoOf(EnvelopeField field);
// By name or alias, in either case; null: there is none.
const EnvelopeFieldInfo* FindEnvelopeField(absl::string_view name);
// The name that was probably meant; empty: none is near.
std::string NearEnvelopeField(absl::string_view name);
// The words a kWord or kWords field can have.
std::vector<std::string> WordsOf(EnvelopeField field);

// The value of a kText, kWord or kWords field (words joined by ","); of others
// the value as listings print it.  Raw: may hold anything.
std::string FieldText(const EnvelopeFacts& facts, EnvelopeField field,
                      absl::Time now);
// The value of an ordered field; nullopt: it has none (not due, no status).
// Ids are turned so that they sort as the unsigned numbers they are; a status
// is class * 1000000 + subject * 1000 + detail.
std::optional<int64_t> FieldNumber(const EnvelopeFacts& facts,
                                   EnvelopeField field, absl::Time now);

absl::string_view StateWord(EnvelopeState state);
// What the envelope's flags, `due` and these say together.
EnvelopeState StateOf(const Envelope& envelope, bool in_flight,
                      std::optional<absl::Time> due, absl::Time now);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_ENVELOPE_FIELDS_H_
