// `profile imsg|queue`: what messages of other rooms and commits cost, a line
// of the log for each (reference part 2, section 5.6).  Costs a comparison
// while it is off.  On the loop's thread; of the process, as its log is.
#ifndef HOLDFAST_SERVER_QUEUE_PROFILE_H_
#define HOLDFAST_SERVER_QUEUE_PROFILE_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace holdfast {

enum class Profiled : uint8_t { kMessages, kCommits };

// False: no such word.
bool SetProfiled(absl::string_view word, bool on);
bool IsProfiled(Profiled what);

// A piece of work: logs its text and how long it lived.
class ProfiledWork {
 public:
  // A message from another room.
  ProfiledWork(absl::string_view peer, uint16_t type, size_t octets);
  // A commit.
  explicit ProfiledWork(size_t operations);
  ProfiledWork(ProfiledWork&& other) noexcept;
  ~ProfiledWork() { End(); }

  void End();

 private:
  std::string text_;  // empty: not profiled, or over
  std::chrono::steady_clock::time_point began_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_PROFILE_H_
