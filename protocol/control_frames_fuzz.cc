#include <cstddef>
#include <cstdint>

#include "protocol/control_frames.h"
#include "protocol/control_messages.h"

// Bytes from a hostile client, as the control socket reads them.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  holdfast::ControlFrames frames(holdfast::kMaxControlRequestFrame);
  frames.Append({reinterpret_cast<const char*>(data), size});
  for (;;) {
    auto frame = frames.Next();
    if (!frame.ok() || !*frame) break;
    (void)holdfast::Decode<holdfast::ControlRequest>((*frame)->payload);
    (void)holdfast::Decode<holdfast::ControlText>((*frame)->payload);
    (void)holdfast::Decode<holdfast::ControlDone>((*frame)->payload);
  }
  (void)holdfast::Decode<holdfast::ControlRequest>(
      {reinterpret_cast<const char*>(data), size});
  return 0;
}
