#include "server/queue/control_command.h"

#include <utility>

namespace holdfast {
namespace {

class Answer : public ControlCommand {
 public:
  Answer(ControlOutput* output, std::string text, ControlDone done)
      : output_(output), text_(std::move(text)), done_(std::move(done)) {}

  void OnCredit() override {
    if (!text_.empty()) return output_->Text(std::exchange(text_, ""));
    output_->Done(done_);
  }

 private:
  ControlOutput* const output_;
  std::string text_;
  const ControlDone done_;
};

}  // namespace

std::shared_ptr<ControlCommand> MakeAnswer(ControlOutput* output,
                                           std::string text, ControlDone done) {
  return std::make_shared<Answer>(output, std::move(text), std::move(done));
}

std::shared_ptr<ControlCommand> MakeRefusal(ControlOutput* output,
                                            absl::string_view error) {
  ControlDone done;
  done.ok = false;
  done.error = std::string(error);
  return MakeAnswer(output, "", std::move(done));
}

}  // namespace holdfast
