#include "server/queue/deadline_server.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/log/log.h"
#include "server/queue/deadline_times.h"
#include "server/queue/delivery_log.h"
#include "server/queue/outcomes.h"
#include "storage/explained_envelope.h"

namespace holdfast {
namespace {

constexpr EnhancedStatus kDeliveryTimeExpired = {5, 47};
constexpr char kExpiredText[] = "Envelope expired";
// DELIVERBY, mode R and mode N.
constexpr char kTooLateText[] = "Delivery time expired";
constexpr char kContinuingText[] = "Delivery time expired, continuing";

const char* ExpiryText(bool by_wish) {
  return by_wish ? kTooLateText : kExpiredText;
}

// What is reported says more than the log: why it could not be delivered.
std::string WithReason(absl::string_view text, const std::string& reason) {
  if (reason.empty()) return std::string(text);
  return CutErrorLine(absl::StrCat(text, " (", reason, ")"));
}

}  // namespace

void DeadlineServer::Note(absl::Time when) {
  if (!running_ || when >= wake_at_) return;
  wake_at_ = when;
  const absl::Duration delay =
      std::clamp(when - p_.loop->Now(), absl::ZeroDuration(), kMaxSleep);
  wake_ = p_.loop->RunAfter(delay, [this] {
    wake_at_ = absl::InfiniteFuture();
    Serve();
  });
}

void DeadlineServer::Serve() {
  if (!running_ || serving_) return;
  serving_ = true;
  auto read = [now = p_.loop->Now()](const QueueView& view) {
    Due due;
    for (const DeadlineRow& row : view.Deadlines(now, kPage)) {
      due.any = true;
      absl::StatusOr<Envelope> e = FindExplained(view, row.envelope);
      if (e.ok()) due.envelopes.push_back(*std::move(e));
    }
    if (!due.any) due.next = view.FirstDeadline();
    return due;
  };
  ReadThenPost(
      p_.loop, p_.store, std::move(read),
      guard_.Wrap([this](absl::StatusOr<Due> due) { OnDue(std::move(due)); }));
}

void DeadlineServer::OnDue(absl::StatusOr<Due> due) {
  if (!running_) return;
  if (!due.ok()) {
    serving_ = false;
    LogWarn("warn: queue: cannot read deadlines: %s",
            std::string(due.status().message()));
    return Note(p_.loop->Now() + kTroublePause);
  }
  if (!due->any) {
    serving_ = false;
    return Note(due->next.value_or(absl::InfiniteFuture()));
  }
  Handle(std::move(due->envelopes), true);
}

void DeadlineServer::Look(EnvelopeId id) {
  auto read = [id](const QueueView& view) {
    std::vector<Envelope> found;
    absl::StatusOr<Envelope> e = FindExplained(view, id);
    if (e.ok()) found.push_back(*std::move(e));
    return found;
  };
  ReadThenPost(p_.loop, p_.store, std::move(read),
               guard_.Wrap([this](absl::StatusOr<std::vector<Envelope>> found) {
                 if (found.ok()) Handle(*std::move(found), false);
               }));
}

// An act that only sets when to look next.
ActOnEnvelope DeadlineServer::Retimed(const Envelope& envelope,
                                      absl::Time next) const {
  ActOnEnvelope act;
  act.envelope = envelope.id;
  act.act = ActOnEnvelope::Act::kWarn;
  act.due = envelope.last_bounce;
  act.next_deadline = next;
  return act;
}

ActOnEnvelope DeadlineServer::ActFor(const Envelope& envelope,
                                     std::string* text) {
  const absl::Time now = p_.loop->Now();
  if (FlyingEnvelope* flying = p_.in_flight->Find(envelope.id)) {
    flying->deadline = true;
    return Retimed(envelope, now + kFlyingAgain);
  }
  if (envelope.flags & (kFlagSuspended | kFlagHeld | kFlagMoving)) {
    return Retimed(envelope, now + kHeldAgain);
  }
  const DeadlineStep step =
      NextDeadlineStep(envelope, p_.config->bounce_warn, now);
  ActOnEnvelope act = Retimed(envelope, step.next);
  switch (step.what) {
    case DeadlineStep::What::kNothing:
      break;
    case DeadlineStep::What::kWarn:
      act.report = true;
      act.due = step.warned;
      act.status = envelope.status;
      act.error_line = envelope.error_line;
      if (step.by_wish) {
        act.status = {4, kDeliveryTimeExpired.code};
        act.error_line = kContinuingText;
      }
      break;
    case DeadlineStep::What::kExpire:
      act.act = ActOnEnvelope::Act::kExpire;
      act.report = NoticeOfFailure(envelope) == FailureNotice::kReport;
      act.status = kDeliveryTimeExpired;
      *text = ExpiryText(step.by_wish);
      act.error_line = WithReason(*text, envelope.error_line);
      // Should a worker have it by then, its outcome comes first.
      act.next_deadline = now + kFlyingAgain;
      break;
  }
  return act;
}

void DeadlineServer::Handle(std::vector<Envelope> envelopes, bool then_serve) {
  QueueBatch batch;
  struct Done {
    ActOnEnvelope::Act act;
    std::string text;
  };
  std::vector<Done> acts;
  for (const Envelope& e : envelopes) {
    std::string text;
    ActOnEnvelope act = ActFor(e, &text);
    acts.push_back({act.act, std::move(text)});
    batch.push_back(std::move(act));
  }
  p_.committer->Commit(
      std::move(batch),
      guard_.Wrap([this, then_serve, envelopes = std::move(envelopes),
                   acts = std::move(acts)](BatchResult result) {
        bool progress = false;
        for (size_t i = 0; i < envelopes.size(); ++i) {
          const absl::Status& status = result.operations[i].status;
          OnHandled(envelopes[i], acts[i].act, acts[i].text, status);
          // On a claimed one the act fails, but its deadline has moved.
          progress |= status.ok() || absl::IsFailedPrecondition(status);
        }
        if (!then_serve) return;
        serving_ = false;
        // Rows that nothing can be done about must not keep us busy.
        Note(p_.loop->Now() +
             (progress ? absl::ZeroDuration() : kTroublePause));
      }));
}

void DeadlineServer::OnHandled(const Envelope& envelope, ActOnEnvelope::Act act,
                               const std::string& text,
                               const absl::Status& status) {
  if (absl::IsFailedPrecondition(status)) {
    if (FlyingEnvelope* flying = p_.in_flight->Find(envelope.id)) {
      flying->deadline = true;
    }
  }
  if (!status.ok() || act != ActOnEnvelope::Act::kExpire) return;
  ++expired_;
  LogLine(LogLevel::kInfo,
          EndingLogLine(envelope, "Expire", text, p_.loop->Now()));
  const absl::string_view warning = WarningOf(NoticeOfFailure(envelope));
  if (!warning.empty()) LogLine(LogLevel::kWarning, warning);
}

}  // namespace holdfast
