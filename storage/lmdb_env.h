// The LMDB environment, transactions and cursors, as objects.  No other file
// knows LMDB (with lmdb_env.cc and lmdb_io).
//
// Errors: a transaction remembers its first error and does nothing after it,
// so that code which makes many changes can ask once, at the end.
//   kResourceExhausted  no room: map full, disk full
//   kAborted            a failed sync, or a write that failed otherwise; what
//                       is on the disk is not known, nothing more may be
//                       written through this environment
//   kDataLoss           a damaged page
//   kInternal           anything else
//
// LMDB itself: one write transaction at a time, on the thread that began it;
// a read transaction may be made and used on any one thread (MDB_NOTLS).
// Written without WRITEMAP, NOSYNC, NOMETASYNC (FORMAT.md says why) and without
// NOMEMINIT, which would write left-overs of this process's memory to disk.
#ifndef HOLDFAST_STORAGE_LMDB_ENV_H_
#define HOLDFAST_STORAGE_LMDB_ENV_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/value_sealer.h"

struct MDB_env;
struct MDB_txn;
struct MDB_cursor;

namespace holdfast {

enum class Table : uint8_t {
  kMeta,
  kMessages,
  kBodies,
  kEnvelopes,
  kDestinations,
  kDestinationIds,
  kLanes,
  kHeld,
  kAgenda,
  kDeadlines,
  kClaims,
  kReports,
  kIncoming,
  kGarbage,
  kAside,
  kDoubts,
  kHistory,
  kHistoryIds,
  kImports,
};
inline constexpr int kTableCount = 19;
// From here on they are not in every file: those of an older writer end before.
// One that is not there reads as empty; LmdbTxn::MakeTable() makes it.
inline constexpr int kFirstLaterTable = static_cast<int>(Table::kHistory);
const char* TableName(Table table);

// Whether its rows are sealed where rows are: those that tell who writes to
// whom, or what.
constexpr bool HoldsSealed(Table table) {
  switch (table) {
    case Table::kMessages:
    case Table::kBodies:
    case Table::kEnvelopes:
    case Table::kDestinations:
    case Table::kReports:
    case Table::kAside:
    case Table::kDoubts:
    case Table::kHistory:
      return true;
    default:
      return false;
  }
}

struct LmdbOptions {
  std::string path;  // the file
  uint64_t map_bytes = 0;
  bool read_only = false;
  bool create = false;  // the file and its tables; fails if it is there
};

struct LmdbSpace {
  uint64_t page_bytes = 4096;
  uint64_t map_pages = 0;
  uint64_t last_page = 0;  // highest page number ever used
};

// Read transactions that are open, of any process.
struct LmdbReaders {
  uint64_t count = 0;
  uint64_t behind = 0;  // transactions written since the oldest began
};

class LmdbEnv {
 public:
  static absl::StatusOr<std::unique_ptr<LmdbEnv>> Open(
      const LmdbOptions& options);
  ~LmdbEnv();
  LmdbEnv(const LmdbEnv&) = delete;
  LmdbEnv& operator=(const LmdbEnv&) = delete;

  LmdbSpace Space() const;
  LmdbReaders Readers() const;
  // Writes a copy without free pages; not synced.
  absl::Status CopyCompact(int fd) const;
  // Only while no transaction is open.
  absl::Status SetMapBytes(uint64_t bytes);
  int fd() const;  // of the data file; for fallocate and fstat
  bool HasTable(Table table) const {
    return tables_[static_cast<int>(table)] != kNoTable;
  }
  // Rows of tables that HoldsSealed() are sealed and opened on their way.
  // Before threads use the environment.
  void UseSealer(std::shared_ptr<const ValueSealer> sealer) {
    sealer_ = std::move(sealer);
  }
  const ValueSealer* sealer() const { return sealer_.get(); }

 private:
  friend class LmdbTxn;
  friend class LmdbCursor;
  LmdbEnv() = default;

  absl::Status OpenTables(bool create);
  // Nullopt: the bytes are what they are.
  std::optional<std::string> Open(Table table, absl::string_view key,
                                  absl::string_view bytes) const;

