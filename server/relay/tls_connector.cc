#include "server/relay/tls_connector.h"

#include <utility>

namespace holdfast {
namespace {

class RealTlsConnector : public TlsConnector {
 public:
  RealTlsConnector(EventLoop* loop, const Config& config,
                   const std::vector<Start::File>& tls_files)
      : loop_(loop), keys_(loop), tls_(config, tls_files, &keys_) {}

  absl::StatusOr<std::unique_ptr<TlsHandshake>> Connect(
      const Action* action, bool verify, std::unique_ptr<Stream> plain,
      const std::string& name, absl::Duration timeout, TlsDone done) override {
    static const Action kPlain;
    absl::StatusOr<TlsClientContext*> context =
        tls_.For(action == nullptr ? kPlain : *action, verify);
    if (!context.ok()) return context.status();
    return ConnectTls(loop_, std::move(plain), *context, name, timeout,
                      std::move(done));
  }

  void SetKeysDoor(std::unique_ptr<Door> door) override {
    keys_.SetDoor(std::move(door));
  }

 private:
  EventLoop* const loop_;
  KeysClient keys_;
  RelayTls tls_;
};

}  // namespace

std::unique_ptr<TlsConnector> MakeTlsConnector(
    EventLoop* loop, const Config& config,
    const std::vector<Start::File>& tls_files) {
  return std::make_unique<RealTlsConnector>(loop, config, tls_files);
}

}  // namespace holdfast
