#include "server/filters/filters_room.h"

#include <algorithm>

#include "absl/random/distributions.h"
#include "absl/strings/match.h"
#include "config/filter_use.h"
#include "server/filters/process_link.h"
#include "server/log/log.h"

namespace holdfast {
namespace {

constexpr char kServerVersion[] = "7.8.0-portable";

bool RelayUses(const Config& config, const std::string& processor) {
  for (const auto& [name, action] : config.actions) {
    const auto used = config.filters.find(action.filter);
    if (used == config.filters.end()) continue;
    std::vector<std::string> links = used->second.chain;
    if (used->second.kind != Filter::Kind::kChain) links = {action.filter};
    for (const std::string& link : links) {
      const Filter& filter = config.filters.at(link);
      if (filter.kind == Filter::Kind::kProc && filter.proc == processor)
        return true;
    }
  }
  return false;
}

void LogFilterLine(const std::string& line) {
  LogLine(
      absl::StartsWith(line, "info: ") ? LogLevel::kInfo : LogLevel::kWarning,
      line);
}

}  // namespace

absl::StatusOr<std::unique_ptr<RoomHandler>> FiltersRoom::Make(
    RoomContext context) {
  return std::unique_ptr<RoomHandler>(new FiltersRoom(std::move(context)));
}

FiltersRoom::FiltersRoom(RoomContext context)
    : context_(std::move(context)),
      background_(context_.loop),
      tables_(context_.loop),
      ask_table_([this](const Table& table, TableService service,
                        std::string key, Matched done) {
        tables_.Check(table, service, std::move(key), std::move(done));
      }) {
  surroundings_.loop = context_.loop;
  surroundings_.kill = [this](const std::string& name, uint64_t number) {
    context_.parent->Send(ProgramKill{name, number});
  };
  surroundings_.is_live = [this](SessionId session) {
    return sessions_.contains(session);
  };
  surroundings_.changed = [this] {
    if (std::exchange(wants_changed_, true)) return;
    context_.loop->AtTurnEnd([this, alive = std::weak_ptr<bool>(alive_)] {
      if (!alive.expired()) TellWants();
    });
  };
  surroundings_.behind = [this](const std::string& program, bool behind) {
    OnBehind(program, behind);
  };
  surroundings_.log = LogFilterLine;
  const Config& config = *context_.config;
  milters_.loop = context_.loop;
  milters_.connect = [this](const std::string& filter, auto done) {
    Connect(filter, std::move(done));
  };
  milters_.background = &background_;
  milters_.folder = FilterFolder(PathsBelow(config.spool));
  milters_.max_message_size = config.max_message_size;
  milters_.server_name = config.server_name;
  MakeLinks();
  MakeChains();
}

FiltersRoom::~FiltersRoom() {
  alive_.reset();
  sessions_.clear();
}

// ---- Of what the configuration has

void FiltersRoom::MakeLinks() {
  for (const std::string& name : FiltersInUse(*context_.config)) {
    const Filter& filter = context_.config->filters.at(name);
    if (filter.kind != Filter::Kind::kChain) links_[name] = MakeLink(filter);
  }
}

std::unique_ptr<FilterLink> FiltersRoom::MakeLink(const Filter& filter) {
  if (filter.kind == Filter::Kind::kMilter)
    return MakeMilterFilter(filter, milters_);
  if (filter.kind == Filter::Kind::kPhase)
    return std::make_unique<BuiltinLink>(
        &filter, context_.config->sub_addr_delim, &ask_table_);
  FilterProgram* const program = ProgramOf(filter.proc);
  return std::make_unique<ProcessLink>(
      filter.name, program, absl::Uniform<uint64_t>(context_.random),
      [this, program](SessionId session, absl::string_view text) {
        const auto found = sessions_.find(session);
        if (found == sessions_.end()) return;
        found->second.chain->OnSays({"proc", program->name()}, text);
      });
}

FilterProgram* FiltersRoom::ProgramOf(const std::string& processor) {
  std::unique_ptr<FilterProgram>& program = programs_[processor];
  if (program == nullptr) {
    const Config& config = *context_.config;
    const Processor& written = config.processors.at(processor);
    FilterGreeting greeting;
    greeting.protocol =
        FilterProtocolNamed(written.protocol).value_or(FilterProtocol::k07);
    greeting.version = kServerVersion;
    greeting.session_timeout = config.smtp_limits.command_timeout;
    greeting.smtp_out = RelayUses(config, processor);
    greeting.admd = config.admd.empty() ? config.server_name : config.admd;
    program = std::make_unique<FilterProgram>(&written, std::move(greeting),
                                              &surroundings_);
  }
  return program.get();
}

void FiltersRoom::MakeChains() {
  for (const Room room : {Room::kReceive, Room::kRelay}) {
    for (const std::string& name : FiltersOf(room)) {
      const Filter& filter = context_.config->filters.at(name);
      FilterChain& chain = chains_[name];
      chain.name = name;
      chain.links.clear();
      if (filter.kind != Filter::Kind::kChain)
        chain.links.push_back(links_.at(name).get());
      for (const std::string& link : filter.chain)
        chain.links.push_back(links_.at(link).get());
    }
  }
}

std::set<std::string> FiltersRoom::FiltersOf(Room room) const {
  const Config& config = *context_.config;
  std::set<std::string> names;
  if (room == Room::kRelay) {
    for (const auto& [name, action] : config.actions)
      names.insert(action.filter);
  } else {
    names.insert(config.socket_listener.filter);
  }
  if (room == Room::kReceive) {
    for (const Listener& listener : config.listeners)
      names.insert(listener.filter);
  }
  names.erase("");
  return names;
}

// ---- Doors

void FiltersRoom::OnDoor(const NewDoor& to, std::unique_ptr<Door> door) {
  if (to.peer == Room::kLookup) return tables_.SetDoor(std::move(door));
  const PeerKey key(to.peer, to.number);
  const auto old = peers_.find(key);
  if (old != peers_.end()) DropPeer(key, old->second.get());
  auto made = std::make_unique<Peer>();
  Peer* const peer = made.get();
  peer->door = std::move(door);
  peer->filters = FiltersOf(to.peer);
  peers_[key] = std::move(made);
  peer->door->SetCallbacks(
      [this, key, peer](Frame& frame) { OnFrame(key, peer, frame); },
      [this, key, peer](absl::Status why) {
        if (!why.ok())
          LogWarn("warn: filters: lost the door of %s: %s", RoomName(key.first),
                  std::string(why.message()));
        DropPeer(key, peer);
      });
  UpdateReading(peer);
  TellWants(peer);
}

void FiltersRoom::TellWants() {
  wants_changed_ = false;
  for (const auto& [key, peer] : peers_) TellWants(peer.get());
}

void FiltersRoom::TellWants(Peer* peer) {
  for (const std::string& name : peer->filters) {
    const FilterChain& chain = chains_.at(name);
    if (!chain.ready()) continue;
    const FilterWants wants = chain.Wants();
    const auto told = peer->told.find(name);
    if (told != peer->told.end() && told->second.phases == wants.phases &&
        told->second.in == wants.in && told->second.out == wants.out)
      continue;
    peer->told[name] = wants;
    peer->door->Send(wants);
  }
}

void FiltersRoom::OnFrame(const PeerKey& key, Peer* peer, Frame& frame) {
  if (peer->gone) return;
  bool good = true;
  const bool known =
      Dispatch<FilterReport, FilterQuestion, FilterText, FilterTextTaken,
               FilterSession, FilterSessionEnded, FilterTextDropped>(
          frame, [&](auto& message) { good = On(peer, message); });
  if (known && good) return PauseIfFull(peer);
  LogWarn("warn: filters: unexpected message %d from %s; its door is closed",
          frame.type, RoomName(key.first));
  DropPeer(key, peer);
}

void FiltersRoom::PauseIfFull(Peer* peer) {
  if (peer->full || peer->door->backlog() <= kMaxPeerBacklog) return;
  peer->full = true;
  UpdateReading(peer);
  peer->door->WhenBelow(kMaxPeerBacklog / 2, [this, peer] {
    peer->full = false;
    UpdateReading(peer);
  });
}

// What peers have to tell must not fill a program's memory with reports.
void FiltersRoom::OnBehind(const std::string& program, bool behind) {
  const bool waited = !behind_.empty();
  if (behind)
    behind_.insert(program);
  else
    behind_.erase(program);
  if (waited == !behind_.empty()) return;
  for (const auto& [key, peer] : peers_) UpdateReading(peer.get());
}

void FiltersRoom::UpdateReading(Peer* peer) {
  if (peer->full || !behind_.empty())
    peer->door->PauseReading();
  else
    peer->door->ResumeReading();
}

// Its sessions end for their filters, and its end of the door is closed: it
// notices, and comes back with a new one.
void FiltersRoom::DropPeer(const PeerKey& key, const Peer* peer) {
  const auto found = peers_.find(key);
  if (found == peers_.end() || found->second.get() != peer) return;
  for (auto it = sessions_.begin(); it != sessions_.end();) {
    const auto session = it++;
    if (session->second.peer != peer) continue;
    session->second.chain->OnEnded(context_.loop->Now());
    sessions_.erase(session);
  }
  found->second->gone = true;
  // Not inside the door's own callback.
  context_.loop->Post([old = std::move(found->second)] {});
  peers_.erase(found);
  ExitIfDone();
}

ChainSession* FiltersRoom::Find(const Peer* peer, SessionId session) {
  const auto found = sessions_.find(session);
  if (found == sessions_.end() || found->second.peer != peer) return nullptr;
  return found->second.chain.get();
}

bool FiltersRoom::On(Peer* peer, FilterSession& session) {
  if (peer->filters.count(session.filter) == 0) return false;
  if (sessions_.size() >= kMaxFilteredSessions) return true;
  const auto [place, added] = sessions_.try_emplace(session.session);
  if (!added) return true;
  place->second.peer = peer;
  place->second.chain = std::make_unique<ChainSession>(
      context_.loop, &chains_.at(session.filter), peer->door.get(), session);
  return true;
}

bool FiltersRoom::On(Peer* peer, FilterSessionEnded& ended) {
  ChainSession* const session = Find(peer, ended.session);
  if (session == nullptr) return true;
  session->OnEnded(ended.at);
  sessions_.erase(ended.session);
  ExitIfDone();
  return true;
}

bool FiltersRoom::On(Peer* peer, FilterReport& report) {
  ChainSession* const session = Find(peer, report.session);
  return session == nullptr || session->OnReport(report);
}

bool FiltersRoom::On(Peer* peer, FilterQuestion& question) {
  ChainSession* const session = Find(peer, question.session);
  if (session != nullptr) return session->OnQuestion(std::move(question));
  // It began before this room did, or there are too many.
  FilterDecision decision;
  decision.session = question.session;
  decision.question = question.question;
  decision.verdict = FilterDecision::Verdict::kDisconnect;
  decision.text = kSessionRefused;
  peer->door->Send(decision);
  return true;
}

bool FiltersRoom::On(Peer* peer, FilterText& text) {
  ChainSession* const session = Find(peer, text.session);
  if (session != nullptr) return session->OnText(text);
  peer->door->Send(FilterTextDropped{text.session, kSessionRefused});
  return true;
}

bool FiltersRoom::On(Peer* peer, FilterTextTaken& taken) {
  ChainSession* const session = Find(peer, taken.session);
  return session == nullptr || session->OnTaken(taken);
}

bool FiltersRoom::On(Peer* peer, FilterTextDropped& dropped) {
  ChainSession* const session = Find(peer, dropped.session);
  if (session != nullptr)
    session->OnDropped();
  else
    peer->door->Send(FilterTextDropped{dropped.session, ""});
  return true;
}

// ---- Parent

bool FiltersRoom::OnParentFrame(Frame& frame) {
  return Dispatch<ProgramStarted, ProgramEnded, MilterConnected>(
      frame, [&](auto& message) { On(message, frame); });
}

void FiltersRoom::On(ProgramStarted& started, Frame& frame) {
  const auto found = programs_.find(started.name);
  if (found == programs_.end() || frame.fds.size() != 2) {
    LogWarn("warn: filters: no use for the program %s", started.name);
    context_.parent->Send(ProgramKill{started.name, started.number});
    return;
  }
  found->second->OnStarted(started.number, std::move(frame.fds[0]),
                           std::move(frame.fds[1]));
}

void FiltersRoom::On(ProgramEnded& ended, Frame&) {
  const auto found = programs_.find(ended.name);
  if (found != programs_.end()) found->second->OnEnded(ended.number);
}

void FiltersRoom::Connect(
    const std::string& filter,
    absl::AnyInvocable<void(absl::StatusOr<OwnedFd>)> done) {
  connects_.emplace(++last_connect_, std::move(done));
  context_.parent->Send(MilterConnect{last_connect_, filter});
}

void FiltersRoom::On(MilterConnected& connected, Frame& frame) {
  auto open = connects_.extract(connected.question);
  if (!open) return;
  if (connected.ok && frame.fds.size() == 1)
    open.mapped()(std::move(frame.fds[0]));
  else
    open.mapped()(absl::UnavailableError(connected.error));
}

// Sessions of the others come to their end first.
void FiltersRoom::OnStop(absl::Duration grace) {
  stopping_ = true;
  stop_timer_ = context_.loop->RunAfter(grace, [this] { context_.exit(0); });
  ExitIfDone();
}

void FiltersRoom::ExitIfDone() {
  if (stopping_ && sessions_.empty()) context_.exit(0);
}

}  // namespace holdfast
