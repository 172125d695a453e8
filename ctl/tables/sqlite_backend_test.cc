#include "ctl/tables/sqlite_backend.h"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <stdio.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "ctl/tables/table_answer.h"

namespace holdfast {
namespace {

constexpr char kQueries[] =
    "query_alias SELECT destination FROM virtuals WHERE email=?;\n"
    "query_credentials SELECT email, password FROM credentials WHERE email=?\n"
    "query_userinfo SELECT uid, gid, home FROM users WHERE name=?1 OR home=?1\n"
    "fetch_source SELECT address FROM sources\n";

class SqliteBackendTest : public testing::Test {
 protected:
  SqliteBackendTest() {
    unlink(path_.c_str());
    Fill(path_, "joe");
  }

  void Fill(const std::string& path, const std::string& destination) {
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open(path.c_str(), &database), SQLITE_OK);
    const std::string sql = absl::StrCat(
        "CREATE TABLE virtuals (email TEXT, destination TEXT);"
        "CREATE TABLE credentials (email TEXT, password TEXT);"
        "CREATE TABLE users (name TEXT, uid INTEGER, gid INTEGER, home TEXT);"
        "CREATE TABLE sources (address TEXT);"
        "INSERT INTO virtuals VALUES ('a@x', '",
        destination,
        "');"
        "INSERT INTO virtuals VALUES ('list@x', 'b'), ('list@x', 'c');"
        "INSERT INTO credentials VALUES ('joe', '$6$h'), ('eve', NULL);"
        "INSERT INTO users VALUES ('joe', 1000, 100, '/home/joe');"
        "INSERT INTO sources VALUES ('10.0.0.1'), ('10.0.0.2');");
    EXPECT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr),
              SQLITE_OK)
        << sqlite3_errmsg(database);
    sqlite3_close(database);
  }

  std::unique_ptr<TableBackend> Make(const std::string& queries) {
    absl::StatusOr<TableSettings> settings =
        TableSettings::Parse("f", absl::StrCat("dbpath ", path_, "\n", queries),
                             TableSettings::Faults::kWarnings);
    EXPECT_TRUE(settings.ok());
    absl::StatusOr<std::unique_ptr<TableBackend>> backend =
        MakeSqliteBackend(&*settings, "t", clock_);
    EXPECT_TRUE(backend.ok()) << backend.status();
    return *std::move(backend);
  }

  absl::Status Connect(TableBackend* backend) {
    return backend->Connect(Deadline());
  }
  TableDeadline Deadline() { return {clock_, absl::Seconds(1)}; }

  std::string Lookup(TableBackend* backend, const char* service,
                     const std::string& key) {
    const absl::StatusOr<TableRows> rows =
        backend->Ask(service, key, Deadline());
    if (!rows.ok()) return absl::StrCat("!", rows.status().message());
    return ShapeTableRows(*FindTableShape(service), *rows).text;
  }

  const std::string path_ = testing::TempDir() + "/tables.sqlite";
  const TableClock clock_ = [] { return absl::ZeroDuration(); };
};

TEST_F(SqliteBackendTest, Answers) {
  const std::unique_ptr<TableBackend> backend = Make(kQueries);
  EXPECT_EQ(
      backend->Services(),
      (std::vector<std::string>{"alias", "credentials", "userinfo", "source"}));
  ASSERT_TRUE(Connect(backend.get()).ok());
  EXPECT_EQ(Lookup(backend.get(), "alias", "a@x"), "joe");
  EXPECT_EQ(Lookup(backend.get(), "alias", "list@x"), "b, c");
  EXPECT_EQ(Lookup(backend.get(), "alias", "nobody"), "");
  EXPECT_EQ(Lookup(backend.get(), "credentials", "joe"), "joe:$6$h");
  EXPECT_EQ(Lookup(backend.get(), "credentials", "eve"), "");
  EXPECT_EQ(Lookup(backend.get(), "userinfo", "/home/joe"),
            "1000:100:/home/joe");
  const absl::StatusOr<TableRows> list = backend->List("source", Deadline());
  ASSERT_TRUE(list.ok());
  EXPECT_EQ(list->size(), 2u);
}

