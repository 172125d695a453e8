// Postfix: incoming, active, deferred and hold, in folders of one letter each
// or not; defer/ID says how the last tries went.
#include <sys/file.h>

#include <algorithm>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "ctl/spool/byte_source.h"
#include "ctl/spool/postfix_spool.h"
#include "ctl/spool/spool_folder.h"
#include "ctl/spool/spool_reader.h"

namespace holdfast {
namespace {

// Postfix's hash_queue_depth is 1; more than that is rare.
constexpr int kMaxDepth = 8;
constexpr absl::string_view kUnknown = "unknown";

bool IsQueueId(absl::string_view name) {
  return name.size() >= 6 && name.size() <= 64 &&
         std::all_of(name.begin(), name.end(), absl::ascii_isalnum);
}

class PostfixReader : public SpoolReader {
 public:
  using SpoolReader::SpoolReader;

  absl::Status Run() override {
    if (!IsFolder(absl::StrCat(options_.folder, "/deferred")))
      return absl::NotFoundError(
          absl::StrCat(options_.folder, ": not a spool of Postfix"));
    absl::Status status = CheckStopped();
    if (!status.ok()) return status;
    for (const char* queue : {"incoming", "active", "deferred", "hold"}) {
      status = Walk(queue, absl::StrCat(options_.folder, "/", queue), 0);
      if (!status.ok()) return status;
    }
    for (const char* queue : {"corrupt", "maildrop"}) {
      const uint64_t files = Count(absl::StrCat(options_.folder, "/", queue));
      if (files > 0)
        options_.say(absl::StrCat(options_.folder, "/", queue, ": ", files,
                                  " files are not looked at"));
    }
    return absl::OkStatus();
  }

 private:
  // Else mail would go out twice.
  absl::Status CheckStopped() {
    const absl::StatusOr<SpoolFile> pid =
        OpenSpoolFile(absl::StrCat(options_.folder, "/pid/master.pid"));
    if (pid.ok() && flock(pid->fd.get(), LOCK_SH | LOCK_NB) != 0)
      return absl::FailedPreconditionError(
          absl::StrCat("Postfix runs on ", options_.folder, ": stop it first"));
    return absl::OkStatus();
  }

  static uint64_t Count(const std::string& path) {
    const auto names = ListFolder(path);
    return names.ok() ? names->size() : 0;
  }

