#include "server/parent/resolver_files.h"

#include <utility>

#include "server/log/log.h"

namespace holdfast {
namespace {

// A file that can't be read now keeps what was known of it: it is being
// replaced, and an empty resolv.conf would mean this machine.
void ReadInto(const ResolverFileKeeper::Reader& read, ResolverFiles* files) {
  for (const auto& [path, text] :
       {std::pair(kResolvConfPath, &files->resolv_conf),
        std::pair(kHostsPath, &files->hosts)}) {
    absl::StatusOr<std::string> contents = read(path);
    if (contents.ok()) *text = *std::move(contents);
  }
}

}  // namespace

ResolverFileKeeper::ResolverFileKeeper(EventLoop* loop,
                                       BackgroundWork* background, Reader read,
                                       Changed changed)
    : loop_(loop),
      background_(background),
      read_(std::move(read)),
      changed_(std::move(changed)) {}

const ResolverFiles& ResolverFileKeeper::Read() {
  ReadInto(read_, &files_);
  return files_;
}

void ResolverFileKeeper::Begin() {
  poll_ = loop_->RunAfter(kResolverFilesInterval, [this] {
    Look();
    Begin();
  });
}

void ResolverFileKeeper::Look() {
  // /etc may hang; one reading at a time.
  if (background_->waiting() > 0) return;
  background_->Run([this, read = read_,
                    files = files_]() mutable -> BackgroundWork::Finish {
    ReadInto(read, &files);
    return
        [this, files = std::move(files)]() mutable { Adopt(std::move(files)); };
  });
}

void ResolverFileKeeper::Adopt(ResolverFiles now) {
  if (now.resolv_conf == files_.resolv_conf && now.hosts == files_.hosts)
    return;
  files_ = std::move(now);
  LogInfo("info: resolver configuration has changed");
  changed_(files_);
}

}  // namespace holdfast
