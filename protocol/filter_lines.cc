#include "protocol/filter_lines.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

constexpr absl::string_view kProtocolNames[] = {"0.5", "0.6", "0.7"};

void AppendHex(uint64_t value, std::string* out) {
  char digits[16];
  for (int i = 15; i >= 0; --i, value >>= 4)
    digits[i] = "0123456789abcdef"[value & 15];
  out->append(digits, sizeof digits);
}

// Seconds, a dot, six digits.
void AppendTime(absl::Time at, std::string* out) {
  const int64_t all = std::max<int64_t>(0, absl::ToUnixMicros(at));
  char digits[24];
  char* const end = std::to_chars(digits, std::end(digits), all / 1000000).ptr;
  out->append(digits, end);
  char micros[7] = {'.'};
  int64_t rest = all % 1000000;
  for (int i = 6; i > 0; --i, rest /= 10)
    micros[i] = static_cast<char>('0' + rest % 10);
  out->append(micros, sizeof micros);
}

// `last`: it may hold a '|'.
void AppendField(absl::string_view field, bool last, std::string* out) {
  const size_t start = out->size();
  out->append(field.data(), field.size());
  for (size_t i = start; i < out->size(); ++i) {
    char& c = (*out)[i];
    if (c == '\n' || c == '\r' || c == '\0' || (c == '|' && !last)) c = '?';
  }
}

void AppendStart(absl::string_view kind, FilterProtocol protocol, absl::Time at,
                 bool outgoing, absl::string_view word, SessionId session,
                 std::string* out) {
  const absl::string_view version = FilterProtocolName(protocol);
  out->append(kind.data(), kind.size());
  out->push_back('|');
  out->append(version.data(), version.size());
  out->push_back('|');
  AppendTime(at, out);
  out->append(outgoing ? "|smtp-out|" : "|smtp-in|");
  out->append(word.data(), word.size());
  out->push_back('|');
  AppendHex(static_cast<uint64_t>(session), out);
}

void AppendRequestPrefix(FilterProtocol protocol, absl::Time at,
                         FilterPhase phase, SessionId session, uint64_t token,
                         std::string* out) {
  AppendStart("filter", protocol, at, false, FilterPhaseName(phase), session,
              out);
  out->push_back('|');
  AppendHex(token, out);
  out->push_back('|');
}

// Which of the fields of 0.7 stands at `place` in `protocol`.
size_t FieldAt(FilterProtocol protocol, FilterEvent event, size_t place) {
  // link-auth was USER|RESULT before 0.7.
  if (event == FilterEvent::kLinkAuth && protocol < FilterProtocol::k07 &&
      place < 2)
    return 1 - place;
  // tx-mail and tx-rcpt were MESSAGE|ADDRESS|RESULT before 0.6.
  if ((event == FilterEvent::kTxMail || event == FilterEvent::kTxRcpt) &&
      protocol < FilterProtocol::k06 && (place == 1 || place == 2))
    return 3 - place;
  return place;
}

// Cuts off what is before the next '|'.  False: there is none.
bool NextField(absl::string_view* line, absl::string_view* field) {
  const size_t bar = line->find('|');
  if (bar == absl::string_view::npos) return false;
  *field = line->substr(0, bar);
  line->remove_prefix(bar + 1);
  return true;
}

bool ParseHex(absl::string_view text, uint64_t* value) {
  if (text.empty() || text.size() > 16) return false;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), *value, 16);
  return error == std::errc() && end == text.data() + text.size();
}

bool ParseSession(absl::string_view text, SessionId* session) {
  uint64_t value = 0;
  if (!ParseHex(text, &value)) return false;
  *session = SessionId(value);
  return true;
}

bool ParseDirection(absl::string_view text, bool* outgoing) {
  *outgoing = text == "smtp-out";
  return *outgoing || text == "smtp-in";
}

absl::Status Malformed(absl::string_view what) {
  return absl::InvalidArgumentError(what);
}

