// Whatever a server answers to our ClientHello: it ends in one answer, or waits
// for more, and nobody is believed.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "server/tls/tls_test_bed.h"

namespace holdfast {
namespace {

// The certificates are made once.
struct Sides {
  Sides() {
    TlsServerOptions options = bed.Showing({bed.authority.Issue({"mx.test"})});
    options.ask_client = true;
    options.ca = bed.authority.certificate();
    server = bed.Context(options);
    server->SetTicketKeys(TlsTestBed::MakeTicketKeys("abc"));
    TlsClientOptions verifying;
    verifying.ca = options.ca;
    const TestCertificate mine = bed.authority.Issue({"client.test"});
    bed.signer.Add(mine);
    verifying.certificate = TlsCertificate{"us", mine.certificate};
    client = bed.Context(verifying);
  }
  TlsTestBed bed;
  std::unique_ptr<TlsServerContext> server;
  std::unique_ptr<TlsClientContext> client;
};

// Octets of `input` replace some of `text`.
void Disturb(absl::string_view input, std::string* text) {
  for (size_t i = 0; i + 2 < input.size() && !text->empty(); i += 3) {
    const size_t at = static_cast<uint8_t>(input[i]) << 8 |
                      static_cast<uint8_t>(input[i + 1]);
    (*text)[at % text->size()] = input[i + 2];
  }
}

}  // namespace
}  // namespace holdfast

// The first octet says how the bytes are cut, and whether a true server answers
// first.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast;
  static Sides* const sides = new Sides;
  if (size < 2) return 0;
  TlsTestBed& bed = sides->bed;
  const bool true_server = (data[0] & 1) != 0;
  bed.Accept(sides->server.get());
  bed.Connect(sides->client.get(), "mx.test");
  bed.loop.RunReady();
  const absl::string_view bytes(reinterpret_cast<const char*>(data) + 1,
                                size - 1);
  const size_t piece = (data[0] >> 2) == 0 ? SIZE_MAX : data[0] >> 2;
  if (true_server) {
    bed.wire->to_server = bed.ours.wire->from_server;
    bed.wire->Deliver();
    bed.loop.RunReady();
    bed.ours.wire->to_server = bed.wire->from_server;
    Disturb(bytes, &bed.ours.wire->to_server);
  } else {
    bed.ours.wire->to_server = std::string(bytes);
  }
  for (int i = 0; i < 4; ++i) {
    bed.ours.wire->Deliver(piece);
    bed.loop.RunReady();
  }
  if (bed.ours.answers > 1) abort();
  if (bed.ours.answers == 1 && bed.ours.status.ok() && !true_server) abort();
  bed.ours.Reset();
  bed.Reset();
  return 0;
}
