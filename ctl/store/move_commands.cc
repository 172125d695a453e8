#include "ctl/store/move_commands.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "ctl/control/whole_io.h"
#include "ctl/store/archive_mail.h"
#include "ctl/store/exporter.h"
#include "ctl/store/importer.h"
#include "ctl/store/progress.h"
#include "ctl/store/queue_link.h"
#include "ctl/store/scratch_file.h"

namespace holdfast {
namespace {

using Words = std::vector<std::string>;

int Fail(absl::string_view text) {
  WriteAll(STDERR_FILENO, absl::StrCat("smtpctl: ", text, "\n"));
  return 1;
}
int Fail(const absl::Status& status) {
  return Fail(absl::string_view(status.message()));
}
void Say(absl::string_view text) {
  WriteAll(STDERR_FILENO, absl::StrCat(text, "\n"));
}

// The daemon's queue or, without a daemon, the store's.
struct Queue {
  std::unique_ptr<QueueStore> store;
  std::unique_ptr<QueueLink> link;
};

absl::StatusOr<Queue> OpenQueue(const std::string& socket, bool read_only,
                                StoreOpener open) {
  Queue queue;
  absl::StatusOr<std::unique_ptr<QueueLink>> link = ConnectQueue(socket);
  if (link.ok()) {
    queue.link = *std::move(link);
    return queue;
  }
  if (!absl::IsUnavailable(link.status())) return link.status();
  absl::StatusOr<std::unique_ptr<QueueStore>> store = open(read_only);
  if (!store.ok()) return store.status();
  queue.store = *std::move(store);
  queue.link = LinkStore(queue.store.get());
  return queue;
}

// Passes mail on and counts it.
class Counted : public MailTaker {
 public:
  Counted(MailTaker* next, Progress* progress)
      : next_(*next), progress_(*progress) {}
  absl::Status Message(const ExportMessage& m) override {
    return next_.Message(m);
  }
  absl::Status Envelope(const ExportEnvelope& e) override {
    return next_.Envelope(e);
  }
  absl::Status Body(absl::string_view bytes) override {
    return next_.Body(bytes);
  }
  absl::Status EndMessage() override {
    progress_.Step();
    return next_.EndMessage();
  }

 private:
  MailTaker& next_;
  Progress& progress_;
};

// ---- export [FILTER]

absl::Status Export(QueueLink* link, const std::string& filter, int fd) {
  ArchiveWriter archive;
  absl::Status status = archive.Open(fd);
  if (!status.ok()) return status;
  Progress progress("export");
  ArchiveTaker taker(&archive);
  Counted counted(&taker, &progress);
  ExportReader reader(&counted);
  reader.on_begin = [&](const ExportBegin& begin) {
    progress.SetTotal(begin.messages);
    return archive.Add(std::string(kAboutName), AboutText(begin), false);
  };
  status = link->Export(filter,
                        [&](std::string piece) { return reader.Take(piece); });
  if (status.ok()) status = reader.End();
  if (!status.ok()) return status;
  const absl::StatusOr<std::string> digest =
      archive.Finish(reader.messages(), reader.envelopes());
  if (!digest.ok()) return digest.status();
  if (fsync(fd) != 0 && errno != EINVAL && errno != EROFS)
    return absl::InternalError(absl::StrCat("archive: ", strerror(errno)));
  progress.Clear();
  Say(absl::StrCat("queue export: ", reader.messages(), " messages, ",
                   reader.envelopes(), " envelopes, manifest ", *digest));
  if (reader.damaged() == 0) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat(reader.damaged(),
                   " envelopes are damaged and were left out: queue check"));
}

int RunExport(const Words& words, const std::string& socket, StoreOpener open) {
  if (isatty(STDOUT_FILENO) == 1)
    return Fail("an archive is not for a terminal: queue export > FILE");
  absl::StatusOr<Queue> queue = OpenQueue(socket, /*read_only=*/true, open);
  if (!queue.ok()) return Fail(queue.status());
  const std::string filter = absl::StrJoin(words.begin() + 2, words.end(), " ");
  const absl::Status status = Export(queue->link.get(), filter, STDOUT_FILENO);
  return status.ok() ? 0 : Fail(status);
}

// ---- import [--same-ids|--renumber] [--again] FILE

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

int SayImported(const Importer& importer) {
  std::string text =
      absl::StrCat("queue import: ", importer.taken(), " envelopes taken");
  if (importer.repeats() > 0)
    absl::StrAppend(&text, ", ", importer.repeats(), " had come before");
  if (importer.renumbered() > 0)
    absl::StrAppend(&text, ", ", importer.renumbered(),
                    " messages with another id");
  Say(text);
  if (importer.gone() == 0) return 0;
  return Fail(absl::StrCat(
      importer.gone(),
      " envelopes were left out: this store accepted them itself and has sent, "
      "or given, them away since; --again takes them back"));
}

struct ImportWords {
  ImportOptions options;
  std::string file;
};

absl::StatusOr<ImportWords> ParseImport(const Words& words) {
  ImportWords parsed;
  for (size_t i = 2; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--same-ids") {
      parsed.options.ids = ImportOptions::Ids::kSame;
    } else if (word == "--renumber") {
      parsed.options.ids = ImportOptions::Ids::kNew;
    } else if (word == "--again") {
      parsed.options.again = true;
    } else if (parsed.file.empty() && !absl::StartsWith(word, "--")) {
      parsed.file = word;
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("queue import: \"", word, "\" is not understood"));
    }
  }
  if (parsed.file.empty())
    return absl::InvalidArgumentError(
        "queue import [--same-ids|--renumber] [--again] FILE");
  return parsed;
}

int RunImport(const Words& words, const std::string& socket, StoreOpener open) {
  const absl::StatusOr<ImportWords> parsed = ParseImport(words);
  if (!parsed.ok()) return Fail(parsed.status());
  // As who asks; the store's owner may not be allowed to.
  absl::StatusOr<OwnedFd> file = OpenArchive(parsed->file);
  if (!file.ok()) return Fail(file.status());
  // All of it is looked at before any of it is taken.
  NoTaker nobody;
  absl::StatusOr<ArchiveSummary> summary = ReadArchive(file->get(), &nobody);
  if (!summary.ok()) return Fail(summary.status());
  absl::StatusOr<Queue> queue = OpenQueue(socket, /*read_only=*/false, open);
  if (!queue.ok()) return Fail(queue.status());
  Progress progress("import");
  progress.SetTotal(summary->messages);
  Importer importer(queue->link.get(), parsed->options);
  Counted counted(&importer, &progress);
  absl::Status status = ReadArchive(file->get(), &counted).status();
  if (status.ok()) status = importer.Finish();
  progress.Clear();
  if (!status.ok()) return Fail(status);
  return SayImported(importer);
}

}  // namespace

bool IsMoveCommand(const Words& words) {
  return words.size() >= 2 && words[0] == "queue" &&
         (words[1] == "export" || words[1] == "import");
}

int RunMoveCommand(const Words& words, const std::string& socket,
                   StoreOpener open) {
  // Mail goes first.
  if (nice(19) == -1) errno = 0;
  return words[1] == "export" ? RunExport(words, socket, open)
                              : RunImport(words, socket, open);
}

}  // namespace holdfast
