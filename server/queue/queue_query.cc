#include "server/queue/queue_query.h"

#include <algorithm>
#include <utility>

namespace holdfast {

struct QueueQuery::Shared {
  Shared(EnvelopeFilter filter, std::vector<std::string> actions)
      : walk(std::move(filter), std::move(actions)) {}

  QueueWalk walk;
  Done done;             // empty: nobody waits
  absl::Duration asked;  // loop time at which the page was asked for
};

QueueQuery::QueueQuery(EventLoop* loop, QueueStore* store,
                       EnvelopeFilter filter,
                       std::vector<std::string> relay_actions)
    : loop_(loop),
      store_(store),
      shared_(std::make_shared<Shared>(std::move(filter),
                                       std::move(relay_actions))) {}

QueueQuery::~QueueQuery() { shared_->done = nullptr; }

absl::Status QueueQuery::Resume(absl::string_view cursor) {
  return shared_->walk.Resume(cursor);
}

std::string QueueQuery::Cursor() const { return shared_->walk.Cursor(); }

void QueueQuery::Next(size_t max_rows, Done done) {
  shared_->done = std::move(done);
  max_rows_ = busy_ ? std::min(max_rows, kBusyRows) : max_rows;
  if (pause_ == absl::ZeroDuration()) return Read();
  timer_ = loop_->RunAfter(pause_, [this] { Read(); });
}

void QueueQuery::Read() {
  shared_->asked = loop_->Elapsed();
  commits_ = store_->CommitCount();
  auto read = [this, loop = loop_, shared = shared_, now = loop_->Now(),
               max_rows = max_rows_](absl::StatusOr<const QueueView*> view) {
    absl::StatusOr<Page> page = Page();
    absl::Status status = view.status();
    if (view.ok())
      status = shared->walk.Step(**view, now, max_rows, &page->rows);
    page->ended = shared->walk.ended();
    if (!status.ok()) page = status;
    loop->Post([this, shared, page = std::move(page)]() mutable {
      // Without `done`, this is gone.
      if (!shared->done) return;
      busy_ = store_->CommitCount() != commits_;
      pause_ = std::min(
          (busy_ ? kBusyPauses : 1) * (loop_->Elapsed() - shared->asked),
          kMaxPause);
      std::exchange(shared->done, nullptr)(std::move(page));
    });
  };
  // Somebody looks at the screen for the first page.
  if (std::exchange(first_, false))
    store_->ReadLater(std::move(read));
  else
    store_->ReadIdly(std::move(read));
}

std::vector<std::string> RelayActions(const Config& config) {
  std::vector<std::string> names;
  for (const auto& [name, action] : config.actions)
    if (action.method == ActionMethod::kRelay) names.push_back(name);
  return names;
}

}  // namespace holdfast
