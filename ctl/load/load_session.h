// One SMTP connection of smtp-load: RFC 5321's client side, with PIPELINING
// (RFC 2920) and BDAT (RFC 3030) when asked for and offered.
#ifndef HOLDFAST_CTL_LOAD_LOAD_SESSION_H_
#define HOLDFAST_CTL_LOAD_LOAD_SESSION_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "ctl/load/load_message.h"
#include "ctl/load/load_plan.h"
#include "ctl/load/poller.h"
#include "ctl/load/text_connection.h"

namespace holdfast {

// How a message ended.
struct LoadOutcome {
  enum class Kind {
    kAcknowledged,  // 250 after the end of the message
    kTemporary,     // 4xx to MAIL, all RCPTs, DATA or the end
    kRefused,       // 5xx to one of these
    kCut,           // the connection ended before the final dot was sent
    kUnknown,       // ... after that and before its answer
  };
  Kind kind = Kind::kCut;
  int64_t number = 0;
  std::string msgid;                    // from the 250
  std::vector<std::string> recipients;  // that RCPT accepted
  int64_t refused_recipients = 0;
  int64_t bytes = 0;
  int64_t wait_us = 0;    // from the end of the message to its answer
  std::string reply;      // that decided, its last line
  bool complete = false;  // all of the message was sent
};

class LoadSession : public TextConnection::User {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // The session is ready for a message: answer with Send() or Quit(), now
    // or later.
    virtual void OnReady(LoadSession* session) = 0;
    virtual void OnOutcome(const LoadOutcome& outcome) = 0;
    // The connection is gone; `greeted`: the server had answered EHLO.  The
    // owner deletes the session later, not in this call.
    virtual void OnEnd(LoadSession* session, bool greeted,
                       const std::string& why) = 0;
  };

  // Takes `fd`, a socket that connects.
  LoadSession(Poller* poller, int fd, const LoadPlan* plan, Owner* owner);

  void Send(int64_t number, const LoadBody* body, const std::string& date);
  void Quit();
  // Ends the connection now.
  void Cut(const std::string& why);

  int64_t sent() const { return sent_; }
  // Waits for the server since this time (Poller::NowMs()); 0: doesn't wait.
  int64_t waiting_since_ms() const {
    return expected_.empty() ? 0 : last_progress_ms_;
  }

 private:
  // What the next reply answers.
  enum class Expect {
    kBanner,
    kEhlo,
    kMail,
    kRcpt,
    kData,
    kBdat,
    kEnd,
    kRset,
    kQuit
  };

  void OnInput() override;
  void OnClosed(const std::string& why) override;
  void Command(Expect expect, absl::string_view line);
  void OnReply(int code, const std::string& line);
  void OnEhlo(int code);
  void OnMail(int code, const std::string& line);
  void OnRcpt(int code, const std::string& line);
  void OnData(int code, const std::string& line);
  void OnBdat(int code, const std::string& line);
  void OnEnd(int code, const std::string& line);
  void SendRcpts();
  void SendRcpt();
  void StartText();
  void SendBody();
  void SendChunk();
  void ResetWhenAnswered();
  void Refuse(int code, const std::string& line);
  void Finish(LoadOutcome::Kind kind, const std::string& reply);

  const LoadPlan* plan_;
  Owner* owner_;
  std::unique_ptr<TextConnection> connection_;
  std::deque<Expect> expected_;
  int64_t last_progress_ms_;
  bool greeted_ = false;
  bool ended_ = false;
  std::string ehlo_;  // lines of its reply
  bool pipelining_ = false;
  bool bdat_ = false;
  int64_t sent_ = 0;

  // The message under way.
  std::optional<LoadOutcome> message_;
  const LoadBody* body_ = nullptr;
  std::string date_;
  std::string text_;  // BDAT: what is still to be sent
  int64_t next_rcpt_ = 0;
  bool end_sent_ = false;
  bool failed_ = false;  // refused already; its outcome was told
  int64_t end_sent_us_ = 0;
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_LOAD_LOAD_SESSION_H_
