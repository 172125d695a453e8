// Promises P1 and P2: random operations against a plain model in memory.  After
// each batch everything that can be read is compared and all invariants are
// checked; now and then the store is closed and opened again.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "protocol/attempts.h"
#include "protocol/wire.h"
#include "storage/store_for_test.h"

namespace holdfast {
namespace {

using Act = ActOnEnvelope::Act;
using Result = EnvelopeOutcome::Result;
using ClaimName = std::pair<WorkerId, BatchId>;
using ReportName = std::pair<EnvelopeId, ReportKind>;
using DestinationName = std::tuple<DeliveryKind, std::string, std::string>;

absl::Time At(int64_t seconds) {
  return absl::FromUnixSeconds(kTestNow + seconds);
}

struct ModelEnvelope {
  Envelope envelope;
  absl::Time due, deadline;

  bool InLane() const {
    return (envelope.flags & (kFlagHeld | kFlagSuspended)) == 0;
  }
};

struct ModelDestination {
  absl::Time postponed_until = absl::InfinitePast();
  uint32_t failures = 0;
  std::string error;
};

DestinationName NameOf(const Envelope& e) {
  return {e.kind, e.action, e.routing_key};
}

class Model {
 public:
  absl::Time now = At(0);
  std::map<EnvelopeId, ModelEnvelope> envelopes;
  std::map<EnvelopeId, ClaimName> claims;
  std::map<EnvelopeId, absl::Time> claimed;  // since when
  std::map<ReportName, Envelope> reports;
  std::map<MessageId, std::vector<std::string>> bodies;    // accepted
  std::map<MessageId, std::vector<std::string>> incoming;  // in progress
  std::set<MessageId> given_up;  // perhaps still in garbage
  std::map<DestinationName, ModelDestination> destinations;
  Ledger ledger;
  size_t doubts = 0;
  bool keeps_history = false;
  std::vector<HistoryRow> history;  // all that ever was written, in order

  bool IsHeld(MessageId id) const {
    for (const auto& [envelope, m] : envelopes)
      if (MessageOf(envelope) == id) return true;
    for (const auto& [report, e] : reports)
      if (MessageOf(report.first) == id) return true;
    return false;
  }

  // What follows from what is gone.
  void Tidy() {
    for (auto it = bodies.begin(); it != bodies.end();)
      it = IsHeld(it->first) ? std::next(it) : bodies.erase(it);
    std::set<DestinationName> used;
    for (const auto& [id, m] : envelopes) used.insert(NameOf(m.envelope));
    for (auto it = destinations.begin(); it != destinations.end();)
      it = used.count(it->first) > 0 ? std::next(it) : destinations.erase(it);
    for (const DestinationName& name : used) destinations[name];
  }

  void Report(ReportName name, const Envelope& envelope) {
    Envelope& report = reports[name] = envelope;
    if (report.attempts.size() > 1) report.attempts = {report.attempts.back()};
  }

  void End(EnvelopeId id, Ending ending) {
    if (keeps_history)
      history.push_back({0, now, ending, envelopes.at(id).envelope});
    envelopes.erase(id);
    --ledger.queued;
    switch (ending) {
      case Ending::kDelivered:
        ++ledger.delivered;
        break;
      case Ending::kReported:
        ++ledger.reported;
        break;
      case Ending::kRemoved:
        ++ledger.removed;
        break;
      case Ending::kDiscarded:
        ++ledger.discarded;
        break;
      case Ending::kSilent:
        ++ledger.silent;
        break;
    }
  }

  bool Apply(const AcceptMessage& op) {
    const bool whole = !op.stored.empty();
    const auto body = incoming.find(op.message);
    if (bodies.count(op.message) > 0) return false;
    if (whole && (IsHeld(op.message) || body != incoming.end())) return false;
    if (!whole &&
        (body == incoming.end() || body->second.size() != op.body.chunks))
      return false;
    for (const ReportKey& key : op.settles)
      if (reports.count({key.envelope, key.kind}) == 0) return false;
    bodies[op.message] =
        whole ? std::vector<std::string>{op.stored} : body->second;
    incoming.erase(op.message);
    for (const Envelope& e : op.envelopes)
      envelopes[e.id] = {e, e.Released(), e.expires};
    for (const ReportKey& key : op.settles)
      reports.erase({key.envelope, key.kind});
    ledger.accepted += op.envelopes.size();
    ledger.queued += op.envelopes.size();
    return true;
  }

