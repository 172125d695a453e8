// What moves mail out of a queue and into one: the stream of an export, and the
// requests of an import.  Between smtpctl-store and `queue`, whose control
// socket carries them (protocol/control_messages.h); when the daemon is down
// smtpctl-store makes and takes them itself.  The archive is made of this
// (storage/EXPORT.md).
#ifndef HOLDFAST_PROTOCOL_QUEUE_TRANSFER_H_
#define HOLDFAST_PROTOCOL_QUEUE_TRANSFER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "protocol/body_info.h"
#include "protocol/envelope.h"
#include "protocol/ids.h"

namespace holdfast {

// ---- An export: control frames, one after the other: ExportBegin; for each
// message ExportMessage, its ExportEnvelopes, its ExportChunks; ExportEnd.

// With --move, the client's word (ControlData) when it has all of it: the mail
// is on its disk and is to go, or is to stay after all.
inline constexpr char kMoved[] = "moved";
inline constexpr char kMoveBack[] = "back";
inline constexpr size_t kMaxMoveWord = 8;

// Longest frame: a chunk, or an envelope.
inline constexpr size_t kMaxExportFrame = 256 << 10;

struct ExportBegin {
  static constexpr uint16_t kType = 101;
  uint64_t store = 0;  // uuid
  absl::Time taken;    // the one commit that all of it is of
  uint64_t messages = 0, envelopes = 0;
  uint64_t queued = 0;   // what the ledger said then of the whole queue
  uint64_t reports = 0;  // pending ones then: they are not exported
  template <class A>
  void Fields(A& a) {
    a(store, taken, messages, envelopes, queued, reports);
  }
};

struct ExportMessage {
  static constexpr uint16_t kType = 102;
  MessageId id{};
  // Where it was accepted first.
  uint64_t origin_store = 0, origin_serial = 0;
  absl::Time created;
  BodyInfo body;
  template <class A>
  void Fields(A& a) {
    a(id, origin_store, origin_serial, created, body);
  }
};

struct ExportEnvelope {
  static constexpr uint16_t kType = 103;
  Envelope envelope;
  std::optional<absl::Time> due;  // nullopt: held or suspended
  template <class A>
  void Fields(A& a) {
    a(envelope, due);
  }
};

struct ExportChunk {
  static constexpr uint16_t kType = 104;
  std::string bytes;  // as stored
  template <class A>
  void Fields(A& a) {
    a(bytes);
  }
};

struct ExportEnd {
  static constexpr uint16_t kType = 105;
  uint64_t messages = 0, envelopes = 0;
  uint64_t damaged = 0;  // envelopes that could not be read and are left out
  template <class A>
  void Fields(A& a) {
    a(messages, envelopes, damaged);
  }
};

// ---- An import: one ImportRequest after the other, each answered by one
// ImportAnswer, in order.

// Envelopes of one message, all requests of one frame, and how many may be
// unanswered.
inline constexpr size_t kMaxImportEnvelopes = 10'000;
inline constexpr size_t kMaxImportFrame = 32 << 20;
inline constexpr size_t kMaxImportsOpen = 4;

// A piece of a body that is too large to come with its message.
struct ImportChunk {
  MessageId message{};
  uint32_t index = 0;
  std::string bytes;
  bool keep_id = false;
  template <class A>
  void Fields(A& a) {
    a(message, index, bytes, keep_id);
  }
};

struct ImportMessage {
  MessageId message{};
  bool keep_id = false;  // storage's ImportOrigin says what these mean
  bool again = false;
  uint64_t origin_store = 0, origin_serial = 0;
  MessageId origin_message{};
  absl::Time created;
  BodyInfo body;
  std::string stored;
  std::vector<Envelope> envelopes;
  std::vector<absl::Time> dues;  // parallel
  template <class A>
  void Fields(A& a) {
    a(message, keep_id, again, origin_store, origin_serial, origin_message);
    a(created, body, stored, envelopes, dues);
  }
};

struct ImportRequest {
  bool lease = false;  // only an unused message id is wanted
  std::vector<ImportChunk> chunks;
  std::vector<ImportMessage> messages;
  std::vector<MessageId> drops;  // bodies in progress that are given up
  template <class A>
  void Fields(A& a) {
    a(lease, chunks, messages, drops);
  }
};

struct ImportResult {
  enum class Code : uint8_t {
    kOk = 0,
    kIdInUse = 1,
    kGone = 2,    // mail of that very store, which has left it
    kNoRoom = 3,  // later perhaps
    kError = 4,
  } code = Code::kOk;
  std::string error;
  uint32_t taken = 0;  // envelopes; the others had come before
  template <class A>
  void Fields(A& a) {
    a(code, error, taken);
  }
};

struct ImportAnswer {
  MessageId leased{};
  std::vector<ImportResult> results;  // of the chunks, then of the messages
  template <class A>
  void Fields(A& a) {
    a(leased, results);
  }
};

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_QUEUE_TRANSFER_H_
