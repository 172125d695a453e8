#include "ctl/tables/table_asker.h"

#include <gtest/gtest.h>

#include <deque>

namespace holdfast {
namespace {

using Result = TableReply::Result;

// A server that can be away, end a connection, be slow. Outlives its backend.
struct Server {
  bool up = true;
  absl::Duration now;
  int connects = 0;
  int asked = 0;
  std::deque<absl::Status> faults;  // of the next questions
  TableRows rows = {{"v"}};
  int64_t list_calls = 1000;
  std::string password = "right";
};

class FakeBackend : public TableBackend {
 public:
  explicit FakeBackend(Server* server) : server_(server) {}

  std::vector<std::string> Services() const override {
    return {"alias", "source", "auth"};
  }
  absl::Status Connect(const TableDeadline&) override {
    ++server_->connects;
    open_ = server_->up;
    return open_ ? absl::OkStatus() : absl::UnavailableError("away");
  }
  void Disconnect() override { open_ = false; }
  absl::StatusOr<TableRows> Ask(absl::string_view, absl::string_view,
                                const TableDeadline&) override {
    EXPECT_TRUE(open_) << "asked without a connection";
    ++server_->asked;
    if (server_->faults.empty()) return server_->rows;
    const absl::Status fault = server_->faults.front();
    server_->faults.pop_front();
    return fault;
  }
  absl::StatusOr<TableRows> List(absl::string_view service,
                                 const TableDeadline& deadline) override {
    return Ask(service, "", deadline);
  }
  TableListLimits ListLimits(absl::string_view) const override {
    return {absl::Seconds(60), server_->list_calls};
  }
  absl::StatusOr<bool> Authenticate(absl::string_view,
                                    absl::string_view password,
                                    const TableDeadline& deadline) override {
    const absl::Status fault = Ask("auth", "", deadline).status();
    if (!fault.ok()) return fault;
    return password == server_->password;
  }

 private:
  Server* const server_;
  bool open_ = false;
};

class TableAskerTest : public testing::Test {
 protected:
  TableAnswer Lookup() { return asker_.Ask(TableOp::kLookup, "alias", "k"); }
  TableAnswer Fetch() { return asker_.Ask(TableOp::kFetch, "source", ""); }
  Result Auth(absl::string_view key) {
    return asker_.Ask(TableOp::kCheck, "auth", key).result;
  }

