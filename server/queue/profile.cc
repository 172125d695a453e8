#include "server/queue/profile.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/log/log.h"

namespace holdfast {
namespace {

bool* Switch(Profiled what) {
  static bool messages = false, commits = false;
  return what == Profiled::kMessages ? &messages : &commits;
}

}  // namespace

bool SetProfiled(absl::string_view word, bool on) {
  if (word != "imsg" && word != "queue") return false;
  *Switch(word == "imsg" ? Profiled::kMessages : Profiled::kCommits) = on;
  return true;
}

bool IsProfiled(Profiled what) { return *Switch(what); }

ProfiledWork::ProfiledWork(absl::string_view peer, uint16_t type,
                           size_t octets) {
  if (!IsProfiled(Profiled::kMessages)) return;
  text_ = absl::StrCat("profile-imsg: queue ", peer, " ", type, " ", octets);
  began_ = std::chrono::steady_clock::now();
}

ProfiledWork::ProfiledWork(size_t operations) {
  if (!IsProfiled(Profiled::kCommits)) return;
  text_ = absl::StrCat("profile-queue: commit of ", operations);
  began_ = std::chrono::steady_clock::now();
}

ProfiledWork::ProfiledWork(ProfiledWork&& other) noexcept
    : text_(std::exchange(other.text_, "")), began_(other.began_) {}

void ProfiledWork::End() {
  if (text_.empty()) return;
  const std::chrono::duration<double> took =
      std::chrono::steady_clock::now() - began_;
  LogInfo("%s %.9f", text_, took.count());
  text_.clear();
}

}  // namespace holdfast
