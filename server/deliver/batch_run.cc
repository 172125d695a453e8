#include "server/deliver/batch_run.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "config/format_specifiers.h"
#include "server/deliver/delivery_text.h"
#include "server/deliver/split_batch.h"

namespace holdfast {
namespace {

constexpr size_t kPieceBytes = 64 << 10;

// Enhanced codes as envelopes keep them: x * 10 + y of "class.x.y".
constexpr EnhancedStatus kTemporary = {4, 30};
constexpr EnhancedStatus kPermanent = {5, 30};
constexpr EnhancedStatus kNoSuchUser = {5, 16};
constexpr EnhancedStatus kNoUserNow = {4, 10};
constexpr EnhancedStatus kLoop = {5, 46};
constexpr EnhancedStatus kDelivered = {2, 0};

}  // namespace

BatchRun::BatchRun(EventLoop* loop, AgentPool* pool, const Config* config,
                   DeliverBatch batch, Callbacks callbacks)
    : loop_(loop),
      pool_(pool),
      config_(config),
      batch_(std::move(batch)),
      callbacks_(std::move(callbacks)) {
  auto it = config_->actions.find(batch_.action);
  if (it != config_->actions.end()) action_ = &it->second;
}

BatchRun::~BatchRun() {
  *alive_ = false;
  pool_->Forget(this);
}

AgentKey BatchRun::Key() const {
  AgentKey key;
  key.run_as = batch_.run_as.empty() ? batch_.user : batch_.run_as;
  key.mbox = action_->method == ActionMethod::kMbox;
  key.commands = commands_;
  if (commands_) key.mbox = false;
  if (commands_ ||
      (action_->userbase != nullptr &&
       (action_->userbase->is_static() || action_->userbase->is_process())))
    key.action = action_->name;
  if (action_->userbase != nullptr && action_->userbase->is_process())
    key.program = action_->userbase->name();
  if (!key.mbox && !commands_ && NeedsDirectory(action_->maildir_path))
    key.mailbox_user = batch_.user;
  return key;
}

void BatchRun::Start() {
  // Messages without recipients have nothing to deliver.
  auto& messages = batch_.messages;
  messages.erase(std::remove_if(messages.begin(), messages.end(),
                                [](const BatchMessage& m) {
                                  return m.recipients.empty();
                                }),
                 messages.end());
  if (messages.empty()) return Finish();
  commands_ = IsForCommand(messages[0].recipients[0], action_);
  if (action_ == nullptr ||
      (!commands_ && action_->method != ActionMethod::kMbox &&
       action_->method != ActionMethod::kMaildir)) {
    AddRest(Outcome::kTempFail, kTemporary,
            ErrorText("", "no such delivery method"));
    return Finish();
  }
  state_ = State::kWaitingForAgent;
  Begin();
  pool_->Acquire(Key(), this);
}

void BatchRun::Begin() {
  began_ = loop_->Now();
  began_elapsed_ = loop_->Elapsed();
}

void BatchRun::OnAgent(Door* door, const std::string& home, SessionId session) {
  agent_ = door;
  home_ = home;
  session_ = session;
  state_ = State::kStreaming;
  Begin();  // the time in the queue for an agent does not count
  Watch();
  Pump();
}

void BatchRun::OnRefused(bool permanent, const std::string& error,
                         SessionId session) {
  if (state_ == State::kDone) return;
  session_ = session;
  const bool own = batch_.run_as.empty() || batch_.run_as == batch_.user;
  const bool unknown = absl::StartsWith(error, "delivery user '");
  if (!permanent && (error == kUserLookupLater ||
                     absl::StartsWith(error, "user database: "))) {
    AddRest(Outcome::kTempFail, kNoUserNow, kUserLookupLater);
  } else if (!permanent) {
    AddRest(Outcome::kTempFail, kTemporary,
            ErrorText(kTemporaryFailure, error));
  } else if (error == kUserLookupFailed || (own && unknown)) {
    AddRest(Outcome::kPermFail, kNoSuchUser, kUserLookupFailed);
  } else {
    // As the reference's statuses 67 and 77 are called.
    const bool closed = absl::StartsWith(error, "MDA not allowed");
    AddRest(Outcome::kPermFail, kPermanent,
            ErrorText(unknown  ? "user unknown"
                      : closed ? "permission denied"
                               : "",
                      error));
  }
  Finish();
}

absl::Duration BatchRun::CommitTime() const {
  if (!commands_) return kAgentStall;
  return std::max(kAgentStall,
                  config_->mda_limits.CommandTimeout() + kCommandStall);
}

void BatchRun::Watch(absl::Duration limit) {
  watchdog_.reset();
  if (limit == absl::InfiniteDuration()) return;
  watchdog_ = loop_->RunAfter(limit, [this] { pool_->Kill(this); });
}

// ---- one copy after the other

bool BatchRun::Advance() {
  copy_ = Copy::kHead;
  body_.reset();
  text_.clear();
  body_ended_ = false;
  if (++at_recipient_ < message().recipients.size()) return true;
  at_recipient_ = 0;
  // Bodies may be large in number: what was sent is not held.
  batch_.messages[at_message_].stored = std::string();
  return ++at_message_ < batch_.messages.size();
}

void BatchRun::Pump() {
  while (state_ == State::kStreaming && agent_ != nullptr) {
    if (at_message_ == batch_.messages.size()) {
      state_ = State::kWaitingForClaim;
      watchdog_.reset();
      return CommitIfReady();
    }
    if (agent_->backlog() > kAgentBacklog) {
      agent_->WhenBelow(kAgentBacklog / 2, [this, alive = alive_] {
        if (!*alive) return;
        if (state_ == State::kStreaming) Watch();
        Pump();
      });
      return;
    }
    if (body_ == nullptr) {
      body_ = std::make_unique<BodySource>(
          message(), [this](uint32_t first, uint32_t count) {
            callbacks_.ask(message().message, first, count);
          });
    }
    if (!(copy_ == Copy::kHead ? PumpHead() : PumpText())) return;
  }
}

// Collects the header, for the loop check, before the agent hears of the copy.
bool BatchRun::PumpHead() {
  absl::StatusOr<BodySource::Progress> read = body_->Read(kPieceBytes, &text_);
  if (!read.ok()) {
    SkipCopy(Outcome::kTempFail, kTemporary, "Cannot get message fd");
    return true;
  }
  body_ended_ = *read == BodySource::Progress::kEnd;
  const bool complete =
      body_ended_ || HeaderIsComplete(text_) || text_.size() >= kMaxLoopHeader;
  if (!complete) return *read != BodySource::Progress::kWaiting;
  if (HasDeliveredTo(text_, recipient().dest)) {
    SkipCopy(Outcome::kLoop, kLoop, "Loop detected");
    return true;
  }
  std::string path;
  if (!commands_ && action_->method == ActionMethod::kMaildir &&
      !action_->maildir_path.empty()) {
    FormatValues values;
    values.sender = message().sender;
    values.rcpt = recipient().rcpt;
    values.dest = recipient().dest;
    values.username = batch_.user;
    values.directory = home_;
    values.delimiter = config_->sub_addr_delim;
    absl::StatusOr<std::string> expanded =
        ExpandPath(action_->maildir_path, values);
    if (!expanded.ok()) {
      SkipCopy(Outcome::kPermFail, kPermanent,
               ErrorText("", expanded.status().message()));
      return true;
    }
    path = *std::move(expanded);
  }
  BeginCopy(path);
  return true;
}

void BatchRun::SkipCopy(Outcome result, EnhancedStatus status,
                        std::string text) {
  Add(recipient().envelope, result, status, std::move(text));
  Advance();
}

void BatchRun::BeginCopy(const std::string& path) {
  AgentDelivery delivery;
  delivery.envelope = recipient().envelope;
  if (commands_) {
    delivery.method = AgentDelivery::Method::kCommand;
    delivery.exec = recipient().exec;
    delivery.sender = message().sender;
    delivery.rcpt = recipient().rcpt;
    delivery.dest = recipient().dest;
  } else if (action_->method == ActionMethod::kMbox) {
    delivery.method = AgentDelivery::Method::kMbox;
  }
  delivery.path = path;
  delivery.file_name = MaildirFileName(message().created, batch_.store_uuid,
                                       recipient().envelope, batch_.host);
  delivery.subaddress = recipient().subaddress;
  delivery.from =
      message().sender.IsNull() ? "MAILER-DAEMON" : message().sender.ToString();
  delivery.mailbox_user = batch_.user;
  delivery.junk = action_->maildir_junk;
  delivery.in_doubt = recipient().in_doubt;
  delivery.created = message().created;
  agent_->Send(delivery);
  sent_.push_back(delivery.envelope);
  text_.insert(0, TraceHeader(message().sender, recipient().rcpt));
  copy_ = Copy::kText;
}

bool BatchRun::PumpText() {
  while (!body_ended_ && text_.size() < kPieceBytes) {
    absl::StatusOr<BodySource::Progress> read =
        body_->Read(kPieceBytes - text_.size(), &text_);
    if (!read.ok()) {
      AgentText end;
      end.last = end.cancelled = true;
      agent_->Send(end);
      Advance();
      return true;
    }
    body_ended_ = *read == BodySource::Progress::kEnd;
    if (*read == BodySource::Progress::kWaiting) return false;
  }
  SendText(body_ended_);
  if (body_ended_) Advance();
  return true;
}

void BatchRun::SendText(bool last) {
  AgentText piece;
  piece.bytes = std::move(text_);
  piece.last = last;
  agent_->Send(piece);
  text_.clear();
}

void BatchRun::OnBodyPart(BodyPart part) {
  if (state_ != State::kStreaming || body_ == nullptr) return;
  body_->OnPart(std::move(part));
  Watch();
  Pump();
}

// ---- the end

void BatchRun::OnClaimed(bool ok) {
  if (!ok) return Abort();
  claimed_ = true;
  CommitIfReady();
}

void BatchRun::CommitIfReady() {
  if (!claimed_ || state_ != State::kWaitingForClaim || agent_ == nullptr)
    return;
  if (sent_.empty()) {
    pool_->Release(this);
    return Finish();
  }
  state_ = State::kCommitting;
  AgentCommit commit;
  commit.group = static_cast<uint64_t>(batch_.batch);
  agent_->Send(commit);
  Watch(CommitTime());
}

void BatchRun::OnAgentFrame(Frame& frame) {
  const bool understood =
      state_ == State::kCommitting &&
      Dispatch<AgentResults>(frame, [this](AgentResults& results) {
        if (results.group != static_cast<uint64_t>(batch_.batch)) return;
        // An answer for each that was sent, and for no other.
        std::set<EnvelopeId> open(sent_.begin(), sent_.end());
        for (AgentResults::One& one : results.results) {
          if (open.erase(one.envelope) == 0) continue;
          AddResult(one);
        }
        AddRest(Outcome::kInDoubt, kTemporary,
                ErrorText(kTemporaryFailure, "exited abnormally"));
        watchdog_.reset();
        pool_->Release(this);
        Finish();
      });
  // The agent is not as it should be; what it did is known when it has ended.
  if (understood) return;
  agent_ = nullptr;
  watchdog_.reset();  // the pool has one for those that are to leave
  pool_->Abandon(this);
}

void BatchRun::AddResult(const AgentResults::One& one) {
  if (one.ok) return Add(one.envelope, Outcome::kOk, kDelivered, "");
  const std::string reason = one.plain ? one.text : Quoted(one.text);
  if (one.permanent) {
    return Add(one.envelope, Outcome::kPermFail, kPermanent,
               ErrorText(one.kind, reason));
  }
  Add(one.envelope, one.in_doubt ? Outcome::kInDoubt : Outcome::kTempFail,
      kTemporary, ErrorText(commands_ ? one.kind : kTemporaryFailure, reason));
}

void BatchRun::OnEnded(const std::string& how) {
  watchdog_.reset();
  agent_ = nullptr;
  switch (state_) {
    case State::kStreaming:
    case State::kWaitingForClaim:
      AddRest(Outcome::kTempFail, kTemporary, ErrorText("", how));
      break;
    case State::kCommitting:
      AddRest(Outcome::kInDoubt, kTemporary, ErrorText("", how));
      break;
    case State::kAborting:
      AddRest(Outcome::kReturned, {}, "");
      break;
    case State::kNew:
    case State::kWaitingForAgent:
    case State::kDone:
      return;
  }
  Finish();
}

void BatchRun::Abort() {
  switch (state_) {
    case State::kNew:
    case State::kWaitingForAgent:
      pool_->Forget(this);
      AddRest(Outcome::kReturned, {}, "");
      return Finish();
    case State::kStreaming:
    case State::kWaitingForClaim:
      // Only the agent's end makes sure that it leaves nothing behind.
      state_ = State::kAborting;
      outcomes_.clear();
      agent_ = nullptr;
      watchdog_.reset();
      return pool_->Abandon(this);
    case State::kCommitting:
    case State::kAborting:
    case State::kDone:
      return;
  }
}

void BatchRun::Add(EnvelopeId envelope, Outcome result, EnhancedStatus status,
                   std::string text) {
  WorkerOutcome& outcome = outcomes_.emplace_back();
  outcome.envelope = envelope;
  outcome.result = result;
  outcome.status = status;
  outcome.text = std::move(text);
  if (result == Outcome::kReturned) return;
  outcome.began = began_;
  outcome.took = loop_->Elapsed() - began_elapsed_;
}

void BatchRun::AddRest(Outcome result, EnhancedStatus status,
                       const std::string& text) {
  std::set<EnvelopeId> known;
  for (const WorkerOutcome& outcome : outcomes_) known.insert(outcome.envelope);
  for (const BatchMessage& message : batch_.messages) {
    for (const BatchMessage::Recipient& recipient : message.recipients) {
      if (known.count(recipient.envelope) == 0)
        Add(recipient.envelope, result, status, text);
    }
  }
}

void BatchRun::Finish() {
  state_ = State::kDone;
  agent_ = nullptr;
  body_.reset();
  step_ = loop_->RunAfter(absl::ZeroDuration(), [this] {
    BatchOutcomes done;
    done.batch = batch_.batch;
    done.sequence = 1;
    done.session = session_;
    done.outcomes = std::move(outcomes_);
    done.finished = true;
    callbacks_.on_done(std::move(done));  // may destroy this
  });
}

}  // namespace holdfast
