#include "server/parent/supervisor.h"

#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/log/log.h"
#include "server/parent/exact_message.h"

namespace holdfast {
namespace {

// A room whose door closed has this long to end by itself.
constexpr absl::Duration kWithoutDoor = absl::Seconds(5);

constexpr std::pair<Room, Room> kDoors[] = {
    {Room::kReceive, Room::kQueue},  {Room::kReceive, Room::kLookup},
    {Room::kReceive, Room::kRelay},  {Room::kQueue, Room::kLookup},
    {Room::kQueue, Room::kRelay},    {Room::kQueue, Room::kDeliver},
    {Room::kReceive, Room::kKeys},   {Room::kRelay, Room::kKeys},
    {Room::kRelay, Room::kLookup},   {Room::kReceive, Room::kFilters},
    {Room::kRelay, Room::kFilters},  {Room::kQueue, Room::kFilters},
    {Room::kFilters, Room::kLookup},
};

// Who is stopped together, and until when, counted from the beginning of the
// stop.  First those who take mail in, then those who bring it out, then those
// whom all the others need: what is under way can pass the filters, and so can
// reports on what could not be brought out.
struct Phase {
  Room rooms[3];
  absl::Duration until;
};
const Phase kPhases[] = {
    {{Room::kReceive, Room::kReceive, Room::kReceive}, absl::Seconds(10)},
    {{Room::kRelay, Room::kRelay, Room::kDeliver}, absl::Seconds(22)},
    {{Room::kQueue, Room::kQueue, Room::kQueue}, absl::Seconds(28)},
    {{Room::kLookup, Room::kKeys, Room::kFilters}, kStopTime},
};
constexpr size_t kPhaseCount = sizeof kPhases / sizeof kPhases[0];

bool IsIn(const Phase& phase, Room room) {
  return std::find(std::begin(phase.rooms), std::end(phase.rooms), room) !=
         std::end(phase.rooms);
}

bool AreJoined(Room a, Room b) {
  return std::any_of(std::begin(kDoors), std::end(kDoors), [&](const auto& d) {
    return (d.first == a && d.second == b) || (d.first == b && d.second == a);
  });
}

bool IsWorker(Room room) {
  return room == Room::kReceive || room == Room::kRelay ||
         room == Room::kDeliver;
}

}  // namespace

absl::Duration RestartDelay(int failures) {
  static constexpr int kMilliseconds[] = {0, 100, 500, 1000, 3000};
  return absl::Milliseconds(kMilliseconds[std::clamp(failures, 0, 4)]);
}

Supervisor::Supervisor(EventLoop* loop, Processes* processes,
                       SupervisorHost* host, Options options)
    : loop_(loop),
      processes_(processes),
      host_(host),
      options_(std::move(options)),
      next_worker_(static_cast<uint64_t>(options_.first_worker)) {
  auto add = [this](Room room, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
      auto slot = std::make_unique<Slot>();
      slot->room = room;
      slot->number = i;
      slots_.push_back(std::move(slot));
    }
  };
  add(Room::kKeys, 1);
  add(Room::kLookup, 1);
  if (options_.filters) add(Room::kFilters, 1);
  add(Room::kQueue, 1);
  add(Room::kDeliver, 1);
  add(Room::kRelay, options_.relays);
  add(Room::kReceive, options_.receivers);
}

Supervisor::~Supervisor() = default;

void Supervisor::Begin() {
  for (auto& slot : slots_) Launch(slot.get());
}

