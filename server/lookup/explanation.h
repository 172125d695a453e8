// `smtpctl explain`: what would become of mail for a recipient, and why, as
// text for people.
#ifndef HOLDFAST_SERVER_LOOKUP_EXPLANATION_H_
#define HOLDFAST_SERVER_LOOKUP_EXPLANATION_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "config/config.h"
#include "protocol/srs.h"
#include "server/door/lookup_messages.h"
#include "server/lookup/expansion_trace.h"

namespace holdfast {

// Of the text; what is longer is cut, and says so.
inline constexpr size_t kMaxExplainBytes = 1 << 20;

// Pure.  Completes the question, is filled by an Expansion (trace()), and then
// tells.
class Explanation {
 public:
  // Without a listener and a source address: the local socket.  A client of the
  // network comes from the first listener, from an address that is nobody's,
  // and says nothing that was not given.
  Explanation(std::shared_ptr<const Config> config,
              const ExplainRequest& request);

  // kInvalidArgument: there is no such listener, or no recipient.
  const absl::Status& status() const { return status_; }
  // What to expand.
  const ExpandRequest& request() const { return request_; }
  ExpansionTrace* trace() { return &trace_; }

  // `srs` (may be null) and `now`: what a relay would make of the sender.
  ExplainAnswer Tell(const ExpandAnswer& answer, const SrsRewriter* srs,
                     absl::Time now) const;

 private:
  bool ChooseListener(const std::string& name);
  std::string Head() const;
  std::string Tree() const;
  std::string RulesOf(const ExpansionTrace::Node& node,
                      const std::string& indent) const;
  std::string Envelopes(const ExpandAnswer& answer, const SrsRewriter* srs,
                        absl::Time now) const;
  std::string Reply(const ExpandAnswer& answer) const;

  std::shared_ptr<const Config> config_;
  absl::Status status_;
  ExpandRequest request_;
  const Listener* listener_ = nullptr;
  ExpansionTrace trace_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_LOOKUP_EXPLANATION_H_
