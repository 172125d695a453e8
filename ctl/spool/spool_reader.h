// Reads the spool of another mail server, message by message, into a taker.
// What can't be read is told and left out; the spool itself is not changed.
#ifndef HOLDFAST_CTL_SPOOL_SPOOL_READER_H_
#define HOLDFAST_CTL_SPOOL_SPOOL_READER_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "ctl/store/mail_source.h"

namespace holdfast {

struct SpoolOptions {
  std::string folder;    // "/var/spool/smtpd", "/var/spool/postfix"
  std::string key;       // of `queue encryption`, 32 octets; empty: none
  std::string action;    // of mail that is to be relayed; empty: as it says
  absl::Duration ttl;    // how long mail may live, from its creation
  std::string hostname;  // where the spool does not say who took the mail
  absl::Time now;
  // A line for people about what is left out, or what is odd.
  absl::AnyInvocable<void(absl::string_view)> say;
};

struct SpoolSummary {
  uint64_t messages = 0, envelopes = 0;
  uint64_t delivered = 0;  // recipients that have got it and are left out
  uint64_t left_out = 0;   // messages, or envelopes, that could not be read
  uint64_t reports = 0;    // reports that the other server has not made yet
};

class SpoolReader {
 public:
  // `taker` outlives it.
  SpoolReader(SpoolOptions options, MailTaker* taker)
      : options_(std::move(options)), taker_(*taker) {}
  virtual ~SpoolReader() = default;

  // kNotFound: there is no such spool; else errors of the taker only.
  virtual absl::Status Run() = 0;
  const SpoolSummary& summary() const { return summary_; }

 protected:
  using Sink = absl::FunctionRef<absl::Status(absl::string_view)>;

  // `envelopes` have their numbers as ids.  `identity`: what tells this message
  // from all others, wherever and whenever it is read.  `body` is called twice.
  absl::Status Give(absl::string_view kind, absl::string_view identity,
                    std::vector<ExportEnvelope> envelopes,
                    absl::FunctionRef<absl::Status(Sink)> body);
  void LeaveOut(absl::string_view what, absl::string_view why);

  SpoolOptions options_;
  SpoolSummary summary_;

 private:
  absl::Status Feed(const ExportMessage& message,
                    const std::vector<ExportEnvelope>& envelopes,
                    absl::FunctionRef<absl::Status(Sink)> body);

  MailTaker& taker_;
  absl::flat_hash_set<MessageId> ids_;
};

std::unique_ptr<SpoolReader> ReadOpensmtpdSpool(SpoolOptions options,
                                                MailTaker* taker);
std::unique_ptr<SpoolReader> ReadPostfixSpool(SpoolOptions options,
                                              MailTaker* taker);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_SPOOL_SPOOL_READER_H_
