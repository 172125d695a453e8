// What `parent` and the other rooms say to each other.  `parent` treats
// everything it hears as hostile.
#ifndef HOLDFAST_SERVER_DOOR_PARENT_MESSAGES_H_
#define HOLDFAST_SERVER_DOOR_PARENT_MESSAGES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "protocol/ids.h"
#include "server/door/room.h"

namespace holdfast {

// Whom a listener believes that verifies clients and has no `ca`.
inline constexpr char kSystemAuthorities[] =
    "/etc/ssl/certs/ca-certificates.crt";

// The exit status of queue when it can't do its work with this configuration,
// however often it is started: the server ends.
inline constexpr int kHopelessStatus = 78;

// parent -> room: the first message.  The configuration travels as the text of
// the files that it is made of, and every room parses it for itself: one
// parser, no second format.  lookup and queue get them as they are (but for the
// keys of the queue), the others one text without secrets (P7, FilesFor() in
// server/parent/config_loader.h).
// Table files travel apart (table_messages.h).
struct Start {
  static constexpr uint16_t kType = 1;
  struct File {
    std::string path;
    std::string contents;
    bool missing = false;
    std::string error;  // of the system, if missing
    template <class A>
    void Fields(A& a) {
      a(path, contents, missing, error);
    }
  };
  Room room = Room::kParent;
  uint32_t number = 0;  // 0 .. N-1 among its kind
  WorkerId worker{};    // of this start
  std::string config_path;
  std::vector<File> files;
  std::vector<std::string> definitions;  // -D
  std::string server_name;
  std::vector<std::string> local_addresses;
  bool syslog = false;
  bool verbose = false;
  bool privileged = false;          // change user and root after this message
  std::string user;                 // to change to
  std::string chroot;               // empty: none
  std::vector<std::string> paused;  // -P: "mta", "mda", "smtp"
  // Descriptors with the frame, in this order, each optional:
  bool has_control = false;  // queue: listening control socket
  bool has_enqueue = false;  // receive: listening enqueue socket
  uint32_t listening = 0;    // receive: one for each `listeners` entry
  // receive: which Config::listeners[i] each listening descriptor serves, and
  // the address it is bound to, as text ("127.0.0.1", "[::1]").
  struct Bound {
    uint32_t listener = 0;
    std::string address;
    uint16_t port = 0;
    template <class A>
    void Fields(A& a) {
      a(listener, address, port);
    }
  };
  std::vector<Bound> bound;
  std::string resolv_conf;  // relay: contents of the files
  std::string hosts;        // relay
  // receive: behind the listening sockets, the memory of ClientTable
  // (server/receive/client_table.h); `number` is the column.
  bool has_clients = false;
  // receive, relay: certificates and authorities, in PEM; keys: private keys.
  std::vector<File> tls_files;
  // queue: the keys of `queue encryption`; empty: none.
  std::string queue_key, queue_previous_key;
  template <class A>
  void Fields(A& a) {
    a(room, number, worker, config_path, files, definitions, server_name);
    a(local_addresses, syslog, verbose, privileged, user, chroot, paused);
    a(has_control, has_enqueue, listening, bound, resolv_conf, hosts);
    a(has_clients, tls_files, queue_key, queue_previous_key);
  }
};

// parent -> room, with one descriptor: a door to a peer.  A peer that was
// restarted comes with a new worker id; the old door is closed by its death.
struct NewDoor {
  static constexpr uint16_t kType = 2;
  Room peer = Room::kParent;
  uint32_t number = 0;
  WorkerId worker{};
  template <class A>
  void Fields(A& a) {
    a(peer, number, worker);
  }
};

// parent -> queue: these workers live; claims of any other are in doubt.  Sent
// once after the doors of the first start, and again after each death of a
// worker: `died` then names it.
struct Workers {
  static constexpr uint16_t kType = 3;
  std::vector<WorkerId> alive;
  template <class A>
  void Fields(A& a) {
    a(alive);
  }
};

// room -> parent: ready to work (doors may be given now).
struct Ready {
  static constexpr uint16_t kType = 4;
  template <class A>
  void Fields(A&) {}
};

// parent -> room: stop in good order within `seconds`; the room exits with 0.
struct StopRoom {
  static constexpr uint16_t kType = 5;
  uint32_t seconds = 30;
  template <class A>
  void Fields(A& a) {
    a(seconds);
  }
};

// parent -> room: `log verbose` (or brief).  queue -> parent: please tell all.
struct SetVerbose {
  static constexpr uint16_t kType = 6;
  bool verbose = false;
  template <class A>
  void Fields(A& a) {
    a(verbose);
  }
};

// lookup -> parent: what does the system know of this user?  Answered by
// smtpd-auth, never in parent itself.
struct UserQuestion {
  static constexpr uint16_t kType = 7;
  uint64_t question = 0;
  std::string name;
  template <class A>
  void Fields(A& a) {
    a(question, name);
  }
};
struct UserAnswer {
  static constexpr uint16_t kType = 8;
  enum class Result : uint8_t { kFound = 1, kNotFound = 2, kError = 3 };
  uint64_t question = 0;
  Result result = Result::kError;
  uint32_t uid = 0, gid = 0;
  std::string home;
  template <class A>
  void Fields(A& a) {
    a(question, result, uid, gid, home);
  }
};

// deliver -> parent: an agent for this user, please.  The answer carries the
// deliver end of the agent's door, or an error.
struct AgentRequest {
  static constexpr uint16_t kType = 9;
  uint64_t request = 0;
  std::string user;    // the agent runs as
  bool mbox = false;   // with the group of the mail folder
  std::string action;  // whose userbase knows the users
  // Whose home the answer is to carry; empty: nobody's.
  std::string mailbox_user;
  // It is to run the commands of `action`, and those of aliases.
  bool commands = false;
  template <class A>
  void Fields(A& a) {
    a(request, user, mbox, action, mailbox_user, commands);
  }
};
struct AgentReady {
  static constexpr uint16_t kType = 10;
  uint64_t request = 0;
  bool ok = false;
  bool permanent = false;  // no such user: the delivery fails for good
  std::string error;
  uint64_t agent = 0;  // its number, for AgentEnded
  std::string home;    // of AgentRequest::mailbox_user
  template <class A>
  void Fields(A& a) {
    a(request, ok, permanent, error, agent, home);
  }
};
// parent -> deliver: this agent has ended; what it has not answered is in
// doubt, and only now.
struct AgentEnded {
  static constexpr uint16_t kType = 11;
  uint64_t agent = 0;
  std::string how;  // "exited with status 1", "terminated; signal 9"
  template <class A>
  void Fields(A& a) {
    a(agent, how);
  }
};
// deliver -> parent: this agent does not answer any more; kill it.  AgentEnded
// follows.
struct AgentKill {
  static constexpr uint16_t kType = 12;
  uint64_t agent = 0;
  template <class A>
  void Fields(A& a) {
    a(agent);
  }
};

// relay -> parent: connect to the Unix socket of this action (its `lmtp`),
// without blocking.  The answer carries the connected descriptor, or an error
// in the words of the system.
struct LmtpConnect {
  static constexpr uint16_t kType = 13;
  uint64_t question = 0;
  std::string action;
  template <class A>
  void Fields(A& a) {
    a(question, action);
  }
};
struct LmtpConnected {
  static constexpr uint16_t kType = 14;
  uint64_t question = 0;
  bool ok = false;
  std::string error;
  template <class A>
  void Fields(A& a) {
    a(question, ok, error);
  }
};

// parent -> relay: these files have changed since Start.
struct ResolverFiles {
  static constexpr uint16_t kType = 15;
  std::string resolv_conf;
  std::string hosts;
  template <class A>
  void Fields(A& a) {
    a(resolv_conf, hosts);
  }
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_DOOR_PARENT_MESSAGES_H_
