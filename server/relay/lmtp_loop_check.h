// Before mail goes to an LMTP server: has it been delivered to this recipient
// before (reference part 1, section 6.1)?
#ifndef HOLDFAST_SERVER_RELAY_LMTP_LOOP_CHECK_H_
#define HOLDFAST_SERVER_RELAY_LMTP_LOOP_CHECK_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "server/relay/batch_work.h"
#include "server/relay/body_source.h"
#include "server/relay/relay_services.h"

namespace holdfast {

// A header longer than this is not searched further.
inline constexpr size_t kMaxLmtpLoopHeader = 1 << 20;

// Used on the loop's thread.  Dropped, it calls nobody any more.
class LmtpLoopCheck {
 public:
  // `done` is called once, within Start() or later; it may drop this.
  LmtpLoopCheck(RelayServices* services, std::shared_ptr<BatchWork> work,
                std::function<void(LmtpLoopCheck*)> done)
      : services_(services), work_(std::move(work)), done_(std::move(done)) {}
  ~LmtpLoopCheck();

  // Reads the headers of all messages; recipients whose mail goes round in
  // circles have got their outcome then.
  void Start() { Read(); }

  const std::shared_ptr<BatchWork>& work() const { return work_; }

 private:
  void Read();
  // False: waiting for a piece of the body.
  bool ReadHeader();
  void Judge();
  void Ask(uint32_t first, uint32_t count);

  RelayServices* const services_;
  const std::shared_ptr<BatchWork> work_;
  std::function<void(LmtpLoopCheck*)> done_;
  size_t message_ = 0;
  std::unique_ptr<BodySource> body_;  // of the present message
  std::string text_;
  uint64_t question_ = 0;  // 0: none is open
  bool reading_ = false;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_LMTP_LOOP_CHECK_H_
