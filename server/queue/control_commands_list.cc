// show queue, show message, show envelope, show doubt; history.
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "protocol/queue_listing.h"
#include "server/queue/control_command.h"
#include "server/queue/control_commands_history.h"
#include "server/queue/control_read.h"
#include "server/queue/stored_body_reader.h"
#include "storage/explained_envelope.h"

namespace holdfast {
namespace {

// Rows of a page; the first is small, so that the first line comes at once.
constexpr size_t kFirstPage = 100;
constexpr size_t kPage = 1000;
constexpr size_t kMaxDoubts = 10000;

// What the reference says of a message or an envelope that is not there.
constexpr absl::string_view kNoFile = "fopen: No such file or directory";

ControlDone Failure(absl::string_view error) {
  ControlDone done;
  done.ok = false;
  done.error = std::string(error);
  return done;
}

struct ListedRow {
  Envelope envelope;
  std::optional<absl::Time> due;
  bool claimed = false;
  absl::Time postponed_until = absl::InfinitePast();
  std::string error;
};

std::vector<ListedRow> ReadRows(const QueueView& view, EnvelopeId after,
                                std::optional<MessageId> only, size_t limit) {
  using Place = std::tuple<DeliveryKind, std::string, std::string>;
  std::map<Place, std::pair<absl::Time, std::string>> destinations;
  std::vector<ListedRow> rows;
  for (Envelope& envelope : view.Envelopes(after, limit)) {
    if (only && MessageOf(envelope.id) != *only) break;
    ListedRow row;
    row.due = view.DueOf(envelope);
    row.claimed = view.IsClaimed(envelope.id);
    auto [place, added] = destinations.try_emplace(
        Place(envelope.kind, envelope.action, envelope.routing_key),
        absl::InfinitePast(), "");
    if (added) {
      absl::StatusOr<DestinationRow> found = view.DestinationOf(envelope);
      if (found.ok()) place->second = {found->postponed_until, found->error};
    }
    std::tie(row.postponed_until, row.error) = place->second;
    row.envelope = std::move(envelope);
    rows.push_back(std::move(row));
  }
  return rows;
}

class ShowQueue : public ControlCommand,
                  public std::enable_shared_from_this<ShowQueue> {
 public:
  ShowQueue(QueueServices* services, ControlOutput* output,
            std::optional<MessageId> only)
      : services_(services), output_(output), only_(only) {
    if (only_) after_ = MakeEnvelopeId(*only_, 0);
  }

  void OnCredit() override {
    if (ended_) return output_->Done({});
    const size_t limit = std::exchange(limit_, kPage);
    ReadForCommand(
        services_, weak_from_this(),
        [after = after_, only = only_, limit](const QueueView& view) {
          return ReadRows(view, after, only, limit);
        },
        [limit](ShowQueue& self, absl::StatusOr<std::vector<ListedRow>> rows) {
          self.OnRows(std::move(rows), limit);
        });
  }

 private:
  void OnRows(absl::StatusOr<std::vector<ListedRow>> rows, size_t limit) {
    if (!rows.ok()) return output_->Done(Failure(rows.status().message()));
    std::string text;
    size_t listed = 0;
    for (const ListedRow& row : *rows) {
      if (text.size() > kMaxControlText / 2) break;
      text += Line(row);
      after_ = row.envelope.id;
      ++listed;
    }
    ended_ = listed == rows->size() && rows->size() < limit;
    if (text.empty()) return output_->Done({});
    output_->Text(std::move(text));
  }

  std::string Line(const ListedRow& row) {
    const absl::Time now = services_->loop()->Now();
    const Envelope& e = row.envelope;
    ListingState state;
    const std::optional<absl::Time> since = services_->InFlightSince(e.id);
    if (since || row.claimed) {
      state.state = ListingState::State::kInFlight;
      state.when = since.value_or(now);
    } else {
      // Held and suspended ones are not in a lane: due when released.
      state.when = row.due.value_or(now);
      if (row.postponed_until > state.when) state.when = row.postponed_until;
      if (row.postponed_until > now) state.destination_error = row.error;
    }
    return QueueListingLine(e, state, now);
  }

  QueueServices* const services_;
  ControlOutput* const output_;
  const std::optional<MessageId> only_;
  EnvelopeId after_{};
  size_t limit_ = kFirstPage;
  bool ended_ = false;
};

class ShowMessage : public ControlCommand {
 public:
  ShowMessage(QueueServices* services, ControlOutput* output, MessageId id)
      : output_(output), reader_(services->loop(), services->store(), id) {}

