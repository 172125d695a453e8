// Certificates and keys: read by parent, which knows no TLS library, checked by
// `smtpd-keys check`, and given to who may see them (P7).
#ifndef HOLDFAST_SERVER_PARENT_TLS_FILES_H_
#define HOLDFAST_SERVER_PARENT_TLS_FILES_H_

#include <sys/types.h>

#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "config/config.h"
#include "server/door/parent_messages.h"

namespace holdfast {

struct TlsFiles {
  std::vector<Start::File> certificates;  // and authorities
  std::vector<Start::File> keys;
  std::set<std::string> for_receive, for_relay;  // paths of certificates
};

// Reads all that `config` names, and the system's authorities where they are
// wanted; if they are wanted perhaps (config/tls_use.h) it is no error that
// there are none.  Certificates and authorities must be
// `owner`'s or root's and at most rwxr-xr-x, keys at most rwxr----- (reference
// part 1, section 8).  What is wrong goes to `messages`, as the reference says
// it; the error is its last line, for "smtpd: ".
absl::Status ReadTlsFiles(const Config& config, uid_t owner, TlsFiles* files,
                          std::vector<std::string>* messages);

// Whether there is anything for CheckTlsFiles() to look at.
bool NeedsTlsCheck(const Config& config);

// Has `program` (smtpd-keys) look at them and waits for it, while it perhaps
// asks for a passphrase; opens what was encrypted.  `start` as a room gets it,
// but for the files.  Each line of `messages` is a thing that is wrong.
absl::Status CheckTlsFiles(const std::string& program, Start start,
                           TlsFiles* files, std::vector<std::string>* messages);

// For Start::tls_files of this room.
std::vector<Start::File> TlsFilesFor(Room room, const TlsFiles& files);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_TLS_FILES_H_
