#include "server/agent/mbox.h"

#include <set>

namespace holdfast {

void MboxGroup::Begin(const AgentDelivery& delivery) {
  Letter& letter = letters_.emplace_back();
  letter.envelope = delivery.envelope;
  letter.user = delivery.mailbox_user;
  letter.stored.offset = spool_->size();
  letter.stored.look_first = delivery.in_doubt;
  if (!IsMailboxName(letter.user))
    letter.stored.status = absl::InvalidArgumentError("not a user name");
  encoder_ = std::make_unique<MboxEncoder>(delivery.from, CTime());
}

void MboxGroup::Spool(const std::string& bytes) {
  Letter& letter = letters_.back();
  if (!letter.stored.status.ok()) return;
  letter.stored.status = spool_->Append(bytes);
  letter.stored.bytes = spool_->size() - letter.stored.offset;
}

void MboxGroup::Write(absl::string_view bytes) {
  std::string encoded;
  encoder_->Write(bytes, &encoded);
  Spool(encoded);
}

void MboxGroup::End() {
  std::string encoded;
  encoder_->Finish(&encoded);
  Spool(encoded);
  encoder_.reset();
}

void MboxGroup::Cancel() {
  encoder_.reset();
  Letter& letter = letters_.back();
  if (letter.stored.status.ok())
    letter.stored.status = absl::UnavailableError("message body can't be read");
}

void MboxGroup::Append(const std::string& user) {
  std::vector<MboxLetter*> mine;
  for (Letter& letter : letters_) {
    if (letter.user == user && letter.stored.status.ok())
      mine.push_back(&letter.stored);
  }
  AppendToMbox(options_, user, spool_->fd(), mine);
}

std::vector<AgentResults::One> MboxGroup::Commit() {
  std::set<std::string> users;
  for (const Letter& letter : letters_) {
    if (letter.stored.status.ok()) users.insert(letter.user);
  }
  for (const std::string& user : users) Append(user);
  std::vector<AgentResults::One> results;
  for (const Letter& letter : letters_) {
    AgentResults::One& one = results.emplace_back();
    one.envelope = letter.envelope;
    one.ok = letter.stored.status.ok();
    one.permanent = absl::IsInvalidArgument(letter.stored.status);
    one.in_doubt = letter.stored.in_doubt;
    one.text = std::string(letter.stored.status.message());
  }
  letters_.clear();
  spool_ = std::make_unique<SpoolFile>();
  return results;
}

}  // namespace holdfast
