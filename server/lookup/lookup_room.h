// The room that answers questions about recipients (rules, tables, expansion),
// users and the tables of listeners.  It never touches the network.
//
// `receive` and `queue` ask (ExpandRequest; queue also ExplainRequest) through
// a door each and are always answered while the door is open; `relay` asks for
// its credentials (RelaySecretQuestion).  `queue`, `relay`, `filters` and
// parent ask the programs of tables through us (TableQuestion), which run as
// long as we do; `filters` also for files of tables.  A door that has too much
// open is not read from until some of it is answered.
#ifndef HOLDFAST_SERVER_LOOKUP_LOOKUP_ROOM_H_
#define HOLDFAST_SERVER_LOOKUP_LOOKUP_ROOM_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "server/door/table_question.h"
#include "server/lookup/authenticator.h"
#include "server/lookup/expansion.h"
#include "server/lookup/explanation.h"
#include "server/lookup/forward_files.h"
#include "server/lookup/include_reader.h"
#include "server/lookup/table_processes.h"
#include "server/lookup/table_questions.h"
#include "server/lookup/user_directory.h"
#include "server/queue/command_seal.h"
#include "server/room/room.h"
#include "storage/crypto/key_derivation.h"

namespace holdfast {

// Of one door: questions not yet answered, and answers not yet taken.  Those
// that wait for the program of a table are not counted: what it does not
// answer must not keep others from asking.
inline constexpr size_t kMaxOpenExpansions = 1000;
// Of one table, and all doors: expansions that wait for its program.  Further
// ones fail at once.  Less than the questions that it takes, so that other
// askers have their part of those.
inline constexpr size_t kMaxExpansionsAtProgram = kMaxOpenTableQuestions / 2;
inline constexpr size_t kMaxAnswerBacklog = 4 << 20;
// Tables that are being read again because smtpctl asked.
inline constexpr size_t kMaxOpenUpdates = 64;

class LookupRoom : public RoomHandler {
 public:
  explicit LookupRoom(RoomContext context);
  ~LookupRoom() override;

  void OnDoor(const NewDoor& to, std::unique_ptr<Door> door) override;
  bool OnParentFrame(Frame& frame) override;
  void OnTable(const TableFile& file, const absl::Status& why) override;
  void OnStop(absl::Duration grace) override;

 private:
  using PeerKey = std::pair<Room, uint32_t>;
  struct Peer {
    uint64_t serial = 0;  // of this door: a second one is another peer
    std::unique_ptr<Door> door;
    size_t open = 0;
    bool paused = false;
    bool awaits_drain = false;
  };
  struct Question {
    PeerKey peer;
    uint64_t serial = 0;
    uint64_t number = 0;  // the peer's
    // Null: only the answer counts.  The expansion writes into it.
    std::unique_ptr<Explanation> explanation;
    std::unique_ptr<Expansion> expansion;
  };

  // Of one table.
  struct AtProgram {
    size_t waiting = 0;  // expansions, also those that nobody waits for now
    bool full = false;   // and the log says so
  };

  // Of the operator: a table is to be read again.
  struct Update {
    PeerKey peer;
    uint64_t serial = 0;
    uint64_t question = 0;  // the peer's
    std::string name;
  };

  void OnPeerFrame(const PeerKey& key, Frame& frame);
  bool OnAnyFrame(const PeerKey& key, Peer* peer, Frame& frame);
  bool OnQueueFrame(const PeerKey& key, Peer* peer, Frame& frame);
  bool OnListenerFrame(const PeerKey& key, uint64_t serial, Frame& frame);
  bool OnRelayFrame(const PeerKey& key, uint64_t serial, Frame& frame);
  bool OnTableFrame(const PeerKey& key, uint64_t serial, Frame& frame);
  bool OnProgramFrame(Frame& frame);
  void OnTableQuestion(Room asker, const TableQuestion& question,
                       std::function<void(const TableAnswer&)> tell);
  template <class Message>
  void Tell(const PeerKey& key, uint64_t serial, const Message& message);
  void OnListenerTable(const PeerKey& key, uint64_t serial,
                       const ListenerTableQuestion& question);
  void DropPeer(const PeerKey& key, uint64_t serial);
  void Begin(const PeerKey& key, Peer* peer, ExpandRequest request,
             std::unique_ptr<Explanation> explanation);
  void Explain(const PeerKey& key, Peer* peer, const ExplainRequest& request);
  void Begin(const PeerKey& key, uint64_t serial, const UpdateTable& update);
  void OnUpdated(TableUpdated answer);
  void Go(uint64_t id, Expansion::Step step);
  void AskProgram(uint64_t id, TableQuery query);
  void OnProgram(uint64_t id, const std::string& table, TableResult result);
  void OnUser(uint64_t id, UserAnswer::Result result);
  void Answer(uint64_t id, ExpandAnswer answer);
  void PauseIfFull(const PeerKey& key, Peer* peer);
  void ResumeIfRoom(const PeerKey& key, Peer* peer);

  RoomContext context_;
  uint64_t last_serial_ = 0;
  uint64_t last_question_ = 0;
  std::map<uint64_t, Question> questions_;
  std::map<uint64_t, Update> updates_;
  std::map<PeerKey, Peer> peers_;
  std::map<std::string, AtProgram> at_programs_;  // by table
  TableProcesses tables_;
  RefusalLog refusals_;
  UserDirectory users_;
  IncludeReader includes_;
  ForwardFiles forwards_;
  const std::string seal_key_ = RandomKey(kSealKeyBytes);
  std::optional<SrsRewriter> srs_;  // nothing: there is no key
  Authenticator auth_;
  // Dropped with the room: what was posted before then does nothing.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

absl::StatusOr<std::unique_ptr<RoomHandler>> MakeLookupRoom(
    RoomContext context);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_LOOKUP_LOOKUP_ROOM_H_
