// Any text: the parser ends, and gives a configuration or says why not.
#include <cstdint>
#include <cstdlib>

#include "config/parser.h"
#include "config/ruleset.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  holdfast::ParseOptions options;
  options.path = "c.conf";
  options.server_name = "mx.example.org";
  options.local_addresses = {"127.0.0.1", "::1"};
  int reads = 0;
  const holdfast::ParseResult result = holdfast::ParseConfig(
      options, [&](const std::string& path) -> absl::StatusOr<std::string> {
        if (path == "c.conf") return text;
        // Everything else that it names has half of it, a few times.
        if (++reads > 8) return absl::NotFoundError("no");
        return text.substr(size / 2);
      });
  if ((result.config == nullptr) && result.messages.empty()) std::abort();
  if (result.config == nullptr) return 0;
  holdfast::MailSubject subject;
  subject.sockaddr = "192.0.2.1";
  subject.rdns = subject.helo = "a.test";
  subject.dest = {"joe", "example.org"};
  for (const bool internal : {false, true}) {
    subject.internal = internal;
    (void)holdfast::FirstMatch(*result.config, subject);
  }
  return 0;
}
