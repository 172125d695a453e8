// The end of an expansion: users, their ~/.forward, and what it or an alias
// delivers to by a command or into a file (reference part 1, sections 3.4 to
// 3.7).
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "config/delivery_way.h"
#include "config/userinfo.h"
#include "protocol/vis.h"
#include "server/lookup/expansion.h"

namespace holdfast {

std::optional<Expansion::Step> Expansion::AskForUser() {
  const std::string bare = SplitTag(nodes_[current_].text).first;
  const TableRef& userbase = action().userbase;
  if (!userbase->is_static() && !userbase->is_process()) return NeedUser{bare};
  asks_for_user_ = true;
  const auto value = answers_.Lookup(*userbase, TableService::kUserinfo, bare);
  if (answers_.missing()) return std::nullopt;
  std::optional<Userinfo> info;
  if (value.ok() && value->has_value()) info = ParseUserinfo(**value);
  if (!value.ok() || (value->has_value() && !info)) {
    Warn(absl::StrFormat("warn: table %s: %s: %s", userbase->name(),
                         VisEncode(bare),
                         value.ok() ? "not uid:gid:directory"
                                    : VisEncode(value.status().message())));
    Fail(kTemporaryFailure);
    return std::nullopt;
  }
  if (!info) {
    Note(absl::StrCat("no such user in table \"", userbase->name(), "\""));
    Fail(kInvalidRecipient);
    return std::nullopt;
  }
  Note(absl::StrCat("userbase: uid ", info->uid, ", home ",
                    VisEncode(info->home)));
  ForwardQuestion question;
  question.name = bare;
  question.has_user = true;
  question.uid = info->uid;
  question.gid = info->gid;
  question.home = info->home;
  return AskForForward(question);
}

Expansion::Step Expansion::OnUser(UserResult result) {
  std::optional<Step> step;
  switch (result) {
    case UserResult::kFound: {
      Note("a user of the system");
      ForwardQuestion question;
      question.name = SplitTag(nodes_[current_].text).first;
      step = AskForForward(question);
      break;
    }
    case UserResult::kNotFound:
      Note("no user of the system");
      Fail(kInvalidRecipient);
      break;
    case UserResult::kError:
      Note("the user database cannot be asked");
      Fail(kTemporaryFailure);
      break;
  }
  return After(std::move(step));
}

std::optional<Expansion::Step> Expansion::AskForForward(
    const ForwardQuestion& question) {
  const Node& node = nodes_[current_];
  const std::string& runs_as = action().user;
  if (node.same_user && nodes_[node.parent].forwarded) {
    Note("named in the user's own .forward");
    Deliver();
    return std::nullopt;
  }
  if (!runs_as.empty() && runs_as != question.name) {
    Note(absl::StrCat("delivered as ", VisEncode(runs_as),
                      ": .forward is not looked at"));
    Deliver();
    return std::nullopt;
  }
  return NeedForward{question};
}

Expansion::Step Expansion::OnForward(const ForwardAnswer& answer) {
  using Result = ForwardAnswer::Result;
  Node& node = nodes_[current_];
  if (!answer.error.empty()) Warn(VisEncode(answer.error));
  switch (answer.result) {
    case Result::kNone:
      if (answer.error.empty()) Note("no .forward");
      Deliver();
      break;
    case Result::kFound:
      node.forwarded = true;
      node.of_root = answer.uid == 0;
      InsertForward(answer.contents);
      break;
    case Result::kUnsafe:
      Fail(kListProblem);
      break;
    default:
      if (answer.error.empty()) {
        Warn(absl::StrCat("warn: .forward of ",
                          VisEncode(SplitTag(node.text).first),
                          ": could not be asked for"));
      }
      Fail(kListProblemNow);
      break;
  }
  return Continue();
}

void Expansion::InsertForward(const std::string& contents) {
  const auto items = ParseForward(contents);
  if (!items.ok()) {
    Warn("info: parse error in forward file");
    return Fail(kListProblemNow);
  }
  Note(absl::StrCat(".forward: ", items->size(), " items"));
  bool any = false;
  for (const ExpansionItem& item : *items) {
    if (!answer_.refusal.empty()) return;
    if (InsertItem(item)) any = true;
    if (nodes_.size() > kMaxForwardNodes) {
      Warn("info: forward file expanded too many nodes");
      return Fail(kListProblemNow);
    }
  }
  // Nothing in it that is not there already: the mail stays here.
  if (!any) Deliver();
}

void Expansion::WorkOnCommand() {
  const Node& node = nodes_[current_];
  const Node& parent = nodes_[node.parent];
  const Node& address = nodes_[node.address];
  if (action().method == ActionMethod::kForwardOnly || parent.of_root) {
    Note(parent.of_root ? "not for root" : "the action only forwards");
    return Fail(kTemporaryFailure);
  }
  ExpandedRecipient place;
  place.kind = DeliveryKind::kMda;
  place.action = address.action->name;
  place.dest = address.dest;
  place.mda_exec = node.text;
  place.mda_user = kAliasUser;
  if (parent.forwarded) {
    std::tie(place.mda_user, place.mda_subaddress) = SplitTag(parent.text);
  } else if (node.text[0] == '|') {
    Warn("info: commands executed from aliases run with _smtpd privileges");
  }
  place.routing_key = place.mda_user;
  place.ttl = Ttl(*address.action);
  place.internal = address.internal;
  AddPlace(std::move(place));
}

void Expansion::Deliver() {
  const Node& node = nodes_[current_];
  const Node& address = nodes_[node.address];
  // These have no way of their own to deliver.
  if (action().method == ActionMethod::kForwardOnly) {
    Note("the action only forwards");
    return Fail(kListProblemNow);
  }
  if (action().method == ActionMethod::kExpandOnly) {
    Note("the action only expands");
    return Fail(kListProblem);
  }
  ExpandedRecipient place;
  place.kind = DeliveryKind::kMda;
  place.action = address.action->name;
  place.dest = address.dest;
  std::tie(place.mda_user, place.mda_subaddress) = SplitTag(node.text);
  // Mail of all users to one LMTP server goes through the same sessions.
  place.routing_key = WayOf(*address.action) == DeliveryWay::kLmtp
                          ? address.action->lmtp
                          : place.mda_user;
  place.ttl = Ttl(*address.action);
  place.internal = address.internal;
  AddPlace(std::move(place));
}

}  // namespace holdfast
