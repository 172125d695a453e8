#include "server/lookup/expansion_trace.h"

#include <utility>

namespace holdfast {

bool ExpansionTrace::Take(size_t lines) {
  // Once something is missing, numbers of nodes would not fit any more.
  cut_ = cut_ || lines_ + lines > kMaxLines;
  if (!cut_) lines_ += lines;
  return !cut_;
}

void ExpansionTrace::AddNode(int parent, std::string title) {
  if (!Take(1)) return;
  Node node;
  node.parent = parent;
  node.title = std::move(title);
  nodes_.push_back(std::move(node));
}

void ExpansionTrace::AddRules(int node, std::vector<RuleTrace> rules) {
  size_t lines = 0;
  for (const RuleTrace& rule : rules) lines += 1 + rule.criteria.size();
  if (static_cast<size_t>(node) >= nodes_.size() || !Take(lines)) return;
  Node& of = nodes_[static_cast<size_t>(node)];
  of.rules = std::move(rules);
  of.notes_before_rules = of.notes.size();
}

void ExpansionTrace::AddNote(int node, std::string note) {
  if (static_cast<size_t>(node) >= nodes_.size() || !Take(1)) return;
  nodes_[static_cast<size_t>(node)].notes.push_back(std::move(note));
}

}  // namespace holdfast
