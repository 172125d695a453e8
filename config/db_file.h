// `db:` tables: the Berkeley DB hash files that makemap(8) writes.
#ifndef HOLDFAST_CONFIG_DB_FILE_H_
#define HOLDFAST_CONFIG_DB_FILE_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "config/table_contents.h"

namespace holdfast {

// All entries of a Berkeley DB hash file (versions 7 to 10 of the format, of
// either byte order, without encryption and duplicates: what libdb 4 to 6
// make).  Keys and values may end in a NUL, as makemap's do; it is not part of
// them.
//
// Not by libdb: that opens by path, as the user who asks, and trusts what it
// reads.  This reads a copy that `parent` has made, so that files only root can
// read work, and nothing in the bytes can do more than be refused.
//
// The error is "PATH: REASON".
absl::StatusOr<std::shared_ptr<const TableContents>> ParseDbFile(
    absl::string_view path, absl::string_view bytes);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_DB_FILE_H_
