#include "storage/queue_walk.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "protocol/wire.h"

namespace holdfast {
namespace {

using Plan = QueueWalk::Plan;

// Of indexes in which the wanted rows may end soon.
constexpr size_t kShortRead = 64;

Plan PlanFor(const FilterHints& hints) {
  if (hints.ids) return Plan::kIds;
  if (hints.messages) return Plan::kMessages;
  if (hints.domains || hints.destinations) return Plan::kDestinations;
  if (hints.held) return Plan::kHeld;
  if (hints.due_until) return Plan::kDue;
  return Plan::kAll;
}

template <class List>
bool IsEmpty(const List& list) {
  return list && list->empty();
}

bool NothingFits(const FilterHints& hints) {
  return IsEmpty(hints.ids) || IsEmpty(hints.messages) ||
         IsEmpty(hints.domains) || IsEmpty(hints.destinations);
}

bool Has(const std::vector<std::string>& sorted, absl::string_view text) {
  return std::binary_search(sorted.begin(), sorted.end(),
                            absl::AsciiStrToLower(text));
}

// The routing key of mail to a domain is the domain; of what an operator sent
// another way it may be a host or a URL, for recipients anywhere.
bool IsDomain(absl::string_view routing_key) {
  return routing_key.find_first_of("[:/") == absl::string_view::npos;
}

bool MayHold(const FilterHints& hints, const DestinationRow& row) {
  if (hints.destinations && !Has(*hints.destinations, row.routing_key))
    return false;
  return !hints.domains || row.kind != DeliveryKind::kMta ||
         !IsDomain(row.routing_key) || Has(*hints.domains, row.routing_key);
}

// Makes facts of rows; remembers what neighbours have in common.
class FactMaker {
 public:
  FactMaker(const QueueView* view, absl::Time now) : view_(view), now_(now) {}

  EnvelopeFacts Make(EnvelopeRow row) {
    EnvelopeFacts facts;
    const Destination& destination = Of(row.destination);
    facts.destination = row.envelope.routing_key;
    facts.due = row.due;
    if (row.due) facts.due = std::max(*row.due, destination.postponed_until);
    facts.state = StateOf(row.envelope, row.claimed, facts.due, now_);
    facts.destination_failures = destination.failures;
    facts.error =
        destination.postponed_until > now_ || row.envelope.error_line.empty()
            ? destination.error
            : row.envelope.error_line;
    SetMessage(MessageOf(row.envelope.id), &facts);
    facts.envelope = std::move(row.envelope);
    return facts;
  }

 private:
  struct Destination {
    absl::Time postponed_until = absl::InfinitePast();
    uint32_t failures = 0;
    std::string error;
  };

  const Destination& Of(DestinationId id) {
    const auto [place, added] = destinations_.try_emplace(id);
    if (!added) return place->second;
    absl::StatusOr<DestinationRow> row = view_->Destination(id);
    if (row.ok())
      place->second = {row->postponed_until, row->failures,
                       std::move(row->error)};
    return place->second;
  }

  void SetMessage(MessageId id, EnvelopeFacts* facts) {
    if (id != message_) {
      const absl::StatusOr<MessageRow> row = view_->FindMessage(id);
      message_ = id;
      size_ = row.ok() ? row->body.raw_bytes : 0;
      serial_ = row.ok() ? row->serial : 0;
    }
    facts->size = size_;
    facts->serial = serial_;
  }

  const QueueView* const view_;
  const absl::Time now_;
  std::map<DestinationId, Destination> destinations_;
  MessageId message_{};
  uint64_t size_ = 0, serial_ = 0;
};

}  // namespace

class QueueWalk::Stepper {
 public:
  Stepper(const QueueWalk* walk, Position* at, const QueueView* view,
          absl::Time now, size_t budget, std::vector<EnvelopeFacts>* found)
      : walk_(walk),
        hints_(walk->filter_.hints()),
        at_(at),
        view_(view),
        maker_(view, now),
        budget_(budget),
        found_(found) {}

