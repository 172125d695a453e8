#include "storage/pending_batches.h"

#include <algorithm>
#include <utility>

namespace holdfast {
namespace {

// What a session's turn adds to what it may store.
constexpr size_t kQuantum = 64 << 10;

}  // namespace

std::optional<uint64_t> PendingBatches::SessionOf(const Entry& entry) const {
  for (const QueueOperation& operation : entry.batch.operations) {
    if (const auto* chunk = std::get_if<StoreChunk>(&operation))
      return chunk->session;
  }
  for (const MessageId id : entry.messages) {
    const auto order = order_.find(id);
    if (order != order_.end()) return order->second.session;
  }
  return std::nullopt;
}

void PendingBatches::Push(PendingBatch batch) {
  Entry entry;
  entry.number = next_number_++;
  for (const QueueOperation& operation : batch.operations) {
    entry.dirty_pages += DirtyPages(operation);
    if (const auto* chunk = std::get_if<StoreChunk>(&operation)) {
      entry.chunk_bytes += chunk->bytes.size();
      entry.messages.push_back(chunk->message);
    } else if (const auto* accept = std::get_if<AcceptMessage>(&operation)) {
      entry.messages.push_back(accept->message);
    } else if (const auto* drop = std::get_if<DropIncoming>(&operation)) {
      entry.messages.push_back(drop->message);
    }
  }
  std::sort(entry.messages.begin(), entry.messages.end());
  entry.messages.erase(
      std::unique(entry.messages.begin(), entry.messages.end()),
      entry.messages.end());
  entry.batch = std::move(batch);
  ++count_;

  const std::optional<uint64_t> session_id = SessionOf(entry);
  if (!session_id.has_value()) {
    ordinary_.push_back(std::move(entry));
    return;
  }
  for (const MessageId id : entry.messages) {
    const auto [order, fresh] = order_.try_emplace(id);
    if (fresh) order->second.session = *session_id;
    order->second.numbers.push_back(entry.number);
  }
  Session& session = sessions_[*session_id];
  if (session.entries.empty()) turns_.push_back(*session_id);
  session.entries.push_back(std::move(entry));
}

bool PendingBatches::IsNext(const Entry& entry) const {
  return std::all_of(entry.messages.begin(), entry.messages.end(),
                     [&](MessageId id) {
                       return order_.at(id).numbers.front() == entry.number;
                     });
}

void PendingBatches::Take(Entry entry, std::vector<Entry>* group,
                          uint64_t* dirty) {
  *dirty += entry.dirty_pages;
  --count_;
  group->push_back(std::move(entry));
}

std::vector<PendingBatch> PendingBatches::TakeGroup(const Limits& limits) {
  std::vector<Entry> group;
  uint64_t dirty = 0;
  last_chunk_bytes_ = 0;
  TakeChunks(limits, &group, &dirty);
  while (!ordinary_.empty() &&
         (group.empty() ||
          dirty + ordinary_.front().dirty_pages <= limits.dirty_pages)) {
    Take(std::move(ordinary_.front()), &group, &dirty);
    ordinary_.pop_front();
  }
  std::sort(group.begin(), group.end(),
            [](const Entry& a, const Entry& b) { return a.number < b.number; });
  std::vector<PendingBatch> batches;
  batches.reserve(group.size());
  for (Entry& entry : group) batches.push_back(std::move(entry.batch));
  return batches;
}

void PendingBatches::TakeChunks(const Limits& limits, std::vector<Entry>* group,
                                uint64_t* dirty) {
  // Ends when a whole round of turns could take nothing.  A turn that took
  // nothing has either met a limit, waits for another session's batch, or
  // still saves up its deficit, which is bounded by the largest batch.
  size_t idle_turns = 0;
  while (!turns_.empty() && idle_turns < turns_.size()) {
    const uint64_t id = turns_.front();
    turns_.pop_front();
    Session& session = sessions_[id];
    const bool saving =
        IsNext(session.entries.front()) &&
        session.entries.front().chunk_bytes > session.deficit + kQuantum;
    const bool took = ServeSession(&session, limits, group, dirty);
    idle_turns = took || saving ? 0 : idle_turns + 1;
    if (session.entries.empty()) {
      sessions_.erase(id);
    } else {
      turns_.push_back(id);
    }
  }
}

bool PendingBatches::ServeSession(Session* session, const Limits& limits,
                                  std::vector<Entry>* group, uint64_t* dirty) {
  session->deficit += kQuantum;
  bool took = false;
  while (!session->entries.empty()) {
    Entry& entry = session->entries.front();
    if (!IsNext(entry)) {
      session->deficit = 0;
      break;
    }
    const bool first = group->empty();
    if (entry.chunk_bytes > session->deficit) break;
    if (!first && (last_chunk_bytes_ + entry.chunk_bytes > limits.chunk_bytes ||
                   *dirty + entry.dirty_pages > limits.dirty_pages)) {
      // The budget is spent: this turn is kept for the next group.
      session->deficit -= std::min(session->deficit, kQuantum);
      break;
    }
    session->deficit -= entry.chunk_bytes;
    last_chunk_bytes_ += entry.chunk_bytes;
    for (const MessageId id : entry.messages) {
      Order& order = order_.at(id);
      order.numbers.pop_front();
      if (order.numbers.empty()) order_.erase(id);
    }
    Take(std::move(entry), group, dirty);
    session->entries.pop_front();
    took = true;
  }
  if (session->entries.empty()) session->deficit = 0;
  return took;
}

}  // namespace holdfast
