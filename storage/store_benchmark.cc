// What the numbers in FORMAT.md come from.  One line for each measurement.
//
//   store_benchmark accept [messages] [group] [body bytes] [recipients]
//                          [destinations]
//   store_benchmark drain [messages] [group] [1: keep history]
//                                                 claims and outcomes
//   store_benchmark retry [messages] [group] [rounds]
//                                                 the same, but to be tried
//                                                 again; attempts gather
//   store_benchmark open [envelopes]              time and memory of an opening
//   store_benchmark churn [messages] [MiB]        a store kept 80 % full
//   store_benchmark pieces [MiB] [percent full]   sizes of pieces, after churn
//   store_benchmark levels                        of zstd, for bodies
//
// The store is made below $TEST_TMPDIR or /tmp: put that on the disk to
// measure.
#include <sys/resource.h>
#include <zstd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "storage/keys.h"
#include "storage/lmdb_env.h"
#include "storage/sample_envelope.h"
#include "storage/store_for_test.h"

namespace holdfast {
namespace {

double ProcessorSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
         1e-6 * (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

long ResidentAnonymousKiB() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("RssAnon:", 0) == 0) return std::atol(line.c_str() + 8);
  }
  return 0;
}

class Meter {
 public:
  void Print(const char* what, uint64_t count) const {
    const double wall = absl::ToDoubleSeconds(absl::Now() - start_);
    const double processor = ProcessorSeconds() - processor_;
    std::printf("%-28s %9llu in %7.2f s: %9.0f /s, %6.1f us processor each\n",
                what, static_cast<unsigned long long>(count), wall,
                static_cast<double>(count) / wall,
                1e6 * processor / static_cast<double>(count));
    std::fflush(stdout);
  }

 private:
  const absl::Time start_ = absl::Now();
  const double processor_ = ProcessorSeconds();
};

// Text that zstd brings to about 45 %, as mail is.
std::string MailBody(size_t bytes, uint32_t seed) {
  std::mt19937 random(seed);
  std::string body = "Subject: measurement\nFrom: a@example.org\n\n";
  while (body.size() < bytes) {
    for (int i = 0; i < 9; ++i)
      absl::StrAppend(&body, absl::Hex(random() % (i % 2 ? 4096 : 1 << 24)),
                      i % 3 ? " " : " the ");
    body += '\n';
  }
  body.resize(bytes);
  return body;
}

// Messages that were compressed beforehand, as receive does it.
class Messages {
 public:
  Messages(size_t body_bytes, int recipients, uint32_t destinations = 1000)
      : recipients_(recipients), destinations_(destinations) {
    for (uint32_t i = 0; i < 64; ++i)
      bodies_.push_back(CompressBody(MailBody(body_bytes, i)));
  }

  AcceptMessage Make(uint32_t number) const {
    AcceptMessage message;
    message.message = MessageId{number};
    const SmallBody& body = bodies_[number % bodies_.size()];
    message.body = body.info;
    message.stored = body.stored;
    message.created = absl::FromUnixMicros(kTestNow * 1'000'000 + number);
    for (int i = 0; i < recipients_; ++i) {
      Envelope e = SampleEnvelope(number * 64 + static_cast<uint32_t>(i));
      e.id = MakeEnvelopeId(message.message, static_cast<uint32_t>(i + 1));
      e.action = "relay";
      e.kind = DeliveryKind::kMta;
      const uint32_t place = number * 7919 + static_cast<uint32_t>(i);
      e.routing_key = absl::StrCat("d", place % destinations_, ".example");
      e.created = message.created;
      e.expires = e.created + absl::Hours(96);
      message.envelopes.push_back(std::move(e));
    }
    return message;
  }

 private:
  const int recipients_;
  const uint32_t destinations_;
  std::vector<SmallBody> bodies_;
};

// At most `window` batches that are not answered.
class Window {
 public:
  Window(QueueStore* store, size_t window) : store_(store), window_(window) {}

  void Submit(QueueBatch batch) {
    {
      const auto room = [this]() { return open_ < window_; };
      absl::MutexLock lock(&mutex_, absl::Condition(&room));
      ++open_;
    }
    store_->Submit(std::move(batch), [this](BatchResult result) {
      absl::MutexLock lock(&mutex_);
      --open_;
      for (const OperationResult& operation : result.operations)
        refused_ += !operation.status.ok();
    });
  }
  uint64_t Finish() {
    store_->Drain();
    absl::MutexLock lock(&mutex_);
    return refused_;
  }

