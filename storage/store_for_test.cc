#include "storage/store_for_test.h"

#include <cstdlib>

#include "absl/strings/str_cat.h"

namespace holdfast {

std::string MakeTestFolder() {
  const char* const base = std::getenv("TEST_TMPDIR");
  std::string pattern =
      absl::StrCat(base == nullptr ? "/tmp" : base, "/queue.XXXXXX");
  if (mkdtemp(pattern.data()) == nullptr) std::abort();
  return pattern;
}

StoreForTest::StoreForTest(std::string folder) : folder_(std::move(folder)) {
  options_.size_limit = 64 << 20;
  options_.reserve_bytes = 1 << 20;
  options_.min_free = 0;
}

absl::Status StoreForTest::Open() {
  store_.reset();
  StoreOptions options;
  options.path = folder_;
  options.size_limit = options_.size_limit;
  options.reserve_bytes = options_.reserve_bytes;
  options.min_free = options_.min_free;
  options.history_age = options_.history_age;
  options.history_bytes = options_.history_bytes;
  options.read_only = options_.read_only;
  options.keys = options_.keys;
  options.clock = [now = now_] { return absl::FromUnixMicros(*now); };
  options.on_warning = [warnings = warnings_](absl::string_view text) {
    absl::MutexLock lock(&warnings->mutex);
    warnings->lines.emplace_back(text);
  };
  auto store = QueueStore::Open(std::move(options));
  if (!store.ok()) return store.status();
  store_ = *std::move(store);
  return absl::OkStatus();
}

BatchResult StoreForTest::Run(QueueBatch batch) {
  BatchResult result;
  absl::Notification done;
  store_->Submit(std::move(batch), [&](BatchResult r) {
    result = std::move(r);
    done.Notify();
  });
  done.WaitForNotification();
  return result;
}

OperationResult StoreForTest::RunOne(QueueOperation operation) {
  QueueBatch batch;
  batch.push_back(std::move(operation));
  BatchResult result = Run(std::move(batch));
  if (!result.status.ok()) {
    OperationResult failed;
    failed.status = result.status;
    return failed;
  }
  return std::move(result.operations[0]);
}

std::string StoreForTest::Check() {
  std::string problems;
  const auto summary = CheckQueue(
      store_.get(),
      [&](absl::string_view text) { absl::StrAppend(&problems, text, "\n"); },
      nullptr);
  if (!summary.ok()) return summary.status().ToString();
  return problems;
}

std::vector<std::string> StoreForTest::warnings() {
  absl::MutexLock lock(&warnings_->mutex);
  return warnings_->lines;
}

AcceptMessage MakeMessage(MessageId id, int recipients,
                          absl::string_view body) {
  AcceptMessage message;
  message.message = id;
  SmallBody small = CompressBody(body);
  message.body = small.info;
  message.stored = std::move(small.stored);
  message.created = absl::FromUnixSeconds(kTestNow);
  for (int i = 0; i < recipients; ++i) {
    Envelope e;
    e.id = MakeEnvelopeId(id, static_cast<uint32_t>(i + 1));
    e.action = "relay";
    e.sender = {"alice", "example.org"};
    e.rcpt =
        e.dest = {absl::StrCat("user", i), absl::StrCat("d", i, ".example")};
    e.routing_key = e.dest.domain;
    e.created = message.created;
    e.expires = e.created + absl::Hours(96);
    message.envelopes.push_back(std::move(e));
  }
  return message;
}

EnvelopeOutcome MakeOutcome(EnvelopeId id, EnvelopeOutcome::Result result) {
  EnvelopeOutcome outcome;
  outcome.envelope = id;
  outcome.result = result;
  return outcome;
}

}  // namespace holdfast