  static constexpr unsigned kNoTable = ~0u;

  MDB_env* env_ = nullptr;
  unsigned tables_[kTableCount] = {};
  std::shared_ptr<const ValueSealer> sealer_;
};

// A row's value: bytes of the map, or what they were before they were sealed.
class LmdbValue {
 public:
  explicit LmdbValue(absl::string_view bytes) : bytes_(bytes) {}
  explicit LmdbValue(std::string opened) : opened_(std::move(opened)) {}

  // Valid as long as this object and, of bytes of the map, until the next
  // change.
  absl::string_view view() const {
    return opened_.has_value() ? absl::string_view(*opened_) : bytes_;
  }
  operator absl::string_view() const { return view(); }
  explicit operator std::string() const { return std::string(view()); }

 private:
  absl::string_view bytes_;
  std::optional<std::string> opened_;
};

class LmdbTxn {
 public:
  enum Mode { kRead, kWrite };

  LmdbTxn(LmdbEnv* env, Mode mode);
  ~LmdbTxn();  // aborts what was not committed
  LmdbTxn(const LmdbTxn&) = delete;
  LmdbTxn& operator=(const LmdbTxn&) = delete;

  const absl::Status& status() const { return status_; }
  bool ok() const { return status_.ok(); }

  // The value; nullopt: none (or an error).  A sealed one that does not open
  // is what it is, and no record.
  std::optional<LmdbValue> Get(Table table, absl::string_view key);
  // As it is on disk, valid until the next change.
  std::optional<absl::string_view> GetRaw(Table table, absl::string_view key);
  bool Has(Table table, absl::string_view key) {
    return GetRaw(table, key).has_value();
  }
  const ValueSealer* sealer() const { return env_->sealer(); }
  uint64_t Rows(Table table);
  // Pages that it takes up, as of this transaction.
  uint64_t Pages(Table table);
  // Pages that the tables, LMDB's own and the two meta pages take up.
  uint64_t UsedPages();

  // Makes a table that is not in the file; there once this is committed.  Only
  // while no other transaction is open.
  void MakeTable(Table table);
  // Inserts or overwrites.
  void Put(Table table, absl::string_view key, absl::string_view value);
  // Whether there was one.
  bool Delete(Table table, absl::string_view key);

  // Gives the transaction up now.
  void End();
  // Commits and syncs.  The transaction is over, whatever the result.
  absl::Status Commit();

 private:
  friend class LmdbCursor;
  void Fail(int error);
  // LMDB's handle; nullopt: no such table.
  std::optional<unsigned> Handle(Table table) const;
  void AddPages(unsigned handle, uint64_t* pages);
  void ForgetMade();

  LmdbEnv* env_;
  MDB_txn* txn_ = nullptr;
  std::vector<Table> made_;  // in this transaction
  absl::Status status_;
};

// A place in a table.  Must go before its transaction ends.  Used as
//   for (LmdbCursor c(&txn, Table::kX, from); c.valid(); c.Next()) ...
class LmdbCursor {
 public:
  // At the first row whose key is not before `from`.
  LmdbCursor(LmdbTxn* txn, Table table, absl::string_view from = {});
  ~LmdbCursor();
  LmdbCursor(const LmdbCursor&) = delete;
  LmdbCursor& operator=(const LmdbCursor&) = delete;

  bool valid() const { return valid_; }
  absl::string_view key() const { return key_; }
  // Opened, if it was sealed; valid until the cursor moves.
  absl::string_view value() const;
  // As it is on disk.
  absl::string_view raw_value() const { return value_; }

  void Seek(absl::string_view from);
  void SeekLast();
  void Next();
  void Previous();
  // Deletes this row and goes to the next one.
  void DeleteAndNext();

 private:
  void Move(int operation);

  LmdbTxn* txn_;
  MDB_cursor* cursor_ = nullptr;
  const Table table_;
  bool valid_ = false;
  absl::string_view key_, value_;
  // Of `value_`, once it was asked for.
  mutable std::optional<LmdbValue> opened_;
};

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_LMDB_ENV_H_
