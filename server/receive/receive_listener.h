// What a `listen` line means for the sessions of one of its addresses.
#ifndef HOLDFAST_SERVER_RECEIVE_RECEIVE_LISTENER_H_
#define HOLDFAST_SERVER_RECEIVE_RECEIVE_LISTENER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "config/config.h"
#include "protocol/proxy_header.h"
#include "protocol/smtp_server_events.h"
#include "server/door/parent_messages.h"
#include "server/loop/event_loop.h"
#include "server/tls/tls_stream.h"

namespace holdfast {

struct ReceiveListener {
  SmtpServerOptions smtp;
  SmtpServerOptions smtp_near;  // the same, for clients on this host
  uint32_t index = 0;           // in Config::listeners
  std::string bound;  // address: "192.0.2.1", "[2001:db8::1]"; key of hostnames
  std::string tag;
  std::string header_domain;  // Message-ID, and addresses in the header
  bool socket = false;        // the enqueue socket
  bool add_missing = false;   // Date and Message-ID: local, or port 587
  bool mask_source = false;
  bool received_auth = false;
  bool masquerade = false;
  // Whether `lookup` has such a table for it.
  bool has_hostnames = false, has_senders = false, has_xclient = false;
  bool has_credentials = false;
  std::string filter;  // name in Config::filters; empty: none
  std::optional<ProxyVersion> proxy;
  std::unique_ptr<TlsServerContext> tls;  // null: no TLS
};

// Of `from`, the listener number `index` of `config`, at the address `bound`;
// null: the enqueue socket.  `tls` is left to the caller.
std::unique_ptr<ReceiveListener> MakeReceiveListener(const Config& config,
                                                     const Listener& from,
                                                     uint32_t index,
                                                     const Start::Bound* bound,
                                                     EventLoop* loop);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RECEIVE_RECEIVE_LISTENER_H_
