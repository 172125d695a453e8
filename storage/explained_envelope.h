// An envelope with why it is still here.
#ifndef HOLDFAST_STORAGE_EXPLAINED_ENVELOPE_H_
#define HOLDFAST_STORAGE_EXPLAINED_ENVELOPE_H_

#include "absl/status/statusor.h"
#include "protocol/envelope.h"
#include "storage/queue_store.h"

namespace holdfast {

// As QueueView::FindEnvelope(); where it was not tried itself, its error is its
// destination's, which stands in the store once for all that is for there.
absl::StatusOr<Envelope> FindExplained(const QueueView& view, EnvelopeId id);

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_EXPLAINED_ENVELOPE_H_
