// smtpctl-store: what smtpctl does with the store while the daemon is down, and
// what takes cryptography.  Executed by smtpctl with words it has checked:
//
//   smtpctl-store --spool PATH show queue
//   smtpctl-store encrypt -s         makes SCRAM verifiers of lines it reads
//
// For the store, as root, it first becomes the store's owner, so that no file
// there changes hands; the store is opened for reading, sharing its lock.
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "config/config.h"
#include "ctl/control/encrypt.h"
#include "ctl/control/message_output.h"
#include "ctl/control/whole_io.h"
#include "ctl/store/configured_keys.h"
#include "ctl/store/move_commands.h"
#include "protocol/queue_listing.h"
#include "protocol/scram.h"
#include "protocol/vis.h"
#include "storage/body_codec.h"
#include "storage/compact_store.h"
#include "storage/crypto/key_derivation.h"
#include "storage/explained_envelope.h"
#include "storage/figures_text.h"
#include "storage/history_text.h"
#include "storage/ledger_text.h"
#include "storage/queue_store.h"

namespace holdfast {
namespace {

using Words = std::vector<std::string>;

constexpr size_t kPage = 1000;
constexpr size_t kPiece = 64 << 10;
constexpr size_t kMaxDoubts = 10000;

int Fail(absl::string_view text) {
  WriteAll(STDERR_FILENO, absl::StrCat("smtpctl: ", text, "\n"));
  return 1;
}

int Fail(const absl::Status& status) {
  if (absl::IsNotFound(status)) return Fail("fopen: No such file or directory");
  return Fail(std::string(status.message()));
}

bool Out(absl::string_view text) { return WriteAll(STDOUT_FILENO, text); }

bool BecomeOwner(const std::string& store) {
  struct stat st;
  if (stat(store.c_str(), &st) != 0) return false;
  if (geteuid() != 0 || st.st_uid == 0) return true;
  return setgroups(0, nullptr) == 0 && setgid(st.st_gid) == 0 &&
         setuid(st.st_uid) == 0;
}

void SayMended(absl::string_view line) {
  Out(absl::StrCat(VisEncode(line), "\n"));
}

// `repair`: mends it.
absl::StatusOr<std::unique_ptr<QueueStore>> OpenStore(
    const std::string& path, const ConfiguredKeys& keys, bool read_only,
    bool repair = false) {
  if (access(path.c_str(), F_OK) != 0 || !BecomeOwner(path))
    return absl::NotFoundError(absl::StrCat(path, ": ", strerror(errno)));
  return OpenWithKeys(keys, [&] {
    StoreOptions options;
    options.path = path;
    options.read_only = read_only;
    if (repair) options.on_repair = SayMended;
    options.on_warning = [](absl::string_view line) {
      WriteAll(STDERR_FILENO, absl::StrCat(line, "\n"));
    };
    return options;
  });
}

int ShowQueue(QueueStore* store, std::optional<MessageId> only) {
  EnvelopeId after = only ? MakeEnvelopeId(*only, 0) : EnvelopeId{};
  ListingState state;
  state.state = ListingState::State::kOffline;
  for (;;) {
    absl::StatusOr<std::unique_ptr<QueueView>> view = store->View();
    if (!view.ok()) return Fail(view.status());
    const std::vector<Envelope> page = (*view)->Envelopes(after, kPage);
    view->reset();
    std::string text;
    for (const Envelope& e : page) {
      if (only && MessageOf(e.id) != *only) return Out(text) ? 0 : 1;
      text += QueueListingLine(e, state, absl::Now());
      after = e.id;
    }
    if (!Out(text)) return 1;
    if (page.size() < kPage) return 0;
  }
}

int ShowMessage(QueueStore* store, MessageId id, MessageOutput::Form form) {
  MessageOutput output(form);
  absl::StatusOr<std::unique_ptr<QueueView>> view = store->View();
  if (!view.ok()) return Fail(view.status());
  absl::StatusOr<MessageRow> row = (*view)->FindMessage(id);
  if (!row.ok()) return Fail(row.status());
  BodyDecompressor body(row->body);
  std::string text;
  for (uint32_t next = 0;;) {
    absl::StatusOr<BodyDecompressor::Progress> progress =
        body.Read(kPiece, &text);
    if (!progress.ok()) return Fail(progress.status());
    if (!Out(output.Take(text))) return 1;
    text.clear();
    if (*progress == BodyDecompressor::kEnd) return 0;
    if (*progress != BodyDecompressor::kNeedsChunk) continue;
    absl::StatusOr<std::vector<std::string>> chunks =
        (*view)->BodyChunks(id, next++, 1);
    if (!chunks.ok()) return Fail(chunks.status());
    if (chunks->empty()) return Fail("a chunk is missing");
    body.Feed(std::move(chunks->front()));
  }
}

int ShowEnvelope(const QueueView& view, EnvelopeId id) {
  absl::StatusOr<Envelope> envelope = FindExplained(view, id);
  if (!envelope.ok()) return Fail(envelope.status());
  return Out(EnvelopeToText(*envelope)) ? 0 : 1;
}

int ShowDoubts(const QueueView& view) {
  std::string text;
  for (const DoubtRow& d : view.Doubts(kMaxDoubts))
    text += DoubtLine(d.envelope, d.when, d.kind, d.sender, d.dest);
  return Out(text) ? 0 : 1;
}

// Prints them; the number, or -1: they can't be written.
int PrintQueued(const QueueView& view, const HistoryRequest& request) {
  int found = 0;
  EnvelopeId after{static_cast<uint64_t>(request.first) - 1};
  for (bool more = true; more;) {
    std::string text;
    for (const QueuedHistory& one :
         ReadQueuedHistory(view, after, request.last, kPage, &more)) {
      after = one.envelope.id;
      text += HistoryLines(one, /*in_flight=*/false, request.json);
      ++found;
    }
    if (!Out(text)) return -1;
  }
  return found;
}

int PrintEnded(const QueueView& view, const HistoryRequest& request) {
  int found = 0;
  EnvelopeId first = request.first;
  for (uint64_t serial = 0;;) {
    const std::vector<HistoryRow> page =
        view.History(first, serial, request.last, kPage);
    std::string text;
    for (const HistoryRow& row : page) {
      text += HistoryLines(row, request.json);
      first = row.envelope.id;
      serial = row.serial;
      ++found;
    }
    if (!Out(text)) return -1;
    if (page.size() < kPage) return found;
  }
}

int ShowHistory(const QueueView& view, const HistoryRequest& request) {
  const int queued = PrintQueued(view, request);
  const int ended = queued < 0 ? -1 : PrintEnded(view, request);
  if (queued < 0 || ended < 0) return 1;
  return queued + ended > 0 ? 0 : Fail("nothing is known of that");
}

int Check(QueueStore* store) {
  absl::StatusOr<CheckSummary> summary = CheckQueue(
      store,
      [](absl::string_view line) { Out(absl::StrCat(VisEncode(line), "\n")); },
      [](uint64_t) {});
  if (!summary.ok()) return Fail(summary.status());
  Out(absl::StrCat("queue check: ", summary->messages, " messages, ",
                   summary->envelopes, " envelopes, ", summary->problems,
                   " problems\n"));
  return summary->problems == 0 ? 0 : 1;
}

int Repair(const std::string& folder) {
  absl::StatusOr<std::unique_ptr<QueueStore>> store =
      OpenStore(folder, FindConfiguredKeys(folder), /*read_only=*/false,
                /*repair=*/true);
  return store.ok() ? Check(store->get())
                    : Fail(std::string(store.status().message()));
}

int Compact(const std::string& folder, bool json) {
  // Of the copy, too; and before root is no more.
  const ConfiguredKeys keys = FindConfiguredKeys(folder);
  const absl::StatusOr<CompactSummary> done =
      CompactStore(folder, [&](const std::string& path, bool read_only) {
        return OpenStore(path, keys, read_only);
      });
  if (!done.ok()) return Fail(std::string(done.status().message()));
  if (json)
    return Out(absl::StrCat("{\"bytes-before\":", done->bytes_before,
                            ",\"bytes-after\":", done->bytes_after,
                            ",\"messages\":", done->messages,
                            ",\"envelopes\":", done->envelopes, "}\n"))
               ? 0
               : 1;
  return Out(absl::StrCat("queue compact: ", done->messages, " messages, ",
                          done->envelopes, " envelopes, ", done->bytes_before,
                          " octets before, ", done->bytes_after, " now\n"))
             ? 0
             : 1;
}

int ShowFigures(QueueStore* store, bool json) {
  const absl::StatusOr<std::unique_ptr<QueueView>> view = store->View();
  if (!view.ok()) return Fail(view.status());
  return Out(FiguresText((*view)->Figures(), json)) ? 0 : 1;
}

int Run(QueueStore* store, Words words) {
  const MessageOutput::Form form = MessageOutput::TakeForm(&words);
  if (words == Words{"queue", "check"}) return Check(store);
  if (words == Words{"queue", "stat"}) return ShowFigures(store, false);
  if (words == Words{"queue", "stat", "--json"})
    return ShowFigures(store, true);
  const auto history = ParseHistoryRequest(words);
  if (!history && (words.size() < 2 || words.size() > 3 || words[0] != "show"))
    return Fail("not available in this version");
  const std::string argument = words.size() == 3 ? words[2] : "";
  std::optional<MessageId> message = ParseMessageId(argument);
  const std::optional<EnvelopeId> envelope = ParseEnvelopeId(argument);
  if (words[1] == "queue" && !argument.empty() && !message)
    return Fail("filters need smtpd to be running");
  if (words[1] == "queue") return ShowQueue(store, message);
  if (words[1] == "message") {
    if (envelope) message = MessageOf(*envelope);
    if (message) return ShowMessage(store, *message, form);
  }
  absl::StatusOr<std::unique_ptr<QueueView>> view = store->View();
  if (!view.ok()) return Fail(view.status());
  if (history) return ShowHistory(**view, *history);
  if (words[1] == "envelope" && envelope)
    return ShowEnvelope(**view, *envelope);
  if (words[1] == "doubt") return ShowDoubts(**view);
  if (words[1] == "ledger")
    return Out(LedgerText((*view)->ReadLedger())) ? 0 : 1;
  return Fail("not available in this version");
}

absl::StatusOr<std::string> VerifierText(const std::string& password) {
  if (password.empty() || !IsSaslPrepared(password))
    return absl::InvalidArgumentError(
        "a password must be UTF-8 without control characters");
  return MakeScramVerifier(kScramHash, password, RandomKey(kScramSaltBytes),
                           kScramIterations)
      .ToText();
}

int Main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  Words words(argv + 1, argv + argc);
  if (words == Words{"encrypt", "-s"}) return EncryptLines(VerifierText);
  std::string spool;
  if (words.size() >= 2 && words[0] == "--spool") {
    spool = words[1];
    words.erase(words.begin(), words.begin() + 2);
  }
  const auto open = [&](bool read_only) {
    const std::string store = PathsBelow(spool).store;
    return OpenStore(store, FindConfiguredKeys(store), read_only);
  };
  if (IsMoveCommand(words))
    return RunMoveCommand(words, PathsBelow(spool).store,
                          PathsBelow(spool).control_socket, open);
  if (words == Words{"queue", "check", "--repair"})
    return Repair(PathsBelow(spool).store);
  if (words.size() >= 2 && words[0] == "queue" && words[1] == "compact")
    return Compact(PathsBelow(spool).store, words.back() == "--json");
  absl::StatusOr<std::unique_ptr<QueueStore>> store = open(true);
  if (!store.ok()) return Fail(std::string(store.status().message()));
  return Run(store->get(), words);
}

}  // namespace
}  // namespace holdfast

int main(int argc, char** argv) { return holdfast::Main(argc, argv); }
