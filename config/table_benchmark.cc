// Tables of a million entries: how long they take to load, what they hold, and
// how long a question takes.  Half of the keys that are asked for are there.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "config/db_writer_for_test.h"
#include "config/table.h"

namespace holdfast {
namespace {

constexpr size_t kEntries = 1000000;
constexpr size_t kKeys = 4096;

// The numbers below kEntries in no order.
size_t Shuffled(size_t i) { return i * 7919 % kEntries; }

std::string Network(size_t i) {
  const size_t bits = i % 4 == 0 ? 24 : 32;
  return absl::StrCat(1 + i / 65536 % 200, ".", i / 256 % 256, ".", i % 256,
                      ".", bits == 24 ? 0 : i % 251, "/", bits);
}

struct Sample {
  const char* backend;
  TableService service;
  std::function<std::string(size_t)> key;    // the i-th entry's
  std::function<std::string(size_t)> value;  // null: a list
  std::function<std::string(size_t)> asked;
};

const Sample& SampleOf(int number) {
  static const std::vector<Sample> all = {
      {"static", TableService::kAlias,
       [](size_t i) { return absl::StrCat("user", i); },
       [](size_t i) { return absl::StrCat("mailbox", i, "@example.org"); },
       [](size_t i) { return absl::StrCat("user", i); }},
      {"static", TableService::kDomain,
       [](size_t i) {
         return absl::StrCat(i % 10 == 0 ? "*." : "", "d", i, ".example.org");
       },
       nullptr,
       [](size_t i) {
         return absl::StrCat(i % 2 == 0 ? "mx." : "", "d", i, ".example.org");
       }},
      {"static", TableService::kNetaddr, Network, nullptr,
       [](size_t i) {
         const std::string network = Network(i);
         return network.substr(0, network.find('/'));
       }},
      {"static", TableService::kMailaddr,
       [](size_t i) {
         return absl::StrCat(i % 3 == 0 ? "" : absl::StrCat("user", i), "@d", i,
                             ".example.org");
       },
       nullptr,
       [](size_t i) {
         return absl::StrCat("user", i, "+tag@d", i, ".example.org");
       }},
      {"db", TableService::kAlias,
       [](size_t i) { return absl::StrCat("user", i); },
       [](size_t i) { return absl::StrCat("mailbox", i, "@example.org"); },
       [](size_t i) { return absl::StrCat("user", i); }},
  };
  return all[number];
}

const std::string& BytesOf(int number) {
  static std::vector<std::string> made(5);
  std::string& bytes = made[number];
  const Sample& sample = SampleOf(number);
  if (!bytes.empty()) return bytes;
  std::vector<std::pair<std::string, std::string>> entries;
  for (size_t i = 0; i < kEntries; ++i) {
    const size_t n = Shuffled(i);
    const std::string value = sample.value ? sample.value(n) : "";
    if (sample.backend == std::string("db")) {
      entries.emplace_back(sample.key(n), value);
    } else {
      absl::StrAppend(&bytes, sample.key(n), value.empty() ? "" : " ", value,
                      "\n");
    }
  }
  if (!entries.empty()) {
    bytes = DbBytes(entries);
  }
  return bytes;
}

std::shared_ptr<const TableContents> Load(int number) {
  const Sample& sample = SampleOf(number);
  auto contents = ParseTableBytes(sample.backend, "/t", BytesOf(number));
  if (!contents.ok()) std::abort();
  (*contents)->Prepare(sample.service);
  return *std::move(contents);
}

void BM_Load(benchmark::State& state) {
  const int number = static_cast<int>(state.range(0));
  BytesOf(number);
  size_t memory = 0;
  for (auto _ : state) memory = Load(number)->MemoryUse();
  state.counters["entries"] = kEntries;
  state.counters["file_bytes"] = static_cast<double>(BytesOf(number).size());
  state.counters["held_bytes"] = static_cast<double>(memory);
}

void BM_Lookup(benchmark::State& state) {
  const int number = static_cast<int>(state.range(0));
  const Sample& sample = SampleOf(number);
  Table table("t", Table::Kind::kMap, sample.backend, "/t");
  table.Replace(Load(number));
  std::vector<std::string> keys;
  for (size_t i = 0; i < kKeys; ++i) {
    keys.push_back(sample.asked(Shuffled(i) + (i % 2) * kEntries));
  }
  size_t next = 0;
  size_t found = 0;
  for (auto _ : state) {
    found += table.Check(sample.service, keys[next++ % kKeys]).value() ? 1 : 0;
  }
  state.counters["found"] =
      static_cast<double>(found) / static_cast<double>(state.iterations());
}

void Names(benchmark::internal::Benchmark* b) {
  b->ArgName("0map_1domain_2netaddr_3mailaddr_4db")->DenseRange(0, 4);
}
BENCHMARK(BM_Load)->Apply(Names)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_Lookup)->Apply(Names);

}  // namespace
}  // namespace holdfast
