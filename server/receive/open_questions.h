// Questions that were asked through a door and are not answered yet.
#ifndef HOLDFAST_SERVER_RECEIVE_OPEN_QUESTIONS_H_
#define HOLDFAST_SERVER_RECEIVE_OPEN_QUESTIONS_H_

#include <cstdint>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"

namespace holdfast {

// Numbers go on over the life of the room: an answer to a question that was
// given up, or asked of a peer that has died, finds nobody.
template <class Answer>
class OpenQuestions {
 public:
  using Callback = absl::AnyInvocable<void(const Answer&)>;

  uint64_t Add(Callback callback) {
    open_.emplace(++last_, std::move(callback));
    return last_;
  }

  // False if nobody asked.
  bool Give(uint64_t question, const Answer& answer) {
    auto found = open_.find(question);
    if (found == open_.end()) return false;
    Callback callback = std::move(found->second);
    open_.erase(found);
    callback(answer);
    return true;
  }

  // The peer is gone: all that is open now gets this answer.
  void GiveAll(const Answer& answer) {
    for (auto& [question, callback] : std::exchange(open_, {}))
      callback(answer);
  }

  bool empty() const { return open_.empty(); }

 private:
  uint64_t last_ = 0;
  absl::flat_hash_map<uint64_t, Callback> open_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RECEIVE_OPEN_QUESTIONS_H_
