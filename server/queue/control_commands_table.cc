// update table NAME: `lookup` is asked, which asks `parent`.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/queue/control_command.h"

namespace holdfast {
namespace {

class UpdateTableCommand
    : public ControlCommand,
      public std::enable_shared_from_this<UpdateTableCommand> {
 public:
  UpdateTableCommand(QueueServices* services, ControlOutput* output,
                     std::string name)
      : services_(services), output_(output), name_(std::move(name)) {}

  void OnCredit() override {
    if (state_ == State::kAnswered) return output_->Done(std::move(done_));
    if (state_ == State::kAsked) return;
    state_ = State::kAsked;
    services_->UpdateTable(name_,
                           [weak = weak_from_this()](TableUpdated answer) {
                             if (const auto self = weak.lock())
                               self->OnAnswer(std::move(answer));
                           });
  }

 private:
  enum class State { kNew, kAsked, kAnswered };

  void OnAnswer(TableUpdated answer) {
    state_ = State::kAnswered;
    done_.ok = answer.ok;
    done_.error = std::move(answer.error);
    output_->Text(answer.ok ? "command succeeded\n" : "command failed\n");
  }

  QueueServices* const services_;
  ControlOutput* const output_;
  const std::string name_;
  State state_ = State::kNew;
  ControlDone done_;
};

}  // namespace

std::shared_ptr<ControlCommand> MakeTableCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output) {
  if (words.size() != 3 || words[0] != "update" || words[1] != "table")
    return nullptr;
  return std::make_shared<UpdateTableCommand>(services, output, words[2]);
}

}  // namespace holdfast
