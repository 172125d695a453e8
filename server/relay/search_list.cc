#include "server/relay/search_list.h"

#include <utility>

namespace holdfast {

void SearchList::Add(std::shared_ptr<RouteSearch> search) {
  RouteSearch* const raw = search.get();
  by_key_[raw->key()].push_back(raw);
  searches_[raw] = std::move(search);
}

std::shared_ptr<RouteSearch> SearchList::End(RouteSearch* search) {
  auto node = searches_.extract(search);
  if (node.empty()) return nullptr;
  const auto same = by_key_.find(search->key());
  std::erase(same->second, search);
  if (same->second.empty()) by_key_.erase(same);
  search->Cancel();
  return std::move(node.mapped());
}

std::vector<std::shared_ptr<RouteSearch>> SearchList::all() const {
  std::vector<std::shared_ptr<RouteSearch>> all;
  for (const auto& [search, owned] : searches_) all.push_back(owned);
  return all;
}

void SearchList::Clear() {
  by_key_.clear();
  searches_.clear();
}

RouteSearch* SearchList::Yielding(const std::string& key) const {
  const auto same = by_key_.find(key);
  if (same == by_key_.end()) return nullptr;
  for (RouteSearch* search : same->second)
    if (search->CanYield()) return search;
  return nullptr;
}

bool SearchList::InAdvance(const std::string& key) const {
  const auto same = by_key_.find(key);
  if (same == by_key_.end()) return false;
  for (const RouteSearch* search : same->second)
    if (search->work() == nullptr) return true;
  return false;
}

RouteSearch* SearchList::Of(const BatchWork* work) const {
  for (const auto& [search, owned] : searches_)
    if (search->work().get() == work) return search;
  return nullptr;
}

}  // namespace holdfast
