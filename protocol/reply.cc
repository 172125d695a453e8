#include "protocol/reply.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

void AppendSafe(absl::string_view text, std::string* out) {
  for (const char c : text) out->push_back(c >= ' ' && c < 0x7f ? c : '?');
}

bool IsRefusalCode(absl::string_view text) {
  return text.size() >= 3 && (text[0] == '4' || text[0] == '5') &&
         absl::ascii_isdigit(text[1]) && absl::ascii_isdigit(text[2]) &&
         (text.size() == 3 || text[3] == ' ');
}

}  // namespace

void Reply::AppendTo(std::string* out) const {
  absl::string_view rest = text;
  for (;;) {
    const size_t end = rest.find('\n');
    const bool last = end == absl::string_view::npos;
    absl::StrAppend(out, code, last ? " " : "-");
    if (!enhanced.empty()) absl::StrAppend(out, enhanced, " ");
    AppendSafe(rest.substr(0, end), out);
    out->append("\r\n");
    if (last) return;
    rest.remove_prefix(end + 1);
  }
}

std::string Reply::FirstLine() const {
  std::string line = absl::StrCat(code, " ");
  if (!enhanced.empty()) absl::StrAppend(&line, enhanced, " ");
  AppendSafe(absl::string_view(text).substr(0, text.find('\n')), &line);
  return line;
}

Reply RefusalFromText(absl::string_view text, int default_code) {
  if (!IsRefusalCode(text)) return {default_code, "", std::string(text)};
  const int code =
      (text[0] - '0') * 100 + (text[1] - '0') * 10 + (text[2] - '0');
  text.remove_prefix(text.size() == 3 ? 3 : 4);
  return {code, "", std::string(text)};
}

