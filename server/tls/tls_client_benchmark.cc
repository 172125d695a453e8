// What a handshake costs the client: the time in our calls, without that of the
// server, which is in the same process.
#include <chrono>
#include <cstdlib>

#include "benchmark/benchmark.h"
#include "server/tls/tls_test_bed.h"

namespace holdfast {
namespace {

class Stopwatch {
 public:
  template <class Work>
  void Time(Work work) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    total_ += std::chrono::steady_clock::now() - begin;
  }
  double seconds() const { return total_.count(); }

 private:
  std::chrono::duration<double> total_{0};
};

// One handshake, and the tickets behind it; the seconds of the client.
double Handshake(TlsTestBed* bed, TlsServerContext* server,
                 TlsClientContext* client) {
  Stopwatch watch;
  bed->Accept(server);
  watch.Time([&] {
    bed->Connect(client, "mx.example.org");
    bed->loop.RunReady();
  });
  for (int i = 0; i < 3; ++i) {
    bed->wire->to_server += std::exchange(bed->ours.wire->from_server, "");
    bed->wire->Deliver();
    bed->loop.RunReady();
    bed->ours.wire->to_server += std::exchange(bed->wire->from_server, "");
    watch.Time([&] { bed->ours.wire->Deliver(); });
  }
  if (bed->ours.stream == nullptr) abort();
  return watch.seconds();
}

void Run(benchmark::State& state, TestKey kind, bool verify, bool resume) {
  TlsTestBed bed;
  auto server =
      bed.Context(bed.Showing({bed.authority.Issue({"mx.example.org"}, kind)}));
  if (resume) server->SetTicketKeys(TlsTestBed::MakeTicketKeys("a"));
  TlsClientOptions options;
  options.verify = verify;
  if (verify) options.ca = bed.authority.certificate();
  auto client = bed.Context(options);
  if (resume) Handshake(&bed, server.get(), client.get());
  for (auto unused : state) {
    state.SetIterationTime(Handshake(&bed, server.get(), client.get()));
    if (bed.ours.info.resumed != resume) abort();
  }
  state.SetItemsProcessed(state.iterations());
}

BENCHMARK_CAPTURE(Run, ecdsa_verified, TestKey::kEcdsa, true, false)
    ->UseManualTime();
BENCHMARK_CAPTURE(Run, ecdsa_opportunistic, TestKey::kEcdsa, false, false)
    ->UseManualTime();
BENCHMARK_CAPTURE(Run, rsa_verified, TestKey::kRsa, true, false)
    ->UseManualTime();
BENCHMARK_CAPTURE(Run, resumed, TestKey::kEcdsa, true, true)->UseManualTime();

}  // namespace
}  // namespace holdfast

BENCHMARK_MAIN();
