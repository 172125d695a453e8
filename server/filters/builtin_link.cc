#include "server/filters/builtin_link.h"

#include <utility>

#include "config/filter_table.h"
#include "protocol/ip_address.h"

namespace holdfast {
namespace {

// A name that is none: there was no answer, or it is an address.
bool HasName(const std::string& rdns) {
  if (rdns.empty() || rdns == "<unknown>") return false;
  const bool bracketed = rdns.size() > 2 && rdns.front() == '[';
  return !IpAddress::Parse(bracketed ? rdns.substr(1, rdns.size() - 2) : rdns);
}

// What is compared with the table.
const std::string& KeyFor(const std::string& condition,
                          const SessionFacts& facts) {
  if (condition == "rdns") return facts.rdns;
  if (condition == "src") return facts.source_address;
  if (condition == "helo") return facts.helo;
  if (condition == "auth") return facts.user;
  if (condition == "mail-from") return facts.sender;
  return facts.recipient;
}

class BuiltinSession : public LinkSession {
 public:
  BuiltinSession(const BuiltinLink* link, const SessionFacts& facts)
      : link_(link), facts_(facts) {}
  ~BuiltinSession() override { *alive_ = false; }

  bool Wants(FilterPhase phase) const override {
    return phase == link_->phase();
  }

  void Ask(const FilterQuestion&, Done done) override {
    link_->Match(facts_, [link = link_, alive = alive_, done = std::move(done)](
                             absl::StatusOr<bool> matched) mutable {
      if (*alive) done(link->Decide(matched));
    });
  }

  void OnReport(absl::Time, FilterEvent,
                const std::vector<std::string>&) override {}
  std::unique_ptr<TextStage> BeginText(TextSink*) override { return nullptr; }

 private:
  const BuiltinLink* link_;
  const SessionFacts& facts_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

BuiltinLink::BuiltinLink(const Filter* filter, char delimiter,
                         const AskTable* ask)
    : filter_(filter),
      delimiter_(delimiter),
      ask_(ask),
      phase_(FilterPhaseNamed(filter->phase.phase)
                 .value_or(FilterPhase::kConnect)) {}

uint32_t BuiltinLink::events_in() const {
  const std::string& condition = filter_->phase.condition;
  if (condition == "helo") return MaskOf(FilterEvent::kLinkIdentify);
  if (condition == "auth") return MaskOf(FilterEvent::kLinkAuth);
  if (condition == "mail-from")
    return MaskOf(FilterEvent::kTxMail) | MaskOf(FilterEvent::kTxReset);
  return 0;
}

std::unique_ptr<LinkSession> BuiltinLink::Begin(absl::Time,
                                                const SessionFacts& facts) {
  return std::make_unique<BuiltinSession>(this, facts);
}

void BuiltinLink::Match(const SessionFacts& facts, Matched done) const {
  const std::string& condition = filter_->phase.condition;
  const Criterion& criterion = filter_->phase.criterion;
  Matched tell = [negated = criterion.negated,
                  done = std::move(done)](absl::StatusOr<bool> holds) mutable {
    if (holds.ok()) *holds = *holds != negated;
    done(std::move(holds));
  };
  if (condition == "fcrdns") return tell(facts.fcrdns == "pass");
  if (criterion.table == nullptr)
    return tell(condition == "rdns" ? HasName(facts.rdns)
                                    : !facts.user.empty());
  // Who has not said who he is is no user.
  if (condition == "auth" && !criterion.regex && facts.user.empty())
    return tell(false);
  MatchTable(ServicesOf(filter_->phase), KeyFor(condition, facts),
             std::move(tell));
}

void BuiltinLink::MatchTable(std::vector<TableService> services,
                             const std::string& key, Matched done) const {
  const Table& table = *filter_->phase.criterion.table;
  if (!IsHeldByFilters(table))
    return AskNext(std::move(services), key, false, std::move(done));
  bool matched = false;
  for (const TableService service : services) {
    // A key that no table can hold is in none.
    const absl::StatusOr<bool> found = table.Check(service, key, delimiter_);
    matched = matched || (found.ok() && *found);
  }
  done(matched);
}

void BuiltinLink::AskNext(std::vector<TableService> services, std::string key,
                          bool denied, Matched done) const {
  const TableService service = services.front();
  services.erase(services.begin());
  (*ask_)(*filter_->phase.criterion.table, service, key,
          [this, services = std::move(services), key, denied,
           done = std::move(done)](absl::StatusOr<bool> found) mutable {
            const bool not_offered = absl::IsUnimplemented(found.status());
            if (found.ok() ? *found : !not_offered)
              return done(std::move(found));
            denied = denied || !not_offered;
            if (!services.empty())
              return AskNext(std::move(services), std::move(key), denied,
                             std::move(done));
            // Something must have said so, or nobody can say.
            if (denied) return done(false);
            done(std::move(found));
          });
}

LinkAnswer BuiltinLink::Decide(const absl::StatusOr<bool>& matched) const {
  if (matched.ok()) return *matched ? Decision() : LinkAnswer();
  LinkAnswer answer;
  const bool connect = phase_ == FilterPhase::kConnect;
  answer.verdict =
      connect ? LinkAnswer::Verdict::kDisconnect : LinkAnswer::Verdict::kReject;
  answer.text = connect ? kSessionRefused : kRefusedForNow;
  return answer;
}

LinkAnswer BuiltinLink::Decision() const {
  static constexpr std::pair<absl::string_view, LinkAnswer::Verdict> kWords[] =
      {{"reject", LinkAnswer::Verdict::kReject},
       {"disconnect", LinkAnswer::Verdict::kDisconnect},
       {"rewrite", LinkAnswer::Verdict::kRewrite},
       {"junk", LinkAnswer::Verdict::kJunk},
       {"bypass", LinkAnswer::Verdict::kBypass},
       {"report", LinkAnswer::Verdict::kReport}};
  LinkAnswer answer;
  answer.text = filter_->phase.argument;
  for (const auto& [word, verdict] : kWords) {
    if (filter_->phase.decision == word) answer.verdict = verdict;
  }
  return answer;
}

}  // namespace holdfast
