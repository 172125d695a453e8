// Any bytes as what a client says in AUTH: PLAIN and both messages of SCRAM,
// and as what stands in a table.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "protocol/sasl_plain.h"
#include "protocol/scram.h"

namespace {

void Expect(bool condition) {
  if (!condition) abort();
}

// Not SHA-256, but as hard to hit by chance.
std::string Mixed(absl::string_view a, absl::string_view b) {
  std::string out(holdfast::kSha256Bytes, '\0');
  uint64_t state = 0x9e3779b97f4a7c15;
  for (size_t i = 0; i < a.size() + b.size() + out.size(); ++i) {
    const unsigned char c =
        static_cast<unsigned char>(i < a.size()              ? a[i]
                                   : i - a.size() < b.size() ? b[i - a.size()]
                                                             : 0);
    state = (state ^ c) * 0xd1342543de82ef95 + (state >> 29);
    out[i % out.size()] = static_cast<char>(out[i % out.size()] ^ state >> 56);
  }
  return out;
}
std::string Sha256(absl::string_view text) { return Mixed(text, "sha"); }
std::string Pbkdf2(absl::string_view password, absl::string_view salt,
                   uint32_t) {
  return Mixed(password, salt);
}
constexpr holdfast::ScramHash kHash = {Sha256, Mixed, Pbkdf2};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast;
  const std::string text(reinterpret_cast<const char*>(data), size);
  if (const auto plain = ParseSaslPlain(text)) {
    Expect(!plain->user.empty() && plain->user.size() <= kMaxSaslUser);
    Expect(!plain->password.text().empty());
    Expect(plain->user.find_first_of(std::string("\0\r\n", 3)) ==
           std::string::npos);
    Expect(plain->password.text().find('\0') == std::string::npos);
  }
  if (const auto verifier = ParseScramVerifier(text)) {
    Expect(verifier->ToText() == text);
  }
  if (const auto last = ParseScramClientFinal(text)) {
    Expect(last->proof.size() == 32);
  }
  auto first = ParseScramClientFirst(text);
  if (!first) return 0;
  Expect(first->gs2_header + first->bare == text);
  Expect(!first->user.empty() && IsSaslPrepared(first->user));
  ScramVerifier verifier;
  verifier.iterations = 1;
  verifier.salt = "s";
  verifier.stored_key = std::string(32, '\1');
  verifier.server_key = std::string(32, '\2');
  ScramExchange exchange(kHash, *std::move(first), verifier, "0123456789");
  std::string last;
  // Nobody knows a key of that hash.
  Expect(exchange.Finish(text, &last) != ScramExchange::Result::kOk);
  Expect(last.empty());
  return 0;
}
