// queue <-> relay, queue <-> deliver, deliver <-> agent.
//
// One batch's way.  queue sends the batch and, once the claim is on the disk,
// BatchClaimed; the worker may connect and send meanwhile, but neither the
// final dot nor the rename into new/ goes before BatchClaimed.  The worker
// reports outcomes as they come (several in one BatchOutcomes, sent at the end
// of the turn) and says `finished` with the last.  queue answers each
// BatchOutcomes with OutcomesRecorded after the commit; until then the worker
// keeps them, and tells them again to a new queue (DoorOpened).
#ifndef HOLDFAST_SERVER_DOOR_WORKER_MESSAGES_H_
#define HOLDFAST_SERVER_DOOR_WORKER_MESSAGES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "protocol/body_info.h"
#include "protocol/envelope.h"
#include "protocol/ids.h"

namespace holdfast {

// One message of a batch with its recipients in this destination.
struct BatchMessage {
  MessageId message{};
  MailAddress sender;  // after `mail-from`
  DsnReturn dsn_ret = DsnReturn::kUnset;
  std::string dsn_envid;
  absl::Time created;
  BodyInfo body;
  // The stored bytes if body.chunks == 1; else empty: ask with BodyRequest.
  std::string stored;
  struct Recipient {
    EnvelopeId envelope{};
    MailAddress rcpt, dest;
    uint8_t dsn_notify = 0;
    std::string dsn_orcpt;
    std::string subaddress;    // deliver
    bool in_doubt = false;     // deliver: look for an existing file first
    std::string exec;          // deliver: Envelope::mda_exec
    std::string mailbox_user;  // Envelope::mda_user; of an `lmtp` action: RCPT
    template <class A>
    void Fields(A& a) {
      a(envelope, rcpt, dest, dsn_notify, dsn_orcpt, subaddress, in_doubt);
      a(exec, mailbox_user);
    }
  };
  std::vector<Recipient> recipients;
  // Of the envelopes, for all of them: EnvelopeFlag; MT-PRIORITY; DELIVERBY.
  uint32_t flags = 0;
  int8_t priority = 0;
  absl::Time deliver_by = absl::UnixEpoch();  // the epoch: no such wish
  bool deliver_by_trace = false;
  template <class A>
  void Fields(A& a) {
    a(message, sender, dsn_ret, dsn_envid, created, body, stored, recipients);
    a(flags, priority, deliver_by, deliver_by_trace);
  }
};

// Where a batch goes.  Batches may share a session if the RelayKey()
// (config/relay_key.h) of their targets is the same; else never.
struct RelayTarget {
  std::string action;  // name of the action; its options are read from Config
  // The recipient domain for MX lookup, or one relay URL of `host`, as it
  // stands in the table; of an `lmtp` action "lmtp://HOST:PORT" or
  // "lmtp:/PATH" (a Unix socket, connected by `parent`).
  std::string domain;
  bool smarthost = false;   // `domain` is a relay URL
  std::string backup_name;  // `backup`: our name among the MX; empty: not
  template <class A>
  void Fields(A& a) {
    a(action, domain, smarthost, backup_name);
  }
  friend bool operator==(const RelayTarget& a, const RelayTarget& b) {
    return a.action == b.action && a.domain == b.domain &&
           a.smarthost == b.smarthost && a.backup_name == b.backup_name;
  }
};

// ---- queue -> relay

struct RelayBatch {
  static constexpr uint16_t kType = 1;
  BatchId batch{};
  DestinationId destination{};
  RelayTarget target;
  std::vector<BatchMessage> messages;
  // Envelopes of the destination that are due and in no batch yet, as far as is
  // known: a hint that more connections will be wanted.
  uint32_t waiting = 0;
  template <class A>
  void Fields(A& a) {
    a(batch, destination, target, messages, waiting);
  }
};

// ---- queue -> deliver

struct DeliverBatch {
  static constexpr uint16_t kType = 2;
  BatchId batch{};
  DestinationId destination{};
  std::string action;
  std::string user;        // whose mailbox: the name that was looked up
  std::string run_as;      // `user` option of the action, else `user`
  std::string store_uuid;  // for file names
  std::string host;        // server name, for file names
  std::vector<BatchMessage> messages;
  template <class A>
  void Fields(A& a) {
    a(batch, destination, action, user, run_as, store_uuid, host, messages);
  }
};

// ---- queue -> relay, deliver

struct BatchClaimed {
  static constexpr uint16_t kType = 3;
  BatchId batch{};
  bool ok = true;  // false: forget the batch, nothing may be sent
  template <class A>
  void Fields(A& a) {
    a(batch, ok);
  }
};

struct OutcomesRecorded {
  static constexpr uint16_t kType = 4;
  BatchId batch{};
  uint32_t sequence = 0;
  template <class A>
  void Fields(A& a) {
    a(batch, sequence);
  }
};

// A piece of a large body: chunks [first, first + chunks.size()).
struct BodyPart {
  static constexpr uint16_t kType = 5;
  uint64_t question = 0;
  bool ok = false;  // false: the body can't be read; temporary failure
  std::vector<std::string> chunks;
  template <class A>
  void Fields(A& a) {
    a(question, ok, chunks);
  }
};

// ---- relay, deliver -> queue

// The worker asks for at most 8 chunks at a time: that is its credit.
struct BodyRequest {
  static constexpr uint16_t kType = 6;
  uint64_t question = 0;
  MessageId message{};
  uint32_t first = 0;
  uint32_t count = 0;
  template <class A>
  void Fields(A& a) {
    a(question, message, first, count);
  }
};

struct WorkerOutcome {
  EnvelopeId envelope{};
  enum class Result : uint8_t {
    kOk = 1,
    kTempFail = 2,
    kPermFail = 3,
    kLoop = 4,      // permanent, "Loop detected", 5.4.6
    kReturned = 5,  // was not tried: due as before
    kInDoubt = 6,   // deliver: the agent ended without an answer
  } result = Result::kReturned;
  EnhancedStatus status;  // relay: from the remote reply where it has one
  std::string text;       // remote reply or reason, raw: "250 2.0.0 queued"
  bool peer_dsn = false;  // the next hop takes care of success reports
  bool peer_deliver_by = false;  // the next hop was told of DELIVERBY
  // Of the attempt: when MAIL was said (or the connection begun), and how long
  // it was until this outcome was known.  The epoch: there was no attempt.
  absl::Time began = absl::UnixEpoch();
  absl::Duration took;
  template <class A>
  void Fields(A& a) {
    a(envelope, result, status, text, peer_dsn, peer_deliver_by, began, took);
  }
};

struct BatchOutcomes {
  static constexpr uint16_t kType = 7;
  BatchId batch{};
  uint32_t sequence = 0;
  SessionId session{};  // 0: there was none
  std::string source;   // our address, or "-" (relay)
  std::string relay;    // "192.0.2.9 (mx.example.net)" or the domain
  std::vector<WorkerOutcome> outcomes;
  // The worker has nothing more of this batch.
  bool finished = false;
  // relay: no host of the destination took a connection: the destination is
  // postponed as a whole; the outcomes are kReturned then and `failure` says
  // why ("Network error on destination MXs").
  std::string destination_failure;
  // relay: "TLSv1.3:TLS_AES_256_GCM_SHA384:256 verified" (or "unverified");
  // empty: in clear.
  std::string tls;
  template <class A>
  void Fields(A& a) {
    a(batch, sequence, session, source, relay, outcomes, finished);
    a(destination_failure, tls);
  }
};

// relay, deliver -> queue, first on every new door: batches that this worker
// still has.  What it has finished but not seen recorded follows as
// BatchOutcomes.
struct WorkerState {
  static constexpr uint16_t kType = 8;
  std::vector<BatchId> batches;
  template <class A>
  void Fields(A& a) {
    a(batches);
  }
};

// ---- the router (in queue): slots, asked for before connecting

// The hosts of one preference level, best first; the router picks.
struct SlotRequest {
  static constexpr uint16_t kType = 9;
  uint64_t question = 0;
  RelayTarget target;
  DestinationId destination{};
  std::string domain;  // relay domain or smarthost name, for limits
  std::string source;  // "" is unspecified
  struct Host {
    std::string address;  // "192.0.2.9"; IPv6 without brackets
    std::string name;     // MX name
    int32_t preference = 0;
    template <class A>
    void Fields(A& a) {
      a(address, name, preference);
    }
  };
  std::vector<Host> hosts;  // all levels, ordered
  template <class A>
  void Fields(A& a) {
    a(question, target, destination, domain, source, hosts);
  }
};
struct SlotAnswer {
  static constexpr uint16_t kType = 10;
  enum class Result : uint8_t {
    kGranted = 1,
    kLater = 2,    // limits or delays: ask again after `delay`
    kNoRoute = 3,  // all routes are disabled
  };
  uint64_t question = 0;
  Result result = Result::kNoRoute;
  uint64_t slot = 0;
  uint32_t host = 0;  // index into `hosts`
  absl::Duration delay;
  // kNoRoute: what there is to say ("All routes to destination blocked").
  std::string failure;
  template <class A>
  void Fields(A& a) {
    a(question, result, slot, host, delay, failure);
  }
};
// The connection is up and greeted (the route works), or is over.
struct SlotReport {
  static constexpr uint16_t kType = 11;
  enum class Event : uint8_t {
    kReady = 1,   // reached READY: the route is proven
    kClosed = 2,  // after READY, or given up without fault of the route
    kFailed = 3,  // before READY: counts against the route
  };
  uint64_t slot = 0;
  Event event = Event::kClosed;
  std::string ptr;  // what the address is called; empty: not known
  template <class A>
  void Fields(A& a) {
    a(slot, event, ptr);
  }
};

// ---- deliver <-> agent

// deliver -> agent: one message for one mailbox; then its text in AgentText
// frames.  The agent writes it as it comes, and answers after the batch.
struct AgentDelivery {
  static constexpr uint16_t kType = 12;
  // kCommand: by a command, or into a file that an alias names.
  enum class Method : uint8_t { kMaildir = 1, kMbox = 2, kCommand = 3 };
  EnvelopeId envelope{};
  Method method = Method::kMaildir;
  // maildir: absolute folder, empty: ~/Maildir; mbox: unused, the agent knows
  // the mail folder.
  std::string path;
  std::string file_name;  // maildir: "<created>.<uuid>.<evpid>.<host>"
  std::string subaddress;
  std::string from;          // mbox: sender or MAILER-DAEMON
  std::string mailbox_user;  // the name that was looked up
  bool junk = false;         // maildir: `.Junk` if the headers say spam
  bool in_doubt = false;  // maildir: look for the file in new/ and cur/ first
  absl::Time created;
  // kCommand: "|command" or "/file"; empty: the action's own command, which
  // the agent knows from `parent`.
  std::string exec;
  MailAddress sender, rcpt, dest;  // kCommand
  template <class A>
  void Fields(A& a) {
    a(envelope, method, path, file_name, subaddress, from, mailbox_user, junk);
    a(in_doubt, created, exec, sender, rcpt, dest);
  }
};
struct AgentText {
  static constexpr uint16_t kType = 13;
  std::string bytes;
  bool last = false;
  // With `last`: the body can't be read to its end; the delivery fails.
  bool cancelled = false;
  template <class A>
  void Fields(A& a) {
    a(bytes, last, cancelled);
  }
};
// deliver -> agent: the claim is durable and the batch is complete: sync,
// rename, sync the folders, answer.
struct AgentCommit {
  static constexpr uint16_t kType = 14;
  uint64_t group = 0;
  template <class A>
  void Fields(A& a) {
    a(group);
  }
};
// agent -> deliver: the results of the group, in order of AgentDelivery.
struct AgentResults {
  static constexpr uint16_t kType = 15;
  uint64_t group = 0;
  struct One {
    EnvelopeId envelope{};
    bool ok = false;
    bool permanent = false;
    std::string text;  // of the error
    // Not ok, but the file may be there: the next attempt has to look for it.
    bool in_doubt = false;
    std::string kind;    // what the status of a command means (sysexits(3))
    bool plain = false;  // `text` is ours, not what a program said
    template <class A>
    void Fields(A& a) {
      a(envelope, ok, permanent, text, in_doubt, kind, plain);
    }
  };
  std::vector<One> results;
  template <class A>
  void Fields(A& a) {
    a(group, results);
  }
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_DOOR_WORKER_MESSAGES_H_
