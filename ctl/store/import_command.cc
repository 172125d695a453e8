// queue import [--check] [--same-ids|--renumber] [--again] [--trust] FILE
// queue import --from opensmtpd|postfix [--action NAME] ... DIR
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "ctl/store/archive_mail.h"
#include "ctl/store/command_io.h"
#include "ctl/store/importer.h"
#include "ctl/store/scratch_file.h"
#include "ctl/store/spool_import.h"
#include "storage/import_batch.h"

namespace holdfast {
namespace {

constexpr char kUsage[] =
    "queue import [--check] [--same-ids|--renumber] [--again] [--trust] FILE, "
    "or --from opensmtpd|postfix [--action NAME] [--ttl DELAY] [--key FILE] "
    "DIR";

// A file that can be read twice.
absl::StatusOr<OwnedFd> OpenArchive(const std::string& path) {
  OwnedFd fd(path == "-" ? dup(STDIN_FILENO)
                         : open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd)
    return absl::NotFoundError(absl::StrCat(path, ": ", strerror(errno)));
  if (lseek(fd.get(), 0, SEEK_CUR) >= 0) return fd;
  absl::StatusOr<OwnedFd> copy = ScratchFile();
  if (!copy.ok()) return copy;
  char buffer[65536];
  for (;;) {
    const ssize_t n = read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) return copy;
    if (n < 0 || !WriteAll(copy->get(), {buffer, static_cast<size_t>(n)}))
      return absl::InternalError(absl::StrCat(path, ": ", strerror(errno)));
  }
}

absl::StatusOr<OwnedFd> OpenSpool(const SpoolRequest& request,
                                  const std::string& folder,
                                  SpoolSummary* summary) {
  absl::StatusOr<SpoolArchive> archive = ArchiveOfSpool(request, folder);
  if (!archive.ok()) return archive.status();
  *summary = archive->summary;
  return std::move(archive->fd);
}

// Looks at all of it and takes nothing.
class Inspector : public NoTaker {
 public:
  explicit Inspector(Progress* progress) : progress_(*progress) {}
  absl::Status Message(const ExportMessage& m) override {
    message_ = m.id;
    return absl::OkStatus();
  }
  absl::Status Envelope(const ExportEnvelope& e) override {
    if (!e.envelope.mda_exec.empty()) ++commands_;
    return CheckImportEnvelope(e.envelope, message_);
  }
  absl::Status EndMessage() override {
    progress_.Step();
    return absl::OkStatus();
  }
  // Envelopes that would run something, or write to a file of its choice.
  uint64_t commands() const { return commands_; }

