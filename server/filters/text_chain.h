// The stages that the text of one message goes through, one after the other.
#ifndef HOLDFAST_SERVER_FILTERS_TEXT_CHAIN_H_
#define HOLDFAST_SERVER_FILTERS_TEXT_CHAIN_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/filters/filter.h"
#include "server/filters/text_stage.h"
#include "server/loop/event_loop.h"

namespace holdfast {

// Used on the loop's thread only.  Credits are given back at the end of a turn,
// in one sum for each stage, so that no stage is called inside its own calls.
class TextChain {
 public:
  // What comes out at the end, and goes back to the beginning.  None of these
  // may drop the chain before it returns.
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void OnChainText(absl::string_view bytes) = 0;
    virtual void OnChainEnd() = 0;
    // The last call; nothing of the chain is used any more.
    virtual void OnChainFailed(std::string reply) = 0;
    virtual void OnChainTaken(size_t bytes) = 0;
  };

  // Links that want no text are left out; empty() if all are.
  TextChain(EventLoop* loop, Owner* owner,
            const std::vector<std::unique_ptr<LinkSession>>& links);
  ~TextChain();

  bool empty() const { return stages_.empty(); }
  // As those of TextStage.
  void Write(absl::string_view bytes);
  void End();
  void OutputTaken(size_t bytes);

 private:
  // Between two stages, or behind the last.
  class Joint : public TextSink {
   public:
    Joint(TextChain* chain, size_t place) : chain_(chain), place_(place) {}
    void OnText(absl::string_view bytes) override;
    void OnTextEnd() override;
    void OnTextFailed(std::string reply) override;
    void OnInputTaken(size_t bytes) override;

   private:
    TextChain* chain_;
    size_t place_;
  };
  struct Stage {
    std::unique_ptr<Joint> joint;  // outlives the stage
    std::unique_ptr<TextStage> stage;
    size_t taken = 0;  // of its input, not yet told
  };

  void GiveCredits();

  EventLoop* loop_;
  Owner* owner_;
  std::vector<Stage> stages_;
  bool over_ = false;  // nothing is called any more
  bool credits_scheduled_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_FILTERS_TEXT_CHAIN_H_
