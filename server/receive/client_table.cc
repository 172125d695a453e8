#include "server/receive/client_table.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <limits>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

constexpr uint64_t kMagic = 0x31746e65696c4348;  // "HClient1"
constexpr uint32_t kEntries = kClientSources + kClientNetworks;

// A minute's counts in one word, so that they are read together: the minute
// (24 bits, it may wrap), connects and mails (20 bits each, they stop there).
constexpr uint64_t kCountMask = (1 << 20) - 1;
constexpr uint64_t kOneMail = 1;
constexpr uint64_t kOneConnect = uint64_t{1} << 20;
constexpr int kMinuteShift = 40;
constexpr uint64_t kMinuteMask = (1 << 24) - 1;

uint64_t Mails(uint64_t word) { return word & kCountMask; }
uint64_t Connects(uint64_t word) { return word >> 20 & kCountMask; }
uint64_t Minute(uint64_t word) { return word >> kMinuteShift; }

uint64_t MinuteOf(absl::Time now) {
  return static_cast<uint64_t>(absl::ToUnixSeconds(now) / 60) & kMinuteMask;
}
uint64_t SecondOf(absl::Time now) {
  return static_cast<uint64_t>(absl::ToUnixSeconds(now)) % 60;
}

// Mixes all bits of `x` (the finalizer of SplitMix64).
uint64_t Mix(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9;
  x ^= x >> 27;
  x *= 0x94d049bb133111eb;
  return x ^ x >> 31;
}

absl::Status SystemError(absl::string_view what) {
  return absl::InternalError(absl::StrCat(what, ": ", strerror(errno)));
}

uint64_t BigEndian(const IpAddress& address, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; ++i) value = value << 8 | address.bytes[i];
  return value;
}

}  // namespace

struct ClientTable::Header {
  uint64_t magic;
  uint64_t seed;
  uint32_t columns;
  uint32_t unused[11];
};

struct ClientTable::Entry {
  std::atomic<uint64_t> key;      // 0: never used
  std::atomic<int64_t> last_use;  // Unix seconds
};

struct ClientTable::Column {
  std::atomic<uint64_t> key;      // whose counts these are
  std::atomic<uint64_t> rate[2];  // of the even and the odd minutes
  std::atomic<uint32_t> open;
  uint32_t unused;
};

// An IPv6 source address never begins with ff (RFC 4291 section 2.7): there is
// room for IPv4.
uint64_t ClientKey(ClientScope scope, const IpAddress& address) {
  constexpr uint64_t kInet4 = 0xff00000000000000;
  const bool source = scope == ClientScope::kSource;
  if (!address.inet6) return kInet4 | BigEndian(address, 4) >> (source ? 0 : 8);
  const uint64_t key = BigEndian(address, 8) >> (source ? 0 : 16);
  return key == 0 ? 1 : key;
}

// ---- Memory

absl::StatusOr<OwnedFd> ClientTable::MakeMemory(uint32_t columns,
                                                uint64_t seed) {
  static_assert(std::atomic<uint64_t>::is_always_lock_free);
  static_assert(std::atomic<uint32_t>::is_always_lock_free);
  if (columns == 0 || columns > kMaxClientColumns)
    return absl::InvalidArgumentError("columns of the table of clients");
  OwnedFd fd(memfd_create("clients", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return SystemError("memfd_create");
  const size_t bytes =
      sizeof(Header) +
      size_t{kEntries} * (sizeof(Entry) + columns * sizeof(Column));
  if (ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0)
    return SystemError("ftruncate");
  Header header = {};
  header.magic = kMagic;
  header.seed = seed;
  header.columns = columns;
  if (pwrite(fd.get(), &header, sizeof header, 0) != sizeof header)
    return SystemError("pwrite");
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) !=
      0)
    return SystemError("F_ADD_SEALS");
  return fd;
}

absl::StatusOr<std::unique_ptr<ClientTable>> ClientTable::Map(int fd,
                                                              uint32_t column) {
  struct stat status = {};
  if (fstat(fd, &status) != 0) return SystemError("fstat");
  const size_t bytes = static_cast<size_t>(status.st_size);
  const absl::Status wrong =
      absl::InvalidArgumentError("not the table of clients");
  if (bytes < sizeof(Header)) return wrong;
  void* const memory =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return SystemError("mmap");
  // Read once: other processes can write here.
  const Header header = *static_cast<const Header*>(memory);
  std::unique_ptr<ClientTable> table(
      new ClientTable(memory, bytes, header, column));
  if (header.magic != kMagic || header.columns > kMaxClientColumns ||
      column >= header.columns ||
      bytes != sizeof(Header) +
                   size_t{kEntries} *
                       (sizeof(Entry) + header.columns * sizeof(Column)))
    return wrong;
  return table;
}

ClientTable::ClientTable(void* memory, size_t bytes, const Header& header,
                         uint32_t column)
    : memory_(memory),
      bytes_(bytes),
      seed_(header.seed),
      columns_(header.columns),
      column_(column),
      epochs_(kEntries) {}

ClientTable::~ClientTable() { munmap(memory_, bytes_); }

ClientTable::Entry& ClientTable::entry(uint32_t index) const {
  const size_t stride = sizeof(Entry) + columns_ * sizeof(Column);
  return *reinterpret_cast<Entry*>(static_cast<char*>(memory_) +
                                   sizeof(Header) + index * stride);
}

ClientTable::Column& ClientTable::column(uint32_t index,
                                         uint32_t number) const {
  return *(reinterpret_cast<Column*>(&entry(index) + 1) + number);
}

