// What `lookup` is asked beside where mail goes (receive_messages.h), and what
// it asks `parent` for.
#ifndef HOLDFAST_SERVER_DOOR_LOOKUP_MESSAGES_H_
#define HOLDFAST_SERVER_DOOR_LOOKUP_MESSAGES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "server/door/receive_messages.h"

namespace holdfast {

// ---- receive -> lookup

// A step of an AUTH exchange (RFC 4954).  `conversation` is the session's own
// number and the same for all steps; `first` begins it.  Answered by one
// AuthAnswer each.  What is in here is secret: never logged.
struct AuthStep {
  static constexpr uint16_t kType = 20;
  uint64_t question = 0;
  uint64_t conversation = 0;
  bool first = false;
  uint32_t listener = 0;  // index of Config::listeners: says which credentials
  // "PLAIN", "SCRAM-SHA-256", ... .  LOGIN comes as PLAIN: the session has
  // put user and password together.
  std::string mechanism;
  std::string response;  // of the client, decoded from base64
  std::string address;   // of the client: failures are slowed by source
  template <class A>
  void Fields(A& a) {
    a(question, conversation, first, listener, mechanism, response, address);
  }
};
struct AuthAnswer {
  static constexpr uint16_t kType = 21;
  enum class Result : uint8_t {
    kOk = 1,
    kFailed = 2,     // 535; user and password do not fit, whichever it is
    kTemporary = 3,  // 454: could not be checked now
    kChallenge = 4,  // SCRAM: send `challenge`, the client answers
    kMalformed = 5,  // 501
  };
  uint64_t question = 0;
  Result result = Result::kTemporary;
  std::string challenge;  // not encoded
  std::string username;   // kOk
  template <class A>
  void Fields(A& a) {
    a(question, result, challenge, username);
  }
};
// The exchange was given up.  No answer.
struct AuthForget {
  static constexpr uint16_t kType = 22;
  uint64_t conversation = 0;
  template <class A>
  void Fields(A& a) {
    a(conversation);
  }
};

// A question to a table that a listener names: `hostnames`, `senders`,
// `xclient`, `auth`.  No other table can be asked for through this (P7).
struct ListenerTableQuestion {
  static constexpr uint16_t kType = 23;
  // kScram: found means that all passwords of the listener's `auth` table are
  // SCRAM verifiers, so that SCRAM-SHA-256 can be offered.
  enum class Table : uint8_t {
    kHostnames = 1,
    kSenders = 2,
    kXclient = 3,
    kScram = 4,
  };
  uint64_t question = 0;
  uint32_t listener = 0;  // index of Config::listeners
  Table table = Table::kHostnames;
  // kHostnames: the local address; kXclient: the peer's; kSenders: the
  // authenticated user; kScram: nothing.
  std::string key;
  // kSenders: the sender's address; found means: this user may use it
  // (reference part 1, section 4.6).
  std::string sender;
  template <class A>
  void Fields(A& a) {
    a(question, listener, table, key, sender);
  }
};
struct ListenerTableAnswer {
  static constexpr uint16_t kType = 24;
  enum class Result : uint8_t { kFound = 1, kNotFound = 2, kError = 3 };
  uint64_t question = 0;
  Result result = Result::kError;
  std::string value;  // kHostnames: the name; kSenders: the first address of
                      // the list, for masquerading
  template <class A>
  void Fields(A& a) {
    a(question, result, value);
  }
};

// ---- queue -> lookup

// `smtpctl explain`: why mail for this recipient goes where it goes.  Answered
// by one ExplainAnswer; nothing is sent, nothing is changed.
struct ExplainRequest {
  static constexpr uint16_t kType = 25;
  ExpandRequest about;   // its `question` is the number of the answer
  std::string listener;  // `via`: tag or name of a listener; empty: the first
  template <class A>
  void Fields(A& a) {
    a(about, listener);
  }
};
struct ExplainAnswer {
  static constexpr uint16_t kType = 26;
  uint64_t question = 0;
  bool ok = true;    // false: the question made no sense; `text` says why
  std::string text;  // lines for people, at most 1 MiB
  template <class A>
  void Fields(A& a) {
    a(question, ok, text);
  }
};

// `smtpctl update table NAME`: queue -> lookup, lookup -> parent (which opens
// the file again), and the answers back the same way.
struct UpdateTable {
  static constexpr uint16_t kType = 27;
  uint64_t question = 0;
  std::string name;
  template <class A>
  void Fields(A& a) {
    a(question, name);
  }
};
struct TableUpdated {
  static constexpr uint16_t kType = 28;
  uint64_t question = 0;
  bool ok = false;
  std::string error;  // the old contents are still in use
  uint64_t entries = 0;
  template <class A>
  void Fields(A& a) {
    a(question, ok, error, entries);
  }
};

// lookup -> queue, when the door is new: what commands in envelopes are sealed
// with (server/queue/command_seal.h).
struct SealKey {
  static constexpr uint16_t kType = 29;
  std::string key;
  template <class A>
  void Fields(A& a) {
    a(key);
  }
};

// ---- lookup -> parent, beside UserQuestion (parent_messages.h)

// Is this the password of that system account?  Answered by smtpd-auth (PAM,
// or the shadow file where there is no PAM service "smtpd").
struct PasswordQuestion {
  static constexpr uint16_t kType = 30;
  uint64_t question = 0;
  std::string name;
  std::string password;
  std::string address;  // of the client, for PAM's rhost
  template <class A>
  void Fields(A& a) {
    a(question, name, password, address);
  }
};
struct PasswordAnswer {
  static constexpr uint16_t kType = 31;
  enum class Result : uint8_t { kOk = 1, kWrong = 2, kError = 3 };
  uint64_t question = 0;
  Result result = Result::kError;
  template <class A>
  void Fields(A& a) {
    a(question, result);
  }
};

// What stands in this user's ~/.forward?  Opened by smtpd-auth as the user,
// with the checks of the reference (part 1, section 3.6).
struct ForwardQuestion {
  static constexpr uint16_t kType = 32;
  uint64_t question = 0;
  std::string name;
  // As `lookup` knows the user (from a userbase table), or has_user false: the
  // system's user of that name.
  bool has_user = false;
  uint32_t uid = 0, gid = 0;
  std::string home;
  template <class A>
  void Fields(A& a) {
    a(question, name, has_user, uid, gid, home);
  }
};
inline constexpr size_t kMaxForwardBytes = 4095;
struct ForwardAnswer {
  static constexpr uint16_t kType = 33;
  enum class Result : uint8_t {
    kNone = 1,    // there is none
    kFound = 2,   // `contents`
    kUnsafe = 3,  // refused by the permission checks: permanent failure
    kError = 4,   // could not be found out: temporary failure
  };
  uint64_t question = 0;
  Result result = Result::kError;
  std::string contents;
  std::string error;  // for the log, with "warn: " or "info: "
  uint32_t uid = 0;   // whose it is (kFound)
  template <class A>
  void Fields(A& a) {
    a(question, result, contents, error, uid);
  }
};

// ---- relay -> lookup

// What does this action say at a next hop whose relay URL has this label?  Only
// tables that are `auth` of a relay action can be asked for (P7).  Never
// logged.
struct RelaySecretQuestion {
  static constexpr uint16_t kType = 34;
  uint64_t question = 0;
  std::string action;
  std::string label;
  template <class A>
  void Fields(A& a) {
    a(question, action, label);
  }
};
struct RelaySecretAnswer {
  static constexpr uint16_t kType = 35;
  enum class Result : uint8_t { kFound = 1, kNotFound = 2, kError = 3 };
  uint64_t question = 0;
  Result result = Result::kError;
  std::string user;
  std::string secret;  // the password; "Bearer TOKEN": XOAUTH2
  template <class A>
  void Fields(A& a) {
    a(question, result, user, secret);
  }
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_DOOR_LOOKUP_MESSAGES_H_
