#include "ctl/tables/postgres_backend.h"

#include <poll.h>
#include <postgresql/libpq-fe.h>

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "ctl/tables/sql_queries.h"
#include "protocol/xtext.h"

namespace holdfast {
namespace {

// character_not_in_repertoire: not of the database's encoding.
constexpr char kNoSuchCharacters[] = "22021";

struct ClearResult {
  void operator()(PGresult* result) const { PQclear(result); }
};
using Result = std::unique_ptr<PGresult, ClearResult>;

// libpq's messages have several lines.
std::string OneLine(const char* text) {
  std::string line(text == nullptr ? "" : text);
  for (char& c : line) {
    if (c == '\n' || c == '\t') c = ' ';
  }
  return std::string(absl::StripAsciiWhitespace(line));
}

absl::Status TooLate() {
  return absl::DeadlineExceededError("the database does not answer in time");
}

absl::Status WaitFor(int fd, short events, const TableDeadline& deadline) {
  pollfd wanted{fd, events, 0};
  return poll(&wanted, 1, deadline.Milliseconds()) == 0 && deadline.Over()
             ? TooLate()
             : absl::OkStatus();
}

class PostgresBackend : public TableBackend {
 public:
  PostgresBackend(std::string conninfo, SqlQueries queries)
      : conninfo_(std::move(conninfo)), queries_(std::move(queries)) {}
  ~PostgresBackend() override { Disconnect(); }

  std::vector<std::string> Services() const override {
    return queries_.Services();
  }
  absl::Status Connect(const TableDeadline& deadline) override;
  void Disconnect() override {
    PQfinish(connection_);
    connection_ = nullptr;
  }
  absl::StatusOr<TableRows> Ask(absl::string_view service,
                                absl::string_view key,
                                const TableDeadline& deadline) override;
  absl::StatusOr<TableRows> List(absl::string_view service,
                                 const TableDeadline& deadline) override;
  TableListLimits ListLimits(absl::string_view service) const override {
    return queries_.ListLimits(service);
  }
  absl::StatusOr<bool> Authenticate(absl::string_view, absl::string_view,
                                    const TableDeadline&) override {
    return absl::UnimplementedError("auth is not configured");
  }

 private:
  absl::Status Handshake(const TableDeadline& deadline);
  absl::Status Prepare(const SqlQuery& query, int parameters,
                       const TableDeadline& deadline);
  absl::Status Lost() const {
    return absl::UnavailableError(OneLine(PQerrorMessage(connection_)));
  }
  // kNotFound: the database cannot hold such characters.
  absl::Status Failure(const PGresult* result) const;
  // Waits for all of the answer to what was sent, also if it is an error:
  // before that nothing else can be sent.  `sent` is libpq's.
  absl::StatusOr<Result> Finish(int sent, const TableDeadline& deadline);
  absl::StatusOr<TableRows> Run(const std::string& name, const char* key,
                                const TableDeadline& deadline);