  bool Apply(const StoreChunk& op) {
    const auto body = incoming.find(op.message);
    if (body == incoming.end()) {
      if (op.index != 0 || bodies.count(op.message) > 0 || IsHeld(op.message))
        return false;
    } else if (body->second.size() != op.index) {
      return false;
    }
    incoming[op.message].push_back(op.bytes);
    return true;
  }

  bool Apply(const DropIncoming& op) {
    if (incoming.erase(op.message) == 0) return false;
    given_up.insert(op.message);
    return true;
  }

  bool Apply(const ClaimEnvelopes& op) {
    std::set<EnvelopeId> once;
    for (const EnvelopeId id : op.envelopes) {
      const auto it = envelopes.find(id);
      if (it == envelopes.end() || !it->second.InLane() ||
          claims.count(id) > 0 || !once.insert(id).second)
        return false;
    }
    for (const EnvelopeId id : op.envelopes) {
      claims[id] = {op.worker, op.batch};
      claimed[id] = now;
    }
    return true;
  }

  bool Apply(const RecordOutcomes& op) {
    for (const EnvelopeOutcome& o : op.outcomes) {
      const auto claim = claims.find(o.envelope);
      if (claim == claims.end() ||
          claim->second != ClaimName(op.worker, op.batch))
        continue;
      claims.erase(claim);
      Record(o);
    }
    return true;
  }

  void Record(const EnvelopeOutcome& o) {
    ModelEnvelope& m = envelopes.at(o.envelope);
    Envelope& e = m.envelope;
    if (o.result == Result::kRetry || o.result == Result::kEnded) {
      e.last_try = now;
      e.status = o.status;
      e.error_line = o.error_line;
    } else if (o.result == Result::kHold && !o.error_line.empty()) {
      e.status = o.status;
      e.error_line = o.error_line;
    }
    if (o.attempt.has_value()) AddAttempt(*o.attempt, &e.attempts);
    if (o.result == Result::kEnded) {
      if (o.report) Report({e.id, o.report_kind}, e);
      End(e.id, o.ending);
      return;
    }
    if (o.in_doubt) {
      ++doubts;
      e.flags |= kFlagInDoubt;
    } else if (o.result == Result::kRetry) {
      e.flags &= ~kFlagInDoubt;
    }
    if (o.result == Result::kHold) e.flags |= kFlagHeld;
    if (o.result == Result::kRetry) {
      m.due = o.due;
      e.retry += o.count_retry;
    }
  }

  bool Apply(const ReleaseClaim& op) {
    bool any = false;
    for (auto it = claims.begin(); it != claims.end();) {
      if (it->second != ClaimName(op.worker, op.batch)) {
        ++it;
        continue;
      }
      any = true;
      Envelope& e = envelopes.at(it->first).envelope;
      if (op.in_doubt) {
        ++doubts;
        e.flags |= kFlagInDoubt | (op.hold ? kFlagHeld : 0u);
        Attempt attempt;
        attempt.began = claimed.at(e.id);
        attempt.took = now - attempt.began;
        attempt.result = Attempt::Result::kInDoubt;
        AddAttempt(attempt, &e.attempts);
      }
      it = claims.erase(it);
    }
    return any;
  }

  bool Apply(const ActOnEnvelope& op) {
    const auto it = envelopes.find(op.envelope);
    if (it == envelopes.end()) return false;
    ModelEnvelope& m = it->second;
    Envelope& e = m.envelope;
    if (claims.count(op.envelope) > 0) {
      if ((op.act == Act::kWarn || op.act == Act::kExpire) &&
          op.next_deadline != absl::InfiniteFuture())
        m.deadline = op.next_deadline;
      return false;
    }
    switch (op.act) {
      case Act::kSchedule:
        m.due = op.due;
        e.hold_until = std::min(e.hold_until, op.due);
        e.flags &= ~kFlagHeld;
        break;
      case Act::kSuspend:
        e.flags |= kFlagSuspended;
        break;
      case Act::kResume:
        e.flags &= ~kFlagSuspended;
        break;
      case Act::kHold:
        e.flags |= kFlagHeld;
        break;
      case Act::kRelease:
        e.flags &= ~kFlagHeld;
        break;
      case Act::kReroute:
        if (op.action.empty() || op.routing_key.empty()) return false;
        e.kind = op.kind;
        e.action = op.action;
        e.routing_key = op.routing_key;
        m.due = std::min(m.due, std::max(op.due, e.hold_until));
        break;
      case Act::kSet:
        if (op.priority.has_value()) e.priority = *op.priority;
        if (op.expires.has_value()) {
          e.expires = *op.expires;
          m.deadline = op.next_deadline;
        }
        break;
      case Act::kWarn:
        e.last_bounce = op.due;
        m.deadline = op.next_deadline;
        if (op.report) {
          Envelope report = e;
          report.status = op.status;
          report.error_line = op.error_line;
          Report({e.id, ReportKind::kDelayed}, report);
        }
        break;
      case Act::kExpire:
        e.status = op.status;
        e.error_line = op.error_line;
        if (op.report) Report({e.id, ReportKind::kFailed}, e);
        End(e.id, op.report ? Ending::kReported : Ending::kSilent);
        break;
      case Act::kRemove:
        End(e.id, Ending::kRemoved);
        break;
      // Not among what MakeOperation() makes.
      case Act::kMove:
      case Act::kMoveBack:
      case Act::kMoved:
        return false;
    }
    return true;
  }

