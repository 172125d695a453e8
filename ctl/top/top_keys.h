// Keys of a terminal from the octets it sends.  Pure.
#ifndef HOLDFAST_CTL_TOP_TOP_KEYS_H_
#define HOLDFAST_CTL_TOP_TOP_KEYS_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace holdfast {

struct TopKey {
  enum class Kind {
    kCharacter,
    kUp,
    kDown,
    kLeft,
    kRight,
    kPageUp,
    kPageDown,
    kHome,
    kEnd,
  };
  Kind kind = Kind::kCharacter;
  char character = 0;
  bool operator==(const TopKey& other) const {
    return kind == other.kind && character == other.character;
  }
};

// What it doesn't know, it passes over.
class TopKeyReader {
 public:
  // A sequence that is longer is none.
  static constexpr size_t kMaxSequence = 16;

  std::vector<TopKey> Take(absl::string_view bytes);

 private:
  std::string sequence_;  // begun by ESC
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_TOP_TOP_KEYS_H_
