// show message, show envelope, show doubt; history.
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "protocol/queue_listing.h"
#include "server/queue/control_command.h"
#include "server/queue/control_commands_history.h"
#include "server/queue/control_commands_queue_list.h"
#include "server/queue/control_read.h"
#include "server/queue/stored_body_reader.h"
#include "storage/explained_envelope.h"
#include "storage/figures_text.h"

namespace holdfast {
namespace {

constexpr size_t kMaxDoubts = 10000;

// What the reference says of a message or an envelope that is not there.
constexpr absl::string_view kNoFile = "fopen: No such file or directory";

ControlDone Failure(absl::string_view error) {
  ControlDone done;
  done.ok = false;
  done.error = std::string(error);
  return done;
}

class ShowMessage : public ControlCommand {
 public:
  ShowMessage(QueueServices* services, ControlOutput* output, MessageId id)
      : output_(output), reader_(services->loop(), services->store(), id) {}

  void OnCredit() override {
    if (ended_) return output_->Done({});
    // The reader forgets its read when this is dropped.
    reader_.Read([this](absl::StatusOr<StoredBodyReader::Piece> piece) {
      if (!piece.ok())
        return output_->Done(Failure(absl::IsNotFound(piece.status())
                                         ? kNoFile
                                         : piece.status().message()));
      ended_ = piece->end;
      if (piece->bytes.empty()) return OnCredit();
      output_->Text(std::move(piece->bytes));
    });
  }

 private:
  ControlOutput* const output_;
  StoredBodyReader reader_;
  bool ended_ = false;
};

// One read, one text.
class ShowText : public ControlCommand,
                 public std::enable_shared_from_this<ShowText> {
 public:
  using Read = absl::StatusOr<std::string> (*)(const QueueView&, EnvelopeId);
  ShowText(QueueServices* services, ControlOutput* output, Read read,
           EnvelopeId id)
      : services_(services), output_(output), read_(read), id_(id) {}

  void OnCredit() override {
    if (ended_) return output_->Done({});
    ended_ = true;
    using Result = absl::StatusOr<std::string>;
    ReadForCommand(
        services_, weak_from_this(),
        [read = read_, id = id_](const QueueView& view) -> Result {
          return read(view, id);
        },
        [](ShowText& self, absl::StatusOr<Result> result) {
          const Result text =
              result.ok() ? std::move(*result) : Result(result.status());
          if (!text.ok())
            return self.output_->Done(Failure(text.status().message()));
          if (text->empty()) return self.output_->Done({});
          self.output_->Text(*text);
        });
  }

 private:
  QueueServices* const services_;
  ControlOutput* const output_;
  const Read read_;
  const EnvelopeId id_;
  bool ended_ = false;
};

absl::StatusOr<std::string> EnvelopeText(const QueueView& view, EnvelopeId id) {
  const absl::StatusOr<Envelope> envelope = FindExplained(view, id);
  if (absl::IsNotFound(envelope.status())) return absl::NotFoundError(kNoFile);
  if (!envelope.ok()) return envelope.status();
  return EnvelopeToText(*envelope);
}

absl::StatusOr<std::string> DoubtsText(const QueueView& view, EnvelopeId) {
  std::string text;
  for (const DoubtRow& d : view.Doubts(kMaxDoubts)) {
    if (text.size() > kMaxControlText) break;
    text += DoubtLine(d.envelope, d.when, d.kind, d.sender, d.dest);
  }
  return text;
}

template <bool kJson>
absl::StatusOr<std::string> Figures(const QueueView& view, EnvelopeId) {
  return FiguresText(view.Figures(), kJson);
}

}  // namespace

std::shared_ptr<ControlCommand> MakeListCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output) {
  if (auto command = MakeQueueListCommand(words, services, output))
    return command;
  if (const auto request = ParseHistoryRequest(words))
    return MakeHistoryCommand(*request, services, output);
  if (words == std::vector<std::string>{"queue", "stat"})
    return std::make_shared<ShowText>(services, output, Figures<false>,
                                      EnvelopeId{});
  if (words == std::vector<std::string>{"queue", "stat", "--json"})
    return std::make_shared<ShowText>(services, output, Figures<true>,
                                      EnvelopeId{});
  if (words.size() < 2 || words[0] != "show") return nullptr;
  const std::string& what = words[1];
  if (words.size() == 2) {
    if (what == "doubt")
      return std::make_shared<ShowText>(services, output, DoubtsText,
                                        EnvelopeId{});
    return nullptr;
  }
  if (words.size() != 3) return nullptr;
  const std::optional<EnvelopeId> envelope = ParseEnvelopeId(words[2]);
  std::optional<MessageId> message = ParseMessageId(words[2]);
  if (what == "envelope" && envelope)
    return std::make_shared<ShowText>(services, output, EnvelopeText,
                                      *envelope);
  if (what == "message") {
    if (envelope) message = MessageOf(*envelope);
    if (message)
      return std::make_shared<ShowMessage>(services, output, *message);
  }
  return nullptr;
}

}  // namespace holdfast
