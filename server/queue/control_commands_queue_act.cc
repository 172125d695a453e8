#include "server/queue/control_commands_queue_act.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/random/uniform_int_distribution.h"
#include "absl/strings/str_cat.h"
#include "server/log/log.h"
#include "server/queue/act_log.h"
#include "server/queue/act_preview.h"
#include "server/queue/control_read.h"
#include "storage/queue_walk.h"

namespace holdfast {
namespace {

constexpr absl::Duration kProgressEvery = absl::Milliseconds(200);

// An act being done; it outlives its client by the slice that is under way.
struct RunningAct {
  std::shared_ptr<const EnvelopeAct> act;
  PlannedAct plan;
  ActPeer peer;
  std::string number;  // of its lines in the log
  size_t next = 0;     // of its envelopes
  ActCounts counts;
};

class QueueAct : public ControlCommand,
                 public std::enable_shared_from_this<QueueAct> {
 public:
  QueueAct(ActRequest request, QueueServices* services, ControlOutput* output,
           const ActPeer& peer, ActTokens* tokens)
      : request_(std::move(request)),
        services_(services),
        output_(output),
        peer_(peer),
        tokens_(tokens) {}

  ~QueueAct() override {
    if (working_) tokens_->End();
    // The client has gone: what was done is noted, and the rest is left.
    if (run_ != nullptr) LogEnd("interrupted");
  }

  void OnCredit() override {
    credit_ = true;
    if (!text_.empty()) return SayText();
    if (end_.has_value()) return output_->Done(*end_);
    if (working_) return;
    if (!tokens_->Begin()) return Fail("other acts are at work, try again");
    working_ = true;
    Start();
  }

 private:
  struct Step {
    std::shared_ptr<QueueWalk> walk;
    std::vector<EnvelopeFacts> found;
    absl::Status status;
  };

  void Start() {
    const absl::Time now = services_->loop()->Now();
    if (!request_.token.empty()) {
      absl::StatusOr<PlannedAct> plan = tokens_->Take(
          request_.token, peer_, request_.act.kind,
          request_.filter_given ? &request_.filter : nullptr, now);
      if (!plan.ok()) return Fail(plan.status().message());
      return Begin(*std::move(plan));
    }
    absl::StatusOr<EnvelopeFilter> filter =
        EnvelopeFilter::Parse(request_.filter, now);
    if (!filter.ok()) return Fail(filter.status().message());
    filter_ = *std::move(filter);
    Look(std::make_shared<QueueWalk>(filter_));
  }

  // ---- What matches

  void Look(std::shared_ptr<QueueWalk> walk) {
    ReadForCommand(
        services_, weak_from_this(),
        [walk = std::move(walk),
         now = services_->loop()->Now()](const QueueView& view) {
          Step step;
          step.walk = walk;
          step.status = walk->Step(view, now, kMaxWalkRows, &step.found);
          return step;
        },
        [](QueueAct& self, absl::StatusOr<Step> step) {
          self.OnStep(std::move(step));
        });
  }

  void OnStep(absl::StatusOr<Step> step) {
    if (!step.ok()) return Fail(step.status().message());
    if (!step->status.ok()) return Fail(step->status.message());
    for (const EnvelopeFacts& facts : step->found) {
      if (!preview_.Add(request_.act, facts)) return OnFound();
    }
    if (step->walk->ended()) return OnFound();
    Look(std::move(step->walk));
  }

  void OnFound() {
    PlannedAct plan;
    plan.act = request_.act;
    plan.filter_text = request_.filter;
    plan.filter = filter_;
    plan.envelopes = preview_.TakeEnvelopes();
    if (request_.yes) return Begin(std::move(plan));
    std::string text = preview_.Text(request_.act);
    if (preview_.count() > 0) {
      const std::string token =
          tokens_->Add(peer_, std::move(plan), services_->loop()->Now(),
                       services_->random());
      absl::StrAppend(&text, "to do it, within ",
                      absl::ToInt64Minutes(kActTokenLife),
                      " minutes: smtpctl queue ", ActWord(request_.act.kind),
                      " --token ", token, "\n");
    }
    ControlDone done;
    done.count = preview_.count();
    Finish(std::move(text), done);
  }

  // ---- Doing it

  void Begin(PlannedAct plan) {
    auto run = std::make_unique<RunningAct>();
    run->act = std::make_shared<EnvelopeAct>(plan.act);
    run->plan = std::move(plan);
    absl::uniform_int_distribution<uint32_t> any;
    auto random = services_->random();
    run->number = absl::StrCat(absl::Hex(any(random), absl::kZeroPad8));
    const std::string line =
        ActBeginLine(services_->loop()->Now(), run->number, peer_, run->plan);
    LogInfo("ctl: act %s", line.substr(line.find(' ') + 1));
    // The reader's thread may wait for the disk.
    ReadForCommand(
        services_, weak_from_this(),
        [line, path = LogPath()](const QueueView&) {
          return AppendActLine(path, line);
        },
        [run = std::move(run)](QueueAct& self, auto written) mutable {
          const absl::Status status =
              written.ok() ? *written : written.status();
          // Who did what must be known.
          if (!status.ok())
            return self.Fail(absl::StrCat("nothing was done: ",
                                          std::string(status.message())));
          self.run_ = std::move(run);
          self.NextSlice();
        });
  }

  void NextSlice() {
    const std::vector<EnvelopeId>& all = run_->plan.envelopes;
    if (run_->next == all.size()) return OnAllDone("complete");
    const size_t end =
        std::min(all.size(), run_->next + QueueServices::kActSlice);
    std::vector<EnvelopeId> ids(all.begin() + run_->next, all.begin() + end);
    run_->next = end;
    services_->ActOnSlice(run_->act, run_->plan.filter, std::move(ids),
                          [weak = weak_from_this()](ActCounts counts) {
                            if (auto self = weak.lock()) self->OnSlice(counts);
                          });
  }

  void OnSlice(const ActCounts& counts) {
    ActCounts& sum = run_->counts;
    sum.done += counts.done;
    sum.waiting += counts.waiting;
    sum.so_already += counts.so_already;
    sum.changed += counts.changed;
    sum.gone += counts.gone;
    sum.failed += counts.failed;
    if (!counts.status.ok()) {
      sum.status = counts.status;
      return OnAllDone(counts.status.message());
    }
    SayProgress();
    NextSlice();
  }

  void SayProgress() {
    const absl::Duration now = services_->loop()->Elapsed();
    if (!request_.progress || !credit_ || now - progressed_ < kProgressEvery)
      return;
    progressed_ = now;
    said_progress_ = true;
    credit_ = false;
    output_->Text(
        absl::StrCat("\r", run_->next, " of ", run_->plan.envelopes.size()));
  }

  void OnAllDone(absl::string_view result) {
    LogEnd(result);
    const std::unique_ptr<RunningAct> run = std::move(run_);
    const ActCounts& c = run->counts;
    std::string text = absl::StrCat(said_progress_ ? "\r" : "", c.done,
                                    c.done == 1 ? " envelope " : " envelopes ",
                                    DoneWord(run->act->kind), "\n");
    const std::pair<uint64_t, absl::string_view> others[] = {
        {c.waiting, "in flight: when the attempt is over"},
        {c.so_already, "so already"},
        {c.changed, "not matching any more"},
        {c.gone, "gone meanwhile"},
        {c.failed, "failed"}};
    for (const auto& [count, what] : others)
      if (count > 0) absl::StrAppend(&text, count, " ", what, "\n");
    if (preview_.cut())
      absl::StrAppend(&text, "more match than one act takes (",
                      kMaxActEnvelopes, "): repeat it for the rest\n");
    ControlDone done;
    done.ok = c.failed == 0 && c.status.ok();
    done.count = c.done;
    done.error = std::string(c.status.message());
    Finish(std::move(text), done);
  }

  void LogEnd(absl::string_view result) {
    const std::string line = ActEndLine(services_->loop()->Now(), run_->number,
                                        run_->counts, result);
    LogInfo("ctl: act %s", line.substr(line.find(' ') + 1));
    services_->store()->ReadLater(
        [line, path = LogPath(),
         loop = services_->loop()](absl::StatusOr<const QueueView*>) {
          const absl::Status status = AppendActLine(path, line);
          if (status.ok()) return;
          loop->Post([text = std::string(status.message())] {
            LogWarn("warn: queue: %s", text);
          });
        });
  }

  std::string LogPath() const {
    return PathsBelow(services_->config().spool).store + "/acts.log";
  }

  // ---- The end

  void Finish(std::string text, ControlDone done) {
    Stop();
    end_ = std::move(done);
    text_ = std::move(text);
    if (credit_) SayText();
  }

  void SayText() {
    credit_ = false;
    output_->Text(std::exchange(text_, ""));
  }

  void Fail(absl::string_view error) {
    Stop();
    ControlDone done;
    done.ok = false;
    done.error = std::string(error);
    output_->Done(done);
  }

  void Stop() {
    if (std::exchange(working_, false)) tokens_->End();
  }

  const ActRequest request_;
  QueueServices* const services_;
  ControlOutput* const output_;
  const ActPeer peer_;
  ActTokens* const tokens_;
  EnvelopeFilter filter_;
  ActPreview preview_;
  std::unique_ptr<RunningAct> run_;
  std::string text_;  // to be said last
  std::optional<ControlDone> end_;
  absl::Duration progressed_ = absl::ZeroDuration();
  bool working_ = false;
  bool credit_ = false;
  bool said_progress_ = false;
};

}  // namespace

std::shared_ptr<ControlCommand> MakeQueueActCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output, const ActPeer& peer, ActTokens* tokens) {
  if (words.size() < 2 || words[0] != "queue" || !FindAct(words[1]))
    return nullptr;
  absl::StatusOr<ActRequest> request =
      ParseActRequest({words.begin() + 1, words.end()}, services->config());
  if (!request.ok()) return MakeRefusal(output, request.status().message());
  return std::make_shared<QueueAct>(*std::move(request), services, output, peer,
                                    tokens);
}

}  // namespace holdfast
