// `history` of a queued or an ended envelope, as the store knows it.
#ifndef HOLDFAST_STORAGE_HISTORY_TEXT_H_
#define HOLDFAST_STORAGE_HISTORY_TEXT_H_

#include <string>

#include "protocol/history_listing.h"
#include "storage/queue_store.h"

namespace holdfast {

inline absl::string_view EndingWord(Ending ending) {
  switch (ending) {
    case Ending::kDelivered:
      return "delivered";
    case Ending::kReported:
      return "reported";
    case Ending::kRemoved:
      return "removed";
    case Ending::kDiscarded:
      return "discarded";
    case Ending::kSilent:
      return "silent";
  }
  return "?";
}

inline std::string HistoryLines(const HistoryListing& listing, bool json) {
  return json ? HistoryJson(listing) : HistoryText(listing);
}

inline std::string HistoryLines(const HistoryRow& row, bool json) {
  return HistoryLines(HistoryListing{&row.envelope, EndingWord(row.ending),
                                     row.ended, row.serial},
                      json);
}

inline std::string HistoryLines(const Envelope& queued, bool in_flight,
                                bool json) {
  constexpr uint32_t kWaits = kFlagHeld | kFlagSuspended;
  return HistoryLines(
      HistoryListing{&queued, in_flight                      ? "inflight"
                              : (queued.flags & kWaits) != 0 ? "held"
                                                             : "queued"},
      json);
}

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_HISTORY_TEXT_H_
