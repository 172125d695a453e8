#include "server/lookup/kept_answers.h"

#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

bool MayBeKept(const TableQuery& query) {
  return query.op != TableOp::kUpdate && query.service != TableService::kAuth &&
         query.service != TableService::kCredentials;
}

std::string KeyOf(const TableQuery& query) {
  return absl::StrCat(static_cast<int>(query.op), "|",
                      static_cast<int>(query.service), "|", query.key);
}

}  // namespace

void KeptAnswers::Drop(Order::iterator entry) {
  bytes_ -= entry->bytes();
  entries_.erase(entry->key);
  order_.erase(entry);
}

void KeptAnswers::Put(const TableQuery& query,
                      const std::optional<std::string>& answer,
                      absl::Duration now) {
  if (keep_ <= absl::ZeroDuration() || !MayBeKept(query)) return;
  Entry entry{KeyOf(query), answer, now + keep_};
  if (const auto old = entries_.find(entry.key); old != entries_.end())
    Drop(old->second);
  bytes_ += entry.bytes();
  order_.push_back(std::move(entry));
  const auto last = std::prev(order_.end());
  entries_.emplace(last->key, last);
  while (!order_.empty() &&
         (order_.size() > kMaxKeptAnswers || bytes_ > kMaxKeptBytes ||
          order_.front().until <= now))
    Drop(order_.begin());
}

const std::optional<std::string>* KeptAnswers::Get(const TableQuery& query,
                                                   absl::Duration now) const {
  if (entries_.empty()) return nullptr;
  const auto found = entries_.find(KeyOf(query));
  if (found == entries_.end() || found->second->until <= now) return nullptr;
  return &found->second->answer;
}

void KeptAnswers::Clear() {
  entries_.clear();
  order_.clear();
  bytes_ = 0;
}

}  // namespace holdfast
