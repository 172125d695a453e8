// Who the client of an SmtpConnection is: its names before the banner, TLS,
// AUTH, `senders`, XCLIENT.
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "protocol/reply.h"
#include "protocol/vis.h"
#include "server/log/log.h"
#include "server/receive/address_text.h"
#include "server/receive/limit_refusals.h"
#include "server/receive/smtp_connection.h"
#include "server/tls/tls_log.h"

namespace holdfast {
namespace {

using Asked = ListenerTableQuestion::Table;

// As replies, headers and log lines have it.
std::string Bracketed(const std::string& address) {
  const std::optional<IpAddress> ip = IpAddress::Parse(address);
  return ip ? ip->ToBracketed() : address;
}

ListenerTableQuestion Question(const ReceiveListener& listener, Asked table,
                               std::string key) {
  ListenerTableQuestion question;
  question.listener = listener.index;
  question.table = table;
  question.key = std::move(key);
  return question;
}

// Whom the client says to be: "\0user\0password", "n,,n=user,r=...".  For the
// log; only what has been checked counts.
std::string ClaimedUser(const AuthAsked& asked) {
  const absl::string_view response = asked.response;
  if (asked.mechanism == "PLAIN") {
    const size_t begin = response.find('\0');
    if (begin == response.npos) return "";
    const absl::string_view rest = response.substr(begin + 1);
    return std::string(rest.substr(0, rest.find('\0')));
  }
  constexpr absl::string_view kName = ",n=";
  const size_t begin = response.find(kName);
  if (!asked.first || begin == response.npos) return "";
  const absl::string_view rest = response.substr(begin + kName.size());
  return std::string(rest.substr(0, rest.find(',')));
}

AuthAnswerKind KindOf(AuthAnswer::Result result) {
  switch (result) {
    case AuthAnswer::Result::kOk:
      return AuthAnswerKind::kOk;
    case AuthAnswer::Result::kFailed:
      return AuthAnswerKind::kFailed;
    case AuthAnswer::Result::kTemporary:
      return AuthAnswerKind::kTemporary;
    case AuthAnswer::Result::kChallenge:
      return AuthAnswerKind::kChallenge;
    case AuthAnswer::Result::kMalformed:
      return AuthAnswerKind::kMalformed;
  }
  return AuthAnswerKind::kTemporary;
}

// As link-connect has it.
const char* WordFor(ReverseAnswer::Confirmed confirmed) {
  switch (confirmed) {
    case ReverseAnswer::Confirmed::kPass:
      return "pass";
    case ReverseAnswer::Confirmed::kFail:
      return "fail";
    case ReverseAnswer::Confirmed::kError:
      return "error";
  }
  return "error";
}

// As link-auth has it; null: it goes on.
const char* WordFor(AuthAnswerKind kind) {
  switch (kind) {
    case AuthAnswerKind::kOk:
      return "pass";
    case AuthAnswerKind::kFailed:
      return "fail";
    case AuthAnswerKind::kTemporary:
      return "error";
    default:
      return nullptr;
  }
}

bool IsUnavailable(const std::string& value) {
  return value == "[UNAVAILABLE]" || value == "[TEMPUNAVAIL]";
}

}  // namespace

// ---- Before the banner

void SmtpConnection::AskWhoItIs() {
  // One more than is asked, until all was.
  open_facts_ = 1;
  if (filtering_ != nullptr) AskForWants();
  if (listener_->socket) {
    name_ = services_->server_name;
    return OnFact();
  }
  ++open_facts_;
  services_->names->Find(WithoutBrackets(address_),
                         [weak = weak_from_this()](const ClientName& name) {
                           const auto self = weak.lock();
                           if (self == nullptr) return;
                           self->name_ = name.name;
                           if (self->filtering_ != nullptr)
                             self->filtering_->fcrdns = WordFor(name.fcrdns);
                           self->OnFact();
                         });
  if (listener_->has_hostnames) FindHostname();
  if (listener_->has_xclient) AskXclient();
  OnFact();
}

// By the address the listener is bound to, as the reference has it; that of a
// wildcard says little, and then by the address the client connected to.
void SmtpConnection::FindHostname() {
  ++open_facts_;
  const std::string local = Bracketed(stream_->LocalAddress());
  AskHostname(listener_->bound, local == listener_->bound ? "" : local);
}

void SmtpConnection::AskHostname(const std::string& key,
                                 const std::string& otherwise) {
  services_->lookup->AskTable(
      Question(*listener_, Asked::kHostnames, key),
      [weak = weak_from_this(), otherwise](const ListenerTableAnswer& answer) {
        const auto self = weak.lock();
        if (self == nullptr) return;
        if (answer.result == ListenerTableAnswer::Result::kFound) {
          self->session_.SetName(answer.value);
        } else if (answer.result == ListenerTableAnswer::Result::kNotFound &&
                   !otherwise.empty()) {
          return self->AskHostname(otherwise, "");
        }
        self->OnFact();
      });
}

void SmtpConnection::AskXclient() {
  ++open_facts_;
  services_->lookup->AskTable(
      Question(*listener_, Asked::kXclient, WithoutBrackets(address_)),
      [weak = weak_from_this()](const ListenerTableAnswer& answer) {
        const auto self = weak.lock();
        if (self == nullptr) return;
        self->unknown_proxy_ =
            answer.result == ListenerTableAnswer::Result::kError;
        self->session_.OfferXclient(answer.result ==
                                    ListenerTableAnswer::Result::kFound);
        self->OnFact();
      });
}

void SmtpConnection::OnFact() {
  if (--open_facts_ > 0 || phase_ != Phase::kNaming) return;
  OnIdentified();
}

void SmtpConnection::OnIdentified() {
  if (filtering_ != nullptr && !BeginFiltering()) return;
  LogInfo("%s smtp connected address=%s host=%s", ToString(id_), address_,
          VisEncode(name_));
  if (listener_->smtp.tls == SmtpServerOptions::Tls::kWrapped) {
    BeginTls();
  } else {
    Greet();
  }
}

void SmtpConnection::Greet() {
  phase_ = Phase::kTalking;
  if (unknown_proxy_) {
    session_.Close(ProxyUnknown());
  } else {
    session_.Greet();
  }
  Pump();
}

// ---- TLS

void SmtpConnection::On(const StartTlsAsked&) {
  Flush();
  session_.KeepRest();
  BeginTls();
}

void SmtpConnection::BeginTls() {
  phase_ = Phase::kHandshake;
  handshake_ =
      AcceptTls(services_->loop, std::move(stream_), listener_->tls.get(),
                kTlsHandshakeTimeout,
                [this](absl::StatusOr<std::unique_ptr<Stream>> stream,
                       TlsInfo info) { OnTls(std::move(stream), info); });
}

void SmtpConnection::OnTls(absl::StatusOr<std::unique_ptr<Stream>> stream,
                           const TlsInfo& info) {
  // We are inside its callback.
  services_->loop->AtTurnEnd([done = std::move(handshake_)] {});
  if (phase_ != Phase::kHandshake) return;
  if (!stream.ok()) return OnTlsFailed(stream.status());
  UseStream(*std::move(stream));
  LogTls(info);
  Report(FilterEvent::kLinkTls, {TlsCiphersText(info)});
  tls_ = absl::StrCat(TlsCiphersText(info), ":",
                      info.peer_verified ? "YES" : "NO");
  const bool wrapped = listener_->smtp.tls == SmtpServerOptions::Tls::kWrapped;
  in_tls_count_ = true;
  ++(wrapped ? services_->counts.smtps : services_->counts.tls);
  owner_->OnCounted();
  last_activity_ = services_->loop->Elapsed();
  if (wrapped) return Greet();
  phase_ = Phase::kTalking;
  session_.OnTlsStarted();
  Pump();
}

void SmtpConnection::OnTlsFailed(const absl::Status& why) {
  LogDebug("debug: smtp: %s: TLS: %s", ToString(id_),
           VisEncode(std::string(why.message())));
  if (absl::IsDeadlineExceeded(why)) return CloseWith("timeout");
  CloseWith(absl::IsUnavailable(why) ? "disconnect" : "tls-accept-failed");
}

void SmtpConnection::LogTls(const TlsInfo& info) {
  LogInfo("%s %s", ToString(id_), TlsLogText("smtp", info));
  if (info.peer_certificate)
    LogInfo("%s %s", ToString(id_), CertCheckLogText("smtp", info));
}

// ---- AUTH

void SmtpConnection::On(AuthAsked& asked) {
  if (asked.first) auth_conversation_ = services_->lookup->NewConversation();
  std::string user = ClaimedUser(asked);
  AuthStep step;
  step.conversation = auth_conversation_;
  step.first = asked.first;
  step.listener = listener_->index;
  step.mechanism = std::move(asked.mechanism);
  step.response = std::move(asked.response);
  step.address = WithoutBrackets(address_);
  services_->lookup->Authenticate(
      std::move(step), [weak = weak_from_this(), question = asked.question,
                        user = std::move(user)](const AuthAnswer& answer) {
        if (auto self = weak.lock()) self->OnAuthAnswer(question, user, answer);
      });
}

void SmtpConnection::OnAuthAnswer(uint64_t question, const std::string& user,
                                  const AuthAnswer& answer) {
  const AuthAnswerKind kind = KindOf(answer.result);
  const char* result = nullptr;
  if (kind == AuthAnswerKind::kOk) result = "ok";
  if (kind == AuthAnswerKind::kFailed) result = "permfail";
  if (kind == AuthAnswerKind::kTemporary) result = "tempfail";
  if (result != nullptr) {
    const std::string name =
        VisEncode(kind == AuthAnswerKind::kOk ? answer.username : user,
                  VisSpace::kEncode);
    LogInfo("%s smtp authentication user=%s result=%s", ToString(id_), name,
            result);
    Report(FilterEvent::kLinkAuth, {WordFor(kind), name});
  }
  session_.ResumeAuth(
      question, kind,
      kind == AuthAnswerKind::kChallenge ? answer.challenge : answer.username);
  owner_->PumpLater(this);
}

void SmtpConnection::On(const AuthCancelled&) {
  services_->lookup->ForgetAuth(auth_conversation_);
}

// `senders`: whether this user may send as this sender.
void SmtpConnection::AskSender(const SenderAsked& asked) {
  ListenerTableQuestion question =
      Question(*listener_, Asked::kSenders, session_.username());
  question.sender = asked.path.address.ToString();
  services_->lookup->AskTable(
      std::move(question),
      [weak = weak_from_this(), number = asked.question,
       path = asked.path](const ListenerTableAnswer& answer) {
        const auto self = weak.lock();
        if (self == nullptr) return;
        switch (answer.result) {
          case ListenerTableAnswer::Result::kFound:
            self->BeginTransaction(number, path);
            break;
          case ListenerTableAnswer::Result::kNotFound:
            self->session_.Resume(number, replies::SenderRejected());
            break;
          case ListenerTableAnswer::Result::kError:
            self->session_.Resume(number, replies::TemporaryFailure());
            break;
        }
        self->owner_->PumpLater(self.get());
      });
}

// ---- XCLIENT, XFORWARD

void SmtpConnection::On(const XclientAsked& asked) {
  if (asked.forward) {
    // For the log alone, as Postfix has it.
    const std::string words = absl::StrJoin(
        asked.attributes, " ",
        [](std::string* out, const std::pair<std::string, std::string>& a) {
          absl::StrAppend(out, a.first, "=",
                          VisEncode(a.second, VisSpace::kEncode));
        });
    LogInfo("%s smtp xforward %s", ToString(id_), words);
    return session_.Resume(asked.question, replies::Ok());
  }
  const std::string* address = nullptr;
  const std::string* name = nullptr;
  for (const auto& [attribute, value] : asked.attributes) {
    if (attribute == "ADDR" && !IsUnavailable(value)) address = &value;
    if (attribute == "NAME") name = &value;
  }
  if (address != nullptr) {
    if (std::optional<Reply> refusal = TakeClient(*address))
      return session_.Resume(asked.question, *std::move(refusal));
  }
  const auto resume = [weak = weak_from_this(),
                       asked](const std::string& client_name) {
    const auto self = weak.lock();
    if (self == nullptr) return;
    self->name_ = client_name;
    if (self->filtering_ != nullptr) self->RestartFiltering(asked);
    LogInfo("%s smtp connected address=%s host=%s", ToString(self->id_),
            self->address_, VisEncode(self->name_));
    self->session_.Resume(asked.question, replies::Ok());
    self->owner_->PumpLater(self.get());
  };
  if (name != nullptr)
    return resume(IsUnavailable(*name) ? kUnknownName : *name);
  if (address == nullptr) return resume(name_);
  services_->names->Find(
      WithoutBrackets(address_),
      [resume, weak = weak_from_this()](const ClientName& found) {
        const auto self = weak.lock();
        if (self != nullptr && self->filtering_ != nullptr)
          self->filtering_->fcrdns = WordFor(found.fcrdns);
        resume(found.name);
      });
}

// The client is another one from now on, and counts as such.  Not if a limit
// acts: then the reply that says so.
std::optional<Reply> SmtpConnection::TakeClient(const std::string& address) {
  constexpr absl::string_view kInet6 = "IPV6:";
  absl::string_view text = address;
  if (absl::StartsWithIgnoreCase(text, kInet6))
    text.remove_prefix(kInet6.size());
  const std::optional<IpAddress> ip = IpAddress::Parse(text);
  if (!ip) return replies::InvalidArguments("Invalid attribute");
  LimitVerdict verdict;
  std::unique_ptr<ClientLimits::Visit> visit =
      services_->clients->Admit(*ip, services_->loop->Now(), &verdict);
  if (visit == nullptr) {
    CountRefusal(verdict.limit, &services_->counts);
    owner_->OnCounted();
    return RefusalFor(verdict);
  }
  visit_ = std::move(visit);
  address_ = ip->ToBracketed();
  session_.SetClientAddress(address_);
  return std::nullopt;
}

}  // namespace holdfast
