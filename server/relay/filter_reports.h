// Tells `filters` of the sessions of relay actions with a `filter`
// (smtpd-filters(7), smtp-out; reference part 2, section 7.4).
//
// What it tells is news, not mail: nothing waits for it, and where `filters`
// does not keep up it is dropped.
#ifndef HOLDFAST_SERVER_RELAY_FILTER_REPORTS_H_
#define HOLDFAST_SERVER_RELAY_FILTER_REPORTS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "protocol/filter_words.h"
#include "protocol/ids.h"
#include "protocol/smtp_client_watcher.h"
#include "server/door/door.h"
#include "server/filter_client/filter_client.h"
#include "server/loop/event_loop.h"

namespace holdfast {

class SessionReports;

// Used on the loop's thread.
class FilterReports {
 public:
  // With so much not yet taken by `filters` reports are dropped, and sessions
  // that begin are not told of at all.
  static constexpr size_t kMaxBacklog = kMaxFilterBacklog;
  // How often the log has a line about that.
  static constexpr absl::Duration kLogEvery = absl::Minutes(1);

  // `on_broken`: as FilterClient's.
  FilterReports(EventLoop* loop, std::function<void()> on_broken)
      : loop_(loop),
        client_(loop, "relay", nullptr, nullptr, std::move(on_broken)) {}

  // Replaces the one before.  Sessions that have begun before it are not told
  // of any more.
  void SetDoor(std::unique_ptr<Door> door) { client_.SetDoor(std::move(door)); }

  // Whether somebody hears of sessions of this filter.
  bool Wanted(const std::string& filter) const;

  // What is known of a connection that was made.
  struct Link {
    SessionId session{};
    std::string filter;
    std::string rdns;    // empty: it has none
    std::string source;  // "192.0.2.1:53462", "unix:/path"
    std::string destination;
    std::string helo;  // what we call ourselves
  };
  // Null: nobody hears of it.  Must not outlive this.
  std::unique_ptr<SessionReports> Begin(Link link);

  // Not sent, since the start.
  uint64_t dropped() const { return dropped_; }

 private:
  friend class SessionReports;
  // False: it is dropped.
  bool HasRoom();
  void LogDropped();

  EventLoop* const loop_;
  FilterClient client_;
  uint64_t dropped_ = 0, logged_ = 0;
  EventLoop::Timer log_timer_;  // the log has had its line
};

// Of one session; its end is told when it goes, if not before.
class SessionReports : public SmtpClientWatcher {
 public:
  // What the events of a transaction are about.
  struct Transaction {
    MessageId message{};
    std::string sender;
    struct Recipient {
      EnvelopeId envelope{};
      std::string path;
    };
    std::vector<Recipient> recipients;
  };

  // link-tls: "TLSv1.3:TLS_AES_256_GCM_SHA384:256".
  void OnTls(const std::string& ciphers);
  void OnTimeout();
  void BeginTransaction(Transaction transaction) {
    transaction_ = std::move(transaction);
  }
  void OnEvent(const SmtpClientEvent& event) override;
  // link-disconnect; nothing is told any more.
  void End() { link_.reset(); }

 private:
  friend class FilterReports;
  SessionReports(FilterReports* owner, std::shared_ptr<FilteredSession> link,
                 std::string helo)
      : owner_(owner), link_(std::move(link)), helo_(std::move(helo)) {}

  void Tell(FilterEvent event, std::vector<std::string> fields = {});
  // tx-..., with the message in front.
  void TellTx(FilterEvent event, std::vector<std::string> fields = {});

  FilterReports* const owner_;
  std::shared_ptr<FilteredSession> link_;  // null: it has ended
  const std::string helo_;
  Transaction transaction_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_FILTER_REPORTS_H_
