#include "server/lookup/expansion.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "config/ruleset.h"
#include "config/userinfo.h"
#include "protocol/vis.h"

namespace holdfast {
namespace {

// Replies (reference part 1, section 4.6); the asker adds the address.
constexpr char kInvalidRecipient[] = "550 Invalid recipient";
constexpr char kTemporaryFailure[] = "451 Temporary failure";
constexpr char kListProblem[] = "524 5.2.4 Mailing list expansion problem";
constexpr char kListProblemNow[] = "424 4.2.4 Mailing list expansion problem";

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
                     ExpandRequest request)
    : config_(std::move(config)), request_(std::move(request)) {
  answer_.question = request_.question;
  Node root;
  root.dest = request_.rcpt;
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

void Expansion::Fail(std::string refusal) {
  if (answer_.refusal.empty()) answer_.refusal = std::move(refusal);
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
    const Node& node = nodes_[current_];
    if (node.depth >= kMaxExpansionDepth) {
      Fail(kListProblem);
      continue;
    }
    std::optional<Step> step =
        node.kind == Kind::kAddress ? WorkOnAddress() : WorkOnUser();
    if (step) return *std::move(step);
  }
  return NeedTurn{};
}

std::optional<Expansion::Step> Expansion::WorkOnAddress() {
  Node& node = nodes_[current_];
  MailSubject subject = SubjectOf(request_);
  subject.dest = node.dest;
  subject.internal = node.parent >= 0;
  subject.sub_addr_delim = config_->sub_addr_delim;
  const absl::StatusOr<const Rule*> rule = FirstMatch(*config_, subject);
  if (!rule.ok()) {
    warnings_.push_back(
        absl::StrCat("warn: ", VisEncode(rule.status().message())));
    Fail(kTemporaryFailure);
    return std::nullopt;
  }
  if (*rule == nullptr || (*rule)->reject) {
    Fail(kInvalidRecipient);
    return std::nullopt;
  }
  node.action = &config_->actions.at((*rule)->action);
  if (!node.action->IsLocal()) {
    DeliverRelay();
    return std::nullopt;
  }
  const std::string user = absl::AsciiStrToLower(node.dest.user);
  if (node.action->virtual_ == nullptr) {
    Node child;
    child.kind = Kind::kUser;
    child.user = user;
    InsertNode(std::move(child), user);
    return std::nullopt;
  }
  const std::string domain = absl::AsciiStrToLower(node.dest.domain);
  const auto [bare, tag] = SplitTag(user);
  std::vector<std::string> keys = VirtualKeys(user, bare, tag, domain);
  keys.push_back(absl::StrCat("@", domain));
  keys.push_back("@");
  bool found = false;
  if (!FindItems(node.action->virtual_, keys, &found)) return std::nullopt;
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
  const auto [bare, tag] = SplitTag(node.user);
  std::vector<std::string> keys;
  TableRef table = action.alias;
  if (action.virtual_ != nullptr) {
    table = action.virtual_;
    keys = VirtualKeys(node.user, bare, tag, "");
  } else {
    if (!tag.empty()) keys.push_back(node.user);
    keys.push_back(bare);
  }
  bool found = false;
  if (table != nullptr && !FindItems(table, keys, &found)) return std::nullopt;
  return found ? InsertItems() : AskForUser();
}

bool Expansion::FindItems(const TableRef& table,
                          const std::vector<std::string>& keys, bool* found) {
  items_.clear();
  inserted_ = 0;
  for (const std::string& key : keys) {
    const absl::StatusOr<std::optional<std::string>> value =
        table->Lookup(TableService::kAlias, key);
    if (value.ok() && !value->has_value()) continue;
    absl::Status status = value.status();
    if (status.ok()) {
      absl::StatusOr<std::vector<ExpansionItem>> items =
          ParseExpansionItems(**value);
      if (items.ok()) {
        items_.assign(items->begin(), items->end());
        *found = true;
        return true;
      }
      status = items.status();
    }
    warnings_.push_back(absl::StrFormat("warn: table %s: %s: %s", table->name(),
                                        VisEncode(key),
                                        VisEncode(status.message())));
    Fail(kListProblemNow);
    return false;
  }
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
    warnings_.push_back(std::string(contents.status().message()));
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
    included.insert(included.end(), items_.begin(), items_.end());
    items_ = std::move(included);
  }
  std::optional<Step> step = InsertItems();
  return step ? *std::move(step) : Continue();
}

