// Answers the steps of AUTH (RFC 4954) that `receive` passes on: PLAIN (RFC
// 4616) and SCRAM-SHA-256 (RFC 5802, RFC 7677), against the credentials table
// of the listener or, where it names none, accounts of the system, which are
// asked of `parent`.  The program of a table is asked whether a password is
// right, if it offers that (service auth of smtpd-tables(7)), else for the
// user's credentials; it knows no SCRAM.
//
// Nothing here tells whether a user exists: whoever is not there is compared
// with somebody else's hash, once, as those who are, and SCRAM gets a salt that
// is made up and stays the same.  Failures are slowed by source
// (source_delays.h), whether the client waits for the answer or not.
#ifndef HOLDFAST_SERVER_LOOKUP_AUTHENTICATOR_H_
#define HOLDFAST_SERVER_LOOKUP_AUTHENTICATOR_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "config/config.h"
#include "config/table_answers.h"
#include "protocol/sasl_plain.h"
#include "protocol/scram.h"
#include "server/door/lookup_messages.h"
#include "server/lookup/credentials.h"
#include "server/lookup/password_hasher.h"
#include "server/lookup/source_delays.h"
#include "server/loop/event_loop.h"

namespace holdfast {

// Exchanges of SCRAM between two steps; the oldest goes first, and each after a
// time.
inline constexpr size_t kMaxScramExchanges = 10000;
inline constexpr absl::Duration kScramExchangeTime = absl::Minutes(6);
// Questions that `parent` has not answered; further ones are answered
// kTemporary.  It asks as many at once as it has children.
inline constexpr size_t kMaxPasswordQuestions = 64;
// `parent` gives up before, unless many wait.
inline constexpr absl::Duration kPasswordQuestionTimeout = absl::Seconds(60);

// Used on the loop's thread.
class Authenticator {
 public:
  // `answer.question` is the step's.
  using Done = absl::AnyInvocable<void(AuthAnswer)>;
  struct Services {
    std::unique_ptr<PasswordHasher> hasher;
    // To `parent`.
    absl::AnyInvocable<void(const PasswordQuestion&)> ask_parent;
    // Octets of the system's generator.
    absl::AnyInvocable<std::string(size_t)> random;
    // Of the program of a table; see TableProcess::Ask().
    absl::AnyInvocable<void(TableQuery, absl::AnyInvocable<void(TableResult)>)>
        ask_program;
  };

  Authenticator(EventLoop* loop, std::shared_ptr<const Config> config,
                Services services);

  // `peer` is who asks; conversations are numbered by it.  `done` is called
  // once, perhaps before this returns, never after this object is gone.
  void OnStep(uint64_t peer, AuthStep step, Done done);
  void OnForget(uint64_t peer, const AuthForget& forget);
  // Its exchanges are forgotten; what is being checked is answered still.
  void OnPeerGone(uint64_t peer);
  // One that was not asked for is ignored.
  void OnPasswordAnswer(const PasswordAnswer& answer);

  // See ListenerTableQuestion::Table::kScram.
  bool OffersScram(const Listener& listener);

 private:
  using ConversationKey = std::pair<uint64_t, uint64_t>;  // peer, its number
  // One password or proof that is being checked.
  struct Attempt {
    std::string source;
    std::string user;
    Done done;
    bool at_parent = false;
    EventLoop::Timer timer;  // parent's time-out, or the delay of a failure
  };
  struct Exchange {
    ScramExchange scram;
    bool real = false;      // the verifier is the user's
    bool finished = false;  // only the client's empty line is missing
    absl::Duration until;
    uint64_t serial = 0;  // of its place in order_
  };
  using AttemptRef = std::map<uint64_t, Attempt>::iterator;

  void OnPlain(const Listener& listener, AuthStep step, Done done);
  void CheckTable(AttemptRef attempt, const TableRef& table, Secret password);
  void CheckFound(AttemptRef attempt, const std::string& table,
                  Credentials::Found found, Secret password);
  void AskProgram(AttemptRef attempt, const TableRef& table, Secret password);
  void AskProgramForCredentials(AttemptRef attempt, const TableRef& table,
                                Secret password);
  void AskParent(AttemptRef attempt, const std::string& address,
                 Secret password);
  void OnScramFirst(const ConversationKey& key, const Listener& listener,
                    AuthStep step, Done done);
  void OnScramNext(const ConversationKey& key, AuthStep step, Done done);
  void OnScramFinal(const ConversationKey& key, AuthStep step, Done done);

  // attempts_.end(): there are too many at once, and `done` was called.
  AttemptRef Begin(const AuthStep& step, const std::string& user, Done* done);
  void Succeed(AttemptRef attempt);
  void Fail(AttemptRef attempt);
  void GiveUp(AttemptRef attempt);
  void Finish(AttemptRef attempt, AuthAnswer answer);
  void DropExchange(const ConversationKey& key);
  void MakeRoomForExchange();

  EventLoop* const loop_;
  const std::shared_ptr<const Config> config_;
  Services services_;
  Credentials credentials_;
  SourceDelays delays_;
  uint64_t last_attempt_ = 0;
  uint64_t last_exchange_ = 0;
  std::map<uint64_t, Attempt> attempts_;
  size_t open_at_parent_ = 0;
  std::map<ConversationKey, Exchange> exchanges_;
  std::map<uint64_t, ConversationKey> order_;  // by serial: oldest first
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_LOOKUP_AUTHENTICATOR_H_
