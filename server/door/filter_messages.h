// What receive and relay say to filters and hear from it: decisions, events,
// the text of messages on its way through (smtpd-filters(7)).
#ifndef HOLDFAST_SERVER_DOOR_FILTER_MESSAGES_H_
#define HOLDFAST_SERVER_DOOR_FILTER_MESSAGES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "protocol/filter_words.h"
#include "protocol/ids.h"

namespace holdfast {

// ---- filters -> receive, relay

// What the filters of a `listen` or a relay action want to hear; sent for each
// such filter when the door is new and whenever it changes.  Until a filter's
// first FilterWants has come, nobody knows: sessions wait before the banner.
struct FilterWants {
  static constexpr uint16_t kType = 60;
  std::string filter;   // name in Config::filters
  uint32_t phases = 0;  // those to be asked (MaskOf(FilterPhase))
  uint32_t in = 0;      // events of smtp-in (MaskOf(FilterEvent))
  uint32_t out = 0;     // events of smtp-out
  template <class A>
  void Fields(A& a) {
    a(filter, phases, in, out);
  }
};

// The answer to a FilterQuestion.
struct FilterDecision {
  static constexpr uint16_t kType = 61;
  enum class Verdict : uint8_t {
    kProceed = 1,
    kJunk = 2,        // as kProceed; mark message or session
    kReject = 3,      // `text` is the reply: "4xx ..." or "5xx ..."
    kDisconnect = 4,  // `text`, then the end of the session
    kRewrite = 5,     // as kProceed, with `text` as the command's argument
    kDiscard = 6,     // milters: answer as if it were taken, and forget it
  };
  SessionId session{};
  uint64_t question = 0;
  Verdict verdict = Verdict::kReject;
  std::string text;
  // At commit, by milters: the envelope is to be changed.  Addresses are in
  // SMTP form ("<joe@example.org>").
  bool changes_sender = false;
  std::string sender;
  std::vector<std::string> remove_recipients;
  std::vector<std::string> add_recipients;
  bool quarantine = false;  // accept, and hold in the queue
  std::string reason;       // of quarantine, for the log
  template <class A>
  void Fields(A& a) {
    a(session, question, verdict, text, changes_sender, sender);
    a(remove_recipients, add_recipients, quarantine, reason);
  }
};

// ---- receive, relay -> filters

// A session that passes `filter` begins.  First; its link-connect is this
// frame.
struct FilterSession {
  static constexpr uint16_t kType = 62;
  SessionId session{};
  bool outgoing = false;  // smtp-out: events only
  std::string filter;
  absl::Time at;
  std::string rdns;    // as link-connect has it: "<unknown>" if there is none
  std::string fcrdns;  // "pass", "fail", "error"
  // "192.0.2.1:25", "[2001:db8::1]:25" or "unix:/path".
  std::string source, destination;
  template <class A>
  void Fields(A& a) {
    a(session, outgoing, filter, at, rdns, fcrdns, source, destination);
  }
};

// The session is over: its link-disconnect.  Questions that are open are not
// answered any more, text on its way is dropped.
struct FilterSessionEnded {
  static constexpr uint16_t kType = 63;
  SessionId session{};
  absl::Time at;
  template <class A>
  void Fields(A& a) {
    a(session, at);
  }
};

// An event that FilterWants named, but for link-connect, link-disconnect,
// filter-response and filter-report.  `fields` in the order of version 0.7.
struct FilterReport {
  static constexpr uint16_t kType = 64;
  SessionId session{};
  absl::Time at;
  FilterEvent event{};
  std::vector<std::string> fields;
  template <class A>
  void Fields(A& a) {
    a(session, at, event, fields);
  }
};

// Asked for the phases that FilterWants named but for data-line; at most one is
// open in a session.  Answered by FilterDecision.
struct FilterQuestion {
  static constexpr uint16_t kType = 65;
  SessionId session{};
  uint64_t question = 0;
  absl::Time at;
  FilterPhase phase{};
  // Identity, argument of AUTH (secret: never logged), address without <>;
  // empty for the others, connect too (FilterSession has it).
  std::string argument;
  // MAIL and RCPT: the parameters behind the address, as they came.
  std::string parameters;
  template <class A>
  void Fields(A& a) {
    a(session, question, at, phase, argument, parameters);
  }
};

// ---- both ways: the text of a message, if FilterWants has data-line

// Stored text: lines end with LF, dots are not stuffed; cut anywhere.  Begins
// behind the 354, with our own header fields.  `end`: there is nothing more;
// without it the text is given up by FilterTextDropped.
//
// Credits: neither side has more than kFilterWindow octets on its way that the
// other has not said to have taken (FilterTextTaken).
inline constexpr size_t kFilterWindow = 64 << 10;
struct FilterText {
  static constexpr uint16_t kType = 66;
  SessionId session{};
  std::string bytes;
  bool end = false;
  template <class A>
  void Fields(A& a) {
    a(session, bytes, end);
  }
};
struct FilterTextTaken {
  static constexpr uint16_t kType = 67;
  SessionId session{};
  uint32_t bytes = 0;
  template <class A>
  void Fields(A& a) {
    a(session, bytes);
  }
};

// From receive: the message is given up, the session goes on; text for it that
// is under way back is to be ignored up to FilterTextDropped of filters, which
// is the answer.  From filters, unasked: the filters could not do it; `reply`
// is what the client hears at the end of the message.
struct FilterTextDropped {
  static constexpr uint16_t kType = 68;
  SessionId session{};
  std::string reply;  // "451 ...", "421 ..."; empty in an answer
  template <class A>
  void Fields(A& a) {
    a(session, reply);
  }
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_DOOR_FILTER_MESSAGES_H_
