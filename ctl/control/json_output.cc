#include "ctl/control/json_output.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"

namespace holdfast {
namespace {

using Words = std::vector<std::string>;

Json NumberOrText(absl::string_view text) {
  int64_t number = 0;
  if (absl::SimpleAtoi(text, &number)) return number;
  return std::string(text);
}

Json Number(absl::string_view text) {
  int64_t number = 0;
  if (!absl::SimpleAtoi(text, &number)) return nullptr;
  return number;
}

// Seconds of "1d2h3m4s"; null of "-".
Json Seconds(absl::string_view text) {
  int64_t all = 0, number = 0;
  for (const char c : text) {
    if (c == '-') return nullptr;
    if (c >= '0' && c <= '9') {
      number = number * 10 + (c - '0');
      continue;
    }
    all += number * (c == 'd' ? 86400 : c == 'h' ? 3600 : c == 'm' ? 60 : 1);
    number = 0;
  }
  return all;
}

// An empty list of no words.
Json List(absl::string_view text, char separator) {
  Json list = Json::array();
  for (const absl::string_view word :
       absl::StrSplit(text, separator, absl::SkipEmpty()))
    list.push_back(std::string(word));
  return list;
}

std::string Unbracketed(absl::string_view text) {
  if (absl::ConsumePrefix(&text, "[")) absl::ConsumeSuffix(&text, "]");
  return std::string(text);
}

// The first word, which it takes off.
std::string TakeWord(absl::string_view* text, absl::string_view end = " ") {
  const size_t at = std::min(text->find(end), text->size());
  std::string word(text->substr(0, at));
  text->remove_prefix(std::min(at + end.size(), text->size()));
  return word;
}

// "refcount=1 lastconn=5s flags=A,B" into `object`.
void AddPairs(absl::string_view text, Json* object) {
  for (absl::string_view pair : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    const std::string name = TakeWord(&pair, "=");
    if (name == "lastconn" || name == "timeout")
      (*object)[name] = Seconds(pair);
    else if (name == "flags" || name == "wait")
      (*object)[name] = List(pair, ',');
    else
      (*object)[name] = NumberOrText(pair);
  }
}

// ---- Rows: an object for a line

using RowMaker = Json (*)(absl::string_view line);

class Rows : public JsonOutput::Lines {
 public:
  explicit Rows(RowMaker make) : make_(make) {}
  std::string Line(absl::string_view line) override {
    const Json row = make_(line);
    return row.is_null() ? "" : JsonLine(row);
  }