 private:
  QueueStore* const store_;
  const size_t window_;
  absl::Mutex mutex_;
  size_t open_ = 0;
  uint64_t refused_ = 0;
};

StoreForTest* OpenStore(uint64_t mebibytes, bool history = false) {
  auto* const store = new StoreForTest;
  if (history) store->options().history_age = absl::Hours(48);
  store->options().size_limit = mebibytes << 20;
  store->options().reserve_bytes = 16 << 20;
  const absl::Status status = store->Open();
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    std::exit(1);
  }
  return store;
}

void CloseStore(StoreForTest* store) {
  store->Close();
  for (const char* name : {"queue.mdb", "queue.mdb-lock", "owner.lock"})
    std::remove(absl::StrCat(store->folder(), "/", name).c_str());
  std::remove(store->folder().c_str());
  delete store;
}

void Accept(uint32_t count, size_t group, size_t body, int recipients,
            uint32_t destinations) {
  const Messages messages(body, recipients, destinations);
  StoreForTest* const store = OpenStore(16 << 10);
  std::vector<QueueBatch> batches(count);
  for (uint32_t i = 0; i < count; ++i)
    batches[i].push_back(messages.Make(i + 1));
  const Meter meter;
  Window window(store->store(), group);
  for (QueueBatch& batch : batches) window.Submit(std::move(batch));
  const uint64_t refused = window.Finish();
  meter.Print("accept", count);
  std::printf("  refused %llu, commits %llu\n",
              static_cast<unsigned long long>(refused),
              static_cast<unsigned long long>(store->View()->Stats().commits));
  CloseStore(store);
}

void Fill(StoreForTest* store, const Messages& messages, uint32_t first,
          uint32_t count) {
  Window window(store->store(), 512);
  for (uint32_t i = 0; i < count; ++i) {
    QueueBatch batch;
    batch.push_back(messages.Make(first + i));
    window.Submit(std::move(batch));
  }
  if (window.Finish() > 0) std::printf("  (refused some)\n");
}

EnvelopeOutcome Outcome(EnvelopeId id, EnvelopeOutcome::Result result) {
  EnvelopeOutcome outcome = MakeOutcome(id, result);
  outcome.due = absl::FromUnixSeconds(kTestNow);
  Attempt& attempt = outcome.attempt.emplace();
  attempt.began = absl::Now();
  attempt.took = absl::Milliseconds(1234);
  attempt.source = "192.0.2.1";
  attempt.relay = absl::StrCat("198.51.100.", static_cast<uint64_t>(id) % 200,
                               " (mx1.example.net)");
  attempt.tls = "TLSv1.3:TLS_AES_256_GCM_SHA384:256 verified";
  attempt.answer = "451 4.7.1 Greylisting in action, please come back later";
  outcome.error_line = attempt.answer;
  return outcome;
}

// Claims messages [first, first + count) and gives them this outcome, `group`
// in a batch.
void DrainMessages(
    StoreForTest* store, uint32_t first, uint32_t count, uint32_t group,
    EnvelopeOutcome::Result result = EnvelopeOutcome::Result::kEnded) {
  Window window(store->store(), 4);
  for (uint32_t i = 0; i < count; i += group) {
    ClaimEnvelopes claim{WorkerId{1}, BatchId{first + i}, {}};
    RecordOutcomes record{WorkerId{1}, BatchId{first + i}, {}};
    for (uint32_t n = i; n < std::min(count, i + group); ++n) {
      const EnvelopeId id = MakeEnvelopeId(MessageId{first + n}, 1);
      claim.envelopes.push_back(id);
      record.outcomes.push_back(Outcome(id, result));
    }
    QueueBatch one, two;
    one.push_back(std::move(claim));
    window.Submit(std::move(one));
    two.push_back(std::move(record));
    window.Submit(std::move(two));
  }
  if (window.Finish() > 0) std::printf("  (refused some)\n");
}