void Expansion::InsertItem(const ExpansionItem& item) {
  ++inserted_;
  Node node;
  switch (item.kind) {
    case ExpansionItem::Kind::kError:
      return Fail(item.text);
    case ExpansionItem::Kind::kPipe:
    case ExpansionItem::Kind::kFile:
      return RefuseDelivery(item);
    case ExpansionItem::Kind::kAddress:
      node.kind = Kind::kAddress;
      node.dest = SplitAddress(item.text);
      break;
    default:
      node.kind = Kind::kUser;
      node.user = absl::AsciiStrToLower(item.text);
      node.same_user = nodes_[current_].kind == Kind::kUser &&
                       nodes_[current_].user == node.user;
      break;
  }
  InsertNode(std::move(node), item.text);
}

void Expansion::InsertNode(Node node, const std::string& text) {
  const Node& parent = nodes_[current_];
  const bool is_address = node.kind == Kind::kAddress;
  if (!known_
           .emplace(node.kind, node.same_user, is_address ? text : node.user,
                    parent.address)
           .second) {
    return;
  }
  if (nodes_.size() >= kMaxExpansionNodes) {
    warnings_.push_back(absl::StrFormat(
        "warn: <%s>: expands to more than %d addresses and users",
        VisEncode(request_.rcpt.ToString()), kMaxExpansionNodes));
    return Fail(kListProblemNow);
  }
  node.parent = current_;
  node.depth = parent.depth + 1;
  node.address = is_address ? static_cast<int>(nodes_.size()) : parent.address;
  nodes_.push_back(std::move(node));
}

void Expansion::RefuseDelivery(const ExpansionItem& item) {
  const Node& node = nodes_[current_];
  const std::string name =
      node.kind == Kind::kUser ? node.user : node.dest.ToString();
  warnings_.push_back(absl::StrFormat(
      "warn: alias \"%s\" of action \"%s\": delivery to \"%s\" does not work "
      "in this version yet",
      VisEncode(name), VisEncode(action().name), VisEncode(item.text)));
  Fail(kListProblemNow);
}

std::optional<Expansion::Step> Expansion::AskForUser() {
  const std::string bare = SplitTag(nodes_[current_].user).first;
  const TableRef& userbase = action().userbase;
  if (!userbase->is_static()) {
    return NeedUser{bare};
  }
  const auto value = userbase->Lookup(TableService::kUserinfo, bare);
  if (!value.ok() || (value->has_value() && !ParseUserinfo(**value))) {
    warnings_.push_back(absl::StrFormat(
        "warn: table %s: %s: %s", userbase->name(), VisEncode(bare),
        value.ok() ? "not uid:gid:directory"
                   : VisEncode(value.status().message())));
    Fail(kTemporaryFailure);
  } else if (!value->has_value()) {
    Fail(kInvalidRecipient);
  } else {
    Deliver();
  }
  return std::nullopt;
}

Expansion::Step Expansion::OnUser(UserResult result) {
  switch (result) {
    case UserResult::kFound:
      Deliver();
      break;
    case UserResult::kNotFound:
      Fail(kInvalidRecipient);
      break;
    case UserResult::kError:
      Fail(kTemporaryFailure);
      break;
  }
  return Continue();
}

void Expansion::Deliver() {
  const Node& node = nodes_[current_];
  const Node& address = nodes_[node.address];
  ExpandedRecipient recipient;
  recipient.kind = DeliveryKind::kMda;
  recipient.action = address.action->name;
  recipient.dest = address.dest;
  std::tie(recipient.mda_user, recipient.mda_subaddress) = SplitTag(node.user);
  recipient.routing_key = recipient.mda_user;
  recipient.ttl = Ttl(*address.action);
  recipient.internal = address.parent >= 0;
  answer_.recipients.push_back(std::move(recipient));
}

void Expansion::DeliverRelay() {
  const Node& node = nodes_[current_];
  ExpandedRecipient recipient;
  recipient.kind = DeliveryKind::kMta;
  recipient.action = node.action->name;
  recipient.dest = node.dest;
  recipient.routing_key = absl::AsciiStrToLower(node.dest.domain);
  recipient.ttl = Ttl(*node.action);
  recipient.internal = node.parent >= 0;
  answer_.recipients.push_back(std::move(recipient));
}

}  // namespace holdfast
