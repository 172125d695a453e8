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
    services_->loop()->Post([services = services_, begun = std::move(begun_)] {
      Drop(begun, services);
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
  // What a batch begins and ends, in the order of its results.
  struct Asked {
    std::vector<std::pair<MessageId, uint32_t>> chunks;  // with their index
    std::vector<MessageId> messages, drops;
  };

  void Take(ImportRequest request) {
    Asked asked;
    for (const ImportChunk& chunk : request.chunks)
      asked.chunks.emplace_back(chunk.message, chunk.index);
    for (const ImportMessage& m : request.messages)
      asked.messages.push_back(m.message);
    asked.drops = request.drops;
    services_->Commit(
        ImportBatch(std::move(request)),
        [weak = weak_from_this(), services = services_,
         asked = std::move(asked)](BatchResult result) {
          const ImportAnswer answer = ImportAnswerOf(
              result, asked.chunks.size() + asked.messages.size());
          const auto self = weak.lock();
          std::set<MessageId> alone;
          Settle(asked, answer, self == nullptr ? &alone : &self->begun_,
                 services);
          if (self == nullptr) return Drop(alone, services);
          for (const ImportResult& one : answer.results)
            self->taken_ += one.taken;
          self->Say(answer);
        });
  }

  // Keeps `begun` true: the bodies in progress that are ours.  An id is ours
  // with its first chunk; the body of a message that was refused goes.
  static void Settle(const Asked& asked, const ImportAnswer& answer,
                     std::set<MessageId>* begun, QueueServices* services) {
    size_t at = 0;
    const auto taken = [&] {
      return answer.results[at++].code == ImportResult::Code::kOk;
    };
    for (const auto& [id, index] : asked.chunks)
      if (taken() && index == 0) begun->insert(id);
    std::set<MessageId> refused;
    for (const MessageId id : asked.messages) {
      const bool ours = begun->erase(id) > 0;
      if (!taken() && ours) refused.insert(id);
    }
    for (const MessageId id : asked.drops) begun->erase(id);
    Drop(refused, services);
  }

  static void Drop(const std::set<MessageId>& ids, QueueServices* services) {
    if (ids.empty()) return;
    QueueBatch drops;
    for (const MessageId id : ids) drops.push_back(DropIncoming{id});
    services->Commit(std::move(drops), [](BatchResult) {});
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
