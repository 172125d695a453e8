#include "ctl/store/queue_link.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "ctl/control/control_client.h"
#include "ctl/control/whole_io.h"
#include "protocol/control_frames.h"
#include "protocol/control_messages.h"
#include "protocol/envelope_filter.h"
#include "storage/import_batch.h"
#include "storage/owned_fd.h"
#include "storage/queue_export.h"
#include "storage/queue_walk.h"

namespace holdfast {
namespace {

class ControlLink : public QueueLink {
 public:
  explicit ControlLink(int fd) : fd_(fd) {}

  absl::Status Export(const std::string& filter, Sink sink) override {
    absl::Status status = Send(Request({"queue", "export-data", filter}));
    while (status.ok()) {
      absl::StatusOr<std::optional<std::string>> text = NextText();
      if (!text.ok()) return text.status();
      if (!text->has_value()) return absl::OkStatus();
      status = sink(**std::move(text));
      if (status.ok()) status = Send(EncodeControlFrame(ControlMore{}));
    }
    return status;
  }

  absl::StatusOr<ImportAnswer> Ask(ImportRequest request) override {
    absl::Status status;
    if (!importing_) status = Send(Request({"queue", "import-data"}));
    importing_ = true;
    ControlData data;
    data.bytes = Encode(request);
    if (data.bytes.size() > kMaxImportFrame)
      return absl::InvalidArgumentError("a message with too many recipients");
    if (status.ok()) status = Send(EncodeControlFrame(data));
    if (!status.ok()) return status;
    absl::StatusOr<std::optional<std::string>> text = NextText();
    if (!text.ok()) return text.status();
    if (!text->has_value())
      return absl::InternalError("the daemon ended the import");
    return Decode<ImportAnswer>(**text);
  }

  absl::Status EndImport() override {
    if (!importing_) return absl::OkStatus();
    const absl::Status status = Send(EncodeControlFrame(ControlData{}));
    if (!status.ok()) return status;
    return NextText().status();
  }

 private:
  static std::string Request(std::vector<std::string> words) {
    if (words.back().empty()) words.pop_back();
    ControlRequest request;
    request.words = std::move(words);
    return EncodeControlFrame(request);
  }

  absl::Status Send(const std::string& bytes) {
    if (WriteAll(fd_.get(), bytes)) return absl::OkStatus();
    return absl::UnavailableError("the daemon has gone");
  }

  // nullopt: the command is done.
  absl::StatusOr<std::optional<std::string>> NextText() {
    for (;;) {
      auto frame = frames_.Next();
      if (!frame.ok()) return absl::InternalError("bad message type");
      if (frame->has_value()) return OnFrame(**frame);
      char buffer[65536];
      const ssize_t n = read(fd_.get(), buffer, sizeof buffer);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return absl::UnavailableError("the daemon has gone");
      frames_.Append({buffer, static_cast<size_t>(n)});
    }
  }

  static absl::StatusOr<std::optional<std::string>> OnFrame(
      const ControlFrame& frame) {
    if (frame.type == ControlText::kType) {
      absl::StatusOr<ControlText> text = Decode<ControlText>(frame.payload);
      if (!text.ok()) return text.status();
      return std::optional<std::string>(std::move(text->text));
    }
    if (frame.type != ControlDone::kType)
      return absl::InternalError("bad message type");
    const absl::StatusOr<ControlDone> done = Decode<ControlDone>(frame.payload);
    if (!done.ok()) return done.status();
    if (!done->ok || !done->error.empty())
      return absl::AbortedError(done->error.empty() ? "failed" : done->error);
    return std::optional<std::string>();
  }

  OwnedFd fd_;
  ControlFrames frames_{kMaxControlAnswerFrame};
  bool importing_ = false;
};

class StoreLink : public QueueLink {
 public:
  explicit StoreLink(QueueStore* store) : store_(store) {}

  absl::Status Export(const std::string& filter, Sink sink) override {
    ExportOptions options;
    if (!filter.empty()) {
      absl::StatusOr<EnvelopeFilter> parsed =
          EnvelopeFilter::Parse(filter, absl::Now());
      if (!parsed.ok()) return parsed.status();
      options.matches = [filter = *std::move(parsed), now = absl::Now()](
                            const QueueView& view, EnvelopeId id) {
        const absl::StatusOr<EnvelopeFacts> facts = FactsOf(view, id, now);
        return facts.ok() && filter.Matches(*facts);
      };
    }
    return ExportQueue(store_, std::move(options), sink);
  }

  absl::StatusOr<ImportAnswer> Ask(ImportRequest request) override {
    if (request.lease) {
      const BatchResult result = Commit({LeaseIds{1}});
      if (!result.status.ok()) return result.status;
      if (!result.operations[0].status.ok()) return result.operations[0].status;
      ImportAnswer answer;
      answer.leased = result.operations[0].first_id;
      return answer;
    }
    const absl::Status status = CheckImportRequest(request);
    if (!status.ok()) return status;
    const size_t results = request.chunks.size() + request.messages.size();
    const BatchResult result = Commit(ImportBatch(std::move(request)));
    if (!result.status.ok()) return result.status;
    return ImportAnswerOf(result, results);
  }

  absl::Status EndImport() override { return absl::OkStatus(); }

 private:
  BatchResult Commit(QueueBatch batch) {
    BatchResult result;
    absl::Notification done;
    store_->Submit(std::move(batch), [&](BatchResult r) {
      result = std::move(r);
      done.Notify();
    });
    done.WaitForNotification();
    return result;
  }

  QueueStore* const store_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<QueueLink>> ConnectQueue(
    const std::string& socket) {
  const absl::StatusOr<int> fd = ConnectUnix(socket);
  if (!fd.ok()) return fd.status();
  return std::unique_ptr<QueueLink>(std::make_unique<ControlLink>(*fd));
}

std::unique_ptr<QueueLink> LinkStore(QueueStore* store) {
  return std::make_unique<StoreLink>(store);
}

}  // namespace holdfast
