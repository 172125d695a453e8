#include "server/filters/filter_program.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

absl::Status Wrong(absl::string_view what) {
  return absl::InvalidArgumentError(what);
}

}  // namespace

FilterProgram::FilterProgram(const Processor* processor,
                             FilterGreeting greeting,
                             const ProgramSurroundings* surroundings)
    : processor_(processor),
      greeting_(std::move(greeting)),
      surroundings_(surroundings),
      loop_(surroundings->loop) {
  start_timer_ = loop_->RunAfter(care().timeout, [this] {
    state_ = State::kDown;
    surroundings_->log(absl::StrCat("warn: filter ", name(),
                                    ": not started after ",
                                    absl::FormatDuration(care().timeout),
                                    "; until it is, ", Consequence()));
    surroundings_->changed();
  });
}

FilterProgram::~FilterProgram() = default;

std::string FilterProgram::Consequence() const {
  return care().accept_on_failure ? "sessions go on without it"
                                  : "its sessions are refused for now";
}

void FilterProgram::OnStarted(uint64_t number, OwnedFd io,
                              OwnedFd standard_error) {
  if (pipe_ != nullptr) GoDown();
  number_ = number;
  end_timer_ = nullptr;
  phases_ = events_in_ = events_out_ = 0;
  resumed_at_ = unasked_since_ = loop_->Elapsed();
  unasked_ = 0;
  pipe_ = std::make_unique<ProcessPipe>(loop_, std::move(io),
                                        static_cast<ProcessPipe::Owner*>(this));
  start_timer_ = loop_->RunAfter(care().timeout, [this] {
    Fail(
        absl::StrCat("not ready after ", absl::FormatDuration(care().timeout)));
  });
  AppendFilterGreeting(greeting_, pipe_->out());
  if (stderrs_.size() >= kMaxStderrs) stderrs_.pop_front();
  const auto place = stderrs_.insert(stderrs_.end(), nullptr);
  *place = std::make_unique<StderrLog>(
      loop_, std::move(standard_error), name(), surroundings_->log,
      [this, place] { stderrs_.erase(place); });
}

void FilterProgram::OnEnded(uint64_t number) {
  if (number != number_) return;
  end_timer_ = nullptr;
  // Parent has said how it ended.
  if (pipe_ != nullptr) GoDown();
}

// ---- What it says

bool FilterProgram::OnProcessLine(absl::string_view line) {
  const absl::StatusOr<FilterLine> parsed = ParseFilterLine(line);
  absl::Status status = parsed.status();
  if (status.ok()) {
    status = std::visit([this](const auto& l) { return this->On(l); }, *parsed);
  }
  if (!status.ok()) Fail(status.message());
  return pipe_ != nullptr;
}

void FilterProgram::OnProcessRead() {
  for (Client* const client : std::exchange(read_, {})) {
    client->read_ = false;
    client->OnTextRead();
  }
}

void FilterProgram::OnProcessLongLine() { Fail("said a line without end"); }

void FilterProgram::OnProcessClosed() {
  GoDown();
  // If it has ended, parent says so.
  end_timer_ = loop_->RunAfter(kTimeToEnd, [this] {
    surroundings_->log(absl::StrCat("warn: filter ", name(),
                                    ": closed its output and goes on; killed"));
    surroundings_->kill(name(), number_);
  });
}

void FilterProgram::OnProcessDrained() {
  UpdateBehind();
  while (pipe_ != nullptr && !text_queue_.empty() &&
         pipe_->backlog() < kMaxProcessBacklog) {
    Client* const client = text_queue_.front();
    text_queue_.pop_front();
    client->queued_ = false;
    client->OnTextRoom();
  }
}

absl::Status FilterProgram::On(const FilterRegistersEvents& line) {
  (line.outgoing ? events_out_ : events_in_) |= line.events;
  if (ready()) surroundings_->changed();
  return absl::OkStatus();
}

absl::Status FilterProgram::On(const FilterRegistersPhase& line) {
  phases_ |= MaskOf(line.phase);
  if (line.phase == FilterPhase::kCommit) answers_commit_ = true;
  if (ready()) surroundings_->changed();
  return absl::OkStatus();
}

absl::Status FilterProgram::On(const FilterRegistersReady&) {
  if (ready()) return absl::OkStatus();
  if (state_ == State::kDown)
    surroundings_->log(absl::StrCat("info: filter ", name(), ": ready again"));
  state_ = State::kReady;
  start_timer_ = nullptr;
  surroundings_->changed();
  return absl::OkStatus();
}

