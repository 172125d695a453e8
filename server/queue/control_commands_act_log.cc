// queue log [--json]: what operators did to the queue.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/queue/act_log.h"
#include "server/queue/control_commands_queue_act.h"
#include "server/queue/control_read.h"
#include "storage/owned_fd.h"

namespace holdfast {
namespace {

// Read at a time; as JSON it becomes not three times as much.
constexpr size_t kPiece = kMaxControlText / 4;

// Reads on the reader's thread, whole lines at a time, of files that are opened
// at the start: the log may be turned over meanwhile.
class ActLogCommand : public ControlCommand,
                      public std::enable_shared_from_this<ActLogCommand> {
 public:
  ActLogCommand(QueueServices* services, ControlOutput* output, bool json)
      : services_(services), output_(output), json_(json) {}

  void OnCredit() override {
    ReadForCommand(
        services_, weak_from_this(),
        [files = std::exchange(files_, nullptr),
         path = ActLogPath(services_->config())](const QueueView&) mutable {
          if (files == nullptr) files = Open(path);
          Piece piece;
          piece.status = Read(files.get(), &piece.text);
          piece.files = std::move(files);
          return piece;
        },
        [](ActLogCommand& self, absl::StatusOr<Piece> piece) {
          self.OnPiece(std::move(piece));
        });
  }

 private:
  struct Files {
    std::vector<OwnedFd> open;  // the older first
    size_t at = 0;
    off_t offset = 0;
    absl::Status status;
  };
  struct Piece {
    std::shared_ptr<Files> files;
    std::string text;  // empty: there is no more
    absl::Status status;
  };

  static std::shared_ptr<Files> Open(const std::string& path) {
    auto files = std::make_shared<Files>();
    for (const std::string& name : {absl::StrCat(path, ".1"), path}) {
      OwnedFd fd(open(name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
      if (fd)
        files->open.push_back(std::move(fd));
      else if (errno != ENOENT)
        files->status =
            absl::InternalError(absl::StrCat(name, ": ", strerror(errno)));
    }
    return files;
  }

  static absl::Status Read(Files* files, std::string* text) {
    if (!files->status.ok()) return files->status;
    for (; files->at < files->open.size(); ++files->at, files->offset = 0) {
      text->resize(kPiece);
      const ssize_t n = pread(files->open[files->at].get(), text->data(),
                              text->size(), files->offset);
      if (n < 0) return absl::InternalError(strerror(errno));
      text->resize(static_cast<size_t>(n));
      // The rest of a line is written while we read.
      text->resize(text->rfind('\n') + 1);
      files->offset += static_cast<off_t>(text->size());
      if (!text->empty()) return absl::OkStatus();
    }
    return absl::OkStatus();
  }

  void OnPiece(absl::StatusOr<Piece> piece) {
    ControlDone done;
    const absl::Status status = piece.ok() ? piece->status : piece.status();
    if (!status.ok()) {
      done.ok = false;
      done.error = std::string(status.message());
    } else if (!piece->text.empty()) {
      files_ = std::move(piece->files);
      return output_->Text(json_ ? AsJson(piece->text)
                                 : std::move(piece->text));
    }
    output_->Done(done);
  }

  static std::string AsJson(const std::string& lines) {
    std::string json;
    for (const absl::string_view line :
         absl::StrSplit(lines, '\n', absl::SkipEmpty()))
      json += JsonLine(ActLineJson(line));
    return json;
  }

  QueueServices* const services_;
  ControlOutput* const output_;
  const bool json_;
  std::shared_ptr<Files> files_;
};

}  // namespace

std::shared_ptr<ControlCommand> MakeActLogCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output) {
  if (words.size() < 2 || words[0] != "queue" || words[1] != "log")
    return nullptr;
  const bool json = words.size() == 3 && words[2] == "--json";
  if (words.size() > 2 && !json)
    return MakeRefusal(output, "queue log [--json]");
  return std::make_shared<ActLogCommand>(services, output, json);
}

}  // namespace holdfast
