// Where mail for one recipient goes: the address, then what rules, virtual
// names, aliases and ~/.forward make of it, until only places are left
// (reference part 1, section 3).
//
// A machine without clock, files or doors.  It runs until it has the answer or
// needs something it must wait for; who drives it gives that, and it goes on:
//
//   Expansion::Step step = expansion.Run();
//   NeedUser -> OnUser(...), NeedFile -> OnFile(...), NeedForward ->
//   OnForward(...), NeedTable -> OnTable(...), NeedTurn -> Run() again in a
//   later turn, ExpandAnswer -> done.
#ifndef HOLDFAST_SERVER_LOOKUP_EXPANSION_H_
#define HOLDFAST_SERVER_LOOKUP_EXPANSION_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "config/config.h"
#include "config/expansion_items.h"
#include "config/table_answers.h"
#include "protocol/srs.h"
#include "server/door/lookup_messages.h"
#include "server/door/receive_messages.h"
#include "server/lookup/expansion_trace.h"

namespace holdfast {

// A node this deep fails the recipient; the address itself is 0.
inline constexpr int kMaxExpansionDepth = 10;
// Nodes of one recipient; more fail it for now.  The reference has no limit
// here, but an address can be produced again below each that produces it; and
// the answer must fit into a frame.
inline constexpr size_t kMaxExpansionNodes = 10000;
// With a ~/.forward among them, as in the reference.
inline constexpr size_t kMaxForwardNodes = 100;
// Nodes worked on before others get a turn of the loop.
inline constexpr int kNodesPerTurn = 200;
// Who runs the commands, and writes the files, that aliases name.
inline constexpr char kAliasUser[] = "_smtpd";

// What the expansion does not find in the question.
struct ExpansionContext {
  absl::Time now = absl::UnixEpoch();
  const SrsRewriter* srs = nullptr;  // null: there is no key
  ExpansionTrace* trace = nullptr;   // null: nobody asks why
};

class Expansion {
 public:
  enum class UserResult : uint8_t { kFound, kNotFound, kError };

  // Ask the system for a user of this name.
  struct NeedUser {
    std::string name;
  };
  // Read this file, which an alias includes.
  struct NeedFile {
    std::string path;
  };
  // Ask for this user's ~/.forward; `question` is to be filled in.
  struct NeedForward {
    ForwardQuestion question;
  };
  // Ask the program of this table.
  struct NeedTable {
    TableQuery query;
  };
  struct NeedTurn {};
  using Step = std::variant<NeedUser, NeedFile, NeedForward, NeedTable,
                            NeedTurn, ExpandAnswer>;

  // What `context` points to outlives this object.
  Expansion(std::shared_ptr<const Config> config, ExpandRequest request,
            ExpansionContext context);

  Step Run();
  Step OnUser(UserResult result);
  // A file that cannot be read contributes nothing; kResourceExhausted (too
  // large, too many at once) fails the recipient for now.
  Step OnFile(const absl::StatusOr<std::string>& contents);
  Step OnForward(const ForwardAnswer& answer);
  Step OnTable(TableResult result);

  // What the log should say, in order, with "warn: " or "info: "; taken once.
  std::vector<std::string> TakeWarnings();

 private:
  enum class Kind : uint8_t { kAddress, kUser, kCommand, kError };
  struct Node {
    Kind kind = Kind::kAddress;
    int parent = -1;
    int depth = 0;
    int address = 0;         // nearest address node: itself or an ancestor
    MailAddress dest;        // kAddress
    bool internal = false;   // kAddress: "from" is local
    std::string text;        // kUser: lower case, perhaps with a tag; else
                             // "|command", "/file", "550 error"
    bool same_user = false;  // kUser: repeats its parent
    bool forwarded = false;  // kUser: its ~/.forward was read
    bool of_root = false;    // kUser: and was root's
    const Action* action = nullptr;  // kAddress: once a rule has decided
  };
  // What makes two nodes one: kind, same_user, text, nearest address above.
  using Identity = std::tuple<Kind, bool, std::string, int>;

  Step Continue();
  // What becomes of node `current_` after it was worked on.
  Step After(std::optional<Step> step);
  // Each has worked on node `current_`, or says what it waits for; only what
  // was asked for may be given.  When answers_ misses one, the work has had no
  // effect but in Node::action, and is done again.
  std::optional<Step> WorkOn(Kind kind);
  std::optional<Step> WorkOnAddress();
  std::optional<Step> WorkOnUser();
  std::optional<Step> AskForUser();
  std::optional<Step> AskForForward(const ForwardQuestion& question);
  std::optional<Step> InsertItems();
  void WorkOnCommand();
  void WorkOnError();
  void TakeBackSrs();
  // Null: the recipient has failed, or an answer is missing.
  const Rule* FindRule();

  // Looks up one key after the other; the items of the first that is there.
  // False: an error, the recipient has failed; or an answer is missing.
  bool FindItems(const TableRef& table, const char* use,
                 const std::vector<std::string>& keys, bool* found);
  void InsertForward(const std::string& contents);
  // False: it was there already.
  bool InsertItem(const ExpansionItem& item);
  bool InsertNode(Node node, const std::string& text);
  // The user of the present node is one place.
  void Deliver();
  void DeliverRelay();
  void AddPlace(ExpandedRecipient place);
  void Fail(std::string refusal);
  void Warn(std::string line);
  void Note(std::string text);
  Step Finish();

  const Action& action() const {
    return *nodes_[nodes_[current_].address].action;
  }
  absl::Duration Ttl(const Action& action) const;
  // Splits "user+tag"; without a delimiter all is user.
  std::pair<std::string, std::string> SplitTag(const std::string& user) const;

  std::shared_ptr<const Config> config_;
  ExpandRequest request_;
  ExpansionContext context_;
  ExpandAnswer answer_;
  std::vector<std::string> warnings_;

  std::deque<Node> nodes_;  // worked on in this order
  std::set<Identity> known_;
  size_t next_ = 0;   // first node not yet begun
  int current_ = -1;  // node at work

  // Of current_: what programs have said, whether it is being worked on again,
  // and has come as far as asking for its user.
  TableAnswers answers_;
  bool again_ = false;
  bool asks_for_user_ = false;

  std::deque<ExpansionItem> items_;  // of current_, not yet inserted
  int inserted_ = 0;                 // of current_, duplicates included
};

// Replies without the address, which the asker adds (reference part 1, section
// 4.6).
inline constexpr char kInvalidRecipient[] = "550 Invalid recipient";
inline constexpr char kTemporaryFailure[] = "451 Temporary failure";
inline constexpr char kListProblem[] =
    "524 5.2.4 Mailing list expansion problem";
inline constexpr char kListProblemNow[] =
    "424 4.2.4 Mailing list expansion problem";

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_LOOKUP_EXPANSION_H_