  Server server_;
  std::vector<std::string> log_;
  TableAsker asker_{std::make_unique<FakeBackend>(&server_), absl::Seconds(4),
                    [this] { return server_.now; },
                    [this](const std::string& line) { log_.push_back(line); }};
};

TEST_F(TableAskerTest, ConnectsOnceAndAnswers) {
  EXPECT_EQ(Lookup().text, "v");
  EXPECT_EQ(asker_.Ask(TableOp::kCheck, "alias", "k").result, Result::kFound);
  server_.rows = {};
  EXPECT_EQ(Lookup().result, Result::kNotFound);
  EXPECT_EQ(server_.connects, 1);
}

TEST_F(TableAskerTest, ACheckFindsWhatALookupDoes) {
  const auto check = [this](const TableRows& rows) {
    server_.rows = rows;
    return asker_.Ask(TableOp::kCheck, "alias", "k");
  };
  // Such as of SELECT max(...).
  EXPECT_EQ(check({{std::nullopt}}).result, Result::kNotFound);
  EXPECT_EQ(check({{""}}).result, Result::kNotFound);
  EXPECT_EQ(check({{}}).result, Result::kNotFound);
  const TableAnswer found = check({{std::nullopt}, {"v"}});
  EXPECT_EQ(found.result, Result::kFound);
  EXPECT_EQ(found.text, "");
}

TEST_F(TableAskerTest, AwayIsAnErrorNeverNotFound) {
  server_.up = false;
  EXPECT_EQ(Lookup().result, Result::kError);
  EXPECT_EQ(Lookup().text, "away");
  // Not for every question a new attempt.
  EXPECT_EQ(server_.connects, 1);
  server_.now += absl::Seconds(1);
  EXPECT_EQ(Lookup().result, Result::kError);
  EXPECT_EQ(server_.connects, 2);
  EXPECT_EQ(log_, std::vector<std::string>{"away"});
  server_.up = true;
  server_.now += absl::Seconds(5);
  EXPECT_EQ(Lookup().text, "v");
  EXPECT_EQ(log_, (std::vector<std::string>{"away", "connected again"}));
}

TEST_F(TableAskerTest, DelaysGrowAndAreBounded) {
  server_.up = false;
  for (int i = 0; i < 3600; ++i) {
    Lookup();
    server_.now += absl::Seconds(1);
  }
  // 0, 1, 2, 3, 5, 10 and so on to 3595.
  EXPECT_EQ(server_.connects, 4 + 3595 / 5);
}

TEST_F(TableAskerTest, ARestartedServerIsAskedAgainAtOnce) {
  Lookup();
  server_.faults = {absl::UnavailableError("terminating")};
  EXPECT_EQ(Lookup().text, "v");
  EXPECT_EQ(server_.connects, 2);
  EXPECT_EQ(server_.asked, 3);
}

TEST_F(TableAskerTest, ButNotForEver) {
  Lookup();
  server_.faults = {absl::UnavailableError("lost"),
                    absl::UnavailableError("lost"),
                    absl::UnavailableError("lost")};
  EXPECT_EQ(Lookup().result, Result::kError);
  EXPECT_EQ(server_.asked, 3);
  EXPECT_EQ(Lookup().result, Result::kError) << "the delay";
  EXPECT_EQ(server_.asked, 3);
}

TEST_F(TableAskerTest, TooSlowCostsTheConnection) {
  Lookup();
  server_.faults = {absl::DeadlineExceededError("slow")};
  EXPECT_EQ(Lookup().text, "slow");
  server_.now += absl::Seconds(1);
  EXPECT_EQ(Lookup().text, "v");
  EXPECT_EQ(server_.connects, 2);
}

TEST_F(TableAskerTest, AnErrorOfTheServerDoesNot) {
  server_.faults = {absl::InternalError("relation missing")};
  EXPECT_EQ(Lookup().text, "relation missing");
  EXPECT_EQ(Lookup().text, "v");
  EXPECT_EQ(server_.connects, 1);
}

TEST_F(TableAskerTest, ServicesWithoutAQueryAreErrors) {
  EXPECT_EQ(asker_.Ask(TableOp::kLookup, "domain", "k").result, Result::kError);
  EXPECT_EQ(server_.asked, 0);
}

TEST_F(TableAskerTest, FetchGoesRoundInOrder) {
  server_.rows = {{"b"}, {"c"}, {"a"}, {"b"}, {std::nullopt}};
  std::string seen;
  for (int i = 0; i < 5; ++i) seen += Fetch().text;
  EXPECT_EQ(seen, "abcab");
  EXPECT_EQ(server_.asked, 1);
  server_.rows = {};
  EXPECT_EQ(Fetch().text, "c");
  server_.now += absl::Seconds(60);
  EXPECT_EQ(Fetch().result, Result::kNotFound);
  EXPECT_EQ(server_.asked, 2);
}

TEST_F(TableAskerTest, FetchIsRefreshedAfterSoManyAnswers) {
  server_.list_calls = 2;
  server_.rows = {{"a"}, {"b"}, {"c"}};
  std::string seen;
  for (int i = 0; i < 5; ++i) seen += Fetch().text;
  EXPECT_EQ(seen, "abcab") << "it goes on where it was";
  EXPECT_EQ(server_.asked, 3);
  server_.faults = {absl::InternalError("no"), absl::InternalError("no")};
  Fetch();
  EXPECT_EQ(Fetch().result, Result::kError) << "an old list is no answer";
}

TEST_F(TableAskerTest, Passwords) {
  EXPECT_EQ(Auth("joe:right"), Result::kFound);
  EXPECT_EQ(Auth("joe:wrong"), Result::kNotFound);
  server_.password = "a:b";
  EXPECT_EQ(Auth("joe:a:b"), Result::kFound);
  EXPECT_EQ(Auth("joe"), Result::kError);
  EXPECT_EQ(asker_.Ask(TableOp::kLookup, "auth", "joe:a:b").result,
            Result::kError);
}

TEST_F(TableAskerTest, NoPasswordIsNeverRight) {
  server_.password = "";
  EXPECT_EQ(Auth("joe:"), Result::kNotFound);
  EXPECT_EQ(Auth(":x"), Result::kNotFound);
  EXPECT_EQ(server_.asked, 0);
}

}  // namespace
}  // namespace holdfast