  bool Apply(const DropReports& op) {
    for (const ReportKey& key : op.reports)
      reports.erase({key.envelope, key.kind});
    return true;
  }

  bool Apply(const PostponeDestination&) { return true; }  // by the test
  bool Apply(const LeaseIds&) { return true; }
  bool Apply(const Reseal&) { return true; }
};

class Player {
 public:
  static constexpr absl::Duration kHistoryAge = absl::Seconds(200);

  explicit Player(uint32_t seed) : random_(seed) {
    SwitchHistory();
    EXPECT_TRUE(store_.Open().ok());
  }

  void Play(int steps) {
    for (int i = 0; i < steps && !testing::Test::HasFailure(); ++i) {
      if (Chance(60)) Reopen();
      Step();
      Compare();
    }
  }

 private:
  bool Chance(uint32_t one_in) { return random_() % one_in == 0; }
  template <class Map>
  auto Pick(const Map& map) {
    auto it = map.begin();
    std::advance(it, random_() % map.size());
    return it->first;
  }

  void SwitchHistory() {
    model_.keeps_history = !Chance(3);
    store_.options().history_age =
        model_.keeps_history ? kHistoryAge : absl::ZeroDuration();
  }

  MessageId RandomMessage() {
    return MessageId{1 + static_cast<uint32_t>(random_() % 40)};
  }
  EnvelopeId RandomEnvelope() {
    if (model_.envelopes.empty() || Chance(10))
      return MakeEnvelopeId(RandomMessage(), 1);
    return Pick(model_.envelopes);
  }
  absl::Time RandomTime() {
    return At(static_cast<int64_t>(random_() % 2000) - 500);
  }

  AcceptMessage MakeAccept() {
    const int recipients = 1 + static_cast<int>(random_() % 6);
    AcceptMessage op = MakeMessage(RandomMessage(), recipients, "");
    for (Envelope& e : op.envelopes) {
      e.id = MakeEnvelopeId(op.message, static_cast<uint32_t>(random_()));
      e.kind = Chance(3) ? DeliveryKind::kMda : DeliveryKind::kMta;
      e.routing_key = absl::StrCat("d", random_() % 4, ".example");
      e.priority = Chance(4) ? static_cast<int8_t>(random_()) : 0;
      e.created = RandomTime();
      e.expires = e.created + absl::Hours(1 + random_() % 50);
      if (Chance(4)) e.hold_until = RandomTime();
      if (Chance(8)) e.flags |= kFlagHeld;
    }
    const auto body = model_.incoming.find(op.message);
    if (body != model_.incoming.end() && !Chance(4)) {
      op.stored.clear();
      op.body.chunks = static_cast<uint32_t>(body->second.size());
      op.body.stored_bytes = 0;
      for (const std::string& chunk : body->second)
        op.body.stored_bytes += chunk.size();
    } else {
      op.stored = std::string(1 + random_() % 20000, 's');
      op.body.chunks = 1;
      op.body.stored_bytes = op.stored.size();
    }
    if (!model_.reports.empty() && Chance(2)) {
      const ReportName name = Pick(model_.reports);
      op.settles.push_back({name.first, name.second});
      if (Chance(6)) op.settles.push_back({RandomEnvelope(), name.second});
    }
    return op;
  }

