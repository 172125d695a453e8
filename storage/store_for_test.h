// A store in a folder of its own, with calls that wait.  For tests.
#ifndef HOLDFAST_STORAGE_STORE_FOR_TEST_H_
#define HOLDFAST_STORAGE_STORE_FOR_TEST_H_

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "storage/body_codec.h"
#include "storage/queue_store.h"

namespace holdfast {

// A new folder below TEST_TMPDIR.
std::string MakeTestFolder();

inline constexpr int64_t kTestNow = 1'800'000'000;

class StoreForTest {
 public:
  // 64 MiB with 1 MiB reserve, and no demands on the file system.
  StoreForTest() : StoreForTest(MakeTestFolder()) {}
  explicit StoreForTest(std::string folder);

  StoreOptions& options() { return options_; }
  // Closes it first if it is open.
  absl::Status Open();
  void Close() { store_.reset(); }
  QueueStore* store() { return store_.get(); }
  const std::string& folder() const { return folder_; }
  std::string file() const { return folder_ + "/queue.mdb"; }

  BatchResult Run(QueueBatch batch);
  OperationResult RunOne(QueueOperation operation);
  // Problems found, one a line; empty: none.
  std::string Check();
  std::unique_ptr<QueueView> View() { return *store_->View(); }
  std::vector<std::string> warnings();
  void set_now(absl::Time now) { *now_ = absl::ToUnixMicros(now); }

 private:
  struct Warnings {
    absl::Mutex mutex;
    std::vector<std::string> lines;
  };

  const std::string folder_;
  std::shared_ptr<Warnings> warnings_ = std::make_shared<Warnings>();
  // Read by the commit thread; microseconds.
  std::shared_ptr<std::atomic<int64_t>> now_ =
      std::make_shared<std::atomic<int64_t>>(kTestNow * 1'000'000);
  StoreOptions options_;
  std::unique_ptr<QueueStore> store_;
};

// A message with `recipients` envelopes to domains "d0.example", ... , all due
// at kTestNow.
AcceptMessage MakeMessage(MessageId id, int recipients, absl::string_view body);

EnvelopeOutcome MakeOutcome(EnvelopeId id, EnvelopeOutcome::Result result);

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_STORE_FOR_TEST_H_
