// How the store sets aside what it found damaged.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/keys.h"
#include "storage/queue_store_impl.h"

namespace holdfast {
namespace {

// Damage that is being worked on at a time; more is found again later.
constexpr size_t kMaxDamage = 10'000;
// Rows read in one transaction: a scan must not keep freed pages long.
constexpr int kScanRows = 10'000;

std::string IdentityOf(const Damage& damage) {
  return Key()
      .Put8(static_cast<uint8_t>(damage.what))
      .Put64(static_cast<uint64_t>(damage.envelope))
      .Put8(damage.report_kind)
      .Put32(static_cast<uint32_t>(damage.message))
      .ToString();
}

std::string Describe(const Damage& damage) {
  switch (damage.what) {
    case Damage::What::kEnvelope:
      return absl::StrCat("envelope ", ToString(damage.envelope),
                          " is damaged and set aside");
    case Damage::What::kReport:
      return absl::StrCat("pending report of envelope ",
                          ToString(damage.envelope),
                          " is damaged and set aside");
    case Damage::What::kMessage:
      return absl::StrCat("message ", ToString(damage.message),
                          " is damaged, its envelopes are set aside");
    case Damage::What::kDestination:
      break;
  }
  return "index";
}

// The keys of `table` that end with this envelope's id, a page of rows at a
// time.
std::vector<std::string> FindKeys(LmdbEnv* env, ViewCount* views, Table table,
                                  EnvelopeId id) {
  std::vector<std::string> found;
  const std::string suffix = EnvelopeKey(id).ToString();
  std::string from;
  for (bool more = true; more;) {
    more = false;
    views->Enter();
    {
      LmdbTxn txn(env, LmdbTxn::kRead);
      int rows = 0;
      for (LmdbCursor row(&txn, table, from); row.valid(); row.Next()) {
        if (++rows > kScanRows) {
          from = std::string(row.key());
          more = true;
          break;
        }
        if (absl::EndsWith(row.key(), suffix)) found.emplace_back(row.key());
      }
    }
    views->Leave();
  }
  return found;
}

}  // namespace

void LmdbQueueStore::OnDamage(const Damage& damage) {
  if (damage.what != Damage::What::kDestination && !options_.read_only) {
    absl::MutexLock lock(&damage_mutex_);
    if (closing_ || damage_.size() >= kMaxDamage ||
        !damage_.insert(IdentityOf(damage)).second)
      return;
    reader_->Post([this, damage] { LocateAndSetAside(damage); });
  }
  Warn(absl::StrCat("warn: queue: ", Describe(damage), ": ", damage.reason));
}

void LmdbQueueStore::LocateAndSetAside(Damage damage) {
  SetAside aside;
  if (damage.what == Damage::What::kEnvelope) {
    const EnvelopeId id = damage.envelope;
    aside.lane_keys = FindKeys(env_.get(), &views_, Table::kLanes, id);
    aside.held_keys = FindKeys(env_.get(), &views_, Table::kHeld, id);
    aside.deadline_keys = FindKeys(env_.get(), &views_, Table::kDeadlines, id);
  }
  aside.damage = damage;
  PendingBatch batch;
  batch.aside = std::move(aside);
  batch.done = [this, identity = IdentityOf(damage)](const BatchResult&) {
    absl::MutexLock lock(&damage_mutex_);
    damage_.erase(identity);
  };
  commit_->Submit(std::move(batch));
}

}  // namespace holdfast