  absl::Status Run() {
    while (budget_ > 0 && !at_->ended && status_.ok()) {
      switch (walk_->plan_) {
        case Plan::kIds:
          Ids();
          break;
        case Plan::kMessages:
          Messages();
          break;
        case Plan::kDestinations:
          Destinations();
          break;
        case Plan::kHeld:
          HeldRows(std::nullopt, budget_);
          break;
        case Plan::kDue:
          Due();
          break;
        case Plan::kAll:
          All();
          break;
      }
    }
    return status_;
  }

  size_t budget() const { return budget_; }

 private:
  void Spend(size_t rows) { budget_ -= std::min(budget_, rows); }

  void Consider(EnvelopeRow row) {
    EnvelopeFacts facts = maker_.Make(std::move(row));
    if (walk_->filter_.Matches(facts)) found_->push_back(std::move(facts));
  }

  // What is gone or damaged is passed over.
  void ConsiderId(EnvelopeId id) {
    absl::StatusOr<EnvelopeRow> row = view_->FindEnvelopeRow(id);
    if (row.ok()) {
      Consider(*std::move(row));
    } else if (!absl::IsNotFound(row.status()) &&
               !absl::IsDataLoss(row.status())) {
      status_ = row.status();
    }
  }

  void Ids() {
    if (at_->index >= hints_.ids->size()) {
      at_->ended = true;
      return;
    }
    ConsiderId((*hints_.ids)[at_->index++]);
    Spend(1);
  }

  void Messages() {
    if (at_->index >= hints_.messages->size()) {
      at_->ended = true;
      return;
    }
    const MessageId message = (*hints_.messages)[at_->index];
    const size_t limit = std::min(budget_, kShortRead);
    std::vector<EnvelopeRow> rows = view_->EnvelopeRows(
        std::max(at_->envelope, MakeEnvelopeId(message, 0)), limit);
    bool over = rows.size() < limit;
    Spend(std::max<size_t>(rows.size(), 1));
    for (EnvelopeRow& row : rows) {
      over = over || MessageOf(row.envelope.id) != message;
      if (MessageOf(row.envelope.id) != message) break;
      at_->envelope = row.envelope.id;
      Consider(std::move(row));
    }
    if (!over) return;
    at_->envelope = {};
    ++at_->index;
  }

  void All() {
    const size_t limit = budget_;
    std::vector<EnvelopeRow> rows = view_->EnvelopeRows(at_->envelope, limit);
    at_->ended = rows.size() < limit;
    Spend(rows.size());
    for (EnvelopeRow& row : rows) {
      at_->envelope = row.envelope.id;
      Consider(std::move(row));
    }
  }

  // Of one destination, or all.  True: there are no more.
  bool HeldRows(std::optional<DestinationId> only, size_t limit) {
    const auto rows = view_->Held(at_->destination, at_->envelope, limit);
    Spend(std::max<size_t>(rows.size(), 1));
    for (const auto& [destination, envelope] : rows) {
      if (only && destination != *only) return true;
      at_->destination = destination;
      at_->envelope = envelope;
      ConsiderId(envelope);
    }
    if (!only) at_->ended = rows.size() < limit;
    return rows.size() < limit;
  }

  // True: there are no more.
  bool LaneRows() {
    const size_t limit = budget_;
    const auto rows =
        view_->Lane(at_->destination, at_->lane,
                    hints_.due_until.value_or(absl::InfiniteFuture()), limit);
    Spend(std::max<size_t>(rows.size(), 1));
    for (const LanePosition& row : rows) {
      at_->lane = row;
      ConsiderId(row.envelope);
    }
    return rows.size() < limit;
  }

  void Enter(DestinationId id) {
    at_->destination = id;
    at_->lane = {};
    at_->envelope = {};
    at_->part = hints_.held ? Position::Part::kHeld : Position::Part::kLane;
  }

  // Goes on in the destination it is in.
  void Inside(bool with_held) {
    if (at_->part == Position::Part::kLane) {
      if (LaneRows())
        at_->part = with_held ? Position::Part::kHeld : Position::Part::kNone;
      return;
    }
    if (HeldRows(at_->destination, std::min(budget_, kShortRead)))
      at_->part = Position::Part::kNone;
  }

