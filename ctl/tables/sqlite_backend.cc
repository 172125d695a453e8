#include "ctl/tables/sqlite_backend.h"

#include <sqlite3.h>
#include <sys/stat.h>

#include <map>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "ctl/tables/sql_queries.h"

namespace holdfast {
namespace {

// Steps of SQLite's machine between looks at the clock.
constexpr int kStepsBetween = 10000;

struct CloseStatement {
  void operator()(sqlite3_stmt* statement) const {
    sqlite3_finalize(statement);
  }
};
using Statement = std::unique_ptr<sqlite3_stmt, CloseStatement>;

struct FileIdentity {
  dev_t device = 0;
  ino_t inode = 0;
  bool operator==(const FileIdentity& other) const {
    return device == other.device && inode == other.inode;
  }
};

std::optional<FileIdentity> Identify(const std::string& path) {
  struct stat about;
  if (stat(path.c_str(), &about) != 0) return std::nullopt;
  return FileIdentity{about.st_dev, about.st_ino};
}

int IsOver(void* deadline) {
  return static_cast<const TableDeadline*>(deadline)->Over() ? 1 : 0;
}

class SqliteBackend : public TableBackend {
 public:
  SqliteBackend(std::string path, SqlQueries queries)
      : path_(std::move(path)), queries_(std::move(queries)) {}
  ~SqliteBackend() override { Disconnect(); }

  std::vector<std::string> Services() const override {
    return queries_.Services();
  }
  absl::Status Connect(const TableDeadline& deadline) override;
  void Disconnect() override;
  absl::StatusOr<TableRows> Ask(absl::string_view service,
                                absl::string_view key,
                                const TableDeadline& deadline) override {
    const auto found = asks_.find(std::string(service));
    if (found == asks_.end()) return NoSuchQuery("query", service);
    return Run(found->second.get(), key, deadline);
  }
  absl::StatusOr<TableRows> List(absl::string_view service,
                                 const TableDeadline& deadline) override {
    const auto found = lists_.find(std::string(service));
    if (found == lists_.end()) return NoSuchQuery("fetch", service);
    return Run(found->second.get(), "", deadline);
  }
  TableListLimits ListLimits(absl::string_view service) const override {
    return queries_.ListLimits(service);
  }
  absl::StatusOr<bool> Authenticate(absl::string_view, absl::string_view,
                                    const TableDeadline&) override {
    return absl::UnimplementedError("auth is not configured");
  }

 private:
  using Statements = std::map<std::string, Statement>;  // by service

  // "PATH: WHAT"; `status` is SQLite's.
  absl::Status Failure(int status) const;
  absl::Status Prepare(const std::vector<SqlQuery>& queries, bool with_key,
                       Statements* into);
  absl::StatusOr<TableRows> Run(sqlite3_stmt* statement, absl::string_view key,
                                const TableDeadline& deadline);
  absl::StatusOr<TableRows> ReadRows(sqlite3_stmt* statement);

