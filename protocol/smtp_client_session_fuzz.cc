// A hostile server: whatever it says, each recipient of each message has one
// result, and none is delivered before the final dot; who watches hears of no
// message that was taken without its beginning, nor of secrets.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>

#include "protocol/smtp_client_session.h"

namespace {

using holdfast::SmtpClientSession;

class Owner : public SmtpClientSession::Events {
 public:
  SmtpClientSession* session = nullptr;
  bool dot = false, ended = false, binary = false, eight_bit = false;
  bool tls = false, handshake = false;
  int pending = 0;

  void OnReady() override {
    if (ended || pending != 0) abort();
    dot = false;
    holdfast::SmtpTransaction t;
    t.sender = "s@x";
    t.recipients = {{"a@x", 1, ""}, {"b@x", 0, "rfc822;b@x"}};
    if (binary) t.flags = holdfast::kFlagBinaryMime;
    if (eight_bit) {
      t.flags |= holdfast::kFlag8BitMime;
      t.eight_bit = true;
      t.wire_bytes = holdfast::kMinChunkedBytes + 1;
    }
    pending = 2;
    if (!session->Begin(t)) session->Quit();
  }
  void OnResult(size_t, const holdfast::SmtpResult& r) override {
    if (--pending < 0) abort();
    if (r.kind == holdfast::SmtpResult::Kind::kOk && !dot) abort();
  }
  void OnBodyWanted() override {
    session->AppendBody(eight_bit ? "\n\xc3\xbc\n" : "text\n");
    session->FinishBody();
    dot = true;
  }
  void OnStartTls() override {
    if (tls || handshake) abort();
    handshake = true;
  }
  void OnAuthWanted() override {
    if (!tls) abort();
    session->Authenticate({"user", "pencil"});
  }
  void OnEnd(const std::string&) override {
    if (ended) abort();
    ended = true;
  }
};

class Watcher : public holdfast::SmtpClientWatcher {
 public:
  bool begun = false;
  void OnEvent(const holdfast::SmtpClientEvent& event) override {
    using Kind = holdfast::SmtpClientEvent::Kind;
    if (event.kind == Kind::kMail) begun = true;
    if (event.kind == Kind::kCommit && !std::exchange(begun, false)) abort();
    if (event.kind == Kind::kRcpt && !begun) abort();
    if (event.kind == Kind::kClientLine &&
        event.text.find('\n') != absl::string_view::npos)
      abort();
    // "user", NUL, "pencil" in base64.
    if (event.kind == Kind::kClientLine &&
        event.text.find("dXNlcgBwZW5jaWw") != absl::string_view::npos)
      abort();
  }
};

// Nothing that would cost time.
std::string FakeHash(absl::string_view text) {
  return std::string(32, text.empty() ? 'x' : text.front());
}
std::string FakeMac(absl::string_view, absl::string_view text) {
  return FakeHash(text);
}
std::string FakeKey(absl::string_view, absl::string_view salt, uint32_t) {
  return FakeHash(salt);
}
std::string FakeNonce(size_t bytes) { return std::string(bytes, 'n'); }
constexpr holdfast::SaslCrypto kFakeCrypto = {
    {FakeHash, FakeMac, FakeKey}, FakeMac, FakeNonce};

struct Variant {
  SmtpClientSession::Tls tls;
  bool auth, lmtp, binary, eight_bit;
};
using Tls = SmtpClientSession::Tls;
constexpr Variant kVariants[] = {
    {Tls::kNever, false, false, false, false},
    {Tls::kNever, false, true, false, false},
    {Tls::kNever, false, false, true, false},
    {Tls::kNever, false, false, false, true},
    {Tls::kOpportunistic, false, false, false, false},
    {Tls::kOpportunistic, true, false, false, true},
    {Tls::kRequired, true, true, false, false},
};

void Try(const Variant& variant, absl::string_view bytes) {
  Owner owner;
  SmtpClientSession::Options options = {"me.test", variant.lmtp, 3};
  options.tls = variant.tls;
  options.auth = variant.auth;
  options.crypto = &kFakeCrypto;
  Watcher watcher;
  options.watcher = &watcher;
  SmtpClientSession session(options, &owner);
  owner.session = &session;
  owner.binary = variant.binary;
  owner.eight_bit = variant.eight_bit;
  while (!bytes.empty() && !session.over()) {
    // What the server says comes line by line.
    const size_t n = std::min(bytes.find('\n'), bytes.size() - 1) + 1;
    session.OutputTaken();
    session.Receive(bytes.substr(0, n));
    bytes.remove_prefix(n);
    if (owner.handshake && !session.over()) {
      owner.handshake = false;
      owner.tls = true;
      session.TlsEstablished(true);
    }
  }
  session.ConnectionLost("closed");
  if (!owner.ended || owner.pending != 0) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const Variant& variant : kVariants) Try(variant, bytes);
  return 0;
}
