// The first byte splits the input: a format, and an address that is put into
// it.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "absl/strings/str_split.h"
#include "config/format_specifiers.h"

namespace holdfast {
namespace {

void Require(bool holds) {
  if (!holds) abort();
}

void Run(const std::string& format, const std::string& address) {
  FormatValues values;
  values.sender = SplitAddress(address);
  values.rcpt = {address, address};
  values.username = address;
  values.directory = "/home/bob";
  values.mda = "wrapped";
  (void)ExpandPath(format, values);
  const absl::StatusOr<std::string> any = ExpandCommand(format, values);
  Require(!any.ok() || any->size() <= kMaxExpandedBytes);
  // Whatever the address: nothing a shell would act on, nothing that climbs.
  const absl::StatusOr<std::string> command =
      ExpandCommand("%{sender}%{rcpt}%{user.username}", values);
  Require(!command.ok() ||
          command->find_first_of(" \t\r\n;\"'\\()<>$&|`*?!#%{}~") ==
              std::string::npos);
  const absl::StatusOr<std::string> path =
      ExpandPath("/%{rcpt.user:raw}/%{rcpt.domain:strip|raw}", values);
  if (!path.ok()) return;
  for (const absl::string_view part : absl::StrSplit(*path, '/')) {
    Require(part != "..");
  }
}

}  // namespace
}  // namespace holdfast

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t cut = data[0] % (text.size() + 1);
  holdfast::Run(text.substr(0, cut), text.substr(cut));
  return 0;
}
