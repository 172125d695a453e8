// An SMTP or LMTP session as a client leads it (RFC 5321, 2033, 2920;
// reference part 2, section 3.9).  Pure: bytes come in by Receive(), bytes to
// send gather in output(), what happened is told to an Events.
//
//   greeting [-> STARTTLS -> greeting] [-> AUTH] -> ready
//   ready -> envelope -> body -> final -> ready -> ... -> quit
//
// STARTTLS (RFC 3207) and AUTH (RFC 4954) come before the first transaction.
// The owner makes the TLS connection and knows the credentials; it is asked for
// each when the server is ready for it.
//
// Where the server offers PIPELINING, RSET, MAIL, all RCPT and DATA go
// together; else one at a time.  Replies are matched with commands by order
// only, and one that comes before its command was sent ends the session.
// Binary messages go by BDAT instead of DATA (RFC 3030), and so do large ones
// to a server with PIPELINING: it can refuse what it does not like after the
// first chunk, and costs no round trip more.  Small ones are on their way at
// once either way.
//
// The owner keeps the time: when the server is silent for too long it calls
// ConnectionLost("Connection timeout").
#ifndef HOLDFAST_PROTOCOL_SMTP_CLIENT_SESSION_H_
#define HOLDFAST_PROTOCOL_SMTP_CLIENT_SESSION_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "protocol/data_encoder.h"
#include "protocol/envelope.h"
#include "protocol/mime_downgrade.h"
#include "protocol/sasl_client.h"
#include "protocol/secret.h"
#include "protocol/smtp_client_commands.h"
#include "protocol/smtp_client_reply.h"
#include "protocol/smtp_client_watcher.h"

namespace holdfast {

// A message that is larger goes by BDAT where it can.
inline constexpr uint64_t kMinChunkedBytes = 1 << 20;

// What became of one recipient.
struct SmtpResult {
  enum class Kind : uint8_t {
    kOk,
    kTempFail,
    kPermFail,
    // The server ended a session that had served before, at the beginning of a
    // transaction: it wanted no more of this session, not to refuse the mail.
    kNotTried,
  } kind = Kind::kTempFail;
  EnhancedStatus status;
  std::string text;
};

class SmtpClientSession {
 public:
  // Told during calls of the session.  From OnReady() and OnBodyWanted() the
  // owner may call Begin(), AppendBody(), FinishBody(), Quit() and
  // ConnectionLost(); the session must not be destroyed from any of them.
  class Events {
   public:
    virtual ~Events() = default;
    // A transaction may begin: after the greeting and after each transaction.
    virtual void OnReady() = 0;
    // Once for each recipient of a transaction.
    virtual void OnResult(size_t recipient, const SmtpResult& result) = 0;
    // The server waits for the message: AppendBody(), then FinishBody().
    virtual void OnBodyWanted() = 0;
    // The session is over; the connection is to be closed.  `error` is empty
    // after QUIT, else one of the reference's texts.
    virtual void OnEnd(const std::string& error) = 0;
    // With Options::tls: STARTTLS was answered with 2xx, and nothing came with
    // the answer.  The owner makes TLS on the connection, then says
    // TlsEstablished(), or ConnectionLost().
    virtual void OnStartTls() {}
    // With Options::auth: the server offers AUTH, inside TLS.  The owner says
    // Authenticate(), now or later, or ConnectionLost().
    virtual void OnAuthWanted() {}
  };

  // STARTTLS where the connection is in clear.
  enum class Tls : uint8_t {
    kNever,
    kOpportunistic,  // where it is offered and not refused
    kRequired,       // else the session ends
  };

  struct Options {
    std::string helo;
    bool lmtp = false;
    // So many refused RCPTs in a row end the session.
    uint32_t max_refused = 25;
    // With `secure`: the server's name was verified.
    bool tls_verified = false;
    Tls tls = Tls::kNever;
    // The connection is inside TLS from its beginning.
    bool secure = false;
    // Credentials must be used before the first transaction.
    bool auth = false;
    // Must outlive the session; null: mechanisms that need none.
    const SaslCrypto* crypto = nullptr;
    // Must outlive the session; null: nobody watches, which costs nothing.
    SmtpClientWatcher* watcher = nullptr;
  };

