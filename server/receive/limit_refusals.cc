#include "server/receive/limit_refusals.h"

namespace holdfast {

Reply RefusalFor(const LimitVerdict& verdict) {
  switch (verdict.limit) {
    case ClientLimit::kSessionsOfSource:
      return {421, "4.7.0", "Too many sessions from your address"};
    case ClientLimit::kSessionsOfNetwork:
      return {421, "4.7.0", "Too many sessions from your network"};
    case ClientLimit::kConnectsOfSource:
      return {421, "4.7.0", "Too many connections from your address"};
    case ClientLimit::kMailsOfSource:
      return {verdict.hard ? 421 : 451, "4.7.0",
              "Too many messages from your address"};
    case ClientLimit::kNone:
      break;
  }
  return replies::TemporaryFailure();
}

Reply TooManySessions() {
  return {421, "4.3.2", "Too many sessions, try again later"};
}

Reply MessageTooSlow() {
  return {421, "4.4.2", "The message comes too slowly"};
}

Reply TimedOut() { return {421, "4.4.2", "Timeout, closing connection"}; }

Reply ProxyUnknown() { return {421, "4.3.0", "Temporary failure"}; }

void CountHits(const SessionLimitHits& hits, SessionCounts* counts) {
  counts->errors += hits.errors;
  counts->bad_recipients += hits.bad_recipients;
  counts->commands += hits.commands;
  counts->auth_failures += hits.auth_failures;
  counts->recipients += hits.recipients;
  counts->messages += hits.messages;
  counts->message_size += hits.message_size;
}

void CountRefusal(ClientLimit limit, SessionCounts* counts) {
  switch (limit) {
    case ClientLimit::kSessionsOfSource:
      ++counts->refused_by_source;
      break;
    case ClientLimit::kSessionsOfNetwork:
      ++counts->refused_by_network;
      break;
    case ClientLimit::kConnectsOfSource:
      ++counts->refused_connects;
      break;
    case ClientLimit::kMailsOfSource:
      ++counts->refused_mails;
      break;
    case ClientLimit::kNone:
      break;
  }
}

}  // namespace holdfast