 private:
  const RowMaker make_;
};

// Splits at bars; those between quotes are of a local part.
Words Columns(absl::string_view line, size_t count) {
  Words columns(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    if (columns.size() == count) {
      columns.back().append(line.data() + i, line.size() - i);
      break;
    }
    if (line[i] == '"') quoted = !quoted;
    if (line[i] == '|' && !quoted)
      columns.emplace_back();
    else
      columns.back().push_back(line[i]);
    if (line[i] == '\\' && quoted && i + 1 < line.size())
      columns.back().push_back(line[++i]);
  }
  columns.resize(count);
  return columns;
}

// The null sender is "@" there.
std::string Address(const std::string& column) {
  return column == "@" ? "" : column;
}

Json QueueRow(absl::string_view line) {
  const Words c = Columns(line, 14);
  Json row;
  row["id"] = c[0];
  row["message"] = c[0].substr(0, 8);
  row["origin"] = c[1];
  row["kind"] = c[2];
  row["flags"] = List(c[3], ',');
  row["sender"] = Address(c[4]);
  row["rcpt"] = c[5];
  row["dest"] = c[6];
  row["created"] = Number(c[7]);
  row["expires"] = Number(c[8]);
  row["last_try"] = c[9] == "0" ? Json(nullptr) : Number(c[9]);
  row["tries"] = Number(c[10]);
  row["state"] = c[11];
  row["seconds"] = Number(c[12]);
  row["error"] = c[13];
  return row;
}

Json DoubtRow(absl::string_view line) {
  const Words c = Columns(line, 5);
  Json row;
  row["id"] = c[0];
  row["when"] = Number(c[1]);
  row["kind"] = c[2];
  row["sender"] = Address(c[3]);
  row["dest"] = c[4];
  return row;
}

Json HostRow(absl::string_view line) {
  Json row;
  row["address"] = TakeWord(&line);
  const std::string name = TakeWord(&line);
  row["name"] = name == "(null)" ? Json(nullptr) : Json(name);
  AddPairs(line, &row);
  return row;
}

Json HostStatRow(absl::string_view line) {
  Json row;
  row["domain"] = TakeWord(&line, "|");
  row["when"] = Number(TakeWord(&line, "|"));
  row["status"] = std::string(line);
  return row;
}

Json BlockRow(absl::string_view line) {
  Json row;
  row["source"] = Unbracketed(TakeWord(&line, " -> "));
  row["domain"] = std::string(line);
  return row;
}

// 1. [] <-> 127.0.0.1 (localhost) N--- nconn=1 ...
Json RouteRow(absl::string_view line) {
  static constexpr struct {
    size_t at;
    const char* word;
  } kFlags[] = {{0, "new"}, {1, "disabled"}, {2, "timer"}, {3, "kept"}};
  Json row;
  row["id"] = Number(TakeWord(&line, ". "));
  row["source"] = Unbracketed(TakeWord(&line, " <-> "));
  row["address"] = Unbracketed(TakeWord(&line, " ("));
  row["name"] = TakeWord(&line, ") ");
  const std::string letters = TakeWord(&line);
  Json flags = Json::array();
  for (const auto& flag : kFlags)
    if (letters.size() > flag.at && letters[flag.at] != '-')
      flags.push_back(flag.word);
  row["flags"] = flags;
  AddPairs(line, &row);
  return row;
}

Json MonitorRow(absl::string_view line) {
  static constexpr const char* kNames[] = {
      "sessions", "connected", "disconnected", "envelopes", "enqueued",
      "dequeued", "ok",        "tempfail",     "permfail",  "loop",
      "expired",  "removed",   "bounces"};
  const Words columns = absl::StrSplit(line, ' ', absl::SkipEmpty());
  if (columns.size() != std::size(kNames)) return nullptr;
  Json row;
  for (size_t i = 0; i < columns.size(); ++i) {
    row[kNames[i]] = Number(columns[i]);
    if (row[kNames[i]].is_null()) return nullptr;  // of a header
  }
  return row;
}

Json NetworkRow(absl::string_view line) {
  return Json{{"network", std::string(line)}};
}

// "command succeeded", "3 envelopes removed"
Json ActRow(absl::string_view line) {
  Json row;
  if (absl::StartsWith(line, "command ")) {
    row["ok"] = line == "command succeeded";
    return row;
  }
  row["envelopes"] = Number(TakeWord(&line));
  TakeWord(&line);
  row["act"] = std::string(line);
  return row;
}

Json CheckRow(absl::string_view line) {
  absl::string_view rest = line;
  if (!absl::ConsumePrefix(&rest, "queue check: "))
    return Json{{"problem", std::string(line)}};
  Json row;
  for (absl::string_view part : absl::StrSplit(rest, ", ")) {
    const std::string number = TakeWord(&part);
    row[std::string(part)] = Number(number);
  }
  return row;
}

// ---- One object of all lines

using PairTaker = void (*)(absl::string_view line, Json* object);

class OneObject : public JsonOutput::Lines {
 public:
  explicit OneObject(PairTaker take) : take_(take) {}
  std::string Line(absl::string_view line) override {
    take_(line, &object_);
    return "";
  }
  std::string End() override {
    return object_.is_null() ? "" : JsonLine(object_);
  }

