// Records of any bytes, behind a good checksum, open or are refused.
#include <cstdint>

#include "storage/keys.h"
#include "storage/records.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast;
  const absl::string_view payload(reinterpret_cast<const char*>(data), size);
  const Key key = EnvelopeKey(EnvelopeId{1});
  const auto seal = [&](Table table) {
    return SealRecord(table, key, 1, payload);
  };
  (void)OpenEnvelope(key, payload);
  (void)OpenEnvelope(key, seal(Table::kEnvelopes));
  (void)OpenReport(key, seal(Table::kReports));
  (void)OpenHistory(key, seal(Table::kHistory));
  (void)OpenHistory(key, seal(Table::kHistory), /*head_only=*/true);
  (void)OpenRow<MessageRecord>(key, seal(Table::kMessages));
  (void)OpenRow<DestinationRecord>(key, seal(Table::kDestinations));
  (void)OpenRow<IncomingRecord>(key, seal(Table::kIncoming));
  (void)OpenRow<AsideRecord>(key, seal(Table::kAside));
  (void)OpenRow<DoubtRecord>(key, seal(Table::kDoubts));
  (void)OpenRow<StateRecord>(key, seal(Table::kMeta));
  return 0;
}