absl::StatusOr<FilterLine> ParseRegister(absl::string_view line) {
  if (line == "ready") return FilterLine(FilterRegistersReady{});
  absl::string_view kind, subsystem;
  bool outgoing = false;
  if (!NextField(&line, &kind) || !NextField(&line, &subsystem))
    return Malformed("incomplete registration");
  if (!ParseDirection(subsystem, &outgoing))
    return Malformed("registration with an unknown subsystem");
  if (kind == "report") {
    if (line == "*")
      return FilterLine(FilterRegistersEvents{outgoing, kAllFilterEvents});
    const auto event = FilterEventNamed(line);
    if (!event) return Malformed("registration of an unknown event");
    return FilterLine(FilterRegistersEvents{outgoing, MaskOf(*event)});
  }
  if (kind != "filter") return Malformed("unknown registration");
  if (outgoing) return Malformed("registration of a phase of smtp-out");
  const auto phase = FilterPhaseNamed(line);
  if (!phase) return Malformed("registration of an unknown phase");
  return FilterLine(FilterRegistersPhase{*phase});
}

absl::StatusOr<FilterLine> ParseResult(absl::string_view line) {
  FilterResult result;
  absl::string_view session, token;
  if (!NextField(&line, &session) || !NextField(&line, &token))
    return Malformed("incomplete filter-result");
  if (!ParseSession(session, &result.session))
    return Malformed("filter-result with an invalid session");
  if (!ParseHex(token, &result.token))
    return Malformed("filter-result with an invalid token");
  const size_t bar = line.find('|');
  const bool has_text = bar != absl::string_view::npos;
  const absl::string_view word = line.substr(0, bar);
  if (has_text) result.text = line.substr(bar + 1);
  struct Word {
    absl::string_view word;
    FilterVerdict verdict;
    bool text;  // is needed
  };
  static constexpr Word kWords[] = {
      {"proceed", FilterVerdict::kProceed, false},
      {"junk", FilterVerdict::kJunk, false},
      {"reject", FilterVerdict::kReject, true},
      {"disconnect", FilterVerdict::kDisconnect, true},
      {"rewrite", FilterVerdict::kRewrite, true},
      {"report", FilterVerdict::kReport, true},
  };
  const auto* const found =
      std::find_if(std::begin(kWords), std::end(kWords),
                   [&](const Word& w) { return w.word == word; });
  if (found == std::end(kWords))
    return Malformed("filter-result with an unknown decision");
  if (found->text && !has_text)
    return Malformed("filter-result without its parameter");
  result.verdict = found->verdict;
  return FilterLine(result);
}

absl::StatusOr<FilterLine> ParseDataline(absl::string_view line) {
  FilterDataline data;
  absl::string_view session, token;
  if (!NextField(&line, &session) || !NextField(&line, &token))
    return Malformed("incomplete filter-dataline");
  if (!ParseSession(session, &data.session))
    return Malformed("filter-dataline with an invalid session");
  if (!ParseHex(token, &data.token))
    return Malformed("filter-dataline with an invalid token");
  data.line = line;
  return FilterLine(data);
}

bool IsTime(absl::string_view text) {
  const size_t dot = text.find('.');
  if (dot == 0 || dot == absl::string_view::npos || dot + 1 == text.size())
    return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (i != dot && !absl::ascii_isdigit(static_cast<unsigned char>(text[i])))
      return false;
  }
  return true;
}

absl::StatusOr<FilterLine> ParseSays(absl::string_view line) {
  FilterSays says;
  absl::string_view time, subsystem, session;
  if (!NextField(&line, &time) || !NextField(&line, &subsystem) ||
      !NextField(&line, &session))
    return Malformed("incomplete report");
  if (!IsTime(time)) return Malformed("report with an invalid time");
  if (!ParseDirection(subsystem, &says.outgoing))
    return Malformed("report with an unknown subsystem");
  if (!ParseSession(session, &says.session))
    return Malformed("report with an invalid session");
  says.text = line;
  return FilterLine(says);
}

}  // namespace

