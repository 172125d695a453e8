// What the rooms that have SMTP sessions want of `filters`: what its filters
// wish to hear, and for each session its events, questions and text.
#ifndef HOLDFAST_SERVER_FILTER_CLIENT_FILTER_CLIENT_H_
#define HOLDFAST_SERVER_FILTER_CLIENT_FILTER_CLIENT_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/door/door.h"
#include "server/door/filter_messages.h"
#include "server/loop/event_loop.h"

namespace holdfast {

// Above this, what `filters` has not taken yet keeps filtered sessions from
// going on.
inline constexpr size_t kMaxFilterBacklog = 1 << 20;
// What a client hears at the end of a message that was lost with `filters`.
inline constexpr char kFiltersLost[] = "421 4.3.0 Temporary Error";

class FilterClient;

// Who has a link.  Both are called from the door; the link may be dropped
// inside.
class FilteredSessionOwner {
 public:
  virtual ~FilteredSessionOwner() = default;
  // Text has come back.  To be followed by TookText(); `end`: it is complete.
  virtual void OnFilterText(absl::string_view bytes, bool end) = 0;
  // TextRoom() has grown.
  virtual void OnFilterTextRoom() = 0;
  // The text under way is given up: `reply` ("451 ...") is what the client
  // hears at its end.
  virtual void OnFilterTextFailed(const std::string& reply) = 0;
};

// One session as `filters` knows it.  Dropping it is its link-disconnect.
class FilteredSession {
 public:
  ~FilteredSession();
  FilteredSession(const FilteredSession&) = delete;
  FilteredSession& operator=(const FilteredSession&) = delete;

  // What is wanted now.
  const FilterWants& wants() const { return wants_; }
  bool Wants(FilterPhase phase) const {
    return (wants_.phases & MaskOf(phase)) != 0;
  }
  bool Wants(FilterEvent event) const {
    return ((outgoing_ ? wants_.out : wants_.in) & MaskOf(event)) != 0;
  }
  // The room that knew this session is gone: nothing of it gets anywhere.
  bool lost() const { return lost_; }
  // Nobody is to hear of text any more.
  void ForgetOwner() { owner_ = nullptr; }

  // Drops what nobody wants.
  void Report(FilterEvent event, std::vector<std::string> fields);

  // One at a time.  `done` is called once, later; with null if `filters` is
  // gone (at once, if it is already).  Not any more once the link is dropped.
  using Decided = absl::AnyInvocable<void(const FilterDecision*)>;
  void Ask(FilterPhase phase, std::string argument, std::string parameters,
           Decided done);

  // ---- The text of a message

  // How much more may be sent now; at most kFilterWindow.
  size_t TextRoom() const { return kFilterWindow - sent_untaken_; }
  // The first begins a text, `end` completes it.
  void SendText(std::string bytes, bool end);
  // So much of what came back has been used.
  void TookText(size_t bytes);
  // The text under way, if any, is given up: the session goes on.
  void DropText();
  // The same, and the session ends at once: that says all.
  void ForgetText() {
    text_ = Text::kNone;
    returned_untaken_ = 0;
  }
  bool text_open() const { return text_ != Text::kNone; }

 private:
  friend class FilterClient;
  enum class Text : uint8_t {
    kNone,
    kOpen,   // more will be sent
    kEnded,  // all was sent, not all is back
  };

  FilteredSession(FilterClient* client, FilteredSessionOwner* owner,
                  const FilterSession& session, const FilterWants& wants);
  void OnWants(const FilterWants& wants) { wants_ = wants; }
  void OnDecision(const FilterDecision& decision);
  // False if it is not what a sane peer would say.
  bool OnText(const FilterText& text);
  bool OnTaken(const FilterTextTaken& taken);
  void OnDropped(const FilterTextDropped& dropped);
  void OnLost();
  void FailText(const std::string& reply);

  FilterClient* const client_;
  FilteredSessionOwner* owner_;
  const SessionId id_;
  const bool outgoing_;
  FilterWants wants_;
  bool lost_ = false;
  uint64_t question_ = 0;  // the last
  Decided decided_;        // set: it is open
  Text text_ = Text::kNone;
  size_t sent_untaken_ = 0;
  size_t returned_untaken_ = 0;
  uint32_t open_drops_ = 0;  // ours, not answered yet
};

// Used on the loop's thread.  Outlives its links.
class FilterClient {
 public:
  // `room`: ours, for the log.  `on_wants`: Wants() has changed.  `on_taken`:
  // MayGoOn() holds again.  `on_broken`: what `filters` said makes no sense,
  // which the log has; nobody makes another door between two rooms that live,
  // so that ours is to be begun anew.  Each may be null.
  FilterClient(EventLoop* loop, std::string room,
               std::function<void()> on_wants, std::function<void()> on_taken,
               std::function<void()> on_broken);

  // A door, the first or after a restart of `filters`.
  void SetDoor(std::unique_ptr<Door> door);
  bool connected() const { return door_ != nullptr; }

  // What `filter` wants; null while that is not known: no session may begin.
  const FilterWants* Wants(const std::string& filter) const;

  // Begins a session; its time is filled in here.  Null if Wants() is.
  std::shared_ptr<FilteredSession> Begin(FilterSession session,
                                         FilteredSessionOwner* owner);

  // What waits for `filters` to take it.
  size_t backlog() const { return door_ == nullptr ? 0 : door_->backlog(); }
  // False: nothing more is to be made for it now; on_taken follows.
  bool MayGoOn();

 private:
  friend class FilteredSession;

  void OnFrame(Frame& frame);
  void OnWants(const FilterWants& wants);
  void Lose();
  template <class Message>
  void Send(const Message& message) {
    if (door_ != nullptr) door_->Send(message);
  }
  std::shared_ptr<FilteredSession> Find(SessionId id) const;
  void Check(bool sane, uint16_t type);
  void End(FilteredSession* link);

  EventLoop* const loop_;
  const std::string room_;
  const std::function<void()> on_wants_;
  const std::function<void()> on_taken_;
  const std::function<void()> on_broken_;
  std::unique_ptr<Door> door_;
  std::unique_ptr<Door> closed_door_;  // until nobody is in its callbacks
  uint64_t generation_ = 0;            // of door_
  bool waits_ = false;                 // for the backlog to fall
  absl::flat_hash_map<std::string, FilterWants> wants_;
  absl::flat_hash_map<SessionId, std::weak_ptr<FilteredSession>> links_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_FILTER_CLIENT_FILTER_CLIENT_H_