namespace replies {

Reply Banner(absl::string_view name) {
  return {220, "", absl::StrCat(name, " ESMTP Holdfast")};
}
Reply Ok() { return {250, "2.0.0", "Ok"}; }
Reply RecipientOk() {
  return {250, "2.1.5", "Destination address valid: Recipient ok"};
}
Reply StartMail() {
  return {354, "", "Enter mail, end with \".\" on a line by itself"};
}
Reply Accepted(absl::string_view message_id) {
  return {250, "2.0.0",
          absl::StrCat(message_id, " Message accepted for delivery")};
}
Reply ChunkReceived(uint64_t octets) {
  return {250, "2.0.0", absl::StrCat(octets, " octets received")};
}
Reply Reset() { return {250, "2.0.0", "Reset state"}; }
Reply Bye() { return {221, "2.0.0", "Bye"}; }
Reply Help() {
  return {214, "2.0.0",
          "This is Holdfast\n"
          "To report bugs in the implementation, please contact\n"
          "the administrator of this host with full details\n"
          "End of HELP info"};
}
Reply CannotVerify() {
  return {252, "2.5.2",
          "Cannot verify the user, but will accept mail and try to deliver it"};
}

Reply Unrecognized() {
  return {500, "5.5.1", "Invalid command: Command unrecognized"};
}
Reply OtherProtocol() {
  return {500, "5.5.1", "Invalid command: This is an SMTP server"};
}
Reply CommandTooLong() { return {500, "5.0.0", "Command line too long"}; }
Reply BadCharacter() {
  return {500, "5.5.2", "Syntax error: Invalid character in command"};
}
Reply NotAllowed() {
  return {503, "5.5.1", "Invalid command: Command not allowed at this point."};
}
Reply NotSupported() {
  return {503, "5.5.1", "Invalid command: Command not supported"};
}
Reply NotSupportedYet() {
  return {500, "5.5.1",
          "Invalid command: this feature is not supported yet ;-)"};
}
Reply NoArgumentsAccepted() {
  return {500, "5.5.4",
          "Invalid command arguments: command does not accept arguments."};
}
Reply DomainRequired(absl::string_view verb) {
  return {501, "5.5.1",
          absl::StrCat("Invalid command: ", verb, " requires domain name")};
}
Reply InvalidDomain() {
  return {501, "5.5.4", "Invalid command arguments: Invalid domain name"};
}
Reply InvalidArguments(absl::string_view what) {
  return {501, "5.5.4", absl::StrCat("Invalid command arguments: ", what)};
}
Reply UnsupportedOption(absl::string_view option, bool enhanced) {
  if (!enhanced) return {503, "", absl::StrCat("Unsupported option ", option)};
  return {
      503, "5.5.4",
      absl::StrCat("Invalid command arguments: Unsupported option ", option)};
}
Reply OptionTooLarge(absl::string_view option) {
  return {
      503, "5.5.4",
      absl::StrCat("Invalid command arguments: option too large, truncated: ",
                   option)};
}
Reply SenderSyntax() { return {553, "5.1.0", "Sender address syntax error"}; }
Reply RecipientSyntax() {
  return {501, "5.1.3", "Recipient address syntax error"};
}
Reply OrcptSyntax() { return {553, "", "ORCPT address syntax error"}; }
Reply NotifyNeverCombined() {
  return {553, "", "NOTIFY option NEVER cannot be combined with other options"};
}
Reply NoRecipient() {
  return {503, "5.5.4", "Invalid command arguments: No recipient specified"};
}
Reply BareLineFeed() {
  return {500, "5.5.2", "Syntax error: Command ends in a bare LF"};
}
Reply NonAsciiSender() {
  return {550, "5.6.7", "Non-ASCII sender address needs SMTPUTF8"};
}
Reply NonAsciiRecipient() {
  return {553, "5.6.7", "Non-ASCII recipient address needs SMTPUTF8"};
}
Reply PriorityChanged(int priority) {
  return {250, "2.3.6",
          absl::StrCat(priority, " is the new priority of the message")};
}
Reply DeliverByTooShort() {
  return {555, "5.5.4",
          "Invalid command arguments: BY is less than the least time"};
}
Reply HoldTooLong() {
  return {501, "5.5.4",
          "Invalid command arguments: Message would be held for too long"};
}

Reply ReadyForTls() { return {220, "2.0.0", "Ready to start TLS"}; }
// RFC 3207 section 4.
Reply TlsNotAvailable() {
  return {454, "4.7.0", "TLS not available due to temporary reason"};
}
Reply AlreadySecured() {
  return {503, "5.5.1", "Invalid command: Channel already secured"};
}
Reply NoParametersAllowed() {
  return {501, "5.5.4", "Invalid command arguments: No parameters allowed"};
}
Reply StartTlsFirst() {
  return {530, "5.5.1", "Invalid command: Must issue a STARTTLS command first"};
}
Reply AuthFirst() {
  return {530, "5.5.1", "Invalid command: Must issue an AUTH command first"};
}
Reply AlreadyAuthenticated() {
  return {503, "5.5.1", "Invalid command: Already authenticated"};
}
Reply NoParametersGiven() {
  return {501, "5.5.4", "Invalid command arguments: No parameters given"};
}
Reply MechanismNotSupported(absl::string_view mechanism) {
  return {504, "5.7.4",
          absl::StrCat("Security features not supported: AUTH method \"",
                       mechanism, "\" not supported")};
}
Reply AuthChallenge(absl::string_view base64) {
  return {334, "", std::string(base64)};
}
Reply AuthSucceeded() { return {235, "2.0.0", "Authentication succeeded"}; }
Reply AuthFailed() { return {535, "", "Authentication failed"}; }
// The reference says 421 and stays, which RFC 5321 does not know; this is
// RFC 4954's (section 4.7.0).
Reply AuthTemporaryFailure() {
  return {454, "4.7.0", "Temporary authentication failure"};
}
Reply AuthSyntax() { return {501, "5.5.2", "Syntax error: Syntax error"}; }
Reply AuthLineTooLong() {
  return {500, "5.5.6", "Authentication exchange line is too long"};
}
Reply SenderRejected() { return {530, "", "Sender rejected"}; }

Reply TooManyMessages() {
  return {452, "4.5.3", "Too many recipients: Too many messages sent"};
}
Reply TooManyRecipients() {
  return {451, "4.5.3", "Too many recipients: Too many recipients"};
}
Reply DeclaredSizeTooBig() {
  return {552, "5.3.4",
          "Message too big for system: Declared size exceeds the limit"};
}
Reply MessageTooBig() {
  return {554, "5.3.4",
          "Message too big for system: Transaction failed, message too big"};
}
Reply LineTooLong() { return {500, "5.0.0", "Line too long"}; }
Reply TooManyErrors() { return {421, "4.7.0", "Too many errors"}; }
Reply TooManyBadRecipients() {
  return {421, "4.7.0", "Too many refused recipients"};
}
Reply TooManyCommands() {
  return {421, "4.7.0", "Too many commands without a message"};
}
Reply TooManyAuthFailures() {
  return {421, "4.7.0", "Too many failed authentications"};
}

Reply BareNewline() {
  return {550, "5.6.0",
          "Other/Undefined media error: Message has a bare CR, a bare LF or a "
          "NUL"};
}
Reply RoutingLoop() {
  return {500, "5.4.6", "Routing loop detected: Loop detected"};
}
Reply MalformedMessage() {
  return {550, "5.7.1",
          "Delivery not authorized, message refused: Message is not RFC 2822 "
          "compliant"};
}

Reply NoRoom() {
  return {452, "4.3.1", "Mail system full: Please try again later"};
}
Reply TemporaryFailure() { return {451, "4.3.0", "Temporary failure"}; }
Reply TemporaryError() { return {421, "4.3.0", "Temporary Error"}; }
Reply ShuttingDown() {
  return {421, "4.3.2",
          "System not accepting network messages: Please try again later"};
}

}  // namespace replies
}  // namespace holdfast
