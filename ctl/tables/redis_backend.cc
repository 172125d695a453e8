#include "ctl/tables/redis_backend.h"

#include <hiredis/hiredis.h>

#include <map>
#include <optional>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "ctl/tables/redis_command.h"
#include "ctl/tables/sql_queries.h"

namespace holdfast {
namespace {

constexpr char kDefaultMaster[] = "127.0.0.1";
constexpr int64_t kDefaultPort = 6379;
constexpr int64_t kDefaultReplicaPort = 6380;
constexpr int64_t kMaxDatabase = 256;
// While the second server is asked, the first is looked for this often.
constexpr absl::Duration kLookForMaster = absl::Seconds(30);
// Services that have a command without one being configured.
constexpr absl::string_view kDefaults[] = {
    "alias",    "domain", "credentials", "netaddr",
    "userinfo", "source", "mailaddr",    "addrname"};

struct CloseConnection {
  void operator()(redisContext* connection) const { redisFree(connection); }
};
using Connection = std::unique_ptr<redisContext, CloseConnection>;

struct FreeReply {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using Reply = std::unique_ptr<redisReply, FreeReply>;

struct RedisServer {
  std::string place;  // an address, or "unix:" and a path; empty: none
  int port = 0;
};

struct RedisSettings {
  RedisServer master;
  RedisServer replica;
  int64_t database = 0;
  std::string username;
  std::string password;
  SqlQueries queries;
  std::map<std::string, RedisCommand> asks;   // by service
  std::map<std::string, RedisCommand> lists;  // by service
};

std::string Text(const redisReply& reply) {
  return std::string(reply.str, reply.len);
}

// One value, for a lone answer or an element of an array.
absl::StatusOr<std::optional<std::string>> Value(const redisReply& reply) {
  switch (reply.type) {
    case REDIS_REPLY_STRING:
      return Text(reply);
    case REDIS_REPLY_INTEGER:
      return absl::StrCat(reply.integer);
    case REDIS_REPLY_NIL:
      return std::nullopt;
    default:
      return absl::InternalError("the command's answer is no value");
  }
}

class RedisBackend : public TableBackend {
 public:
  RedisBackend(RedisSettings settings, TableClock clock)
      : settings_(std::move(settings)), clock_(std::move(clock)) {}

  std::vector<std::string> Services() const override {
    std::vector<std::string> services;
    for (const auto* commands : {&settings_.asks, &settings_.lists}) {
      for (const auto& [service, command] : *commands) {
        if (!absl::c_linear_search(services, service))
          services.push_back(service);
      }
    }
    return services;
  }
  absl::Status Connect(const TableDeadline& deadline) override;
  void Disconnect() override { connection_.reset(); }
  absl::StatusOr<TableRows> Ask(absl::string_view service,
                                absl::string_view key,
                                const TableDeadline& deadline) override;
  absl::StatusOr<TableRows> List(absl::string_view service,
                                 const TableDeadline& deadline) override;
  TableListLimits ListLimits(absl::string_view service) const override {
    return settings_.queries.ListLimits(service);
  }
  absl::StatusOr<bool> Authenticate(absl::string_view, absl::string_view,
                                    const TableDeadline&) override {
    return absl::UnimplementedError("auth is not configured");
  }

 private:
  // A server that only lets one connect, and then says nothing, is none.
  absl::Status ConnectTo(const RedisServer& server,
                         const TableDeadline& deadline);
  absl::StatusOr<Reply> Send(const std::vector<std::string>& words,
                             const TableDeadline& deadline);
  absl::Status Lost() const;

