// What an expansion did, for those who ask why (`smtpctl explain`).
#ifndef HOLDFAST_SERVER_LOOKUP_EXPANSION_TRACE_H_
#define HOLDFAST_SERVER_LOOKUP_EXPANSION_TRACE_H_

#include <cstddef>
#include <string>
#include <vector>

#include "config/ruleset.h"

namespace holdfast {

// Filled by Expansion, which numbers its nodes in the same way.  Bounded; what
// came too late is left out.
class ExpansionTrace {
 public:
  // Lines of people's output, about.
  static constexpr size_t kMaxLines = 5000;

  struct Node {
    int parent = -1;
    std::string title;             // "user joe"
    std::vector<RuleTrace> rules;  // of an address
    std::vector<std::string> notes;
    size_t notes_before_rules = 0;
  };

  void AddNode(int parent, std::string title);
  void AddRules(int node, std::vector<RuleTrace> rules);
  void AddNote(int node, std::string note);

  const std::vector<Node>& nodes() const { return nodes_; }
  bool is_cut() const { return cut_; }

 private:
  // False: no room for this many more.
  bool Take(size_t lines);

  std::vector<Node> nodes_;
  size_t lines_ = 0;
  bool cut_ = false;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_LOOKUP_EXPANSION_TRACE_H_
