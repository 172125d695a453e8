// What LMDB knows of its file and of who reads it; copies of it.
#include <lmdb.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "storage/lmdb_env.h"

namespace holdfast {
namespace {

// mdb_reader_list() tells lines: process, thread, transaction ("-": none).
int AddLine(const char* line, void* text) {
  absl::StrAppend(static_cast<std::string*>(text), line);
  return 0;
}

}  // namespace

LmdbReaders LmdbEnv::Readers() const {
  std::string text;
  MDB_envinfo info;
  LmdbReaders readers;
  if (mdb_reader_list(env_, AddLine, &text) < 0 ||
      mdb_env_info(env_, &info) != 0)
    return readers;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, ' ', absl::SkipEmpty());
    uint64_t transaction = 0;
    if (words.size() != 3 || !absl::SimpleAtoi(words[2], &transaction))
      continue;
    ++readers.count;
    if (transaction < info.me_last_txnid)
      readers.behind =
          std::max(readers.behind, info.me_last_txnid - transaction);
  }
  return readers;
}

absl::Status LmdbEnv::CopyCompact(int fd) const {
  const int error = mdb_env_copyfd2(env_, fd, MDB_CP_COMPACT);
  if (error == 0) return absl::OkStatus();
  const std::string text = absl::StrCat("queue: copy: ", mdb_strerror(error));
  return error == ENOSPC ? absl::ResourceExhaustedError(text)
                         : absl::InternalError(text);
}

}  // namespace holdfast
