// queue rekey: what is sealed with a former key, or not at all, is sealed with
// the one of now, a slice of a transaction at a time while mail flows.  Where
// it stands is in the store: the next one goes on from there.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/queue/control_command.h"

namespace holdfast {
namespace {

constexpr absl::Duration kProgressEvery = absl::Seconds(5);

class RekeyCommand : public ControlCommand,
                     public std::enable_shared_from_this<RekeyCommand> {
 public:
  RekeyCommand(QueueServices* services, ControlOutput* output)
      : services_(services), output_(output) {}

  void OnCredit() override {
    credit_ = true;
    if (state_ == State::kNew) {
      state_ = State::kRunning;
      last_told_ = services_->loop()->Now();
      Go();
    } else if (state_ == State::kEnded) {
      End();
    }
  }

 private:
  enum class State { kNew, kRunning, kEnded };

  void Go() {
    began_ = services_->loop()->Now();
    services_->Commit({Reseal{}},
                      [weak = weak_from_this()](const BatchResult& result) {
                        if (const auto self = weak.lock())
                          self->OnSlice(result.operations[0]);
                      });
  }

  void OnSlice(const OperationResult& result) {
    if (!result.status.ok()) {
      done_.ok = false;
      done_.error = absl::StrCat(std::string(result.status.message()),
                                 "; run it again to go on");
      return Finish();
    }
    const ResealProgress& slice = result.reseal;
    looked_ += slice.looked;
    resealed_ += slice.resealed;
    damaged_ += slice.damaged;
    if (slice.finished) {
      last_line_ = LastLine(slice);
      return Finish();
    }
    const absl::Time now = services_->loop()->Now();
    if (credit_ && now - last_told_ >= kProgressEvery) {
      last_told_ = now;
      Say(absl::StrCat("queue rekey: ", looked_, " of ", slice.rows,
                       " rows\n"));
    }
    // As long as it took nothing: half of the time is for mail alone.
    pause_ = services_->loop()->RunAfter(now - began_, [this] { Go(); });
  }

  std::string LastLine(const ResealProgress& slice) {
    done_.count = resealed_;
    const std::string damage =
        damaged_ == 0 ? ""
                      : absl::StrCat("queue rekey: ", damaged_,
                                     " rows are damaged and stay so\n");
    if (slice.key == 0 && looked_ == 0) {
      done_.ok = false;
      done_.error =
          "the queue is not sealed (\"queue encryption\" in smtpd.conf)";
      return damage;
    }
    if (slice.key == 0) {
      return absl::StrCat(damage, "queue rekey: ", resealed_,
                          " rows opened, none is sealed any more; \"queue "
                          "encryption\" can go from smtpd.conf\n");
    }
    return absl::StrCat(
        damage, "queue rekey: ", resealed_, " rows sealed anew, all are under ",
        "key ", absl::StrFormat("%08x", slice.key),
        "; \"previous\" is not needed in smtpd.conf any more\n");
  }

  void Finish() {
    state_ = State::kEnded;
    if (credit_) End();
  }

  void End() {
    if (last_line_.empty()) return output_->Done(std::move(done_));
    Say(std::exchange(last_line_, ""));
  }

  void Say(std::string text) {
    credit_ = false;
    output_->Text(std::move(text));
  }

  QueueServices* const services_;
  ControlOutput* const output_;
  State state_ = State::kNew;
  bool credit_ = false;
  absl::Time began_, last_told_;
  uint64_t looked_ = 0, resealed_ = 0, damaged_ = 0;
  std::string last_line_;
  ControlDone done_;
  EventLoop::Timer pause_;
};

}  // namespace

std::shared_ptr<ControlCommand> MakeRekeyCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output) {
  if (words != std::vector<std::string>{"queue", "rekey"}) return nullptr;
  return std::make_shared<RekeyCommand>(services, output);
}

}  // namespace holdfast