  const std::string path_;
  const SqlQueries queries_;
  sqlite3* database_ = nullptr;
  FileIdentity opened_;
  Statements asks_;
  Statements lists_;
};

absl::Status SqliteBackend::Failure(int status) const {
  const std::string text =
      absl::StrCat(path_, ": ",
                   database_ != nullptr ? sqlite3_errmsg(database_)
                                        : sqlite3_errstr(status));
  switch (status & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_INTERRUPT:
      return absl::DeadlineExceededError(text);
    // The file is not what it was: another look may help.
    case SQLITE_CANTOPEN:
    case SQLITE_CORRUPT:
    case SQLITE_IOERR:
    case SQLITE_NOTADB:
      return absl::UnavailableError(text);
    default:
      return absl::InternalError(text);
  }
}

absl::Status SqliteBackend::Prepare(const std::vector<SqlQuery>& queries,
                                    bool with_key, Statements* into) {
  for (const SqlQuery& query : queries) {
    sqlite3_stmt* made = nullptr;
    const char* rest = nullptr;
    const int status = sqlite3_prepare_v2(database_, query.word.value.c_str(),
                                          -1, &made, &rest);
    Statement statement(made);
    if (status == SQLITE_ERROR)
      return queries_.Wrong(query, sqlite3_errmsg(database_));
    if (status != SQLITE_OK) return Failure(status);
    if (made == nullptr) return queries_.Wrong(query, "is no statement");
    if (!absl::StripAsciiWhitespace(rest).empty())
      return queries_.Wrong(query, "is more than one statement");
    if (sqlite3_column_count(made) < static_cast<int>(query.columns))
      return queries_.Wrong(
          query, absl::StrCat("must give ", query.columns, " column(s)"));
    if ((sqlite3_bind_parameter_count(made) > 0) != with_key)
      return queries_.Wrong(
          query, with_key ? "has no ? for the key" : "must not have a ?");
    (*into)[query.service] = std::move(statement);
  }
  return absl::OkStatus();
}

absl::Status SqliteBackend::Connect(const TableDeadline& deadline) {
  Disconnect();
  const std::optional<FileIdentity> identity = Identify(path_);
  if (!identity) return Failure(SQLITE_CANTOPEN);
  // A database that was left in the middle of a change is only put right by
  // one who may write; without the right to, SQLite opens it for reading.
  const int status = sqlite3_open_v2(path_.c_str(), &database_,
                                     SQLITE_OPEN_READWRITE, nullptr);
  if (status != SQLITE_OK) return Failure(status);
  opened_ = *identity;
  sqlite3_busy_timeout(database_, deadline.Milliseconds());
  sqlite3_progress_handler(database_, kStepsBetween, IsOver,
                           const_cast<TableDeadline*>(&deadline));
  // Nothing here is to change anything.
  const int readonly =
      sqlite3_exec(database_, "PRAGMA query_only=1", nullptr, nullptr, nullptr);
  absl::Status prepared =
      readonly == SQLITE_OK ? absl::OkStatus() : Failure(readonly);
  if (prepared.ok()) prepared = Prepare(queries_.queries(), true, &asks_);
  if (prepared.ok()) prepared = Prepare(queries_.lists(), false, &lists_);
  sqlite3_progress_handler(database_, 0, nullptr, nullptr);
  return prepared;
}

void SqliteBackend::Disconnect() {
  asks_.clear();
  lists_.clear();
  sqlite3_close(database_);
  database_ = nullptr;
}

absl::StatusOr<TableRows> SqliteBackend::Run(sqlite3_stmt* statement,
                                             absl::string_view key,
                                             const TableDeadline& deadline) {
  const std::optional<FileIdentity> identity = Identify(path_);
  if (!identity || !(*identity == opened_))
    return absl::UnavailableError(absl::StrCat(path_, ": is another file now"));
  sqlite3_busy_timeout(database_, deadline.Milliseconds());
  sqlite3_progress_handler(database_, kStepsBetween, IsOver,
                           const_cast<TableDeadline*>(&deadline));
  int bound = SQLITE_OK;
  for (int i = 1;
       i <= sqlite3_bind_parameter_count(statement) && bound == SQLITE_OK; ++i)
    bound = sqlite3_bind_text(statement, i, key.data(),
                              static_cast<int>(key.size()), SQLITE_TRANSIENT);
  absl::StatusOr<TableRows> rows =
      bound == SQLITE_OK ? ReadRows(statement)
                         : absl::StatusOr<TableRows>(Failure(bound));
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  sqlite3_progress_handler(database_, 0, nullptr, nullptr);
  return rows;
}

absl::StatusOr<TableRows> SqliteBackend::ReadRows(sqlite3_stmt* statement) {
  TableRows rows;
  int status;
  while ((status = sqlite3_step(statement)) == SQLITE_ROW) {
    if (rows.size() == kMaxTableRows)
      return absl::OutOfRangeError("too many rows");
    TableRow row;
    for (int i = 0; i < sqlite3_column_count(statement); ++i) {
      const void* text = sqlite3_column_text(statement, i);
      if (text == nullptr)
        row.push_back(std::nullopt);
      else
        row.push_back(std::string(
            static_cast<const char*>(text),
            static_cast<size_t>(sqlite3_column_bytes(statement, i))));
    }
    rows.push_back(std::move(row));
  }
  if (status != SQLITE_DONE) return Failure(status);
  return rows;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TableBackend>> MakeSqliteBackend(
    TableSettings* settings, const std::string&, const TableClock&) {
  std::string path = settings->TakeText("dbpath", "");
  if (path.empty()) return settings->Lacks("dbpath is missing");
  absl::StatusOr<SqlQueries> queries = SqlQueries::Take(settings);
  if (!queries.ok()) return queries.status();
  return std::make_unique<SqliteBackend>(std::move(path), *std::move(queries));
}

}  // namespace holdfast