  void Due() {
    if (at_->part != Position::Part::kNone) return Inside(/*with_held=*/false);
    const auto rows =
        view_->Agenda(at_->agenda, at_->destination, *hints_.due_until, 1);
    Spend(1);
    if (rows.empty()) {
      at_->ended = true;
      return;
    }
    at_->agenda = rows[0].first;
    Enter(rows[0].second);
  }

  // First those whose names can be guessed, then the others.
  void Destinations() {
    if (at_->part != Position::Part::kNone) {
      Inside(/*with_held=*/!hints_.due_until);
      return;
    }
    if (at_->index < Guesses()) return Guess();
    if (at_->index == Guesses()) {
      ++at_->index;
      at_->destination = {};
    }
    const size_t limit = budget_;
    const auto rows = view_->Destinations(at_->destination, limit);
    for (const DestinationRow& row : rows) {
      Spend(1);
      at_->destination = row.id;
      if (!MayHold(hints_, row) || IsGuess(row)) continue;
      return Enter(row.id);
    }
    at_->ended = rows.size() < limit;
  }

  const std::vector<std::string>& Keys() const {
    return hints_.domains ? *hints_.domains : *hints_.destinations;
  }
  size_t Guesses() const {
    return walk_->relay_actions_.size() * Keys().size();
  }
  bool IsGuess(const DestinationRow& row) const {
    const auto& actions = walk_->relay_actions_;
    return row.kind == DeliveryKind::kMta &&
           std::binary_search(Keys().begin(), Keys().end(), row.routing_key) &&
           std::find(actions.begin(), actions.end(), row.action) !=
               actions.end();
  }

  void Guess() {
    const auto& actions = walk_->relay_actions_;
    const std::string& key = Keys()[at_->index / actions.size()];
    const auto row = view_->FindDestination(
        DeliveryKind::kMta, actions[at_->index % actions.size()], key);
    ++at_->index;
    Spend(1);
    if (row.ok() && MayHold(hints_, *row)) Enter(row->id);
  }

  const QueueWalk* const walk_;
  const FilterHints& hints_;
  Position* const at_;
  const QueueView* const view_;
  FactMaker maker_;
  size_t budget_;
  std::vector<EnvelopeFacts>* const found_;
  absl::Status status_;
};

QueueWalk::QueueWalk(EnvelopeFilter filter,
                     std::vector<std::string> relay_actions)
    : filter_(std::move(filter)),
      relay_actions_(std::move(relay_actions)),
      plan_(PlanFor(filter_.hints())) {
  state_.plan = static_cast<uint8_t>(plan_);
  state_.ended = NothingFits(filter_.hints());
}

absl::Status QueueWalk::Step(const QueueView& view, absl::Time now,
                             size_t max_rows,
                             std::vector<EnvelopeFacts>* found) {
  const size_t budget = std::min(std::max<size_t>(max_rows, 1), kMaxWalkRows);
  const size_t before = found->size();
  Position at = state_;
  Stepper stepper(this, &at, &view, now, budget, found);
  const absl::Status status = stepper.Run();
  if (!status.ok()) {
    found->resize(before);
    return status;
  }
  state_ = at;
  looked_at_ += budget - stepper.budget();
  return absl::OkStatus();
}

std::string QueueWalk::Cursor() const {
  Position at = state_;
  return Encode(at);
}

absl::Status QueueWalk::Resume(absl::string_view cursor) {
  absl::StatusOr<Position> at = Decode<Position>(cursor);
  if (!at.ok() || at->plan != static_cast<uint8_t>(plan_) ||
      at->part > Position::Part::kHeld)
    return absl::InvalidArgumentError("not a cursor of this filter");
  state_ = *std::move(at);
  return absl::OkStatus();
}

absl::StatusOr<EnvelopeFacts> FactsOf(const QueueView& view, EnvelopeId id,
                                      absl::Time now) {
  absl::StatusOr<EnvelopeRow> row = view.FindEnvelopeRow(id);
  if (!row.ok()) return row.status();
  return FactMaker(&view, now).Make(*std::move(row));
}

}  // namespace holdfast
