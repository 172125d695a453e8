#include "server/keys/keys_room.h"

#include <algorithm>
#include <thread>

#include "absl/strings/str_cat.h"
#include "config/tls_use.h"
#include "server/log/log.h"

namespace holdfast {
namespace {

constexpr unsigned kMostThreads = 8;

unsigned ThreadsForSigning() {
  const unsigned cores = std::thread::hardware_concurrency();
  return cores <= 2 ? 0 : std::min(cores / 2, kMostThreads);
}

}  // namespace

absl::StatusOr<std::unique_ptr<RoomHandler>> KeysRoom::Make(
    RoomContext context) {
  return MakeWith(std::move(context), ThreadsForSigning());
}

absl::StatusOr<std::unique_ptr<RoomHandler>> KeysRoom::MakeWith(
    RoomContext context, unsigned threads) {
  std::unique_ptr<KeysRoom> room(new KeysRoom(std::move(context), threads));
  const absl::Status status = room->ReadKeys();
  if (!status.ok()) return status;
  return std::unique_ptr<RoomHandler>(std::move(room));
}

KeysRoom::KeysRoom(RoomContext context, unsigned threads)
    : context_(std::move(context)),
      signing_(context_.loop, threads),
      tickets_(context_.loop, SecureRandom, [this] { TellTicketKeys(); }) {}

KeysRoom::~KeysRoom() = default;

absl::Status KeysRoom::ReadKeys() {
  for (const Start::File& file : context_.start->tls_files) {
    absl::StatusOr<PrivateKey> key = PrivateKey::Parse(file.contents);
    if (!key.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(file.path, ": ", key.status().message()));
    }
    const std::string id = key->id();
    ids_[file.path] = id;
    keys_.emplace(id, Key{*std::move(key)});
  }
  AllowKeys(TlsOfListeners(*context_.config).pkis, &Key::for_receive);
  AllowKeys(TlsOfRelays(*context_.config).pkis, &Key::for_relay);
  return absl::OkStatus();
}

void KeysRoom::AllowKeys(const std::set<std::string>& pkis, bool Key::*room) {
  for (const std::string& name : pkis) {
    const auto id = ids_.find(context_.config->pkis.at(name).key);
    if (id != ids_.end()) keys_.at(id->second).*room = true;
  }
}

const KeysRoom::Key* KeysRoom::FindKey(const Client& client,
                                       const std::string& id) const {
  const auto found = keys_.find(id);
  if (found == keys_.end()) return nullptr;
  const Key& key = found->second;
  const bool allowed =
      client.room == Room::kRelay ? key.for_relay : key.for_receive;
  return allowed ? &key : nullptr;
}

void KeysRoom::OnDoor(const NewDoor& to, std::unique_ptr<Door> door) {
  auto client = std::make_shared<Client>();
  client->door = std::move(door);
  client->room = to.peer;
  client->wants_tickets = to.peer == Room::kReceive;
  const ClientKey key(to.peer, to.number);
  clients_[key] = client;
  const std::weak_ptr<Client> weak(client);
  // A client whose door closes is dropped, if no newer one has its place; what
  // is being signed for it is then answered to nobody.
  auto drop = [this, key, weak] {
    const auto found = clients_.find(key);
    const std::shared_ptr<Client> old = weak.lock();
    if (old != nullptr && found != clients_.end() && found->second == old) {
      clients_.erase(found);
      // Not inside the door's own callback.
      context_.loop->Post([old] {});
    }
  };
  client->door->SetCallbacks(
      [this, weak, drop](Frame& frame) {
        const std::shared_ptr<Client> asker = weak.lock();
        if (asker == nullptr) return;
        if (!Dispatch<SignRequest>(frame, [&](SignRequest& request) {
              OnRequest(asker, std::move(request));
            })) {
          LogWarn("warn: keys: unexpected message %d", frame.type);
          drop();
        }
      },
      [drop](absl::Status) { drop(); });
  if (client->wants_tickets) client->door->Send(tickets_.keys());
}

void KeysRoom::OnRequest(const std::shared_ptr<Client>& client,
                         SignRequest request) {
  const Key* const key = FindKey(*client, request.key);
  absl::Status refused;
  if (key == nullptr)
    refused = absl::NotFoundError("unknown key");
  else if (request.input.size() > kMaxSignedBytes)
    refused = absl::InvalidArgumentError("too much to sign");
  else if (client->open >= kMaxOpenSignatures)
    refused = absl::ResourceExhaustedError("too many questions");
  if (!refused.ok()) return Answer(client.get(), request.question, refused);
  ++client->open;
  signing_.Add(
      &key->key, request.algorithm, std::move(request.input),
      [this, weak = std::weak_ptr<Client>(client),
       question = request.question](absl::StatusOr<std::string> signature) {
        const std::shared_ptr<Client> asker = weak.lock();
        if (asker == nullptr) return;
        --asker->open;
        Answer(asker.get(), question, std::move(signature));
      });
}

void KeysRoom::Answer(Client* client, uint64_t question,
                      absl::StatusOr<std::string> signature) {
  Signature answer;
  answer.question = question;
  answer.ok = signature.ok();
  if (signature.ok())
    answer.bytes = *std::move(signature);
  else
    answer.error = std::string(signature.status().message());
  Door* const door = client->door.get();
  const bool was_below = door->backlog() <= kMaxAnswerBytes;
  door->Send(answer);
  if (!was_below || door->backlog() <= kMaxAnswerBytes) return;
  door->PauseReading();
  door->WhenBelow(kMaxAnswerBytes / 2, [door] { door->ResumeReading(); });
}

void KeysRoom::TellTicketKeys() {
  LogDebug("debug: keys: session ticket keys have changed");
  for (const auto& [key, client] : clients_) {
    if (client->wants_tickets) client->door->Send(tickets_.keys());
  }
}

bool KeysRoom::OnParentFrame(Frame&) { return false; }

void KeysRoom::OnStop(absl::Duration) { context_.exit(0); }

}  // namespace holdfast
