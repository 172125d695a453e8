// queue export [--move] [FILTER] > FILE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "ctl/store/archive_mail.h"
#include "ctl/store/archive_writer.h"
#include "ctl/store/command_io.h"
#include "ctl/store/exporter.h"
#include "storage/owned_fd.h"

namespace holdfast {
namespace {

absl::Status SystemError(absl::string_view what) {
  return absl::InternalError(absl::StrCat(what, ": ", strerror(errno)));
}

// Where mail is moved to must be known to be on the disk, its name as well.
class MoveTarget {
 public:
  absl::Status Open(int fd) {
    struct stat st = {};
    if (fstat(fd, &st) != 0) return SystemError("archive");
    if (!S_ISREG(st.st_mode) || st.st_size != 0)
      return absl::InvalidArgumentError(
          "export --move needs a file, new and empty, that it can sync: queue "
          "export --move > FILE");
    const std::string link = absl::StrCat("/proc/self/fd/", fd);
    char path[4096];
    const ssize_t n = readlink(link.c_str(), path, sizeof path);
    if (n <= 0 || static_cast<size_t>(n) == sizeof path)
      return SystemError(link);
    written_ = OwnedFd(open(link.c_str(), O_RDONLY | O_CLOEXEC));
    if (!written_) return SystemError("archive");
    std::string folder(path, static_cast<size_t>(n));
    folder.resize(folder.rfind('/') + 1);
    folder_ = OwnedFd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    return folder_ ? absl::OkStatus() : SystemError(folder);
  }
  // It says what was meant to be in it.
  absl::Status Verify(const std::string& digest) {
    NoTaker nobody;
    const absl::StatusOr<ArchiveSummary> summary =
        ReadArchive(written_.get(), &nobody);
    if (!summary.ok()) return summary.status();
    return summary->manifest_digest == digest
               ? absl::OkStatus()
               : absl::DataLossError("archive: not what was written");
  }
  absl::Status Sync() {
    return fsync(folder_.get()) == 0 ? absl::OkStatus()
                                     : SystemError("the archive's folder");
  }

 private:
  OwnedFd written_{-1};
  OwnedFd folder_{-1};
};

struct Written {
  uint64_t messages = 0, envelopes = 0, damaged = 0;
  std::string digest;
};

absl::StatusOr<Written> WriteArchive(QueueLink* link, const ExportWish& wish,
                                     int fd, const Summary& summary) {
  ArchiveWriter archive;
  absl::Status status = archive.Open(fd);
  if (!status.ok()) return status;
  Progress progress("export", summary.json());
  ArchiveTaker taker(&archive);
  CountedTaker counted(&taker, &progress);
  ExportReader reader(&counted);
  reader.on_begin = [&](const ExportBegin& begin) {
    progress.SetTotal(begin.messages);
    return archive.Add(std::string(kAboutName), AboutText(begin), false);
  };
  status = link->Export(
      wish, [&](std::string piece) { return reader.Take(piece); },
      [&] { return reader.ended(); });
  if (status.ok()) status = reader.End();
  if (!status.ok()) return status;
  Written written{reader.messages(), reader.envelopes(), reader.damaged(), ""};
  auto digest = archive.Finish(written.messages, written.envelopes);
  if (!digest.ok()) return digest.status();
  written.digest = *std::move(digest);
  const bool must = wish.move;
  if (fsync(fd) != 0 && (must || (errno != EINVAL && errno != EROFS)))
    return SystemError("archive");
  return written;
}

absl::Status DamagedError(const Written& written) {
  return absl::DataLossError(
      absl::StrCat(written.damaged,
                   " envelopes are damaged and were left out: queue check"));
}

int SayWritten(const Written& written, bool moved, const Summary& summary) {
  Json object;
  object["messages"] = written.messages;
  object["envelopes"] = written.envelopes;
  object["manifest"] = written.digest;
  object["damaged"] = written.damaged;
  object["moved"] = moved;
  summary.Tell(
      absl::StrCat("queue export: ", written.messages, " messages, ",
                   written.envelopes, " envelopes", moved ? " moved" : "",
                   ", manifest ", written.digest),
      object);
  return written.damaged == 0 ? 0 : Fail(DamagedError(written));
}

// The archive is whole and on the disk, or the mail stays.
int MoveOut(QueueLink* link, const ExportWish& wish, int fd,
            const Summary& summary) {
  MoveTarget target;
  absl::Status status = target.Open(fd);
  if (!status.ok()) return Fail(status);
  const absl::StatusOr<Written> written = WriteArchive(link, wish, fd, summary);
  status = written.status();
  if (status.ok() && written->damaged > 0) status = DamagedError(*written);
  if (status.ok()) status = target.Verify(written->digest);
  if (status.ok()) status = target.Sync();
  // An archive of mail that is sent from here as well must not be used: it goes
  // before the mail may.
  if (!status.ok() && (ftruncate(fd, 0) != 0 || fsync(fd) != 0))
    Say("smtpctl: the archive is not whole");
  const absl::StatusOr<uint64_t> ended = link->EndMove(status.ok());
  if (!status.ok()) {
    return Fail(absl::StrCat(std::string(status.message()),
                             "; the mail stays in the queue"));
  }
  if (!ended.ok() || *ended != written->envelopes)
    return Fail(absl::StrCat(
        "the archive is whole, but not all of its mail is known to have left "
        "the queue: ",
        ended.ok() ? "some was released"
                   : std::string(ended.status().message()),
        "; remove what `smtpctl queue list 'flag = move'` shows before you "
        "import it"));
  return SayWritten(*written, /*moved=*/true, summary);
}

}  // namespace

int RunExport(const std::vector<std::string>& words, const std::string& socket,
              StoreOpener open, bool json) {
  // The archive is on standard output.
  const Summary summary(json, STDERR_FILENO);
  if (isatty(STDOUT_FILENO) == 1)
    return Fail("an archive is not for a terminal: queue export > FILE");
  ExportWish wish;
  auto first = words.begin();
  if (first != words.end() && *first == "--move") {
    wish.move = true;
    ++first;
  }
  if (first != words.end() && absl::string_view(*first).substr(0, 2) == "--")
    return Fail("queue export [--move] [FILTER] > FILE");
  wish.filter = absl::StrJoin(first, words.end(), " ");
  absl::StatusOr<LinkedQueue> queue =
      OpenQueue(socket, /*read_only=*/!wish.move, open);
  if (!queue.ok()) return Fail(queue.status());
  if (wish.move)
    return MoveOut(queue->link.get(), wish, STDOUT_FILENO, summary);
  const absl::StatusOr<Written> written =
      WriteArchive(queue->link.get(), wish, STDOUT_FILENO, summary);
  return written.ok() ? SayWritten(*written, /*moved=*/false, summary)
                      : Fail(written.status());
}

}  // namespace holdfast
