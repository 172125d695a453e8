// One SMTP client: its stream, its session, its transaction.
#ifndef HOLDFAST_SERVER_RECEIVE_SMTP_CONNECTION_H_
#define HOLDFAST_SERVER_RECEIVE_SMTP_CONNECTION_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/random/bit_gen_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "protocol/envelope.h"
#include "protocol/ids.h"
#include "protocol/smtp_server_session.h"
#include "server/loop/event_loop.h"
#include "server/loop/stream.h"
#include "server/receive/incoming_message.h"
#include "server/receive/lookup_client.h"
#include "server/receive/queue_client.h"
#include "server/receive/reverse_names.h"

namespace holdfast {

// Nothing complete comes from the client for so long: the session ends without
// a word (reference part 1, section 4.1).
inline constexpr absl::Duration kSessionTimeout = absl::Seconds(300);
// A message may take this, and a second more for so many octets.
inline constexpr absl::Duration kMessageGrace = absl::Minutes(10);
inline constexpr int64_t kMinMessageRate = 1000;
// After our last word the client has this long to close.
inline constexpr absl::Duration kLingerTimeout = absl::Seconds(5);
// Replies that the client does not read: above this we don't read either.
inline constexpr size_t kMaxReplyBacklog = 64 << 10;
// What the recipients of one message may become: they travel in one frame,
// with the body (kMaxFrameBytes).
inline constexpr size_t kMaxEnvelopesPerMessage = 10000;
inline constexpr size_t kMaxEnvelopeBytesPerMessage = 8 << 20;

// What a listener means for its sessions.
struct ReceiveListener {
  SmtpServerOptions smtp;
  std::string tag;
  std::string header_domain;  // Message-ID, and addresses in the header
  bool socket = false;        // the enqueue socket
  bool add_missing = false;   // Date and Message-ID: local, or port 587
  bool mask_source = false;
};

// What all connections of the room share.  Outlives them.
struct ReceiveServices {
  EventLoop* loop = nullptr;
  QueueClient* queue = nullptr;
  LookupClient* lookup = nullptr;
  ReverseNames* names = nullptr;
  absl::BitGenRef random;
  absl::TimeZone zone;
  absl::Duration queue_ttl;
  std::string server_name;
  std::string scratch;  // for IncomingMessage
};

class SmtpConnection : public std::enable_shared_from_this<SmtpConnection> {
 public:
  struct Owner {
    // Answers have come: call Pump() at the end of the turn.
    std::function<void(SmtpConnection*)> pump_later;
    // It is over; drop it, but not inside the call.
    std::function<void(SmtpConnection*)> closed;
  };

  // `address` as log lines have it: "192.0.2.1", "[2001:db8::1]" or "local".
  SmtpConnection(ReceiveServices* services, const ReceiveListener* listener,
                 SessionId id, std::string address,
                 std::unique_ptr<Stream> stream, Owner owner);

  // Finds the client's name, then greets.
  void Start();
  // Goes on with what has come.
  void Pump();
  // The queue's door has closed: a message on its way is lost.
  void OnQueueGone();
  // The server stops: ends now, or after the message that is on its way.
  void Stop();
  // Nothing more to say, only waiting for the client to close.
  bool lingering() const { return phase_ == Phase::kLingering; }
  SessionId id() const { return id_; }

 private:
  enum class Phase {
    kNaming,  // before the banner
    kTalking,
    kStopping,   // as kTalking, up to the end of the message
    kLingering,  // we have closed
    kClosed,
  };
  // What MAIL and RCPT have collected.
  struct Recipient {
    MailAddress address;
    size_t last_envelope = 0;  // index into envelopes
  };
  struct Transaction {
    ReversePath sender;
    std::vector<Recipient> recipients;
    std::vector<Envelope> envelopes;
    size_t envelope_bytes = 0;  // of envelopes, encoded, at most
  };

  void OnName(const std::string& name);
  void OnBytes(absl::string_view bytes);
  void OnStreamClosed(const absl::Status& status);
  void OnDrained();
  bool OwesAnswers() const;

  void On(const SenderAsked& asked);
  void On(RecipientAsked& asked);
  void On(const MessageStarts& asked);
  void On(const MessageBytes&);
  void On(const MessageEnds& asked);
  void On(const Greeted&) {}
  void On(const TransactionReset&);
  void On(const CommandFailed& failed);
  void On(const BadInput& bad);
  void On(const SessionClosed&);

  void OnExpanded(uint64_t question, const ForwardPath& path,
                  const ExpandAnswer& answer);
  bool AddRecipient(const ForwardPath& path, const ExpandAnswer& answer);
  void BeginMessage(uint64_t question, MessageId id);
  void OnMessageProgress();
  void SubmitMessage();
  void OnAccepted(uint64_t question, MessageId message, AcceptResult result);
  std::string MakeReceivedHeader(MessageId id) const;

  bool MessageIsBlocked() const;
  bool MessageIsTooBig() const;
  void Flush();
  void UpdateReading();
  void ArmTimer();
  void CheckTime();
  void CloseWith(absl::string_view reason);
  void Linger();

  ReceiveServices* services_;
  const ReceiveListener* listener_;
  const SessionId id_;
  const std::string address_;
  std::string name_;  // of the client
  std::unique_ptr<Stream> stream_;
  Owner owner_;
  SmtpServerSession session_;
  Phase phase_ = Phase::kNaming;
  bool reading_ = false;
  bool heard_all_ = false;  // the client has closed its sending side

  std::unique_ptr<Transaction> transaction_;  // between MAIL and its end
  std::shared_ptr<IncomingMessage> message_;
  uint64_t end_question_ = 0;  // MessageEnds, until it was answered

  EventLoop::Timer timer_;
  absl::Duration last_activity_;
  absl::Duration message_started_;  // later, for the time we made it wait
  absl::Duration blocked_since_ = absl::InfiniteDuration();
  int64_t message_bytes_ = 0;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RECEIVE_SMTP_CONNECTION_H_