void Drain(uint32_t count, uint32_t group, bool history) {
  StoreForTest* const store = OpenStore(16 << 10, history);
  Fill(store, Messages(10240, 1), 1, count);
  const Meter meter;
  DrainMessages(store, 1, count, group);
  meter.Print("claim and deliver", count);
  std::printf("  history: %llu octets each\n",
              static_cast<unsigned long long>(
                  store->View()->Stats().history_bytes / count));
  CloseStore(store);
}

void Retry(uint32_t count, uint32_t group, uint32_t rounds) {
  StoreForTest* const store = OpenStore(16 << 10);
  Fill(store, Messages(1024, 1), 1, count);
  for (uint32_t round = 1; round <= rounds; ++round) {
    const Meter meter;
    DrainMessages(store, 1, count, group, EnvelopeOutcome::Result::kRetry);
    meter.Print(absl::StrCat("claim and retry, ", round).c_str(), count);
  }
  CloseStore(store);
}

void OpenLarge(uint32_t envelopes) {
  StoreForTest* const store = OpenStore(64 << 10);
  const Meter fill;
  Fill(store, Messages(600, 10), 1, envelopes / 10);
  fill.Print("fill, 10 recipients", envelopes);
  store->Close();
  const long before = ResidentAnonymousKiB();
  const Meter meter;
  if (!store->Open().ok()) std::exit(1);
  const auto agenda = store->View()->Agenda(
      absl::InfinitePast(), DestinationId{0}, absl::InfiniteFuture(), 100);
  meter.Print("open", 1);
  std::printf("  first %zu of the agenda at hand, %ld KiB more memory\n",
              agenda.size(), ResidentAnonymousKiB() - before);
  const Meter check;
  const std::string problems = store->Check();
  check.Print("CheckQueue", envelopes);
  if (!problems.empty()) std::printf("%s", problems.c_str());
  CloseStore(store);
}

// Keeps a store 80 % full: removes at random what came first or lately, accepts
// as much, until `count` went through.
void Churn(uint32_t count, uint64_t mebibytes) {
  StoreForTest* const store = OpenStore(mebibytes);
  const Messages small(3000, 1), middle(10240, 1), large(60000, 1);
  std::mt19937 random(1);
  std::vector<uint32_t> here;
  const auto make = [&](uint32_t number) {
    const uint32_t kind = number % 16;
    return kind == 0  ? large.Make(number)
           : kind < 6 ? middle.Make(number)
                      : small.Make(number);
  };
  uint32_t next = 1;
  uint32_t removed = 0;
  const uint64_t limit = mebibytes << 20;
  Window window(store->store(), 256);
  std::unique_ptr<Meter> meter(new Meter);
  uint32_t lap_start = 0;
  const uint32_t lap = std::max(count / 8, 1u);
  while (removed < count) {
    const StoreStats stats = store->View()->Stats();
    const uint32_t step = 500;
    if (stats.used_bytes < limit / 10 * 8) {
      for (uint32_t i = 0; i < step; ++i) {
        QueueBatch batch;
        here.push_back(next);
        batch.push_back(make(next++));
        window.Submit(std::move(batch));
      }
    } else {
      for (uint32_t i = 0; i < step && !here.empty(); ++i) {
        const size_t at = random() % here.size();
        QueueBatch batch;
        ActOnEnvelope remove;
        remove.envelope = MakeEnvelopeId(MessageId{here[at]}, 1);
        remove.act = ActOnEnvelope::Act::kRemove;
        batch.push_back(remove);
        here[at] = here.back();
        here.pop_back();
        window.Submit(std::move(batch));
        ++removed;
      }
    }
    store->store()->Drain();
    if (removed - lap_start >= lap) {
      meter->Print("churn: removed (as many in)", removed - lap_start);
      lap_start = removed;
      meter.reset(new Meter);
    }
  }
  const uint64_t refused = window.Finish();
  std::printf("  %zu messages in the queue, refused %llu, %s\n", here.size(),
              static_cast<unsigned long long>(refused),
              store->Check().empty() ? "sound" : "NOT SOUND");
  CloseStore(store);
}

