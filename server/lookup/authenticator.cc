#include "server/lookup/authenticator.h"

#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "protocol/vis.h"
#include "server/log/log.h"
#include "storage/crypto/key_derivation.h"

namespace holdfast {
namespace {

using Result = AuthAnswer::Result;

constexpr size_t kNonceBytes = 24;
constexpr size_t kSecretBytes = 32;

AuthAnswer Plainly(Result result) {
  AuthAnswer answer;
  answer.result = result;
  return answer;
}

AuthAnswer Challenge(std::string text) {
  AuthAnswer answer;
  answer.result = Result::kChallenge;
  answer.challenge = std::move(text);
  return answer;
}

AuthAnswer Welcome(const std::string& user) {
  AuthAnswer answer;
  answer.result = Result::kOk;
  answer.username = user;
  return answer;
}

}  // namespace

Authenticator::Authenticator(EventLoop* loop,
                             std::shared_ptr<const Config> config,
                             Services services)
    : loop_(loop),
      config_(std::move(config)),
      services_(std::move(services)),
      credentials_(services_.random(kSecretBytes)) {}

bool Authenticator::OffersScram(const Listener& listener) {
  return listener.auth != Listener::Auth::kNone &&
         listener.auth_table != nullptr &&
         credentials_.AllScram(listener.auth_table, loop_->Elapsed());
}

void Authenticator::OnStep(uint64_t peer, AuthStep step, Done give) {
  Done done = [question = step.question,
               give = std::move(give)](AuthAnswer answer) mutable {
    answer.question = question;
    give(std::move(answer));
  };
  // `receive` asks for listeners with AUTH only; anything else is a mistake,
  // or not `receive` any more.
  if (step.listener >= config_->listeners.size() ||
      config_->listeners[step.listener].auth == Listener::Auth::kNone) {
    LogWarn("warn: lookup: AUTH for a listener that has none");
    return done(Plainly(Result::kTemporary));
  }
  const Listener& listener = config_->listeners[step.listener];
  const ConversationKey key{peer, step.conversation};
  if (step.first) {
    DropExchange(key);
    if (step.mechanism == "PLAIN") {
      return OnPlain(listener, std::move(step), std::move(done));
    }
    if (step.mechanism == kScramMechanism) {
      return OnScramFirst(key, listener, std::move(step), std::move(done));
    }
    return done(Plainly(Result::kMalformed));
  }
  OnScramNext(key, std::move(step), std::move(done));
}

// ---- attempts

Authenticator::AttemptRef Authenticator::Begin(const AuthStep& step,
                                               const std::string& user,
                                               Done* done) {
  std::string source = SourceDelays::SourceOf(step.address);
  if (!delays_.Begin(source, loop_->Elapsed())) {
    (*done)(Plainly(Result::kTemporary));
    return attempts_.end();
  }
  Attempt attempt;
  attempt.source = std::move(source);
  attempt.user = user;
  attempt.done = std::move(*done);
  return attempts_.emplace(++last_attempt_, std::move(attempt)).first;
}

void Authenticator::Finish(AttemptRef attempt, AuthAnswer answer) {
  Attempt over = std::move(attempt->second);
  attempts_.erase(attempt);
  delays_.End(over.source);
  over.done(std::move(answer));
}

void Authenticator::Succeed(AttemptRef attempt) {
  Finish(attempt, Welcome(attempt->second.user));
}

void Authenticator::GiveUp(AttemptRef attempt) {
  Finish(attempt, Plainly(Result::kTemporary));
}

// Counted now, answered later: who hangs up meanwhile gains nothing.
void Authenticator::Fail(AttemptRef attempt) {
  const absl::Duration delay =
      delays_.Fail(attempt->second.source, loop_->Elapsed());
  attempt->second.timer = loop_->RunAfter(
      delay, [this, attempt] { Finish(attempt, Plainly(Result::kFailed)); });
}

// ---- PLAIN

void Authenticator::OnPlain(const Listener& listener, AuthStep step,
                            Done done) {
  std::optional<PlainCredentials> plain = ParseSaslPlain(step.response);
  Wipe(&step.response);
  if (!plain) return done(Plainly(Result::kMalformed));
  const AttemptRef attempt = Begin(step, plain->user, &done);
  if (attempt == attempts_.end()) return;
  if (listener.auth_table == nullptr) {
    return AskParent(attempt, step.address, std::move(plain->password));
  }
  CheckTable(attempt, listener.auth_table, std::move(plain->password));
}

void Authenticator::CheckTable(AttemptRef attempt, const TableRef& table,
                               Secret password) {
  if (table->is_process())
    return AskProgram(attempt, table, std::move(password));
  absl::StatusOr<Credentials::Found> found =
      credentials_.Find(table, attempt->second.user, loop_->Elapsed());
  if (!found.ok()) {
    LogWarn("warn: auth: %s", VisEncode(std::string(found.status().message())));
    return GiveUp(attempt);
  }
  CheckFound(attempt, table->name(), *std::move(found), std::move(password));
}

void Authenticator::CheckFound(AttemptRef attempt, const std::string& table,
                               Credentials::Found found, Secret password) {
  if (found.unusable) {
    LogWarn("warn: auth: table %s: no usable password for %s", table,
            VisEncode(attempt->second.user));
  }
  services_.hasher->Check(
      std::move(password), std::move(found.stored),
      [this, attempt, real = found.real](PasswordHasher::Result result) {
        if (result == PasswordHasher::Result::kTooMany) return GiveUp(attempt);
        const bool fits = result == PasswordHasher::Result::kFits;
        real&& fits ? Succeed(attempt) : Fail(attempt);
      });
}

// ---- programs of tables

void Authenticator::AskProgram(AttemptRef attempt, const TableRef& table,
                               Secret password) {
  const std::string& user = attempt->second.user;
  // "joe:x" with the password "y" would be "joe" with "x:y".
  if (user.find(':') != std::string::npos) return Fail(attempt);
  std::string key = absl::StrCat(user, ":", password.text());
  absl::StatusOr<TableQuery> query =
      MakeTableQuery(*table, TableOp::kCheck, TableService::kAuth, key);
  Wipe(&key);
  if (!query.ok()) return Fail(attempt);
  services_.ask_program(
      *std::move(query), [this, attempt, table, password = std::move(password)](
                             TableResult result) mutable {
        if (absl::IsUnimplemented(result.status())) {
          return AskProgramForCredentials(attempt, table, std::move(password));
        }
        // What cannot be asked for is nobody's password.
        if (absl::IsInvalidArgument(result.status())) return Fail(attempt);
        if (!result.ok()) return GiveUp(attempt);
        result->has_value() ? Succeed(attempt) : Fail(attempt);
      });
}

void Authenticator::AskProgramForCredentials(AttemptRef attempt,
                                             const TableRef& table,
                                             Secret password) {
  absl::StatusOr<TableQuery> query =
      MakeTableQuery(*table, TableOp::kLookup, TableService::kCredentials,
                     attempt->second.user);
  if (!query.ok()) return Fail(attempt);
  services_.ask_program(*std::move(query), [this, attempt, table,
                                            password = std::move(password)](
                                               TableResult result) mutable {
    if (absl::IsInvalidArgument(result.status())) return Fail(attempt);
    if (!result.ok()) return GiveUp(attempt);
    Credentials::Found found =
        credentials_.FromValue(*result, attempt->second.user);
    if (*result) Wipe(&**result);
    CheckFound(attempt, table->name(), std::move(found), std::move(password));
  });
}

// ---- accounts of the system

void Authenticator::AskParent(AttemptRef attempt, const std::string& address,
                              Secret password) {
  if (open_at_parent_ >= kMaxPasswordQuestions) return GiveUp(attempt);
  ++open_at_parent_;
  PasswordQuestion question;
  question.question = attempt->first;
  question.name = attempt->second.user;
  question.password = password.text();
  question.address = address;
  services_.ask_parent(question);
  Wipe(&question.password);
  attempt->second.at_parent = true;
  attempt->second.timer =
      loop_->RunAfter(kPasswordQuestionTimeout, [this, id = attempt->first] {
        PasswordAnswer late;
        late.question = id;
        late.result = PasswordAnswer::Result::kError;
        OnPasswordAnswer(late);
      });
}

void Authenticator::OnPasswordAnswer(const PasswordAnswer& answer) {
  const AttemptRef attempt = attempts_.find(answer.question);
  if (attempt == attempts_.end() || !attempt->second.at_parent) return;
  attempt->second.at_parent = false;
  attempt->second.timer.reset();
  --open_at_parent_;
  switch (answer.result) {
    case PasswordAnswer::Result::kOk:
      return Succeed(attempt);
    case PasswordAnswer::Result::kWrong:
      return Fail(attempt);
    default:
      return GiveUp(attempt);
  }
}

// ---- SCRAM

void Authenticator::OnScramFirst(const ConversationKey& key,
                                 const Listener& listener, AuthStep step,
                                 Done done) {
  std::optional<ScramClientFirst> first = ParseScramClientFirst(step.response);
  if (!first || listener.auth_table == nullptr ||
      listener.auth_table->is_process()) {
    return done(Plainly(Result::kMalformed));
  }
  absl::StatusOr<Credentials::FoundVerifier> found = credentials_.FindVerifier(
      listener.auth_table, first->user, loop_->Elapsed());
  if (!found.ok()) {
    LogWarn("warn: auth: %s", VisEncode(std::string(found.status().message())));
    return done(Plainly(Result::kTemporary));
  }
  // Nobody acts as another.
  const bool self = first->authzid.empty() || first->authzid == first->user;
  MakeRoomForExchange();
  Exchange exchange{
      .scram = ScramExchange(kScramHash, *std::move(first),
                             std::move(found->verifier),
                             absl::Base64Escape(services_.random(kNonceBytes))),
      .real = found->real && self,
      .finished = false,
      .until = loop_->Elapsed() + kScramExchangeTime,
      .serial = ++last_exchange_};
  std::string challenge = exchange.scram.server_first();
  order_.emplace(exchange.serial, key);
  exchanges_.emplace(key, std::move(exchange));
  done(Challenge(std::move(challenge)));
}

void Authenticator::OnScramNext(const ConversationKey& key, AuthStep step,
                                Done done) {
  const auto found = exchanges_.find(key);
  // Another `lookup` may have begun it, or it took too long.
  if (found == exchanges_.end() || found->second.until < loop_->Elapsed()) {
    DropExchange(key);
    return done(Plainly(Result::kTemporary));
  }
  if (!found->second.finished) {
    return OnScramFinal(key, std::move(step), std::move(done));
  }
  const std::string user = found->second.scram.user();
  DropExchange(key);
  done(step.response.empty() ? Welcome(user) : Plainly(Result::kMalformed));
}

void Authenticator::OnScramFinal(const ConversationKey& key, AuthStep step,
                                 Done done) {
  Exchange& exchange = exchanges_.at(key);
  std::string server_final;
  const ScramExchange::Result result =
      exchange.scram.Finish(step.response, &server_final);
  if (result == ScramExchange::Result::kMalformed) {
    DropExchange(key);
    return done(Plainly(Result::kMalformed));
  }
  const AttemptRef attempt = Begin(step, exchange.scram.user(), &done);
  if (attempt == attempts_.end()) return DropExchange(key);
  if (result != ScramExchange::Result::kOk || !exchange.real) {
    DropExchange(key);
    return Fail(attempt);
  }
  exchange.finished = true;
  Finish(attempt, Challenge(std::move(server_final)));
}

void Authenticator::DropExchange(const ConversationKey& key) {
  const auto found = exchanges_.find(key);
  if (found == exchanges_.end()) return;
  order_.erase(found->second.serial);
  exchanges_.erase(found);
}

void Authenticator::MakeRoomForExchange() {
  while (!order_.empty()) {
    const ConversationKey oldest = order_.begin()->second;
    if (exchanges_.size() < kMaxScramExchanges &&
        exchanges_.at(oldest).until >= loop_->Elapsed()) {
      return;
    }
    DropExchange(oldest);
  }
}

void Authenticator::OnForget(uint64_t peer, const AuthForget& forget) {
  DropExchange({peer, forget.conversation});
}

void Authenticator::OnPeerGone(uint64_t peer) {
  auto next = exchanges_.lower_bound({peer, 0});
  while (next != exchanges_.end() && next->first.first == peer) {
    DropExchange((next++)->first);
  }
}

}  // namespace holdfast
