#include "server/lookup/explanation.h"

#include <algorithm>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "config/relay_sender.h"
#include "config/ruleset.h"
#include "protocol/vis.h"

namespace holdfast {
namespace {

// RFC 5737: nobody's, so no rule knows it.
constexpr char kNobodysAddress[] = "192.0.2.1";
constexpr char kLocalSocket[] = "local";

std::string Where(const SourcePosition& position) {
  return absl::StrCat(position.file, ":", position.line);
}

// How people may call a listener.
std::vector<std::string> NamesOf(const Listener& listener) {
  if (listener.socket) return {"socket"};
  std::vector<std::string> names;
  for (const std::string& name :
       {listener.tag, listener.hostname, listener.where}) {
    if (!name.empty()) names.push_back(name);
  }
  return names;
}

bool IsCalled(const Listener& listener, const std::string& name) {
  for (const std::string& one : NamesOf(listener)) {
    if (absl::EqualsIgnoreCase(one, name)) return true;
  }
  return false;
}

std::string ListenerText(const Listener& listener) {
  if (listener.socket) return "socket";
  std::string text = absl::StrCat(listener.where, " port ", listener.port);
  if (!listener.tag.empty()) absl::StrAppend(&text, " tag ", listener.tag);
  return absl::StrCat(text, " (", Where(listener.position), ")");
}

std::string Option(const char* word, const TableRef& table) {
  if (table == nullptr || table->name() == "<getpwnam>") return "";
  return absl::StrCat(" ", word, " ", TableText(*table));
}

std::string ActionText(const Action& action) {
  static constexpr const char* kMethods[] = {
      "mbox", "maildir", "relay", "lmtp", "mda", "expand-only", "forward-only"};
  std::string text = kMethods[static_cast<int>(action.method)];
  for (const std::string& argument :
       {action.maildir_path, action.lmtp, action.mda_command}) {
    if (!argument.empty()) {
      absl::StrAppend(&text, " \"", VisEncode(argument), "\"");
    }
  }
  absl::StrAppend(&text, Option("alias", action.alias),
                  Option("virtual", action.virtual_),
                  action.IsLocal() ? Option("userbase", action.userbase) : "",
                  Option("host", action.host), Option("domain", action.domain));
  if (!action.user.empty()) absl::StrAppend(&text, " user ", action.user);
  if (!action.wrapper.empty()) {
    absl::StrAppend(&text, " wrapper ", action.wrapper);
  }
  if (action.backup) absl::StrAppend(&text, " backup");
  if (!action.mail_from.empty()) {
    absl::StrAppend(&text, " mail-from ", action.mail_from);
  }
  if (action.srs) absl::StrAppend(&text, " srs");
  if (action.verp) absl::StrAppend(&text, " verp");
  return text;
}

// "yes  from any       (203.0.113.9)": the keys under each other.
std::string CriteriaText(const RuleTrace& rule, const std::string& indent) {
  size_t width = 0;
  for (const CriterionTrace& c : rule.criteria) {
    width = std::max(width, c.criterion.size());
  }
  std::string text;
  for (const CriterionTrace& c : rule.criteria) {
    const char* word = !c.answer.ok() ? "error" : *c.answer ? "yes" : "no";
    std::string line = absl::StrFormat("%s%-5s  %s", indent, word, c.criterion);
    if (!c.key.empty()) {
      line.resize(indent.size() + 7 + width, ' ');
      absl::StrAppend(&line, "  (", VisEncode(c.key), ")");
    }
    if (!c.answer.ok()) {
      absl::StrAppend(&line, ": ", VisEncode(c.answer.status().message()));
    }
    absl::StrAppend(&text, line, "\n");
  }
  return text;
}

std::string PathText(const MailAddress& address) {
  return absl::StrCat("<", VisEncode(address.ForPath()), ">");
}

}  // namespace

Explanation::Explanation(std::shared_ptr<const Config> config,
                         const ExplainRequest& request)
    : config_(std::move(config)), request_(request.about) {
  const bool local =
      request.listener.empty() &&
      (request_.sockaddr.empty() || request_.sockaddr == kLocalSocket);
  if (!ChooseListener(local ? "socket" : request.listener)) return;
  request_.tag = listener_->tag;
  request_.smtpname =
      listener_->hostname.empty() ? config_->server_name : listener_->hostname;
  if (listener_->socket) {
    request_.authenticated = true;
    request_.sockaddr = kLocalSocket;
    request_.rdns = "localhost";
  }
  if (request_.sockaddr.empty()) request_.sockaddr = kNobodysAddress;
  if (request_.rdns.empty()) request_.rdns = "<unknown>";
  if (request_.helo.empty()) {
    request_.helo = listener_->socket ? "localhost" : request_.sockaddr;
  }
  if (request_.rcpt.user.empty()) {
    status_ = absl::InvalidArgumentError("no recipient");
  } else if (request_.rcpt.domain.empty()) {
    // As the server completes it.
    request_.rcpt.domain = request_.smtpname;
  }
  if (!request_.sender.user.empty() && request_.sender.domain.empty()) {
    request_.sender.domain = request_.smtpname;
  }
}

// The first of the network if `name` is empty.
bool Explanation::ChooseListener(const std::string& name) {
  if (IsCalled(config_->socket_listener, name)) {
    listener_ = &config_->socket_listener;
    return true;
  }
  std::vector<std::string> known = {"socket"};
  for (const Listener& listener : config_->listeners) {
    if (name.empty() || IsCalled(listener, name)) {
      listener_ = &listener;
      return true;
    }
    for (std::string& one : NamesOf(listener)) {
      if (std::find(known.begin(), known.end(), one) == known.end()) {
        known.push_back(std::move(one));
      }
    }
  }
  status_ = absl::InvalidArgumentError(
      absl::StrCat("no such listener: ", VisEncode(name),
                   "; there are: ", absl::StrJoin(known, ", ")));
  return false;
}

std::string Explanation::Head() const {
  std::string client =
      request_.sockaddr == kLocalSocket
          ? "the local socket"
          : absl::StrCat(request_.sockaddr, ", name ", request_.rdns, ", helo ",
                         request_.helo);
  absl::StrAppend(&client, request_.tls ? ", with TLS" : ", without TLS");
  if (!request_.authenticated) {
    absl::StrAppend(&client, ", not authenticated");
  } else if (!request_.username.empty()) {
    absl::StrAppend(&client, ", authenticated as ", request_.username);
  } else {
    absl::StrAppend(&client, ", authenticated");
  }
  std::string text = absl::StrCat(
      "recipient  ", PathText(request_.rcpt), "\n", "sender     ",
      PathText(request_.sender), "\n", "client     ", VisEncode(client), "\n",
      "listener   ", ListenerText(*listener_), "\n");
  if (listener_->auth == Listener::Auth::kRequired && !request_.authenticated) {
    absl::StrAppend(&text, "           refuses mail without authentication\n");
  }
  if (listener_->tls == Listener::Tls::kRequired && !request_.tls) {
    absl::StrAppend(&text, "           refuses mail without TLS\n");
  }
  return text;
}

std::string Explanation::RulesOf(const ExpansionTrace::Node& node,
                                 const std::string& indent) const {
  std::string text;
  for (const RuleTrace& rule : node.rules) {
    absl::StrAppend(&text, indent, Where(rule.rule->position), ": ",
                    RuleText(*rule.rule), "\n",
                    CriteriaText(rule, absl::StrCat(indent, "  ")));
    if (!rule.Matched() || rule.rule->reject) continue;
    const Action& action = config_->actions.at(rule.rule->action);
    absl::StrAppend(&text, indent, Where(action.position), ": action \"",
                    action.name, "\" ", ActionText(action), "\n");
  }
  return text;
}

// Depth first, though it was made breadth first: so it reads as a tree.
std::string Explanation::Tree() const {
  const std::vector<ExpansionTrace::Node>& nodes = trace_.nodes();
  std::vector<std::vector<int>> children(nodes.size());
  for (size_t i = 1; i < nodes.size(); ++i) {
    children[static_cast<size_t>(nodes[i].parent)].push_back(
        static_cast<int>(i));
  }
  std::string text;
  std::vector<std::pair<int, int>> stack;  // node, depth
  if (!nodes.empty()) stack.emplace_back(0, 0);
  while (!stack.empty()) {
    const auto [at, depth] = stack.back();
    stack.pop_back();
    const ExpansionTrace::Node& node = nodes[static_cast<size_t>(at)];
    const std::string indent(static_cast<size_t>(depth) * 2, ' ');
    absl::StrAppend(&text, indent, node.title, "\n");
    const std::string inner = absl::StrCat(indent, "  ");
    for (size_t i = 0; i <= node.notes.size(); ++i) {
      if (i == node.notes_before_rules) {
        absl::StrAppend(&text, RulesOf(node, inner));
      }
      if (i < node.notes.size()) {
        absl::StrAppend(&text, inner, node.notes[i], "\n");
      }
    }
    const std::vector<int>& below = children[static_cast<size_t>(at)];
    for (auto child = below.rbegin(); child != below.rend(); ++child) {
      stack.emplace_back(*child, depth + 1);
    }
  }
  if (trace_.is_cut()) absl::StrAppend(&text, "(more than can be shown)\n");
  return text;
}

std::string Explanation::Envelopes(const ExpandAnswer& answer,
                                   const SrsRewriter* srs,
                                   absl::Time now) const {
  std::string text;
  int number = 0;
  for (const ExpandedRecipient& r : answer.recipients) {
    absl::StrAppend(
        &text, "envelope ", ++number, ": action \"", r.action, "\", ",
        r.kind == DeliveryKind::kMta ? "relayed for domain "
                                     : "delivered here to ",
        VisEncode(r.kind == DeliveryKind::kMta ? r.routing_key : r.mda_user));
    if (!r.mda_subaddress.empty()) {
      absl::StrAppend(&text, ", extension ", VisEncode(r.mda_subaddress));
    }
    if (!r.mda_exec.empty()) {
      absl::StrAppend(&text, ", by ", VisEncode(r.mda_exec));
    }
    absl::StrAppend(&text, ", dest ", PathText(r.dest), ", expires after ",
                    absl::FormatDuration(r.ttl), "\n");
    if (r.kind != DeliveryKind::kMta) continue;
    const MailAddress sender =
        RelaySender(config_->actions.at(r.action), request_.sender,
                    request_.rcpt, r.dest, {srs, now, config_->sub_addr_delim});
    if (sender == request_.sender) continue;
    absl::StrAppend(&text, "            sender becomes ", PathText(sender),
                    "\n");
  }
  return text;
}

std::string Explanation::Reply(const ExpandAnswer& answer) const {
  if (answer.refusal.empty()) {
    return "reply: 250 2.1.5 Destination address valid: Recipient ok\n";
  }
  return absl::StrCat("reply: ", VisEncode(answer.refusal), ": ",
                      PathText(request_.rcpt), "\n");
}

ExplainAnswer Explanation::Tell(const ExpandAnswer& answer,
                                const SrsRewriter* srs, absl::Time now) const {
  ExplainAnswer out;
  out.question = request_.question;
  std::string tree = Tree();
  const std::string end =
      absl::StrCat("\n", Envelopes(answer, srs, now), Reply(answer));
  out.text = absl::StrCat(Head(), "\n", tree);
  // The end is what counts most.
  static constexpr char kCut[] = "(cut)\n";
  if (out.text.size() + end.size() > kMaxExplainBytes) {
    const size_t room =
        kMaxExplainBytes - std::min(end.size() + sizeof kCut, kMaxExplainBytes);
    out.text.resize(std::min(out.text.size(), room));
    out.text.resize(out.text.rfind('\n') + 1);
    absl::StrAppend(&out.text, kCut);
  }
  absl::StrAppend(&out.text, end);
  if (out.text.size() > kMaxExplainBytes) out.text.resize(kMaxExplainBytes);
  return out;
}

}  // namespace holdfast
