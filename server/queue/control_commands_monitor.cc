// monitor: a line of rates every second (reference part 2, section 5.7).
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/queue/control_command.h"

namespace holdfast {
namespace {

constexpr absl::string_view kHeader =
    "--- client ---  -- envelope --   ---- relay/delivery --- ------- misc "
    "-------\n"
    "curr conn disc  curr  enq  deq   ok tmpfail prmfail loop expire remove "
    "bounce\n";
constexpr int kLinesPerHeader = 25;

uint64_t Connected(const QueueCounters& c) {
  return c.sessions.inet4 + c.sessions.inet6 + c.sessions.local;
}

std::string Line(const QueueCounters& now, const QueueCounters& last) {
  return absl::StrFormat(
      "%4d %4d %4d  %4d %4d %4d %4d    %4d    %4d %4d   %4d   %4d   %4d\n",
      now.sessions.now, Connected(now) - Connected(last),
      now.sessions.closed - last.sessions.closed, now.envelopes_now,
      now.enqueued - last.enqueued, now.dequeued - last.dequeued,
      now.ok - last.ok, now.tempfail - last.tempfail,
      now.permfail - last.permfail, now.loop - last.loop,
      now.expired - last.expired, now.removed - last.removed,
      now.bounces - last.bounces);
}

class Monitor : public ControlCommand {
 public:
  Monitor(QueueServices* services, ControlOutput* output)
      : services_(services), output_(output) {}

  // A client that is slow gets fewer lines, each about a longer time.
  void OnCredit() override {
    timer_ = services_->loop()->RunAfter(
        first_ ? absl::ZeroDuration() : absl::Seconds(1), [this] { Say(); });
    first_ = false;
  }

 private:
  void Say() {
    std::string text;
    if (lines_ % kLinesPerHeader == 0)
      text = absl::StrCat(lines_ == 0 ? "" : "\n", kHeader);
    ++lines_;
    const QueueCounters now = services_->Counters();
    text += Line(now, last_);
    last_ = now;
    output_->Text(std::move(text));
  }

  QueueServices* const services_;
  ControlOutput* const output_;
  QueueCounters last_;  // the first line is about the time since start
  bool first_ = true;
  uint64_t lines_ = 0;
  EventLoop::Timer timer_;
};

}  // namespace

std::shared_ptr<ControlCommand> MakeMonitorCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output) {
  if (words.size() != 1 || words[0] != "monitor") return nullptr;
  return std::make_shared<Monitor>(services, output);
}

}  // namespace holdfast