absl::Status FilterProgram::On(const FilterResult& line) {
  if (!ready()) return Wrong("answered before register|ready");
  Client* const client = Find(line.session, line.token);
  if (client == nullptr) return NoClient(line.session, line.text.size());
  const uint64_t phase = line.token & kPhaseBits;
  if (phase >= kFilterPhases) return Wrong("answered with an unknown token");
  if (FilterPhase(phase) == FilterPhase::kDataLine)
    return Wrong("answered data-line with filter-result");
  return client->OnResult(FilterPhase(phase), line.verdict, line.text);
}

absl::Status FilterProgram::On(const FilterDataline& line) {
  if (!ready()) return Wrong("answered before register|ready");
  Client* const client = Find(line.session, line.token);
  if (client == nullptr) return NoClient(line.session, line.line.size());
  if (FilterPhase(line.token & kPhaseBits) != FilterPhase::kDataLine)
    return Wrong("answered another phase with filter-dataline");
  return client->OnDataline(line.line);
}

absl::Status FilterProgram::On(const FilterSays& line) {
  if (!ready()) return Wrong("reported before register|ready");
  const auto found = clients_.find(line.session);
  if (found == clients_.end()) return NoClient(line.session, line.text.size());
  const absl::Status status = CountUnasked(line.text.size());
  if (status.ok()) found->second->OnSays(line.text);
  return status;
}

FilterProgram::Client* FilterProgram::Find(SessionId session,
                                           uint64_t token) const {
  const auto found = clients_.find(session);
  Client* client = found == clients_.end() ? nullptr : found->second;
  while (client != nullptr && client->token_ != (token & ~kPhaseBits))
    client = client->next_;
  return client;
}

absl::Status FilterProgram::NoClient(SessionId session, size_t bytes) {
  if (clients_.contains(session))
    return Wrong("answered with an unknown token");
  if (surroundings_->is_live(session))
    return Wrong("answered for a session that is not its own");
  return CountUnasked(bytes);  // a session that is gone
}

absl::Status FilterProgram::CountUnasked(size_t bytes) {
  const absl::Duration now = loop_->Elapsed();
  if (now - unasked_since_ >= absl::Minutes(1)) {
    unasked_since_ = now;
    unasked_ = 0;
  }
  // A line has more than its text.
  unasked_ += bytes + 64;
  if (unasked_ > kMaxUnasked) return Wrong("floods");
  return absl::OkStatus();
}

// ---- Sessions

bool FilterProgram::Add(Client* client, SessionId session, uint64_t token,
                        bool* first) {
  Client*& head = clients_[session];
  *first = head == nullptr;
  for (const Client* c = head; c != nullptr; c = c->next_) {
    if (c->token_ == token) return false;
  }
  client->session_ = session;
  client->token_ = token;
  client->next_ = std::exchange(head, client);
  return true;
}

void FilterProgram::Remove(Client* client) {
  const auto found = clients_.find(client->session_);
  if (found == clients_.end()) return;
  Client** link = &found->second;
  while (*link != nullptr && *link != client) link = &(*link)->next_;
  if (*link == nullptr) return;
  *link = client->next_;
  if (found->second == nullptr) clients_.erase(found);
  Answered(client);
  const auto strike = [client](auto& list) {
    list.erase(std::remove(list.begin(), list.end(), client), list.end());
  };
  if (std::exchange(client->queued_, false)) strike(text_queue_);
  if (std::exchange(client->read_, false)) strike(read_);
}

void FilterProgram::Await(Client* client) {
  if (client->waits_) return;
  if (spare_.empty()) spare_.emplace_back();
  client->waiting_ = spare_.begin();
  *client->waiting_ = {client, loop_->Elapsed()};
  waiting_.splice(waiting_.end(), spare_, spare_.begin());
  client->waits_ = true;
  if (answer_timer_ == nullptr) ArmAnswerTimer(care().timeout);
}

void FilterProgram::Answered(Client* client) {
  if (!std::exchange(client->waits_, false)) return;
  spare_.splice(spare_.begin(), waiting_, client->waiting_);
}

void FilterProgram::QueueText(Client* client) {
  if (!std::exchange(client->queued_, true)) text_queue_.push_back(client);
}

void FilterProgram::NoteTextRead(Client* client) {
  if (!std::exchange(client->read_, true)) read_.push_back(client);
}

void FilterProgram::HoldOutput(ptrdiff_t change) {
  held_output_ += static_cast<size_t>(change);
  if (change < 0) output_taken_ = true;
  if (pipe_ == nullptr) return;
  if (!paused_ && held_output_ > kMaxHeldOutput) {
    paused_ = true;
    pipe_->PauseReading();
    ArmHeldTimer();
    UpdateBehind();
  } else if (paused_ && held_output_ <= kMaxHeldOutput / 2) {
    paused_ = false;
    held_timer_ = nullptr;
    resumed_at_ = loop_->Elapsed();
    pipe_->ResumeReading();
    UpdateBehind();
  }
}