// Bodies in pieces of several sizes in a bare LMDB table, kept so full.
void Pieces(uint64_t mebibytes, uint32_t percent) {
  for (const size_t pages : {1, 2, 4, 8, 16}) {
    const size_t piece = pages * 4096 - 16;
    const std::string path = MakeTestFolder() + "/pieces";
    LmdbOptions options;
    options.path = path;
    options.map_bytes = mebibytes << 20;
    options.create = true;
    auto env = LmdbEnv::Open(options);
    if (!env.ok()) std::exit(1);
    std::mt19937 random(1);
    const std::string bytes = MailBody(64 << 10, 1);
    std::vector<uint32_t> here;
    uint32_t next = 1;
    uint64_t in = 0, full = 0;
    const uint64_t limit = (mebibytes << 20) / 4096 * percent / 100;
    const Meter meter;
    while (next < 12 * limit / 5 && full < 1000) {
      LmdbTxn txn((*env).get(), LmdbTxn::kWrite);
      const bool more = txn.UsedPages() < limit;
      for (int i = 0; i < 64 && (more || !here.empty()); ++i) {
        if (more) {
          // Of 1 to 24 KiB, some of 64.
          size_t left = next % 16 == 0 ? 64 << 10 : 1024 + random() % 23000;
          for (uint16_t n = 0; left > 0; ++n) {
            const size_t size = std::min(left, piece);
            txn.Put(Table::kBodies, BodyKey(MessageId{next}, 0, n),
                    absl::string_view(bytes).substr(0, size));
            left -= size;
          }
          here.push_back(next++);
          ++in;
        } else {
          const size_t at = random() % here.size();
          const Key key = MessageKey(MessageId{here[at]});
          LmdbCursor row(&txn, Table::kBodies, key);
          while (row.valid() &&
                 row.key().substr(0, 4) == absl::string_view(key))
            row.DeleteAndNext();
          here[at] = here.back();
          here.pop_back();
        }
      }
      if (!txn.Commit().ok()) {
        // What was put or removed is not: forget what is not known any more.
        ++full;
        if (more) here.resize(here.size() - 64);
      }
    }
    meter.Print(absl::StrCat("pieces of ", pages, " pages").c_str(), in);
    std::printf("  %.1f %% of the map ever used, no room %llu times\n",
                100.0 * static_cast<double>((*env)->Space().last_page) * 4096 /
                    static_cast<double>(mebibytes << 20),
                static_cast<unsigned long long>(full));
    env->reset();
    std::remove(path.c_str());
    std::remove((path + "-lock").c_str());
  }
}

void Levels() {
  for (const size_t size : {size_t{2048}, size_t{10240}, size_t{60000}}) {
    const std::string body = MailBody(size, 1);
    for (const int level : {-3, -1, 1, 2, 3}) {
      ZSTD_CCtx* const context = ZSTD_createCCtx();
      ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
      std::string out(ZSTD_compressBound(size), '\0');
      size_t stored = 0;
      const uint32_t rounds = 20'000'000 / static_cast<uint32_t>(size);
      const Meter meter;
      for (uint32_t i = 0; i < rounds; ++i)
        stored =
            ZSTD_compress2(context, out.data(), out.size(), body.data(), size);
      meter.Print(absl::StrCat("zstd ", level, ", ", size, " octets").c_str(),
                  rounds);
      std::printf("  to %.1f %%\n", 100.0 * static_cast<double>(stored) /
                                        static_cast<double>(size));
      ZSTD_freeCCtx(context);
    }
  }
}

}  // namespace
}  // namespace holdfast

int main(int argc, char** argv) {
  using namespace holdfast;
  const auto number = [&](int at, uint32_t fallback) {
    return argc > at ? static_cast<uint32_t>(std::atol(argv[at])) : fallback;
  };
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "accept") {
    Accept(number(2, 50'000), number(3, 64), number(4, 10240),
           static_cast<int>(number(5, 1)), number(6, 1000));
  } else if (what == "drain") {
    Drain(number(2, 50'000), number(3, 50), number(4, 0) == 1);
  } else if (what == "retry") {
    Retry(number(2, 50'000), number(3, 50), number(4, 8));
  } else if (what == "open") {
    OpenLarge(number(2, 1'000'000));
  } else if (what == "churn") {
    Churn(number(2, 1'000'000), number(3, 1024));
  } else if (what == "pieces") {
    Pieces(number(2, 512), number(3, 80));
  } else if (what == "levels") {
    Levels();
  } else {
    std::fprintf(stderr, "usage: see the top of the source\n");
    return 2;
  }
  return 0;
}