TEST_F(SqliteBackendTest, KeysAreNeverSql) {
  const std::unique_ptr<TableBackend> backend = Make(kQueries);
  ASSERT_TRUE(Connect(backend.get()).ok());
  for (const char* key : {"' OR '1'='1", "x'; DROP TABLE virtuals; --", "?1"})
    EXPECT_EQ(Lookup(backend.get(), "alias", key), "") << key;
  EXPECT_EQ(Lookup(backend.get(), "alias", "a@x"), "joe");
}

TEST_F(SqliteBackendTest, WrongQueriesHaveTheirLine) {
  const struct {
    const char* query;
    const char* fault;
  } cases[] = {
      {"query_alias SELECT x FROM nowhere WHERE y=?",
       "f:2: query_alias: no such table: nowhere"},
      {"query_credentials SELECT email FROM credentials WHERE email=?",
       "f:2: query_credentials: must give 2 column(s)"},
      {"query_domain SELECT 1", "f:2: query_domain: has no ? for the key"},
      {"query_alias ; ", "f:2: query_alias: is no statement"},
      {"query_alias SELECT 1 WHERE 1=?; SELECT 2",
       "f:2: query_alias: is more than one statement"},
      {"fetch_source SELECT address FROM sources WHERE address=?",
       "f:2: fetch_source: must not have a ?"},
  };
  for (const auto& c : cases) {
    const std::unique_ptr<TableBackend> backend = Make(c.query);
    const absl::Status status = Connect(backend.get());
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << c.query;
    EXPECT_EQ(status.message(), c.fault);
  }
}

TEST_F(SqliteBackendTest, NothingIsWritten) {
  const std::unique_ptr<TableBackend> backend =
      Make("query_alias DELETE FROM virtuals WHERE email=? RETURNING email");
  const absl::Status status = Connect(backend.get());
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(Lookup(backend.get(), "alias", "a@x")[0], '!');
}

TEST_F(SqliteBackendTest, AFileThatIsGoneOrAnotherIsAnError) {
  const std::unique_ptr<TableBackend> backend = Make(kQueries);
  ASSERT_TRUE(Connect(backend.get()).ok());
  const std::string other = path_ + ".new";
  unlink(other.c_str());
  Fill(other, "eve");
  ASSERT_EQ(rename(other.c_str(), path_.c_str()), 0);
  EXPECT_TRUE(
      absl::IsUnavailable(backend->Ask("alias", "a@x", Deadline()).status()));
  ASSERT_TRUE(Connect(backend.get()).ok());
  EXPECT_EQ(Lookup(backend.get(), "alias", "a@x"), "eve");
  unlink(path_.c_str());
  EXPECT_TRUE(
      absl::IsUnavailable(backend->Ask("alias", "a@x", Deadline()).status()));
  EXPECT_TRUE(absl::IsUnavailable(Connect(backend.get())));
  EXPECT_NE(access(path_.c_str(), F_OK), 0) << "it is not made anew";
}

TEST_F(SqliteBackendTest, ALockedOrEndlessOneIsInTimeAnError) {
  // Time passes with every look at it.
  absl::Duration now;
  const TableClock clock = [&now] { return now += absl::Milliseconds(10); };
  const std::unique_ptr<TableBackend> backend = Make(
      "query_alias WITH RECURSIVE n(i) AS (SELECT ?+0 UNION ALL SELECT "
      "i+1 FROM n) SELECT i FROM n WHERE i<0");
  ASSERT_TRUE(Connect(backend.get()).ok());
  const TableDeadline deadline(clock, absl::Seconds(1));
  EXPECT_TRUE(
      absl::IsDeadlineExceeded(backend->Ask("alias", "0", deadline).status()));
}

}  // namespace
}  // namespace holdfast
