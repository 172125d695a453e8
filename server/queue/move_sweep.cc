#include "server/queue/move_sweep.h"

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

bool move_is_running = false;

class Sweep : public std::enable_shared_from_this<Sweep> {
 public:
  Sweep(QueueServices* services, EnvelopeFilter filter, Act act,
        absl::AnyInvocable<void(SweepCounts)> done)
      : services_(services),
        act_(act),
        walk_(std::make_shared<QueueWalk>(std::move(filter))),
        done_(std::move(done)) {}

  void Next() {
    ReadThenPost(
        services_->loop(), services_->store(),
        [walk = walk_,
         now = services_->loop()->Now()](const QueueView& view) mutable {
          Page page;
          page.status = walk->Step(view, now, kMaxWalkRows, &page.found);
          return page;
        },
        [self = shared_from_this()](absl::StatusOr<Page> page) {
          if (!page.ok()) return self->End(page.status());
          if (!page->status.ok()) return self->End(page->status);
          self->OnPage(std::move(page->found));
        });
  }

 private:
  struct Page {
    absl::Status status;
    std::vector<EnvelopeFacts> found;
  };

  void OnPage(std::vector<EnvelopeFacts> found) {
    QueueBatch batch;
    for (const EnvelopeFacts& facts : found) {
      ActOnEnvelope op;
      op.envelope = facts.envelope.id;
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
    OnPageDone();
  }

  void OnPageDone() {
    if (walk_->ended()) return End(absl::OkStatus());
    Next();
  }

  void End(const absl::Status& status) {
    counts_.status = status;
    if (done_) std::exchange(done_, nullptr)(counts_);
  }

  QueueServices* const services_;
  const Act act_;
  const std::shared_ptr<QueueWalk> walk_;
  absl::AnyInvocable<void(SweepCounts)> done_;
  SweepCounts counts_;
};

}  // namespace

void SweepQueue(QueueServices* services, EnvelopeFilter filter, Act act,
                absl::AnyInvocable<void(SweepCounts)> done) {
  std::make_shared<Sweep>(services, std::move(filter), act, std::move(done))
      ->Next();
}

bool MoveIsRunning() { return move_is_running; }
void SetMoveRunning(bool running) { move_is_running = running; }

}  // namespace holdfast
