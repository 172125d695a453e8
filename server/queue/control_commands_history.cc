#include "server/queue/control_commands_history.h"

#include <string>
#include <utility>
#include <vector>

#include "server/queue/control_read.h"
#include "storage/history_text.h"

namespace holdfast {
namespace {

// Rows of a read; each is of some kilobytes at most, so that a page fits one
// piece of output.
constexpr size_t kPage = 64;

EnvelopeId Before(EnvelopeId id) {
  return EnvelopeId{static_cast<uint64_t>(id) - 1};
}

class HistoryCommand : public ControlCommand,
                       public std::enable_shared_from_this<HistoryCommand> {
 public:
  HistoryCommand(const HistoryRequest& request, QueueServices* services,
                 ControlOutput* output)
      : request_(request),
        services_(services),
        output_(output),
        after_(Before(request.first)) {}

  void OnCredit() override {
    switch (state_) {
      case State::kQueued:
        return ReadQueued();
      case State::kEnded:
        return ReadEnded();
      case State::kDone:
        return End();
    }
  }

 private:
  // In this order: one that ends meanwhile is told twice rather than never.
  enum class State { kQueued, kEnded, kDone };
  using Rows = std::vector<HistoryRow>;
  struct Queued {
    std::vector<QueuedHistory> rows;
    bool more = false;
  };

  void ReadEnded() {
    ReadForCommand(
        services_, weak_from_this(),
        [first = after_, after = serial_,
         last = request_.last](const QueueView& view) {
          return view.History(first, after, last, kPage);
        },
        [](HistoryCommand& self, absl::StatusOr<Rows> rows) {
          self.OnEnded(std::move(rows));
        });
  }

  void OnEnded(absl::StatusOr<Rows> rows) {
    if (!rows.ok()) return Fail(rows.status().message());
    std::string text;
    for (const HistoryRow& row : *rows) {
      text += HistoryLines(row, request_.json);
      after_ = row.envelope.id;
      serial_ = row.serial;
    }
    if (rows->size() < kPage) state_ = State::kDone;
    Say(std::move(text));
  }

  void ReadQueued() {
    ReadForCommand(
        services_, weak_from_this(),
        [after = after_, last = request_.last](const QueueView& view) {
          Queued queued;
          queued.rows =
              ReadQueuedHistory(view, after, last, kPage, &queued.more);
          return queued;
        },
        [](HistoryCommand& self, absl::StatusOr<Queued> queued) {
          self.OnQueued(std::move(queued));
        });
  }

  void OnQueued(absl::StatusOr<Queued> queued) {
    if (!queued.ok()) return Fail(queued.status().message());
    std::string text;
    for (const QueuedHistory& one : queued->rows) {
      after_ = one.envelope.id;
      text += HistoryLines(one, services_->InFlightSince(after_).has_value(),
                           request_.json);
    }
    if (!queued->more) {
      state_ = State::kEnded;
      after_ = request_.first;
    }
    Say(std::move(text));
  }

  void Say(std::string text) {
    if (text.empty()) return OnCredit();
    found_ = true;
    output_->Text(std::move(text));
  }

  void End() {
    if (!found_) return Fail("nothing is known of that");
    output_->Done({});
  }

  void Fail(absl::string_view error) {
    ControlDone done;
    done.ok = false;
    done.error = std::string(error);
    output_->Done(done);
  }

  const HistoryRequest request_;
  QueueServices* const services_;
  ControlOutput* const output_;
  State state_ = State::kQueued;
  EnvelopeId after_;
  uint64_t serial_ = 0;
  bool found_ = false;
};

}  // namespace

std::shared_ptr<ControlCommand> MakeHistoryCommand(
    const HistoryRequest& request, QueueServices* services,
    ControlOutput* output) {
  return std::make_shared<HistoryCommand>(request, services, output);
}

}  // namespace holdfast
