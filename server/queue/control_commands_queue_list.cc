#include "server/queue/control_commands_queue_list.h"

#include <deque>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/envelope_filter.h"
#include "protocol/queue_list_request.h"
#include "protocol/queue_lister.h"
#include "protocol/queue_listing.h"
#include "server/queue/queue_query.h"

namespace holdfast {
namespace {

// Rows looked at for a page; for the first one few, so that the first line
// comes at once.  The loop, which has mail to answer, formats a page in one go.
constexpr size_t kFirstPage = 100;
constexpr size_t kPage = 500;
// Of a piece of output; a line may make it longer.
constexpr size_t kPiece = kMaxControlText / 2;

// Where the envelopes that match go.
class RowSink {
 public:
  virtual ~RowSink() = default;
  virtual absl::Status Add(const EnvelopeFacts& facts) = 0;
  virtual bool full() const { return false; }
  virtual void End() {}
  // Whole lines; empty: none yet, or no more.
  virtual std::string Take() = 0;
};

// `queue list`.
class ListSink : public RowSink {
 public:
  ListSink(QueueListRequest request, absl::Time now)
      : lister_(std::move(request), now) {
    if (lister_.keeps_rows()) ++gathering_;
  }
  ~ListSink() override {
    if (lister_.keeps_rows()) --gathering_;
  }
  ListSink(const ListSink&) = delete;
  ListSink& operator=(const ListSink&) = delete;

  // Whether there are too many, this one included.
  static bool TooMany() { return gathering_ > kMaxGatheringLists; }

  absl::Status Add(const EnvelopeFacts& facts) override {
    return lister_.Add(facts);
  }
  bool full() const override { return lister_.full(); }
  void End() override { lister_.End(); }
  std::string Take() override { return lister_.Take(kPiece); }

 private:
  // Of all clients: the loop's thread is the only one.
  static int gathering_;
  QueueLister lister_;
};
int ListSink::gathering_ = 0;

// `show queue`: the reference's lines.
class ShowSink : public RowSink {
 public:
  explicit ShowSink(QueueServices* services) : services_(services) {}

  absl::Status Add(const EnvelopeFacts& facts) override {
    const absl::Time now = services_->loop()->Now();
    ListingState state;
    const auto since = services_->InFlightSince(facts.envelope.id);
    if (since || facts.state == EnvelopeState::kInFlight) {
      state.state = ListingState::State::kInFlight;
      state.when = since.value_or(now);
    } else {
      // Held and suspended ones are not in a lane: due when released.
      state.when = facts.due.value_or(now);
      state.destination_error = facts.error;
    }
    lines_.push_back(QueueListingLine(facts.envelope, state, now));
    return absl::OkStatus();
  }

  std::string Take() override {
    std::string text;
    while (!lines_.empty() && text.size() < kPiece) {
      text += lines_.front();
      lines_.pop_front();
    }
    return text;
  }

 private:
  QueueServices* const services_;
  std::deque<std::string> lines_;
};

class ListCommand : public ControlCommand {
 public:
  ListCommand(QueueServices* services, ControlOutput* output,
              EnvelopeFilter filter, std::unique_ptr<RowSink> sink)
      : output_(output),
        query_(services->loop(), services->store(), std::move(filter),
               RelayActions(services->config())),
        sink_(std::move(sink)) {}

  void OnCredit() override {
    std::string text = sink_->Take();
    if (!text.empty()) return output_->Text(std::move(text));
    if (ended_) return output_->Done({});
    query_.Next(std::exchange(page_, kPage),
                [this](absl::StatusOr<QueueQuery::Page> page) {
                  OnPage(std::move(page));
                });
  }

 private:
  void OnPage(absl::StatusOr<QueueQuery::Page> page) {
    if (!page.ok()) return Fail(page.status());
    for (const EnvelopeFacts& facts : page->rows) {
      const absl::Status status = sink_->Add(facts);
      if (!status.ok()) return Fail(status);
    }
    ended_ = page->ended || sink_->full();
    if (ended_) sink_->End();
    OnCredit();
  }

  void Fail(const absl::Status& status) {
    ControlDone done;
    done.ok = false;
    done.error = std::string(status.message());
    output_->Done(std::move(done));
  }

  ControlOutput* const output_;
  QueueQuery query_;
  std::unique_ptr<RowSink> sink_;
  size_t page_ = kFirstPage;
  bool ended_ = false;
};

std::shared_ptr<ControlCommand> MakeShow(const std::string& text,
                                         QueueServices* services,
                                         ControlOutput* output) {
  const auto filter = EnvelopeFilter::Parse(text, services->loop()->Now());
  if (!filter.ok())
    return MakeRefusal(output, std::string(filter.status().message()));
  return std::make_shared<ListCommand>(services, output, *filter,
                                       std::make_unique<ShowSink>(services));
}

std::shared_ptr<ControlCommand> MakeList(const std::vector<std::string>& words,
                                         QueueServices* services,
                                         ControlOutput* output) {
  const auto request = ParseQueueListRequest(words);
  if (!request.ok())
    return MakeRefusal(output, std::string(request.status().message()));
  const absl::Time now = services->loop()->Now();
  const auto filter = EnvelopeFilter::Parse(request->filter, now);
  if (!filter.ok())
    return MakeRefusal(output, std::string(filter.status().message()));
  auto sink = std::make_unique<ListSink>(*request, now);
  if (ListSink::TooMany())
    return MakeRefusal(output,
                       absl::StrCat("busy: ", kMaxGatheringLists,
                                    " such listings are running already"));
  return std::make_shared<ListCommand>(services, output, *filter,
                                       std::move(sink));
}

}  // namespace

std::shared_ptr<ControlCommand> MakeQueueListCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output) {
  if (words.size() < 2) return nullptr;
  std::vector<std::string> rest(words.begin() + 2, words.end());
  if (words[0] == "queue" && words[1] == "list")
    return MakeList(rest, services, output);
  if (words[0] != "show" || words[1] != "queue") return nullptr;
  if (!rest.empty() && rest.back() == "--json")
    return MakeList(rest, services, output);
  if (rest.size() == 1 && ParseMessageId(rest[0]))
    return MakeShow(absl::StrCat("message = ", rest[0]), services, output);
  return MakeShow(JoinFilterWords(rest), services, output);
}

}  // namespace holdfast
