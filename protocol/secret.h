// Passwords and keys in memory: compared without telling by time how much of
// them fits, and wiped when nobody needs them any more.
#ifndef HOLDFAST_PROTOCOL_SECRET_H_
#define HOLDFAST_PROTOCOL_SECRET_H_

#include <string.h>

#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace holdfast {

// Overwrites what the string holds, in a way no compiler leaves out, and
// empties it.
inline void Wipe(std::string* text) {
  explicit_bzero(text->data(), text->size());
  text->clear();
}

// Takes the same time for all contents of the same length.
inline bool SecretsEqual(absl::string_view a, absl::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned char differences = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    differences = static_cast<unsigned char>(
        differences |
        (static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i])));
  }
  // Keeps the compiler from leaving the loop early.
  asm volatile("" : "+r"(differences));
  return differences == 0;
}

// A text that is wiped wherever it stood.
class Secret {
 public:
  Secret() = default;
  // Takes the text over; what the caller has is wiped.
  explicit Secret(std::string&& text) : text_(text) { Wipe(&text); }
  // A copy; the source is its owner's to wipe.
  explicit Secret(absl::string_view text) : text_(text) {}
  // A moved std::string may leave its bytes behind.
  Secret(Secret&& other) noexcept : text_(std::move(other.text_)) {
    other.WipeRoom();
  }
  Secret& operator=(Secret&& other) noexcept {
    if (this == &other) return *this;
    WipeRoom();
    text_ = std::move(other.text_);
    other.WipeRoom();
    return *this;
  }
  ~Secret() { WipeRoom(); }

  const std::string& text() const { return text_; }

 private:
  // All of the string's room, for a short text lies inside the object and
  // stays there when it is moved from.
  void WipeRoom() {
    text_.resize(text_.capacity());
    Wipe(&text_);
  }

  std::string text_;
};

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_SECRET_H_