  SmtpClientSession(Options options, Events* events);

  // Bytes to be sent.  The owner sends them all, then says OutputTaken().
  absl::string_view output() const { return out_; }
  void OutputTaken();

  void Receive(absl::string_view bytes);
  // The connection ended, or its owner gave it up: recipients without a result
  // fail for now with `text`.  After this, as after OnEnd(), nothing is called.
  void ConnectionLost(absl::string_view text);

  // After Events::OnStartTls(): bytes go through TLS now.  `verified`: the
  // certificate is for the server's name and from an authority.  All that the
  // server said before is forgotten, and EHLO is said again (RFC 3207
  // section 4.2).
  void TlsEstablished(bool verified);
  // After Events::OnAuthWanted(), once.
  void Authenticate(ClientCredentials credentials);

  // It waits for its next transaction.  A server that ends the connection
  // meanwhile has not tried that: SmtpResult::kNotTried.
  void Rested() { rested_ = true; }

  // Begins a transaction; only when ready.  False: all recipients had their
  // result at once (the message is too large for the server, ...), nothing is
  // sent and the session is still ready.
  [[nodiscard]] bool Begin(SmtpTransaction transaction);
  // The message, with LF line ends, in pieces; after OnBodyWanted().  This and
  // FinishBody() may end the session: the message must be converted for a
  // server without 8BITMIME and can't be.
  void AppendBody(absl::string_view text);
  // The final dot, or the last BDAT.  From here on the server may have the
  // message; for BDAT without PIPELINING from in_final() on.  May be called
  // again.
  void FinishBody();
  // Only when ready, or before the first time.  Where QUIT would not be taken
  // for a command, the session ends at once.
  void Quit();

  bool ready() const { return state_ == State::kReady; }
  // From OnBodyWanted() to FinishBody().
  bool in_body() const { return state_ == State::kBody; }
  // Bytes that wait in here: of the message not more should be given then.
  size_t backlog() const { return out_.size() + chunk_.size(); }
  // The final dot is out, the answer is not in.
  bool in_final() const { return state_ == State::kFinal; }
  bool over() const { return state_ == State::kOver; }
  // Inside TLS.
  bool secure() const { return secure_; }
  // The session ended between STARTTLS and the first octet inside TLS: where
  // TLS is opportunistic another one may be tried without.  (A TLS 1.3 server
  // that wants a certificate of ours says so only after our handshake.)
  bool failed_in_starttls() const { return failed_in_starttls_; }
  // Whole replies so far.  Only these are a sign of life: a server that drips
  // bytes without end is as good as silent.
  uint64_t replies() const { return replies_; }
  const PeerExtensions& extensions() const { return extensions_; }

 private:
  enum class State : uint8_t {
    kGreeting,
    kStartTls,  // with nothing expected: TLS is being made
    kAuthWait,  // for Authenticate()
    kAuth,
    kReady,
    kEnvelope,
    kBody,
    kFinal,
    kQuit,
    kOver,
  };
  enum class Command : uint8_t {
    kConnect,  // answered by the banner
    kEhlo,
    kHelo,
    kStartTls,
    kAuth,
    kRset,
    kMail,
    kRcpt,
    kData,
    kChunk,  // BDAT, not the last
    kFinal,
    kQuit,
  };
  struct Expected {
    Command command;
    size_t recipient = 0;  // kRcpt; kFinal in LMTP
    // What the watcher is to be told of it when its turn comes.
    std::string line = {};
  };
  // Of a recipient in the present transaction.
  enum class Standing : uint8_t { kUndecided, kAccepted, kDone };

