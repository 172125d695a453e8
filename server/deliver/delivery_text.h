// The texts of a local delivery: what stands before the message, the name of
// its file, and how failures read (reference part 1, sections 6.1 and 6.4).
#ifndef HOLDFAST_SERVER_DELIVER_DELIVERY_TEXT_H_
#define HOLDFAST_SERVER_DELIVER_DELIVERY_TEXT_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "protocol/ids.h"
#include "protocol/mail_address.h"

namespace holdfast {

// All of it is pure.

// What the reference says for exit status 75.
inline constexpr char kTemporaryFailure[] = "temporary failure";
inline constexpr char kUserLookupFailed[] = "Permanent failure in user lookup";
inline constexpr char kUserLookupLater[] = "Temporary failure in user lookup";

// "Error (KIND: REASON)", or "Error (REASON)" without a kind.
std::string ErrorText(absl::string_view kind, absl::string_view reason);
// The reason as the reference shows a line of a program's output: at most 250
// bytes, encoded, in double quotes.
std::string Quoted(absl::string_view text);

// "Return-Path: <sender>"; empty for the null sender.
std::string ReturnPath(const MailAddress& sender);
// ReturnPath() and "Delivered-To: RCPT".
std::string TraceHeader(const MailAddress& sender, const MailAddress& rcpt);

// "<created seconds>.<store uuid>.<envelope id>.<host>": the same for every
// attempt, so that an attempt in doubt can be looked for.
std::string MaildirFileName(absl::Time created, absl::string_view store_uuid,
                            EnvelopeId envelope, absl::string_view host);

// Whether `text`, a message's beginning, holds all of its header.
bool HeaderIsComplete(absl::string_view text);
// Whether the header at the beginning of `text` says that the message was
// delivered to `dest` before.
bool HasDeliveredTo(absl::string_view text, const MailAddress& dest);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_DELIVER_DELIVERY_TEXT_H_
