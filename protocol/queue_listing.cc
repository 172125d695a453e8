#include "protocol/queue_listing.h"

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "protocol/vis.h"

namespace holdfast {
namespace {

absl::string_view Origin(absl::string_view sockaddr) {
  if (sockaddr == "local") return "local";
  if (sockaddr.empty()) return "?";
  return sockaddr.find(':') == absl::string_view::npos ? "inet4" : "inet6";
}

// In the reference's order; `doubt` is ours.
std::string Flags(uint32_t flags) {
  static constexpr struct {
    uint32_t flag;
    absl::string_view word;
  } kWords[] = {{kFlagBounce, "bounce"},     {kFlagAuthenticated, "auth"},
                {kFlagInternal, "internal"}, {kFlagSuspended, "suspend"},
                {kFlagHeld, "hold"},         {kFlagInDoubt, "doubt"},
                {kFlagMoving, "move"}};
  std::vector<absl::string_view> words;
  for (const auto& w : kWords)
    if (flags & w.flag) words.push_back(w.word);
  return absl::StrJoin(words, ",");
}

absl::string_view StateWord(ListingState::State state) {
  switch (state) {
    case ListingState::State::kPending:
      return "pending";
    case ListingState::State::kInFlight:
      return "inflight";
    case ListingState::State::kOffline:
      return "offline";
  }
  return "";
}

std::string Delta(const ListingState& state, absl::Time now) {
  switch (state.state) {
    case ListingState::State::kPending:
      return absl::StrCat(absl::ToUnixSeconds(state.when) -
                          absl::ToUnixSeconds(now));
    case ListingState::State::kInFlight:
      return absl::StrCat(absl::ToUnixSeconds(now) -
                          absl::ToUnixSeconds(state.when));
    case ListingState::State::kOffline:
      return "";
  }
  return "";
}

std::optional<uint64_t> ParseHex(absl::string_view text, size_t digits) {
  if (text.size() != digits) return std::nullopt;
  for (const char c : text)
    if (!absl::ascii_isxdigit(c)) return std::nullopt;
  uint64_t n = 0;
  if (!absl::SimpleHexAtoi(text, &n) || n == 0) return std::nullopt;
  return n;
}

// One column of text from outside.
std::string Column(absl::string_view text) { return VisEncode(text); }

}  // namespace

std::string QueueListingLine(const Envelope& e, const ListingState& state,
                             absl::Time now) {
  const absl::Time last_try =
      state.state == ListingState::State::kInFlight ? state.when : e.last_try;
  const std::string& error =
      state.destination_error.empty() ? e.error_line : state.destination_error;
  return absl::StrCat(
      absl::StrJoin({ToString(e.id), std::string(Origin(e.sockaddr)),
                     std::string(KindWord(e.kind)), Flags(e.flags),
                     Column(e.sender.ToString()), Column(e.rcpt.ToString()),
                     Column(e.dest.ToString()),
                     absl::StrCat(absl::ToUnixSeconds(e.created)),
                     absl::StrCat(absl::ToUnixSeconds(e.expires)),
                     absl::StrCat(absl::ToUnixSeconds(last_try)),
                     absl::StrCat(e.retry), std::string(StateWord(state.state)),
                     Delta(state, now), Column(error)},
                    "|"),
      "\n");
}

std::string DoubtLine(EnvelopeId id, absl::Time when, DeliveryKind kind,
                      absl::string_view sender, absl::string_view dest) {
  return absl::StrCat(ToString(id), "|", absl::ToUnixSeconds(when), "|",
                      KindWord(kind), "|", Column(sender), "|", Column(dest),
                      "\n");
}

absl::string_view KindWord(DeliveryKind kind) {
  return kind == DeliveryKind::kMda ? "mda" : "mta";
}

std::optional<EnvelopeId> ParseEnvelopeId(absl::string_view text) {
  const std::optional<uint64_t> n = ParseHex(text, 16);
  if (!n || *n >> 32 == 0 || static_cast<uint32_t>(*n) == 0)
    return std::nullopt;
  return EnvelopeId(*n);
}

std::optional<MessageId> ParseMessageId(absl::string_view text) {
  const std::optional<uint64_t> n = ParseHex(text, 8);
  if (!n) return std::nullopt;
  return MessageId(static_cast<uint32_t>(*n));
}

}  // namespace holdfast
