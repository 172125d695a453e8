// Who is connected and how often, counted over all `receive` processes in
// memory that they share.
//
// `parent` makes the memory (sealed: its size never changes) and every
// `receive` maps it.  There are no locks: an entry has a column for each
// worker, only that worker writes it, and a count is the sum over the columns.
// When a worker has died, `parent` clears its column.
//
// An entry's key is its address or network itself.  A column says whose counts
// it holds; one that names another key counts as zero, so that taking an entry
// over needs no agreement between the workers.  What concurrent take-overs may
// lose is the count of a session or two, never more than was counted.
//
// Nothing that stands in this memory is trusted with more than a count: a
// worker that goes wrong can spoil limits, no more (P7).
#ifndef HOLDFAST_SERVER_RECEIVE_CLIENT_TABLE_H_
#define HOLDFAST_SERVER_RECEIVE_CLIENT_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "protocol/ip_address.h"
#include "server/door/door.h"

namespace holdfast {

// How many are known at once; sessions beyond are counted by network only, and
// those beyond that not at all.
inline constexpr uint32_t kClientSources = 16384;
inline constexpr uint32_t kClientNetworks = 8192;
// An entry stands in one of so many places.
inline constexpr uint32_t kClientWays = 8;
inline constexpr uint32_t kMaxClientColumns = 256;

// What is counted as one: an IPv4 address or IPv6 /64, an IPv4 /24 or IPv6 /48.
enum class ClientScope : uint8_t { kSource, kNetwork };
// The key of an entry; never 0.
uint64_t ClientKey(ClientScope scope, const IpAddress& address);

// Used on one thread; the memory below by many processes.
class ClientTable {
 public:
  // A sealed memfd for `columns` workers.  `seed` is random: who does not know
  // it cannot choose addresses that share their places.
  static absl::StatusOr<OwnedFd> MakeMemory(uint32_t columns, uint64_t seed);
  // Maps memory made by MakeMemory(); counts into `column`.
  static absl::StatusOr<std::unique_ptr<ClientTable>> Map(int fd,
                                                          uint32_t column);
  ~ClientTable();
  ClientTable(const ClientTable&) = delete;
  ClientTable& operator=(const ClientTable&) = delete;

  // For `parent`: the worker that counted into `column` is dead.
  void Clear(uint32_t column);

  // A session's entry.  Stays valid; once the entry was given to another key,
  // nothing is counted for this one any more.
  struct Place {
    uint32_t entry = 0;
    uint32_t epoch = 0;
    uint64_t key = 0;
  };
  // Nullopt: every place that this key could have is taken by one with an open
  // session.
  std::optional<Place> Find(ClientScope scope, uint64_t key, absl::Time now);

  // Over all workers.  `connects` and `mails`: in the last minute, estimated
  // from this and the last minute of the clock.
  struct Counts {
    uint32_t open = 0;
    uint32_t connects = 0;
    uint32_t mails = 0;
  };
  Counts Count(const Place& place, absl::Time now) const;

  void Open(const Place& place);
  void Close(const Place& place);
  void AddConnect(const Place& place, absl::Time now);
  void AddMail(const Place& place, absl::Time now);

 private:
  struct Header;
  struct Column;
  struct Entry;

  ClientTable(void* memory, size_t bytes, const Header& header,
              uint32_t column);
  Entry& entry(uint32_t index) const;
  Column& column(uint32_t index, uint32_t number) const;
  // Our own column of that entry, made to count for `key`.
  Column& Own(uint32_t index, uint64_t key);
  bool IsCurrent(const Place& place) const;
  uint32_t CountOpen(uint32_t index, uint64_t key) const;
  void AddToRate(const Place& place, absl::Time now, uint64_t unit);

  void* const memory_;
  const size_t bytes_;
  const uint64_t seed_;
  const uint32_t columns_;
  const uint32_t column_;
  std::vector<uint32_t> epochs_;  // of our column in each entry
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RECEIVE_CLIENT_TABLE_H_
