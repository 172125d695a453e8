#include "server/keys/ticket_key_maker.h"

#include <openssl/mem.h>
#include <openssl/rand.h>

#include <utility>

#include "server/tls/tls_library.h"

namespace holdfast {
namespace {

constexpr size_t kNameBytes = 16;
constexpr size_t kSecretBytes = 48;

void Wipe(TicketKeys::Key* key) {
  OPENSSL_cleanse(&key->secret[0], key->secret.size());
}

}  // namespace

std::string SecureRandom(size_t octets) {
  std::string out(octets, '\0');
  RAND_bytes(reinterpret_cast<uint8_t*>(&out[0]), out.size());
  return out;
}

TicketKeyMaker::TicketKeyMaker(EventLoop* loop, Random random,
                               std::function<void()> changed)
    : loop_(loop), random_(std::move(random)), changed_(std::move(changed)) {
  keys_.keys.push_back(Make());
  keys_.keys.push_back(Make());
  RotateLater();
}

TicketKeyMaker::~TicketKeyMaker() {
  for (TicketKeys::Key& key : keys_.keys) Wipe(&key);
}

TicketKeys::Key TicketKeyMaker::Make() {
  return {random_(kNameBytes), random_(kSecretBytes)};
}

void TicketKeyMaker::RotateLater() {
  timer_ = loop_->RunAfter(kTicketKeyLife, [this] { Rotate(); });
}

void TicketKeyMaker::Rotate() {
  std::vector<TicketKeys::Key> old = std::exchange(keys_.keys, {});
  if (old.size() == 3) Wipe(&old[1]);
  keys_.keys.push_back(std::move(old.back()));
  keys_.keys.push_back(std::move(old.front()));
  keys_.keys.push_back(Make());
  RotateLater();
  changed_();
}

}  // namespace holdfast
