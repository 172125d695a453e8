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

  absl::Status Export(const ExportWish& wish, Sink sink,
                      absl::FunctionRef<bool()> ended) override {
    std::vector<std::string> words = {"queue", "export-data"};
    if (wish.move) words.push_back("--move");
    words.push_back(wish.filter);
    absl::Status status = Send(Request(std::move(words)));
    while (status.ok()) {
      absl::StatusOr<std::optional<std::string>> text = NextText();
      if (!text.ok()) return text.status();
      if (!text->has_value()) return absl::OkStatus();
      status = sink(**std::move(text));
      // A piece that could not be written may hold the end.
      moving_ = wish.move && (!status.ok() || ended());
      if (moving_) return status;
      if (status.ok()) status = Send(EncodeControlFrame(ControlMore{}));
    }
    return status;
  }

  absl::StatusOr<uint64_t> EndMove(bool moved) override {
    if (!std::exchange(moving_, false)) return 0;
    ControlData data;
    data.bytes = moved ? kMoved : kMoveBack;
    const absl::Status status = Send(EncodeControlFrame(data));
    if (!status.ok()) return status;
    const absl::StatusOr<std::optional<std::string>> end = NextText();
    if (!end.ok()) return end.status();
    return count_;
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

  absl::StatusOr<std::optional<std::string>> OnFrame(
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
    count_ = done->count;
    return std::optional<std::string>();
  }

  OwnedFd fd_;
  ControlFrames frames_{kMaxControlAnswerFrame};
  bool importing_ = false;
  bool moving_ = false;  // the daemon waits for the end of the move
  uint64_t count_ = 0;
};

class StoreLink : public QueueLink {
 public:
  explicit StoreLink(QueueStore* store) : store_(store) {}

  absl::Status Export(const ExportWish& wish, Sink sink,
                      absl::FunctionRef<bool()>) override {
    absl::StatusOr<EnvelopeFilter> parsed =
        EnvelopeFilter::Parse(wish.filter, absl::Now());
    if (!parsed.ok()) return parsed.status();
    ExportOptions options;
    if (wish.move) {
      const absl::Status status = BeginMove(*parsed);
      if (!status.ok()) return status;
      options.moving_only = true;
    } else if (!wish.filter.empty()) {
      options.matches = [filter = *std::move(parsed), now = absl::Now()](
                            const QueueView& view, EnvelopeId id) {
        const absl::StatusOr<EnvelopeFacts> facts = FactsOf(view, id, now);
        return facts.ok() && filter.Matches(*facts);
      };
    }
    const absl::Status status = ExportQueue(store_, std::move(options), sink);
    return status.ok() || !wish.move ? status : GiveBack(status);
  }

  absl::StatusOr<uint64_t> EndMove(bool moved) override {
    if (!std::exchange(moving_, false)) return 0;
    return Sweep(kMovingFilter, moved ? ActOnEnvelope::Act::kMoved
                                      : ActOnEnvelope::Act::kMoveBack);
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
  static constexpr char kMovingFilter[] = "flag = move";

  // What an interrupted move has left must not be mixed with this one.
  absl::Status BeginMove(const EnvelopeFilter& filter) {
    const absl::StatusOr<EnvelopeFilter> moving =
        EnvelopeFilter::Parse(kMovingFilter, absl::Now());
    if (!moving.ok()) return moving.status();
    const absl::StatusOr<uint64_t> old = Sweep(*moving, std::nullopt);
    if (!old.ok()) return old.status();
    if (*old > 0)
      return absl::FailedPreconditionError(absl::StrCat(
          "an earlier export --move was interrupted: start smtpd, then `queue "
          "remove` or `queue release` what has `",
          kMovingFilter, "` first (OPERATING.md)"));
    const absl::Status status =
        Sweep(filter, ActOnEnvelope::Act::kMove).status();
    if (!status.ok()) return GiveBack(status);
    moving_ = true;
    return status;
  }

  // After `error`, which comes back, with what else went wrong.
  absl::Status GiveBack(const absl::Status& error) {
    moving_ = false;
    const absl::Status status =
        Sweep(kMovingFilter, ActOnEnvelope::Act::kMoveBack).status();
    if (status.ok()) return error;
    return absl::Status(
        error.code(),
        absl::StrCat(std::string(error.message()),
                     "; mail stays marked: start smtpd, then `queue release` "
                     "what has `",
                     kMovingFilter, "`: ", std::string(status.message())));
  }

  absl::StatusOr<uint64_t> Sweep(const char* filter, ActOnEnvelope::Act act) {
    const absl::StatusOr<EnvelopeFilter> parsed =
        EnvelopeFilter::Parse(filter, absl::Now());
    if (!parsed.ok()) return parsed.status();
    return Sweep(*parsed, act);
  }

  // Does the act (nullopt: none) to all that matches, a page in each commit;
  // how many.
  absl::StatusOr<uint64_t> Sweep(const EnvelopeFilter& filter,
                                 std::optional<ActOnEnvelope::Act> act) {
    QueueWalk walk(filter);
    uint64_t count = 0;
    while (!walk.ended()) {
      std::vector<EnvelopeFacts> found;
      auto view = store_->View();
      if (!view.ok()) return view.status();
      const absl::Status status =
          walk.Step(**view, absl::Now(), kMaxWalkRows, &found);
      view->reset();
      if (!status.ok()) return status;
      count += found.size();
      if (found.empty() || !act) continue;
      const absl::StatusOr<uint64_t> refused = ActOn(found, *act);
      if (!refused.ok()) return refused.status();
      count -= *refused;
    }
    return count;
  }

  // How many did not take it.
  absl::StatusOr<uint64_t> ActOn(const std::vector<EnvelopeFacts>& found,
                                 ActOnEnvelope::Act act) {
    QueueBatch batch;
    for (const EnvelopeFacts& facts : found) {
      ActOnEnvelope op;
      op.envelope = facts.envelope.id;
      op.act = act;
      batch.push_back(std::move(op));
    }
    const BatchResult result = Commit(std::move(batch));
    if (!result.status.ok()) return result.status;
    uint64_t refused = 0;
    for (const OperationResult& one : result.operations) {
      if (one.status.ok()) continue;
      ++refused;
      // A claim that a crash has left: its outcome is for the next start.
      if (!absl::IsFailedPrecondition(one.status) &&
          !absl::IsNotFound(one.status))
        return one.status;
    }
    return refused;
  }

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
  bool moving_ = false;
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
