#include "ctl/tables/mysql_backend.h"

#include <mariadb/errmsg.h>
#include <mariadb/mysql.h>
#include <mariadb/mysqld_error.h>
#include <sys/socket.h>

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ctl/tables/sql_queries.h"

namespace holdfast {
namespace {

// Octets of one column.
constexpr unsigned long kMaxColumn = 16 << 10;
// Errors of the client library.
constexpr unsigned kFirstClientError = 2000;
constexpr unsigned kLastClientError = 2999;
// Of MySQL's servers, which MariaDB's headers don't name.
constexpr unsigned kMysqlQueryTimeout = 3024;

struct MysqlServer {
  std::string host;
  std::string socket;
  std::string username;
  std::string password;
  std::string database;
  std::string ca_file;
  unsigned port = 0;
};

struct CloseStatement {
  void operator()(MYSQL_STMT* statement) const { mysql_stmt_close(statement); }
};
using Statement = std::unique_ptr<MYSQL_STMT, CloseStatement>;

const char* OrNull(const std::string& text) {
  return text.empty() ? nullptr : text.c_str();
}

absl::Status ToStatus(unsigned number, const char* text) {
  switch (number) {
    case ER_SERVER_SHUTDOWN:
    case ER_CONNECTION_KILLED:
    case ER_UNKNOWN_STMT_HANDLER:
    case ER_NORMAL_SHUTDOWN:
      return absl::UnavailableError(text);
    case ER_STATEMENT_TIMEOUT:
    case ER_QUERY_INTERRUPTED:
    case kMysqlQueryTimeout:
      return absl::DeadlineExceededError(text);
    default:
      break;
  }
  if (number >= kFirstClientError && number <= kLastClientError)
    return absl::UnavailableError(text);
  return absl::InternalError(text);
}

class MysqlBackend : public TableBackend {
 public:
  MysqlBackend(MysqlServer server, SqlQueries queries)
      : server_(std::move(server)), queries_(std::move(queries)) {}
  ~MysqlBackend() override { Disconnect(); }

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

  void SetOptions(const TableDeadline& deadline);
  void LimitStatements(const TableDeadline& deadline);
  absl::Status Prepare(const std::vector<SqlQuery>& queries, bool with_key,
                       const TableDeadline& deadline, Statements* into);
  absl::StatusOr<TableRows> Run(MYSQL_STMT* statement, absl::string_view key,
                                const TableDeadline& deadline);
  absl::StatusOr<TableRows> ReadRows(MYSQL_STMT* statement,
                                     const TableDeadline& deadline);

