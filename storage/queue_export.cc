#include "storage/queue_export.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "protocol/control_frames.h"
#include "protocol/queue_transfer.h"
#include "storage/owned_fd.h"

namespace holdfast {
namespace {

constexpr size_t kPage = 1000;
constexpr size_t kPiece = 256 << 10;
constexpr uint32_t kChunksAtOnce = 4;

absl::Status System(absl::string_view what) {
  return absl::InternalError(absl::StrCat(what, ": ", strerror(errno)));
}

// Frames, written once and then read once.
class FrameFile {
 public:
  absl::Status Open(const std::string& folder) {
    fd_ = OwnedFd(open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (fd_.get() < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
      std::string name = folder + "/export.XXXXXX";
      fd_ = OwnedFd(mkostemp(name.data(), O_CLOEXEC));
      if (fd_.get() >= 0) unlink(name.c_str());
    }
    return fd_.get() < 0 ? System(folder) : absl::OkStatus();
  }

  absl::Status Add(const std::string& frame) {
    buffer_ += frame;
    if (buffer_.size() < kPiece) return absl::OkStatus();
    return Flush();
  }

  absl::Status Rewind() {
    const absl::Status status = Flush();
    if (!status.ok()) return status;
    if (lseek(fd_.get(), 0, SEEK_SET) < 0) return System("export: seek");
    return absl::OkStatus();
  }

  // nullopt: the end.
  absl::StatusOr<std::optional<ControlFrame>> Next() {
    for (;;) {
      auto frame = frames_.Next();
      if (!frame.ok() || frame->has_value()) return frame;
      char bytes[65536];
      const ssize_t n = read(fd_.get(), bytes, sizeof bytes);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return System("export: read");
      if (n == 0) return std::optional<ControlFrame>();
      frames_.Append({bytes, static_cast<size_t>(n)});
    }
  }

 private:
  absl::Status Flush() {
    written_ += buffer_.size();
    if (written_ > kMaxCollectedBytes)
      return absl::ResourceExhaustedError("too much for one export");
    for (size_t at = 0; at < buffer_.size();) {
      const ssize_t n =
          write(fd_.get(), buffer_.data() + at, buffer_.size() - at);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return System("export: write");
      at += static_cast<size_t>(n);
    }
    buffer_.clear();
    return absl::OkStatus();
  }

  OwnedFd fd_{-1};
  std::string buffer_;
  uint64_t written_ = 0;
  ControlFrames frames_{kMaxExportFrame};
};

class Exporter {
 public:
  Exporter(QueueStore* store, ExportOptions options,
           absl::FunctionRef<absl::Status(std::string)> sink)
      : store_(store), options_(std::move(options)), sink_(sink) {}

  absl::Status Run() {
    absl::Status status = file_.Open(store_->folder());
    if (!status.ok()) return status;
    // First the pin, then the view: what the view has stays.  What is marked
    // stays by itself, also where there is no room for a pin.
    if (!options_.moving_only) {
      auto pin = store_->PinBodies();
      if (!pin.ok()) return pin.status();
      pin_ = *std::move(pin);
    }
    status = Collect();
    if (status.ok()) options_.collected();
    if (status.ok()) status = file_.Rewind();
    if (status.ok()) status = Give(EncodeControlFrame(begin_));
    if (status.ok()) status = GiveMessages();
    if (status.ok()) status = Give(EncodeControlFrame(end_));
    return status.ok() ? Flush() : status;
  }

 private:
  // ---- In one view

  absl::Status Collect() {
    absl::Status status = Begin();
    uint64_t seen = 0;
    for (EnvelopeId after{}; status.ok();) {
      const std::vector<EnvelopeRow> page = view_->EnvelopeRows(after, kPage);
      for (const EnvelopeRow& row : page) {
        after = row.envelope.id;
        ++seen;
        status = CollectOne(*view_, row);
        if (!status.ok()) return status;
      }
      if (page.size() < kPage) break;
      status = MayGoOn();
    }
    if (!status.ok()) return status;
    // What is damaged is missing from the pages; so is what comes behind a tree
    // that can't be read, which must not look like the end of the queue.
    if (!view_->CanRead()) return absl::DataLossError("the queue is damaged");
    // With other views in between, rows came and went.
    if (rows_ > seen && whole_view_) end_.damaged += rows_ - seen;
    end_.messages = begin_.messages;
    end_.envelopes = begin_.envelopes;
    view_.reset();
    return absl::OkStatus();
  }

  absl::Status Begin() {
    const absl::Status status = TakeView();
    if (!status.ok()) return status;
    begin_.taken = options_.clock();
    if (!absl::SimpleHexAtoi(store_->uuid(), &begin_.store))
      return absl::InternalError("export: a store without uuid");
    begin_.queued = view_->ReadLedger().queued;
    const StoreStats stats = view_->Stats();
    rows_ = stats.envelopes;
    begin_.reports = stats.reports;
    return absl::OkStatus();
  }

  absl::Status TakeView() {
    view_.reset();
    auto view = store_->View();
    if (!view.ok()) return view.status();
    view_ = *std::move(view);
    return absl::OkStatus();
  }