  void OnCredit() override {
    if (ended_) return output_->Done({});
    // The reader forgets its read when this is dropped.
    reader_.Read([this](absl::StatusOr<StoredBodyReader::Piece> piece) {
      if (!piece.ok())
        return output_->Done(Failure(absl::IsNotFound(piece.status())
                                         ? kNoFile
                                         : piece.status().message()));
      ended_ = piece->end;
      if (piece->bytes.empty()) return OnCredit();
      output_->Text(std::move(piece->bytes));
    });
  }

 private:
  ControlOutput* const output_;
  StoredBodyReader reader_;
  bool ended_ = false;
};

// One read, one text.
class ShowText : public ControlCommand,
                 public std::enable_shared_from_this<ShowText> {
 public:
  using Read = absl::StatusOr<std::string> (*)(const QueueView&, EnvelopeId);
  ShowText(QueueServices* services, ControlOutput* output, Read read,
           EnvelopeId id)
      : services_(services), output_(output), read_(read), id_(id) {}

  void OnCredit() override {
    if (ended_) return output_->Done({});
    ended_ = true;
    using Result = absl::StatusOr<std::string>;
    ReadForCommand(
        services_, weak_from_this(),
        [read = read_, id = id_](const QueueView& view) -> Result {
          return read(view, id);
        },
        [](ShowText& self, absl::StatusOr<Result> result) {
          const Result text =
              result.ok() ? std::move(*result) : Result(result.status());
          if (!text.ok())
            return self.output_->Done(Failure(text.status().message()));
          if (text->empty()) return self.output_->Done({});
          self.output_->Text(*text);
        });
  }

 private:
  QueueServices* const services_;
  ControlOutput* const output_;
  const Read read_;
  const EnvelopeId id_;
  bool ended_ = false;
};

absl::StatusOr<std::string> EnvelopeText(const QueueView& view, EnvelopeId id) {
  const absl::StatusOr<Envelope> envelope = FindExplained(view, id);
  if (absl::IsNotFound(envelope.status())) return absl::NotFoundError(kNoFile);
  if (!envelope.ok()) return envelope.status();
  return EnvelopeToText(*envelope);
}

absl::StatusOr<std::string> DoubtsText(const QueueView& view, EnvelopeId) {
  std::string text;
  for (const DoubtRow& d : view.Doubts(kMaxDoubts)) {
    if (text.size() > kMaxControlText) break;
    text += DoubtLine(d.envelope, d.when, d.kind, d.sender, d.dest);
  }
  return text;
}

}  // namespace

std::shared_ptr<ControlCommand> MakeListCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output) {
  if (const auto request = ParseHistoryRequest(words))
    return MakeHistoryCommand(*request, services, output);
  if (words.size() < 2 || words[0] != "show") return nullptr;
  const std::string& what = words[1];
  if (words.size() == 2) {
    if (what == "queue")
      return std::make_shared<ShowQueue>(services, output, std::nullopt);
    if (what == "doubt")
      return std::make_shared<ShowText>(services, output, DoubtsText,
                                        EnvelopeId{});
    return nullptr;
  }
  if (words.size() != 3) return nullptr;
  const std::optional<EnvelopeId> envelope = ParseEnvelopeId(words[2]);
  std::optional<MessageId> message = ParseMessageId(words[2]);
  if (what == "queue" && message)
    return std::make_shared<ShowQueue>(services, output, *message);
  if (what == "envelope" && envelope)
    return std::make_shared<ShowText>(services, output, EnvelopeText,
                                      *envelope);
  if (what == "message") {
    if (envelope) message = MessageOf(*envelope);
    if (message)
      return std::make_shared<ShowMessage>(services, output, *message);
  }
  return nullptr;
}

}  // namespace holdfast
