#include "server/queue/control_server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>

#include "protocol/control_frames.h"
#include "protocol/control_messages.h"
#include "server/log/log.h"
#include "server/queue/control_command.h"
#include "server/queue/control_commands_check.h"
#include "server/queue/control_commands_queue_act.h"
#include "server/queue/export_stream.h"

namespace holdfast {
namespace {

// Of a ControlData frame, besides its bytes.
constexpr size_t kDataHead = 16;
constexpr size_t kMaxUnreadAnswers = 64 << 10;

constexpr ControlCommandMaker kMakers[] = {
    MakeListCommand,    MakeActCommand,   MakeStateCommand, MakeMonitorCommand,
    MakeExplainCommand, MakeTableCommand, MakeMtaCommand,   MakeImportCommand,
    MakeTopCommand,     MakeRekeyCommand};

std::shared_ptr<ControlCommand> MakeCommand(
    const ControlRequest& request, bool allowed, QueueServices* services,
    QueueChecker checker, const ActPeer& peer,
    const std::shared_ptr<ActTokens>& act_tokens, ControlOutput* output) {
  if (request.version != kControlVersion)
    return MakeRefusal(output, "incompatible smtpctl and smtpd");
  if (!allowed) return MakeRefusal(output, "need root privileges");
  for (const ControlCommandMaker make : kMakers)
    if (auto command = make(request.words, services, output)) return command;
  if (auto command = MakeCheckCommand(request.words, services, output, checker))
    return command;
  if (auto command = MakeExportCommand(request.words, services, output, peer))
    return command;
  if (auto command = MakeQueueActCommand(request.words, services, output, peer,
                                         act_tokens))
    return command;
  return MakeRefusal(output, "not available in this version");
}

}  // namespace

class ControlServer::Connection : public ControlOutput {
 public:
  Connection(ControlServer* server, uint64_t number, const ActPeer& peer,
             int fd)
      : server_(server),
        number_(number),
        peer_(peer),
        stream_(MakeStream(server->services_->loop(), fd)) {
    Stream::Callbacks callbacks;
    callbacks.on_bytes = [this](absl::string_view bytes) { OnBytes(bytes); };
    callbacks.on_closed = [this](absl::Status) { server_->Close(number_); };
    stream_->SetCallbacks(std::move(callbacks));
    stream_->ResumeReading();
  }

  uid_t uid() const { return peer_.uid; }

  // It is out of the server's list and hears nothing more.
  void Retire() {
    retired_ = true;
    stream_->PauseReading();
    finished_ = std::move(command_);
    command_.reset();
  }

  void Text(std::string text) override {
    ControlText message;
    message.text = std::move(text);
    credit_ = false;
    stream_->Write(EncodeControlFrame(message));
  }

  void Done(ControlDone done) override {
    finished_ = std::move(command_);
    command_.reset();
    stream_->Write(EncodeControlFrame(done));
  }

 private:
  void OnBytes(absl::string_view bytes) {
    if (retired_) return;
    frames_.Append(bytes);
    for (;;) {
      absl::StatusOr<std::optional<ControlFrame>> frame = frames_.Next();
      if (!frame.ok()) return server_->Close(number_);
      if (!frame->has_value()) return;
      if (!OnFrame(**frame)) return server_->Close(number_);
    }
  }

  // False: not what a client of ours would say now.
  bool OnFrame(const ControlFrame& frame) {
    if (frame.type == ControlRequest::kType) return OnRequest(frame.payload);
    if (frame.type == ControlData::kType) return OnData(frame.payload);
    if (frame.type != ControlMore::kType || credit_) return false;
    credit_ = true;
    // The last credit may cross the end.
    if (command_) RunCommand();
    return true;
  }

  bool OnData(absl::string_view payload) {
    absl::StatusOr<ControlData> data = Decode<ControlData>(payload);
    if (!data.ok() || command_ == nullptr) return false;
    // Held, because it may be done within the call.
    const std::shared_ptr<ControlCommand> command = command_;
    credit_ = true;
    const bool good = command->OnData(data->bytes);
    finished_.reset();
    return good;
  }

  bool OnRequest(absl::string_view payload) {
    absl::StatusOr<ControlRequest> request = Decode<ControlRequest>(payload);
    if (!request.ok() || command_ != nullptr) return false;
    // Who asks again has read the last answer.
    if (stream_->backlog() > kMaxUnreadAnswers) return false;
    const bool allowed = uid() == 0 || uid() == geteuid();
    credit_ = true;
    command_ =
        MakeCommand(*request, allowed, server_->services_, server_->checker_,
                    peer_, server_->act_tokens_, this);
    frames_.set_limit(
        std::max(kMaxControlRequestFrame, command_->MaxData() + kDataHead));
    RunCommand();
    return true;
  }

  void RunCommand() {
    // Held, because it may be done within the call.
    const std::shared_ptr<ControlCommand> command = command_;
    command->OnCredit();
    finished_.reset();
  }

  ControlServer* const server_;
  const uint64_t number_;
  const ActPeer peer_;
  std::unique_ptr<Stream> stream_;
  ControlFrames frames_{kMaxControlRequestFrame};
  bool credit_ = true;
  bool retired_ = false;
  std::shared_ptr<ControlCommand> command_;
  std::shared_ptr<ControlCommand> finished_;
};

ControlServer::ControlServer(QueueServices* services, int listening_fd,
                             QueueChecker checker)
    : services_(services), listening_fd_(listening_fd), checker_(checker) {
  if (listening_fd_ < 0) return;
  acceptor_ = MakeAcceptor(
      services_->loop(), listening_fd_, [this](int fd) { OnAccept(fd); },
      [] { LogWarn("warn: ctl client limit hit, disabling new connections"); });
}

ControlServer::~ControlServer() {
  acceptor_.reset();
  connections_.clear();
  EndChecks();
  EndExports();
  if (listening_fd_ >= 0) close(listening_fd_);
}

void ControlServer::OnAccept(int fd) {
  ucred peer = {};
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    close(fd);
    return;
  }
  Serve(fd, peer.uid, peer.pid);
}

void ControlServer::Serve(int fd, uid_t uid, pid_t pid) {
  int& count = per_user_[uid];
  if (count >= kMaxConnectionsPerUser) {
    LogWarn(
        "warn: too many connections to control socket from user with uid %d",
        uid);
    close(fd);
    return;
  }
  ++count;
  const uint64_t number = next_number_++;
  connections_.emplace(number, std::make_unique<Connection>(
                                   this, number, ActPeer{uid, pid}, fd));
}

void ControlServer::Close(uint64_t number) {
  const auto found = connections_.find(number);
  if (found == connections_.end()) return;
  const auto user = per_user_.find(found->second->uid());
  if (user != per_user_.end() && --user->second == 0) per_user_.erase(user);
  // It may be what called.
  std::shared_ptr<Connection> gone = std::move(found->second);
  gone->Retire();
  connections_.erase(found);
  services_->loop()->Post([gone = std::move(gone)]() mutable { gone.reset(); });
}

}  // namespace holdfast