  EnvelopeOutcome MakeRandomOutcome(EnvelopeId id) {
    EnvelopeOutcome o;
    o.envelope = id;
    o.result = static_cast<Result>(1 + random_() % 4);
    o.ending = static_cast<Ending>(1 + random_() % 5);
    o.report = o.ending == Ending::kReported ||
               (o.ending == Ending::kDelivered && Chance(5));
    o.report_kind = o.ending == Ending::kDelivered ? ReportKind::kDelivered
                                                   : ReportKind::kFailed;
    o.due = RandomTime();
    o.count_retry = !Chance(4);
    o.status = {4, static_cast<uint8_t>(random_() % 90)};
    o.error_line = absl::StrCat("450 reason ", random_() % 5);
    o.in_doubt = Chance(6);
    if (!Chance(4)) {
      Attempt& attempt = o.attempt.emplace();
      attempt.began = model_.now - absl::Seconds(random_() % 9);
      attempt.took = absl::Milliseconds(random_() % 9000);
      attempt.result = static_cast<Attempt::Result>(1 + random_() % 5);
      attempt.relay = absl::StrCat("192.0.2.", random_() % 9, " (mx)");
      attempt.answer = std::string(random_() % 900, 'a');
    }
    return o;
  }

  QueueOperation MakeOperation() {
    switch (random_() % 12) {
      case 0:
      case 1:
      case 2:
        return MakeAccept();
      case 3: {
        StoreChunk op{RandomMessage(), random_() % 3, 0,
                      std::string(1 + random_() % 30000, 'c')};
        const auto body = model_.incoming.find(op.message);
        if (body != model_.incoming.end())
          op.index = static_cast<uint32_t>(body->second.size()) + Chance(9);
        return op;
      }
      case 4:
        return DropIncoming{RandomMessage()};
      case 5:
      case 6: {
        ClaimEnvelopes op{WorkerId{1 + random_() % 2}, BatchId{++batch_}, {}};
        for (int i = 0; i < 3; ++i) op.envelopes.push_back(RandomEnvelope());
        if (Chance(2)) op.envelopes.resize(1);
        return op;
      }
      case 7:
      case 8: {
        if (model_.claims.empty()) return LeaseIds{3};
        const EnvelopeId id = Pick(model_.claims);
        const ClaimName name = model_.claims.at(id);
        RecordOutcomes op{name.first, name.second, {MakeRandomOutcome(id)}};
        op.outcomes.push_back(MakeRandomOutcome(Pick(model_.claims)));
        return op;
      }
      case 9: {
        if (model_.claims.empty() || !Chance(3)) return LeaseIds{1};
        const ClaimName name = model_.claims.at(Pick(model_.claims));
        return ReleaseClaim{name.first, name.second, Chance(2), Chance(2)};
      }
      case 10: {
        if (model_.reports.empty() || Chance(2))
          return DropReports{{{RandomEnvelope(), ReportKind::kFailed}}};
        const ReportName name = Pick(model_.reports);
        return DropReports{{{name.first, name.second}}};
      }
      default: {
        ActOnEnvelope op;
        op.envelope = RandomEnvelope();
        op.act = static_cast<Act>(1 + random_() % 10);
        op.due = RandomTime();
        op.report = Chance(2);
        op.status = {5, 40};
        op.error_line = "expired";
        op.next_deadline = Chance(3) ? absl::InfiniteFuture() : RandomTime();
        op.kind = Chance(3) ? DeliveryKind::kMda : DeliveryKind::kMta;
        op.action = Chance(9) ? "" : absl::StrCat("act", random_() % 3);
        op.routing_key = Chance(2)
                             ? "smtp://next.example"
                             : absl::StrCat("d", random_() % 4, ".example");
        if (!Chance(3)) op.priority = static_cast<int8_t>(random_());
        if (op.act == Act::kSet && !Chance(3)) {
          op.expires = RandomTime();
          op.next_deadline = RandomTime();
        }
        return op;
      }
    }
  }

  void Postpone() {
    const auto rows = store_.View()->Destinations(DestinationId{0}, 100);
    if (rows.empty()) return;
    const DestinationRow& row = rows[random_() % rows.size()];
    const PostponeDestination op{row.id, RandomTime(), At(0), 3,
                                 Chance(2) ? "refused" : ""};
    EXPECT_TRUE(store_.RunOne(op).status.ok());
    ModelDestination& d =
        model_.destinations.at({row.kind, row.action, row.routing_key});
    d.error = op.error;
    d.postponed_until = op.until > model_.now ? op.until : absl::InfinitePast();
    d.failures = op.until > model_.now ? 3 : 0;
  }

