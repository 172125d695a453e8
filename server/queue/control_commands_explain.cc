// explain: `lookup` is asked and nothing is done.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/queue/control_command.h"
#include "server/queue/explain_words.h"

namespace holdfast {
namespace {

class ExplainRecipient : public ControlCommand,
                         public std::enable_shared_from_this<ExplainRecipient> {
 public:
  ExplainRecipient(QueueServices* services, ControlOutput* output,
                   ExplainRequest request)
      : services_(services), output_(output), request_(std::move(request)) {}

  void OnCredit() override {
    if (answered_) return output_->Done({});
    if (asked_) return;
    asked_ = true;
    services_->Explain(std::move(request_),
                       [weak = weak_from_this()](ExplainAnswer answer) {
                         if (const auto self = weak.lock())
                           self->OnAnswer(std::move(answer));
                       });
  }

 private:
  void OnAnswer(ExplainAnswer answer) {
    if (!answer.ok) {
      ControlDone done;
      done.ok = false;
      done.error = std::move(answer.text);
      return output_->Done(std::move(done));
    }
    answered_ = true;
    output_->Text(std::move(answer.text));
  }

  QueueServices* const services_;
  ControlOutput* const output_;
  ExplainRequest request_;
  bool asked_ = false;
  bool answered_ = false;
};

}  // namespace

std::shared_ptr<ControlCommand> MakeExplainCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output) {
  if (words.empty() || words[0] != "explain") return nullptr;
  absl::StatusOr<ExplainRequest> request =
      ParseExplainWords({words.begin() + 1, words.end()});
  if (!request.ok()) {
    return MakeRefusal(output, request.status().message());
  }
  return std::make_shared<ExplainRecipient>(services, output,
                                            *std::move(request));
}

}  // namespace holdfast
