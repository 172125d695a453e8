#include "server/relay/session_list.h"

#include <algorithm>
#include <utility>

namespace holdfast {

void SessionList::Add(std::unique_ptr<RelaySession> session) {
  RelaySession* const raw = session.get();
  sessions_[raw] = std::move(session);
}

std::shared_ptr<RelaySession> SessionList::Remove(RelaySession* session) {
  const auto idle = idle_.find(session->route().key);
  if (idle != idle_.end()) {
    std::erase(idle->second, session);
    if (idle->second.empty()) idle_.erase(idle);
  }
  auto node = sessions_.extract(session);
  if (node.empty()) return nullptr;
  return std::move(node.mapped());
}

void SessionList::Clear() {
  idle_.clear();
  sessions_.clear();
}

std::vector<RelaySession*> SessionList::all() const {
  std::vector<RelaySession*> all;
  for (const auto& [session, owned] : sessions_) all.push_back(session);
  return all;
}

void SessionList::AddIdle(RelaySession* session) {
  idle_[session->route().key].push_back(session);
}

RelaySession* SessionList::TakeIdle(const std::string& key) {
  const auto it = idle_.find(key);
  while (it != idle_.end() && !it->second.empty()) {
    RelaySession* session = it->second.back();
    it->second.pop_back();
    if (session->idle()) return session;
  }
  return nullptr;
}

bool SessionList::HasIdle(const std::string& key) const {
  const auto it = idle_.find(key);
  return it != idle_.end() &&
         std::any_of(it->second.begin(), it->second.end(),
                     [](const RelaySession* s) { return s->idle(); });
}

}  // namespace holdfast
