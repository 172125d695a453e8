// What smtpctl and its other names say to `queue` over the control socket: the
// frames of protocol/control_frames.h, one request at a
// time on a connection.  The socket is 0666; the peer's credentials decide: uid
// 0 and the user smtpd runs as (when it was not started by root) may all.
#ifndef HOLDFAST_PROTOCOL_CONTROL_MESSAGES_H_
#define HOLDFAST_PROTOCOL_CONTROL_MESSAGES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "protocol/envelope.h"
#include "protocol/ids.h"

namespace holdfast {

// The first number a client sends; another: "incompatible smtpctl and smtpd".
inline constexpr uint32_t kControlVersion = 1;

// client -> queue: a command in words, as typed: {"show", "queue"}, with
// abbreviations already resolved.  What is answered depends on the command:
// lines of text (ControlText), then ControlDone.  The daemon formats, so that
// all of a command is in one place (server/queue/control_*.cc) and the client
// stays thin; what is in the store only is formatted by protocol/queue_listing
// for both.
struct ControlRequest {
  static constexpr uint16_t kType = 1;
  uint32_t version = kControlVersion;
  std::vector<std::string> words;
  template <class A>
  void Fields(A& a) {
    a(version, words);
  }
};

// queue -> client: a piece of output, whole lines.  The client answers each
// with ControlMore: that is the credit for the next, so that a slow reader of
// `show queue` neither fills memory nor holds a read transaction.
struct ControlText {
  static constexpr uint16_t kType = 2;
  std::string text;
  template <class A>
  void Fields(A& a) {
    a(text);
  }
};
struct ControlMore {
  static constexpr uint16_t kType = 3;
  template <class A>
  void Fields(A&) {}
};

// client -> queue: what a command takes in (`queue import`): answered by a
// ControlText each, which needs no ControlMore.  Empty: there is no more.
struct ControlData {
  static constexpr uint16_t kType = 5;
  std::string bytes;
  template <class A>
  void Fields(A& a) {
    a(bytes);
  }
};

// queue -> client: the end.
struct ControlDone {
  static constexpr uint16_t kType = 4;
  bool ok = true;
  // The commands that act on envelopes: how many.
  uint64_t count = 0;
  std::string error;  // for stderr; the client adds "smtpctl: "
  template <class A>
  void Fields(A& a) {
    a(ok, count, error);
  }
};

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_CONTROL_MESSAGES_H_
