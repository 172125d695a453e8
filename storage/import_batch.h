// Requests of an import as changes of the queue.
#ifndef HOLDFAST_STORAGE_IMPORT_BATCH_H_
#define HOLDFAST_STORAGE_IMPORT_BATCH_H_

#include "absl/status/status.h"
#include "protocol/queue_transfer.h"
#include "storage/queue_batch.h"

namespace holdfast {

// Whether it can be what an export said: kInvalidArgument.  Everything that the
// SMTP side promises of an envelope's texts is asked here again; an archive may
// be anybody's.
absl::Status CheckImportRequest(const ImportRequest& request);
// The same of one envelope of `message`.
absl::Status CheckImportEnvelope(const Envelope& envelope, MessageId message);

// In the order of the answer's results; drops are last and have none.
QueueBatch ImportBatch(ImportRequest request);

// `result` is that of ImportBatch(request); `results`: chunks and messages.
ImportAnswer ImportAnswerOf(const BatchResult& result, size_t results);

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_IMPORT_BATCH_H_