// What it says may be for a process that is not read from either, and waits for
// this one.
void FilterProgram::ArmHeldTimer() {
  output_taken_ = false;
  held_timer_ = loop_->RunAfter(care().timeout, [this] {
    if (!output_taken_) GiveTextsUp();
    ArmHeldTimer();
  });
}

void FilterProgram::GiveTextsUp() {
  std::vector<Client*> holders;
  for (const auto& [session, head] : clients_) {
    for (Client* client = head; client != nullptr; client = client->next_) {
      if (client->held_output() > 0) holders.push_back(client);
    }
  }
  if (holders.empty()) return;  // texts of a start before this
  std::sort(holders.begin(), holders.end(),
            [](const Client* a, const Client* b) {
              return a->held_output() > b->held_output();
            });
  size_t left = held_output_, count = 0;
  while (count < holders.size() && left > kMaxHeldOutput / 2)
    left -= holders[count++]->held_output();
  holders.resize(count);
  surroundings_->log(absl::StrCat("warn: filter ", name(),
                                  ": nothing of what it says was taken for ",
                                  absl::FormatDuration(care().timeout),
                                  "; messages refused for now: ", count));
  // They let go of it at the turn's end.
  for (Client* const client : holders) client->GiveTextUp();
}

// ---- Supervision

void FilterProgram::CheckUnread() {
  UpdateBehind();
  if (pipe_->backlog() > kMaxUnreadReports)
    FailLater("does not read what it is told");
}

// While it is not read from, it may wait for us: then nobody waits for it, for
// what they say may be what lets it go on.
void FilterProgram::UpdateBehind() {
  const size_t limit = behind_ ? kMaxReportBacklog / 2 : kMaxReportBacklog;
  const bool behind = pipe_ != nullptr && !paused_ && pipe_->backlog() > limit;
  if (std::exchange(behind_, behind) != behind)
    surroundings_->behind(name(), behind);
}

void FilterProgram::ArmAnswerTimer(absl::Duration delay) {
  answer_timer_ = loop_->RunAfter(delay, [this] { OnAnswerTimer(); });
}

void FilterProgram::OnAnswerTimer() {
  answer_timer_ = nullptr;
  if (waiting_.empty()) return;
  // While we didn't listen it could not answer.
  const absl::Duration now = loop_->Elapsed();
  const absl::Duration since =
      paused_ ? now : std::max(waiting_.front().since, resumed_at_);
  const absl::Duration left = since + care().timeout - now;
  if (left > absl::ZeroDuration()) return ArmAnswerTimer(left);
  Fail(absl::StrCat("no answer for ", absl::FormatDuration(care().timeout)));
}

void FilterProgram::ArmUnreadTimer() {
  if (unread_timer_ != nullptr) return;
  taken_before_ = pipe_->taken();
  unread_timer_ = loop_->RunAfter(care().timeout, [this] {
    unread_timer_ = nullptr;
    if (pipe_->backlog() == 0) return;
    const bool heard =
        !paused_ && loop_->Elapsed() - resumed_at_ >= care().timeout;
    if (heard && pipe_->taken() == taken_before_)
      return Fail(absl::StrCat("has read nothing for ",
                               absl::FormatDuration(care().timeout)));
    ArmUnreadTimer();
  });
}

void FilterProgram::FailLater(const char* what) {
  if (fail_timer_ != nullptr) return;
  fail_timer_ =
      loop_->RunAfter(absl::ZeroDuration(), [this, what] { Fail(what); });
}

void FilterProgram::Fail(absl::string_view what) {
  surroundings_->log(absl::StrCat("warn: filter ", name(), ": ", what,
                                  "; killed: ", Consequence()));
  surroundings_->kill(name(), number_);
  GoDown();
}

void FilterProgram::GoDown() {
  state_ = State::kDown;
  for (EventLoop::Timer* timer : {&start_timer_, &answer_timer_, &unread_timer_,
                                  &held_timer_, &fail_timer_})
    *timer = nullptr;
  // Not dropped at once: this may run inside a call of the pipe.
  pipe_->Close();
  loop_->Post([pipe = std::move(pipe_)] {});
  paused_ = false;
  UpdateBehind();
  waiting_.clear();
  text_queue_.clear();
  read_.clear();
  std::vector<Client*> clients;
  for (const auto& [session, head] : std::exchange(clients_, {})) {
    for (Client* client = head; client != nullptr; client = client->next_)
      clients.push_back(client);
  }
  for (Client* const client : clients) {
    client->waits_ = client->queued_ = client->read_ = false;
    client->NoteLost();
  }
  for (Client* const client : clients) client->OnLost();
  surroundings_->changed();
}

}  // namespace holdfast
