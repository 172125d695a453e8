// One message to an LMTP server, in one conversation (RFC 2033).
#ifndef HOLDFAST_CTL_DELIVERY_LMTP_DIALOGUE_H_
#define HOLDFAST_CTL_DELIVERY_LMTP_DIALOGUE_H_

#include <string>
#include <vector>

namespace holdfast {

struct LmtpLetter {
  std::string greeting = "localhost";   // for LHLO
  std::string sender;                   // empty: the null sender
  std::vector<std::string> recipients;  // at least one
  int input = 0;                        // the message, with LF line ends
};

struct LmtpResult {
  enum class Kind {
    kDelivered,  // to all of them
    kTemporary,  // not to one of them at least, for now
    kPermanent,
  } kind = Kind::kTemporary;
  std::string text;  // why not
};

// Blocks.  `server` is connected, and stays the caller's.
LmtpResult SendByLmtp(int server, const LmtpLetter& letter);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_DELIVERY_LMTP_DIALOGUE_H_
