#include <cstdint>
#include <cstdlib>

#include "absl/strings/string_view.h"
#include "ctl/tables/ldap_filter.h"
#include "ctl/tables/redis_command.h"
#include "ctl/tables/table_conversation.h"
#include "ctl/tables/table_settings.h"

// Configurations and keys: no key leaves its value in a filter, none makes
// another word of a command.  Lines of the server get one line, or those of the
// greeting.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  holdfast::TableSettings::Parse("f", text,
                                 holdfast::TableSettings::Faults::kWarnings)
      .status()
      .IgnoreError();
  const std::string value = holdfast::EscapeLdapValue(text);
  for (const char c : value) {
    if (c == '*' || c == '(' || c == ')' || c == '\0') abort();
  }
  const absl::string_view key = text.substr(size / 2);
  if (const auto filter = holdfast::LdapFilter::Parse(text.substr(0, size / 2));
      filter.ok())
    filter->With(key, "t");
  const auto command =
      holdfast::RedisCommand::Parse(text.substr(0, size / 2), true);
  if (command.ok() && command->With(key).size() != command->With("").size())
    abort();
  holdfast::TableConversation conversation(
      {{"alias"},
       [](const holdfast::TableRequest& request) {
         return holdfast::TableFound(request.key);
       },
       [] { return absl::FromUnixSeconds(1795324000); },
       [] { return absl::Seconds(4); }});
  const absl::StatusOr<std::string> said = conversation.OnLine(text);
  if (said.ok() && !said->empty() && said->back() != '\n') abort();
  return 0;
}
