#include "storage/explained_envelope.h"

namespace holdfast {

absl::StatusOr<Envelope> FindExplained(const QueueView& view, EnvelopeId id) {
  absl::StatusOr<Envelope> envelope = view.FindEnvelope(id);
  if (!envelope.ok() || !envelope->error_line.empty()) return envelope;
  const absl::StatusOr<DestinationRow> row = view.DestinationOf(*envelope);
  if (row.ok()) envelope->error_line = row->error;
  return envelope;
}

}  // namespace holdfast
