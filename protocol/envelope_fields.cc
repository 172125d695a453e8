#include "protocol/envelope_fields.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "protocol/near_miss.h"
#include "protocol/queue_listing.h"

namespace holdfast {
namespace {

using F = EnvelopeField;
using T = FieldType;

constexpr std::pair<EnvelopeState, absl::string_view> kStates[] = {
    {EnvelopeState::kQueued, "queued"},
    {EnvelopeState::kDeferred, "deferred"},
    {EnvelopeState::kInDoubt, "doubt"},
    {EnvelopeState::kHeld, "held"},
    {EnvelopeState::kSuspended, "suspended"},
    {EnvelopeState::kInFlight, "inflight"},
};

constexpr std::pair<uint32_t, absl::string_view> kFlags[] = {
    {kFlagBounce, "bounce"},
    {kFlagAuthenticated, "auth"},
    {kFlagInternal, "internal"},
    {kFlagSuspended, "suspend"},
    {kFlagHeld, "hold"},
    {kFlagMoving, "move"},
    {kFlagInDoubt, "doubt"},
    {kFlagTls, "tls"},
    {kFlagRequireTls, "requiretls"},
    {kFlagSmtpUtf8, "smtputf8"},
    {kFlag8BitMime, "8bitmime"},
    {kFlagBinaryMime, "binarymime"},
};

int64_t Seconds(absl::Duration d) {
  return absl::ToInt64Seconds(absl::Floor(d, absl::Seconds(1)));
}

std::string FlagWords(uint32_t flags) {
  std::vector<absl::string_view> words;
  for (const auto& [flag, word] : kFlags)
    if (flags & flag) words.push_back(word);
  return absl::StrJoin(words, ",");
}

std::string StatusText(const EnhancedStatus& status) {
  if (status.klass == 0) return "";
  return absl::StrCat(status.klass, ".", status.subject(), ".",
                      status.detail());
}

int64_t Ordered(uint64_t id) {
  return static_cast<int64_t>(id ^ (uint64_t{1} << 63));
}

}  // namespace

const std::vector<EnvelopeFieldInfo>& EnvelopeFieldTable() {
  static const std::vector<EnvelopeFieldInfo>& table =
      *new std::vector<EnvelopeFieldInfo>{
          {F::kId, "id", "evpid envelope", T::kId,
           "envelope id, 16 hex digits"},
          {F::kMessage, "message", "msgid", T::kId, "message id, 8 hex digits"},
          {F::kSender, "sender", "from", T::kText,
           "the sender's address; \"\" for reports"},
          {F::kSenderDomain, "sender-domain", "from-domain sender.domain",
           T::kText, "its domain"},
          {F::kRecipient, "recipient", "to dest", T::kText,
           "the recipient's address, after aliases and forwards"},
          {F::kDomain, "domain", "recipient-domain recipient.domain to-domain",
           T::kText, "its domain"},
          {F::kRcpt, "rcpt", "original-recipient", T::kText,
           "the recipient's address as it was accepted"},
          {F::kDestination, "destination", "", T::kText,
           "what it waits in line for: the domain (mta) or the user (mda)"},
          {F::kKind, "kind", "", T::kWord, "mta (relay) or mda (local)"},
          {F::kAction, "action", "dispatcher", T::kText,
           "name of its action in smtpd.conf"},
          {F::kTag, "tag", "", T::kText, "tag of its listener"},
          {F::kListener, "listener", "smtpname", T::kText,
           "host name its listener goes by"},
          {F::kUser, "user", "username", T::kText,
           "who authenticated to send it"},
          {F::kClient, "client", "source", T::kText,
           "address of the client it came from, or local"},
          {F::kSize, "size", "", T::kBytes, "of the message: 100K, 2M"},
          {F::kAge, "age", "", T::kDuration, "since it was accepted: 90s, 2h"},
          {F::kDue, "due", "", T::kDuration,
           "until it may go next; below 0: overdue"},
          {F::kExpiry, "expiry", "expire expires", T::kDuration,
           "until it is given up"},
          {F::kAttempts, "attempts", "tries retry", T::kNumber,
           "temporary failures so far, those of its destination counted"},
          {F::kError, "error", "last-error", T::kText,
           "why it is still here, if it is known"},
          {F::kStatus, "status", "code", T::kStatus,
           "code of the last attempt: 4.4.1, or its beginning: 4.4"},
          {F::kState, "state", "", T::kWord, "where it is on its way"},
          {F::kPriority, "priority", "", T::kNumber, "of MT-PRIORITY"},
          {F::kFlag, "flag", "flags", T::kWords, "what it is marked with"},
      };
  return table;
}

const EnvelopeFieldInfo& InfoOf(EnvelopeField field) {
  return EnvelopeFieldTable()[static_cast<size_t>(field)];
}

const EnvelopeFieldInfo* FindEnvelopeField(absl::string_view name) {
  for (const EnvelopeFieldInfo& info : EnvelopeFieldTable()) {
    if (absl::EqualsIgnoreCase(info.name, name)) return &info;
    for (const absl::string_view alias :
         absl::StrSplit(info.aliases, ' ', absl::SkipEmpty()))
      if (absl::EqualsIgnoreCase(alias, name)) return &info;
  }
  return nullptr;
}

std::string NearEnvelopeField(absl::string_view name) {
  std::vector<std::string> names;
  for (const EnvelopeFieldInfo& info : EnvelopeFieldTable()) {
    names.emplace_back(info.name);
    for (const absl::string_view alias :
         absl::StrSplit(info.aliases, ' ', absl::SkipEmpty()))
      names.emplace_back(alias);
  }
  return NearMiss(name, names);
}

std::vector<std::string> WordsOf(EnvelopeField field) {
  std::vector<std::string> words;
  if (field == F::kKind) words = {"mta", "mda"};
  if (field == F::kState)
    for (const auto& [state, word] : kStates) words.emplace_back(word);
  if (field == F::kFlag)
    for (const auto& [flag, word] : kFlags) words.emplace_back(word);
  return words;
}

std::string FieldText(const EnvelopeFacts& facts, EnvelopeField field,
                      absl::Time now) {
  const Envelope& e = facts.envelope;
  switch (field) {
    case F::kId:
      return ToString(e.id);
    case F::kMessage:
      return ToString(MessageOf(e.id));
    case F::kSender:
      return e.sender.ForPath();
    case F::kSenderDomain:
      return e.sender.domain;
    case F::kRecipient:
      return e.dest.ForPath();
    case F::kDomain:
      return e.dest.domain;
    case F::kRcpt:
      return e.rcpt.ForPath();
    case F::kDestination:
      return facts.destination;
    case F::kKind:
      return std::string(KindWord(e.kind));
    case F::kAction:
      return e.action;
    case F::kTag:
      return e.tag;
    case F::kListener:
      return e.smtpname;
    case F::kUser:
      return e.username;
    case F::kClient:
      return e.sockaddr;
    case F::kError:
      return facts.error;
    case F::kStatus:
      return StatusText(e.status);
    case F::kState:
      return std::string(StateWord(facts.state));
    case F::kFlag:
      return FlagWords(e.flags);
    case F::kSize:
    case F::kAge:
    case F::kDue:
    case F::kExpiry:
    case F::kAttempts:
    case F::kPriority:
      break;
  }
  const std::optional<int64_t> number = FieldNumber(facts, field, now);
  return number ? absl::StrCat(*number) : "";
}

std::optional<int64_t> FieldNumber(const EnvelopeFacts& facts,
                                   EnvelopeField field, absl::Time now) {
  const Envelope& e = facts.envelope;
  switch (field) {
    case F::kId:
      return Ordered(static_cast<uint64_t>(e.id));
    case F::kMessage:
      return Ordered(static_cast<uint64_t>(MessageOf(e.id)));
    case F::kSize:
      return static_cast<int64_t>(
          std::min<uint64_t>(facts.size, std::numeric_limits<int64_t>::max()));
    case F::kAge:
      return Seconds(now - e.created);
    case F::kDue:
      if (!facts.due) return std::nullopt;
      return Seconds(*facts.due - now);
    case F::kExpiry:
      return Seconds(e.expires - now);
    case F::kAttempts:
      return int64_t{e.retry} + facts.destination_failures;
    case F::kPriority:
      return e.priority;
    case F::kStatus:
      if (e.status.klass == 0) return std::nullopt;
      return e.status.klass * 1000000 + e.status.subject() * 1000 +
             e.status.detail();
    default:
      return std::nullopt;
  }
}

absl::string_view StateWord(EnvelopeState state) {
  for (const auto& [one, word] : kStates)
    if (one == state) return word;
  return "";
}

EnvelopeState StateOf(const Envelope& envelope, bool in_flight,
                      std::optional<absl::Time> due, absl::Time now) {
  if (in_flight) return EnvelopeState::kInFlight;
  if (envelope.flags & (kFlagSuspended | kFlagMoving))
    return EnvelopeState::kSuspended;
  if (envelope.flags & kFlagHeld) return EnvelopeState::kHeld;
  if (envelope.flags & kFlagInDoubt) return EnvelopeState::kInDoubt;
  if (due && *due > now) return EnvelopeState::kDeferred;
  return EnvelopeState::kQueued;
}

}  // namespace holdfast
