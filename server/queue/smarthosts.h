// Which smarthost of a `host` table is next: those that answer share the mail
// by weight, one that does not answer rests and is then tried again by one
// batch (docs/CONFIGURATION.md).  OpenSMTPD goes round blindly.
//
// Pure: time comes in with every call (`now` is EventLoop::Elapsed()), log
// lines go out through a function.  One thread.
#ifndef HOLDFAST_SERVER_QUEUE_SMARTHOSTS_H_
#define HOLDFAST_SERVER_QUEUE_SMARTHOSTS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "config/config.h"

namespace holdfast {

class Smarthosts {
 public:
  // One that failed rests 15 s * penalty², an hour at most, as routes do.
  static constexpr absl::Duration kRestBase = absl::Seconds(15);
  static constexpr absl::Duration kRestMax = absl::Hours(1);
  // A batch that tries one again and is never heard of does not keep others
  // from doing so for longer.
  static constexpr absl::Duration kProbeLife = absl::Minutes(10);
  // More elements of a table than this are not used.
  static constexpr size_t kMaxElements = 1000;

  using LogLineFn = std::function<void(const std::string&)>;
  explicit Smarthosts(LogLineFn log) : log_(std::move(log)) {}

  // The URL that the next batch, of `messages` messages, of this action is for.
  // When none answers, the one that has rested most.  Empty table, or one that
  // is asked elsewhere: nothing.  action.host is not null.
  std::optional<std::string> Choose(const Action& action, size_t messages,
                                    absl::Duration now);

  // None of its hosts took a connection.  True: there is another that may be
  // tried at once.
  bool OnFailed(const Action& action, const std::string& url,
                absl::Duration now);
  // It has answered.
  void OnWorks(const Action& action, const std::string& url);
  // The batch is over without having found out.
  void OnUntried(const Action& action, const std::string& url);
  // Nobody rests any more: an operator wants an attempt now.
  void ForgetRests();

 private:
  struct Element {
    std::string url;
    uint32_t weight = 1;
    int64_t credit = 0;    // of smooth weighted turns
    uint32_t penalty = 0;  // 0: it answers
    absl::Duration rests_until = absl::ZeroDuration();
    absl::Duration probed_until = -absl::InfiniteDuration();

    // Which batch may go there: any, one, none.
    bool Healthy() const { return penalty == 0; }
    bool MayBeProbed(absl::Duration now) const {
      return penalty > 0 && now >= rests_until && now >= probed_until;
    }
  };
  // The elements of an action's table as they were when it was last looked at.
  struct Group {
    std::shared_ptr<const TableContents> contents;
    std::vector<Element> elements;
  };

  Group& GroupOf(const Action& action);
  Element* Find(const Action& action, const std::string& url);
  static Element* Probe(Group* group, bool reserve, absl::Duration now);
  static Element* TakeTurn(Group* group, bool reserve, size_t messages);

  const LogLineFn log_;
  std::map<std::string, Group> groups_;  // by name of the action
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_SMARTHOSTS_H_