 private:
  const PairTaker take_;
  Json object_;
};

void TakeStat(absl::string_view line, Json* object) {
  const std::string key = TakeWord(&line, "=");
  (*object)[key] = NumberOrText(line);
}

void TakeStatus(absl::string_view line, Json* object) {
  const std::string key = absl::AsciiStrToLower(TakeWord(&line));
  (*object)[key] = std::string(line);
}

void TakeLedger(absl::string_view line, Json* object) {
  const std::string key = TakeWord(&line);
  if (line == "yes" || line == "no")
    (*object)[key] = line == "yes";
  else
    (*object)[key] = NumberOrText(line);
}

void TakeField(absl::string_view line, Json* object) {
  static constexpr absl::string_view kNumbers[] = {
      "version",  "ctime",       "last-try",   "last-bounce",
      "ttl",      "retry",       "dsn-notify", "esc-class",
      "esc-code", "mt-priority", "hold-until"};
  const std::string key = TakeWord(&line, ": ");
  if (key == "attempt")
    (*object)["attempts"].push_back(std::string(line));
  else if (key == "flags" || key == "extensions")
    (*object)[key] = List(line, ' ');
  else if (std::find(std::begin(kNumbers), std::end(kNumbers), key) !=
           std::end(kNumbers))
    (*object)[key] = Number(line);
  else
    (*object)[key] = std::string(line);
}

// The head has names, then blank lines divide what was found.
void TakeExplanation(absl::string_view line, Json* object) {
  absl::string_view rest = line;
  if (absl::ConsumePrefix(&rest, "reply: ")) {
    (*object)["reply"] = std::string(rest);
  } else if (object->contains("steps")) {
    if (!line.empty()) (*object)["steps"].push_back(std::string(line));
  } else if (line.empty()) {
    (*object)["steps"] = Json::array();
  } else {
    const std::string key = TakeWord(&rest);
    (*object)[key] = std::string(absl::StripLeadingAsciiWhitespace(rest));
  }
}

// ---- Relays, with their connectors

class Relays : public JsonOutput::Lines {
 public:
  std::string Line(absl::string_view line) override {
    if (absl::ConsumePrefix(&line, "  connector ")) {
      Json connector;
      connector["source"] = Unbracketed(TakeWord(&line));
      AddPairs(line, &connector);
      relay_["connectors"].push_back(connector);
      return "";
    }
    std::string text = End();
    const size_t pairs = line.rfind(" refcount=");
    relay_["relay"] = std::string(line.substr(0, pairs));
    if (pairs != absl::string_view::npos) AddPairs(line.substr(pairs), &relay_);
    relay_["connectors"] = Json::array();
    return text;
  }
  std::string End() override {
    const Json relay = std::exchange(relay_, Json());
    return relay.is_null() ? "" : JsonLine(relay);
  }

 private:
  Json relay_;
};

std::unique_ptr<JsonOutput::Lines> RowsOf(RowMaker make) {
  return std::make_unique<Rows>(make);
}

// ---- Which command has which

RowMaker FindRows(const std::string& command) {
  static constexpr struct {
    absl::string_view words;
    RowMaker make;
  } kRows[] = {{"discover", ActRow},
               {"log", ActRow},
               {"monitor", MonitorRow},
               {"pause", ActRow},
               {"profile", ActRow},
               {"queue check", CheckRow},
               {"remove", ActRow},
               {"resume", ActRow},
               {"schedule", ActRow},
               {"show doubt", DoubtRow},
               {"show hosts", HostRow},
               {"show hoststats", HostStatRow},
               {"show mta paused", BlockRow},
               {"show queue", QueueRow},
               {"show routes", RouteRow},
               {"spf walk", NetworkRow},
               {"trace", ActRow},
               {"unprofile", ActRow},
               {"untrace", ActRow},
               {"update table", ActRow},
               {"enable route", ActRow},
               {"disable route", ActRow}};
  for (const auto& row : kRows)
    if (command == row.words ||
        absl::StartsWith(command, std::string(row.words) + " "))
      return row.make;
  return nullptr;
}

PairTaker FindObject(const std::string& command) {
  if (command == "show stats") return TakeStat;
  if (command == "show status") return TakeStatus;
  if (command == "show ledger") return TakeLedger;
  if (absl::StartsWith(command, "show envelope ")) return TakeField;
  if (absl::StartsWith(command, "explain ")) return TakeExplanation;
  return nullptr;
}

}  // namespace

std::unique_ptr<JsonOutput> JsonOutput::For(
    const std::vector<std::string>& words) {
  const std::string command = absl::StrJoin(words, " ");
  std::unique_ptr<Lines> lines;
  if (const RowMaker make = FindRows(command))
    lines = RowsOf(make);
  else if (const PairTaker take = FindObject(command))
    lines = std::make_unique<OneObject>(take);
  else if (command == "show relays")
    lines = std::make_unique<Relays>();
  if (lines == nullptr) return nullptr;
  return std::make_unique<JsonOutput>(std::move(lines));
}

std::string JsonOutput::Take(absl::string_view piece) {
  std::string text;
  for (;;) {
    const size_t end = piece.find('\n');
    rest_.append(piece.data(), std::min(end, piece.size()));
    if (end == absl::string_view::npos) return text;
    text += lines_->Line(rest_);
    rest_.clear();
    piece.remove_prefix(end + 1);
  }
}

std::string JsonOutput::End() {
  std::string text;
  if (!rest_.empty()) text = lines_->Line(std::exchange(rest_, ""));
  return text + lines_->End();
}

}  // namespace holdfast
