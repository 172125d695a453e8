// import-data: smtpctl-store's side of `queue import`, a request of
// protocol/queue_transfer.h at a time.  Each is one batch of the next commit;
// what was taken is settled there, so that a client may end anywhere and begin
// again.
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "protocol/queue_transfer.h"
#include "protocol/wire.h"
#include "server/log/log.h"
#include "server/queue/control_command.h"
#include "storage/import_batch.h"

namespace holdfast {
namespace {

class ImportCommand : public ControlCommand,
                      public std::enable_shared_from_this<ImportCommand> {
 public:
  ImportCommand(QueueServices* services, ControlOutput* output)
      : services_(services), output_(output) {}

  // Bodies in progress are given up.  In a later turn, which at the end of the
  // process does not come: the next start finds them.
  ~ImportCommand() override {
    if (begun_.empty()) return;
    QueueBatch drops;
    for (const MessageId id : begun_) drops.push_back(DropIncoming{id});
    services_->loop()->Post(
        [services = services_, drops = std::move(drops)]() mutable {
          services->Commit(std::move(drops), [](BatchResult) {});
        });
  }

  void OnCredit() override {}
  size_t MaxData() const override { return kMaxImportFrame; }

  bool OnData(const std::string& bytes) override {
    if (bytes.empty()) {
      End();
      return true;
    }
    if (ended_) return true;
    if (open_ >= kMaxImportsOpen) return false;
    absl::StatusOr<ImportRequest> request = Decode<ImportRequest>(bytes);
    if (!request.ok()) return false;
    if (request->lease) {
      ++open_;
      services_->TakeMessageId([weak = weak_from_this()](MessageId id) {
        ImportAnswer answer;
        answer.leased = id;
        if (const auto self = weak.lock()) self->Say(answer);
      });
      return true;
    }
    const absl::Status status = CheckImportRequest(*request);
    if (!status.ok()) {
      ended_ = true;
      error_ = std::string(status.message());
      End();
      return true;
    }
    ++open_;
    Take(*std::move(request));
    return true;
  }

 private:
  void Take(ImportRequest request) {
    const size_t results = request.chunks.size() + request.messages.size();
    for (const ImportChunk& chunk : request.chunks)
      begun_.insert(chunk.message);
    std::vector<MessageId> settled = request.drops;
    for (const ImportMessage& m : request.messages)
      settled.push_back(m.message);
    services_->Commit(ImportBatch(std::move(request)),
                      [weak = weak_from_this(), results,
                       settled = std::move(settled)](BatchResult result) {
                        const auto self = weak.lock();
                        if (!self) return;
                        const ImportAnswer answer =
                            ImportAnswerOf(result, results);
                        for (const MessageId id : settled)
                          self->begun_.erase(id);
                        for (const ImportResult& one : answer.results)
                          self->taken_ += one.taken;
                        self->Say(answer);
                      });
  }

  void Say(const ImportAnswer& answer) {
    if (done_) return;
    --open_;
    output_->Text(Encode(answer));
    if (ended_) End();
  }

  // Once all that is open is answered.
  void End() {
    ended_ = true;
    if (open_ > 0 || done_) return;
    done_ = true;
    LogInfo("queue import: %d envelopes taken", taken_);
    ControlDone done;
    done.ok = error_.empty();
    done.count = taken_;
    done.error = error_;
    output_->Done(std::move(done));
  }

  QueueServices* const services_;
  ControlOutput* const output_;
  std::set<MessageId> begun_;  // bodies in progress
  size_t open_ = 0;
  uint64_t taken_ = 0;
  bool ended_ = false;
  bool done_ = false;
  std::string error_;
};

}  // namespace

std::shared_ptr<ControlCommand> MakeImportCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output) {
  if (words != std::vector<std::string>{"queue", "import-data"}) return nullptr;
  return std::make_shared<ImportCommand>(services, output);
}

}  // namespace holdfast
