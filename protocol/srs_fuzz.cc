// Any address as one that came back.  The first byte chooses a hash function
// that signs everything, since no input finds a signature by chance.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "protocol/srs.h"

namespace holdfast {
namespace {

void Run(const MailAddress& address, bool signs_all) {
  const auto hash = [&](absl::string_view bytes) {
    return std::string(20, signs_all ? '\0' : static_cast<char>(bytes.size()));
  };
  const SrsRewriter srs("key", "backup", 4, hash);
  const absl::Time now = absl::FromUnixSeconds(1700000000);
  const auto sender = srs.Decode(address, now);
  if (sender && (sender->user.empty() || sender->domain.empty() ||
                 !LooksRewritten(address.user))) {
    abort();
  }
  const MailAddress out = srs.Encode(address, "fwd.test", now);
  if (out == address) return;
  if (out.ToString().size() > kMaxSrsBytes || !LooksRewritten(out.user))
    abort();
  // What was no rewritten address comes back as it was.
  if (LooksRewritten(address.user) || address.user.empty() ||
      address.domain.empty() || address.domain.find('=') != std::string::npos) {
    return;
  }
  const auto back = srs.Decode(out, now);
  if (!back || !(*back == address)) abort();
}

}  // namespace
}  // namespace holdfast

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  holdfast::Run(holdfast::SplitAddress(text), (data[0] & 1) != 0);
  // With the beginning that mutations seldom find.
  text.insert(0, (data[0] & 2) != 0 ? "SRS0=AAAA=G3=" : "SRS1=AAAA=");
  holdfast::Run(holdfast::SplitAddress(text), true);
  return 0;
}
