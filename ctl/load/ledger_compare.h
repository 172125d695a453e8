// Compares what the load generator saw acknowledged with where it is now: at
// the sink, in Maildirs or still in the queue.  Pure.
//
// A pair is one message id (X-Load-Id) and one recipient.
#ifndef HOLDFAST_CTL_LOAD_LEDGER_COMPARE_H_
#define HOLDFAST_CTL_LOAD_LEDGER_COMPARE_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "ctl/load/ledger.h"

namespace holdfast {

// One file of a Maildir.
struct MaildirCopy {
  std::string name;       // for people
  std::string envelope;   // id in its name, 16 hexadecimal digits; or empty
  std::string id;         // X-Load-Id; empty: not one of ours, ignored
  std::string recipient;  // Delivered-To
  bool intact = true;
};

// "1700000000.<uuid>.8d1fc6650ae2cde2.host:2,S" -> "8d1fc6650ae2cde2"
std::string EnvelopeInMaildirName(absl::string_view name);

class LedgerCompare {
 public:
  // Each kind of finding: how often, and a few of them for people.
  struct Finding {
    static constexpr size_t kExamples = 10;
    int64_t count = 0;
    std::vector<std::string> examples;
    void Add(std::string example);
  };

  void AddLedger(const std::vector<LedgerEntry>& entries);  // load or sink
  void AddMaildir(const MaildirCopy& copy);
  // A line of `smtpctl show queue`.
  void AddQueueLine(absl::string_view line);
  // A line of `smtpctl show doubt` (envelope, time, kind, sender, recipient; or
  // an envelope alone).
  void AddDoubtLine(absl::string_view line);

  struct Result {
    int64_t acknowledged = 0;  // pairs
    int64_t unknown = 0;       // pairs whose acceptance was not answered
    int64_t at_sink = 0;       // distinct pairs
    int64_t in_maildir = 0;
    int64_t in_queue = 0;
    int64_t doubtful = 0;        // envelopes ever listed in doubt
    int64_t repeated_doubt = 0;  // extra copies that doubt explains
    Finding lost;                // acknowledged and nowhere
    Finding repeated;            // extra copies at the sink without doubt
    Finding refused_too;         // taken though the client was told 4xx or 5xx
    Finding repeated_maildir;    // an envelope or pair twice in Maildirs
    Finding elsewhere_too;       // delivered and still queued, without doubt
    Finding damaged;             // body differs from what was sent
    Finding unexpected;          // neither acknowledged nor unknown

    bool ok() const {
      return lost.count + repeated.count + refused_too.count +
                 repeated_maildir.count + elsewhere_too.count + damaged.count +
                 unexpected.count ==
             0;
    }
    std::string Json() const;  // one line, without its end
  };
  Result Compare() const;

 private:
  using Pair = std::pair<std::string, std::string>;
  struct Copies {
    int64_t sink = 0;
    int64_t maildir = 0;
    bool queued = false;
    std::set<std::string> msgids;  // that the sink saw
  };
  // Whether an attempt of this pair was ever in doubt.  How often it was can't
  // be told: the list knows seconds.
  bool Doubted(const Pair& pair, const std::set<std::string>& msgids) const;
  void CompareCopies(Result& result) const;

  std::set<Pair> acknowledged_;
  std::set<Pair> unknown_;
  std::set<Pair> refused_;
  std::map<std::string, std::string> ids_by_msgid_;
  std::map<std::string, std::string> msgids_by_id_;
  std::map<Pair, Copies> copies_;
  std::map<std::string, int64_t> maildir_envelopes_;
  std::set<Pair> doubts_;            // msgid and recipient ("" for any)
  std::vector<Pair> queued_msgids_;  // msgid and recipient
  Finding damaged_;
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_LOAD_LEDGER_COMPARE_H_
