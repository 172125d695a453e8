#include "server/agent/command_group.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "config/format_specifiers.h"
#include "storage/mailbox/user_file.h"

namespace holdfast {
namespace {

constexpr int kOsError = 71;   // EX_OSERR
constexpr int kTempFail = 75;  // EX_TEMPFAIL
constexpr absl::Duration kLockWait = absl::Seconds(60);

bool IsFile(const AgentDelivery& delivery) {
  return !delivery.exec.empty() && delivery.exec[0] == '/';
}

void Fail(AgentResults::One* one, const absl::Status& status) {
  one->ok = false;
  one->permanent = absl::IsInvalidArgument(status);
  one->text = std::string(status.message());
}

// How the reference names what has happened (mda_done).
void Report(const CommandEnd& end, AgentResults::One* one) {
  one->ok = false;
  one->permanent = false;
  one->text = end.last_line;
  switch (end.how) {
    case CommandEnd::How::kExited:
      if (end.value == 0 && end.consumed) {
        one->ok = true;
        one->text.clear();
        return;
      }
      if (end.value == 0) {
        one->text = "mda exited prematurely";
        one->plain = true;
        return;
      }
      one->permanent = end.value != kOsError && end.value != kTempFail;
      if (const char* name = SysexitName(end.value)) one->kind = name;
      if (end.limit != nullptr) one->permanent = false;
      break;
    case CommandEnd::How::kSignalled:
    case CommandEnd::How::kTimeout:
    case CommandEnd::How::kNotStarted:
      break;
  }
  if (end.limit != nullptr) one->kind = end.limit;
  if (!one->text.empty()) return;
  one->plain = true;
  if (end.how == CommandEnd::How::kTimeout) {
    one->text = "terminated; timeout";
  } else if (end.how == CommandEnd::How::kSignalled) {
    one->text = absl::StrCat("terminated; signal ", end.value);
  } else {
    one->text = "exited abnormally";
  }
}

}  // namespace

std::vector<std::string> CommandEnvironment(const AgentDelivery& delivery,
                                            const std::string& home) {
  std::vector<std::string> out = {
      "PATH=/usr/bin:/bin",
      absl::StrCat("DOMAIN=", delivery.rcpt.domain),
      absl::StrCat("HOME=", home),
      absl::StrCat("ORIGINAL_RECIPIENT=", delivery.rcpt.ToString()),
      absl::StrCat("RECIPIENT=", delivery.dest.ToString()),
      "SHELL=/bin/sh",
      absl::StrCat("LOCAL=", delivery.rcpt.user),
      absl::StrCat("LOGNAME=", delivery.mailbox_user),
      absl::StrCat("USER=", delivery.mailbox_user),
      absl::StrCat("SENDER=",
                   delivery.sender.IsNull() ? "" : delivery.sender.ToString()),
  };
  if (!delivery.subaddress.empty())
    out.push_back(absl::StrCat("EXTENSION=", delivery.subaddress));
  return out;
}

void CommandGroup::Begin(const AgentDelivery& delivery) {
  Letter& letter = letters_.emplace_back();
  letter.delivery = delivery;
  letter.offset = spool_->size();
  if (IsFile(delivery)) {
    encoder_ = std::make_unique<MboxEncoder>(delivery.from, CTime(),
                                             MboxEncoder::Quote::kEveryLine);
  }
}

void CommandGroup::Spool(absl::string_view bytes) {
  Letter& letter = letters_.back();
  if (!letter.status.ok()) return;
  letter.status = spool_->Append(bytes);
  letter.bytes = spool_->size() - letter.offset;
}

void CommandGroup::Write(absl::string_view bytes) {
  if (encoder_ == nullptr) return Spool(bytes);
  std::string encoded;
  encoder_->Write(bytes, &encoded);
  Spool(encoded);
}

void CommandGroup::End() {
  if (encoder_ == nullptr) return;
  std::string encoded;
  encoder_->Finish(&encoded);
  Spool(encoded);
  encoder_.reset();
}

void CommandGroup::Cancel() {
  encoder_.reset();
  Letter& letter = letters_.back();
  if (letter.status.ok())
    letter.status = absl::UnavailableError("message body can't be read");
}

absl::StatusOr<std::string> CommandGroup::CommandLine(
    const AgentDelivery& delivery) const {
  FormatValues values;
  values.sender = delivery.sender;
  values.rcpt = delivery.rcpt;
  values.dest = delivery.dest;
  values.username = delivery.mailbox_user;
  values.directory = options_.home;
  values.delimiter = options_.delimiter;
  const bool own = !delivery.exec.empty();  // of an alias or ~/.forward
  // A name from the message must not climb out of a Maildir's path.
  absl::StatusOr<std::string> line =
      own               ? ExpandCommand(delivery.exec.substr(1), values)
      : options_.helper ? ExpandPathCommand(options_.command, values)
                        : ExpandCommand(options_.command, values);
  if (!line.ok()) return line.status();
  const bool wrapped = !options_.wrapper.empty();
  // The reference hands an `mda` command to a second shell, inside double
  // quotes of a first one; so what the first does to it happens here too.  A
  // wrapper runs it as a program: `exec` would not be one.
  if (!own && !options_.helper)
    line = absl::StrCat(wrapped ? "" : "exec ", "/bin/sh -c \"", *line, "\"");
  if (!wrapped) return line;
  values.mda = *line;
  return ExpandCommand(options_.wrapper, values);
}

void CommandGroup::Run(const Letter& letter, AgentResults::One* one) {
  if (letter.delivery.exec.empty() && options_.command.empty())
    return Fail(one, absl::UnavailableError("no command to deliver with"));
  absl::StatusOr<std::string> line = CommandLine(letter.delivery);
  if (!line.ok()) return Fail(one, line.status());
  CommandRun run;
  run.line = *std::move(line);
  run.environment = CommandEnvironment(letter.delivery, options_.home);
  run.input = spool_->fd();
  run.offset = letter.offset;
  run.bytes = letter.bytes;
  run.limits = options_.limits;
  Report(RunCommand(run), one);
}

void CommandGroup::AppendToFile(const Letter& letter, AgentResults::One* one) {
  FormatValues values;
  values.sender = letter.delivery.sender;
  values.rcpt = letter.delivery.rcpt;
  values.dest = letter.delivery.dest;
  values.username = letter.delivery.mailbox_user;
  values.directory = options_.home;
  values.delimiter = options_.delimiter;
  absl::StatusOr<std::string> path = ExpandPath(letter.delivery.exec, values);
  if (!path.ok()) return Fail(one, path.status());
  const absl::Status done =
      AppendToUserFile(*path, spool_->fd(), letter.offset, letter.bytes,
                       kLockWait, &one->in_doubt);
  if (!done.ok()) return Fail(one, done);
  one->ok = true;
}

void CommandGroup::Deliver(const Letter& letter, AgentResults::One* one) {
  if (!letter.status.ok()) return Fail(one, letter.status);
  if (IsFile(letter.delivery))
    AppendToFile(letter, one);
  else
    Run(letter, one);
}

std::vector<AgentResults::One> CommandGroup::Commit() {
  std::vector<AgentResults::One> results;
  for (const Letter& letter : letters_) {
    AgentResults::One& one = results.emplace_back();
    one.envelope = letter.delivery.envelope;
    Deliver(letter, &one);
  }
  letters_.clear();
  spool_ = std::make_unique<SpoolFile>();
  return results;
}

}  // namespace holdfast