  const std::string conninfo_;
  const SqlQueries queries_;
  PGconn* connection_ = nullptr;
};

absl::Status PostgresBackend::Handshake(const TableDeadline& deadline) {
  // The first is what wants to be written.
  for (PostgresPollingStatusType next = PGRES_POLLING_WRITING;;
       next = PQconnectPoll(connection_)) {
    if (next == PGRES_POLLING_OK) return absl::OkStatus();
    if (next == PGRES_POLLING_FAILED || PQsocket(connection_) < 0)
      return Lost();
    const absl::Status waited =
        WaitFor(PQsocket(connection_),
                next == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline);
    if (!waited.ok()) return waited;
  }
}

absl::Status PostgresBackend::Connect(const TableDeadline& deadline) {
  Disconnect();
  const char* const words[] = {"dbname", "fallback_application_name", nullptr};
  const char* const values[] = {conninfo_.c_str(), "smtpd", nullptr};
  connection_ = PQconnectStartParams(words, values, /*expand_dbname=*/1);
  if (connection_ == nullptr) return absl::UnavailableError("no memory");
  if (PQstatus(connection_) == CONNECTION_BAD) return Lost();
  PQsetNoticeProcessor(
      connection_, [](void*, const char*) {}, nullptr);
  const absl::Status connected = Handshake(deadline);
  if (!connected.ok()) return connected;
  if (PQsetnonblocking(connection_, 1) != 0) return Lost();
  // What nobody waits for any more shall not go on there.
  const std::string limit = absl::StrCat(
      "SET statement_timeout = ", absl::ToInt64Milliseconds(deadline.Limit()));
  const absl::StatusOr<Result> set =
      Finish(PQsendQuery(connection_, limit.c_str()), deadline);
  if (!set.ok()) return set.status();
  for (const SqlQuery& query : queries_.queries()) {
    const absl::Status prepared = Prepare(query, 1, deadline);
    if (!prepared.ok()) return prepared;
  }
  for (const SqlQuery& query : queries_.lists()) {
    const absl::Status prepared = Prepare(query, 0, deadline);
    if (!prepared.ok()) return prepared;
  }
  return absl::OkStatus();
}

absl::Status PostgresBackend::Failure(const PGresult* result) const {
  const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  if (PQstatus(connection_) == CONNECTION_BAD || state == nullptr)
    return Lost();
  const std::string text =
      OneLine(PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
  // 57014: over statement_timeout.  57P: it stops or starts, 08: connection,
  // 0A000 and 26000: what was prepared is no longer so there.
  if (absl::string_view(state) == "57014")
    return absl::DeadlineExceededError(text);
  for (const char* lost : {"57P", "08", "0A000", "26000"}) {
    if (absl::StartsWith(state, lost)) return absl::UnavailableError(text);
  }
  return absl::string_view(state) == kNoSuchCharacters
             ? absl::NotFoundError(text)
             : absl::InternalError(text);
}

absl::StatusOr<Result> PostgresBackend::Finish(int sent,
                                               const TableDeadline& deadline) {
  if (sent == 0) return Lost();
  const int fd = PQsocket(connection_);
  for (int left; (left = PQflush(connection_)) != 0;) {
    if (left < 0) return Lost();
    const absl::Status waited = WaitFor(fd, POLLIN | POLLOUT, deadline);
    if (!waited.ok()) return waited;
    if (PQconsumeInput(connection_) == 0) return Lost();
  }
  Result last;
  absl::Status failure;
  for (;;) {
    while (PQisBusy(connection_) != 0) {
      const absl::Status waited = WaitFor(fd, POLLIN, deadline);
      if (!waited.ok()) return waited;
      if (PQconsumeInput(connection_) == 0) return Lost();
    }
    Result next(PQgetResult(connection_));
    if (next == nullptr) break;
    const ExecStatusType status = PQresultStatus(next.get());
    if (failure.ok() && status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
      failure = Failure(next.get());
    last = std::move(next);
  }
  if (!failure.ok()) return failure;
  if (last == nullptr) return Lost();
  return last;
}

absl::Status PostgresBackend::Prepare(const SqlQuery& query, int parameters,
                                      const TableDeadline& deadline) {
  const char* name = query.word.name.c_str();
  const absl::StatusOr<Result> prepared =
      Finish(PQsendPrepare(connection_, name, query.word.value.c_str(),
                           parameters, nullptr),
             deadline);
  if (absl::IsInternal(prepared.status()) ||
      absl::IsNotFound(prepared.status()))
    return queries_.Wrong(query, prepared.status().message());
  if (!prepared.ok()) return prepared.status();
  const absl::StatusOr<Result> described =
      Finish(PQsendDescribePrepared(connection_, name), deadline);
  if (!described.ok()) return described.status();
  if (PQnparams(described->get()) != parameters)
    return queries_.Wrong(query, parameters == 1
                                     ? "must have the key as $1, and no $2"
                                     : "must not have a $1");
  if (PQnfields(described->get()) < static_cast<int>(query.columns))
    return queries_.Wrong(
        query, absl::StrCat("must give ", query.columns, " column(s)"));
  return absl::OkStatus();
}

absl::StatusOr<TableRows> PostgresBackend::Run(const std::string& name,
                                               const char* key,
                                               const TableDeadline& deadline) {
  const absl::StatusOr<Result> result = Finish(
      PQsendQueryPrepared(connection_, name.c_str(), key == nullptr ? 0 : 1,
                          &key, nullptr, nullptr, /*resultFormat=*/0),
      deadline);
  if (!result.ok()) return result.status();
  PGresult* answer = result->get();
  const int count = PQntuples(answer);
  if (count > static_cast<int>(kMaxTableRows))
    return absl::OutOfRangeError("too many rows");
  TableRows rows(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) {
    for (int j = 0; j < PQnfields(answer); ++j) {
      if (PQgetisnull(answer, i, j) != 0)
        rows[static_cast<size_t>(i)].push_back(std::nullopt);
      else
        rows[static_cast<size_t>(i)].push_back(PQgetvalue(answer, i, j));
    }
  }
  return rows;
}

absl::StatusOr<TableRows> PostgresBackend::Ask(absl::string_view service,
                                               absl::string_view key,
                                               const TableDeadline& deadline) {
  for (const SqlQuery& query : queries_.queries()) {
    if (query.service != service) continue;
    absl::StatusOr<TableRows> rows =
        Run(query.word.name, std::string(key).c_str(), deadline);
    // What the database cannot hold is not in it.  A key that it can hold gets
    // the same error from a query that converts what it finds.
    if (absl::IsNotFound(rows.status()) && !IsValidUtf8(key))
      return TableRows();
    return rows;
  }
  return NoSuchQuery("query", service);
}

absl::StatusOr<TableRows> PostgresBackend::List(absl::string_view service,
                                                const TableDeadline& deadline) {
  for (const SqlQuery& query : queries_.lists()) {
    if (query.service == service)
      return Run(query.word.name, nullptr, deadline);
  }
  return NoSuchQuery("fetch", service);
}

}  // namespace

absl::StatusOr<std::unique_ptr<TableBackend>> MakePostgresBackend(
    TableSettings* settings, const std::string&, const TableClock&) {
  const std::optional<TableSettings::Word> conninfo =
      settings->Take("conninfo");
  if (!conninfo) return settings->Lacks("conninfo is missing");
  // libpq's message would show a part of it, which may be the password.
  PQconninfoOption* options = PQconninfoParse(conninfo->value.c_str(), nullptr);
  if (options == nullptr)
    return settings->Wrong(*conninfo,
                           "is not of the form host='...' user='...' "
                           "password='...' dbname='...'");
  PQconninfoFree(options);
  absl::StatusOr<SqlQueries> queries = SqlQueries::Take(settings);
  if (!queries.ok()) return queries.status();
  return std::make_unique<PostgresBackend>(conninfo->value,
                                           *std::move(queries));
}

}  // namespace holdfast
