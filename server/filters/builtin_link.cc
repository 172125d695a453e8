#include "server/filters/builtin_link.h"

#include <utility>

#include "protocol/ip_address.h"

namespace holdfast {
namespace {

// A name that is none: there was no answer, or it is an address.
bool HasName(const std::string& rdns) {
  if (rdns.empty() || rdns == "<unknown>") return false;
  const bool bracketed = rdns.size() > 2 && rdns.front() == '[';
  return !IpAddress::Parse(bracketed ? rdns.substr(1, rdns.size() - 2) : rdns);
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
  struct Kind {
    absl::string_view condition;
    const std::string* key;
    TableService service;
  };
  const Kind kinds[] = {
      {"rdns", &facts.rdns, TableService::kDomain},
      {"src", &facts.source_address, TableService::kNetaddr},
      {"helo", &facts.helo, TableService::kDomain},
      {"auth", &facts.user, TableService::kString},
      {"mail-from", &facts.sender, TableService::kMailaddr},
      {"rcpt-to", &facts.recipient, TableService::kMailaddr},
  };
  for (const Kind& kind : kinds) {
    if (kind.condition != condition) continue;
    if (criterion.regex)
      return MatchTable(TableService::kRegex, *kind.key, std::move(tell));
    if (condition != "auth")
      return MatchTable(kind.service, *kind.key, std::move(tell));
    if (facts.user.empty()) return tell(false);
    // A list of names, or one of names and passwords.
    return MatchTable(
        TableService::kString, facts.user,
        [this, user = facts.user,
         tell = std::move(tell)](absl::StatusOr<bool> found) mutable {
          if (!found.ok() || *found) return tell(found);
          MatchTable(TableService::kCredentials, user, std::move(tell));
        });
  }
  tell(false);
}

void BuiltinLink::MatchTable(TableService service, const std::string& key,
                             Matched done) const {
  const Table& table = *filter_->phase.criterion.table;
  if (!table.is_static()) return (*ask_)(table, service, key, std::move(done));
  // A key that no table can hold is in none.
  const absl::StatusOr<bool> found = table.Check(service, key, delimiter_);
  done(found.ok() && *found);
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
