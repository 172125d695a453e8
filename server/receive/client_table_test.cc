#include "server/receive/client_table.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <map>
#include <random>
#include <string>
#include <thread>

#include "gtest/gtest.h"

namespace holdfast {
namespace {

const absl::Time kNoon = absl::FromUnixSeconds(1790000000 / 60 * 60);

IpAddress Address(const std::string& text) {
  const std::optional<IpAddress> address = IpAddress::Parse(text);
  EXPECT_TRUE(address) << text;
  return address.value_or(IpAddress());
}

uint64_t Source(const std::string& text) {
  return ClientKey(ClientScope::kSource, Address(text));
}
uint64_t Network(const std::string& text) {
  return ClientKey(ClientScope::kNetwork, Address(text));
}

class ClientTableTest : public testing::Test {
 protected:
  std::unique_ptr<ClientTable> Map(uint32_t column) {
    auto table = ClientTable::Map(memory_->get(), column);
    EXPECT_TRUE(table.ok()) << table.status();
    return table.ok() ? std::move(*table) : nullptr;
  }
  absl::StatusOr<OwnedFd> memory_ = ClientTable::MakeMemory(4, 12345);
};

TEST(ClientKey, AddressesAndNetworks) {
  EXPECT_NE(Source("192.0.2.1"), Source("192.0.2.2"));
  EXPECT_EQ(Network("192.0.2.1"), Network("192.0.2.254"));
  EXPECT_NE(Network("192.0.2.1"), Network("192.0.3.1"));
  EXPECT_EQ(Source("2001:db8:1:2::1"), Source("2001:db8:1:2:ffff::9"));
  EXPECT_NE(Source("2001:db8:1:2::1"), Source("2001:db8:1:3::1"));
  EXPECT_EQ(Network("2001:db8:1:2::1"), Network("2001:db8:1:3::1"));
  EXPECT_NE(Network("2001:db8:1::1"), Network("2001:db8:2::1"));
  EXPECT_NE(Source("::"), 0u);
  // A mapped address is the IPv4 one.
  EXPECT_EQ(Source("::ffff:192.0.2.1"), Source("192.0.2.1"));
}

TEST_F(ClientTableTest, TheMemoryCannotChangeItsSize) {
  EXPECT_NE(ftruncate(memory_->get(), 10), 0);
  EXPECT_NE(ftruncate(memory_->get(), 100 << 20), 0);
  const int seals = fcntl(memory_->get(), F_GET_SEALS);
  EXPECT_EQ(seals, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
}

TEST_F(ClientTableTest, OnlyWhatIsATableIsMapped) {
  EXPECT_FALSE(ClientTable::Map(memory_->get(), 4).ok());  // no such column
  OwnedFd other(memfd_create("x", MFD_CLOEXEC));
  EXPECT_FALSE(ClientTable::Map(other.get(), 0).ok());
  ASSERT_EQ(ftruncate(other.get(), 1 << 20), 0);
  EXPECT_FALSE(ClientTable::Map(other.get(), 0).ok());
  EXPECT_FALSE(ClientTable::MakeMemory(0, 1).ok());
  EXPECT_FALSE(ClientTable::MakeMemory(kMaxClientColumns + 1, 1).ok());
}

TEST_F(ClientTableTest, WorkersSeeEachOther) {
  auto a = Map(0), b = Map(1);
  const auto in_a = a->Find(ClientScope::kSource, Source("192.0.2.1"), kNoon);
  const auto in_b = b->Find(ClientScope::kSource, Source("192.0.2.1"), kNoon);
  ASSERT_TRUE(in_a && in_b);
  a->Open(*in_a);
  b->Open(*in_b);
  b->Open(*in_b);
  EXPECT_EQ(a->Count(*in_a, kNoon).open, 3u);
  a->Close(*in_a);
  EXPECT_EQ(b->Count(*in_b, kNoon).open, 2u);
}

TEST_F(ClientTableTest, TheDeadDoNotCount) {
  auto a = Map(0), b = Map(1);
  const uint64_t key = Source("192.0.2.1");
  const auto in_a = a->Find(ClientScope::kSource, key, kNoon);
  const auto in_b = b->Find(ClientScope::kSource, key, kNoon);
  a->Open(*in_a);
  b->Open(*in_b);
  b->AddConnect(*in_b, kNoon);
  a->Clear(1);
  EXPECT_EQ(a->Count(*in_a, kNoon).open, 1u);
  EXPECT_EQ(a->Count(*in_a, kNoon).connects, 0u);
  // Its successor begins anew.
  auto c = Map(1);
  const auto in_c = c->Find(ClientScope::kSource, key, kNoon);
  c->Open(*in_c);
  EXPECT_EQ(a->Count(*in_a, kNoon).open, 2u);
}

TEST_F(ClientTableTest, RatesFadeOverAMinute) {
  auto table = Map(0);
  const auto place =
      table->Find(ClientScope::kSource, Source("192.0.2.1"), kNoon);
  for (int i = 0; i < 60; ++i) table->AddConnect(*place, kNoon);
  table->AddMail(*place, kNoon);
  const auto at = [&](int seconds) {
    return table->Count(*place, kNoon + absl::Seconds(seconds)).connects;
  };
  EXPECT_EQ(at(0), 60u);
  EXPECT_EQ(at(59), 60u);
  EXPECT_EQ(at(60), 60u);
  EXPECT_EQ(at(90), 30u);
  EXPECT_EQ(at(119), 1u);
  EXPECT_EQ(at(120), 0u);
  EXPECT_EQ(table->Count(*place, kNoon).mails, 1u);
  // A count stops at its largest value; the other is not touched.
  const absl::Time later = kNoon + absl::Minutes(2);
  for (int i = 0; i < (1 << 20) + 5; ++i) table->AddMail(*place, later);
  EXPECT_EQ(table->Count(*place, later).mails, (1u << 20) - 1);
  EXPECT_EQ(table->Count(*place, later).connects, 0u);
  // And so if the clock goes back.
  EXPECT_EQ(table->Count(*place, kNoon - absl::Hours(1)).connects, 0u);
}

// As many as the table has places for the keys, and more: the entry idle
// longest goes, one with an open session never.
TEST_F(ClientTableTest, AFullTableForgetsTheIdleFirst) {
  auto table = Map(0);
  const uint64_t kept = Source("192.0.2.1");
  const auto open = table->Find(ClientScope::kSource, kept, kNoon);
  table->Open(*open);
  absl::Time now = kNoon;
  for (uint32_t i = 0; i < 4 * kClientSources; ++i) {
    now += absl::Seconds(1);
    ASSERT_TRUE(table->Find(ClientScope::kSource, 0x2001 + i * 7ull, now));
  }
  const auto again = table->Find(ClientScope::kSource, kept, now);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->entry, open->entry);
  EXPECT_EQ(table->Count(*again, now).open, 1u);
  // The last one is still there, with its place.
  const uint64_t last = 0x2001 + (4 * kClientSources - 1) * 7ull;
  const auto place = table->Find(ClientScope::kSource, last, now);
  table->AddConnect(*place, now);
  EXPECT_EQ(
      table->Count(*table->Find(ClientScope::kSource, last, now), now).connects,
      1u);
}

TEST_F(ClientTableTest, NoPlaceWhenAllHaveSessions) {
  auto table = Map(0);
  uint64_t key = 1;
  uint32_t refused = 0;
  for (uint32_t i = 0; i < 2 * kClientNetworks; ++i) {
    const auto place = table->Find(ClientScope::kNetwork, key++, kNoon);
    if (place)
      table->Open(*place);
    else
      ++refused;
  }
  EXPECT_GE(refused, kClientNetworks);
  // Sources have places of their own.
  EXPECT_TRUE(table->Find(ClientScope::kSource, 1, kNoon));
}

// Against a simple model, for one worker without pressure: sessions that come
// and go count exactly, also beyond the loss of an entry.
TEST_F(ClientTableTest, CountsAsAModel) {
  auto table = Map(0);
  auto other = Map(1);
  std::mt19937 random(7);
  struct Session {
    uint64_t key;
    ClientTable* table;
    ClientTable::Place place;
  };
  std::vector<Session> sessions;
  std::map<uint64_t, uint32_t> model;
  for (int step = 0; step < 50000; ++step) {
    if (sessions.empty() || random() % 5 < 3) {
      const uint64_t key = 1 + random() % 300;
      ClientTable* const at = random() % 2 ? table.get() : other.get();
      const auto place = at->Find(ClientScope::kSource, key, kNoon);
      ASSERT_TRUE(place);
      at->Open(*place);
      sessions.push_back({key, at, *place});
      ++model[key];
    } else {
      std::swap(sessions[random() % sessions.size()], sessions.back());
      const Session gone = sessions.back();
      sessions.pop_back();
      gone.table->Close(gone.place);
      --model[gone.key];
    }
    if (sessions.empty()) continue;
    const Session& any = sessions[random() % sessions.size()];
    ASSERT_EQ(table->Count(any.place, kNoon).open, model[any.key]);
  }
}

// A place that was lost counts for nobody, above all not for who has it now.
TEST_F(ClientTableTest, ALostPlaceIsSilent) {
  auto table = Map(0);
  const auto first = table->Find(ClientScope::kSource, 1000, kNoon);
  // Idle: others take all places.
  for (uint64_t key = 2000; key < 2000 + 4 * kClientSources; ++key)
    table->Find(ClientScope::kSource, key, kNoon + absl::Seconds(1));
  const auto again =
      table->Find(ClientScope::kSource, 1000, kNoon + absl::Seconds(2));
  ASSERT_TRUE(again);
  table->Open(*again);
  table->Close(*first);
  table->AddConnect(*first, kNoon);
  EXPECT_EQ(table->Count(*again, kNoon).open, 1u);
  EXPECT_EQ(table->Count(*again, kNoon).connects, 0u);
}

// Many workers at once: never more than the limit are let in together, and in
// the end nobody is.
TEST_F(ClientTableTest, ManyWorkersAtOnce) {
  constexpr int kWorkers = 4, kRounds = 20000, kKeys = 3;
  constexpr uint32_t kLimit = 3;
  std::vector<std::unique_ptr<ClientTable>> tables;
  for (int i = 0; i < kWorkers; ++i)
    tables.push_back(Map(static_cast<uint32_t>(i)));
  std::atomic<uint32_t> inside[kKeys] = {};
  std::atomic<bool> wrong{false};
  std::atomic<uint32_t> admitted{0};
  std::barrier start(kWorkers);
  std::vector<std::thread> threads;
  for (int i = 0; i < kWorkers; ++i) {
    threads.emplace_back([&, table = tables[i].get(), i] {
      std::mt19937 random(static_cast<uint32_t>(i));
      std::vector<std::pair<int, ClientTable::Place>> mine;
      start.arrive_and_wait();
      for (int round = 0; round < kRounds; ++round) {
        const int key = static_cast<int>(random() % kKeys);
        const auto place = table->Find(ClientScope::kSource,
                                       100 + static_cast<uint64_t>(key), kNoon);
        if (!place) {
          wrong = true;
          break;
        }
        table->Open(*place);
        if (table->Count(*place, kNoon).open <= kLimit) {
          if (++inside[key] > kLimit) wrong = true;
          ++admitted;
          mine.emplace_back(key, *place);
        } else {
          table->Close(*place);
        }
        if (mine.size() > 2 || (random() % 2 == 0 && !mine.empty())) {
          --inside[mine.back().first];
          table->Close(mine.back().second);
          mine.pop_back();
        }
      }
      for (const auto& [key, place] : mine) {
        --inside[key];
        table->Close(place);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(wrong);
  EXPECT_GT(admitted, 0u);
  for (uint64_t key = 100; key < 100 + kKeys; ++key) {
    const auto place = tables[0]->Find(ClientScope::kSource, key, kNoon);
    EXPECT_EQ(tables[0]->Count(*place, kNoon).open, 0u);
  }
}

// Under pressure for places, counts may be lost but never made.
TEST_F(ClientTableTest, ManyWorkersAndTooManyKeys) {
  constexpr int kWorkers = 4;
  std::vector<std::unique_ptr<ClientTable>> tables;
  for (int i = 0; i < kWorkers; ++i)
    tables.push_back(Map(static_cast<uint32_t>(i)));
  std::atomic<bool> wrong{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < kWorkers; ++i) {
    threads.emplace_back([&, table = tables[i].get(), i] {
      std::mt19937_64 random(static_cast<uint64_t>(i));
      for (int round = 0; round < 100000; ++round) {
        const absl::Time now = kNoon + absl::Seconds(round);
        const auto place = table->Find(
            ClientScope::kNetwork, 1 + random() % (4 * kClientNetworks), now);
        if (!place) continue;
        table->Open(*place);
        if (table->Count(*place, now).open > kWorkers) wrong = true;
        table->Close(*place);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(wrong);
  for (uint64_t key = 1; key <= 4 * kClientNetworks; ++key) {
    const auto place = tables[0]->Find(ClientScope::kNetwork, key, kNoon);
    ASSERT_TRUE(place);
    EXPECT_EQ(tables[0]->Count(*place, kNoon).open, 0u);
  }
}

}  // namespace
}  // namespace holdfast
