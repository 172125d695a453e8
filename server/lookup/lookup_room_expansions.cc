// The room's expansions: from the question through all that they wait for to
// the answer.
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/match.h"
#include "protocol/vis.h"
#include "server/log/log.h"
#include "server/lookup/lookup_room.h"

namespace holdfast {
namespace {

Expansion::UserResult ResultOf(UserAnswer::Result result) {
  switch (result) {
    case UserAnswer::Result::kFound:
      return Expansion::UserResult::kFound;
    case UserAnswer::Result::kNotFound:
      return Expansion::UserResult::kNotFound;
    default:
      return Expansion::UserResult::kError;
  }
}

void LogExpansionLine(const std::string& line) {
  if (absl::StartsWith(line, "warn:")) return LogWarn("%s", line);
  LogInfo("%s", line);
}

}  // namespace

void LookupRoom::Begin(const PeerKey& key, Peer* peer, ExpandRequest request,
                       std::unique_ptr<Explanation> explanation) {
  const uint64_t id = ++last_question_;
  Question& question = questions_[id];
  question.peer = key;
  question.serial = peer->serial;
  question.number = request.question;
  question.explanation = std::move(explanation);
  ExpansionContext context;
  context.now = context_.loop->Now();
  context.srs = srs_ ? &*srs_ : nullptr;
  if (question.explanation != nullptr) {
    context.trace = question.explanation->trace();
  }
  question.expansion =
      std::make_unique<Expansion>(context_.config, std::move(request), context);
  ++peer->open;
  Go(id, question.expansion->Run());
  PauseIfFull(key, peer);
}

void LookupRoom::Explain(const PeerKey& key, Peer* peer,
                         const ExplainRequest& request) {
  auto explanation = std::make_unique<Explanation>(context_.config, request);
  if (!explanation->status().ok()) {
    ExplainAnswer answer;
    answer.question = request.about.question;
    answer.ok = false;
    answer.text = std::string(explanation->status().message());
    peer->door->Send(answer);
    return;
  }
  ExpandRequest about = explanation->request();
  Begin(key, peer, std::move(about), std::move(explanation));
}

// Passes on what the expansion needs; each of these comes back with `id`, which
// is looked up again, for the asker may be gone by then.
void LookupRoom::Go(uint64_t id, Expansion::Step step) {
  const Question& asked = questions_.at(id);
  for (const std::string& line : asked.expansion->TakeWarnings()) {
    // Who asks why reads them in the answer.
    if (asked.explanation == nullptr) LogExpansionLine(line);
  }
  if (const auto* user = std::get_if<Expansion::NeedUser>(&step)) {
    users_.Find(user->name,
                [this, id](UserAnswer::Result result) { OnUser(id, result); });
  } else if (const auto* file = std::get_if<Expansion::NeedFile>(&step)) {
    includes_.Read(file->path, [this, id](absl::StatusOr<std::string> text) {
      const auto question = questions_.find(id);
      if (question == questions_.end()) return;
      Go(id, question->second.expansion->OnFile(text));
    });
  } else if (auto* forward = std::get_if<Expansion::NeedForward>(&step)) {
    forwards_.Read(std::move(forward->question),
                   [this, id](const ForwardAnswer& answer) {
                     const auto question = questions_.find(id);
                     if (question == questions_.end()) return;
                     Go(id, question->second.expansion->OnForward(answer));
                   });
  } else if (auto* table = std::get_if<Expansion::NeedTable>(&step)) {
    AskProgram(id, std::move(table->query));
  } else if (std::holds_alternative<Expansion::NeedTurn>(step)) {
    context_.loop->Post([this, id, alive = std::weak_ptr<bool>(alive_)] {
      if (alive.expired()) return;
      const auto question = questions_.find(id);
      if (question == questions_.end()) return;
      Go(id, question->second.expansion->Run());
    });
  } else {
    Answer(id, std::get<ExpandAnswer>(std::move(step)));
  }
}

void LookupRoom::AskProgram(uint64_t id, TableQuery query) {
  const Question& asked = questions_.at(id);
  AtProgram& at = at_programs_[query.table];
  if (at.waiting >= kMaxExpansionsAtProgram) {
    if (!std::exchange(at.full, true)) {
      LogWarn("warn: table-proc: %s: too many recipients wait for it",
              VisEncode(query.table));
    }
    ExpandAnswer refused;
    refused.question = asked.number;
    refused.refusal = kTemporaryFailure;
    return Answer(id, std::move(refused));
  }
  ++at.waiting;
  std::string table = query.table;
  tables_.Ask(std::move(query),
              [this, id, table = std::move(table)](TableResult result) {
                OnProgram(id, table, std::move(result));
              });
  const PeerKey key = asked.peer;
  Peer& peer = peers_.at(key);
  --peer.open;
  ResumeIfRoom(key, &peer);
}

void LookupRoom::OnProgram(uint64_t id, const std::string& table,
                           TableResult result) {
  AtProgram& at = at_programs_.at(table);
  if (--at.waiting <= kMaxExpansionsAtProgram / 2) at.full = false;
  const auto question = questions_.find(id);
  if (question == questions_.end()) return;
  const PeerKey key = question->second.peer;
  Peer& peer = peers_.at(key);
  ++peer.open;
  Go(id, question->second.expansion->OnTable(std::move(result)));
  PauseIfFull(key, &peer);
}

void LookupRoom::OnUser(uint64_t id, UserAnswer::Result result) {
  const auto question = questions_.find(id);
  if (question == questions_.end()) return;
  Go(id, question->second.expansion->OnUser(ResultOf(result)));
}

void LookupRoom::Answer(uint64_t id, ExpandAnswer answer) {
  const auto question = questions_.find(id);
  // The door is there: without it the question would be gone.
  const PeerKey key = question->second.peer;
  Peer& peer = peers_.at(key);
  const std::unique_ptr<Explanation> explanation =
      std::move(question->second.explanation);
  questions_.erase(question);
  --peer.open;
  if (explanation != nullptr) {
    peer.door->Send(explanation->Tell(answer, srs_ ? &*srs_ : nullptr,
                                      context_.loop->Now()));
  } else {
    // `queue` hears it from us; on every other way it could be changed.
    for (ExpandedRecipient& place : answer.recipients) {
      if (key.first == Room::kQueue || place.mda_exec.empty()) continue;
      place.mda_exec = SealCommand(seal_key_, place);
    }
    peer.door->Send(answer);
  }
  ResumeIfRoom(key, &peer);
}

}  // namespace holdfast
