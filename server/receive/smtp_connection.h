// One SMTP client: its stream, its session, its transaction.
//
//   kNaming ----> kHandshake (smtps) ----> kTalking <---> kHandshake (STARTTLS)
//   what is asked before the banner            |
//                                          kStopping, kLingering, kClosed
//
// smtp_connection.cc has the life of the connection and its time limits,
// connection_identity.cc who the client is (names, TLS, AUTH, XCLIENT),
// connection_mail.cc the transaction and the message, connection_filter.cc what
// filters are asked and told.
#ifndef HOLDFAST_SERVER_RECEIVE_SMTP_CONNECTION_H_
#define HOLDFAST_SERVER_RECEIVE_SMTP_CONNECTION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/random/bit_gen_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "config/config.h"
#include "protocol/envelope.h"
#include "protocol/ids.h"
#include "protocol/smtp_server_session.h"
#include "server/filter_client/filter_client.h"
#include "server/loop/event_loop.h"
#include "server/loop/stream.h"
#include "server/receive/client_limits.h"
#include "server/receive/filtered_text.h"
#include "server/receive/incoming_message.h"
#include "server/receive/lookup_client.h"
#include "server/receive/queue_client.h"
#include "server/receive/receive_listener.h"
#include "server/receive/reverse_names.h"
#include "server/tls/tls_stream.h"

namespace holdfast {

// A message may take this long, and then must have come at `smtp limit
// min-data-rate`.
inline constexpr absl::Duration kMessageGrace = absl::Minutes(10);
inline constexpr absl::Duration kTlsHandshakeTimeout = absl::Seconds(60);
// After our last word the client has this long to close.
inline constexpr absl::Duration kLingerTimeout = absl::Seconds(5);
// Before the banner, until it is known what filters want; then 421.
inline constexpr absl::Duration kFilterPatience = absl::Minutes(5);
// Replies that the client does not read: above this we don't read either.
inline constexpr size_t kMaxReplyBacklog = 64 << 10;
// What the recipients of one message may become: they travel in one frame,
// with the body (kMaxFrameBytes).
inline constexpr size_t kMaxEnvelopesPerMessage = 10000;
inline constexpr size_t kMaxEnvelopeBytesPerMessage = 8 << 20;
// Before everything else, if filters say that it is junk.
inline constexpr char kJunkHeader[] = "X-Spam: Yes\n";

// What all connections of the room share.  Outlives them.
struct ReceiveServices {
  EventLoop* loop = nullptr;
  QueueClient* queue = nullptr;
  LookupClient* lookup = nullptr;
  ReverseNames* names = nullptr;
  FilterClient* filters = nullptr;
  ClientLimits* clients = nullptr;
  const SmtpLimits* limits = nullptr;
  absl::BitGenRef random;
  absl::TimeZone zone;
  absl::Duration queue_ttl;
  std::string server_name;
  std::string enqueue_socket;  // its path
  SessionCounts counts = {};
  std::string scratch = {};  // for IncomingMessage
};

class SmtpConnection : public std::enable_shared_from_this<SmtpConnection>,
                       private FilteredSessionOwner {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // Answers have come: call Pump() at the end of the turn.
    virtual void PumpLater(SmtpConnection* connection) = 0;
    // It is over; drop it, but not inside the call.
    virtual void OnConnectionClosed(SmtpConnection* connection) = 0;
    // ReceiveServices::counts has changed.
    virtual void OnCounted() = 0;
  };

  // `address` as log lines have it: "192.0.2.1", "[2001:db8::1]" or "local".
  // `visit` may be null: not counted.
  SmtpConnection(ReceiveServices* services, const ReceiveListener* listener,
                 SessionId id, std::string address,
                 std::unique_ptr<Stream> stream,
                 std::unique_ptr<ClientLimits::Visit> visit, Owner* owner);
  ~SmtpConnection() override;

