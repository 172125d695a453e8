#include "protocol/table_lines.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"

namespace holdfast {
namespace {

constexpr absl::string_view kServices[] = {
    "alias",  "domain",   "credentials", "netaddr",     "userinfo",
    "source", "mailaddr", "addrname",    "mailaddrmap", "relayhost",
    "string", "regex",    "auth",
};
constexpr TableOp kOps[] = {TableOp::kUpdate, TableOp::kCheck, TableOp::kLookup,
                            TableOp::kFetch};
constexpr absl::string_view kNoLine("\r\n\0", 3);
// Of the message of an error.
constexpr size_t kMaxMessage = 1024;

bool FitsLine(absl::string_view text) {
  return text.find_first_of(kNoLine) == absl::string_view::npos;
}

// A field that others follow.
bool IsField(absl::string_view text) {
  return FitsLine(text) && text.find('|') == absl::string_view::npos;
}

// Takes the text before the next '|' and that; false: there is none.
bool TakeField(absl::string_view* rest, absl::string_view* field) {
  const size_t bar = rest->find('|');
  if (bar == absl::string_view::npos) return false;
  *field = rest->substr(0, bar);
  rest->remove_prefix(bar + 1);
  return true;
}

bool IsId(absl::string_view id) {
  return id.size() == kTableIdSize &&
         std::all_of(id.begin(), id.end(), [](char c) {
           return absl::ascii_isxdigit(static_cast<unsigned char>(c)) &&
                  !absl::ascii_isupper(static_cast<unsigned char>(c));
         });
}

std::optional<TableOp> OpNamed(absl::string_view name) {
  for (const TableOp op : kOps)
    if (name == TableOpName(op)) return op;
  return std::nullopt;
}

bool HasValue(TableOp op) {
  return op == TableOp::kLookup || op == TableOp::kFetch;
}

absl::Status Malformed(absl::string_view what) {
  return absl::InvalidArgumentError(what);
}

// "found|VALUE", "not-found", "error|MESSAGE", "ok".
absl::Status ParseResult(absl::string_view text, TableReply* reply) {
  const bool update = reply->op == TableOp::kUpdate;
  absl::string_view word = text;
  const bool more = TakeField(&text, &word);
  if (word == "error") {
    reply->result = TableReply::Result::kError;
    if (more) reply->text = std::string(text);
    return absl::OkStatus();
  }
  if (!update && word == "not-found" && !more) {
    reply->result = TableReply::Result::kNotFound;
    return absl::OkStatus();
  }
  if (word != (update ? "ok" : "found")) return Malformed("unknown result");
  if (more != HasValue(reply->op))
    return Malformed(more ? "a value that was not asked for" : "no value");
  if (more && text.empty()) return Malformed("empty value");
  reply->result = TableReply::Result::kFound;
  if (more) reply->text = std::string(text);
  return absl::OkStatus();
}

}  // namespace

absl::string_view TableOpName(TableOp op) {
  switch (op) {
    case TableOp::kUpdate:
      return "update";
    case TableOp::kCheck:
      return "check";
    case TableOp::kLookup:
      return "lookup";
    case TableOp::kFetch:
      return "fetch";
  }
  return "";
}

bool IsTableServiceName(absl::string_view name) {
  return std::find(std::begin(kServices), std::end(kServices), name) !=
         std::end(kServices);
}

// ---- the server's side

absl::StatusOr<std::string> TableGreeting(absl::string_view server_version,
                                          absl::string_view table) {
  if (!IsField(table) || table.size() > kMaxTableLine / 2)
    return Malformed("the table's name cannot stand in a line");
  return absl::StrCat("config|smtpd-version|", server_version, "\n",
                      "config|protocol|", kTableProtocol, "\n",
                      "config|tablename|", table, "\n", "config|ready\n");
}

absl::StatusOr<std::string> TableRequestLine(const TableRequest& request,
                                             absl::Time now) {
  if (!FitsLine(request.key)) return Malformed("key with CR, LF or NUL");
  const int64_t usec = absl::ToUnixMicros(now);
  std::string line =
      absl::StrFormat("table|%s|%d.%06d|%s|%s", kTableProtocol, usec / 1000000,
                      usec % 1000000, request.table, TableOpName(request.op));
  if (request.op != TableOp::kUpdate)
    absl::StrAppend(&line, "|", request.service);
  absl::StrAppend(&line, "|", request.id);
  if (line.size() + request.key.size() >= kMaxTableLine)
    return Malformed("key too long");
  if (request.op == TableOp::kCheck || request.op == TableOp::kLookup)
    absl::StrAppend(&line, "|", request.key);
  line.push_back('\n');
  return line;
}

absl::StatusOr<std::string> ParseTableRegistration(absl::string_view line) {
  if (!absl::ConsumePrefix(&line, "register|"))
    return Malformed("not a registration");
  if (line != "ready" && !IsTableServiceName(line))
    return Malformed("unknown service");
  return std::string(line);
}

absl::StatusOr<TableReply> ParseTableReply(absl::string_view line) {
  if (line.size() > kMaxTableLine) return Malformed("line too long");
  if (!FitsLine(line)) return Malformed("CR or NUL in a line");
  absl::string_view word, id;
  if (!TakeField(&line, &word) || !TakeField(&line, &id))
    return Malformed("not an answer");
  const size_t dash = word.rfind("-result");
  if (dash == absl::string_view::npos || dash + 7 != word.size())
    return Malformed("not an answer");
  const std::optional<TableOp> op = OpNamed(word.substr(0, dash));
  if (!op) return Malformed("unknown operation");
  if (!IsId(id)) return Malformed("not an identifier");
  TableReply reply;
  reply.op = *op;
  reply.id = std::string(id);
  if (absl::Status result = ParseResult(line, &reply); !result.ok())
    return result;
  return reply;
}

// ---- the program's side

std::optional<std::pair<std::string, std::string>> ParseTableConfig(
    absl::string_view line) {
  if (!absl::ConsumePrefix(&line, "config|")) return std::nullopt;
  absl::string_view name = line;
  if (TakeField(&line, &name))
    return std::make_pair(std::string(name), std::string(line));
  return std::make_pair(std::string(name), std::string());
}

std::string TableRegistrations(const std::vector<std::string>& services) {
  std::string lines;
  for (const std::string& service : services)
    absl::StrAppend(&lines, "register|", service, "\n");
  return absl::StrCat(lines, "register|ready\n");
}

absl::StatusOr<TableRequest> ParseTableRequest(absl::string_view line) {
  if (line.size() > kMaxTableLine) return Malformed("line too long");
  if (!FitsLine(line)) return Malformed("CR or NUL in a line");
  absl::string_view word, version, time, table, op_name;
  if (!TakeField(&line, &word) || word != "table")
    return Malformed("not a request");
  if (!TakeField(&line, &version) || version != kTableProtocol)
    return Malformed("unknown protocol");
  if (!TakeField(&line, &time) || !TakeField(&line, &table) ||
      !TakeField(&line, &op_name))
    return Malformed("request cut short");
  const std::optional<TableOp> op = OpNamed(op_name);
  if (!op) return Malformed("unknown operation");
  TableRequest request;
  request.table = std::string(table);
  request.op = *op;
  absl::string_view service, id = line;
  if (*op != TableOp::kUpdate) {
    if (!TakeField(&line, &service)) return Malformed("request cut short");
    if (!IsTableServiceName(service)) return Malformed("unknown service");
    id = line;
  }
  if (*op == TableOp::kCheck || *op == TableOp::kLookup) {
    if (!TakeField(&line, &id)) return Malformed("request cut short");
    request.key = std::string(line);
  }
  if (id.empty() || !IsField(id)) return Malformed("not an identifier");
  request.service = std::string(service);
  request.id = std::string(id);
  return request;
}

std::string TableReplyLine(const TableReply& reply) {
  const std::string head =
      absl::StrCat(TableOpName(reply.op), "-result|", reply.id, "|");
  std::string why = reply.text;
  if (reply.result == TableReply::Result::kNotFound &&
      reply.op != TableOp::kUpdate)
    return absl::StrCat(head, "not-found\n");
  if (reply.result == TableReply::Result::kFound) {
    if (reply.op == TableOp::kUpdate) return absl::StrCat(head, "ok\n");
    if (!HasValue(reply.op)) return absl::StrCat(head, "found\n");
    if (reply.text.empty()) {
      why = "empty value";
    } else if (!FitsLine(reply.text)) {
      why = "value with CR, LF or NUL";
    } else if (head.size() + reply.text.size() + 6 > kMaxTableLine) {
      why = "value too long";
    } else {
      return absl::StrCat(head, "found|", reply.text, "\n");
    }
  }
  if (why.empty()) return absl::StrCat(head, "error\n");
  why.resize(std::min(why.size(), kMaxMessage));
  for (char& c : why)
    if (kNoLine.find(c) != absl::string_view::npos) c = ' ';
  return absl::StrCat(head, "error|", why, "\n");
}

}  // namespace holdfast