 private:
  Progress& progress_;
  MessageId message_{};
  uint64_t commands_ = 0;
};

int SayImported(const Importer& importer, const SpoolSummary& spool,
                const Summary& summary) {
  Json object;
  object["envelopes"] = importer.taken();
  object["repeats"] = importer.repeats();
  object["renumbered"] = importer.renumbered();
  object["gone"] = importer.gone();
  object["left-out"] = spool.left_out;
  std::string text =
      absl::StrCat("queue import: ", importer.taken(), " envelopes taken");
  if (importer.repeats() > 0)
    absl::StrAppend(&text, ", ", importer.repeats(), " had come before");
  if (importer.renumbered() > 0)
    absl::StrAppend(&text, ", ", importer.renumbered(),
                    " messages with another id");
  summary.Tell(text, object);
  if (importer.gone() == 0) return 0;
  return Fail(absl::StrCat(
      importer.gone(),
      " envelopes were left out: this store accepted them itself and has sent, "
      "or given, them away since; --again takes them back"));
}

struct ImportWords {
  ImportOptions options;
  bool check = false;  // nothing else
  bool trust = false;
  std::string file;
};

absl::StatusOr<ImportWords> ParseImport(const std::vector<std::string>& words) {
  ImportWords parsed;
  for (const std::string& word : words) {
    if (word == "--same-ids") {
      parsed.options.ids = ImportOptions::Ids::kSame;
    } else if (word == "--renumber") {
      parsed.options.ids = ImportOptions::Ids::kNew;
    } else if (word == "--again") {
      parsed.options.again = true;
    } else if (word == "--check") {
      parsed.check = true;
    } else if (word == "--trust") {
      parsed.trust = true;
    } else if (parsed.file.empty() && !absl::StartsWith(word, "--")) {
      parsed.file = word;
    } else {
      return absl::InvalidArgumentError(absl::StrCat(
          "queue import: \"", word, "\" is not understood: ", kUsage));
    }
  }
  if (parsed.file.empty()) return absl::InvalidArgumentError(kUsage);
  return parsed;
}

int SaySpool(const SpoolSummary& summary) {
  if (summary.delivered > 0)
    Say(absl::StrCat("queue import: ", summary.delivered,
                     " recipients had got their mail already"));
  if (summary.reports > 0)
    Say(absl::StrCat("queue import: ", summary.reports,
                     " reports to senders are left for the other server"));
  return summary.left_out == 0
             ? 0
             : Fail(
                   absl::StrCat(summary.left_out,
                                " things could not be read and were left out"));
}

absl::StatusOr<ArchiveSummary> Inspect(int file, const ImportWords& words) {
  Progress progress("import, looking at it first");
  Inspector inspector(&progress);
  absl::StatusOr<ArchiveSummary> summary = ReadArchive(file, &inspector);
  if (!summary.ok() || words.trust || inspector.commands() == 0) return summary;
  return absl::PermissionDeniedError(absl::StrCat(
      inspector.commands(),
      " envelopes name commands or files, from somebody's aliases and .forward "
      "files, that would be run or written to here: --trust takes them too"));
}

// Puts what `read` gives into the queue, says what became of it; the exit
// status.  `messages`: how many come, for the progress.
int ImportMail(const ImportOptions& options,
               absl::FunctionRef<absl::Status(MailTaker*)> read,
               uint64_t messages, const SpoolSummary& spool,
               const std::string& socket, StoreOpener open,
               const Summary& summary) {
  absl::StatusOr<LinkedQueue> queue =
      OpenQueue(socket, /*read_only=*/false, open);
  if (!queue.ok()) return Fail(queue.status());
  Progress progress("import");
  progress.SetTotal(messages);
  Importer importer(queue->link.get(), options);
  CountedTaker counted(&importer, &progress);
  absl::Status status = read(&counted);
  if (status.ok()) status = importer.Finish();
  progress.Clear();
  if (status.ok()) return SayImported(importer, spool, summary);
  return Fail(absl::StrCat(std::string(status.message()), " (",
                           importer.taken(),
                           " envelopes were taken; what is repeated is "
                           "recognised)"));
}

}  // namespace

int RunImport(const std::vector<std::string>& words, const std::string& socket,
              StoreOpener open, bool json) {
  const Summary told(json, STDOUT_FILENO);
  std::vector<std::string> rest = words;
  const absl::StatusOr<std::optional<SpoolRequest>> spool =
      TakeSpoolRequest(&rest);
  if (!spool.ok()) return Fail(spool.status());
  const absl::StatusOr<ImportWords> parsed = ParseImport(rest);
  if (!parsed.ok()) return Fail(parsed.status());
  // As who asks; the store's owner may not be allowed to.
  SpoolSummary spooled;
  absl::StatusOr<OwnedFd> file =
      spool->has_value() ? OpenSpool(**spool, parsed->file, &spooled)
                         : OpenArchive(parsed->file);
  if (!file.ok()) return Fail(file.status());
  // All of it is looked at before any of it is taken.
  const absl::StatusOr<ArchiveSummary> summary = Inspect(file->get(), *parsed);
  if (!summary.ok()) return Fail(summary.status());
  if (parsed->check) {
    Json object;
    object["messages"] = summary->messages;
    object["envelopes"] = summary->envelopes;
    object["manifest"] = summary->manifest_digest;
    told.Tell(absl::StrCat("queue import: whole: ", summary->messages,
                           " messages, ", summary->envelopes,
                           " envelopes, manifest ", summary->manifest_digest),
              object);
    return 0;
  }
  const int result = ImportMail(
      parsed->options,
      [&](MailTaker* taker) {
        return ReadArchive(file->get(), taker).status();
      },
      summary->messages, spooled, socket, open, told);
  const int left_out = SaySpool(spooled);
  return result == 0 ? left_out : result;
}

}  // namespace holdfast
