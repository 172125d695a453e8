// Opening and making Maildirs, and looking for a file in one.
#ifndef HOLDFAST_STORAGE_MAILBOX_MAILDIR_FOLDER_H_
#define HOLDFAST_STORAGE_MAILBOX_MAILDIR_FOLDER_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/owned_fd.h"

namespace holdfast {

// A Maildir, or a subfolder of one, opened.
struct MaildirFolder {
  std::string path;
  OwnedFd dir, tmp, fresh, cur;  // fresh is new/
};

// Opens `path`, an absolute one, and makes what is missing: parents, itself,
// cur, new, tmp, all 0700.  kInvalidArgument: the path can't be a Maildir's;
// kUnavailable: the system's error.
absl::StatusOr<MaildirFolder> OpenMaildir(const std::string& path);

// What mail.maildir makes of an extension before it looks for `.EXT`: shell
// characters become ':'.  Empty if it can't name a folder.
std::string SubfolderName(absl::string_view extension);

// Whether new/ or cur/ has `name`, with any flags behind it, and exactly
// `bytes` long.  What is found is synced, with its folder.
absl::StatusOr<bool> FindAndSync(const MaildirFolder& folder,
                                 absl::string_view name, uint64_t bytes);

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_MAILBOX_MAILDIR_FOLDER_H_
