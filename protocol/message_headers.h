// The header of a message on its way into the queue (reference part 1, sections
// 4.7 and 4.10).  Text with LF line ends goes through, cut anywhere:
//
//   Bcc is removed; From, To and Cc addresses get a domain if they have none;
//   From gets the envelope's sender, if the listener masquerades; Date and
//   Message-ID are added if missing, on local listeners; what is not a header
//   makes the message malformed; Received headers are counted.
//
// Memory is bounded: one line, or one From, To or Cc header.
#ifndef HOLDFAST_PROTOCOL_MESSAGE_HEADERS_H_
#define HOLDFAST_PROTOCOL_MESSAGE_HEADERS_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace holdfast {

// The hundredth Received header is one too many.
inline constexpr int kMaxReceivedHeaders = 100;
// Of a From, To or Cc header with its continuations.
inline constexpr size_t kMaxAddressHeaderBytes = 65535;
inline constexpr size_t kMaxHeaderNameBytes = 1023;

struct HeaderOptions {
  std::string domain;        // of the listener
  bool add_missing = false;  // Date and Message-ID
  std::string masquerade;    // replaces the addresses of From; empty: none
  absl::Time now;
  absl::TimeZone zone;
  uint64_t message_id_number = 0;  // random, for Message-ID
};

class MessageHeaders {
 public:
  enum class Verdict { kOk, kMalformed, kLoop };

  explicit MessageHeaders(HeaderOptions options);

  // Appends to `*out` what `text` becomes.  Behind the header text passes
  // unchanged.
  void Write(absl::string_view text, std::string* out);
  // The message has ended.
  void Finish(std::string* out);

  // The empty line has been passed: the rest need not go through here.
  bool InBody() const { return state_ == State::kBody; }
  // Final once InBody() or Finish() was called.
  Verdict verdict() const;

 private:
  // What the present line would continue.
  enum class State {
    kStart,      // nothing: the first line
    kPassed,     // a header that was passed on as it came
    kRemoved,    // Bcc
    kAddresses,  // From, To or Cc: gathered in field_
    kFrom,       // the same, to be masqueraded
    kBody,
  };

  void OnLine(absl::string_view line, std::string* out);
  void OnContinuation(absl::string_view line, std::string* out);
  void OnHeader(absl::string_view line, absl::string_view name,
                std::string* out);
  void EndField(std::string* out);
  void EndHeaders(std::string* out);

  HeaderOptions options_;
  State state_ = State::kStart;
  std::string line_;   // the part of a line that has come
  std::string field_;  // kAddresses, kFrom
  int received_ = 0;
  bool has_date_ = false;
  bool has_message_id_ = false;
  bool malformed_ = false;
};

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_MESSAGE_HEADERS_H_
