// export-data [--move] [FILTER]: smtpctl-store's side of `queue export`: the
// stream of protocol/queue_transfer.h.
//
// With --move what matches is marked first (kFlagMoving: nothing is done to it)
// and the stream is of what is marked.  When the client has it all on its disk
// it says "moved", and the mail is removed; or "back".  A client that goes
// before it has the whole stream can't have a whole archive: the mail is given
// back.  One that goes later may: the mail stays marked, for the operator.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/random/uniform_int_distribution.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "protocol/envelope_filter.h"
#include "protocol/queue_transfer.h"
#include "protocol/vis.h"
#include "server/log/log.h"
#include "server/queue/act_log.h"
#include "server/queue/control_command.h"
#include "server/queue/export_stream.h"
#include "server/queue/move_sweep.h"
#include "storage/queue_walk.h"

namespace holdfast {
namespace {

using Act = ActOnEnvelope::Act;

// A client with --move that does not take what is there is given up after this
// long.  Once it has all, it may look at it as long as it wants.
constexpr absl::Duration kMaxMoveStandstill = absl::Minutes(10);
// How often, and how many times, it is looked whether another one has ended.
constexpr absl::Duration kWait = absl::Milliseconds(100);
constexpr int kMaxWaits = 30;

class ExportCommand : public ControlCommand,
                      public std::enable_shared_from_this<ExportCommand> {
 public:
  ExportCommand(QueueServices* services, ControlOutput* output, bool move,
                std::string filter, const ActPeer& peer)
      : services_(services),
        output_(output),
        move_(move),
        filter_text_(std::move(filter)),
        peer_(peer) {}

  ~ExportCommand() override {
    stream_.reset();
    if (!move_) return;
    LetGo();
  }

  void OnCredit() override {
    credit_ = true;
    Watch();
    if (state_ == State::kNew) return Begin();
    Say();
  }

  size_t MaxData() const override { return move_ ? kMaxMoveWord : 0; }

  bool OnData(const std::string& bytes) override {
    if (state_ != State::kAsking || (bytes != kMoved && bytes != kMoveBack))
      return false;
    state_ = State::kEnding;
    patience_.reset();
    const bool moved = bytes == kMoved;
    auto ended = [weak = weak_from_this(), services = services_, moved,
                  number = number_](const SweepCounts& counts) {
      if (moved) SetMoveRunning(false);
      LogMoveEnd(services, number, moved, counts);
      if (const auto self = weak.lock()) self->OnEnded(counts);
    };
    if (moved)
      SweepQueue(services_, MovingFilter(services_), Act::kMoved, ended);
    else
      GiveBackMoved(services_, ended);
    return true;
  }

 private:
  enum class State {
    kNew,
    kMarking,    // what is to be moved
    kStreaming,  // the client has not got all of it
    kAsking,     // it has: what now?
    kEnding,     // what is marked is removed, or given back
    kDone,
  };

  void Begin() {
    absl::StatusOr<EnvelopeFilter> filter =
        EnvelopeFilter::Parse(filter_text_, services_->loop()->Now());
    if (!filter.ok()) return End(filter.status());
    filter_ = *std::move(filter);
    if (ExportStream::IsRunning() || (move_ && MoveIsRunning()))
      return BeginLater();
    if (!move_) return Stream();
    SetMoveRunning(true);
    state_ = State::kMarking;
    // What an interrupted move has left must not be mixed with this one.
    FindMoved(services_,
              [weak = weak_from_this()](const absl::StatusOr<bool>& found) {
                if (const auto self = weak.lock()) return self->OnLooked(found);
                SetMoveRunning(false);
              });
  }

  // One whose client has just gone ends soon.
  void BeginLater() {
    if (++waited_ > kMaxWaits)
      return End(absl::UnavailableError("an export is running already"));
    wait_ = services_->loop()->RunAfter(kWait, [this] { Begin(); });
  }

  void OnLooked(const absl::StatusOr<bool>& found) {
    if (found.ok() && !*found) return Mark();
    SetMoveRunning(false);
    if (!found.ok()) return End(found.status());
    End(absl::FailedPreconditionError(absl::StrCat(
        "an earlier export --move was interrupted: `queue remove` or `queue "
        "release` what has `",
        kMovingFilter, "` first (OPERATING.md)")));
  }

  void Mark() {
    absl::uniform_int_distribution<uint32_t> any;
    auto random = services_->random();
    number_ = absl::StrCat(absl::Hex(any(random), absl::kZeroPad8));
    NoteMarks();
    AppendToActLog(services_, MoveBeginLine(services_->loop()->Now(), number_,
                                            peer_, filter_text_));
    SweepQueue(
        services_, filter_, Act::kMove,
        [weak = weak_from_this(), services = services_](SweepCounts counts) {
          if (const auto self = weak.lock()) return self->OnMarked(counts);
          GiveBackMoved(services);
        });
  }

  void OnMarked(const SweepCounts& counts) {
    if (!counts.status.ok()) {
      GiveBackMoved(services_);
      return End(counts.status);
    }
    LogInfo("queue export: %d envelopes are being moved, %d are in flight",
            counts.done, counts.in_flight);
    Stream();
  }

  void Stream() {
    state_ = State::kStreaming;
    Watch();
    ExportOptions options;
    options.moving_only = move_;
    if (!move_ && !filter_text_.empty()) {
      options.matches = [filter = filter_, now = services_->loop()->Now()](
                            const QueueView& view, EnvelopeId id) {
        const absl::StatusOr<EnvelopeFacts> facts = FactsOf(view, id, now);
        return facts.ok() && filter.Matches(*facts);
      };
    }
    auto stream = ExportStream::Begin(
        services_->store(), std::move(options),
        [loop = services_->loop(), weak = weak_from_this()] {
          loop->Post([weak] {
            if (auto self = weak.lock()) self->Say();
          });
        });
    if (stream.ok()) {
      stream_ = *std::move(stream);
      return;
    }
    if (move_) GiveBackMoved(services_);
    End(stream.status());
  }

  // Of a client that has gone, or is as good as gone.
  void LetGo() {
    if (state_ == State::kStreaming) {
      GiveBackMoved(services_);
    } else if (state_ == State::kAsking) {
      SetMoveRunning(false);
      LogWarn(
          "warn: queue export --move: its client went away when it had "
          "everything: see whether its archive is whole, then `queue remove` "
          "or `queue release` what has `%s`",
          kMovingFilter);
    }
  }

  // Mail that is marked waits for the client.
  void Watch() {
    if (!move_) return;
    patience_ = services_->loop()->RunAfter(kMaxMoveStandstill, [this] {
      if (state_ != State::kStreaming) return;
      stream_.reset();
      LetGo();
      End(absl::DeadlineExceededError("the client is stuck"));
    });
  }

  void Say() {
    if (!credit_ || stream_ == nullptr) return;
    ExportStream::Piece piece = stream_->Take(kMaxControlText);
    if (piece.bytes.empty() && !piece.ended) return;
    if (!piece.bytes.empty()) {
      credit_ = false;
      if (piece.ended && piece.status.ok() && move_) {
        stream_.reset();
        state_ = State::kAsking;
      }
      return output_->Text(std::move(piece.bytes));
    }
    stream_.reset();
    if (move_) GiveBackMoved(services_);
    End(piece.status);
  }

  void OnEnded(const SweepCounts& counts) { End(counts.status, counts.done); }

  static void LogMoveEnd(QueueServices* services, const std::string& number,
                         bool moved, const SweepCounts& counts) {
    const std::string result = !counts.status.ok()
                                   ? std::string(counts.status.message())
                               : moved ? "complete"
                                       : "given back";
    AppendToActLog(services, MoveEndLine(services->loop()->Now(), number,
                                         moved ? counts.done : 0, result));
    LogInfo("queue export --move: %d envelopes %s", counts.done,
            moved ? "moved" : "stay here");
  }

  void End(const absl::Status& status, uint64_t count = 0) {
    state_ = State::kDone;
    ControlDone done;
    done.ok = status.ok();
    done.count = count;
    done.error = std::string(status.message());
    LogInfo("queue export: %s",
            status.ok() ? std::string("done") : VisEncode(done.error));
    output_->Done(std::move(done));
  }

  QueueServices* const services_;
  ControlOutput* const output_;
  const bool move_;
  const std::string filter_text_;
  const ActPeer peer_;
  EnvelopeFilter filter_;
  std::string number_;  // in the log of acts
  std::unique_ptr<ExportStream> stream_;
  EventLoop::Timer patience_;
  EventLoop::Timer wait_;
  int waited_ = 0;
  State state_ = State::kNew;
  bool credit_ = false;
};

}  // namespace

std::shared_ptr<ControlCommand> MakeExportCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output, const ActPeer& peer) {
  if (words.size() < 2 || words[0] != "queue" || words[1] != "export-data")
    return nullptr;
  const bool move = words.size() > 2 && words[2] == "--move";
  return std::make_shared<ExportCommand>(
      services, output, move,
      absl::StrJoin(words.begin() + (move ? 3 : 2), words.end(), " "), peer);
}

}  // namespace holdfast