void ClientTable::Clear(uint32_t number) {
  if (number >= columns_) return;
  for (uint32_t i = 0; i < kEntries; ++i) {
    // Pages that were never used stay so.
    if (entry(i).key.load(std::memory_order_relaxed) == 0) continue;
    Column& its = column(i, number);
    its.key.store(0, std::memory_order_relaxed);
    its.open.store(0, std::memory_order_relaxed);
    for (auto& rate : its.rate) rate.store(0, std::memory_order_relaxed);
  }
}

// ---- Finding

std::optional<ClientTable::Place> ClientTable::Find(ClientScope scope,
                                                    uint64_t key,
                                                    absl::Time now) {
  const bool source = scope == ClientScope::kSource;
  const uint32_t first = source ? 0 : kClientSources;
  const uint32_t sets =
      (source ? kClientSources : kClientNetworks) / kClientWays;
  const uint32_t set =
      first + static_cast<uint32_t>(Mix(key ^ seed_) % sets) * kClientWays;
  const int64_t seconds = absl::ToUnixSeconds(now);
  const auto take = [&](uint32_t index) {
    entry(index).last_use.store(seconds, std::memory_order_relaxed);
    Own(index, key);
    return Place{index, epochs_[index], key};
  };
  // Others take entries, too: then we look again, but not for ever.
  for (int attempt = 0; attempt < 4; ++attempt) {
    std::optional<uint32_t> oldest;
    uint64_t its_key = 0;
    int64_t its_use = std::numeric_limits<int64_t>::max();
    for (uint32_t index = set; index < set + kClientWays; ++index) {
      const uint64_t here = entry(index).key.load(std::memory_order_acquire);
      if (here == key) return take(index);
      if (here != 0 && CountOpen(index, here) > 0) continue;
      const int64_t use =
          here == 0 ? std::numeric_limits<int64_t>::min()
                    : entry(index).last_use.load(std::memory_order_relaxed);
      if (use >= its_use) continue;
      oldest = index;
      its_key = here;
      its_use = use;
    }
    if (!oldest) return std::nullopt;
    if (entry(*oldest).key.compare_exchange_strong(its_key, key,
                                                   std::memory_order_acq_rel))
      return take(*oldest);
  }
  return std::nullopt;
}

ClientTable::Column& ClientTable::Own(uint32_t index, uint64_t key) {
  Column& own = column(index, column_);
  if (own.key.load(std::memory_order_relaxed) != key) {
    own.key.store(0, std::memory_order_release);
    own.open.store(0, std::memory_order_relaxed);
    for (auto& rate : own.rate) rate.store(0, std::memory_order_relaxed);
    own.key.store(key, std::memory_order_release);
    ++epochs_[index];
  }
  return own;
}

// Whether our column still counts for this session's key.
bool ClientTable::IsCurrent(const Place& place) const {
  return epochs_[place.entry] == place.epoch;
}

// ---- Counting

uint32_t ClientTable::CountOpen(uint32_t index, uint64_t key) const {
  uint32_t open = 0;
  for (uint32_t i = 0; i < columns_; ++i) {
    const Column& its = column(index, i);
    if (its.key.load(std::memory_order_acquire) == key)
      open += its.open.load(std::memory_order_seq_cst);
  }
  return open;
}

ClientTable::Counts ClientTable::Count(const Place& place,
                                       absl::Time now) const {
  Counts counts;
  counts.open = CountOpen(place.entry, place.key);
  const uint64_t minute = MinuteOf(now);
  const uint64_t last_minute = (minute - 1) & kMinuteMask;
  // Of the last minute, the part that is not yet a minute ago.
  const uint64_t rest = 60 - SecondOf(now);
  uint64_t connects = 0, mails = 0;  // in sixtieths
  for (uint32_t i = 0; i < columns_; ++i) {
    const Column& its = column(place.entry, i);
    if (its.key.load(std::memory_order_acquire) != place.key) continue;
    for (const auto& rate : its.rate) {
      const uint64_t word = rate.load(std::memory_order_relaxed);
      const uint64_t weight = Minute(word) == minute        ? 60
                              : Minute(word) == last_minute ? rest
                                                            : 0;
      connects += Connects(word) * weight;
      mails += Mails(word) * weight;
    }
  }
  counts.connects = static_cast<uint32_t>(connects / 60);
  counts.mails = static_cast<uint32_t>(mails / 60);
  return counts;
}

void ClientTable::Open(const Place& place) {
  if (!IsCurrent(place)) return;
  column(place.entry, column_).open.fetch_add(1, std::memory_order_seq_cst);
}

void ClientTable::Close(const Place& place) {
  if (!IsCurrent(place)) return;
  column(place.entry, column_).open.fetch_sub(1, std::memory_order_seq_cst);
}

void ClientTable::AddToRate(const Place& place, absl::Time now, uint64_t unit) {
  if (!IsCurrent(place)) return;
  const uint64_t minute = MinuteOf(now);
  std::atomic<uint64_t>& rate = column(place.entry, column_).rate[minute & 1];
  uint64_t word = rate.load(std::memory_order_relaxed);
  if (Minute(word) != minute) word = minute << kMinuteShift;
  const uint64_t full = kCountMask * unit;
  if ((word & full) != full) word += unit;
  rate.store(word, std::memory_order_relaxed);
}

void ClientTable::AddConnect(const Place& place, absl::Time now) {
  AddToRate(place, now, kOneConnect);
}

void ClientTable::AddMail(const Place& place, absl::Time now) {
  AddToRate(place, now, kOneMail);
}

}  // namespace holdfast
