#include "storage/sample_envelope.h"

#include <iterator>
#include <random>

#include "absl/strings/str_format.h"

namespace holdfast {
namespace {

const char* const kUsers[] = {
    "root",       "postmaster", "alice",      "bob",          "info",
    "sales",      "support",    "noreply",    "no-reply",     "admin",
    "newsletter", "bounce",     "webmaster",  "www-data",     "cron",
    "office",     "contact",    "john.smith", "maria.garcia", "notifications",
    "billing",    "orders"};
const char* const kDomains[] = {
    "gmail.com",        "outlook.com",      "hotmail.com",
    "yahoo.com",        "example.com",      "example.org",
    "example.net",      "icloud.com",       "gmx.de",
    "web.de",           "t-online.de",      "mail.ru",
    "proton.me",        "yandex.ru",        "qq.com",
    "corp.example.com", "mail.example.org", "lists.example.net",
    "aol.com",          "orange.fr",        "libero.it",
    "company.co.uk",    "university.edu",   "localhost"};
const char* const kActions[] = {"relay",       "local", "outbound", "maildir",
                                "smarthost",   "lmtp",  "deliver",  "default",
                                "local_users", "send"};
const char* const kErrors[] = {
    "450 4.2.1 Try again later",
    "451 4.7.1 Greylisting in action, please come back later",
    "452 4.2.2 Mailbox full",
    "421 4.7.0 Try again later, closing connection.",
    "550 5.1.1 The email account that you tried to reach does not exist.",
    "550 5.7.1 Message rejected due to content restrictions",
    "Connection timed out",
    "Connection refused",
    "Network error on destination MXs",
    "Host or domain name not found",
    "No MX found for domain",
    "Bad DNS lookup"};

template <size_t N>
const char* Pick(const char* const (&list)[N], std::mt19937& random) {
  return list[random() % N];
}

std::string User(std::mt19937& random) {
  const uint32_t kind = random() % 4;
  if (kind == 0) return absl::StrFormat("user%d", random() % 100000);
  if (kind == 1)
    return absl::StrFormat("%c%c%c.%s", 'a' + random() % 26,
                           'a' + random() % 26, 'a' + random() % 26,
                           Pick(kUsers, random));
  return Pick(kUsers, random);
}

std::string Domain(std::mt19937& random) {
  if (random() % 3 == 0)
    return absl::StrFormat("d%d.example", random() % 100000);
  return Pick(kDomains, random);
}

void AddDsn(Envelope* e, std::mt19937& random) {
  e->dsn_notify = random() % 2 ? kNotifyFailure
                               : kNotifyFailure | kNotifyDelay | kNotifySuccess;
  e->dsn_ret = random() % 2 ? DsnReturn::kFull : DsnReturn::kHeaders;
  e->dsn_envid = absl::StrFormat("QQ%d", random());
  e->dsn_orcpt = "rfc822;" + e->rcpt.ToString();
}

}  // namespace

Envelope SampleEnvelope(uint32_t seed) {
  std::mt19937 random(seed);
  Envelope e;
  e.id = MakeEnvelopeId(MessageId{0x10000000 + seed}, random());
  const bool local = random() % 4 == 0;
  e.kind = local ? DeliveryKind::kMda : DeliveryKind::kMta;
  e.action = Pick(kActions, random);
  e.tag = random() % 4 == 0 ? "SUBMISSION" : "";
  e.smtpname = absl::StrFormat("mx%d.example.org", 1 + random() % 3);
  if (random() % 4 == 0) {
    e.helo = "localhost";
    e.hostname = "localhost";
    e.sockaddr = "local";
    e.flags = kFlagAuthenticated;
  } else {
    e.helo = absl::StrFormat("mail%d.%s", random() % 10, Domain(random));
    e.hostname = random() % 3 == 0 ? "<unknown>" : e.helo;
    e.sockaddr =
        absl::StrFormat("%d.%d.%d.%d", 1 + random() % 223, random() % 256,
                        random() % 256, random() % 256);
  }
  if (random() % 4 == 0) {
    e.username = User(random);
    e.flags |= kFlagAuthenticated;
  }
  e.sender = random() % 10 == 0 ? MailAddress{}
                                : MailAddress{User(random), Domain(random)};
  e.rcpt = {User(random), Domain(random)};
  e.dest = e.rcpt;
  e.created = absl::FromUnixSeconds(1795324048 + random() % 10000000);
  e.expires = e.created + absl::Hours(96);
  if (random() % 3 == 0) {
    e.retry = 1 + random() % 20;
    e.last_try = e.created + absl::Seconds(random() % 300000);
    e.status = {4, static_cast<uint8_t>(random() % 80)};
    e.error_line = Pick(kErrors, random);
  }
  if (random() % 8 == 0) AddDsn(&e, random);
  if (local) {
    e.mda_user = e.dest.user;
    e.routing_key = e.mda_user;
  } else {
    e.routing_key = e.dest.domain;
  }
  return e;
}

}  // namespace holdfast
