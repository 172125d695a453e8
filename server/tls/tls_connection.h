// One TLS connection as a Stream: bytes of the plain stream go through the
// library and back.  Handshakes are driven by tls_stream.cc.
#ifndef HOLDFAST_SERVER_TLS_TLS_CONNECTION_H_
#define HOLDFAST_SERVER_TLS_TLS_CONNECTION_H_

#include <openssl/ssl.h>

#include <cstddef>
#include <memory>
#include <string>

#include "server/loop/event_loop.h"
#include "server/loop/stream.h"
#include "server/tls/tls_library.h"

namespace holdfast {

// What is sent leaves at once, in the plain stream's backlog; what came and
// cannot be told yet stays encrypted (`held_`, at most what the plain stream
// read at once, for that is paused meanwhile).
class TlsConnection : public Stream {
 public:
  // While a handshake runs: more has come, or the plain stream has ended.
  struct Handshaker {
    virtual ~Handshaker() = default;
    virtual void Advance() = 0;
    virtual void OnPlainClosed(const absl::Status& why) = 0;
  };

  TlsConnection(EventLoop* loop, std::unique_ptr<Stream> plain,
                bssl::UniquePtr<SSL> ssl, Handshaker* handshaker);
  ~TlsConnection() override;

  // ---- While the handshake runs
  SSL* ssl() { return ssl_.get(); }
  // A step; what the library returned.  What it wrote has been sent.
  int StepHandshake();
  void ReadPlain(bool reading);
  // An alert for what is no fault of the client's; the library sends others.
  void SendInternalError();
  // From now on a Stream, paused.
  void Open();
  // Sends the session tickets that the library keeps for the first write: else
  // a client with Nagle's algorithm waits for our delayed acknowledgement
  // before it says its first word.  In this turn, unless the owner writes.
  void SendTicketsSoon();

  // ---- Stream
  void SetCallbacks(Callbacks callbacks) override;
  void PauseReading() override;
  void ResumeReading() override;
  void Write(absl::string_view bytes) override;
  size_t backlog() const override { return plain_->backlog(); }
  void Shutdown() override;
  std::string LocalAddress() const override { return plain_->LocalAddress(); }
  uint16_t LocalPort() const override { return plain_->LocalPort(); }

 private:
  // kHeardEnd: the peer says nothing more.
  enum class State { kHandshake, kOpen, kHeardEnd, kEnded };

  static int BioRead(BIO* bio, char* out, int length);
  static int BioWrite(BIO* bio, const char* in, int length);
  static long BioControl(BIO* bio, int command, long, void*);
  static const BIO_METHOD* Method();

  void OnCipherText(absl::string_view bytes);
  void OnPlainClosed(absl::Status why);
  void OnPlainDrained();
  void Keep();
  bool HasHeld() const;
  void Pump();
  void OnReadFailed(int error);
  void HearEnd();
  void Fail(absl::Status why);
  void FailLater();
  void SendOut();

  EventLoop* const loop_;
  std::unique_ptr<Stream> plain_;
  bssl::UniquePtr<SSL> ssl_;
  Handshaker* handshaker_;  // kHandshake
  State state_ = State::kHandshake;
  bool reading_ = false;        // wanted by the owner
  bool plain_reading_ = false;  // asked of plain_
  bool shut_down_ = false;
  bool wrote_ = false;
  absl::string_view in_;  // not yet taken by the library; during a callback
  std::string held_;      // likewise, kept; comes before in_
  size_t held_taken_ = 0;
  EventLoop::Timer later_;
  // Shared with a callback that runs, which may destroy the connection.
  std::shared_ptr<Callbacks> callbacks_ = std::make_shared<Callbacks>();
  bool* gone_ = nullptr;         // set when this is destroyed
  std::shared_ptr<bool> alive_;  // while a task of the turn's end may come
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_TLS_TLS_CONNECTION_H_
