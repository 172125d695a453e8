// A process's link in one session: its events, its questions, and the text of
// messages on its way through the process.
#ifndef HOLDFAST_SERVER_FILTERS_PROCESS_SESSION_H_
#define HOLDFAST_SERVER_FILTERS_PROCESS_SESSION_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "server/filters/filter.h"
#include "server/filters/filter_program.h"
#include "server/filters/process_link.h"

namespace holdfast {

class ProcessText;

// Used on the loop's thread only.
class ProcessSession : public LinkSession, private FilterProgram::Client {
 public:
  ProcessSession(const ProcessLink* link, absl::Time at,
                 const SessionFacts& facts);
  ~ProcessSession() override;

  bool Wants(FilterPhase phase) const override;
  void Ask(const FilterQuestion& question, Done done) override;
  void OnReport(absl::Time at, FilterEvent event,
                const std::vector<std::string>& fields) override;
  std::unique_ptr<TextStage> BeginText(TextSink* sink) override;

 private:
  friend class ProcessText;

  // Of the text that the process has to do with now.
  enum class Text {
    kNone,
    kFlowing,   // it has had lines, but not the last
    kEnded,     // it has had the last line, and has not said its own
    kDraining,  // the same, and nobody wants what it says
  };

  absl::Status OnResult(FilterPhase phase, FilterVerdict verdict,
                        absl::string_view text) override;
  absl::Status OnDataline(absl::string_view line) override;
  void OnSays(absl::string_view text) override;
  void OnTextRead() override;
  void OnTextRoom() override;
  size_t held_output() const override;
  void GiveTextUp() override;
  void NoteLost() override { lost_ = true; }
  void OnLost() override;

  bool AnswersForText(FilterPhase phase) const;
  LinkAnswer AnswerOfMissing(FilterPhase phase) const;
  void AwaitWhatIsLeft();
  std::string TextPrefix() const;

  const ProcessLink* link_;
  FilterProgram* program_;
  const SessionFacts& facts_;
  bool lost_ = false;
  bool reports_ = true;  // another link of the session does it
  FilterPhase asked_{};
  Done done_;  // while a question is open
  Text text_ = Text::kNone;
  // It has had text of the present transaction, and is to answer for it.
  bool given_ = false;
  ProcessText* stage_ = nullptr;  // of the present message
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_FILTERS_PROCESS_SESSION_H_
