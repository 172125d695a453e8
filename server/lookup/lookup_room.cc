#include "server/lookup/lookup_room.h"

#include <string>

#include "absl/random/distributions.h"
#include "config/relay_sender.h"
#include "protocol/secret.h"
#include "protocol/vis.h"
#include "server/log/log.h"
#include "server/lookup/listener_tables.h"
#include "server/lookup/relay_secrets.h"
#include "server/lookup/table_questions.h"
#include "server/lookup/table_rounds.h"
#include "server/tls/sha1.h"
#include "storage/crypto/key_derivation.h"

namespace holdfast {
namespace {

void LogUpdate(const std::string& name, const TableUpdated& update) {
  if (update.ok) {
    return LogInfo("info: Table \"%s\" successfully updated", VisEncode(name));
  }
  LogInfo("info: Failed to update table \"%s\"", VisEncode(name));
  LogWarn("warn: table \"%s\": %s", VisEncode(name), VisEncode(update.error));
}

TableProcesses::Services TableServices(const RoomContext& context) {
  TableProcesses::Services services;
  services.random = [random = context.random]() mutable {
    return absl::Uniform<uint32_t>(random);
  };
  services.kill = [parent = context.parent](const ProgramKill& kill) {
    parent->Send(kill);
  };
  return services;
}

Authenticator::Services AuthServices(const RoomContext& context,
                                     TableProcesses* tables) {
  Authenticator::Services services;
  services.hasher = MakePasswordHasher(context.loop, 0);
  services.ask_parent = [parent = context.parent](const PasswordQuestion& q) {
    parent->Send(q);
  };
  services.random = RandomKey;
  services.ask_program = [tables](TableQuery query,
                                  absl::AnyInvocable<void(TableResult)> done) {
    tables->Ask(std::move(query), std::move(done));
  };
  return services;
}

}  // namespace

LookupRoom::LookupRoom(RoomContext context)
    : context_(std::move(context)),
      tables_(context_.loop, *context_.config, TableServices(context_)),
      users_(context_.loop,
             [this](const UserQuestion& question) {
               context_.parent->Send(question);
             }),
      includes_(context_.loop),
      forwards_(context_.loop,
                [this](const ForwardQuestion& question) {
                  context_.parent->Send(question);
                }),
      srs_(MakeSrs(context_.config->srs, Sha1)),
      auth_(context_.loop, context_.config, AuthServices(context_, &tables_)) {}

LookupRoom::~LookupRoom() = default;

void LookupRoom::OnDoor(const NewDoor& to, std::unique_ptr<Door> door) {
  const PeerKey key{to.peer, to.number};
  if (const auto old = peers_.find(key); old != peers_.end()) {
    DropPeer(key, old->second.serial);
  }
  Peer& peer = peers_[key];
  peer.serial = ++last_serial_;
  peer.door = std::move(door);
  peer.door->SetCallbacks(
      [this, key](Frame& frame) { OnPeerFrame(key, frame); },
      [this, key, serial = peer.serial](absl::Status) {
        DropPeer(key, serial);
      });
  if (key.first == Room::kQueue) {
    SealKey seal;
    seal.key = seal_key_;
    peer.door->Send(seal);
  }
}

// Nobody waits for the answers any more.
void LookupRoom::DropPeer(const PeerKey& key, uint64_t serial) {
  const auto peer = peers_.find(key);
  if (peer == peers_.end() || peer->second.serial != serial) return;
  for (auto question = questions_.begin(); question != questions_.end();) {
    question = question->second.serial == serial ? questions_.erase(question)
                                                 : std::next(question);
  }
  peers_.erase(peer);
  auth_.OnPeerGone(serial);
}

void LookupRoom::OnPeerFrame(const PeerKey& key, Frame& frame) {
  Peer& peer = peers_.at(key);
  const uint64_t serial = peer.serial;
  if (OnAnyFrame(key, &peer, frame)) return;
  LogWarn("warn: lookup: %s sends what is no question: door closed",
          RoomName(key.first));
  DropPeer(key, serial);
}

// False: this peer may not ask that.
bool LookupRoom::OnAnyFrame(const PeerKey& key, Peer* peer, Frame& frame) {
  if (MayAskTables(key.first) && OnTableFrame(key, peer->serial, frame))
    return true;
  if (key.first == Room::kFilters) return false;
  if (key.first == Room::kRelay) return OnRelayFrame(key, peer->serial, frame);
  return Dispatch<ExpandRequest>(frame,
                                 [&](ExpandRequest& request) {
                                   Begin(key, peer, std::move(request),
                                         nullptr);
                                 }) ||
         (key.first == Room::kQueue && OnQueueFrame(key, peer, frame)) ||
         (key.first == Room::kReceive &&
          OnListenerFrame(key, peer->serial, frame));
}

bool LookupRoom::OnQueueFrame(const PeerKey& key, Peer* peer, Frame& frame) {
  return Dispatch<ExplainRequest>(frame,
                                  [&](const ExplainRequest& request) {
                                    Explain(key, peer, request);
                                  }) ||
         Dispatch<UpdateTable>(frame, [&](const UpdateTable& update) {
           Begin(key, peer->serial, update);
         });
}

// What those ask who have to say who we are.
bool LookupRoom::OnRelayFrame(const PeerKey& key, uint64_t serial,
                              Frame& frame) {
  return Dispatch<RelaySecretQuestion>(
      frame, [&](const RelaySecretQuestion& question) {
        AskInRounds<RelaySecretAnswer>(
            &tables_,
            [this, question](TableAnswers* answers) {
              return AnswerRelaySecret(*context_.config, question, answers);
            },
            [this, key, serial](RelaySecretAnswer answer) {
              Tell(key, serial, answer);
              Wipe(&answer.user);
              Wipe(&answer.secret);
            });
      });
}

// What is asked about tables by those who have them from the configuration.
bool LookupRoom::OnTableFrame(const PeerKey& key, uint64_t serial,
                              Frame& frame) {
  return Dispatch<TableQuestion>(frame, [&](const TableQuestion& question) {
    OnTableQuestion(key.first, question,
                    [this, key, serial](const TableAnswer& answer) {
                      Tell(key, serial, answer);
                    });
  });
}

void LookupRoom::OnTableQuestion(Room asker, const TableQuestion& question,
                                 std::function<void(const TableAnswer&)> tell) {
  absl::StatusOr<TableQuery> query = QueryOf(asker, *context_.config, question);
  if (absl::IsPermissionDenied(query.status()))
    refusals_.Warn(context_.loop->Elapsed(), asker, question, query.status());
  if (!query.ok()) return tell(AnswerTo(asker, question, query.status()));
  if (!tables_.Has(query->table))
    return tell(AnswerTo(asker, question, CheckHere(*context_.config, *query)));
  tables_.Ask(*std::move(query),
              [asker, question, tell = std::move(tell)](TableResult result) {
                tell(AnswerTo(asker, question, std::move(result)));
              });
}

// What only those ask who have clients.
bool LookupRoom::OnListenerFrame(const PeerKey& key, uint64_t serial,
                                 Frame& frame) {
  const bool is_step = Dispatch<AuthStep>(frame, [&](AuthStep& step) {
    auth_.OnStep(serial, std::move(step),
                 [this, key, serial](const AuthAnswer& answer) {
                   Tell(key, serial, answer);
                 });
  });
  return is_step ||
         Dispatch<AuthForget>(frame,
                              [&](const AuthForget& forget) {
                                auth_.OnForget(serial, forget);
                              }) ||
         Dispatch<ListenerTableQuestion>(
             frame, [&](const ListenerTableQuestion& question) {
               OnListenerTable(key, serial, question);
             });
}

void LookupRoom::OnListenerTable(const PeerKey& key, uint64_t serial,
                                 const ListenerTableQuestion& question) {
  const Config& config = *context_.config;
  if (question.table != ListenerTableQuestion::Table::kScram) {
    return AskInRounds<ListenerTableAnswer>(
        &tables_,
        [this, question](TableAnswers* answers) {
          return AskListenerTable(*context_.config, question, answers);
        },
        [this, key, serial](ListenerTableAnswer answer) {
          Tell(key, serial, answer);
        });
  }
  ListenerTableAnswer answer;
  answer.question = question.question;
  if (question.listener < config.listeners.size()) {
    answer.result = auth_.OffersScram(config.listeners[question.listener])
                        ? ListenerTableAnswer::Result::kFound
                        : ListenerTableAnswer::Result::kNotFound;
  }
  Tell(key, serial, answer);
}

// Nothing if the peer is gone, or is another by now.
template <class Message>
void LookupRoom::Tell(const PeerKey& key, uint64_t serial,
                      const Message& message) {
  const auto peer = peers_.find(key);
  if (peer == peers_.end() || peer->second.serial != serial) return;
  peer->second.door->Send(message);
  PauseIfFull(key, &peer->second);
}

void LookupRoom::PauseIfFull(const PeerKey& key, Peer* peer) {
  if (peer->paused) return;
  if (peer->open < kMaxOpenExpansions &&
      peer->door->backlog() < kMaxAnswerBacklog) {
    return;
  }
  peer->paused = true;
  peer->door->PauseReading();
  ResumeIfRoom(key, peer);
}

// Called after each answer; when the last one is written and only the peer has
// to read, the door calls.
void LookupRoom::ResumeIfRoom(const PeerKey& key, Peer* peer) {
  if (!peer->paused || peer->open > kMaxOpenExpansions / 2) return;
  if (peer->door->backlog() < kMaxAnswerBacklog) {
    peer->paused = false;
    peer->door->ResumeReading();
    return;
  }
  if (peer->awaits_drain) return;
  peer->awaits_drain = true;
  peer->door->WhenBelow(
      kMaxAnswerBacklog / 2, [this, key, serial = peer->serial] {
        const auto found = peers_.find(key);
        if (found == peers_.end() || found->second.serial != serial) return;
        found->second.awaits_drain = false;
        ResumeIfRoom(key, &found->second);
      });
}

bool LookupRoom::OnParentFrame(Frame& frame) {
  return Dispatch<UserAnswer>(
             frame, [this](UserAnswer& answer) { users_.OnAnswer(answer); }) ||
         Dispatch<ForwardAnswer>(
             frame,
             [this](ForwardAnswer& answer) { forwards_.OnAnswer(answer); }) ||
         Dispatch<PasswordAnswer>(frame,
                                  [this](PasswordAnswer& answer) {
                                    auth_.OnPasswordAnswer(answer);
                                  }) ||
         Dispatch<TableUpdated>(
             frame,
             [this](TableUpdated& answer) { OnUpdated(std::move(answer)); }) ||
         OnProgramFrame(frame);
}

// Of the programs of tables.
bool LookupRoom::OnProgramFrame(Frame& frame) {
  bool sense = true;
  const bool started =
      Dispatch<ProgramStarted>(frame, [&](const ProgramStarted& program) {
        sense = tables_.OnStarted(program, std::move(frame.fds));
      });
  if (started) return sense;
  return Dispatch<ProgramEnded>(
             frame,
             [&](const ProgramEnded& program) { tables_.OnEnded(program); }) ||
         Dispatch<TableQuestion>(frame, [&](const TableQuestion& question) {
           OnTableQuestion(Room::kParent, question,
                           [this](const TableAnswer& answer) {
                             context_.parent->Send(answer);
                           });
         });
}

void LookupRoom::Begin(const PeerKey& key, uint64_t serial,
                       const UpdateTable& update) {
  UpdateTable ask;
  ask.question = ++last_question_;
  ask.name = update.name;
  updates_[ask.question] = {key, serial, update.question, update.name};
  if (updates_.size() > kMaxOpenUpdates) {
    TableUpdated refused;
    refused.question = ask.question;
    refused.error = "too many tables are being read";
    return OnUpdated(std::move(refused));
  }
  if (!tables_.Has(update.name)) return context_.parent->Send(ask);
  tables_.Update(update.name,
                 [this, question = ask.question](TableResult result) {
                   TableUpdated answer;
                   answer.question = question;
                   answer.ok = result.ok();
                   answer.error = std::string(result.status().message());
                   OnUpdated(std::move(answer));
                 });
}

// Parent has read the file, and its contents have taken the place of the old
// ones; without a question because it saw that the file had changed.
void LookupRoom::OnTable(const TableFile& file, const absl::Status& why) {
  TableUpdated answer;
  answer.question = file.question;
  answer.ok = why.ok();
  answer.error = std::string(why.message());
  if (why.ok())
    answer.entries = context_.config->tables.at(file.name)->entries().size();
  if (updates_.count(file.question) != 0) return OnUpdated(std::move(answer));
  LogUpdate(file.name, answer);
}

void LookupRoom::OnUpdated(TableUpdated answer) {
  const auto found = updates_.find(answer.question);
  if (found == updates_.end()) return;
  const Update update = std::move(found->second);
  updates_.erase(found);
  LogUpdate(update.name, answer);
  answer.question = update.question;
  Tell(update.peer, update.serial, answer);
}

// Who asks is stopped before; what is still open is answered 451 by those who
// see the door close.
void LookupRoom::OnStop(absl::Duration) { context_.exit(0); }

absl::StatusOr<std::unique_ptr<RoomHandler>> MakeLookupRoom(
    RoomContext context) {
  return std::make_unique<LookupRoom>(std::move(context));
}

}  // namespace holdfast
