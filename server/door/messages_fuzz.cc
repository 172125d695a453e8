// Whatever bytes a broken or hostile peer puts into a frame: decoding ends
// with a value or an error, and a value survives being encoded again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "absl/strings/string_view.h"
#include "protocol/wire.h"
#include "server/door/keys_messages.h"
#include "server/door/lookup_messages.h"
#include "server/door/parent_messages.h"
#include "server/door/receive_messages.h"
#include "server/door/table_messages.h"
#include "server/door/worker_messages.h"

namespace holdfast {
namespace {

template <class Message>
void TryOne(absl::string_view bytes) {
  const absl::StatusOr<Message> message = Decode<Message>(bytes);
  if (!message.ok()) return;
  const std::string once = Encode(*message);
  const absl::StatusOr<Message> again = Decode<Message>(once);
  if (!again.ok() || Encode(*again) != once) abort();
}

}  // namespace
}  // namespace holdfast

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast;
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  TryOne<Start>(bytes);
  TryOne<TableFile>(bytes);
  TryOne<UserQuestion>(bytes);
  TryOne<SignRequest>(bytes);
  TryOne<TicketKeys>(bytes);
  TryOne<Signature>(bytes);
  TryOne<TlsChecked>(bytes);
  TryOne<AuthStep>(bytes);
  TryOne<ListenerTableQuestion>(bytes);
  TryOne<ForwardQuestion>(bytes);
  TryOne<ForwardAnswer>(bytes);
  TryOne<PasswordQuestion>(bytes);
  TryOne<ExplainRequest>(bytes);
  TryOne<AgentRequest>(bytes);
  TryOne<AcceptRequest>(bytes);
  TryOne<ChunkRequest>(bytes);
  TryOne<ExpandRequest>(bytes);
  TryOne<ExpandAnswer>(bytes);
  TryOne<RelayBatch>(bytes);
  TryOne<BatchOutcomes>(bytes);
  TryOne<SlotRequest>(bytes);
  TryOne<AgentResults>(bytes);
  return 0;
}