  absl::Status Walk(const std::string& queue, const std::string& path,
                    int depth) {
    const auto names = ListFolder(path);
    if (!names.ok()) {
      if (!absl::IsNotFound(names.status()))
        LeaveOut(path, names.status().message());
      return absl::OkStatus();
    }
    for (const std::string& name : *names) {
      const std::string place = absl::StrCat(path, "/", name);
      absl::Status status;
      if (IsQueueId(name)) {
        status = OnFile(queue, name, place);
      } else if (name.size() <= 2 && depth < kMaxDepth && IsFolder(place)) {
        status = Walk(queue, place, depth + 1);
      }
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  absl::Status OnFile(const std::string& queue, const std::string& id,
                      const std::string& path) {
    const absl::StatusOr<SpoolFile> file = OpenSpoolFile(path);
    if (absl::IsNotFound(file.status())) return absl::OkStatus();
    if (!file.ok()) {
      LeaveOut(path, file.status().message());
      return absl::OkStatus();
    }
    // Whose sender never got an answer.
    if (!file->executable) {
      LeaveOut(path, "Postfix has not accepted all of it");
      return absl::OkStatus();
    }
    FileBytes bytes(&*file);
    const absl::StatusOr<PostfixMessage> message = ReadPostfixFile(
        &bytes, [](absl::string_view) { return absl::OkStatus(); });
    if (!message.ok() || !message->unknown.empty()) {
      LeaveOut(path, message.ok()
                         ? absl::StrCat("it asks for a ", message->unknown)
                         : std::string(message.status().message()));
      return absl::OkStatus();
    }
    summary_.delivered += message->delivered;
    if (message->recipients.empty()) return absl::OkStatus();
    const std::string identity = absl::StrCat(
        id, "\n", absl::FormatTime(message->arrived, absl::UTCTimeZone()), "\n",
        message->sender.ToString(), "\n", message->client_address);
    return Give(
        "postfix", identity, EnvelopesOf(queue, id, *file, *message),
        [&](Sink sink) { return ReadPostfixFile(&bytes, sink).status(); });
  }

  struct LastTry {
    absl::Time when;
    std::map<uint64_t, PostfixDeferral> of;  // offset of the recipient
  };
  LastTry ReadDeferLog(const std::string& id) const {
    LastTry last;
    for (const std::string& place :
         {absl::StrCat("/defer/", id),
          absl::StrCat("/defer/", id.substr(0, 1), "/", id),
          absl::StrCat("/defer/", id.substr(0, 1), "/", id.substr(1, 1), "/",
                       id)}) {
      const auto file = OpenSpoolFile(absl::StrCat(options_.folder, place));
      if (!file.ok()) continue;
      FileSource source(file->fd.get());
      const auto text = ReadWhole(&source, kMaxPostfixDeferLog);
      if (!text.ok()) continue;
      last.when = file->changed;
      for (PostfixDeferral& one : ParsePostfixDeferLog(*text))
        last.of[one.offset] = std::move(one);
    }
    return last;
  }

  Envelope CommonOf(const PostfixMessage& m) const {
    Envelope e;
    e.kind = DeliveryKind::kMta;
    e.action = options_.action;
    e.smtpname = options_.hostname;
    e.helo = m.helo.empty() ? options_.hostname : m.helo;
    const bool local = m.client_address.empty() || m.client_address == kUnknown;
    e.hostname = local || m.client_name.empty() ? "localhost" : m.client_name;
    e.sockaddr = local ? "local"
                 : absl::StrContains(m.client_address, ':')
                     ? absl::StrCat("[", m.client_address, "]")
                     : m.client_address;
    e.username = m.username;
    e.sender = m.sender;
    e.created = m.arrived;
    e.expires = m.arrived + options_.ttl;
    e.dsn_envid = m.envid;
    e.dsn_ret = m.ret;
    if (!m.username.empty() || local) e.flags |= kFlagAuthenticated;
    if (m.smtputf8) e.flags |= kFlagSmtpUtf8;
    if (m.eight_bit) e.flags |= kFlag8BitMime;
    return e;
  }

  std::vector<ExportEnvelope> EnvelopesOf(const std::string& queue,
                                          const std::string& id,
                                          const SpoolFile& file,
                                          const PostfixMessage& m) const {
    const Envelope common = CommonOf(m);
    const LastTry last = ReadDeferLog(id);
    // The time of a deferred file is that of its next try.
    const absl::Time due =
        queue == "deferred" ? std::min(std::max(file.changed, options_.now),
                                       std::max(common.expires, options_.now))
                            : options_.now;
    std::vector<ExportEnvelope> envelopes;
    for (const PostfixRecipient& r : m.recipients) {
      ExportEnvelope one{common, due};
      Envelope& e = one.envelope;
      e.id = EnvelopeId{r.number};
      e.rcpt = r.original;
      e.dest = r.address;
      e.routing_key = absl::AsciiStrToLower(r.address.domain);
      e.dsn_notify = r.notify;
      e.dsn_orcpt = r.orcpt;
      if (const auto tried = last.of.find(r.offset); tried != last.of.end())
        AddTry(last.when, tried->second, &e);
      if (queue == "hold") {
        e.flags |= kFlagHeld;
        one.due = std::nullopt;
      }
      envelopes.push_back(std::move(one));
    }
    return envelopes;
  }

  // Postfix keeps the last one and does not count them.
  static void AddTry(absl::Time when, const PostfixDeferral& tried,
                     Envelope* e) {
    e->retry = 1;
    e->last_try = when;
    e->status = tried.status;
    e->error_line = tried.reason;
    Attempt attempt;
    attempt.began = when;
    attempt.source = "-";
    attempt.answer = tried.reason.substr(0, kMaxAttemptAnswer);
    e->attempts.push_back(std::move(attempt));
  }
};

}  // namespace

std::unique_ptr<SpoolReader> ReadPostfixSpool(SpoolOptions options,
                                              MailTaker* taker) {
  return std::make_unique<PostfixReader>(std::move(options), taker);
}

}  // namespace holdfast
