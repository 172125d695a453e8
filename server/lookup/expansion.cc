#include "server/lookup/expansion.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "config/ruleset.h"
#include "protocol/vis.h"

namespace holdfast {
namespace {

MailSubject SubjectOf(const ExpandRequest& request) {
  MailSubject subject;
  subject.tag = request.tag;
  subject.sockaddr = request.sockaddr;
  subject.rdns = request.rdns;
  subject.helo = request.helo;
  subject.authenticated = request.authenticated;
  subject.username = request.username;
  subject.tls = request.tls;
  subject.sender = request.sender;
  return subject;
}

// Keys of a virtual lookup, in order (reference part 1, section 3.3).
std::vector<std::string> VirtualKeys(const std::string& user,
                                     const std::string& bare,
                                     const std::string& tag,
                                     const std::string& domain) {
  std::vector<std::string> keys;
  const bool tagged = !tag.empty();
  if (tagged) keys.push_back(absl::StrCat(user, "@", domain));
  keys.push_back(absl::StrCat(bare, "@", domain));
  if (tagged) keys.push_back(user);
  keys.push_back(bare);
  return keys;
}

}  // namespace

Expansion::Expansion(std::shared_ptr<const Config> config,
                     ExpandRequest request, ExpansionContext context)
    : config_(std::move(config)),
      request_(std::move(request)),
      context_(context) {
  answer_.question = request_.question;
  Node root;
  root.dest = request_.rcpt;
  if (context_.trace != nullptr) {
    context_.trace->AddNode(
        -1, absl::StrCat("address ", VisEncode(root.dest.ToString())));
  }
  nodes_.push_back(std::move(root));
}

std::vector<std::string> Expansion::TakeWarnings() {
  return std::exchange(warnings_, {});
}

absl::Duration Expansion::Ttl(const Action& action) const {
  return action.ttl.value_or(config_->queue_ttl);
}

std::pair<std::string, std::string> Expansion::SplitTag(
    const std::string& user) const {
  const size_t at = user.find(config_->sub_addr_delim);
  if (at == std::string::npos) return {user, ""};
  return {user.substr(0, at), user.substr(at + 1)};
}

void Expansion::Note(std::string text) {
  if (context_.trace != nullptr) {
    context_.trace->AddNote(current_, std::move(text));
  }
}

void Expansion::Warn(std::string line) {
  Note(line);
  warnings_.push_back(std::move(line));
}

void Expansion::Fail(std::string refusal) {
  if (!answer_.refusal.empty()) return;
  Note(absl::StrCat("refused: ", VisEncode(refusal)));
  answer_.refusal = std::move(refusal);
}

Expansion::Step Expansion::Finish() {
  if (answer_.refusal.empty() && answer_.recipients.empty()) {
    Fail(kListProblem);
  }
  // One node that fails fails them all.
  if (!answer_.refusal.empty()) answer_.recipients.clear();
  return std::move(answer_);
}

Expansion::Step Expansion::Run() { return Continue(); }

Expansion::Step Expansion::Continue() {
  for (int worked = 0; worked < kNodesPerTurn; ++worked) {
    if (!answer_.refusal.empty() || next_ == nodes_.size()) return Finish();
    current_ = static_cast<int>(next_++);
    answers_.Clear();
    again_ = false;
    asks_for_user_ = false;
    const Node& node = nodes_[current_];
    if (node.depth >= kMaxExpansionDepth) {
      Note("too deep");
      Fail(kListProblem);
      continue;
    }
    std::optional<Step> step = WorkOn(node.kind);
    if (answers_.missing()) return NeedTable{*answers_.missing()};
    if (step) return *std::move(step);
  }
  return NeedTurn{};
}

Expansion::Step Expansion::After(std::optional<Step> step) {
  if (answers_.missing()) return NeedTable{*answers_.missing()};
  return step ? *std::move(step) : Continue();
}

Expansion::Step Expansion::OnTable(TableResult result) {
  answers_.Give(std::move(result));
  again_ = true;
  return After(asks_for_user_ ? AskForUser() : WorkOn(nodes_[current_].kind));
}

std::optional<Expansion::Step> Expansion::WorkOn(Kind kind) {
  switch (kind) {
    case Kind::kAddress:
      return WorkOnAddress();
    case Kind::kUser:
      return WorkOnUser();
    case Kind::kCommand:
      WorkOnCommand();
      break;
    case Kind::kError:
      WorkOnError();
      break;
  }
  return std::nullopt;
}

// A report that comes back to a sender whom we rewrote.
void Expansion::TakeBackSrs() {
  Node& node = nodes_[current_];
  if (context_.srs == nullptr || !request_.sender.IsNull() ||
      !LooksRewritten(node.dest.user)) {
    return;
  }
  std::optional<MailAddress> sender =
      context_.srs->Decode(node.dest, context_.now);
  if (!sender) {
    return Warn(absl::StrCat("info: SRS failed to decode: ",
                             VisEncode(node.dest.ToString())));
  }
  node.dest = *std::move(sender);
  node.internal = true;
  Note(absl::StrCat("SRS: was ", VisEncode(node.dest.ToString())));
}

const Rule* Expansion::FindRule() {
  const Node& node = nodes_[current_];
  MailSubject subject = SubjectOf(request_);
  subject.dest = node.dest;
  subject.internal = node.internal;
  subject.sub_addr_delim = config_->sub_addr_delim;
  std::vector<RuleTrace> trace;
  const absl::StatusOr<const Rule*> rule =
      FirstMatch(*config_, subject,
                 context_.trace == nullptr ? nullptr : &trace, &answers_);
  if (answers_.missing()) return nullptr;
  if (context_.trace != nullptr) {
    context_.trace->AddRules(current_, std::move(trace));
  }
  if (!rule.ok()) {
    Warn(absl::StrCat("warn: ", VisEncode(rule.status().message())));
    Fail(kTemporaryFailure);
    return nullptr;
  }
  if (*rule == nullptr || (*rule)->reject) {
    if (*rule == nullptr) Note("no rule matches");
    Fail(kInvalidRecipient);
    return nullptr;
  }
  return *rule;
}

std::optional<Expansion::Step> Expansion::WorkOnAddress() {
  if (!again_) TakeBackSrs();
  Node& node = nodes_[current_];
  if (node.action == nullptr) {
    const Rule* rule = FindRule();
    if (rule == nullptr) return std::nullopt;
    node.action = &config_->actions.at(rule->action);
  }
  if (!node.action->IsLocal()) {
    DeliverRelay();
    return std::nullopt;
  }
  // No name that is looked up here, or given to a command, needs quotes.
  if (absl::StartsWith(node.dest.user, "\"")) {
    Note("quoted names are for other hosts");
    Fail(kInvalidRecipient);
    return std::nullopt;
  }
  const std::string user = absl::AsciiStrToLower(node.dest.user);
  if (node.action->virtual_ == nullptr) {
    Node child;
    child.kind = Kind::kUser;
    child.text = user;
    InsertNode(std::move(child), user);
    return std::nullopt;
  }
  const std::string domain = absl::AsciiStrToLower(node.dest.domain);
  const auto [bare, tag] = SplitTag(user);
  std::vector<std::string> keys = VirtualKeys(user, bare, tag, domain);
  keys.push_back(absl::StrCat("@", domain));
  keys.push_back("@");
  bool found = false;
  if (!FindItems(node.action->virtual_, "virtual", keys, &found)) {
    return std::nullopt;
  }
  if (!found) {
    Fail(kListProblem);
    return std::nullopt;
  }
  return InsertItems();
}

std::optional<Expansion::Step> Expansion::WorkOnUser() {
  const Node& node = nodes_[current_];
  if (node.same_user) return AskForUser();
  const Action& action = this->action();
  const auto [bare, tag] = SplitTag(node.text);
  std::vector<std::string> keys;
  TableRef table = action.alias;
  const char* use = "alias";
  if (action.virtual_ != nullptr) {
    table = action.virtual_;
    use = "virtual";
    keys = VirtualKeys(node.text, bare, tag, "");
  } else {
    if (!tag.empty()) keys.push_back(node.text);
    keys.push_back(bare);
  }
  bool found = false;
  if (table != nullptr && !FindItems(table, use, keys, &found)) {
    return std::nullopt;
  }
  return found ? InsertItems() : AskForUser();
}

bool Expansion::FindItems(const TableRef& table, const char* use,
                          const std::vector<std::string>& keys, bool* found) {
  items_.clear();
  inserted_ = 0;
  std::vector<std::string> notes;
  const auto tell = [&] {
    for (std::string& note : notes) Note(std::move(note));
  };
  for (const std::string& key : keys) {
    const absl::StatusOr<std::optional<std::string>> value =
        answers_.Lookup(*table, TableService::kAlias, key);
    if (answers_.missing()) return false;
    if (value.ok() && !value->has_value()) {
      notes.push_back(absl::StrCat(use, " ", VisEncode(key),
                                   ": not in table \"", table->name(), "\""));
      continue;
    }
    tell();
    absl::Status status = value.status();
    if (status.ok()) {
      Note(absl::StrCat(use, " ", VisEncode(key), ": ", VisEncode(**value)));
      absl::StatusOr<std::vector<ExpansionItem>> items =
          ParseExpansionItems(**value);
      if (items.ok()) {
        items_.assign(items->begin(), items->end());
        *found = true;
        return true;
      }
      status = items.status();
    }
    Warn(absl::StrFormat("warn: table %s: %s: %s", table->name(),
                         VisEncode(key), VisEncode(status.message())));
    Fail(kListProblemNow);
    return false;
  }
  tell();
  return true;
}

// Stops at each file that is to be included.
std::optional<Expansion::Step> Expansion::InsertItems() {
  while (!items_.empty() && answer_.refusal.empty()) {
    const ExpansionItem item = std::move(items_.front());
    items_.pop_front();
    if (item.kind == ExpansionItem::Kind::kInclude) {
      return NeedFile{item.text};
    }
    InsertItem(item);
  }
  // An alias that names nobody (a file it includes is gone) is none.
  if (inserted_ == 0 && answer_.refusal.empty() &&
      nodes_[current_].kind == Kind::kUser) {
    return AskForUser();
  }
  return std::nullopt;
}

Expansion::Step Expansion::OnFile(const absl::StatusOr<std::string>& contents) {
  if (!contents.ok()) {
    Warn(std::string(contents.status().message()));
    if (absl::IsResourceExhausted(contents.status())) Fail(kListProblemNow);
  } else {
    // A line that is no list of items is a comment.
    std::deque<ExpansionItem> included;
    for (const absl::string_view line : absl::StrSplit(*contents, '\n')) {
      const auto items = ParseExpansionItems(line);
      if (!items.ok()) continue;
      for (const ExpansionItem& item : *items) {
        if (item.kind != ExpansionItem::Kind::kInclude) {
          included.push_back(item);
        }
      }
    }
    Note(absl::StrCat("included file: ", included.size(), " items"));
    included.insert(included.end(), items_.begin(), items_.end());
    items_ = std::move(included);
  }
  return After(InsertItems());
}

bool Expansion::InsertItem(const ExpansionItem& item) {
  ++inserted_;
  Node node;
  const Node& parent = nodes_[current_];
  switch (item.kind) {
    case ExpansionItem::Kind::kError:
      node.kind = Kind::kError;
      node.text = item.text;
      break;
    case ExpansionItem::Kind::kPipe:
    case ExpansionItem::Kind::kFile:
      node.kind = Kind::kCommand;
      node.text = item.text;
      break;
    case ExpansionItem::Kind::kAddress:
      node.dest = SplitAddress(item.text);
      node.internal = true;
      break;
    default:
      node.kind = Kind::kUser;
      node.text = absl::AsciiStrToLower(item.text);
      // Whoever forwards has left the tag behind.
      node.same_user =
          parent.kind == Kind::kUser &&
          node.text ==
              (parent.forwarded ? SplitTag(parent.text).first : parent.text);
      break;
  }
  return InsertNode(std::move(node), item.text);
}

bool Expansion::InsertNode(Node node, const std::string& text) {
  static constexpr const char* kWords[] = {"address", "user", "deliver to",
                                           "error"};
  const Node& parent = nodes_[current_];
  const bool is_address = node.kind == Kind::kAddress;
  const std::string title =
      absl::StrCat(kWords[static_cast<int>(node.kind)], " ",
                   VisEncode(is_address ? text : node.text));
  if (!known_
           .emplace(node.kind, node.same_user, is_address ? text : node.text,
                    parent.address)
           .second) {
    Note(absl::StrCat(title, ": is there already"));
    return false;
  }
  if (nodes_.size() >= kMaxExpansionNodes) {
    Warn(absl::StrFormat(
        "warn: <%s>: expands to more than %d addresses and users",
        VisEncode(request_.rcpt.ToString()), kMaxExpansionNodes));
    Fail(kListProblemNow);
    return false;
  }
  node.parent = current_;
  node.depth = parent.depth + 1;
  node.address = is_address ? static_cast<int>(nodes_.size()) : parent.address;
  if (context_.trace != nullptr) context_.trace->AddNode(current_, title);
  nodes_.push_back(std::move(node));
  return true;
}

void Expansion::WorkOnError() {
  // What a forward-only action answers must come from elsewhere.
  Fail(action().method == ActionMethod::kForwardOnly ? kTemporaryFailure
                                                     : nodes_[current_].text);
}

void Expansion::DeliverRelay() {
  const Node& node = nodes_[current_];
  ExpandedRecipient place;
  place.kind = DeliveryKind::kMta;
  place.action = node.action->name;
  place.dest = node.dest;
  place.routing_key = absl::AsciiStrToLower(node.dest.domain);
  place.ttl = Ttl(*node.action);
  place.internal = node.internal;
  AddPlace(std::move(place));
}

void Expansion::AddPlace(ExpandedRecipient place) {
  Note(absl::StrCat("envelope ", answer_.recipients.size() + 1));
  answer_.recipients.push_back(std::move(place));
}

}  // namespace holdfast
