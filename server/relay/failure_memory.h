// Why hosts did not take us, for as long as nobody may try them again.
#ifndef HOLDFAST_SERVER_RELAY_FAILURE_MEMORY_H_
#define HOLDFAST_SERVER_RELAY_FAILURE_MEMORY_H_

#include <cstddef>
#include <map>
#include <string>

namespace holdfast {

// By RelayKey().  Used on the loop's thread.
class FailureMemory {
 public:
  // Above this, some are forgotten: an error line says less then.
  static constexpr size_t kMaxRemembered = 1000;

  void Note(const std::string& key, const std::string& failure) {
    if (failures_.size() >= kMaxRemembered && failures_.count(key) == 0)
      failures_.erase(failures_.begin());
    failures_[key] = failure;
  }
  void Forget(const std::string& key) { failures_.erase(key); }
  // Empty: nothing is known.
  std::string Of(const std::string& key) const {
    const auto it = failures_.find(key);
    return it == failures_.end() ? "" : it->second;
  }
  size_t size() const { return failures_.size(); }

 private:
  std::map<std::string, std::string> failures_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_FAILURE_MEMORY_H_
