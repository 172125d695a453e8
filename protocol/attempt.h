// One attempt to deliver an envelope, as its record and `smtpctl history` keep
// it.
#ifndef HOLDFAST_PROTOCOL_ATTEMPT_H_
#define HOLDFAST_PROTOCOL_ATTEMPT_H_

#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace holdfast {

struct Attempt {
  enum class Result : uint8_t {
    kOk = 1,
    kTempFail = 2,
    kPermFail = 3,
    kLoop = 4,
    kInDoubt = 5,  // the worker ended without an answer
  };
  absl::Time began;
  absl::Duration took;
  Result result = Result::kTempFail;
  std::string source;  // our address, "-" (none) or "[]" (unspecified)
  std::string relay;   // "192.0.2.9 (mx.example.net)", or the user (kMda)
  std::string tls;  // "TLSv1.3:TLS_AES_256_GCM_SHA384:256 verified", or empty
  std::string answer;  // of the next hop, or why it failed; raw, may be cut

  template <class Archive>
  void Fields(Archive& a) {
    a(began, took, result, source, relay, tls, answer);
  }
};

// Of what one envelope keeps of its attempts, and of one answer in it: the
// oldest attempts go first.
inline constexpr size_t kMaxAttemptsBytes = 2048;
inline constexpr size_t kMaxAttemptAnswer = 512;

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_ATTEMPT_H_
