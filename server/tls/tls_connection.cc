#include "server/tls/tls_connection.h"

#include <openssl/bio.h>
#include <openssl/err.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

// What is decrypted is told in pieces of this size; shared by all connections
// of a thread, for it is consumed before the next read.
constexpr size_t kPlainBytes = 64 << 10;
thread_local std::unique_ptr<char[]> plain_buffer;
// What the library writes during one call leaves in one system call, or in
// pieces of this size.  Shared likewise.
constexpr size_t kOutBytes = 64 << 10;
thread_local std::string out_buffer;

// A nested use of the flag would lose the outer one; callbacks don't nest.
class GoneFlag {
 public:
  explicit GoneFlag(bool** place) : place_(place) { *place_ = &gone_; }
  ~GoneFlag() {
    if (!gone_) *place_ = nullptr;
  }
  explicit operator bool() const { return gone_; }

 private:
  bool** const place_;
  bool gone_ = false;
};

}  // namespace

TlsConnection::TlsConnection(EventLoop* loop, std::unique_ptr<Stream> plain,
                             bssl::UniquePtr<SSL> ssl, Handshaker* handshaker)
    : loop_(loop),
      plain_(std::move(plain)),
      ssl_(std::move(ssl)),
      handshaker_(handshaker) {
  BIO* const bio = BIO_new(Method());
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  Callbacks callbacks;
  callbacks.on_bytes = [this](absl::string_view b) { OnCipherText(b); };
  callbacks.on_closed = [this](absl::Status s) { OnPlainClosed(std::move(s)); };
  callbacks.on_drained = [this] { OnPlainDrained(); };
  plain_->SetCallbacks(std::move(callbacks));
}

TlsConnection::~TlsConnection() {
  if (gone_ != nullptr) *gone_ = true;
}

// ---- The library's view of the plain stream

const BIO_METHOD* TlsConnection::Method() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(0, "stream");
    BIO_meth_set_read(made, BioRead);
    BIO_meth_set_write(made, BioWrite);
    BIO_meth_set_ctrl(made, BioControl);
    return made;
  }();
  return method;
}

int TlsConnection::BioRead(BIO* bio, char* out, int length) {
  auto* const self = static_cast<TlsConnection*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const size_t wanted = static_cast<size_t>(std::max(length, 0));
  size_t taken = std::min(wanted, self->held_.size() - self->held_taken_);
  std::copy_n(self->held_.data() + self->held_taken_, taken, out);
  self->held_taken_ += taken;
  if (self->held_taken_ == self->held_.size() && self->held_taken_ > 0) {
    std::string().swap(self->held_);
    self->held_taken_ = 0;
  }
  const size_t fresh = std::min(wanted - taken, self->in_.size());
  std::copy_n(self->in_.data(), fresh, out + taken);
  self->in_.remove_prefix(fresh);
  taken += fresh;
  if (taken > 0 || wanted == 0) return static_cast<int>(taken);
  BIO_set_retry_read(bio);
  return -1;
}

int TlsConnection::BioWrite(BIO* bio, const char* in, int length) {
  auto* const self = static_cast<TlsConnection*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (length <= 0) return length;
  out_buffer.append(in, static_cast<size_t>(length));
  if (out_buffer.size() >= kOutBytes) self->SendOut();
  return length;
}

long TlsConnection::BioControl(BIO*, int command, long, void*) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

void TlsConnection::SendOut() {
  if (out_buffer.empty()) return;
  plain_->Write(out_buffer);
  out_buffer.clear();
}

// ---- The handshake

int TlsConnection::StepHandshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  SendOut();
  return result;
}

void TlsConnection::SendInternalError() {
  SSL_send_fatal_alert(ssl_.get(), SSL_AD_INTERNAL_ERROR);
  SendOut();
}

void TlsConnection::Open() {
  handshaker_ = nullptr;
  state_ = State::kOpen;
  ReadPlain(false);
  Keep();
}

void TlsConnection::SendTicketsSoon() {
  alive_ = std::make_shared<bool>(true);
  loop_->AtTurnEnd([this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.expired()) return;
    alive_.reset();
    if (wrote_ || shut_down_ || state_ != State::kOpen) return;
    ERR_clear_error();
    SSL_write(ssl_.get(), "", 0);
    SendOut();
  });
}

void TlsConnection::ReadPlain(bool reading) {
  if (plain_reading_ == reading) return;
  plain_reading_ = reading;
  reading ? plain_->ResumeReading() : plain_->PauseReading();
}

// ---- What comes

void TlsConnection::OnCipherText(absl::string_view bytes) {
  in_ = bytes;
  GoneFlag gone(&gone_);
  if (state_ == State::kHandshake) {
    handshaker_->Advance();
  } else {
    Pump();
  }
  if (!gone) Keep();
}

