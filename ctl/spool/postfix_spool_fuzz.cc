// A queue file of Postfix may hold anything; its pointers must not make it
// endless.
#include <cstdint>
#include <cstdlib>

#include "ctl/spool/postfix_spool.h"

namespace {

class Bytes : public holdfast::RandomBytes {
 public:
  explicit Bytes(absl::string_view all) : all_(all) {}
  uint64_t size() const override { return all_.size(); }
  absl::string_view From(uint64_t at) override {
    // In pieces of three octets.
    return at < all_.size() ? all_.substr(at, 3) : absl::string_view();
  }

 private:
  const absl::string_view all_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast;
  const absl::string_view all(reinterpret_cast<const char*>(data), size);
  Bytes file(all);
  uint64_t content = 0;
  const auto message = ReadPostfixFile(&file, [&](absl::string_view piece) {
    content += piece.size();
    return absl::OkStatus();
  });
  if (content > 4 * size) abort();
  if (message.ok() && message->recipients.size() > kMaxPostfixRecipients)
    abort();
  if (ParsePostfixDeferLog(all).size() > size) abort();
  return 0;
}