  // Both ends, for filters: "192.0.2.1:25".  Before Start(), if at all.
  void SetEnds(std::string source, std::string destination);
  // Finds out what there is to know about the client, then greets.
  void Start();
  // Goes on with what has come.
  void Pump();
  // The queue's door has closed: a message on its way is lost.
  void OnQueueGone();
  // What filters want is known, or has changed; or the room is gone.
  void OnFiltersChanged();
  // The server stops: ends now, or after the message that is on its way.
  void Stop();
  // Nothing more to say, only waiting for the client to close.
  bool lingering() const { return phase_ == Phase::kLingering; }
  SessionId id() const { return id_; }

 private:
  enum class Phase {
    kNaming,     // before the banner
    kHandshake,  // of TLS: it has the stream
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
    absl::Time begun;
    std::vector<Recipient> recipients;
    std::vector<Envelope> envelopes;
    size_t envelope_bytes = 0;  // of envelopes, encoded, at most
    // With filters.
    MessageId id{};           // leased at MAIL
    uint64_t generation = 0;  // of the queue's door then
    uint32_t next_envelope = 0;
    bool junk = false;
    bool discard = false;
    bool quarantine = false;
  };
  // With filters.
  struct Filtering {
    std::shared_ptr<FilteredSession> session;  // null: not begun, or over
    std::string fcrdns = "pass";
    std::string source, destination;
    bool waits_for_wants = false;  // before the banner
    bool junk = false;             // all messages of the session
    bool discard = false;          // the message whose MAIL is decided
    EventLoop::Timer patience;     // with that
    uint64_t text_question = 0;    // MessageTextEnds, until it was answered
  };
  // While a message is read.
  struct Reading {
    std::shared_ptr<IncomingMessage> message;  // null: lost with the queue
    std::unique_ptr<FilteredText> text;        // null: passes no filters
    absl::Duration started;  // later, for the time we made it wait
    absl::Duration blocked_since = absl::InfiniteDuration();
    int64_t bytes = 0;
    std::optional<Reply> refusal;  // its text has failed
  };

  // ---- smtp_connection.cc
  bool IsTalking() const {
    return phase_ == Phase::kTalking || phase_ == Phase::kStopping;
  }
  void UseStream(std::unique_ptr<Stream> stream);
  void OnBytes(absl::string_view bytes);
  void OnStreamClosed(const absl::Status& status);
  void OnDrained();
  bool OwesAnswers() const;
  void Flush();
  void UpdateReading();
  void ArmTimer();
  void CheckTime();
  absl::Duration PatienceNow() const;
  bool IsTooSlow(absl::Duration now) const;
  void CloseWith(absl::string_view reason);
  void EndForTimeout();
  void Linger();
  void On(const Greeted&) {}
  bool IsHeldBack() const;
  void On(const PauseAsked& asked);
  void On(const CommandFailed& failed);
  void On(const BadInput& bad);
  void On(const SessionClosed&);

  // ---- connection_identity.cc
  void AskWhoItIs();
  void FindHostname();
  void AskHostname(const std::string& key, const std::string& otherwise);
  void AskXclient();
  void OnFact();
  void OnIdentified();
  void Greet();
  void BeginTls();
  void OnTls(absl::StatusOr<std::unique_ptr<Stream>> stream,
             const TlsInfo& info);
  void OnTlsFailed(const absl::Status& why);
  void LogTls(const TlsInfo& info);
  void On(const StartTlsAsked&);
  void On(AuthAsked& asked);
  void OnAuthAnswer(uint64_t question, const std::string& user,
                    const AuthAnswer& answer);
  void On(const AuthCancelled&);
  void On(const XclientAsked& asked);
  std::optional<Reply> TakeClient(const std::string& address);
  void AskSender(const SenderAsked& asked);

