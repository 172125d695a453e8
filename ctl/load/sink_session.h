// One connection of smtp-blackhole: RFC 5321's server side, with PIPELINING,
// BDAT and whatever misbehaviour the plan asks for.
#ifndef HOLDFAST_CTL_LOAD_SINK_SESSION_H_
#define HOLDFAST_CTL_LOAD_SINK_SESSION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "ctl/load/load_message.h"
#include "ctl/load/poller.h"
#include "ctl/load/sink_plan.h"
#include "ctl/load/text_connection.h"

namespace holdfast {

struct SinkMessage {
  std::string sender;
  std::vector<std::string> recipients;
  LoadMessageReader reader;
  int64_t bytes = 0;
  std::string text;  // with LF line ends, when captured
};

class SinkSession : public TextConnection::User {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // The message is the sink's from here on; its 250 follows.
    virtual void OnTook(const SinkMessage& message) = 0;
    // A MAIL or RCPT line has come.
    virtual void OnEnvelopeCommand(absl::string_view line) = 0;
    // An answer other than the usual one was given at `stage`.
    virtual void OnUnusual(SinkStage stage) = 0;
    // The connection is gone; delete the session after this call.
    virtual void OnEnd(SinkSession* session) = 0;
  };

  // Takes `fd`, a connected socket.
  SinkSession(Poller* poller, int fd, const SinkPlan* plan,
              std::mt19937_64* random, Owner* owner);
  ~SinkSession() override;

  // Greets the client; the owner may be called from here on.
  void Start();

 private:
  enum class State { kCommand, kData, kBdat, kEnded };

  void OnInput() override;
  void OnClosed(const std::string& why) override;
  void Work();
  bool Step();
  void OnCommand(absl::string_view line);
  void OnEhlo(bool extended);
  void OnMail(absl::string_view line);
  void OnRcpt(absl::string_view line);
  void OnData();
  void OnBdat(absl::string_view line);
  void OnDataLine(absl::string_view line);
  void TakeDataBytes();
  void TakeBdatBytes();
  void TextLine(absl::string_view line);
  void EndOfMessage();
  // Gives the usual answer or the planned one.  `accept` runs before the
  // usual answer (and before those that take the message).
  void Answer(SinkStage stage, const std::string& usual,
              void (SinkSession::*accept)());
  void Give(SinkStage stage, const SinkAnswer& answer, const std::string& usual,
            void (SinkSession::*accept)());
  void Accepted();
  void BeginMessage();
  void AddRecipient();
  void BeginText();
  void Took();
  void Drop();

  Poller* poller_;
  const SinkPlan* plan_;
  std::mt19937_64* random_;
  Owner* owner_;
  std::unique_ptr<TextConnection> connection_;
  State state_ = State::kCommand;
  std::optional<Poller::TimerId> delay_;  // while an answer waits
  std::string argument_;                  // address of the command at work
  std::optional<SinkMessage> message_;
  std::string partial_;     // BDAT: a line that is not complete
  int64_t chunk_left_ = 0;  // BDAT
  bool chunk_last_ = false;
  bool too_big_ = false;
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_LOAD_SINK_SESSION_H_
