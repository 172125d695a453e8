// The searches for routes that go on, by who may share their sessions.
#ifndef HOLDFAST_SERVER_RELAY_SEARCH_LIST_H_
#define HOLDFAST_SERVER_RELAY_SEARCH_LIST_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/relay/route_search.h"

namespace holdfast {

// Used on the loop's thread.
class SearchList {
 public:
  void Add(std::shared_ptr<RouteSearch> search);
  // Takes it off the list and cancels it.  Null: it was not there.
  std::shared_ptr<RouteSearch> End(RouteSearch* search);
  std::vector<std::shared_ptr<RouteSearch>> all() const;
  void Clear();
  bool empty() const { return searches_.empty(); }

  // One with work that a session of this RelayKey() may take instead, the
  // longest waiting first; null: none.
  RouteSearch* Yielding(const std::string& key) const;
  // Whether one goes on for a connection in advance.
  bool InAdvance(const std::string& key) const;
  // That for this batch; null: none.
  RouteSearch* Of(const BatchWork* work) const;

 private:
  std::map<RouteSearch*, std::shared_ptr<RouteSearch>> searches_;
  // In order of their beginning.
  std::map<std::string, std::vector<RouteSearch*>> by_key_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_SEARCH_LIST_H_
