#include "storage/lmdb_env.h"

#include <fcntl.h>
#include <lmdb.h>
#include <sys/stat.h>

#include "absl/strings/str_cat.h"
#include "storage/lmdb_io.h"

namespace holdfast {
namespace {

// Views of the owner's threads; offline tools come on top.
constexpr unsigned kMaxReaders = 126;

// LMDB's own table of free pages.
constexpr MDB_dbi kFreeTable = 0;
constexpr MDB_dbi kMainTable = 1;

MDB_val ToVal(absl::string_view bytes) {
  return {bytes.size(), const_cast<char*>(bytes.data())};
}
absl::string_view ToView(const MDB_val& val) {
  return {static_cast<const char*>(val.mv_data), val.mv_size};
}

absl::Status ToStatus(int error) {
  const std::string text = absl::StrCat("queue: ", mdb_strerror(error));
  switch (error) {
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(text);
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_CURSOR_FULL:
    case MDB_BAD_VALSIZE:
    case MDB_INCOMPATIBLE:
      return absl::DataLossError(text);
    case MDB_VERSION_MISMATCH:
      return absl::FailedPreconditionError(text);
    case ENOENT:
      return absl::NotFoundError(text);
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(text);
    default:
      return absl::InternalError(text);
  }
}

}  // namespace

const char* TableName(Table table) {
  static const char* const kNames[kTableCount] = {
      "meta",         "messages",        "bodies", "envelopes",
      "destinations", "destination_ids", "lanes",  "held",
      "agenda",       "deadlines",       "claims", "reports",
      "incoming",     "garbage",         "aside",  "doubts",
      "history",      "history_ids",     "imports"};
  return kNames[static_cast<int>(table)];
}

absl::StatusOr<std::unique_ptr<LmdbEnv>> LmdbEnv::Open(
    const LmdbOptions& options) {
  std::unique_ptr<LmdbEnv> env(new LmdbEnv);
  if (const int error = mdb_env_create(&env->env_)) return ToStatus(error);
  mdb_env_set_maxdbs(env->env_, kTableCount);
  mdb_env_set_maxreaders(env->env_, kMaxReaders);
  if (options.map_bytes > 0) {
    const int error = mdb_env_set_mapsize(env->env_, options.map_bytes);
    if (error != 0) return ToStatus(error);
  }
  unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD;
  if (options.read_only) flags |= MDB_RDONLY;
  const int error = mdb_env_open(env->env_, options.path.c_str(), flags, 0600);
  if (error != 0) return ToStatus(error);
  // An environment that ends before its last page would be a bus error later.
  struct stat file;
  const LmdbSpace space = env->Space();
  if (fstat(env->fd(), &file) != 0) return ToStatus(errno);
  if (static_cast<uint64_t>(file.st_size) <
      (space.last_page + 1) * space.page_bytes) {
    return absl::DataLossError(
        absl::StrCat("queue: ", options.path, " is shorter than its pages"));
  }
  absl::Status status = env->OpenTables(options.create);
  if (!status.ok()) return status;
  return env;
}

absl::Status LmdbEnv::OpenTables(bool create) {
  MDB_txn* txn;
  if (int error = mdb_txn_begin(env_, nullptr, create ? 0 : MDB_RDONLY, &txn))
    return ToStatus(error);
  for (int i = 0; i < kTableCount; ++i) {
    const int error = mdb_dbi_open(txn, TableName(Table(i)),
                                   create ? MDB_CREATE : 0, &tables_[i]);
    if (error == MDB_NOTFOUND && i >= kFirstLaterTable) {
      tables_[i] = kNoTable;
      continue;
    }
    if (error != 0) {
      mdb_txn_abort(txn);
      if (error == MDB_NOTFOUND) {
        return absl::DataLossError(
            absl::StrCat("queue: no table ", TableName(Table(i))));
      }
      return ToStatus(error);
    }
  }
  // Handles outlive only a committed transaction.
  if (int error = mdb_txn_commit(txn)) return ToStatus(error);
  return absl::OkStatus();
}

LmdbEnv::~LmdbEnv() {
  if (env_ != nullptr) mdb_env_close(env_);
}

LmdbSpace LmdbEnv::Space() const {
  MDB_envinfo info;
  MDB_stat stat;
  mdb_env_info(env_, &info);
  mdb_env_stat(env_, &stat);
  LmdbSpace space;
  space.page_bytes = stat.ms_psize;
  space.map_pages = info.me_mapsize / stat.ms_psize;
  space.last_page = info.me_last_pgno;
  return space;
}

absl::Status LmdbEnv::SetMapBytes(uint64_t bytes) {
  const int error = mdb_env_set_mapsize(env_, bytes);
  return error == 0 ? absl::OkStatus() : ToStatus(error);
}

std::optional<std::string> LmdbEnv::Open(Table table, absl::string_view key,
                                         absl::string_view bytes) const {
  if (sealer_ == nullptr || !HoldsSealed(table)) return std::nullopt;
  std::string row;
  if (!IsSealed(bytes)) {
    // Somebody has put it there who has no key: it is no record.
    if (!sealer_->allows_plain()) return row;
    return std::nullopt;
  }
  if (sealer_->Open(static_cast<uint8_t>(table), key, bytes, &row)) return row;
  return std::nullopt;
}

int LmdbEnv::fd() const {
  mdb_filehandle_t fd = -1;
  mdb_env_get_fd(env_, &fd);
  return fd;
}

// ---- LmdbTxn

LmdbTxn::LmdbTxn(LmdbEnv* env, Mode mode) : env_(env) {
  const int error =
      mdb_txn_begin(env->env_, nullptr, mode == kRead ? MDB_RDONLY : 0, &txn_);
  if (error != 0) {
    txn_ = nullptr;
    status_ = ToStatus(error);
  }
}

LmdbTxn::~LmdbTxn() { End(); }

void LmdbTxn::End() {
  if (txn_ != nullptr) mdb_txn_abort(txn_);
  txn_ = nullptr;
  ForgetMade();
  if (status_.ok())
    status_ = absl::FailedPreconditionError("the transaction has ended");
}

void LmdbTxn::Fail(int error) {
  if (status_.ok()) status_ = ToStatus(error);
}

std::optional<unsigned> LmdbTxn::Handle(Table table) const {
  const unsigned handle = env_->tables_[static_cast<int>(table)];
  if (handle == LmdbEnv::kNoTable) return std::nullopt;
  return handle;
}

std::optional<LmdbValue> LmdbTxn::Get(Table table, absl::string_view key) {
  const auto bytes = GetRaw(table, key);
  if (!bytes.has_value()) return std::nullopt;
  auto opened = env_->Open(table, key, *bytes);
  return opened.has_value() ? LmdbValue(*std::move(opened)) : LmdbValue(*bytes);
}

std::optional<absl::string_view> LmdbTxn::GetRaw(Table table,
                                                 absl::string_view key) {
  const auto handle = Handle(table);
  if (!ok() || !handle.has_value()) return std::nullopt;
  MDB_val k = ToVal(key), v;
  const int error = mdb_get(txn_, *handle, &k, &v);
  if (error == 0) return ToView(v);
  if (error != MDB_NOTFOUND) Fail(error);
  return std::nullopt;
}

uint64_t LmdbTxn::Rows(Table table) {
  const auto handle = Handle(table);
  if (!ok() || !handle.has_value()) return 0;
  MDB_stat stat;
  const int error = mdb_stat(txn_, *handle, &stat);
  if (error != 0) {
    Fail(error);
    return 0;
  }
  return stat.ms_entries;
}

void LmdbTxn::AddPages(unsigned handle, uint64_t* pages) {
  MDB_stat stat;
  if (!ok()) return;
  if (const int error = mdb_stat(txn_, handle, &stat)) return Fail(error);
  *pages += stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
}

uint64_t LmdbTxn::Pages(Table table) {
  uint64_t pages = 0;
  if (const auto handle = Handle(table)) AddPages(*handle, &pages);
  return pages;
}

uint64_t LmdbTxn::UsedPages() {
  uint64_t pages = 2;
  AddPages(kFreeTable, &pages);
  AddPages(kMainTable, &pages);
  for (int i = 0; i < kTableCount; ++i) pages += Pages(Table(i));
  return pages;
}

void LmdbTxn::MakeTable(Table table) {
  if (!ok() || Handle(table).has_value()) return;
  unsigned* const handle = &env_->tables_[static_cast<int>(table)];
  const int error = mdb_dbi_open(txn_, TableName(table), MDB_CREATE, handle);
  made_.push_back(table);
  if (error != 0) Fail(error);
}

// Handles outlive only a committed transaction.
void LmdbTxn::ForgetMade() {
  for (const Table table : made_)
    env_->tables_[static_cast<int>(table)] = LmdbEnv::kNoTable;
  made_.clear();
}

void LmdbTxn::Put(Table table, absl::string_view key, absl::string_view value) {
  if (!ok()) return;
  const auto handle = Handle(table);
  if (!handle.has_value()) return Fail(MDB_BAD_DBI);
  const ValueSealer* const sealer = env_->sealer();
  std::string sealed;
  if (sealer != nullptr && HoldsSealed(table)) {
    sealed = sealer->Seal(static_cast<uint8_t>(table), key, value);
    value = sealed;
  }
  MDB_val k = ToVal(key), v = ToVal(value);
  const int error = mdb_put(txn_, *handle, &k, &v, 0);
  if (error != 0) Fail(error);
}

bool LmdbTxn::Delete(Table table, absl::string_view key) {
  const auto handle = Handle(table);
  if (!ok() || !handle.has_value()) return false;
  MDB_val k = ToVal(key);
  const int error = mdb_del(txn_, *handle, &k, nullptr);
  if (error != 0 && error != MDB_NOTFOUND) Fail(error);
  return error == 0;
}

absl::Status LmdbTxn::Commit() {
  if (!ok()) {
    End();
    return status_;
  }
  IoWatch watch;
  const int error = mdb_txn_commit(txn_);
  txn_ = nullptr;
  if (error == 0) {
    made_.clear();
    End();
    return absl::OkStatus();
  }
  ForgetMade();
  const IoFailure* const failure = watch.failure();
  if (failure == nullptr) {
    // No call failed: it is LMDB's own finding, before anything was written.
    // Unless calls are not seen at all, which leaves only the worst to assume.
    status_ = ToStatus(error);
    if (error > 0)
      status_ = absl::AbortedError(
          absl::StrCat("queue: commit failed: ", mdb_strerror(error)));
  } else if (failure->NoRoom()) {
    status_ = absl::ResourceExhaustedError("queue: no room on the disk");
  } else {
    status_ = absl::AbortedError(absl::StrCat(
        "queue: ", failure->call == IoCall::kSync ? "sync" : "write",
        " failed: ", mdb_strerror(failure->error == 0 ? EIO : failure->error)));
  }
  return status_;
}

// ---- LmdbCursor

LmdbCursor::LmdbCursor(LmdbTxn* txn, Table table, absl::string_view from)
    : txn_(txn), table_(table) {
  const auto handle = txn->Handle(table);
  if (!txn->ok() || !handle.has_value()) return;
  const int error = mdb_cursor_open(txn->txn_, *handle, &cursor_);
  if (error != 0) {
    cursor_ = nullptr;
    txn->Fail(error);
    return;
  }
  Seek(from);
}

LmdbCursor::~LmdbCursor() {
  if (cursor_ != nullptr) mdb_cursor_close(cursor_);
}

absl::string_view LmdbCursor::value() const {
  if (!opened_.has_value()) {
    auto opened = txn_->env_->Open(table_, key_, value_);
    opened_ =
        opened.has_value() ? LmdbValue(*std::move(opened)) : LmdbValue(value_);
  }
  return opened_->view();
}

void LmdbCursor::Move(int operation) {
  valid_ = false;
  opened_.reset();
  if (cursor_ == nullptr || !txn_->ok()) return;
  MDB_val k = ToVal(key_), v;
  const int error =
      mdb_cursor_get(cursor_, &k, &v, static_cast<MDB_cursor_op>(operation));
  if (error == 0) {
    valid_ = true;
    key_ = ToView(k);
    value_ = ToView(v);
  } else if (error != MDB_NOTFOUND) {
    txn_->Fail(error);
  }
}

void LmdbCursor::Seek(absl::string_view from) {
  key_ = from;
  Move(from.empty() ? MDB_FIRST : MDB_SET_RANGE);
}

void LmdbCursor::SeekLast() { Move(MDB_LAST); }
void LmdbCursor::Next() { Move(MDB_NEXT); }
void LmdbCursor::Previous() { Move(MDB_PREV); }

void LmdbCursor::DeleteAndNext() {
  if (!valid_ || !txn_->ok()) return;
  const int error = mdb_cursor_del(cursor_, 0);
  if (error != 0) {
    valid_ = false;
    txn_->Fail(error);
    return;
  }
  // LMDB leaves the cursor before the row that took the deleted one's place.
  Move(MDB_NEXT);
}

}  // namespace holdfast