  absl::Status MayGoOn() {
    if (view_->MustEnd()) {
      // What is marked is the same in the next view.
      if (!options_.moving_only)
        return absl::ResourceExhaustedError(
            "the queue needs the room that an export keeps; try again");
      whole_view_ = false;
      const absl::Status status = TakeView();
      if (!status.ok()) return status;
    }
    if (options_.clock() - begin_.taken > kMaxCollectTime)
      return absl::DeadlineExceededError(
          "the queue is too large to be read at one time");
    if (options_.clock() - begin_.taken < kMaxRestingTime) Rest();
    return sink_("");
  }

  absl::Status CollectOne(const QueueView& view, const EnvelopeRow& row) {
    const EnvelopeId id = row.envelope.id;
    if (options_.moving_only && (row.envelope.flags & kFlagMoving) == 0)
      return absl::OkStatus();
    if (options_.matches && !options_.matches(view, id))
      return absl::OkStatus();
    if (MessageOf(id) != message_) {
      message_ = MessageOf(id);
      const auto found = view.FindMessage(message_);
      message_is_whole_ = found.ok();
      if (found.ok()) {
        const absl::Status status = CollectMessage(*found);
        if (!status.ok()) return status;
      }
    }
    if (!message_is_whole_) {
      ++end_.damaged;
      return absl::OkStatus();
    }
    ++begin_.envelopes;
    ExportEnvelope one;
    one.envelope = row.envelope;
    one.envelope.flags &= ~uint32_t{kFlagMoving};
    one.due = row.due;
    return file_.Add(EncodeControlFrame(one));
  }

  absl::Status CollectMessage(const MessageRow& row) {
    ++begin_.messages;
    ExportMessage message;
    message.id = row.id;
    message.origin_store =
        row.origin_store != 0 ? row.origin_store : begin_.store;
    message.origin_serial =
        row.origin_store != 0 ? row.origin_serial : row.serial;
    message.created = row.created;
    message.body = row.body;
    return file_.Add(EncodeControlFrame(message));
  }

  // ---- Afterwards

  absl::Status GiveMessages() {
    std::optional<ExportMessage> message;
    for (;;) {
      auto frame = file_.Next();
      if (!frame.ok()) return frame.status();
      const bool next =
          frame->has_value() && (*frame)->type == ExportMessage::kType;
      absl::Status status;
      if (message && (next || !frame->has_value())) {
        status = GiveBody(*message);
        if (!status.ok()) return status;
      }
      if (!frame->has_value()) return absl::OkStatus();
      if (next) {
        auto decoded = Decode<ExportMessage>((*frame)->payload);
        if (!decoded.ok()) return decoded.status();
        message = *std::move(decoded);
      }
      status = Give(EncodeControlFrame((*frame)->type, (*frame)->payload));
      if (!status.ok()) return status;
    }
  }

  absl::Status GiveBody(const ExportMessage& message) {
    for (uint32_t next = 0; next < message.body.chunks;) {
      const auto view = store_->View();
      if (!view.ok()) return view.status();
      const uint32_t count =
          std::min(kChunksAtOnce, message.body.chunks - next);
      auto chunks = (*view)->BodyChunks(message.id, next, count);
      if (pin_ != nullptr && !pin_->holds())
        return absl::ResourceExhaustedError(
            "the queue needed the room that the export kept; try again");
      if (!chunks.ok() || chunks->size() != count)
        return absl::DataLossError(absl::StrCat(
            "the body of message ", ToString(message.id), " is damaged: ",
            chunks.ok() ? "chunks are missing"
                        : std::string(chunks.status().message())));
      next += count;
      for (std::string& bytes : *chunks) {
        const absl::Status status =
            Give(EncodeControlFrame(ExportChunk{std::move(bytes)}));
        if (!status.ok()) return status;
      }
    }
    return absl::OkStatus();
  }

  absl::Status Give(const std::string& frame) {
    piece_ += frame;
    return piece_.size() < kPiece ? absl::OkStatus() : Flush();
  }
  absl::Status Flush() {
    Rest();
    return sink_(std::exchange(piece_, ""));
  }

  // After a page or a piece.
  void Rest() {
    const uint64_t commits = store_->CommitCount();
    if (std::exchange(commits_, commits) != commits) {
      options_.rest(std::clamp(kExportRests * (options_.clock() - rested_),
                               absl::ZeroDuration(), kMaxExportRest));
    }
    rested_ = options_.clock();
  }

  QueueStore* const store_;
  ExportOptions options_;
  absl::FunctionRef<absl::Status(std::string)> sink_;
  std::unique_ptr<BodyPin> pin_;     // none when moving
  std::unique_ptr<QueueView> view_;  // while collecting
  bool whole_view_ = true;           // of that time
  uint64_t rows_ = 0;                // envelopes in its beginning
  FrameFile file_;
  ExportBegin begin_;
  ExportEnd end_;
  MessageId message_{};  // of the envelopes now
  bool message_is_whole_ = false;
  std::string piece_;
  uint64_t commits_ = 0;  // before the last rest, which ended at:
  absl::Time rested_ = options_.clock();
};

}  // namespace

absl::Status ExportQueue(QueueStore* store, ExportOptions options,
                         absl::FunctionRef<absl::Status(std::string)> sink) {
  return Exporter(store, std::move(options), sink).Run();
}

}  // namespace holdfast
