// One connection to a host: transactions of one batch after the other, then a
// while of waiting for the next, then QUIT (reference part 2, section 3.9).
//
//   greeting [-> securing -> greeting] -> busy <-> idle -> quitting -> over
//
// relay_session.cc has the connection with STARTTLS and AUTH, time and ends;
// relay_session_work.cc the transactions and the texts of messages.
#ifndef HOLDFAST_SERVER_RELAY_RELAY_SESSION_H_
#define HOLDFAST_SERVER_RELAY_RELAY_SESSION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "protocol/smtp_client_session.h"
#include "server/relay/batch_work.h"
#include "server/relay/body_source.h"
#include "server/relay/relay_services.h"
#include "server/relay/route_tls.h"

namespace holdfast {

inline constexpr absl::Duration kQuitTimeout = absl::Seconds(10);
// No more of a message is produced while so much of it is not sent.
inline constexpr size_t kMaxBacklogBytes = 256 << 10;
// Transactions without one success that end a session.
inline constexpr uint32_t kMaxVainTransactions = 10;

class RelaySession : private SmtpClientSession::Events {
 public:
  // How it ended.
  enum class End : uint8_t {
    kOver,       // nothing is wrong with the route, or it was proven
    kNotProven,  // the host did not take us
    // It did not come to TLS, which is opportunistic: the slot is still ours,
    // and the owner's now.
    kTryInClear,
    kNoCredentials,  // we did not know what to say
  };
  // Told in the middle of the session's work: it may be given work by Run(),
  // but must not be destroyed.
  class Owner {
   public:
    virtual ~Owner() = default;
    // The host has greeted us: the route is proven.  Then OnIdle() is called.
    virtual void OnGreeted(RelaySession* session) = 0;
    // It has nothing to do.
    virtual void OnIdle(RelaySession* session) = 0;
    // It will do no more of this: messages of it are still to be begun.
    virtual void OnRest(std::shared_ptr<BatchWork> work) = 0;
    // It is over.  `error`: why, empty after QUIT.
    virtual void OnOver(RelaySession* session, End end,
                        const std::string& error) = 0;
  };

  // `limits` outlives it.
  RelaySession(RelayServices* services, Owner* owner, Route route,
               const MtaLimits& limits, std::unique_ptr<Stream> stream);
  ~RelaySession() override;

  // Only when idle; also within OnIdle().
  void Run(std::shared_ptr<BatchWork> work);
  // Ends it in good order after the present transaction, if there is one.
  void Drain();
  // Ends it at once; nobody is told but the owner.
  void Abandon();
  // The batch's claim is on the disk.
  void OnClaimed();
  // The queue that gave the slot is gone.
  void ForgetSlot() { route_.slot = 0; }

  const Route& route() const { return route_; }
  // Not even proven yet.
  bool greeting() const {
    return state_ == State::kGreeting || state_ == State::kSecuring;
  }
  bool idle() const { return state_ == State::kIdle; }
  bool over() const { return state_ == State::kOver; }
  // The batch it works on; null: none.
  BatchWork* work() const { return work_.get(); }
  // Of work(): the message that is under way.
  size_t message() const { return message_; }
  // Says of an outcome of that message when it was tried.
  void StampAttempt(WorkerOutcome* outcome) const;
  // That message is with the server, who has not answered.
  bool passed_dot() const { return session_.in_final(); }

 private:
  enum class State : uint8_t {
    kGreeting,
    kSecuring,  // the TLS handshake of STARTTLS
    kIdle,
    kBusy,
    kQuitting,
    kOver,
  };

  void OnReady() override;
  void OnResult(size_t recipient, const SmtpResult& result) override;
  void OnBodyWanted() override;
  void OnEnd(const std::string& error) override;
  void OnStartTls() override;
  void OnAuthWanted() override;

  void UseStream(std::unique_ptr<Stream> stream);
  void OnSecured(absl::StatusOr<std::unique_ptr<Stream>> stream);
  void OnSecret(absl::StatusOr<ClientCredentials> credentials);
  void OnBytes(absl::string_view bytes);
  void OnClosed(const absl::Status& status);
  void Flush();
  void Advance();
  bool Exhausted() const;
  bool MustPause();
  void BeginIdle();
  SmtpTransaction BuildTransaction();
  void ReportTransaction(const SmtpTransaction& transaction);
  std::string PathOf(const BatchMessage::Recipient& r) const;
  bool FitsLimits(const std::string& domain) const;
  void EndTransaction();
  void StartQuit();
  void PumpBody();
  bool ReadBody();
  void AskBody(uint32_t first, uint32_t count);
  void DropBody();
  void WatchTime(absl::Duration wait);
  void OnTime();
  void TimedOut();
  void Close(End end, const std::string& error);
  void LogError(const std::string& error) const;
  // The work is with another session, or with none.
  std::shared_ptr<BatchWork> Release();

  RelayServices* const services_;
  Owner* const owner_;
  Route route_;
  const MtaLimits& limits_;
  std::unique_ptr<Stream> stream_;
  SmtpClientSession session_;
  std::unique_ptr<RouteTls> securing_;
  uint64_t secret_question_ = 0;  // 0: none is open
  bool no_credentials_ = false;
  State state_ = State::kGreeting;
  bool draining_ = false;
  bool advancing_ = false;
  bool receiving_ = false;  // what the host sent is being read

  std::shared_ptr<BatchWork> work_;
  size_t message_ = 0;              // of work_
  std::vector<size_t> recipients_;  // of that message: those in the transaction
  bool message_sent_ = false;       // to one of them at least
  std::string trace_;               // goes before the message; not yet given
  std::unique_ptr<BodySource> body_;
  bool body_complete_ = false;  // all of it is given to session_
  uint64_t question_ = 0;       // for chunks; 0: none is open

  uint32_t messages_ = 0;        // sent
  uint32_t transactions_ = 0;    // begun since the last that was a success
  uint32_t mails_ = 0;           // begun, as LIMITS counts them
  absl::Time mail_at_;           // when the present one began
  absl::Duration mail_elapsed_;  // likewise
  absl::Duration last_end_ = -absl::InfiniteDuration();
  absl::Duration last_activity_;
  EventLoop::Timer timer_;  // reply, keep-alive, quit
  EventLoop::Timer pause_;  // between transactions
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_RELAY_SESSION_H_
