#include "server/queue/envelope_act.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "config/delivery_way.h"
#include "protocol/relay_url.h"
#include "protocol/vis.h"

namespace holdfast {
namespace {

using Kind = EnvelopeAct::Kind;

constexpr struct {
  Kind kind;
  absl::string_view word, done;
} kActs[] = {
    {Kind::kRemove, "remove", "removed"},
    {Kind::kHold, "hold", "held"},
    {Kind::kRelease, "release", "released"},
    {Kind::kSchedule, "schedule", "scheduled"},
    {Kind::kExpire, "expire", "expired"},
    {Kind::kBounce, "bounce", "bounced"},
    {Kind::kReroute, "reroute", "rerouted"},
    {Kind::kSet, "set", "changed"},
};

constexpr char kDefaultBounce[] = "Returned by the administrator";
constexpr char kFields[] = "possible fields: expiry, priority, ttl";

absl::Status Wrong(absl::string_view text) {
  return absl::InvalidArgumentError(text);
}

std::string Quoted(absl::string_view word) {
  return absl::StrCat("\"", VisEncode(word), "\"");
}

// "30s", "10m", "2h", "4d", "1w".
std::optional<absl::Duration> ParseLife(absl::string_view text) {
  static constexpr struct {
    char unit;
    int64_t seconds;
  } kUnits[] = {
      {'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 7 * 86400}};
  if (text.size() < 2 || text.size() > 9) return std::nullopt;
  int64_t number = 0;
  if (!std::all_of(text.begin(), text.end() - 1, absl::ascii_isdigit) ||
      !absl::SimpleAtoi(text.substr(0, text.size() - 1), &number))
    return std::nullopt;
  for (const auto& unit : kUnits) {
    if (text.back() == unit.unit)
      return std::min(absl::Seconds(number * unit.seconds),
                      kMaxLife + absl::Seconds(1));
  }
  return std::nullopt;
}

absl::Status SetField(absl::string_view field, absl::string_view value,
                      EnvelopeAct* act) {
  if (field == "priority") {
    int number = 0;
    if (!absl::SimpleAtoi(value, &number) || number < -kMaxPriority ||
        number > kMaxPriority)
      return Wrong(absl::StrCat("priority ", Quoted(value),
                                " is not a number from -9 to 9"));
    act->priority = static_cast<int8_t>(number);
    return absl::OkStatus();
  }
  if (field != "expiry" && field != "ttl")
    return Wrong(
        absl::StrCat("field ", Quoted(field), " can't be set; ", kFields));
  const std::optional<absl::Duration> life = ParseLife(value);
  if (!life.has_value() || *life > kMaxLife)
    return Wrong(absl::StrCat(field, " ", Quoted(value),
                              " is not a time like 30m, 2h or 4d (at most ",
                              "365d)"));
  (field == "ttl" ? act->ttl : act->expires_in) = *life;
  return absl::OkStatus();
}

// "mx.example.net", "[192.0.2.1]:2525" or a relay URL.
absl::StatusOr<std::string> NextHopUrl(const std::string& to,
                                       const Config& config) {
  const std::string url =
      absl::StrContains(to, "://") ? to : absl::StrCat("smtp://", to);
  const absl::StatusOr<RelayUrl> parsed = ParseRelayUrl(url);
  const bool host = absl::StrContains(to, '.') || absl::StrContains(to, ':');
  if (parsed.ok() && host && parsed->protocol != RelayProtocol::kLmtp)
    return url;
  std::vector<std::string> names;
  for (const auto& [name, action] : config.actions)
    names.push_back(VisEncode(name));
  return Wrong(absl::StrCat(
      Quoted(to), " is no action (there are: ", absl::StrJoin(names, ", "),
      "), and no host or relay URL"));
}

absl::Status SetDestination(const std::string& to, const Config& config,
                            EnvelopeAct* act) {
  const auto found = config.actions.find(to);
  if (found == config.actions.end()) {
    absl::StatusOr<std::string> url = NextHopUrl(to, config);
    if (!url.ok()) return url.status();
    act->next_hop = *std::move(url);
    return absl::OkStatus();
  }
  act->action = to;
  act->local = found->second.IsLocal();
  if (act->local && WayOf(found->second) == DeliveryWay::kNone)
    return Wrong(absl::StrCat("action ", Quoted(to), " delivers nothing"));
  return absl::OkStatus();
}

// The words one after the other.
class Reader {
 public:
  Reader(const std::vector<std::string>& words, const Config& config)
      : words_(words), config_(config) {}

  absl::StatusOr<ActRequest> Read() {
    const std::optional<Kind> kind =
        words_.empty() ? std::nullopt : FindAct(words_[0]);
    if (!kind.has_value()) return Wrong("no such act");
    out_.act.kind = *kind;
    ++at_;
    for (absl::Status s = ReadOptions(); !s.ok();) return s;
    if (*kind == Kind::kSet && out_.token.empty()) {
      if (words_.size() < at_ + 2)
        return Wrong(absl::StrCat("set what?  ", kFields));
      absl::Status s = SetField(words_[at_], words_[at_ + 1], &out_.act);
      if (!s.ok()) return s;
      at_ += 2;
      for (absl::Status more = ReadOptions(); !more.ok();) return more;
    }
    return ReadFilter();
  }

 private:
  absl::Status ReadOptions() {
    while (at_ < words_.size() && absl::StartsWith(words_[at_], "--")) {
      const std::string word = words_[at_++];
      const size_t equals = word.find('=');
      const std::string name = word.substr(0, equals);
      if (bool* const flag = Flag(name)) {
        if (equals != std::string::npos)
          return Wrong(absl::StrCat(name, " takes no value"));
        *flag = true;
        continue;
      }
      if (equals == std::string::npos && at_ == words_.size())
        return Wrong(absl::StrCat(VisEncode(name), " what?"));
      const std::string value =
          equals == std::string::npos ? words_[at_++] : word.substr(equals + 1);
      absl::Status status = SetOption(name, value);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  bool* Flag(const std::string& name) {
    return name == "--yes"        ? &out_.yes
           : name == "--progress" ? &out_.progress
           : name == "--json"     ? &out_.json
                                  : nullptr;
  }

  absl::Status SetOption(const std::string& name, const std::string& value) {
    if (name == "--token") {
      out_.token = value;
      return value.empty() ? Wrong("an empty token") : absl::OkStatus();
    }
    if (name == "--to" && out_.act.kind == Kind::kReroute)
      return SetDestination(value, config_, &out_.act);
    if (name != "--text" || out_.act.kind != Kind::kBounce)
      return Wrong(absl::StrCat("option ", Quoted(name), " of ",
                                ActWord(out_.act.kind),
                                "; possible: ", Options()));
    const bool clean = std::none_of(value.begin(), value.end(), [](char c) {
      return absl::ascii_iscntrl(c);
    });
    if (value.empty() || value.size() > kMaxBounceText || !clean)
      return Wrong(absl::StrCat("the text must be one line of at most ",
                                kMaxBounceText, " octets"));
    out_.act.text = value;
    return absl::OkStatus();
  }

  absl::string_view Options() const {
    switch (out_.act.kind) {
      case Kind::kBounce:
        return "--text TEXT, --token TOKEN, --yes, --json";
      case Kind::kReroute:
        return "--to ACTION|HOST|URL, --token TOKEN, --yes, --json";
      default:
        return "--token TOKEN, --yes, --json";
    }
  }

  absl::StatusOr<ActRequest> ReadFilter() {
    const Kind kind = out_.act.kind;
    if (kind == Kind::kReroute && out_.token.empty() &&
        out_.act.action.empty() && out_.act.next_hop.empty())
      return Wrong("reroute where?  --to ACTION|HOST|URL");
    if (kind == Kind::kBounce && out_.act.text.empty())
      out_.act.text = kDefaultBounce;
    if (out_.yes && !out_.token.empty())
      return Wrong("--yes and --token do not go together");
    std::vector<std::string> rest(words_.begin() + at_, words_.end());
    if (!rest.empty() && rest.back() == "--json") {
      out_.json = true;
      rest.pop_back();
    }
    out_.filter_given = !rest.empty();
    // Nothing said must not mean everything.
    if (!out_.filter_given && out_.token.empty())
      return Wrong(
          absl::StrCat(ActWord(kind), " which envelopes?  A filter, or: all"));
    if (rest != std::vector<std::string>{"all"})
      out_.filter = absl::StrJoin(rest, " ");
    return out_;
  }

  const std::vector<std::string>& words_;
  const Config& config_;
  size_t at_ = 0;
  ActRequest out_;
};

}  // namespace

absl::string_view ActWord(Kind kind) {
  return kActs[static_cast<size_t>(kind)].word;
}

absl::string_view DoneWord(Kind kind) {
  return kActs[static_cast<size_t>(kind)].done;
}

std::optional<Kind> FindAct(absl::string_view word) {
  for (const auto& act : kActs)
    if (act.word == word) return act.kind;
  return std::nullopt;
}

std::string ActText(const EnvelopeAct& act) {
  std::string text(ActWord(act.kind));
  if (!act.text.empty()) absl::StrAppend(&text, " --text ", Quoted(act.text));
  const std::string& to = act.action.empty() ? act.next_hop : act.action;
  if (!to.empty()) absl::StrAppend(&text, " --to ", Quoted(to));
  if (act.priority) absl::StrAppend(&text, " priority ", *act.priority);
  if (act.expires_in)
    absl::StrAppend(&text, " expiry ", absl::ToInt64Seconds(*act.expires_in),
                    "s");
  if (act.ttl)
    absl::StrAppend(&text, " ttl ", absl::ToInt64Seconds(*act.ttl), "s");
  return text;
}

bool CanAct(const EnvelopeAct& act, const Envelope& envelope,
            const Config& config) {
  if (act.kind != Kind::kReroute) return true;
  if (!act.next_hop.empty()) {
    const auto action = config.actions.find(envelope.action);
    return envelope.kind == DeliveryKind::kMta &&
           action != config.actions.end() && !action->second.IsLocal();
  }
  if (!act.local) return !envelope.dest.domain.empty();
  return envelope.kind == DeliveryKind::kMda && envelope.mda_exec.empty();
}

absl::StatusOr<ActRequest> ParseActRequest(
    const std::vector<std::string>& words, const Config& config) {
  return Reader(words, config).Read();
}

}  // namespace holdfast
