// What all envelopes that match a filter have in common.
#include <algorithm>
#include <initializer_list>
#include <iterator>
#include <utility>

#include "protocol/envelope_filter_node.h"
#include "protocol/mail_address.h"

namespace holdfast {
namespace {

using F = EnvelopeField;
using Op = FilterOperator;

template <class T>
std::optional<std::vector<T>> Sorted(std::vector<T> list) {
  std::sort(list.begin(), list.end());
  list.erase(std::unique(list.begin(), list.end()), list.end());
  return list;
}

template <class T>
void Intersect(std::optional<std::vector<T>>* a,
               const std::optional<std::vector<T>>& b) {
  if (!b) return;
  if (!*a) {
    *a = b;
    return;
  }
  std::vector<T> both;
  std::set_intersection((*a)->begin(), (*a)->end(), b->begin(), b->end(),
                        std::back_inserter(both));
  *a = std::move(both);
}

template <class T>
void Unite(std::optional<std::vector<T>>* a,
           const std::optional<std::vector<T>>& b) {
  if (!*a || !b) {
    a->reset();
    return;
  }
  std::vector<T> all;
  std::set_union((*a)->begin(), (*a)->end(), b->begin(), b->end(),
                 std::back_inserter(all));
  *a = std::move(all);
}

void AndAlso(FilterHints* a, const FilterHints& b) {
  Intersect(&a->ids, b.ids);
  Intersect(&a->messages, b.messages);
  Intersect(&a->domains, b.domains);
  Intersect(&a->destinations, b.destinations);
  if (b.due_until && (!a->due_until || *b.due_until < *a->due_until))
    a->due_until = b.due_until;
  a->held = a->held || b.held;
}

void OrElse(FilterHints* a, const FilterHints& b) {
  Unite(&a->ids, b.ids);
  Unite(&a->messages, b.messages);
  Unite(&a->domains, b.domains);
  Unite(&a->destinations, b.destinations);
  if (!a->due_until || !b.due_until)
    a->due_until.reset();
  else
    a->due_until = std::max(*a->due_until, *b.due_until);
  a->held = a->held && b.held;
}

// Undoes the turn that makes ids sort as signed numbers.
uint64_t Unturned(int64_t number) {
  return static_cast<uint64_t>(number) ^ (uint64_t{1} << 63);
}

std::vector<std::string> Texts(const FilterNode& node) {
  std::vector<std::string> texts;
  for (const FilterValue& value : node.values) texts.push_back(value.text);
  return texts;
}

bool AllOf(const FilterNode& node,
           std::initializer_list<absl::string_view> words) {
  return std::all_of(
      node.values.begin(), node.values.end(), [&](const FilterValue& v) {
        return std::find(words.begin(), words.end(), v.text) != words.end();
      });
}

FilterHints HintsOfEqual(const FilterNode& node) {
  FilterHints hints;
  if (node.field == F::kId) {
    std::vector<EnvelopeId> ids;
    for (const FilterValue& v : node.values)
      ids.push_back(EnvelopeId{Unturned(v.number)});
    hints.ids = Sorted(std::move(ids));
  } else if (node.field == F::kMessage) {
    std::vector<MessageId> messages;
    for (const FilterValue& v : node.values)
      messages.push_back(MessageId{static_cast<uint32_t>(Unturned(v.number))});
    hints.messages = Sorted(std::move(messages));
  } else if (node.field == F::kDomain) {
    hints.domains = Sorted(Texts(node));
  } else if (node.field == F::kRecipient) {
    std::vector<std::string> domains;
    for (const FilterValue& v : node.values)
      domains.push_back(SplitAddress(v.text).domain);
    hints.domains = Sorted(std::move(domains));
  } else if (node.field == F::kDestination) {
    hints.destinations = Sorted(Texts(node));
  } else if (node.field == F::kState) {
    hints.held = AllOf(node, {StateWord(EnvelopeState::kHeld),
                              StateWord(EnvelopeState::kSuspended)});
  } else if (node.field == F::kFlag) {
    hints.held = AllOf(node, {"hold", "suspend", "move"});
  }
  return hints;
}

FilterHints HintsOfCompare(const FilterNode& node, absl::Time now) {
  FilterHints hints;
  if (node.op == Op::kEqual) hints = HintsOfEqual(node);
  const bool up_to = node.op == Op::kEqual || node.op == Op::kLess ||
                     node.op == Op::kLessEqual;
  if (node.field == F::kDue && up_to) {
    int64_t most = node.values[0].number;
    for (const FilterValue& v : node.values) most = std::max(most, v.number);
    // Whole seconds, rounded down.
    hints.due_until = now + absl::Seconds(most) + absl::Seconds(1);
  }
  return hints;
}

}  // namespace

FilterHints HintsOf(const FilterNode& node, absl::Time now) {
  if (node.kind == FilterNode::Kind::kNot) return {};
  if (node.kind == FilterNode::Kind::kCompare) return HintsOfCompare(node, now);
  FilterHints hints = HintsOf(*node.children[0], now);
  for (size_t i = 1; i < node.children.size(); ++i) {
    const FilterHints next = HintsOf(*node.children[i], now);
    if (node.kind == FilterNode::Kind::kAnd)
      AndAlso(&hints, next);
    else
      OrElse(&hints, next);
  }
  return hints;
}

}  // namespace holdfast
