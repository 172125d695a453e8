// schedule, remove, pause envelope, resume envelope; discover.
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "protocol/queue_listing.h"
#include "server/queue/control_command.h"
#include "server/queue/control_read.h"

namespace holdfast {
namespace {

constexpr size_t kPage = 1000;

struct Target {
  std::optional<EnvelopeId> envelope;
  std::optional<MessageId> message;  // neither: all
};

std::optional<Target> ParseTarget(const std::string& word) {
  Target target;
  if (word == "all") return target;
  target.envelope = ParseEnvelopeId(word);
  target.message = ParseMessageId(word);
  if (!target.envelope && !target.message) return std::nullopt;
  return target;
}

class ActOnEnvelopes : public ControlCommand,
                       public std::enable_shared_from_this<ActOnEnvelopes> {
 public:
  ActOnEnvelopes(QueueServices* services, ControlOutput* output,
                 OperatorAct act, absl::string_view done_word, Target target)
      : services_(services),
        output_(output),
        act_(act),
        done_word_(done_word),
        target_(target) {
    if (target_.message) after_ = MakeEnvelopeId(*target_.message, 0);
  }

  void OnCredit() override {
    if (ended_) {
      ControlDone done;
      done.count = count_;
      return output_->Done(done);
    }
    if (target_.envelope) return Act({*target_.envelope}, true);
    // What arrives from now on is not meant; without this, `all` might never
    // come to an end.
    started_ = services_->loop()->Now();
    NextPage();
  }

 private:
  struct Page {
    std::vector<EnvelopeId> ids;
    EnvelopeId last{};
    bool end = true;
  };

  static Page ReadPage(const QueueView& view, EnvelopeId after,
                       std::optional<MessageId> only, absl::Time until) {
    Page page;
    const std::vector<Envelope> envelopes = view.Envelopes(after, kPage);
    page.end = envelopes.size() < kPage;
    for (const Envelope& e : envelopes) {
      if (only && MessageOf(e.id) != *only) {
        page.end = true;
        break;
      }
      page.last = e.id;
      if (e.created <= until) page.ids.push_back(e.id);
    }
    return page;
  }

  void NextPage() {
    ReadForCommand(
        services_, weak_from_this(),
        [after = after_, only = target_.message,
         until = started_](const QueueView& view) {
          return ReadPage(view, after, only, until);
        },
        [](ActOnEnvelopes& self, absl::StatusOr<Page> page) {
          self.OnPage(std::move(page));
        });
  }

  void OnPage(absl::StatusOr<Page> page) {
    if (!page.ok()) {
      ControlDone done;
      done.ok = false;
      done.error = std::string(page.status().message());
      return output_->Done(done);
    }
    after_ = page->last;
    if (!page->ids.empty()) return Act(std::move(page->ids), page->end);
    if (page->end) return Say();
    NextPage();
  }

  void Act(std::vector<EnvelopeId> ids, bool last) {
    services_->Act(act_, std::move(ids),
                   [weak = weak_from_this(), last](uint64_t count) {
                     auto self = weak.lock();
                     if (!self) return;
                     self->count_ += count;
                     if (last) return self->Say();
                     self->NextPage();
                   });
  }

  void Say() {
    ended_ = true;
    output_->Text(absl::StrCat(count_, " envelope", count_ > 1 ? "s" : "", " ",
                               done_word_, "\n"));
  }

  QueueServices* const services_;
  ControlOutput* const output_;
  const OperatorAct act_;
  const absl::string_view done_word_;
  const Target target_;
  absl::Time started_;
  EnvelopeId after_{};
  uint64_t count_ = 0;
  bool ended_ = false;
};

// discover: says how many envelopes are there.  Nothing that is in the store
// is ever unknown to the scheduler, so there is nothing else to do.
class Discover : public ControlCommand,
                 public std::enable_shared_from_this<Discover> {
 public:
  Discover(QueueServices* services, ControlOutput* output, Target target)
      : services_(services), output_(output), target_(target) {
    message_ = target.message ? *target.message : MessageOf(*target.envelope);
    after_ = MakeEnvelopeId(message_, 0);
  }

  void OnCredit() override {
    if (ended_) return output_->Done({});
    ReadForCommand(
        services_, weak_from_this(),
        [after = after_](const QueueView& view) {
          return view.Envelopes(after, kPage);
        },
        [](Discover& self, absl::StatusOr<std::vector<Envelope>> page) {
          self.OnPage(std::move(page));
        });
  }

 private:
  void OnPage(absl::StatusOr<std::vector<Envelope>> page) {
    if (!page.ok()) {
      ControlDone done;
      done.ok = false;
      done.error = std::string(page.status().message());
      return output_->Done(std::move(done));
    }
    ended_ = page->size() < kPage;
    for (const Envelope& e : *page) {
      after_ = e.id;
      if (MessageOf(e.id) != message_) {
        ended_ = true;
        break;
      }
      if (!target_.envelope || *target_.envelope == e.id) ++count_;
    }
    if (!ended_) return OnCredit();
    output_->Text(absl::StrCat(count_, " envelope", count_ == 1 ? "" : "s",
                               " discovered\n"));
  }

  QueueServices* const services_;
  ControlOutput* const output_;
  const Target target_;
  MessageId message_{};
  EnvelopeId after_{};
  uint64_t count_ = 0;
  bool ended_ = false;
};

}  // namespace

std::shared_ptr<ControlCommand> MakeActCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output) {
  static constexpr struct {
    absl::string_view first, second, done;
    OperatorAct act;
  } kActs[] = {{"schedule", "", "scheduled", OperatorAct::kSchedule},
               {"remove", "", "removed", OperatorAct::kRemove},
               {"pause", "envelope", "paused", OperatorAct::kPause},
               {"resume", "envelope", "resumed", OperatorAct::kResume}};
  if (words.size() == 2 && words[0] == "discover" && words[1] != "all") {
    const std::optional<Target> target = ParseTarget(words[1]);
    if (!target) return nullptr;
    return std::make_shared<Discover>(services, output, *target);
  }
  for (const auto& a : kActs) {
    const size_t count = a.second.empty() ? 2 : 3;
    if (words.size() != count || words[0] != a.first) continue;
    if (count == 3 && words[1] != a.second) continue;
    const std::optional<Target> target = ParseTarget(words.back());
    if (!target) return nullptr;
    return std::make_shared<ActOnEnvelopes>(services, output, a.act, a.done,
                                            *target);
  }
  return nullptr;
}

}  // namespace holdfast
