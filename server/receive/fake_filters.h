// The room `filters` as `receive` sees it, for tests: writes down what it
// hears, decides as it is told to, and gives text back as it came or changed.
#ifndef HOLDFAST_SERVER_RECEIVE_FAKE_FILTERS_H_
#define HOLDFAST_SERVER_RECEIVE_FAKE_FILTERS_H_

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/door/filter_messages.h"
#include "server/loop/fake_event_loop.h"
#include "server/receive/receive_room.h"

namespace holdfast {

class FakeFilters {
 public:
  static constexpr uint32_t kAllPhases = (uint32_t{1} << kFilterPhases) - 1;

  FakeFilters(FakeEventLoop* loop, ReceiveRoom* room)
      : loop_(loop), room_(room) {}

  void Connect() {
    auto [ours, theirs] = MakeDoorPair(loop_);
    door_ = std::move(theirs);
    door_->SetCallbacks([this](Frame& frame) { OnFrame(frame); },
                        [](absl::Status) {});
    room_->OnDoor({.peer = Room::kFilters}, std::move(ours));
    loop_->RunReady();
  }
  void Want(uint32_t phases, uint32_t in = 0, const char* filter = "f") {
    FilterWants wants;
    wants.filter = filter;
    wants.phases = phases;
    wants.in = in;
    Send(wants);
  }
  void Die() {
    door_.reset();
    loop_->RunReady();
  }
  Door* door() { return door_.get(); }
  // How much text may go back now.
  size_t credit() const { return credit_; }

  template <class Message>
  void Send(const Message& message) {
    door_->Send(message);
    if (!inside_) loop_->RunReady();
  }
  // Answers the last question.
  void Decide(FilterDecision decision) {
    decision.session = question.session;
    decision.question = question.question;
    Send(decision);
  }
  // Text comes back, as much as there is credit for; `end`: that is all.
  void Return(absl::string_view bytes, bool end) {
    returning_.append(bytes.data(), bytes.size());
    ends_ = end;
    ReturnMore();
  }
  void ReturnMore() {
    do {
      FilterText back;
      back.session = session;
      back.bytes = returning_.substr(0, credit_);
      returning_.erase(0, back.bytes.size());
      credit_ -= back.bytes.size();
      back.end = ends_ && returning_.empty();
      if (back.bytes.empty() && !back.end) return;
      if (back.end) ends_ = false;
      Send(back);
    } while (!returning_.empty() && credit_ > 0);
  }
  void Take(size_t bytes) {
    FilterTextTaken taken;
    taken.session = session;
    taken.bytes = static_cast<uint32_t>(bytes);
    Send(taken);
  }
  void Drop(const std::string& reply) {
    FilterTextDropped dropped;
    dropped.session = session;
    dropped.reply = reply;
    Send(dropped);
  }

  // Null: questions stay open.
  std::function<FilterDecision(const FilterQuestion&)> decide =
      [](const FilterQuestion&) {
        FilterDecision decision;
        decision.verdict = FilterDecision::Verdict::kProceed;
        return decision;
      };
  // What each piece becomes; null: nothing comes back, nothing is taken.
  std::function<std::string(const FilterText&)> change =
      [](const FilterText& text) { return text.bytes; };

  SessionId session{};
  FilterQuestion question;
  std::vector<std::string> heard;
  std::string text;  // all that came
  bool text_ended = false;
  size_t untaken = 0;  // of it
  int drops = 0;

 private:
  void OnFrame(Frame& frame) {
    inside_ = true;
    Dispatch<FilterSession, FilterSessionEnded, FilterReport, FilterQuestion,
             FilterText, FilterTextTaken, FilterTextDropped>(
        frame, [this](const auto& message) { On(message); });
    inside_ = false;
  }
  void On(const FilterSession& begins) {
    session = begins.session;
    heard.push_back(absl::StrCat("begin ", begins.filter, "|", begins.rdns, "|",
                                 begins.fcrdns, "|", begins.source, "|",
                                 begins.destination));
  }
  void On(const FilterSessionEnded&) { heard.push_back("end"); }
  void On(const FilterReport& report) {
    heard.push_back(absl::StrCat(FilterEventName(report.event), " ",
                                 absl::StrJoin(report.fields, "|")));
  }
  void On(const FilterQuestion& asked) {
    question = asked;
    heard.push_back(absl::StrCat("ask ", FilterPhaseName(asked.phase), " ",
                                 asked.argument));
    if (decide) Decide(decide(asked));
  }
  void On(const FilterText& piece) {
    text += piece.bytes;
    text_ended = piece.end;
    untaken += piece.bytes.size();
    if (!change) return;
    Take(std::exchange(untaken, 0));
    Return(change(piece), piece.end);
  }
  void On(const FilterTextTaken& taken) {
    credit_ += taken.bytes;
    ReturnMore();
  }
  void On(const FilterTextDropped&) {
    ++drops;
    credit_ = kFilterWindow;
    untaken = 0;
    returning_.clear();
    ends_ = false;
    Drop("");
  }

  FakeEventLoop* loop_;
  ReceiveRoom* room_;
  std::unique_ptr<Door> door_;
  size_t credit_ = kFilterWindow;
  std::string returning_;
  bool ends_ = false;
  bool inside_ = false;  // a frame
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RECEIVE_FAKE_FILTERS_H_
