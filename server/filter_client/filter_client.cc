#include "server/filter_client/filter_client.h"

#include <algorithm>
#include <utility>

#include "protocol/secret.h"
#include "server/log/log.h"

namespace holdfast {

// ---- One session

FilteredSession::FilteredSession(FilterClient* client,
                                 FilteredSessionOwner* owner,
                                 const FilterSession& session,
                                 const FilterWants& wants)
    : client_(client),
      owner_(owner),
      id_(session.session),
      outgoing_(session.outgoing),
      wants_(wants) {}

FilteredSession::~FilteredSession() { client_->End(this); }

void FilteredSession::Report(FilterEvent event,
                             std::vector<std::string> fields) {
  if (lost_ || !Wants(event)) return;
  FilterReport report;
  report.session = id_;
  report.at = client_->loop_->Now();
  report.event = event;
  report.fields = std::move(fields);
  client_->Send(report);
}

void FilteredSession::Ask(FilterPhase phase, std::string argument,
                          std::string parameters, Decided done) {
  if (lost_) return done(nullptr);
  FilterQuestion question;
  question.session = id_;
  question.question = ++question_;
  question.at = client_->loop_->Now();
  question.phase = phase;
  question.argument = std::move(argument);
  question.parameters = std::move(parameters);
  decided_ = std::move(done);
  client_->Send(question);
  if (phase == FilterPhase::kAuth) Wipe(&question.argument);
}

// An answer to what is not asked any more is nobody's.
void FilteredSession::OnDecision(const FilterDecision& decision) {
  if (decided_ == nullptr || decision.question != question_) return;
  std::exchange(decided_, nullptr)(&decision);
}

void FilteredSession::SendText(std::string bytes, bool end) {
  if (lost_) return;
  text_ = end ? Text::kEnded : Text::kOpen;
  sent_untaken_ += bytes.size();
  FilterText text;
  text.session = id_;
  text.bytes = std::move(bytes);
  text.end = end;
  client_->Send(text);
}

void FilteredSession::TookText(size_t bytes) {
  // What was dropped meanwhile counts no more.
  bytes = std::min(bytes, returned_untaken_);
  if (lost_ || bytes == 0) return;
  returned_untaken_ -= bytes;
  FilterTextTaken taken;
  taken.session = id_;
  taken.bytes = static_cast<uint32_t>(bytes);
  client_->Send(taken);
}

void FilteredSession::DropText() {
  if (text_ == Text::kNone) return;
  text_ = Text::kNone;
  sent_untaken_ = 0;
  returned_untaken_ = 0;
  if (lost_) return;
  ++open_drops_;
  FilterTextDropped dropped;
  dropped.session = id_;
  client_->Send(dropped);
}

bool FilteredSession::OnText(const FilterText& text) {
  if (open_drops_ > 0) return true;  // of the one that was dropped
  if (text_ == Text::kNone) return false;
  // What was not sent yet can't be through.
  if (text.end && text_ != Text::kEnded) return false;
  returned_untaken_ += text.bytes.size();
  if (returned_untaken_ > kFilterWindow) return false;
  if (text.end) {
    text_ = Text::kNone;
    sent_untaken_ = 0;
  }
  if (owner_ != nullptr) owner_->OnFilterText(text.bytes, text.end);
  return true;
}

bool FilteredSession::OnTaken(const FilterTextTaken& taken) {
  if (open_drops_ > 0 || text_ == Text::kNone) return true;
  if (taken.bytes > sent_untaken_) return false;
  sent_untaken_ -= taken.bytes;
  if (owner_ != nullptr) owner_->OnFilterTextRoom();
  return true;
}

// Without a reply it is the answer to ours; else theirs, which may have crossed
// ours on the way.
void FilteredSession::OnDropped(const FilterTextDropped& dropped) {
  if (open_drops_ > 0) {
    if (dropped.reply.empty()) --open_drops_;
  } else if (text_ != Text::kNone && !dropped.reply.empty()) {
    FailText(dropped.reply);
  }
}

void FilteredSession::FailText(const std::string& reply) {
  DropText();
  if (owner_ != nullptr) owner_->OnFilterTextFailed(reply);
}

void FilteredSession::OnLost() {
  lost_ = true;
  if (decided_ != nullptr) std::exchange(decided_, nullptr)(nullptr);
  if (text_ != Text::kNone) FailText(kFiltersLost);
}

// ---- All of them

FilterClient::FilterClient(EventLoop* loop, std::string room,
                           std::function<void()> on_wants,
                           std::function<void()> on_taken,
                           std::function<void()> on_broken)
    : loop_(loop),
      room_(std::move(room)),
      on_wants_(std::move(on_wants)),
      on_taken_(std::move(on_taken)),
      on_broken_(std::move(on_broken)) {}

void FilterClient::SetDoor(std::unique_ptr<Door> door) {
  if (door_ != nullptr) Lose();
  door_ = std::move(door);
  // An old door has nothing to say any more.
  const auto current = [this, generation = ++generation_] {
    return generation == generation_ && door_ != nullptr;
  };
  door_->SetCallbacks(
      [this, current](Frame& frame) {
        if (current()) OnFrame(frame);
      },
      [this, current](absl::Status) {
        if (current()) Lose();
      });
}

const FilterWants* FilterClient::Wants(const std::string& filter) const {
  const auto found = wants_.find(filter);
  return found == wants_.end() ? nullptr : &found->second;
}

std::shared_ptr<FilteredSession> FilterClient::Begin(
    FilterSession session, FilteredSessionOwner* owner) {
  const FilterWants* const wants = Wants(session.filter);
  if (wants == nullptr) return nullptr;
  session.at = loop_->Now();
  Send(session);
  std::shared_ptr<FilteredSession> link(
      new FilteredSession(this, owner, session, *wants));
  links_[session.session] = link;
  return link;
}

void FilterClient::End(FilteredSession* link) {
  if (link->lost_) return;
  // Its place may be another's already, who has the same number.
  const auto found = links_.find(link->id_);
  if (found != links_.end() && found->second.expired()) links_.erase(found);
  FilterSessionEnded ended;
  ended.session = link->id_;
  ended.at = loop_->Now();
  Send(ended);
}

bool FilterClient::MayGoOn() {
  if (backlog() < kMaxFilterBacklog) return true;
  if (!std::exchange(waits_, true)) {
    door_->WhenBelow(kMaxFilterBacklog, [this, generation = generation_] {
      if (generation != generation_) return;
      waits_ = false;
      if (on_taken_) on_taken_();
    });
  }
  return false;
}

std::shared_ptr<FilteredSession> FilterClient::Find(SessionId id) const {
  const auto found = links_.find(id);
  return found == links_.end() ? nullptr : found->second.lock();
}

void FilterClient::OnFrame(Frame& frame) {
  const uint16_t type = frame.type;
  const bool known =
      Dispatch<FilterWants>(frame,
                            [this](const FilterWants& m) { OnWants(m); }) ||
      Dispatch<FilterDecision>(frame,
                               [this](const FilterDecision& decision) {
                                 if (const auto link = Find(decision.session))
                                   link->OnDecision(decision);
                               }) ||
      Dispatch<FilterText>(frame,
                           [this, type](const FilterText& text) {
                             if (const auto link = Find(text.session))
                               Check(link->OnText(text), type);
                           }) ||
      Dispatch<FilterTextTaken>(frame,
                                [this, type](const FilterTextTaken& taken) {
                                  if (const auto link = Find(taken.session))
                                    Check(link->OnTaken(taken), type);
                                }) ||
      Dispatch<FilterTextDropped>(frame,
                                  [this](const FilterTextDropped& dropped) {
                                    if (const auto link = Find(dropped.session))
                                      link->OnDropped(dropped);
                                  });
  Check(known, type);
}

// Sessions that are under way hear of it, too: who died wants to be asked
// everything, so that it can refuse.
void FilterClient::OnWants(const FilterWants& wants) {
  wants_[wants.filter] = wants;
  for (const auto& [id, weak] : links_) {
    const auto link = weak.lock();
    if (link != nullptr && link->wants_.filter == wants.filter)
      link->OnWants(wants);
  }
  if (on_wants_) on_wants_();
}

void FilterClient::Check(bool sane, uint16_t type) {
  if (sane || door_ == nullptr) return;
  LogWarn("warn: %s: malformed message of type %d from filters", room_, type);
  Lose();
  if (on_broken_) on_broken_();
}

// Every session of it goes on without an answer.
void FilterClient::Lose() {
  closed_door_ = std::move(door_);
  ++generation_;
  waits_ = false;
  wants_.clear();
  for (auto& [id, weak] : std::exchange(links_, {})) {
    if (const auto link = weak.lock()) link->OnLost();
  }
  if (on_taken_) on_taken_();
}

}  // namespace holdfast
