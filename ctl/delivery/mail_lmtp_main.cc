// mail.lmtp -d DEST [-l LHLO] [-f FROM] [-u|-r] [RCPT ...]: delivers standard
// input to an LMTP server (reference part 1, section 6.5).
#include <stdlib.h>
#include <unistd.h>

#include <string>

#include "ctl/delivery/helper_exit.h"
#include "ctl/delivery/lmtp_connection.h"
#include "ctl/delivery/lmtp_dialogue.h"

namespace holdfast {
namespace {

constexpr char kProgram[] = "mail.lmtp";

int Fail(absl::string_view text, int status = kExitTemporary) {
  return Complain(kProgram, text, status);
}

int Main(int argc, char** argv) {
  if (IsRoot(kProgram)) return kExitTemporary;
  LmtpLetter letter;
  letter.input = STDIN_FILENO;
  std::string to;
  // Always there for a delivery; empty is the null sender.
  bool has_sender = getenv("SENDER") != nullptr;
  letter.sender = Environment("SENDER");
  const char* recipient = nullptr;  // the variable that names him
  int option;
  while ((option = getopt(argc, argv, "d:f:l:ru")) != -1) {
    if (option == 'd') to = optarg;
    if (option == 'l') letter.greeting = optarg;
    if (option == 'r') recipient = "RECIPIENT";
    if (option == 'u') recipient = "USER";
    if (option == 'f') {
      letter.sender = optarg;
      has_sender = true;
    }
  }
  if (!has_sender) return Fail("sender must be specified with -f");
  if (recipient != nullptr && getenv(recipient) != nullptr)
    letter.recipients.push_back(Environment(recipient));
  for (int i = optind; i < argc; ++i) letter.recipients.push_back(argv[i]);
  if (letter.recipients.empty()) return Fail("no recipient was specified");
  const absl::StatusOr<OwnedFd> server = ConnectToLmtp(to);
  if (!server.ok()) return Fail(server.status().message());
  const LmtpResult result = SendByLmtp(server->get(), letter);
  switch (result.kind) {
    case LmtpResult::Kind::kDelivered:
      return 0;
    case LmtpResult::Kind::kPermanent:
      return Fail(result.text, kExitUnavailable);
    case LmtpResult::Kind::kTemporary:
      break;
  }
  return Fail(result.text);
}

}  // namespace
}  // namespace holdfast

int main(int argc, char** argv) { return holdfast::Main(argc, argv); }