  // ---- connection_filter.cc
  void AskForWants();
  void GiveUpWaiting();
  void MeetFilters();
  bool BeginFiltering();
  void RestartFiltering(const XclientAsked& asked);
  void EndFiltering();
  void UpdateFilters();
  bool FiltersAreLost() const;
  void Report(FilterEvent event, std::vector<std::string> fields);
  void On(FilterTold& told);
  void On(FilterAsked& asked);
  void On(const MessageTextEnds& asked);
  void OnDecision(uint64_t question, FilterPhase phase,
                  const FilterDecision* decision);
  void Proceed(uint64_t question, FilterPhase phase,
               const FilterDecision& decision);
  void ChangeEnvelopes(uint64_t question, const FilterDecision& decision);
  bool ChangeSender(const FilterDecision& decision);
  std::string PrintedPath(absl::string_view address) const;
  void RemoveRecipient(absl::string_view address);
  void AddRecipients(uint64_t question, std::vector<std::string> addresses,
                     size_t next);
  void LeaseId(uint64_t question);
  bool IsJunk() const;
  void Discard(uint64_t question);
  void OnFilterText(absl::string_view bytes, bool end) override;
  void OnFilterTextRoom() override;
  void OnFilterTextFailed(const std::string& reply) override;
  void MoveText();
  void RefuseText(Reply reply);
  Reply RefusalOfText() const;

  // ---- connection_mail.cc
  void On(const SenderAsked& asked);
  void BeginTransaction(uint64_t question, const ReversePath& sender);
  ExpandRequest ExpandRequestFor(const MailAddress& rcpt) const;
  void On(RecipientAsked& asked);
  void On(const MessageStarts& asked);
  void On(const MessageBytes&);
  void On(const MessageEnds& asked);
  void On(const TransactionReset&);
  void OnExpanded(uint64_t question, const ForwardPath& path,
                  const ExpandAnswer& answer);
  bool AddRecipient(const ForwardPath& path, const ExpandAnswer& answer);
  Envelope MakeEnvelope(const ForwardPath& path,
                        const ExpandedRecipient& to) const;
  void BeginMessage(uint64_t question, MessageId id);
  void OnMessageProgress();
  void SubmitMessage();
  // False if nobody is there any more to hear of it.
  bool OnAccepted(uint64_t question, MessageId message, AcceptResult result);
  std::string MakeReceivedHeader(MessageId id) const;
  bool MessageIsBlocked() const;
  bool MessageIsTooBig() const;
  bool HasAuthenticated() const {
    return listener_->socket || session_.authenticated();
  }
  IncomingMessage* message() const {
    return reading_ == nullptr ? nullptr : reading_->message.get();
  }

  ReceiveServices* const services_;
  const ReceiveListener* const listener_;
  Owner* const owner_;
  const SessionId id_;
  Phase phase_ = Phase::kNaming;
  bool wants_bytes_ = false;  // the stream is being read
  bool heard_all_ = false;    // the client has closed its sending side
  bool in_tls_count_ = false;
  bool timed_out_ = false;  // and told so
  // Nobody can say whether it may use XCLIENT: mail of others that comes
  // through it would be judged by its address.
  bool unknown_proxy_ = false;
  uint8_t open_facts_ = 0;  // kNaming: what is still asked
  std::string address_;     // of the client
  std::string name_;        // of the client
  std::string tls_;         // "TLSv1.3:...:256:NO", for Received
  std::unique_ptr<ClientLimits::Visit> visit_;
  std::unique_ptr<Stream> stream_;  // null in kHandshake
  std::unique_ptr<TlsHandshake> handshake_;
  SmtpServerSession session_;
  uint64_t auth_conversation_ = 0;

  std::unique_ptr<Filtering> filtering_;      // null: no filters
  std::unique_ptr<Transaction> transaction_;  // between MAIL and its end
  std::unique_ptr<Reading> reading_;  // from DATA's or BDAT's start to its end
  uint64_t end_question_ = 0;         // MessageEnds, until it was answered

  EventLoop::Timer timer_;
  EventLoop::Timer pause_;
  absl::Duration last_activity_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RECEIVE_SMTP_CONNECTION_H_
