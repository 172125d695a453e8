// What the load generator and the sink write down outside of the server, one
// line for each event, appended:
//
//   ACK <serial> <id> <msgid> <recipient>[,<recipient>...]
//       the server said 250 for message <id> and these recipients
//   TOOK <serial> <id> <msgid> <recipient>[,...] ok|damaged|unknown
//       the sink took message <id>; <msgid> is from the first Received field;
//       the last word says whether the body has the checksum it was sent with
//   UNKNOWN <serial> <id> - <recipient>[,...]
//       the connection ended after the final dot and before its answer
//   REFUSED <serial> <id> - <recipient>[,...]
//       the server answered the end of the message with 4xx or 5xx
//
// <serial> counts the lines of a file from 1; "-" stands for what is missing.
#ifndef HOLDFAST_CTL_LOAD_LEDGER_H_
#define HOLDFAST_CTL_LOAD_LEDGER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace holdfast {

struct LedgerEntry {
  enum class Kind { kAcknowledged, kTook, kUnknown, kRefused };
  enum class Body { kOk, kDamaged, kUnknown };
  Kind kind = Kind::kAcknowledged;
  uint64_t serial = 0;
  std::string id;     // the value of X-Load-Id
  std::string msgid;  // 8 hexadecimal digits, or empty
  std::vector<std::string> recipients;
  Body body = Body::kUnknown;  // of kTook only
};

// One line, with its line end.  Blanks, commas and controls in the texts are
// replaced by "?": they came from the network.
std::string FormatLedgerEntry(const LedgerEntry& entry);
absl::StatusOr<LedgerEntry> ParseLedgerEntry(absl::string_view line);

// Appends to a ledger file.  One thread.
class LedgerWriter {
 public:
  struct Options {
    std::string path;   // empty: nothing is written, serials still count
    bool sync = false;  // O_DSYNC
    // A device or file whose first 4 KiB block gets the last serial written,
    // as decimal text, with direct I/O after the ledger.  For the power-cut
    // test, which orders these writes among the server's; hence no flush, that
    // would make the server's writes durable for it.
    std::string serial_device;
  };

  LedgerWriter() = default;
  ~LedgerWriter();
  LedgerWriter(const LedgerWriter&) = delete;
  LedgerWriter& operator=(const LedgerWriter&) = delete;

  absl::Status Open(const Options& options);
  // Gives the entry its serial and holds it until Flush().
  void Add(LedgerEntry entry);
  // Writes what Add() gathered.
  absl::Status Flush();

 private:
  int file_ = -1;
  int device_ = -1;
  void* block_ = nullptr;  // aligned, of kDeviceBlock bytes
  uint64_t serial_ = 0;
  std::string pending_;
};

// All entries of a file.  A last line without its end is not an entry: its
// writer was stopped.
absl::StatusOr<std::vector<LedgerEntry>> ReadLedger(const std::string& path);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_LOAD_LEDGER_H_