  void Step() {
    model_.now += absl::Seconds(random_() % 20);
    store_.set_now(model_.now);
    if (Chance(6)) return Postpone();
    QueueBatch batch;
    std::vector<bool> expected;
    const uint32_t operations = 1 + random_() % 4;
    for (uint32_t i = 0; i < operations; ++i) {
      QueueOperation op = MakeOperation();
      // Whether a body that was given up is still there depends on the
      // clean-up; its id is not used again here.
      if (UsesGivenUpId(op)) continue;
      expected.push_back(
          std::visit([&](const auto& o) { return model_.Apply(o); }, op));
      batch.push_back(std::move(op));
    }
    const BatchResult result = store_.Run(batch);
    ASSERT_TRUE(result.status.ok());
    ASSERT_EQ(result.operations.size(), batch.size());
    for (size_t i = 0; i < batch.size(); ++i) {
      EXPECT_EQ(result.operations[i].status.ok(), expected[i])
          << "operation " << batch[i].index() << " "
          << result.operations[i].status;
    }
    // A destination that became empty inside the transaction and was used again
    // keeps its row; the model's loses its postponement only here, as well.
    model_.Tidy();
  }

  bool UsesGivenUpId(const QueueOperation& op) const {
    if (const auto* o = std::get_if<AcceptMessage>(&op))
      return model_.given_up.count(o->message) > 0;
    if (const auto* o = std::get_if<StoreChunk>(&op))
      return model_.given_up.count(o->message) > 0;
    return false;
  }

  // Nobody sees what is sealed, and how.
  void SwitchKeys() {
    StoreKeys& keys = store_.options().keys;
    // Sealing anew is finished, or there is no end of keys.
    OperationResult result;
    do {
      result = store_.RunOne(Reseal{4096});
      ASSERT_TRUE(result.status.ok()) << result.status;
      EXPECT_EQ(result.reseal.damaged, 0u);
    } while (!result.reseal.finished);
    keys.previous = keys.current;
    keys.current =
        Chance(3) ? "" : absl::StrCat("key ", random_() % 1000000, " of 32");
  }

  void Reopen() {
    if (Chance(2)) SwitchKeys();
    store_.Close();
    SwitchHistory();
    ASSERT_TRUE(store_.Open().ok());
    // Bodies in progress do not outlive a start.
    for (const auto& [id, body] : model_.incoming) model_.given_up.insert(id);
    model_.incoming.clear();
    // Every commit cleans some more; with these few rows the first one all.
    store_.RunOne(LeaseIds{1});
    store_.RunOne(LeaseIds{1});
    EXPECT_EQ(store_.View()->Stats().incoming, 0u);
    model_.given_up.clear();
    EXPECT_EQ(store_.View()->Stats().garbage, 0u);
  }

  void Compare() {
    EXPECT_EQ(store_.Check(), "");
    const auto view = store_.View();
    CompareEnvelopes(*view);
    CompareClaims(*view);
    CompareReports(*view);
    CompareBodies(*view);
    CompareDestinations(*view);
    const Ledger ledger = view->ReadLedger();
    EXPECT_EQ(ledger.accepted, model_.ledger.accepted);
    EXPECT_EQ(ledger.queued, model_.ledger.queued);
    EXPECT_EQ(ledger.delivered, model_.ledger.delivered);
    EXPECT_EQ(ledger.reported, model_.ledger.reported);
    EXPECT_EQ(ledger.removed, model_.ledger.removed);
    EXPECT_EQ(ledger.discarded, model_.ledger.discarded);
    EXPECT_EQ(ledger.silent, model_.ledger.silent);
    EXPECT_EQ(view->Doubts(100000).size(), model_.doubts);
    EXPECT_EQ(view->Stats().incoming, model_.incoming.size());
    CompareHistory(*view);
  }

  // The oldest go, and only those that are too old; how soon is the store's.
  void CompareHistory(const QueueView& view) {
    std::vector<HistoryRow> rows =
        view.History(EnvelopeId{0}, 0, EnvelopeId{~0ull}, 100000);
    EXPECT_EQ(view.Stats().history, rows.size());
    std::sort(rows.begin(), rows.end(),
              [](const HistoryRow& a, const HistoryRow& b) {
                return a.serial < b.serial;
              });
    ASSERT_LE(rows.size(), model_.history.size());
    const size_t gone = model_.history.size() - rows.size();
    for (size_t i = 0; i < rows.size(); ++i) {
      const HistoryRow& wanted = model_.history[gone + i];
      EXPECT_EQ(rows[i].ended, wanted.ended);
      EXPECT_EQ(rows[i].ending, wanted.ending);
      EXPECT_EQ(Encode(rows[i].envelope), Encode(wanted.envelope));
      EXPECT_TRUE(i == 0 || rows[i - 1].serial < rows[i].serial);
    }
    const bool too_old =
        gone == 0 || model_.history[gone - 1].ended <= model_.now - kHistoryAge;
    EXPECT_TRUE(!model_.keeps_history || gone <= gone_when_off_ || too_old);
    if (!model_.keeps_history) gone_when_off_ = gone;
  }

