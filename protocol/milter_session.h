// A conversation with a milter as an MTA leads it (Sendmail's milter protocol,
// version 6 down to 2).  Pure: bytes come in by Receive(), bytes to send gather
// in output(), what the milter says is told to an Events.
//
//   negotiating -> ready <-> waiting for an answer ... -> over
//
// In a session: Connect, Helo (again after STARTTLS), then for each message
// Mail, Rcpt..., Data, Header..., EndOfHeaders, Body..., EndOfMessage; Abort
// gives a message up.  One of these at a time.  Each returns whether an answer
// is to come by OnAnswer(); if not (the milter does not want to hear of it, or
// does not answer it, or has accepted the session, the message or a recipient
// of it before) it is as if it had said "continue".
//
// A milter that breaks the protocol, or says goodbye where it must not, ends
// the conversation: OnBroken(), after which nothing is said or heard.
//
// The owner keeps the time.
#ifndef HOLDFAST_PROTOCOL_MILTER_SESSION_H_
#define HOLDFAST_PROTOCOL_MILTER_SESSION_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "protocol/milter_packets.h"

namespace holdfast {

// A milter's answer to one thing that it was told.
struct MilterAnswer {
  enum class Kind : uint8_t {
    kContinue,
    kAccept,      // it wants nothing more of this message (or session)
    kReject,      // `text`: "550 5.7.1 ..."
    kTempFail,    // `text`: "451 4.7.1 ..."
    kDisconnect,  // `text`: "421 ..."; then close the session
    kDiscard,
  } kind = Kind::kContinue;
  std::string text;
};

class MilterSession {
 public:
  // May call back into the session, and not destroy it.
  class Events {
   public:
    virtual ~Events() = default;
    // Options are agreed.
    virtual void OnReady() = 0;
    virtual void OnAnswer(MilterAnswer answer) = 0;
    // Before the answer to EndOfMessage().
    virtual void OnChange(MilterChange change) = 0;
    // It is still at work: the time starts again.
    virtual void OnProgress() = 0;
    // `why` for the log.
    virtual void OnBroken(const std::string& why) = 0;
  };

  // Begins with our options.
  explicit MilterSession(Events* events);

  void Receive(absl::string_view bytes);
  // What is to be sent; empty it by OutputTaken().
  absl::string_view output() const { return output_; }
  void OutputTaken() { output_.clear(); }

  // The values of macros from now on, names without braces; an empty value
  // takes one away.
  void SetMacro(absl::string_view name, absl::string_view value);

  // `family`: '4', '6', 'L' (a Unix socket) or 'U' (then there is no address).
  [[nodiscard]] bool Connect(absl::string_view host, char family, uint16_t port,
                             absl::string_view address);
  [[nodiscard]] bool Helo(absl::string_view name);
  // `address` is "<joe@example.org>"; parameters as they came.
  [[nodiscard]] bool Mail(absl::string_view address,
                          const std::vector<std::string>& parameters);
  [[nodiscard]] bool Rcpt(absl::string_view address,
                          const std::vector<std::string>& parameters);
  [[nodiscard]] bool Data();
  // `value` as it stands behind the colon; lines end with LF.  Together at most
  // kMaxMilterFieldBytes, as no milter takes more.
  [[nodiscard]] bool Header(absl::string_view name, absl::string_view value);
  [[nodiscard]] bool EndOfHeaders();
  // At most kMilterChunkBytes; lines end with CRLF.
  [[nodiscard]] bool Body(absl::string_view piece);
  [[nodiscard]] bool EndOfMessage();
  // Gives up the message, if there is one.  While an answer is due: only
  // Quit() is possible.
  void Abort();
  // The last thing said.
  void Quit();

  bool ready() const { return state_ == State::kReady; }
  bool over() const { return state_ == State::kOver; }
  // Whether it would hear any of the message, or be asked at its end.
  bool wants_message() const {
    return state_ == State::kReady && quiet_ == Quiet::kNo;
  }
  // It wants to hear nothing more of the whole session: it has accepted or
  // refused it.
  bool finished() const { return quiet_ == Quiet::kSession; }
  bool keeps_leading_space() const { return Has(kMilterLeadingSpace); }

 private:
  enum class State { kNegotiating, kReady, kWaiting, kOver };
  // How much the milter wants no more.
  enum class Quiet { kNo, kMessage, kSession };

  bool Has(uint32_t step) const { return (options_.steps & step) != 0; }
  bool Say(MilterCommand command, absl::string_view data, uint32_t unwanted,
           uint32_t unanswered);
  void PutMacros(MilterCommand command);
  void OnPacket(const MilterPacket& packet);
  void OnOptions(const MilterPacket& packet);
  bool OnChangePacket(const MilterPacket& packet);
  void OnVerdict(const MilterPacket& packet);
  void OnSkip();
  void Answer(MilterAnswer answer);
  void Broken(std::string why);

  Events* const events_;
  State state_ = State::kNegotiating;
  MilterCommand asked_ = MilterCommand::kNegotiate;  // while kWaiting
  Quiet quiet_ = Quiet::kNo;
  bool in_message_ = false;  // it has heard of one that has not ended
  bool skip_headers_ = false, skip_body_ = false;
  MilterOptions options_;
  std::map<std::string, std::string> macros_;
  MilterPacketReader reader_;
  std::string output_;
};

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_MILTER_SESSION_H_
