// What an SMTP server answers (RFC 5321 section 4.2), with the enhanced status
// code of RFC 3463 where there is one.
#ifndef HOLDFAST_PROTOCOL_REPLY_H_
#define HOLDFAST_PROTOCOL_REPLY_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace holdfast {

struct Reply {
  int code = 0;
  std::string enhanced;  // "2.1.5", or nothing
  std::string text;      // several lines are separated by '\n'

  // A failure: it is logged as `failed-command`.
  bool IsRefusal() const { return code >= 400; }

  // Appends what goes over the wire.  Control characters and octets above 127
  // (what a client sent may be quoted in a reply) become '?'.
  void AppendTo(std::string* out) const;

  // The first line as log lines show it: "550 5.7.1 Some text".
  std::string FirstLine() const;
};

// A reply from one line of text: "524 5.2.4 Mailing list expansion problem".
// A text that does not begin with a code of class 4 or 5 gets `default_code`.
Reply RefusalFromText(absl::string_view text, int default_code);

// The reference's texts (part 1, section 4).
namespace replies {

Reply Banner(absl::string_view name);
Reply Ok();           // NOOP, MAIL
Reply RecipientOk();  // RCPT
Reply StartMail();    // DATA
Reply Accepted(absl::string_view message_id);
Reply ChunkReceived(uint64_t octets);  // BDAT but the last
Reply Reset();
Reply Bye();
Reply Help();
Reply CannotVerify();  // VRFY

// Syntax and order.
Reply Unrecognized();
Reply OtherProtocol();
Reply CommandTooLong();
Reply BadCharacter();
Reply NotAllowed();
Reply NotSupported();
Reply NotSupportedYet();  // WIZ
Reply NoArgumentsAccepted();
Reply DomainRequired(absl::string_view verb);
Reply InvalidDomain();
Reply InvalidArguments(absl::string_view what);  // 501 5.5.4
Reply UnsupportedOption(absl::string_view option, bool enhanced);
Reply OptionTooLarge(absl::string_view option);
Reply SenderSyntax();
Reply RecipientSyntax();
Reply OrcptSyntax();
Reply NotifyNeverCombined();
Reply NoRecipient();
Reply BareLineFeed();    // a command that ends so
Reply NonAsciiSender();  // without SMTPUTF8 (RFC 6531 section 3.5)
Reply NonAsciiRecipient();
Reply PriorityChanged(int priority);  // MAIL; RFC 6710 section 4.1
Reply DeliverByTooShort();            // RFC 2852 section 4.1
Reply HoldTooLong();                  // RFC 4865

// TLS and AUTH.
Reply ReadyForTls();
Reply TlsNotAvailable();
Reply AlreadySecured();
Reply NoParametersAllowed();
Reply StartTlsFirst();
Reply AuthFirst();
Reply AlreadyAuthenticated();
Reply NoParametersGiven();
Reply MechanismNotSupported(absl::string_view mechanism);
Reply AuthChallenge(absl::string_view base64);  // 334
Reply AuthSucceeded();
Reply AuthFailed();
Reply AuthTemporaryFailure();
Reply AuthSyntax();
Reply AuthLineTooLong();
Reply SenderRejected();  // `senders`

// Limits.
Reply TooManyMessages();
Reply TooManyRecipients();
Reply DeclaredSizeTooBig();  // SIZE= at MAIL
Reply MessageTooBig();
Reply LineTooLong();
Reply TooManyErrors();  // 421, as the next three
Reply TooManyBadRecipients();
Reply TooManyCommands();
Reply TooManyAuthFailures();

// The message.
Reply BareNewline();  // or NUL: only CRLF ends a line
Reply RoutingLoop();
Reply MalformedMessage();

// Our own troubles.
Reply NoRoom();
Reply TemporaryFailure();  // 451
Reply TemporaryError();    // 421: the session ends with it
Reply ShuttingDown();      // 421

}  // namespace replies
}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_REPLY_H_