  void CompareEnvelopes(const QueueView& view) {
    const auto rows = view.Envelopes(EnvelopeId{0}, 100000);
    ASSERT_EQ(rows.size(), model_.envelopes.size());
    auto it = model_.envelopes.begin();
    for (const Envelope& row : rows) {
      const ModelEnvelope& m = (it++)->second;
      EXPECT_EQ(Encode(row), Encode(m.envelope)) << ToString(row.id);
      const auto due = view.DueOf(row);
      EXPECT_EQ(due.has_value(), m.InLane());
      if (due.has_value()) {
        EXPECT_EQ(*due, m.due);
      }
      EXPECT_EQ(view.IsClaimed(row.id), model_.claims.count(row.id) > 0);
    }
    std::map<EnvelopeId, absl::Time> deadlines;
    for (const DeadlineRow& row :
         view.Deadlines(absl::InfiniteFuture(), 100000))
      deadlines[row.envelope] = row.when;
    ASSERT_EQ(deadlines.size(), model_.envelopes.size());
    for (const auto& [id, m] : model_.envelopes)
      EXPECT_EQ(deadlines[id], m.deadline);
  }

  void CompareClaims(const QueueView& view) {
    std::map<EnvelopeId, ClaimName> claims;
    for (const ClaimRow& row : view.Claims())
      for (const EnvelopeId id : row.envelopes)
        claims[id] = {row.worker, row.batch};
    EXPECT_EQ(claims, model_.claims);
  }

  void CompareReports(const QueueView& view) {
    const auto rows = view.Reports({}, 100000);
    ASSERT_EQ(rows.size(), model_.reports.size());
    auto it = model_.reports.begin();
    for (const PendingReport& row : rows) {
      EXPECT_EQ(row.key.envelope, it->first.first);
      EXPECT_EQ(row.key.kind, it->first.second);
      EXPECT_EQ(Encode(row.envelope), Encode(it->second));
      ++it;
    }
  }

  void CompareBodies(const QueueView& view) {
    EXPECT_EQ(view.Stats().messages, model_.bodies.size());
    for (const auto& [id, body] : model_.bodies) {
      const auto row = view.FindMessage(id);
      ASSERT_TRUE(row.ok()) << ToString(id);
      const auto chunks = view.BodyChunks(id, 0, row->body.chunks);
      ASSERT_TRUE(chunks.ok());
      EXPECT_EQ(*chunks, body);
    }
  }

  void CompareDestinations(const QueueView& view) {
    const auto rows = view.Destinations(DestinationId{0}, 1000);
    EXPECT_EQ(rows.size(), model_.destinations.size());
    for (const DestinationRow& row : rows) {
      const DestinationName name{row.kind, row.action, row.routing_key};
      ASSERT_EQ(model_.destinations.count(name), 1u);
      std::set<std::tuple<int, absl::Time, EnvelopeId>> lane;
      for (const auto& [id, m] : model_.envelopes) {
        if (NameOf(m.envelope) == name && m.InLane())
          lane.emplace(-m.envelope.priority, m.due, id);
      }
      std::set<std::tuple<int, absl::Time, EnvelopeId>> got;
      for (const LanePosition& p :
           view.Lane(row.id, {}, absl::InfiniteFuture(), 100000))
        got.emplace(-p.priority, p.due, p.envelope);
      EXPECT_EQ(got, lane);
      EXPECT_EQ(row.envelopes, lane.size());
      const ModelDestination& d = model_.destinations.at(name);
      EXPECT_EQ(row.postponed_until, d.postponed_until);
      EXPECT_EQ(row.failures, d.failures);
      EXPECT_EQ(row.error, d.error);
    }
  }

  std::mt19937 random_;
  StoreForTest store_;
  Model model_;
  uint64_t batch_ = 0;
  size_t gone_when_off_ = 0;  // of the history, by the last look while off
};

TEST(QueueModelTest, RandomOperationsBehaveAsTheModelDoes) {
  for (uint32_t seed = 1; seed <= 12 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Player(seed).Play(120);
  }
}

}  // namespace
}  // namespace holdfast
