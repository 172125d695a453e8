// `smtpctl spf walk` (reference part 2, section 5.8): the networks that the SPF
// records of domains let send, found through include, redirect, a and mx.
#ifndef HOLDFAST_CTL_SPF_SPF_WALK_H_
#define HOLDFAST_CTL_SPF_SPF_WALK_H_

#include <deque>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "ctl/spf/spf_record.h"

namespace holdfast {

// Blocks; what can't be found is an empty answer.
class SpfDns {
 public:
  virtual ~SpfDns() = default;
  virtual std::vector<std::string> Texts(const std::string& name) = 0;
  virtual std::vector<std::string> Exchanges(const std::string& name) = 0;
  // In text form.
  virtual std::vector<std::string> Addresses4(const std::string& name) = 0;
  virtual std::vector<std::string> Addresses6(const std::string& name) = 0;
};

class SpfWalk {
 public:
  // Names looked up for one domain.
  static constexpr int kMaxLookups = 1000;

  // `print` gets lines of standard output, `warn` of standard error, both
  // without their ends and fit for a terminal.
  SpfWalk(SpfDns* dns, std::function<void(absl::string_view)> print,
          std::function<void(absl::string_view)> warn)
      : dns_(dns), print_(std::move(print)), warn_(std::move(warn)) {}

  // False: not all was looked up, as `warn` was told.
  bool Walk(const std::string& domain);

 private:
  void Add(SpfTerm term);
  void Follow(const SpfTerm& term);
  void FollowAddress(const SpfTerm& term);
  void Print(const std::string& address, const std::string& prefix);

  SpfDns* const dns_;
  const std::function<void(absl::string_view)> print_, warn_;
  std::deque<SpfTerm> left_;
  std::set<std::string> seen_;     // terms
  std::set<std::string> printed_;  // networks
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_SPF_SPF_WALK_H_