  // `line`: for the watcher, of a command that was written already.
  void Send(Command command, size_t recipient = 0, absl::string_view line = {});
  void SendNext(Command done, size_t recipient);
  size_t NextUndecided(size_t from) const;
  void OnReply(const SmtpReply& reply);
  void Answered(const Expected& to, const SmtpReply& reply);
  void OnGreeting(Command command, const SmtpReply& reply);
  void OnGreeted();
  void OnStartTls(const SmtpReply& reply);
  void OnSecured();
  void OnAuth(const SmtpReply& reply);
  void SendAuth(absl::string_view command, const Secret& response);
  std::string WithoutSecret(absl::string_view text,
                            absl::string_view mask) const;
  void OnMail(const SmtpReply& reply);
  void OnRcpt(size_t recipient, const SmtpReply& reply);
  void OnData(const SmtpReply& reply);
  void OnChunk(const SmtpReply& reply);
  void OnEnvelopeSent();
  void BeginBody();
  void Encode(absl::string_view text);
  void Unconvertible();
  void SendChunks();
  void OnFinal(const Expected& to, const SmtpReply& reply);
  void OnUnasked(const SmtpReply& reply);
  bool RefusedLocally();
  void GoReady();
  void TransactionDone();
  void End(const std::string& error);
  void Decide(size_t recipient, const SmtpResult& result);
  void DecideRest(const SmtpResult& result);

  // For the watcher (smtp_client_watch.cc).
  void Watch(absl::string_view line);
  void TellNext();
  void TellSent();
  void TellServerLine(absl::string_view line);
  void TellBanner(const SmtpReply& reply);
  void TellAuth(SmtpClientEvent::Result result);
  void TellMail(const SmtpReply& reply);
  void TellRcpt(size_t recipient, const SmtpReply& reply);
  void TellData(const SmtpReply& reply);
  void TellFinal(const SmtpReply& reply);
  void TellRollback();
  void Tell(SmtpClientEvent event);

  const Options options_;
  Events* const events_;
  SmtpClientWatcher* const watcher_;
  State state_ = State::kGreeting;
  SmtpReplyParser parser_;
  uint64_t replies_ = 0;
  PeerExtensions extensions_;
  std::string out_;
  // Commands without a reply, in order; the first live_ of them were sent.
  std::deque<Expected> expected_;
  size_t live_ = 0;

  // The present transaction.
  SmtpTransaction transaction_;
  std::vector<Standing> standings_;
  size_t accepted_ = 0;  // recipients that are kAccepted
  bool mail_answered_ = false;
  std::unique_ptr<MimeDowngrade> downgrade_;  // null: nothing is converted
  DataEncoder encoder_;
  BinaryEncoder binary_encoder_;
  // BDAT.
  bool chunked_ = false;     // instead of DATA
  std::string chunk_;        // not sent
  bool last_given_ = false;  // chunk_ holds the end
  size_t open_chunks_ = 0;   // sent, not answered
  // For the watcher.
  bool told_begin_ = false;   // of the transaction, and of no end of it
  bool taken_ = false;        // by the server, for one recipient at least
  uint64_t body_octets_ = 0;  // as sent, without the final dot

  // Of the session.
  bool secure_ = false;
  bool verified_ = false;  // the server, by TLS
  bool failed_in_starttls_ = false;
  bool silent_in_tls_ = false;  // nothing has come since STARTTLS' handshake
  std::unique_ptr<SaslClient> sasl_;
  Secret auth_response_;     // the last one sent, or about to be, in base64
  bool auth_first_ = false;  // it waits for the server's 334
  std::string auth_error_;   // why the exchange was cancelled
  std::string auth_user_;    // for the watcher
  // It has done or waited for a transaction: the server may have given it up
  // before it saw the next MAIL.
  bool rested_ = false;
  bool needs_rset_ = false;  // the last one was not completed by a dot
  uint32_t refused_ = 0;     // RCPTs in a row
};

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_SMTP_CLIENT_SESSION_H_
