// Archives and their JSON, from anybody.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "absl/strings/string_view.h"
#include "ctl/store/archive_mail.h"
#include "ctl/store/transfer_json.h"

namespace {

// What is read once must be written the same way twice.
void ReadJson(absl::string_view text) {
  const auto message = holdfast::MessageFromJson(text);
  if (message.ok()) {
    const std::string once = holdfast::ToJson(*message);
    const auto again = holdfast::MessageFromJson(once);
    if (!again.ok() || holdfast::ToJson(*again) != once) abort();
  }
  const auto envelope = holdfast::EnvelopeFromJson(text);
  if (envelope.ok()) {
    const std::string once = holdfast::ToJson(*envelope);
    const auto again = holdfast::EnvelopeFromJson(once);
    if (!again.ok() || holdfast::ToJson(*again) != once) abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  ReadJson(text);
  const int fd = memfd_create("archive", MFD_CLOEXEC);
  if (fd < 0) return 0;
  if (write(fd, data, size) == static_cast<ssize_t>(size)) {
    holdfast::NoTaker nobody;
    (void)holdfast::ReadArchive(fd, &nobody);
  }
  close(fd);
  return 0;
}
