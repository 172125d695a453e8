#include "server/queue/control_commands_queue_act.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/json_line.h"
#include "server/queue/act_preview.h"
#include "server/queue/act_run.h"
#include "server/queue/queue_query.h"

namespace holdfast {
namespace {

constexpr absl::Duration kProgressEvery = absl::Milliseconds(200);

// What became of an act, for people.
std::string ResultText(EnvelopeAct::Kind kind, const ActCounts& c) {
  std::string text = absl::StrCat(
      c.done, c.done == 1 ? " envelope " : " envelopes ", DoneWord(kind), "\n");
  const std::string failed =
      absl::StrCat("failed: ", std::string(c.why.message()));
  const std::pair<uint64_t, absl::string_view> others[] = {
      {c.waiting, "in flight: when the attempt is over"},
      {c.so_already, "so already"},
      {c.changed, "not matching any more"},
      {c.gone, "gone meanwhile"},
      {c.failed, failed}};
  for (const auto& [count, what] : others)
    if (count > 0) absl::StrAppend(&text, count, " ", what, "\n");
  return text;
}

Json ResultJson(const EnvelopeAct& act, uint64_t found, const ActCounts& c) {
  return Json{{"act", ActText(act)},
              {"found", found},
              {"done", c.done},
              {"waiting", c.waiting},
              {"so-already", c.so_already},
              {"changed", c.changed},
              {"gone", c.gone},
              {"failed", c.failed},
              {"why", std::string(c.why.message())}};
}

// Looks what matches; then either shows it and gives a token, or does it.
class QueueAct : public ControlCommand {
 public:
  QueueAct(ActRequest request, QueueServices* services, ControlOutput* output,
           const ActPeer& peer, std::shared_ptr<ActTokens> tokens)
      : request_(std::move(request)),
        services_(services),
        output_(output),
        peer_(peer),
        tokens_(std::move(tokens)) {}

  // The client has gone: what was done is noted, and the rest can be gone on
  // with.
  ~QueueAct() override {
    Stop();
    if (run_ == nullptr) return;
    PlannedAct rest = run_->Abandon();
    if (!request_.token.empty() && !rest.envelopes.empty())
      tokens_->PutBack(request_.token, peer_, std::move(rest),
                       services_->loop()->Now());
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
    query_.emplace(services_->loop(), services_->store(), filter_,
                   RelayActions(services_->config()));
    Look();
  }

  void Look() {
    query_->Next(kMaxWalkRows, [this](absl::StatusOr<QueueQuery::Page> page) {
      OnPage(std::move(page));
    });
  }

  void OnPage(absl::StatusOr<QueueQuery::Page> page) {
    if (!page.ok()) return Fail(page.status().message());
    for (const EnvelopeFacts& facts : page->rows)
      if (!preview_.Add(request_.act, facts, services_->config()))
        return OnFound();
    if (page->ended) return OnFound();
    Look();
  }

  void OnFound() {
    PlannedAct plan;
    plan.act = request_.act;
    plan.filter_text = request_.filter;
    plan.filter = filter_;
    plan.envelopes = preview_.TakeEnvelopes();
    if (request_.yes) return Begin(std::move(plan));
    std::string token;
    if (preview_.count() > 0)
      token = tokens_->Add(peer_, std::move(plan), services_->loop()->Now(),
                           services_->random());
    ControlDone done;
    done.count = preview_.count();
    Finish(Shown(token), done);
  }

  std::string Shown(const std::string& token) const {
    if (request_.json) {
      Json json = preview_.AsJson(request_.act);
      json["token"] = token.empty() ? Json() : Json(token);
      return JsonLine(json);
    }
    std::string text = preview_.Text(request_.act);
    if (!token.empty())
      absl::StrAppend(&text, "to do it, within ",
                      absl::ToInt64Minutes(kActTokenLife),
                      " minutes: smtpctl queue ", ActWord(request_.act.kind),
                      " --token ", token, "\n");
    return text;
  }

  void Begin(PlannedAct plan) {
    run_ = std::make_shared<ActRun>(services_, std::move(plan), peer_);
    ActRun::Watcher watcher;
    watcher.on_slice = [this] { SayProgress(); };
    watcher.on_end = [this](absl::Status status) { OnEnd(status); };
    run_->Start(std::move(watcher));
  }

  void SayProgress() {
    const absl::Duration now = services_->loop()->Elapsed();
    if (!request_.progress || request_.json || !credit_ ||
        now - progressed_ < kProgressEvery)
      return;
    progressed_ = now;
    said_progress_ = true;
    credit_ = false;
    output_->Text(absl::StrCat("\r", run_->reached(), " of ",
                               run_->plan().envelopes.size()));
  }

  void OnEnd(const absl::Status& noted) {
    const std::shared_ptr<ActRun> run = std::move(run_);
    if (!noted.ok())
      return Fail(
          absl::StrCat("nothing was done: ", std::string(noted.message())));
    const ActCounts& c = run->counts();
    const EnvelopeAct& act = run->plan().act;
    std::string text = said_progress_ ? "\r\33[K" : "";
    text += request_.json
                ? JsonLine(ResultJson(act, run->plan().envelopes.size(), c))
                : ResultText(act.kind, c);
    if (preview_.cut() && !request_.json) text += kActCutText;
    ControlDone done;
    done.ok = c.failed == 0 && c.status.ok();
    done.count = c.done;
    done.error = std::string(c.status.message());
    Finish(std::move(text), done);
  }

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
  const std::shared_ptr<ActTokens> tokens_;
  EnvelopeFilter filter_;
  std::optional<QueueQuery> query_;
  ActPreview preview_;
  std::shared_ptr<ActRun> run_;
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
    ControlOutput* output, const ActPeer& peer,
    std::shared_ptr<ActTokens> tokens) {
  if (auto log = MakeActLogCommand(words, services, output)) return log;
  if (words.size() < 2 || words[0] != "queue" || !FindAct(words[1]))
    return nullptr;
  absl::StatusOr<ActRequest> request =
      ParseActRequest({words.begin() + 1, words.end()}, services->config());
  if (!request.ok()) return MakeRefusal(output, request.status().message());
  return std::make_shared<QueueAct>(*std::move(request), services, output, peer,
                                    std::move(tokens));
}

}  // namespace holdfast