  const RedisSettings settings_;
  const TableClock clock_;
  Connection connection_;
  bool on_replica_ = false;
  absl::Duration connected_;  // when
};

absl::Status RedisBackend::Lost() const {
  return absl::UnavailableError(connection_->errstr);
}

absl::StatusOr<Reply> RedisBackend::Send(const std::vector<std::string>& words,
                                         const TableDeadline& deadline) {
  std::vector<const char*> texts;
  std::vector<size_t> sizes;
  for (const std::string& word : words) {
    texts.push_back(word.data());
    sizes.push_back(word.size());
  }
  if (redisSetTimeout(connection_.get(), deadline.Timeval()) != REDIS_OK)
    return Lost();
  Reply reply(static_cast<redisReply*>(
      redisCommandArgv(connection_.get(), static_cast<int>(texts.size()),
                       texts.data(), sizes.data())));
  if (reply == nullptr)
    return deadline.Over()
               ? absl::DeadlineExceededError("Redis does not answer in time")
               : Lost();
  if (reply->type != REDIS_REPLY_ERROR) return reply;
  const std::string text = Text(*reply);
  // It has just started, follows another and has lost it, or forgot who we
  // are.
  for (const char* lost : {"LOADING", "MASTERDOWN", "NOAUTH"}) {
    if (absl::StartsWith(text, lost)) return absl::UnavailableError(text);
  }
  return absl::InternalError(text);
}

absl::Status RedisBackend::ConnectTo(const RedisServer& server,
                                     const TableDeadline& deadline) {
  const timeval limit = deadline.Timeval();
  absl::string_view path = server.place;
  const bool is_path = absl::ConsumePrefix(&path, "unix:");
  connection_.reset(
      is_path
          ? redisConnectUnixWithTimeout(std::string(path).c_str(), limit)
          : redisConnectWithTimeout(server.place.c_str(), server.port, limit));
  if (connection_ == nullptr) return absl::UnavailableError("no memory");
  if (connection_->err != 0)
    return absl::UnavailableError(
        absl::StrCat(server.place, ": ", connection_->errstr));
  if (!settings_.password.empty()) {
    std::vector<std::string> words = {"AUTH"};
    if (!settings_.username.empty()) words.push_back(settings_.username);
    words.push_back(settings_.password);
    const absl::StatusOr<Reply> reply = Send(words, deadline);
    if (!reply.ok()) return reply.status();
  }
  if (settings_.database != 0) {
    const absl::StatusOr<Reply> reply =
        Send({"SELECT", absl::StrCat(settings_.database)}, deadline);
    if (!reply.ok()) return reply.status();
  }
  const absl::Status answers = Send({"PING"}, deadline).status();
  // One that may not say PING has heard so from a server that answers.
  return absl::IsInternal(answers) ? absl::OkStatus() : answers;
}

absl::Status RedisBackend::Connect(const TableDeadline& deadline) {
  Disconnect();
  connected_ = clock_();
  on_replica_ = false;
  const bool alone = settings_.replica.place.empty();
  // The second one shall have time to answer, too.
  const absl::Duration share =
      std::max(deadline.Left() / (alone ? 1 : 2), absl::Milliseconds(1));
  const absl::Status master =
      ConnectTo(settings_.master, TableDeadline(clock_, share));
  if (master.ok() || alone) return master;
  on_replica_ = true;
  return ConnectTo(settings_.replica, deadline);
}

absl::StatusOr<TableRows> RedisBackend::Ask(absl::string_view service,
                                            absl::string_view key,
                                            const TableDeadline& deadline) {
  const auto found = settings_.asks.find(std::string(service));
  if (found == settings_.asks.end()) return NoSuchQuery("query", service);
  if (on_replica_ && clock_() - connected_ > kLookForMaster)
    return absl::UnavailableError("asking the master again");
  const absl::StatusOr<Reply> reply = Send(found->second.With(key), deadline);
  if (!reply.ok()) return reply.status();
  const redisReply& answer = **reply;
  TableRows rows;
  if (answer.type == REDIS_REPLY_INTEGER) {
    // SISMEMBER, EXISTS: whether there is one.
    if (answer.integer != 0) rows.push_back({std::string(key)});
    return rows;
  }
  if (answer.type != REDIS_REPLY_ARRAY) {
    absl::StatusOr<std::optional<std::string>> value = Value(answer);
    if (!value.ok()) return value.status();
    if (*value) rows.push_back({*std::move(*value)});
    return rows;
  }
  // The items of a list, or the columns of one row.
  const bool row = service == "credentials" || service == "userinfo";
  TableRow all;
  for (size_t i = 0; i < answer.elements; ++i) {
    absl::StatusOr<std::optional<std::string>> value =
        Value(*answer.element[i]);
    if (!value.ok()) return value.status();
    if (row)
      all.push_back(*std::move(value));
    else if (*value)
      rows.push_back({*std::move(*value)});
  }
  if (absl::c_any_of(all, [](const auto& value) { return value.has_value(); }))
    rows.push_back(std::move(all));
  return rows;
}

absl::StatusOr<TableRows> RedisBackend::List(absl::string_view service,
                                             const TableDeadline& deadline) {
  const auto found = settings_.lists.find(std::string(service));
  if (found == settings_.lists.end()) return NoSuchQuery("fetch", service);
  const absl::StatusOr<Reply> reply = Send(found->second.With(""), deadline);
  if (!reply.ok()) return reply.status();
  if ((*reply)->type != REDIS_REPLY_ARRAY)
    return absl::InternalError("the command's answer is no list");
  TableRows rows;
  for (size_t i = 0; i < (*reply)->elements; ++i) {
    absl::StatusOr<std::optional<std::string>> value =
        Value(*(*reply)->element[i]);
    if (!value.ok()) return value.status();
    rows.push_back({*std::move(value)});
  }
  return rows;
}

absl::Status TakeCommands(RedisSettings* settings) {
  for (const bool with_key : {true, false}) {
    const std::vector<SqlQuery>& words =
        with_key ? settings->queries.queries() : settings->queries.lists();
    for (const SqlQuery& query : words) {
      absl::StatusOr<RedisCommand> command =
          RedisCommand::Parse(query.word.value, with_key);
      if (!command.ok())
        return settings->queries.Wrong(query, command.status().message());
      (with_key ? settings->asks : settings->lists)
          .emplace(query.service, *std::move(command));
    }
  }
  for (const absl::string_view service : kDefaults) {
    if (settings->asks.count(std::string(service)) != 0) continue;
    absl::StatusOr<RedisCommand> command =
        RedisCommand::Parse(absl::StrCat("GET ", service, ":%s"), true);
    if (!command.ok()) return command.status();
    settings->asks.emplace(service, *std::move(command));
  }
  return absl::OkStatus();
}

absl::StatusOr<RedisServer> TakeServer(TableSettings* settings,
                                       const std::string& name,
                                       absl::string_view otherwise,
                                       int64_t otherwise_port) {
  RedisServer server;
  server.place = settings->TakeText(name, otherwise);
  const absl::StatusOr<int64_t> port = settings->TakeNumber(
      absl::StrCat(name, "_port"), otherwise_port, 1, 65535);
  if (!port.ok()) return port.status();
  server.port = static_cast<int>(*port);
  return server;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TableBackend>> MakeRedisBackend(
    TableSettings* settings, const std::string&, const TableClock& clock) {
  RedisSettings redis;
  absl::StatusOr<RedisServer> master =
      TakeServer(settings, "master", kDefaultMaster, kDefaultPort);
  if (!master.ok()) return master.status();
  redis.master = *std::move(master);
  absl::StatusOr<RedisServer> replica =
      TakeServer(settings, "slave", "", kDefaultReplicaPort);
  if (!replica.ok()) return replica.status();
  redis.replica = *std::move(replica);
  const absl::StatusOr<int64_t> database =
      settings->TakeNumber("database", 0, 0, kMaxDatabase);
  if (!database.ok()) return database.status();
  redis.database = *database;
  redis.username = settings->TakeText("username", "");
  redis.password = settings->TakeText("password", "");
  absl::StatusOr<SqlQueries> queries = SqlQueries::Take(settings);
  if (!queries.ok()) return queries.status();
  redis.queries = *std::move(queries);
  const absl::Status commands = TakeCommands(&redis);
  if (!commands.ok()) return commands;
  return std::make_unique<RedisBackend>(std::move(redis), clock);
}

}  // namespace holdfast
