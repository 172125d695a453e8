// The session that a report would have had on the local socket, for the filter
// of `listen on socket` (reference part 2, section 7.5): its events, questions
// and text.
#ifndef HOLDFAST_SERVER_QUEUE_REPORT_FILTER_H_
#define HOLDFAST_SERVER_QUEUE_REPORT_FILTER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/strings/string_view.h"
#include "protocol/ids.h"
#include "protocol/reply.h"
#include "server/filter_client/filter_client.h"

namespace holdfast {

// Used on the loop's thread.  The steps come in the order in which they stand
// here, each once its predecessor's `next` was called, which may happen inside.
// Dropping it ends the session; nobody is called any more.
class ReportFilter : public std::enable_shared_from_this<ReportFilter> {
 public:
  struct Facts {
    SessionId session{};
    std::string filter;
    std::string host;  // our name
    std::string path;  // of the socket
    std::string helo;
  };
  // Instead of a `next`: the filter refuses, or nobody could be asked; `line`
  // as an SMTP server would answer.  `discard`: it has taken the report, and it
  // is to be forgotten.
  using Ended = absl::AnyInvocable<void(bool discard, std::string line)>;
  using Next = absl::AnyInvocable<void()>;

  // Null: what the filter wants is not known now.  `owner` gets the text; it
  // and `client` outlive the result.
  static std::shared_ptr<ReportFilter> Begin(FilterClient* client, Facts facts,
                                             FilteredSessionOwner* owner,
                                             Ended ended);
  ~ReportFilter();

  // Banner and EHLO.
  void Greet(Next next);
  // MAIL FROM:<>.  A filter does not change that (RFC 5321 section 4.5.5).
  void Mail(MessageId message, Next next);
  // RCPT; `next` gets the path of the recipient that it is for now, with its
  // angle brackets if the filter has changed it, else empty.
  void Rcpt(const std::string& address,
            absl::AnyInvocable<void(const std::string& rewritten)> next);
  // What became of the recipient.
  void RcptTaken(const std::vector<EnvelopeId>& envelopes);
  void RcptRefused(const std::string& line);
  void Data(Next next);

  // The message's text goes through the filter.
  bool WantsText() const;
  // Nobody hears of it any more; to be looked at before the first text.
  bool lost() const { return session_->lost(); }
  size_t TextRoom() const { return session_->TextRoom(); }
  void SendText(std::string bytes, bool end) {
    session_->SendText(std::move(bytes), end);
  }
  void TookText(size_t bytes) { session_->TookText(bytes); }

  // The final dot.
  void Commit(Next next);
  // It is accepted.  The owner may drop this: QUIT goes on by itself.
  void Accepted(uint64_t size);

  // The message is to be marked: "X-Spam: Yes".
  bool junk() const { return junk_; }
  // As the filter may have changed it.
  const std::string& helo() const { return facts_.helo; }

 private:
  ReportFilter(Facts facts, Ended ended)
      : facts_(std::move(facts)), ended_(std::move(ended)) {}

  // `next` gets the new argument, or nothing.
  void Ask(FilterPhase phase, const std::string& argument,
           absl::AnyInvocable<void(const std::string& rewritten)> next);
  void OnDecision(const FilterDecision* decision,
                  absl::AnyInvocable<void(const std::string&)> next);
  void End(bool discard, std::string line);
  void Client(std::string line);
  void Server(const Reply& reply);
  // tx-..., with the message in front.
  void Tx(FilterEvent event, std::vector<std::string> fields = {});

  Facts facts_;
  Ended ended_;
  std::shared_ptr<FilteredSession> session_;
  MessageId message_{};
  std::string rcpt_;
  bool open_ = false;  // a transaction
  bool junk_ = false;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_REPORT_FILTER_H_
