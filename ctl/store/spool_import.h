// queue import --from opensmtpd|postfix DIR: another mail server's spool
// becomes an archive, in a file without a name, which is imported like any
// other.
#ifndef HOLDFAST_CTL_STORE_SPOOL_IMPORT_H_
#define HOLDFAST_CTL_STORE_SPOOL_IMPORT_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "ctl/spool/spool_reader.h"
#include "storage/owned_fd.h"

namespace holdfast {

struct SpoolRequest {
  enum class Kind { kOpensmtpd, kPostfix } kind = Kind::kOpensmtpd;
  std::string action;
  std::string key_file;  // "-": standard input; empty: none
  absl::Duration ttl;
};

// How long mail lives if nobody says so: what each server has by default.
inline constexpr absl::Duration kOpensmtpdTtl = absl::Hours(4 * 24);
inline constexpr absl::Duration kPostfixTtl = absl::Hours(5 * 24);

// Takes `--from KIND [--action NAME] [--ttl DELAY] [--key FILE|-]` out of the
// words of a command.  nullopt: no --from is there.  kInvalidArgument.
absl::StatusOr<std::optional<SpoolRequest>> TakeSpoolRequest(
    std::vector<std::string>* words);

struct SpoolArchive {
  OwnedFd fd;
  SpoolSummary summary;
};
// kNotFound, kFailedPrecondition, kInvalidArgument (the key), kInternal.
absl::StatusOr<SpoolArchive> ArchiveOfSpool(const SpoolRequest& request,
                                            const std::string& folder);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_STORE_SPOOL_IMPORT_H_
