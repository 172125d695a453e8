// `history` of a queued or an ended envelope, as the store knows it.
#ifndef HOLDFAST_STORAGE_HISTORY_TEXT_H_
#define HOLDFAST_STORAGE_HISTORY_TEXT_H_

#include <string>
#include <utility>
#include <vector>

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
  HistoryListing listing;
  listing.envelope = &row.envelope;
  listing.state = EndingWord(row.ending);
  listing.ended = row.ended;
  listing.serial = row.serial;
  return HistoryLines(listing, json);
}

// One in the queue.
struct QueuedHistory {
  Envelope envelope;
  DestinationFailure destination;
};

// At most `limit` behind `after`, up to `last`; `*more`: there are more.
inline std::vector<QueuedHistory> ReadQueuedHistory(const QueueView& view,
                                                    EnvelopeId after,
                                                    EnvelopeId last,
                                                    size_t limit, bool* more) {
  std::vector<QueuedHistory> queued;
  std::vector<Envelope> envelopes = view.Envelopes(after, limit);
  *more = envelopes.size() == limit && envelopes.back().id < last;
  for (Envelope& e : envelopes) {
    if (e.id > last) break;
    QueuedHistory& one = queued.emplace_back();
    const auto row = view.DestinationOf(e);
    if (row.ok() && row->failures > 0)
      one.destination = {row->error, row->failures, row->first_failure,
                         row->postponed_until};
    one.envelope = std::move(e);
  }
  return queued;
}

inline std::string HistoryLines(const QueuedHistory& queued, bool in_flight,
                                bool json) {
  constexpr uint32_t kWaits = kFlagHeld | kFlagSuspended | kFlagMoving;
  HistoryListing listing;
  listing.envelope = &queued.envelope;
  listing.state = in_flight                               ? "inflight"
                  : (queued.envelope.flags & kWaits) != 0 ? "held"
                                                          : "queued";
  listing.destination = queued.destination;
  return HistoryLines(listing, json);
}

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_HISTORY_TEXT_H_
