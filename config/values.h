// The value syntaxes of smtpd.conf(5) (reference part 1, section 1.4).  Each
// is empty where the text is not such a value.
#ifndef HOLDFAST_CONFIG_VALUES_H_
#define HOLDFAST_CONFIG_VALUES_H_

#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace holdfast {

// "4d": digits and one of s m h d; positive, below 2^31 seconds.
std::optional<absl::Duration> ParseDelay(absl::string_view text);

// "35M", "1.5k", "100": powers of 1024.
std::optional<uint64_t> ParseSize(absl::string_view text);

// Ours: "5%", "0.5%", below 100, as a fraction.
std::optional<double> ParsePercent(absl::string_view text);

// The port of a TCP service in the text of services(5).
std::optional<uint16_t> FindTcpService(absl::string_view services,
                                       absl::string_view name);

// A name as res_hnok(3) takes it: labels of letters, digits, '-' and '_' that
// begin and end with a letter or digit.
bool IsHostname(absl::string_view text);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_VALUES_H_