void Supervisor::Launch(Slot* slot) {
  slot->timer.reset();
  slot->worker = WorkerId(next_worker_++);
  slot->started = loop_->Elapsed();
  auto [ours, theirs] = MakeDoorSockets();
  if (!ours || !theirs) {
    LogWarn("warn: %s: no descriptors for a door", RoomName(slot->room));
    return LaunchLater(slot);
  }
  ProgramStart program;
  program.path = absl::StrCat(options_.folder, "/smtpd-", RoomName(slot->room));
  program.environment = options_.environment;
  program.fds.push_back(std::move(theirs));
  absl::StatusOr<pid_t> pid = processes_->Start(
      std::move(program), [this, slot](int status) { OnExit(slot, status); });
  if (!pid.ok()) {
    LogWarn("warn: %s: %s", RoomName(slot->room), pid.status().message());
    return LaunchLater(slot);
  }
  slot->pid = *pid;
  slot->state = State::kStarting;
  slot->door = MakeDoor(loop_, std::move(ours));
  slot->door->SetCallbacks(
      [this, slot](Frame& frame) { OnFrame(slot, frame); },
      [this, slot](absl::Status why) { OnDoorClosed(slot, why); });
  host_->BeforeStart(slot->room, slot->door.get());
  std::vector<OwnedFd> fds;
  Start start = host_->MakeStart(slot->room, slot->number, &fds);
  start.room = slot->room;
  start.number = slot->number;
  start.worker = slot->worker;
  slot->door->Send(start, std::move(fds));
}

void Supervisor::LaunchLater(Slot* slot) {
  slot->state = State::kWaiting;
  slot->timer = loop_->RunAfter(RestartDelay(slot->failures++),
                                [this, slot] { Launch(slot); });
}

void Supervisor::OnExit(Slot* slot, int wait_status) {
  slot->door.reset();
  slot->timer.reset();
  slot->pid = 0;
  const bool lingers = host_->OnRoomDied(slot->room, slot->worker);
  if (phase_ != kNotStopping) {
    slot->state = State::kEnded;
    return CheckPhase();
  }
  LogWarn("warn: lost child: %s %s", RoomName(slot->room),
          HowItEnded(wait_status));
  if (slot->room == Room::kQueue && WIFEXITED(wait_status) &&
      WEXITSTATUS(wait_status) == kHopelessStatus) {
    slot->state = State::kEnded;
    gave_up_ = true;
    return Stop();
  }
  if (loop_->Elapsed() - slot->started >= kGoodLife) slot->failures = 0;
  const WorkerId died = slot->worker;
  slot->state = State::kWaiting;
  if (IsWorker(slot->room)) {
    if (lingers)
      lingering_.insert(died);
    else
      SendWorkers();
  }
  LaunchLater(slot);
}

void Supervisor::OnLastEnded(WorkerId worker) {
  if (lingering_.erase(worker) != 0) SendWorkers();
}

void Supervisor::ForEach(Room room, absl::FunctionRef<void(Door*)> tell) {
  for (const auto& slot : slots_) {
    if (slot->room == room && slot->door != nullptr) tell(slot->door.get());
  }
}

void Supervisor::Kill(Slot* slot) {
  if (slot->pid != 0) processes_->Kill(slot->pid, SIGKILL);
}

void Supervisor::OnDoorClosed(Slot* slot, const absl::Status& why) {
  // A reset is no more than a process that ended with something unread.
  if (absl::IsDataLoss(why)) {
    LogWarn("warn: %s: %s", RoomName(slot->room), why.message());
    return Kill(slot);
  }
  // Most likely it is about to be reaped.
  slot->timer = loop_->RunAfter(kWithoutDoor, [this, slot] { Kill(slot); });
}

bool Supervisor::Understand(Slot* slot, Frame& frame) {
  // Nobody has a descriptor to give us.
  if (!frame.fds.empty()) return false;
  if (frame.type == Ready::kType) {
    return slot->state == State::kStarting &&
           DispatchExact<Ready>(frame, [&](Ready&) { OnReady(slot); });
  }
  if (frame.type == SetVerbose::kType) {
    return slot->room == Room::kQueue &&
           DispatchExact<SetVerbose>(frame, [this](SetVerbose& message) {
             SetVerboseEverywhere(message.verbose);
           });
  }
  return host_->OnRoomFrame(slot->room, slot->worker, slot->door.get(), frame);
}

void Supervisor::OnFrame(Slot* slot, Frame& frame) {
  if (Understand(slot, frame)) {
    Door* const door = slot->door.get();
    if (door->backlog() < kMaxUnreadAnswers) return;
    door->PauseReading();
    return door->WhenBelow(kMaxUnreadAnswers,
                           [door] { door->ResumeReading(); });
  }
  LogWarn("warn: %s: unexpected message %d", RoomName(slot->room), frame.type);
  Kill(slot);
  slot->door->PauseReading();  // nothing more is heard from it
}

