#include "server/queue/move_sweep.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/log/log.h"
#include "server/queue/delivery_log.h"
#include "server/queue/store_calls.h"
#include "storage/queue_walk.h"

namespace holdfast {
namespace {

using Act = ActOnEnvelope::Act;

constexpr absl::Duration kFirstRetry = absl::Seconds(1);
constexpr absl::Duration kLastRetry = absl::Minutes(1);

// Of the room, whose loop they live on.
bool move_is_running = false;
uint64_t marked_moves = 0;
// The next try to give mail back; there is one move at a time.
EventLoop::Timer& NextTry() {
  static EventLoop::Timer* const timer = new EventLoop::Timer;
  return *timer;
}

struct Page {
  absl::Status status;
  std::vector<EnvelopeFacts> found;
};

// The next page of `walk`, on the loop.
template <class Done>
void ReadPage(QueueServices* services, std::shared_ptr<QueueWalk> walk,
              Done done) {
  ReadThenPost(
      services->loop(), services->store(),
      [walk, now = services->loop()->Now()](const QueueView& view) mutable {
        Page page;
        page.status = walk->Step(view, now, kMaxWalkRows, &page.found);
        return page;
      },
      [done = std::move(done)](absl::StatusOr<Page> page) mutable {
        if (page.ok()) return done(*std::move(page));
        done(Page{page.status(), {}});
      });
}

class Sweep : public std::enable_shared_from_this<Sweep> {
 public:
  Sweep(QueueServices* services, EnvelopeFilter filter, Act act,
        absl::AnyInvocable<void(SweepCounts)> done)
      : services_(services),
        act_(act),
        walk_(std::make_shared<QueueWalk>(std::move(filter))),
        done_(std::move(done)) {}

  void Next() {
    ReadPage(services_, walk_, [self = shared_from_this()](const Page& page) {
      if (!page.status.ok()) return self->End(page.status);
      for (const EnvelopeFacts& facts : page.found)
        self->found_.push_back(facts.envelope.id);
      self->CommitSlice();
    });
  }

 private:
  void CommitSlice() {
    QueueBatch batch;
    for (; !found_.empty() && batch.size() < QueueServices::kActSlice;
         found_.pop_front()) {
      ActOnEnvelope op;
      op.envelope = found_.front();
      op.act = act_;
      batch.push_back(std::move(op));
    }
    if (batch.empty()) return OnPageDone();
    services_->Commit(std::move(batch),
                      [self = shared_from_this()](BatchResult result) {
                        self->OnCommitted(result);
                      });
  }

  void OnCommitted(const BatchResult& result) {
    if (!result.status.ok()) return End(result.status);
    for (const OperationResult& one : result.operations) {
      if (one.status.ok()) {
        ++counts_.done;
      } else if (absl::IsFailedPrecondition(one.status)) {
        ++counts_.in_flight;
      } else if (!absl::IsNotFound(one.status)) {
        return End(one.status);
      }
      if (act_ != Act::kMoved) continue;
      for (const Envelope& e : one.envelopes)
        LogLine(LogLevel::kInfo,
                EndingLogLine(e, "Remove", "Moved into an archive",
                              services_->loop()->Now()));
    }
    CommitSlice();
  }

  void OnPageDone() {
    if (walk_->ended()) return End(absl::OkStatus());
    Next();
  }

  void End(const absl::Status& status) {
    counts_.status = status;
    done_(counts_);
  }

  QueueServices* const services_;
  const Act act_;
  const std::shared_ptr<QueueWalk> walk_;
  absl::AnyInvocable<void(SweepCounts)> done_;
  std::deque<EnvelopeId> found_;  // not yet acted on
  SweepCounts counts_;
};

// Is kept by its commits, and by its timer, until it is done.
class Return : public std::enable_shared_from_this<Return> {
 public:
  Return(QueueServices* services, absl::AnyInvocable<void(SweepCounts)> done)
      : services_(services), done_(std::move(done)) {}

  void Try() {
    SweepQueue(services_, MovingFilter(services_), Act::kMoveBack,
               [self = shared_from_this()](const SweepCounts& counts) {
                 self->OnSwept(counts);
               });
  }

 private:
  void OnSwept(const SweepCounts& counts) {
    // Afterwards operators may release what is left.
    LogInfo("queue export: %d envelopes stay here", counts.done);
    if (done_) {
      SetMoveRunning(false);
      std::exchange(done_, nullptr)(counts);
    }
    if (counts.status.ok()) return;
    LogWarn(
        "warn: queue export: mail stays marked (%s), to be given back in %s: "
        "%s",
        kMovingFilter, absl::FormatDuration(delay_), counts.status.message());
    TryLater();
  }

  void TryLater() {
    NextTry() =
        services_->loop()->RunAfter(delay_, [self = shared_from_this()] {
          if (marked_moves != self->marked_) return;  // these are another's
          // Another move has yet to find that it may not mark.
          if (MoveIsRunning()) return self->TryLater();
          self->Try();
        });
    delay_ = std::min(2 * delay_, kLastRetry);
  }

  QueueServices* const services_;
  absl::AnyInvocable<void(SweepCounts)> done_;  // until the first end
  const uint64_t marked_ = marked_moves;
  absl::Duration delay_ = kFirstRetry;
};

void FindNext(QueueServices* services, std::shared_ptr<QueueWalk> walk,
              absl::AnyInvocable<void(absl::StatusOr<bool>)> done) {
  ReadPage(services, walk,
           [services, walk, done = std::move(done)](const Page& page) mutable {
             if (!page.status.ok()) return done(page.status);
             if (!page.found.empty()) return done(true);
             if (walk->ended()) return done(false);
             FindNext(services, walk, std::move(done));
           });
}

}  // namespace

void SweepQueue(QueueServices* services, EnvelopeFilter filter, Act act,
                absl::AnyInvocable<void(SweepCounts)> done) {
  std::make_shared<Sweep>(services, std::move(filter), act, std::move(done))
      ->Next();
}

EnvelopeFilter MovingFilter(QueueServices* services) {
  return *EnvelopeFilter::Parse(kMovingFilter, services->loop()->Now());
}

void GiveBackMoved(QueueServices* services,
                   absl::AnyInvocable<void(SweepCounts)> done) {
  std::make_shared<Return>(services, std::move(done))->Try();
}

void FindMoved(QueueServices* services,
               absl::AnyInvocable<void(absl::StatusOr<bool>)> done) {
  FindNext(services, std::make_shared<QueueWalk>(MovingFilter(services)),
           std::move(done));
}

void NoteMarks() { ++marked_moves; }
void EndMoves() { NextTry().reset(); }

bool MoveIsRunning() { return move_is_running; }
void SetMoveRunning(bool running) { move_is_running = running; }

}  // namespace holdfast
