// Whatever a client sends instead of a handshake: it ends in one answer, or
// waits for more.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "server/tls/tls_test_bed.h"

namespace holdfast {
namespace {

// The certificates are made once.
struct Server {
  Server() {
    TlsServerOptions options = bed.Showing({bed.authority.Issue({"mx.test"})});
    options.ask_client = true;
    options.ca = bed.authority.certificate();
    context = bed.Context(options);
    context->SetTicketKeys(TlsTestBed::MakeTicketKeys("abc"));
  }
  TlsTestBed bed;
  std::unique_ptr<TlsServerContext> context;
};

}  // namespace
}  // namespace holdfast

// The first octet says how the bytes are cut, and whether a true client begins.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast;
  static Server* const server = new Server;
  if (size < 2) return 0;
  TlsTestBed& bed = server->bed;
  bed.Accept(server->context.get());
  bed.client.reset();
  const absl::string_view bytes(reinterpret_cast<const char*>(data) + 1,
                                size - 1);
  const size_t piece = (data[0] >> 2) == 0 ? SIZE_MAX : data[0] >> 2;
  if ((data[0] & 1) != 0) {
    bed.Connect();
    bed.client->Step();
    // A ClientHello with some octets of the input's.
    std::string& hello = bed.wire->to_server;
    for (size_t i = 0; i + 2 < bytes.size(); i += 3) {
      const size_t at = static_cast<uint8_t>(bytes[i]) << 8 |
                        static_cast<uint8_t>(bytes[i + 1]);
      if (!hello.empty()) hello[at % hello.size()] = bytes[i + 2];
    }
  } else {
    bed.wire->to_server = std::string(bytes);
  }
  for (int i = 0; i < 4; ++i) {
    bed.wire->Deliver(piece);
    bed.loop.RunReady();
  }
  if (bed.answers > 1) abort();
  if (bed.answers == 1 && bed.status.ok() && bed.client == nullptr) abort();
  bed.handshake.reset();
  bed.stream.reset();
  return 0;
}