// `in_` ends with the callback that brought it.
void TlsConnection::Keep() {
  if (in_.empty()) return;
  if (state_ != State::kHeardEnd && state_ != State::kEnded) {
    held_.erase(0, held_taken_);
    held_taken_ = 0;
    held_.append(in_.data(), in_.size());
  }
  in_ = absl::string_view();
}

bool TlsConnection::HasHeld() const {
  return held_taken_ < held_.size() || SSL_has_pending(ssl_.get()) != 0;
}

// Decrypts and tells, until there is no more or the owner has enough.
void TlsConnection::Pump() {
  if (plain_buffer == nullptr) plain_buffer.reset(new char[kPlainBytes]);
  const std::shared_ptr<Callbacks> callbacks = callbacks_;
  bool* const gone = gone_;
  while (reading_ && state_ == State::kOpen) {
    ERR_clear_error();
    size_t filled = 0;
    int n = 1;
    while (filled < kPlainBytes) {
      n = SSL_read(ssl_.get(), plain_buffer.get() + filled,
                   static_cast<int>(kPlainBytes - filled));
      if (n <= 0) break;
      filled += static_cast<size_t>(n);
    }
    const int error = n > 0 ? SSL_ERROR_NONE : SSL_get_error(ssl_.get(), n);
    std::string why;
    if (error == SSL_ERROR_SSL) why = TlsLibraryError();
    SendOut();  // an alert, or the answer to a key update
    if (filled > 0) {
      callbacks->on_bytes(absl::string_view(plain_buffer.get(), filled));
      if (*gone) return;
    }
    if (n > 0) continue;
    if (error == SSL_ERROR_WANT_READ) break;
    if (error == SSL_ERROR_ZERO_RETURN) return HearEnd();
    return Fail(absl::UnavailableError(absl::StrCat("TLS: ", why)));
  }
  if (state_ == State::kOpen) ReadPlain(reading_);
}

void TlsConnection::HearEnd() {
  if (state_ != State::kOpen) return;
  state_ = State::kHeardEnd;
  ReadPlain(false);
  const std::shared_ptr<Callbacks> callbacks = callbacks_;
  if (callbacks->on_closed) callbacks->on_closed(absl::OkStatus());
}

void TlsConnection::Fail(absl::Status why) {
  if (state_ == State::kEnded) return;
  state_ = State::kEnded;
  ReadPlain(false);
  const std::shared_ptr<Callbacks> callbacks = callbacks_;
  if (callbacks->on_closed) callbacks->on_closed(std::move(why));
}

void TlsConnection::OnPlainClosed(absl::Status why) {
  if (state_ == State::kHandshake) return handshaker_->OnPlainClosed(why);
  // Without close_notify: SMTP has its own ends, a cut message has none.
  if (why.ok()) return HearEnd();
  Fail(std::move(why));
}

void TlsConnection::OnPlainDrained() {
  const std::shared_ptr<Callbacks> callbacks = callbacks_;
  if (state_ != State::kHandshake && callbacks->on_drained)
    callbacks->on_drained();
}

// ---- The owner's wishes

void TlsConnection::SetCallbacks(Callbacks callbacks) {
  callbacks_ = std::make_shared<Callbacks>(std::move(callbacks));
}

void TlsConnection::PauseReading() {
  reading_ = false;
  if (state_ == State::kOpen) ReadPlain(false);
}

void TlsConnection::ResumeReading() {
  if (reading_) return;
  reading_ = true;
  if (state_ != State::kOpen) return;
  if (!HasHeld() && in_.empty()) return ReadPlain(true);
  // What is held comes first, and never inside this call.
  later_ = loop_->RunAfter(absl::ZeroDuration(), [this] {
    GoneFlag gone(&gone_);
    Pump();
  });
}

void TlsConnection::Write(absl::string_view bytes) {
  if (shut_down_ || (state_ != State::kOpen && state_ != State::kHeardEnd))
    return;
  wrote_ = true;
  ERR_clear_error();
  while (!bytes.empty()) {
    const size_t part = std::min(bytes.size(), kOutBytes);
    const int n = SSL_write(ssl_.get(), bytes.data(), static_cast<int>(part));
    if (n <= 0) return FailLater();
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  SendOut();
}

void TlsConnection::FailLater() {
  const std::string why = absl::StrCat("TLS: ", TlsLibraryError());
  SendOut();
  later_ = loop_->RunAfter(absl::ZeroDuration(), [this, why] {
    GoneFlag gone(&gone_);
    Fail(absl::UnavailableError(why));
  });
}

void TlsConnection::Shutdown() {
  if (shut_down_) return;
  shut_down_ = true;
  ERR_clear_error();
  SSL_shutdown(ssl_.get());  // close_notify; a broken connection sends none
  SendOut();
  plain_->Shutdown();
}

}  // namespace holdfast
