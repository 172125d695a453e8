#include "server/relay/outcome_book.h"

#include <utility>

namespace holdfast {

void OutcomeBook::SetDoor(Door* door) {
  door_ = door;
  if (door_ == nullptr) return;
  WorkerState state;
  for (auto& [batch, page] : pages_) {
    state.batches.push_back(batch);
    page.sent = 0;
  }
  door_->Send(state);
  FlushLater();
}

void OutcomeBook::Begin(BatchId batch) { pages_[batch]; }

void OutcomeBook::Claimed(BatchId batch) {
  const auto it = pages_.find(batch);
  if (it == pages_.end()) return;
  it->second.claimed = true;
  FlushLater();
}

void OutcomeBook::Add(BatchId batch, const RelayVia& via,
                      WorkerOutcome outcome) {
  const auto it = pages_.find(batch);
  if (it == pages_.end()) return;
  OpenEntry(batch, &it->second, via).outcomes.push_back(std::move(outcome));
  FlushLater();
}

void OutcomeBook::Finish(BatchId batch, std::string destination_failure) {
  const auto it = pages_.find(batch);
  if (it == pages_.end()) return;
  Page& page = it->second;
  // What is to say of the whole goes with the last outcomes, if they are still
  // here.
  if (page.made.size() == page.sent) OpenEntry(batch, &page, RelayVia{});
  page.made.back().finished = true;
  page.made.back().destination_failure = std::move(destination_failure);
  page.finished = true;
  FlushLater();
}

void OutcomeBook::Forget(BatchId batch) { pages_.erase(batch); }

void OutcomeBook::Recorded(BatchId batch, uint32_t sequence) {
  const auto it = pages_.find(batch);
  if (it == pages_.end()) return;
  Page& page = it->second;
  for (size_t i = 0; i < page.sent; ++i) {
    if (page.made[i].sequence != sequence) continue;
    page.made.erase(page.made.begin() + static_cast<ptrdiff_t>(i));
    --page.sent;
    break;
  }
  if (page.finished && page.made.empty()) pages_.erase(it);
}

// The entry that is not sent yet and has the same columns, or a fresh one.
BatchOutcomes& OutcomeBook::OpenEntry(BatchId batch, Page* page,
                                      const RelayVia& via) {
  if (page->made.size() > page->sent) {
    BatchOutcomes& last = page->made.back();
    if (last.session == via.session && last.source == via.source &&
        last.relay == via.relay && last.tls == via.tls)
      return last;
  }
  BatchOutcomes& fresh = page->made.emplace_back();
  fresh.batch = batch;
  fresh.sequence = ++page->sequence;
  fresh.session = via.session;
  fresh.source = via.source;
  fresh.relay = via.relay;
  fresh.tls = via.tls;
  return fresh;
}

void OutcomeBook::FlushLater() {
  if (std::exchange(flush_due_, true)) return;
  loop_->AtTurnEnd([this, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired()) Flush();
  });
}

void OutcomeBook::Flush() {
  flush_due_ = false;
  if (door_ == nullptr) return;
  for (auto& [batch, page] : pages_)
    if (page.claimed)
      for (; page.sent < page.made.size(); ++page.sent)
        door_->Send(page.made[page.sent]);
}

}  // namespace holdfast
