// The text of a message on its way through the filters and back.
#ifndef HOLDFAST_SERVER_RECEIVE_FILTERED_TEXT_H_
#define HOLDFAST_SERVER_RECEIVE_FILTERED_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "protocol/smtp_server_session.h"
#include "server/filter_client/filter_client.h"
#include "server/receive/incoming_message.h"

namespace holdfast {

// Holds at most what one window lets come back.  When dropped before all is
// through, the filters are told to forget it.
class FilteredText {
 public:
  // Begins with `head`, our own header fields.
  FilteredText(std::shared_ptr<FilteredSession> filters, std::string head);
  ~FilteredText();

  // How much of what the client sends may be taken now; 0: wait.
  size_t Room() const;
  // Takes a slice of the message from `session`.
  void Take(SmtpServerSession* session);
  // All was taken.
  void End() { filters_->SendText("", true); }

  // This has come back; `end`: it is complete.
  void OnReturned(absl::string_view bytes, bool end);
  // Gives it to `message`, if there is room; `scratch` is overwritten.
  void MoveTo(IncomingMessage* message, std::string* scratch);
  // All came back, and was given on.
  bool complete() const { return ended_ && returned_.empty(); }
  // What came back so far.  More than the message has taken of it: what is no
  // header is dropped where one should be.
  uint64_t returned_bytes() const { return returned_bytes_; }

 private:
  const std::shared_ptr<FilteredSession> filters_;
  std::string returned_;
  uint64_t returned_bytes_ = 0;
  bool ended_ = false;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RECEIVE_FILTERED_TEXT_H_
