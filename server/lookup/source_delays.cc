#include "server/lookup/source_delays.h"

#include <algorithm>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "protocol/ip_address.h"

namespace holdfast {
namespace {

// More failures make no longer delay; and so many minutes forgive all.
constexpr uint32_t kMaxFailures = 6;
constexpr size_t kInet6NetworkBytes = 8;

static_assert(kMaxOpenAttemptsInAll < kMaxRememberedSources);

}  // namespace

std::string SourceDelays::SourceOf(absl::string_view address) {
  if (absl::StartsWith(address, "[") && absl::EndsWith(address, "]")) {
    address = address.substr(1, address.size() - 2);
  }
  if (absl::StartsWithIgnoreCase(address, "IPv6:")) address.remove_prefix(5);
  std::optional<IpAddress> parsed = IpAddress::Parse(address);
  if (!parsed) return "local";
  if (!parsed->inet6) return parsed->ToString();
  std::fill(parsed->bytes.begin() + kInet6NetworkBytes, parsed->bytes.end(), 0);
  return absl::StrCat(parsed->ToString(), "/64");
}

// Its entry, made if need be; others that nothing is open of make room.
SourceDelays::Source* SourceDelays::Touch(const std::string& source) {
  if (const auto found = sources_.find(source); found != sources_.end()) {
    order_.splice(order_.end(), order_, found->second.place);
    return &found->second;
  }
  for (auto oldest = order_.begin();
       sources_.size() >= kMaxRememberedSources && oldest != order_.end();) {
    const auto entry = sources_.find(*oldest);
    if (entry->second.open > 0) {
      ++oldest;
      continue;
    }
    sources_.erase(entry);
    oldest = order_.erase(oldest);
  }
  Source& made = sources_[source];
  made.place = order_.insert(order_.end(), source);
  return &made;
}

void SourceDelays::StepBack(Source* source, absl::Duration now) {
  while (source->failures > 0 && now - source->last >= kFailureForgotten) {
    --source->failures;
    source->last += kFailureForgotten;
  }
}

bool SourceDelays::Begin(const std::string& source, absl::Duration now) {
  if (open_ >= kMaxOpenAttemptsInAll) return false;
  Source* entry = Touch(source);
  StepBack(entry, now);
  const size_t most =
      entry->failures > 0 ? kMaxOpenAttemptsAfterFailure : kMaxOpenAttempts;
  if (entry->open >= most) return false;
  ++entry->open;
  ++open_;
  return true;
}

absl::Duration SourceDelays::Fail(const std::string& source,
                                  absl::Duration now) {
  Source* entry = Touch(source);
  StepBack(entry, now);
  entry->failures = std::min(entry->failures + 1, kMaxFailures);
  entry->last = now;
  return std::min(kFirstFailureDelay * (1 << (entry->failures - 1)),
                  kMaxFailureDelay);
}

void SourceDelays::End(const std::string& source) {
  const auto found = sources_.find(source);
  if (found == sources_.end() || found->second.open == 0) return;
  --found->second.open;
  --open_;
}

}  // namespace holdfast