Supervisor::Slot* Supervisor::ReadyQueue() {
  for (auto& slot : slots_) {
    if (slot->room == Room::kQueue && slot->state == State::kReady)
      return slot.get();
  }
  return nullptr;
}

void Supervisor::OnReady(Slot* slot) {
  slot->state = State::kReady;
  host_->OnRoomReady(slot->room, slot->worker, slot->door.get());
  for (auto& other : slots_) {
    if (other->state == State::kReady && AreJoined(slot->room, other->room))
      Connect(slot, other.get());
  }
  if (slot->room == Room::kQueue) SendWorkers();
}

void Supervisor::Connect(Slot* a, Slot* b) {
  auto [fd_a, fd_b] = MakeDoorSockets();
  if (!fd_a || !fd_b) {
    // Without doors the room is of no use; a new one may find descriptors.
    LogWarn("warn: %s: no descriptors for a door", RoomName(a->room));
    return Kill(a);
  }
  auto give = [](Slot* to, const Slot* peer, OwnedFd fd) {
    NewDoor door;
    door.peer = peer->room;
    door.number = peer->number;
    door.worker = peer->worker;
    std::vector<OwnedFd> fds;
    fds.push_back(std::move(fd));
    to->door->Send(door, std::move(fds));
  };
  give(a, b, std::move(fd_a));
  give(b, a, std::move(fd_b));
}

void Supervisor::SendWorkers() {
  Slot* queue = ReadyQueue();
  if (queue == nullptr) return;
  Workers workers;
  for (const auto& slot : slots_) {
    // One that is starting has no claims, and is not dead.
    if (IsWorker(slot->room) && slot->pid != 0)
      workers.alive.push_back(slot->worker);
  }
  workers.alive.insert(workers.alive.end(), lingering_.begin(),
                       lingering_.end());
  queue->door->Send(workers);
}

void Supervisor::SetVerboseEverywhere(bool verbose) {
  SetVerbose message;
  message.verbose = verbose;
  for (const auto& slot : slots_) {
    if (slot->door != nullptr) slot->door->Send(message);
  }
  host_->OnVerbose(verbose);
}

void Supervisor::Stop() {
  if (phase_ != kNotStopping) return;
  stop_began_ = loop_->Elapsed();
  // Nobody comes back from here.
  for (auto& slot : slots_) {
    if (slot->state != State::kWaiting) continue;
    slot->timer.reset();
    slot->state = State::kEnded;
  }
  EnterPhase(0);
}

void Supervisor::EnterPhase(size_t phase) {
  phase_ = phase;
  if (phase_ == kPhaseCount) {
    phase_timer_.reset();
    return host_->OnStopped();
  }
  const absl::Duration left =
      kPhases[phase_].until - (loop_->Elapsed() - stop_began_);
  StopRoom stop;
  stop.seconds =
      static_cast<uint32_t>(std::max<int64_t>(1, absl::ToInt64Seconds(left)));
  for (auto& slot : slots_) {
    if (IsIn(kPhases[phase_], slot->room) && slot->door != nullptr)
      slot->door->Send(stop);
  }
  phase_timer_ = loop_->RunAfter(left, [this] {
    for (auto& slot : slots_) {
      if (!IsIn(kPhases[phase_], slot->room) || slot->pid == 0) continue;
      LogWarn("warn: %s did not stop in time", RoomName(slot->room));
      Kill(slot.get());
    }
  });
  CheckPhase();
}

void Supervisor::CheckPhase() {
  if (phase_ >= kPhaseCount) return;
  const bool over =
      std::none_of(slots_.begin(), slots_.end(), [this](const auto& slot) {
        return IsIn(kPhases[phase_], slot->room) &&
               slot->state != State::kEnded;
      });
  if (over) EnterPhase(phase_ + 1);
}

}  // namespace holdfast
