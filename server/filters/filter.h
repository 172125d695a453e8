// One link of a chain of filters: a process, a builtin filter, or a milter.
//
// A FilterLink is there once for each filter of the configuration that is no
// chain; a LinkSession is there for each session and link.  All on the loop's
// thread.
#ifndef HOLDFAST_SERVER_FILTERS_FILTER_H_
#define HOLDFAST_SERVER_FILTERS_FILTER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/door/filter_messages.h"
#include "server/filters/text_stage.h"
#include "storage/owned_fd.h"

namespace holdfast {

// What is known about a session by now, for all its links.  What later events
// say needs the event in FilterLink::events_in().
struct SessionFacts {
  SessionId session{};
  bool outgoing = false;
  std::string rdns, fcrdns;         // as FilterSession has them
  std::string source, destination;  // with ports
  std::string source_address;       // without; "local" for a Unix socket
  std::string helo;                 // after link-identify
  std::string tls;                  // of link-tls
  std::string user;                 // after link-auth with "pass"
  std::string message;              // id, from tx-begin to tx-reset
  std::string sender;               // after tx-mail with "ok"; without <>
  // The recipient that phase rcpt-to is about; empty in others.
  std::string recipient;
};

// What clients hear when a filter, or what it needs, is missing.
inline constexpr char kSessionRefused[] = "421 4.3.0 Temporary failure";
inline constexpr char kRefusedForNow[] = "451 4.3.0 Temporary failure";

// What a link says to a question.
struct LinkAnswer {
  enum class Verdict : uint8_t {
    kProceed,     // the next link is asked
    kReport,      // as kProceed; `text` becomes a filter-report
    kBypass,      // the rest of the chain is not asked in this phase
    kJunk,        // as kBypass, and mark it
    kRewrite,     // as kBypass, `text` is the new argument
    kReject,      // `text` is the reply; its form is checked by who asked
    kDisconnect,  // the same, then the session ends
    kDiscard,     // milters: answer as if it were taken, and forget it
  };
  Verdict verdict = Verdict::kProceed;
  std::string text;
  // Milters, at commit, with kProceed; what several links want is added up.
  // Addresses as in FilterDecision.
  bool changes_sender = false;
  std::string sender;
  std::vector<std::string> remove_recipients, add_recipients;
  bool quarantine = false;
  std::string reason;  // of quarantine
};

// One link in one session.  Dropped at the session's end, with whatever is
// open.
class LinkSession {
 public:
  virtual ~LinkSession() = default;

  // Whether it has an opinion in this phase now, data-line too (then
  // BeginText() is called).  A link that has failed and must refuse says yes.
  virtual bool Wants(FilterPhase phase) const = 0;

  // A question of a phase that it wants; data-line is none.  `done` is called
  // once, inside Ask() or later, not after the LinkSession is dropped.
  // `question` is valid during the call only; its argument is what the links
  // before have left.
  using Done = absl::AnyInvocable<void(LinkAnswer)>;
  virtual void Ask(const FilterQuestion& question, Done done) = 0;

  // An event of the session, in order; one that events_in() or events_out() has
  // (others may come too).  The facts say already what it says.
  virtual void OnReport(absl::Time at, FilterEvent event,
                        const std::vector<std::string>& fields) = 0;

  // The text of a message begins, if Wants(kDataLine).  Null: the message goes
  // on without it.  At most one at a time.
  virtual std::unique_ptr<TextStage> BeginText(TextSink* sink) = 0;
};

class FilterLink {
 public:
  virtual ~FilterLink() = default;

  virtual const std::string& name() const = 0;
  // As filter-report names it.
  struct Source {
    absl::string_view kind, name;
  };
  virtual Source source() const = 0;
  // Whether masks are known.  While false, new sessions wait.
  virtual bool ready() const = 0;
  // Phases that it is to be asked in (data-line: it takes the text), and events
  // that must be reported to it, by direction.
  virtual uint32_t phases() const = 0;
  virtual uint32_t events_in() const = 0;
  virtual uint32_t events_out() const = 0;

  // `facts` outlive the LinkSession, and change.
  virtual std::unique_ptr<LinkSession> Begin(absl::Time at,
                                             const SessionFacts& facts) = 0;
};

// Told when a link's ready() or masks have changed.
using LinkChanged = std::function<void()>;

// Phases that can be asked: all but data-line, which is not a question, and
// those that nobody asks.
inline constexpr uint32_t kAskedPhases =
    MaskOf(FilterPhase::kDataLine) - 1 + MaskOf(FilterPhase::kCommit) +
    MaskOf(FilterPhase::kRset) + MaskOf(FilterPhase::kQuit) +
    MaskOf(FilterPhase::kNoop);

// Has parent connect to a milter's socket (MilterConnect).  `done` is called
// later, unless the room ends; the descriptor does not block.
using ConnectMilter =
    std::function<void(const std::string& filter,
                       absl::AnyInvocable<void(absl::StatusOr<OwnedFd>)> done)>;

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_FILTERS_FILTER_H_
