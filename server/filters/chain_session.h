// One session on its way through a chain of filters.
#ifndef HOLDFAST_SERVER_FILTERS_CHAIN_SESSION_H_
#define HOLDFAST_SERVER_FILTERS_CHAIN_SESSION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/door/door.h"
#include "server/door/filter_messages.h"
#include "server/filters/chain.h"
#include "server/filters/filter.h"
#include "server/filters/text_chain.h"
#include "server/loop/event_loop.h"

namespace holdfast {

// What a client hears where a filter's own words are no reply.
inline constexpr char kNoReply[] = "421 Internal server error";
// Of a filter's reply; the rest is cut off.
inline constexpr size_t kMaxFilterReply = 1000;

// Frames of one session, in order; answers go to its door.  False: the other
// side doesn't keep to the protocol.  Used on the loop's thread only; not
// dropped inside its own calls.
class ChainSession : private TextChain::Owner {
 public:
  // `chain` and `door` outlive this.  The links hear of link-connect.
  ChainSession(EventLoop* loop, const FilterChain* chain, Door* door,
               const FilterSession& session);
  ~ChainSession() override;

  const Door* door() const { return door_; }

  bool OnReport(const FilterReport& report);
  bool OnQuestion(FilterQuestion question);
  bool OnText(const FilterText& text);
  bool OnTaken(const FilterTextTaken& taken);
  void OnDropped();
  // Its last event.
  void OnEnded(absl::Time at);
  // A filter said it unasked.
  void OnSays(FilterLink::Source source, absl::string_view text);

 private:
  void NoteFacts(const FilterReport& report);
  void NoteQuestion(const FilterQuestion& question);
  void Report(absl::Time at, FilterEvent event,
              const std::vector<std::string>& fields);
  void ReportFilter(FilterLink::Source source, std::string text);
  void Continue();
  void OnAnswer(LinkAnswer answer);
  void NoteChanges(LinkAnswer* answer);
  void Decide(FilterDecision::Verdict verdict, std::string text);
  void CheckReply();
  void TellResponse();
  void RetireStages();

  void OnChainText(absl::string_view bytes) override;
  void OnChainEnd() override;
  void OnChainFailed(std::string reply) override;
  void OnChainTaken(size_t bytes) override;

  EventLoop* loop_;
  const FilterChain* chain_;
  Door* door_;
  SessionFacts facts_;
  std::vector<std::unique_ptr<LinkSession>> links_;  // as those of chain_

  // The question that is open, and the decision that becomes of it.
  bool open_ = false;
  FilterQuestion question_;
  FilterDecision decision_;
  size_t place_ = 0;       // of the link that is asked
  bool asking_ = false;    // inside its Ask()
  bool answered_ = false;  // inside its Ask()

  // Of a message's text.
  enum class Text {
    kNone,
    kFlowing,
    kEnded,    // all of it is in
    kDropped,  // until the other side says that it has heard of it
  };
  Text text_ = Text::kNone;
  std::unique_ptr<TextChain> stages_;
  std::vector<std::unique_ptr<TextChain>> old_stages_;  // dropped at turn's end
  size_t untaken_in_ = 0, untaken_out_ = 0;  // octets without their credit
  size_t stale_out_ = 0;                     // the same, of the message before
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_FILTERS_CHAIN_SESSION_H_
