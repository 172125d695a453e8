#include "server/receive/receive_listener.h"

namespace holdfast {
namespace {

constexpr uint16_t kSubmissionPort = 587;

// `no-extension`, by the names of EHLO.
SmtpExtensions ExtensionsOf(const Listener& from) {
  SmtpExtensions out;
  const struct {
    const char* name;
    bool* offered;
  } kNames[] = {
      {"8BITMIME", &out.eight_bit_mime},
      {"ENHANCEDSTATUSCODES", &out.enhanced_status_codes},
      {"PIPELINING", &out.pipelining},
      {"SIZE", &out.size},
      {"DSN", &out.dsn},
      {"SMTPUTF8", &out.smtputf8},
      {"CHUNKING", &out.chunking},
      {"BINARYMIME", &out.binarymime},
      {"LIMITS", &out.limits},
      {"REQUIRETLS", &out.requiretls},
      {"MT-PRIORITY", &out.mt_priority},
      {"DELIVERBY", &out.deliverby},
      {"FUTURERELEASE", &out.futurerelease},
  };
  for (const auto& [name, offered] : kNames)
    *offered = from.no_extensions.count(name) == 0;
  if (from.no_dsn) out.dsn = false;
  return out;
}

SmtpServerOptions::Tls TlsOf(const Listener& from) {
  switch (from.tls) {
    case Listener::Tls::kNone:
      return SmtpServerOptions::Tls::kNone;
    case Listener::Tls::kOffered:
      return SmtpServerOptions::Tls::kOffered;
    case Listener::Tls::kRequired:
      return SmtpServerOptions::Tls::kRequired;
    case Listener::Tls::kSmtps:
      return SmtpServerOptions::Tls::kWrapped;
  }
  return SmtpServerOptions::Tls::kNone;
}

SmtpServerOptions::Auth AuthOf(const Listener& from) {
  switch (from.auth) {
    case Listener::Auth::kNone:
      return SmtpServerOptions::Auth::kNone;
    case Listener::Auth::kOptional:
      return SmtpServerOptions::Auth::kOptional;
    case Listener::Auth::kRequired:
      return SmtpServerOptions::Auth::kRequired;
  }
  return SmtpServerOptions::Auth::kNone;
}

std::optional<ProxyVersion> ProxyOf(const Listener& from) {
  switch (from.proxy) {
    case Listener::Proxy::kNone:
      return std::nullopt;
    case Listener::Proxy::kV1:
      return ProxyVersion::kV1;
    case Listener::Proxy::kV2:
      return ProxyVersion::kV2;
  }
  return std::nullopt;
}

SmtpServerOptions OptionsOf(const Config& config, const Listener& from,
                            EventLoop* loop) {
  const SmtpLimits& limits = config.smtp_limits;
  SmtpServerOptions out;
  out.name = from.hostname.empty() ? config.server_name : from.hostname;
  out.max_message_size = config.max_message_size;
  out.max_recipients = limits.max_rcpt;
  out.max_messages = limits.max_mails;
  out.extensions = ExtensionsOf(from);
  out.tls = TlsOf(from);
  out.auth = AuthOf(from);
  out.line_ends = from.line_ends == Listener::LineEnds::kNormalise
                      ? SmtpServerOptions::LineEnds::kNormalise
                      : SmtpServerOptions::LineEnds::kStrict;
  out.max_errors = limits.max_errors;
  out.max_bad_recipients = limits.max_bad_rcpt;
  out.max_commands = limits.max_commands;
  out.max_auth_failures = limits.max_auth_failures;
  out.now = [loop] { return loop->Now(); };
  return out;
}

}  // namespace

std::unique_ptr<ReceiveListener> MakeReceiveListener(const Config& config,
                                                     const Listener& from,
                                                     uint32_t index,
                                                     const Start::Bound* bound,
                                                     EventLoop* loop) {
  auto out = std::make_unique<ReceiveListener>();
  out->socket = bound == nullptr;
  out->smtp = OptionsOf(config, from, loop);
  out->smtp.trusted = out->socket;
  out->smtp.bare_lf_commands = out->socket;
  out->smtp_near = out->smtp;
  out->smtp_near.bare_lf_commands = true;
  out->index = index;
  out->tag = from.tag;
  out->header_domain = out->smtp.name;
  out->mask_source = from.mask_src;
  out->received_auth = from.received_auth;
  out->filter = from.filter;
  if (bound == nullptr) {
    out->add_missing = true;
    return out;
  }
  out->bound = bound->address;
  // A listener is local if it is bound to a loopback address (reference part
  // 1, section 1.9).
  out->add_missing = bound->address == "127.0.0.1" ||
                     bound->address == "[::1]" ||
                     bound->port == kSubmissionPort;
  out->has_hostnames = from.hostnames != nullptr;
  out->has_senders = from.senders != nullptr;
  out->has_xclient = from.xclient != nullptr;
  out->has_credentials = from.auth_table != nullptr;
  out->masquerade = from.senders_masquerade;
  out->proxy = ProxyOf(from);
  return out;
}

}  // namespace holdfast
