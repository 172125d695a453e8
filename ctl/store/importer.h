// Puts mail into a queue, once, however often it is offered.
#ifndef HOLDFAST_CTL_STORE_IMPORTER_H_
#define HOLDFAST_CTL_STORE_IMPORTER_H_

#include <string>
#include <vector>

#include "ctl/store/mail_source.h"
#include "ctl/store/queue_link.h"
#include "storage/body_codec.h"

namespace holdfast {

struct ImportOptions {
  enum class Ids {
    kKeepFree,  // those that are free, others anew
    kSame,      // the same, or not at all
    kNew,       // all anew
  } ids = Ids::kKeepFree;
  bool again = false;  // storage's ImportOrigin
};

class Importer : public MailTaker {
 public:
  // `link` outlives it.
  Importer(QueueLink* link, ImportOptions options)
      : link_(*link), options_(options) {}

  absl::Status Message(const ExportMessage& message) override;
  absl::Status Envelope(const ExportEnvelope& envelope) override;
  absl::Status Body(absl::string_view bytes) override;
  absl::Status EndMessage() override;
  // What is on its way is taken.  Call it at the end.
  absl::Status Finish();

  uint64_t taken() const { return taken_; }      // envelopes
  uint64_t repeats() const { return repeats_; }  // had come before
  uint64_t gone() const { return gone_; }  // this store's own, see --again
  uint64_t renumbered() const { return renumbered_; }  // messages

 private:
  absl::Status SendChunks(std::vector<std::string> chunks);
  absl::Status BeginChunks(ImportChunk first);
  absl::Status Flush();
  absl::Status OnResult(ImportMessage* message, const ImportResult& result);
  absl::Status Renumber(ImportMessage* message);
  absl::Status ErrorOf(const ImportMessage& message,
                       const ImportResult& result) const;

  QueueLink& link_;
  const ImportOptions options_;
  ImportMessage message_;  // the one that comes
  BodyCompressor body_;
  uint32_t chunks_ = 0;  // of it, sent
  std::vector<ImportMessage> ready_;
  size_t ready_bytes_ = 0;
  uint64_t taken_ = 0, repeats_ = 0, gone_ = 0, renumbered_ = 0;
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_STORE_IMPORTER_H_
