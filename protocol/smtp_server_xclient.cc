// XCLIENT and XFORWARD of SmtpServerSession, as Postfix documents them
// (XCLIENT_README, XFORWARD_README): a proxy that is trusted tells whom it
// speaks for.
#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "protocol/smtp_server_session.h"
#include "protocol/xtext.h"

namespace holdfast {
namespace {

constexpr absl::string_view kUnavailable = "[UNAVAILABLE]";
constexpr absl::string_view kTemporarilyUnavailable = "[TEMPUNAVAIL]";
constexpr size_t kMaxAttributeBytes = 255;

bool IsUnavailable(absl::string_view value) {
  return absl::EqualsIgnoreCase(value, kUnavailable) ||
         absl::EqualsIgnoreCase(value, kTemporarilyUnavailable);
}

// "192.0.2.1" or "IPV6:2001:db8::1": what a literal has between its brackets.
bool IsAddressValue(absl::string_view value) {
  const bool six = value.find(':') != value.npos;
  if (six && !absl::StartsWithIgnoreCase(value, "IPV6:")) return false;
  return IsValidDomain(absl::StrCat("[", value, "]"));
}

bool IsPortValue(absl::string_view value) {
  int port = 0;
  return value.size() <= 5 && absl::SimpleAtoi(value, &port) && port >= 0 &&
         port <= 65535;
}

bool IsProtocolValue(absl::string_view value) {
  return absl::EqualsIgnoreCase(value, "SMTP") ||
         absl::EqualsIgnoreCase(value, "ESMTP");
}

bool IsSourceValue(absl::string_view value) {
  return absl::EqualsIgnoreCase(value, "LOCAL") ||
         absl::EqualsIgnoreCase(value, "REMOTE");
}

bool IsNameValue(absl::string_view value) { return IsValidDomain(value); }

// A control character cannot come out of xtext.
bool IsTextValue(absl::string_view value) { return !value.empty(); }

struct AttributeRule {
  const char* name;
  bool client;   // of XCLIENT
  bool forward;  // of XFORWARD
  bool (*is_valid)(absl::string_view);
};
constexpr AttributeRule kAttributes[] = {
    {"NAME", true, true, IsNameValue},
    {"ADDR", true, true, IsAddressValue},
    {"PORT", true, true, IsPortValue},
    {"PROTO", true, true, IsProtocolValue},
    // XFORWARD: what the original client said, for the log.
    {"HELO", true, false, IsNameValue},
    {"HELO", false, true, IsTextValue},
    {"IDENT", false, true, IsTextValue},
    {"SOURCE", false, true, IsSourceValue},
    {"LOGIN", true, false, IsTextValue},
    {"DESTADDR", true, false, IsAddressValue},
    {"DESTPORT", true, false, IsPortValue},
};

using Attribute = std::pair<std::string, std::string>;

std::optional<Attribute> ParseAttribute(absl::string_view word, bool forward) {
  const size_t equals = word.find('=');
  if (equals == word.npos) return std::nullopt;
  const std::string name = absl::AsciiStrToUpper(word.substr(0, equals));
  std::optional<std::string> value = DecodeXtext(word.substr(equals + 1));
  if (!value || value->size() > kMaxAttributeBytes) return std::nullopt;
  for (const AttributeRule& rule : kAttributes) {
    if (name != rule.name || !(forward ? rule.forward : rule.client)) continue;
    if (IsUnavailable(*value))
      return Attribute(name, absl::AsciiStrToUpper(*value));
    if (!rule.is_valid(*value)) return std::nullopt;
    return Attribute(name, *std::move(value));
  }
  return std::nullopt;
}

// nullopt: one is not valid, or stands twice, or there is none.
std::optional<std::vector<Attribute>> ParseAttributes(absl::string_view text,
                                                      bool forward) {
  std::vector<Attribute> attributes;
  for (const absl::string_view word :
       absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    std::optional<Attribute> attribute = ParseAttribute(word, forward);
    if (!attribute) return std::nullopt;
    const bool twice = std::any_of(attributes.begin(), attributes.end(),
                                   [&](const Attribute& other) {
                                     return other.first == attribute->first;
                                   });
    if (twice) return std::nullopt;
    attributes.push_back(*std::move(attribute));
  }
  if (attributes.empty()) return std::nullopt;
  return attributes;
}

}  // namespace

std::string XclientOffer() {
  std::string lines = "\nXCLIENT";
  for (const AttributeRule& rule : kAttributes) {
    if (rule.client) absl::StrAppend(&lines, " ", rule.name);
  }
  absl::StrAppend(&lines, "\nXFORWARD");
  for (const AttributeRule& rule : kAttributes) {
    if (rule.forward) absl::StrAppend(&lines, " ", rule.name);
  }
  return lines;
}

void SmtpServerSession::OnXclient(const Command& command) {
  OnXattributes(command, false);
}
void SmtpServerSession::OnXforward(const Command& command) {
  OnXattributes(command, true);
}

void SmtpServerSession::OnXattributes(const Command& command, bool forward) {
  std::optional<std::vector<Attribute>> attributes =
      ParseAttributes(command.argument, forward);
  if (!attributes)
    return Answer(replies::InvalidArguments("Invalid attribute"), command.line);
  command_ = std::string(command.line);
  before_xclient_ = state_;
  xclient_ = std::make_unique<XclientAsked>(
      XclientAsked{Ask(State::kXclientAsked), forward, *std::move(attributes)});
  events_.emplace_back(*xclient_);
}

void SmtpServerSession::ResumeXclient(Reply reply) {
  const std::unique_ptr<XclientAsked> asked = std::move(xclient_);
  state_ = before_xclient_;
  if (reply.IsRefusal() || asked->forward) return Answer(reply, command_);
  // As a connection of the client that was told of.
  state_ = State::kUnidentified;
  extended_ = false;
  helo_.clear();
  TakeXattributes(*asked);
  Greet();
}

void SmtpServerSession::TakeXattributes(const XclientAsked& asked) {
  bool extended = true;
  for (const auto& [attribute, value] : asked.attributes) {
    const bool available = !IsUnavailable(value);
    if (attribute == "PROTO") extended = !absl::EqualsIgnoreCase(value, "SMTP");
    if (attribute == "HELO" && available) helo_ = value;
    if (attribute == "LOGIN") {
      authenticated_ = available;
      username_ = available ? value : "";
    }
  }
  if (helo_.empty()) return;
  state_ = State::kIdentified;
  extended_ = extended;
  Tell(FilterEvent::kLinkIdentify, {extended ? "EHLO" : "HELO", helo_});
}

}  // namespace holdfast
