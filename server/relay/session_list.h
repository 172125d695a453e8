// The sessions of this worker, and those among them that wait for work.
#ifndef HOLDFAST_SERVER_RELAY_SESSION_LIST_H_
#define HOLDFAST_SERVER_RELAY_SESSION_LIST_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/relay/relay_session.h"

namespace holdfast {

// Used on the loop's thread.
class SessionList {
 public:
  void Add(std::unique_ptr<RelaySession> session);
  // Takes it off.  Null: it was not there.
  std::shared_ptr<RelaySession> Remove(RelaySession* session);
  void Clear();
  bool empty() const { return sessions_.empty(); }
  // A copy, since they go while one looks at them.
  std::vector<RelaySession*> all() const;

  // It waits for work.
  void AddIdle(RelaySession* session);
  // One for this RelayKey(), the one that waits since last, so that those that
  // nobody needs end; null: none.
  RelaySession* TakeIdle(const std::string& key);
  bool HasIdle(const std::string& key) const;

 private:
  std::map<RelaySession*, std::unique_ptr<RelaySession>> sessions_;
  // Those that may be idle, the latest last.
  std::map<std::string, std::vector<RelaySession*>> idle_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_SESSION_LIST_H_
