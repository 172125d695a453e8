#include "ctl/spool/spool_reader.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "storage/crypto/sha256_stream.h"
#include "storage/import_batch.h"

namespace holdfast {
namespace {

// Never 0.  Nobody outside can make two that are the same, or mail of his would
// pass for mail that has come before.
uint64_t NumberOf(absl::string_view text) {
  Sha256Stream digest;
  digest.Add(text);
  uint64_t number = 0;
  if (!absl::SimpleHexAtoi(digest.TakeHex().substr(0, 16), &number) ||
      number == 0)
    return 1;
  return number;
}

}  // namespace

void SpoolReader::LeaveOut(absl::string_view what, absl::string_view why) {
  ++summary_.left_out;
  options_.say(absl::StrCat(what, ": ", why, "; left out"));
}

absl::Status SpoolReader::Give(absl::string_view kind,
                               absl::string_view identity,
                               std::vector<ExportEnvelope> envelopes,
                               absl::FunctionRef<absl::Status(Sink)> body) {
  ExportMessage message;
  message.origin_store = NumberOf(kind);
  message.origin_serial = NumberOf(absl::StrCat(kind, "\n", identity));
  // Ids need only differ here; the origin says what comes again.
  uint32_t id = static_cast<uint32_t>(message.origin_serial >> 32);
  while (id == 0 || !ids_.insert(MessageId{id}).second) ++id;
  message.id = MessageId{id};
  message.created = options_.now;
  // What an import would refuse is left out here.
  ImportMessage check;
  check.message = message.id;
  for (ExportEnvelope& e : envelopes) {
    e.envelope.id = MakeEnvelopeId(
        message.id,
        static_cast<uint32_t>(static_cast<uint64_t>(e.envelope.id)));
    message.created = std::min(message.created, e.envelope.created);
    check.envelopes.push_back(e.envelope);
    check.dues.push_back(e.due.value_or(options_.now));
  }
  ImportRequest request;
  request.messages.push_back(std::move(check));
  absl::Status status = CheckImportRequest(request);
  // All of it is read before any of it is used.
  if (status.ok()) {
    status = body([&](absl::string_view piece) {
      message.body.raw_bytes += piece.size();
      return absl::OkStatus();
    });
  }
  if (!status.ok()) {
    LeaveOut(identity.substr(0, identity.find('\n')), status.message());
    return absl::OkStatus();
  }
  return Feed(message, envelopes, body);
}

absl::Status SpoolReader::Feed(const ExportMessage& message,
                               const std::vector<ExportEnvelope>& envelopes,
                               absl::FunctionRef<absl::Status(Sink)> body) {
  absl::Status status = taker_.Message(message);
  for (const ExportEnvelope& e : envelopes)
    if (status.ok()) status = taker_.Envelope(e);
  if (!status.ok()) return status;
  status = body([this](absl::string_view piece) { return taker_.Body(piece); });
  if (status.ok()) status = taker_.EndMessage();
  if (!status.ok()) return status;
  ++summary_.messages;
  summary_.envelopes += envelopes.size();
  return absl::OkStatus();
}

}  // namespace holdfast
