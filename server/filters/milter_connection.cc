#include "server/filters/milter_connection.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/vis.h"

namespace holdfast {

MilterConnection::MilterConnection(EventLoop* loop, OwnedFd fd,
                                   absl::Duration timeout, Owner* owner)
    : loop_(loop),
      timeout_(timeout),
      owner_(owner),
      stream_(MakeStream(loop, fd.Release())) {
  stream_->SetCallbacks(
      {[this](absl::string_view bytes) { OnBytes(bytes); },
       [this](const absl::Status& status) { OnClosed(status); },
       [this] { OnDrained(); }});
  stream_->ResumeReading();
  Flush();
}

MilterConnection::~MilterConnection() {
  *alive_ = false;
  session_.Quit();
  if (!failed_ && !session_.output().empty()) stream_->Write(session_.output());
}

void MilterConnection::StartTime() {
  timer_ = loop_->RunAfter(timeout_, [this] { Fail("it does not answer"); });
}

void MilterConnection::Flush() {
  if (failed_) return;
  if (!session_.output().empty()) {
    stream_->Write(session_.output());
    session_.OutputTaken();
  }
  // Somebody waits for it: for an answer, or for it to read.
  if (!session_.ready() || !writable()) {
    StartTime();
  } else {
    timer_ = nullptr;
  }
}

void MilterConnection::OnBytes(absl::string_view bytes) {
  session_.Receive(bytes);
  TellOwner();
}

void MilterConnection::OnChange(MilterChange change) {
  StartTime();
  events_.push_back(std::move(change));
}

void MilterConnection::OnProgress() { StartTime(); }

void MilterConnection::OnDrained() {
  if (session_.ready()) timer_ = nullptr;
  if (!failed_) owner_->OnMilterWritable();
}

void MilterConnection::OnClosed(const absl::Status& status) {
  if (session_.over()) return;
  Fail(status.ok() ? "it has closed the connection"
                   : std::string(status.message()));
}

void MilterConnection::Fail(std::string why) {
  if (failed_) return;
  events_.push_back(Failed{std::move(why)});
  TellOwner();
}

// The owner may drop this at each step.
void MilterConnection::TellOwner() {
  const std::shared_ptr<bool> alive = alive_;
  while (*alive && !failed_ && !events_.empty()) {
    Event event = std::move(events_.front());
    events_.pop_front();
    if (auto* answer = std::get_if<MilterAnswer>(&event)) {
      if (session_.ready()) timer_ = nullptr;
      owner_->OnMilterAnswer(std::move(*answer));
    } else if (auto* change = std::get_if<MilterChange>(&event)) {
      owner_->OnMilterChange(std::move(*change));
    } else if (auto* broken = std::get_if<Failed>(&event)) {
      failed_ = true;
      timer_ = nullptr;
      owner_->OnMilterFailed(VisEncode(broken->why));
    } else {
      timer_ = nullptr;
      owner_->OnMilterReady();
    }
  }
}

}  // namespace holdfast
