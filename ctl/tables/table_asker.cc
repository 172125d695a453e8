#include "ctl/tables/table_asker.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "protocol/secret.h"

namespace holdfast {
namespace {

// Between attempts to connect, from the first that failed on.
constexpr absl::Duration kDelays[] = {absl::Milliseconds(100),
                                      absl::Milliseconds(500), absl::Seconds(1),
                                      absl::Seconds(2), absl::Seconds(5)};

// A question that found its connection lost is asked this often in all.
constexpr int kAttempts = 2;

}  // namespace

TableAsker::TableAsker(std::unique_ptr<TableBackend> backend,
                       absl::Duration limit, TableClock clock,
                       std::function<void(const std::string&)> log)
    : backend_(std::move(backend)),
      limit_(limit),
      clock_(std::move(clock)),
      log_(std::move(log)),
      next_attempt_(-absl::InfiniteDuration()) {}

TableAsker::~TableAsker() { backend_->Disconnect(); }

absl::Status TableAsker::Connect() {
  return EnsureConnected(TableDeadline(clock_, limit_));
}

absl::Status TableAsker::EnsureConnected(const TableDeadline& deadline) {
  if (connected_) return absl::OkStatus();
  if (clock_() < next_attempt_) return last_failure_;
  if (deadline.Over()) return absl::DeadlineExceededError("no answer in time");
  const absl::Status status = backend_->Connect(deadline);
  if (!status.ok()) {
    Disconnected(status);
    return status;
  }
  connected_ = true;
  if (failures_ > 0) log_("connected again");
  failures_ = 0;
  last_failure_ = absl::OkStatus();
  return status;
}

void TableAsker::Disconnected(const absl::Status& why) {
  backend_->Disconnect();
  connected_ = false;
  if (why != last_failure_) log_(std::string(why.message()));
  last_failure_ = why;
  const size_t step = std::min(failures_, std::size(kDelays) - 1);
  next_attempt_ = clock_() + kDelays[step];
  ++failures_;
}

absl::StatusOr<TableRows> TableAsker::WithConnection(const Question& question) {
  const TableDeadline deadline(clock_, limit_);
  for (int attempt = 1;; ++attempt) {
    const absl::Status connected = EnsureConnected(deadline);
    if (!connected.ok()) return connected;
    absl::StatusOr<TableRows> rows = question(deadline);
    if (rows.ok()) return rows;
    if (absl::IsDeadlineExceeded(rows.status())) {
      Disconnected(rows.status());
      return rows;
    }
    if (!absl::IsUnavailable(rows.status())) return rows;
    if (attempt == kAttempts) {
      Disconnected(rows.status());
      return rows;
    }
    backend_->Disconnect();
    connected_ = false;
  }
}

TableAnswer TableAsker::Ask(TableOp op, absl::string_view service,
                            absl::string_view key) {
  if (!absl::c_linear_search(backend_->Services(), service))
    return TableError(absl::StrCat("nothing is configured for ", service));
  if (service == "auth") {
    if (op != TableOp::kCheck) return TableError("auth can only be checked");
    return Authenticate(key);
  }
  const TableShape* shape = FindTableShape(service);
  if (shape == nullptr) return TableError("unknown service");
  return op == TableOp::kFetch ? Fetch(service) : AskRows(op, *shape, key);
}

TableAnswer TableAsker::AskRows(TableOp op, const TableShape& shape,
                                absl::string_view key) {
  const absl::StatusOr<TableRows> rows =
      WithConnection([&](const TableDeadline& deadline) {
        return backend_->Ask(shape.service, key, deadline);
      });
  if (!rows.ok()) return TableError(rows.status().message());
  TableAnswer answer = ShapeTableRows(shape, *rows);
  // A row that is no value to a lookup is none to a check.
  if (op == TableOp::kCheck) Wipe(&answer.text);
  return answer;
}

TableAnswer TableAsker::Authenticate(absl::string_view key) {
  const size_t colon = key.find(':');
  if (colon == absl::string_view::npos)
    return TableError("the key is not user:password");
  const absl::string_view user = key.substr(0, colon);
  const absl::string_view password = key.substr(colon + 1);
  // A directory takes a bind without a password for one of nobody's, and
  // lets it in (RFC 4513, section 5.1.2).
  if (user.empty() || password.empty()) return TableNotFound();
  bool right = false;
  const absl::StatusOr<TableRows> rows = WithConnection(
      [&](const TableDeadline& deadline) -> absl::StatusOr<TableRows> {
        const absl::StatusOr<bool> answer =
            backend_->Authenticate(user, password, deadline);
        if (!answer.ok()) return answer.status();
        right = *answer;
        return TableRows();
      });
  if (!rows.ok()) return TableError(rows.status().message());
  return right ? TableFound("") : TableNotFound();
}

absl::Status TableAsker::Load(absl::string_view service, List* list) {
  const absl::StatusOr<TableRows> rows =
      WithConnection([&](const TableDeadline& deadline) {
        return backend_->List(service, deadline);
      });
  if (!rows.ok()) return rows.status();
  list->values.clear();
  for (const TableRow& row : *rows) {
    if (!row.empty() && row[0] && !row[0]->empty())
      list->values.push_back(*row[0]);
  }
  std::sort(list->values.begin(), list->values.end());
  list->values.erase(std::unique(list->values.begin(), list->values.end()),
                     list->values.end());
  list->calls = 0;
  list->loaded = clock_();
  return absl::OkStatus();
}

TableAnswer TableAsker::Fetch(absl::string_view service) {
  const TableListLimits limits = backend_->ListLimits(service);
  auto place = lists_.find(std::string(service));
  const bool fresh = place != lists_.end() &&
                     place->second.calls < limits.calls &&
                     clock_() - place->second.loaded < limits.expire;
  if (!fresh) {
    List list;
    const absl::Status loaded = Load(service, &list);
    if (!loaded.ok()) return TableError(loaded.message());
    // Goes on behind what was given last.
    if (place != lists_.end()) list.last = place->second.last;
    place = lists_.insert_or_assign(std::string(service), list).first;
  }
  List& list = place->second;
  ++list.calls;
  if (list.values.empty()) return TableNotFound();
  auto next =
      std::upper_bound(list.values.begin(), list.values.end(), list.last);
  if (next == list.values.end()) next = list.values.begin();
  list.last = *next;
  return TableFound(*next);
}

}  // namespace holdfast
