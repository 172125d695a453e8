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
  ScramExchange exchange(*std::move(first), verifier, "0123456789");
  std::string last;
  // Nobody knows a key of that hash.
  Expect(exchange.Finish(text, &last) != ScramExchange::Result::kOk);
  Expect(last.empty());
  return 0;
}
