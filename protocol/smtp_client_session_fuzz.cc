// A hostile server: whatever it says, each recipient of each message has one
// result, and none is delivered before the final dot.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "protocol/smtp_client_session.h"

namespace {

using holdfast::SmtpClientSession;

class Owner : public SmtpClientSession::Events {
 public:
  SmtpClientSession* session = nullptr;
  bool dot = false, ended = false, binary = false;
  int pending = 0;

  void OnReady() override {
    if (ended || pending != 0) abort();
    dot = false;
    holdfast::SmtpTransaction t;
    t.sender = "s@x";
    t.recipients = {{"a@x", 1, ""}, {"b@x", 0, "rfc822;b@x"}};
    if (binary) t.flags = holdfast::kFlagBinaryMime;
    pending = 2;
    if (!session->Begin(t)) session->Quit();
  }
  void OnResult(size_t, const holdfast::SmtpResult& r) override {
    if (--pending < 0) abort();
    if (r.kind == holdfast::SmtpResult::Kind::kOk && !dot) abort();
  }
  void OnBodyWanted() override {
    session->AppendBody("text\n");
    session->FinishBody();
    dot = true;
  }
  void OnEnd(const std::string&) override {
    if (ended) abort();
    ended = true;
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Owner owner;
  SmtpClientSession session({"me.test", size > 0 && (data[0] & 1) != 0, 3},
                            &owner);
  owner.session = &session;
  owner.binary = size > 0 && (data[0] & 2) != 0;
  absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  while (!bytes.empty() && !session.over()) {
    // What the server says comes line by line.
    const size_t n = std::min(bytes.find('\n'), bytes.size() - 1) + 1;
    session.OutputTaken();
    session.Receive(bytes.substr(0, n));
    bytes.remove_prefix(n);
  }
  session.ConnectionLost("closed");
  if (!owner.ended || owner.pending != 0) abort();
  return 0;
}
