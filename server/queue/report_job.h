// One report on its way: from pending rows to an accepted message.
#ifndef HOLDFAST_SERVER_QUEUE_REPORT_JOB_H_
#define HOLDFAST_SERVER_QUEUE_REPORT_JOB_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "protocol/delivery_report.h"
#include "protocol/report_text.h"
#include "server/queue/queue_services.h"
#include "server/queue/report_filter.h"
#include "server/queue/stored_body_reader.h"
#include "storage/body_codec.h"
#include "storage/queue_store.h"

namespace holdfast {

// What becomes one report: pending rows of one message that agree in all of
// this.
struct ReportGroup {
  MessageId message{};
  std::string smtpname;
  ReportKind kind = ReportKind::kFailed;
  absl::Duration delay = absl::ZeroDuration();  // kDelayed: the interval
  DsnReturn ret = DsnReturn::kUnset;
  // `bounce-text` of the action that the mail went by: the file's name and what
  // is in it; null: the reference's words.
  std::string words_from;
  std::shared_ptr<const ReportText> words;
  std::vector<PendingReport> reports;  // at least one

  // Equal for groups that are the same.
  std::string Key() const;
  std::vector<ReportKey> Keys() const;
  const MailAddress& sender() const { return reports.front().envelope.sender; }
};

// Used on the loop's thread.  Asks where the sender's mail goes, streams the
// original through, stores the report; the transaction that accepts it strikes
// the pending rows.  Holds a piece of the original and a chunk of the report,
// whatever their size.
//
// With `listen on socket filter NAME` the filter sees a session, may change the
// report's text and recipient, and may refuse it: then it is tried again later.
//  Dropping it gives the report up (rows of a body in
// progress are cleaned up at the next start).
class ReportJob : public std::enable_shared_from_this<ReportJob>,
                  private FilteredSessionOwner {
 public:
  enum class Result {
    kSettled,
    kRefused,  // 5xx: it will never be accepted
    kLater,
    kNoRoom,  // later, and small
  };
  // `line` as an SMTP server would answer.
  using Done = absl::AnyInvocable<void(Result result, std::string line)>;

  // `small`: the store is full; a report with few headers that fits into one
  // chunk (of a group that has at most kMaxSmallRecipients).
  ReportJob(QueueServices* services, ReportGroup group, bool small, Done done);

  // Once.  `done` runs in a later turn.
  void Start();

  const ReportGroup& group() const { return group_; }

 private:
  enum class Quote { kAll, kHeaders, kNothing };
  using Step = void (ReportJob::*)();

  // `f` with this job in front, as long as there is one.
  template <class F>
  auto Guarded(F f) {
    return [weak = weak_from_this(), f = std::move(f)](auto&&... args) {
      if (const std::shared_ptr<ReportJob> self = weak.lock())
        f(self.get(), std::forward<decltype(args)>(args)...);
    };
  }

  // FilteredSessionOwner
  void OnFilterText(absl::string_view bytes, bool end) override;
  void OnFilterTextRoom() override;
  void OnFilterTextFailed(const std::string& reply) override;

  void TakeId();
  void OnId(MessageId id);
  void AskRecipient();
  void OnRecipientAsked(const std::string& rewritten);
  void Expand();
  void OnExpanded(ExpandAnswer answer);
  void OnRecipients();
  void WriteMessage();
  void ReadNext();
  void OnPiece(absl::StatusOr<StoredBodyReader::Piece> piece);
  // How much of `bytes` is quoted; sets `quoted_all_` behind the headers.
  size_t Quotable(absl::string_view bytes);
  void Write(absl::string_view raw);
  void Compress(absl::string_view raw);
  void Forward(Step next);
  void End();
  void SendText();
  void EndText();
  void StoreReturned();
  void OnReturnedStored();
  void OnFilterEnded(bool discard, std::string line);
  // Stores what chunks are there, then goes on with `next`.
  void StoreChunks(Step next);
  void EndBody();
  void AskCommit();
  void Accept();
  // The store refused: without the body next time, or later.
  void OnStoreError(const absl::Status& status);
  void DropBody();
  void Restart(Quote quote);
  void Finish(Result result, std::string line);

  // In report_message.cc.
  DeliveryReport Describe() const;
  // The address it goes to, as it stands in the text.
  std::string Recipient() const;
  std::string Received() const;
  void MakeEnvelopeIds();
  std::vector<Envelope> MakeEnvelopes() const;
  std::string ServerName() const;
  void LogSession(const std::vector<Envelope>& envelopes, uint64_t size) const;

  QueueServices* const services_;
  const ReportGroup group_;
  bool small_;
  Quote quote_;
  Done done_;
  std::vector<ExpandedRecipient> recipients_;

  // Of the present attempt.
  std::shared_ptr<ReportFilter> filter_;  // null: none is asked
  SessionId session_{};
  MailAddress rcpt_;        // the sender, unless a filter thinks otherwise
  bool rewritten_ = false;  // it does
  std::string helo_;
  MessageId id_{};
  std::vector<EnvelopeId> ids_;  // parallel to recipients_
  // The text on its way through a filter.
  struct {
    bool filtered = false;
    std::string to_filter;
    Step next = nullptr;  // when all of that is sent
    uint64_t returned = 0;
    size_t untaken = 0;  // came back since the last store began
    size_t taking = 0;   // being stored
    bool storing = false;
    bool complete = false;  // all has come back
  } text_;
  DeliveryReport report_;
  std::optional<StoredBodyReader> reader_;
  std::optional<BodyCompressor> compressor_;
  std::optional<CompressedBody> compressed_;
  std::vector<std::string> chunks_;  // compressed, to be stored
  uint32_t stored_chunks_ = 0;
  size_t quoted_ = 0;       // bytes of the original
  bool line_empty_ = true;  // the quoted text stands at the start of a line
  bool quoted_all_ = false;
};

// A larger original is not returned whole, even if RET=FULL asks for it: the
// next hop of a report may take less than that of the mail, and a report that
// is refused is told to nobody.
inline constexpr size_t kMaxReturnedMessage = 1 << 20;
// Most of the original's headers that a report without its body quotes.
inline constexpr size_t kMaxQuotedHeaders = 128 << 10;
// While the store is full a report takes no more than one chunk, which the
// reserve has room for: this much of the headers, this many recipients.
inline constexpr size_t kMaxSmallHeaders = 16 << 10;
inline constexpr size_t kMaxSmallRecipients = 12;

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_REPORT_JOB_H_
