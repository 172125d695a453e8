// How smtp-blackhole behaves.
#ifndef HOLDFAST_CTL_LOAD_SINK_PLAN_H_
#define HOLDFAST_CTL_LOAD_SINK_PLAN_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace holdfast {

// Where an answer can be changed.  kEnd is the end of a message, after its
// final dot or its last BDAT chunk.
enum class SinkStage {
  kConnect,
  kEhlo,
  kMail,
  kRcpt,
  kData,
  kEnd,
  kRset,
  kQuit
};
inline constexpr size_t kSinkStages = 8;

// What happens at a stage instead of the usual answer.
struct SinkAnswer {
  enum class Kind {
    kUsual,
    kCode,  // answer `code`
    kDrop,  // close without an answer; a message is not taken
    kLose,  // kEnd only: take the message, close without an answer
    kHang,  // answer, then close: for kEnd the message is taken
  };
  Kind kind = Kind::kUsual;
  int code = 0;
  double share = 1.0;    // of the times
  int64_t delay_ms = 0;  // before any answer at this stage, the usual one too
};

struct SinkPlan {
  std::array<SinkAnswer, kSinkStages> answers;
  // EHLO lines offered, upper case; SIZE is offered with max_size.
  std::set<std::string> offered = {"PIPELINING", "8BITMIME", "SIZE", "DSN",
                                   "CHUNKING"};
  std::string name = "blackhole.invalid";
  int64_t max_size = 64 * 1024 * 1024;
  int64_t max_recipients = 1000;
  int64_t max_connections = 10000;
  std::string capture;            // folder that gets a file for each message
  int64_t capture_limit = 10000;  // files
  std::string commands;           // file that gets each MAIL and RCPT line

  const SinkAnswer& at(SinkStage stage) const {
    return answers[static_cast<size_t>(stage)];
  }

  // "rcpt=550", "rcpt=451/10%", "end=lose/5%", "connect=drop"
  absl::Status SetAnswer(absl::string_view text);
  // "end=250" (milliseconds)
  absl::Status SetDelay(absl::string_view text);
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_LOAD_SINK_PLAN_H_