absl::string_view FilterProtocolName(FilterProtocol protocol) {
  return kProtocolNames[static_cast<int>(protocol)];
}

std::optional<FilterProtocol> FilterProtocolNamed(absl::string_view name) {
  const auto found =
      std::find(std::begin(kProtocolNames), std::end(kProtocolNames), name);
  if (found == std::end(kProtocolNames)) return std::nullopt;
  return static_cast<FilterProtocol>(found - std::begin(kProtocolNames));
}

void AppendFilterGreeting(const FilterGreeting& greeting, std::string* out) {
  const auto line = [out](absl::string_view key, absl::string_view value) {
    absl::StrAppend(out, "config|", key, "|");
    AppendField(value, true, out);
    out->push_back('\n');
  };
  line("smtpd-version", greeting.version);
  line("protocol", FilterProtocolName(greeting.protocol));
  line("smtp-session-timeout", absl::StrCat(greeting.session_timeout));
  line("subsystem", "smtp-in");
  if (greeting.smtp_out) line("subsystem", "smtp-out");
  line("admd", greeting.admd);
  out->append("config|ready\n");
}

void AppendFilterReport(FilterProtocol protocol, absl::Time at, bool outgoing,
                        FilterEvent event, SessionId session,
                        const std::vector<std::string>& fields,
                        std::string* out) {
  AppendStart("report", protocol, at, outgoing, FilterEventName(event), session,
              out);
  for (size_t i = 0; i < fields.size(); ++i) {
    out->push_back('|');
    const size_t field = FieldAt(protocol, event, i);
    if (field < fields.size())
      AppendField(fields[field], i + 1 == fields.size(), out);
  }
  out->push_back('\n');
}

void AppendFilterRequest(FilterProtocol protocol, absl::Time at,
                         FilterPhase phase, SessionId session, uint64_t token,
                         absl::string_view parameter, std::string* out) {
  AppendRequestPrefix(protocol, at, phase, session, token, out);
  AppendField(parameter, true, out);
  out->push_back('\n');
}

std::string FilterRequestPrefix(FilterProtocol protocol, absl::Time at,
                                FilterPhase phase, SessionId session,
                                uint64_t token) {
  std::string prefix;
  AppendRequestPrefix(protocol, at, phase, session, token, &prefix);
  return prefix;
}

absl::StatusOr<FilterLine> ParseFilterLine(absl::string_view line) {
  absl::string_view kind;
  if (!NextField(&line, &kind)) return Malformed("line without a field");
  if (kind == "filter-dataline") return ParseDataline(line);
  if (kind == "filter-result") return ParseResult(line);
  if (kind == "report") return ParseSays(line);
  if (kind == "register") return ParseRegister(line);
  return Malformed("line of an unknown kind");
}

bool FilterLineReader::Read(absl::string_view bytes,
                            absl::FunctionRef<bool(absl::string_view)> line) {
  constexpr size_t kMost = kMaxFilterLine + kMaxFilterPrefix;
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    const absl::string_view part = bytes.substr(0, end);
    if (held_.size() + part.size() > kMost) {
      too_long_ = true;
      return false;
    }
    if (end == absl::string_view::npos) {
      held_.append(part.data(), part.size());
      return true;
    }
    bytes.remove_prefix(end + 1);
    if (held_.empty()) {
      if (!line(part)) return false;
      continue;
    }
    held_.append(part.data(), part.size());
    const std::string whole = std::exchange(held_, std::string());
    if (!line(whole)) return false;
  }
  return true;
}

bool IsFilterReply(absl::string_view text) {
  const auto digit = [text](size_t i) {
    return absl::ascii_isdigit(static_cast<unsigned char>(text[i]));
  };
  return text.size() >= 5 && (text[0] == '4' || text[0] == '5') && digit(1) &&
         digit(2) && text[3] == ' ';
}

}  // namespace holdfast