  const MysqlServer server_;
  const SqlQueries queries_;
  MYSQL* connection_ = nullptr;
  Statements asks_;
  Statements lists_;
};

// The library's waits have a time each.  Looked at before each, the deadline
// is passed by no more than one of them.
absl::Status TooLate() {
  return absl::DeadlineExceededError("the database does not answer in time");
}

absl::Status Failure(MYSQL_STMT* statement) {
  return ToStatus(mysql_stmt_errno(statement), mysql_stmt_error(statement));
}

void MysqlBackend::SetOptions(const TableDeadline& deadline) {
  // Whole seconds; connecting has what is left, each later wait the whole.
  const unsigned left = static_cast<unsigned>(
      absl::ToInt64Seconds(absl::Ceil(deadline.Left(), absl::Seconds(1))));
  const unsigned whole =
      static_cast<unsigned>(absl::ToInt64Seconds(deadline.Limit()));
  mysql_options(connection_, MYSQL_OPT_CONNECT_TIMEOUT, &left);
  mysql_options(connection_, MYSQL_OPT_READ_TIMEOUT, &whole);
  mysql_options(connection_, MYSQL_OPT_WRITE_TIMEOUT, &whole);
  // A server must not ask for our files, nor a connection come back without
  // its statements.
  const unsigned off = 0;
  const my_bool no = 0;
  mysql_options(connection_, MYSQL_OPT_LOCAL_INFILE, &off);
  mysql_options(connection_, MYSQL_OPT_RECONNECT, &no);
  mysql_options(connection_, MYSQL_SET_CHARSET_NAME, "utf8mb4");
  if (server_.ca_file.empty()) return;
  const my_bool yes = 1;
  mysql_options(connection_, MYSQL_OPT_SSL_ENFORCE, &yes);
  mysql_options(connection_, MYSQL_OPT_SSL_CA, server_.ca_file.c_str());
  mysql_options(connection_, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &yes);
}

// What nobody waits for any more shall not go on there.  Each kind of server
// knows one of these and refuses the other.
void MysqlBackend::LimitStatements(const TableDeadline& deadline) {
  for (const std::string& statement :
       {absl::StrCat("SET SESSION max_statement_time=",
                     absl::ToInt64Seconds(deadline.Limit())),
        absl::StrCat("SET SESSION max_execution_time=",
                     absl::ToInt64Milliseconds(deadline.Limit()))})
    mysql_real_query(connection_, statement.data(), statement.size());
}

absl::Status MysqlBackend::Connect(const TableDeadline& deadline) {
  Disconnect();
  connection_ = mysql_init(nullptr);
  if (connection_ == nullptr) return absl::UnavailableError("no memory");
  SetOptions(deadline);
  if (mysql_real_connect(connection_, OrNull(server_.host),
                         OrNull(server_.username), OrNull(server_.password),
                         OrNull(server_.database), server_.port,
                         OrNull(server_.socket), /*clientflag=*/0) == nullptr)
    return absl::UnavailableError(mysql_error(connection_));
  if (deadline.Over()) return TooLate();
  LimitStatements(deadline);
  const absl::Status prepared =
      Prepare(queries_.queries(), true, deadline, &asks_);
  if (!prepared.ok()) return prepared;
  return Prepare(queries_.lists(), false, deadline, &lists_);
}

void MysqlBackend::Disconnect() {
  asks_.clear();
  lists_.clear();
  if (connection_ != nullptr) mysql_close(connection_);
  connection_ = nullptr;
}

absl::Status MysqlBackend::Prepare(const std::vector<SqlQuery>& queries,
                                   bool with_key, const TableDeadline& deadline,
                                   Statements* into) {
  for (const SqlQuery& query : queries) {
    if (deadline.Over()) return TooLate();
    Statement statement(mysql_stmt_init(connection_));
    if (statement == nullptr) return absl::UnavailableError("no memory");
    const std::string& sql = query.word.value;
    if (mysql_stmt_prepare(statement.get(), sql.data(), sql.size()) != 0) {
      const absl::Status failure = Failure(statement.get());
      return absl::IsInternal(failure)
                 ? queries_.Wrong(query, failure.message())
                 : failure;
    }
    if ((mysql_stmt_param_count(statement.get()) > 0) != with_key)
      return queries_.Wrong(
          query, with_key ? "has no ? for the key" : "must not have a ?");
    if (mysql_stmt_field_count(statement.get()) < query.columns)
      return queries_.Wrong(
          query, absl::StrCat("must give ", query.columns, " column(s)"));
    (*into)[query.service] = std::move(statement);
  }
  return absl::OkStatus();
}

absl::StatusOr<TableRows> MysqlBackend::Run(MYSQL_STMT* statement,
                                            absl::string_view key,
                                            const TableDeadline& deadline) {
  std::string copy(key);
  unsigned long size = copy.size();
  MYSQL_BIND parameter = {};
  parameter.buffer_type = MYSQL_TYPE_STRING;
  parameter.buffer = copy.data();
  parameter.buffer_length = size;
  parameter.length = &size;
  std::vector<MYSQL_BIND> parameters(mysql_stmt_param_count(statement),
                                     parameter);
  if (!parameters.empty() &&
      mysql_stmt_bind_param(statement, parameters.data()) != 0)
    return Failure(statement);
  if (deadline.Over()) return TooLate();
  if (mysql_stmt_execute(statement) != 0) return Failure(statement);
  absl::StatusOr<TableRows> rows = ReadRows(statement, deadline);
  // Else the rows that nobody wants would be waited for.
  if (absl::IsDeadlineExceeded(rows.status()))
    shutdown(mysql_get_socket(connection_), SHUT_RDWR);
  mysql_stmt_free_result(statement);
  return rows;
}

absl::StatusOr<TableRows> MysqlBackend::ReadRows(
    MYSQL_STMT* statement, const TableDeadline& deadline) {
  struct Column {
    std::string text = std::string(kMaxColumn, '\0');
    unsigned long size = 0;
    my_bool null = 0;
    my_bool cut = 0;
  };
  std::vector<Column> columns(mysql_stmt_field_count(statement));
  std::vector<MYSQL_BIND> binds(columns.size(), MYSQL_BIND{});
  for (size_t i = 0; i < columns.size(); ++i) {
    binds[i].buffer_type = MYSQL_TYPE_STRING;
    binds[i].buffer = columns[i].text.data();
    binds[i].buffer_length = kMaxColumn;
    binds[i].length = &columns[i].size;
    binds[i].is_null = &columns[i].null;
    binds[i].error = &columns[i].cut;
  }
  if (mysql_stmt_bind_result(statement, binds.data()) != 0)
    return Failure(statement);
  TableRows rows;
  int status;
  while ((status = mysql_stmt_fetch(statement)) == 0 ||
         status == MYSQL_DATA_TRUNCATED) {
    if (deadline.Over()) return TooLate();
    if (rows.size() == kMaxTableRows)
      return absl::OutOfRangeError("too many rows");
    TableRow row;
    for (const Column& column : columns) {
      if (column.size > kMaxColumn && column.null == 0)
        return absl::OutOfRangeError("a column is too long");
      if (column.null != 0)
        row.push_back(std::nullopt);
      else
        row.push_back(column.text.substr(0, column.size));
    }
    rows.push_back(std::move(row));
  }
  if (status != MYSQL_NO_DATA) return Failure(statement);
  return rows;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TableBackend>> MakeMysqlBackend(
    TableSettings* settings, const std::string&, const TableClock&) {
  MysqlServer server;
  server.host = settings->TakeText("host", "");
  server.socket = settings->TakeText("socket", "");
  server.username = settings->TakeText("username", "");
  server.password = settings->TakeText("password", "");
  server.database = settings->TakeText("database", "");
  server.ca_file = settings->TakeText("ca_file", "");
  const absl::StatusOr<int64_t> port =
      settings->TakeNumber("port", 0, 1, 65535);
  if (!port.ok()) return port.status();
  server.port = static_cast<unsigned>(*port);
  absl::StatusOr<SqlQueries> queries = SqlQueries::Take(settings);
  if (!queries.ok()) return queries.status();
  return std::make_unique<MysqlBackend>(std::move(server), *std::move(queries));
}

}  // namespace holdfast
