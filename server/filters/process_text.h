// The text of one message on its way through a filter process.
#ifndef HOLDFAST_SERVER_FILTERS_PROCESS_TEXT_H_
#define HOLDFAST_SERVER_FILTERS_PROCESS_TEXT_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"
#include "protocol/filter_text.h"
#include "server/door/filter_messages.h"
#include "server/filters/process_session.h"
#include "server/filters/text_stage.h"

namespace holdfast {

// A message that is given up is ended towards the process all the same, unless
// its session ends too; until the process has said its own end, what it says is
// dropped and a next message waits.
//
// Used on the loop's thread only.
class ProcessText : public TextStage {
 public:
  ProcessText(ProcessSession* session, TextSink* sink);
  ~ProcessText() override;

  void Write(absl::string_view bytes) override;
  void End() override;
  void OutputTaken(size_t bytes) override;

  // A line of the process; `end`: its last, which is no text.
  void OnProcessLine(absl::string_view line, bool end);
  // Gives on what the process said, as far as there is credit.
  void Emit();
  // Gives the process what waits, or has it wait for its turn.
  void Proceed(bool has_room);
  // Of what it said, what could not go on; the message is refused for now.
  size_t held_output() const { return output_.size() - output_at_; }
  void GiveUp();
  void OnProcessLost();
  void OnSessionGone();

 private:
  using Text = ProcessSession::Text;

  // Nobody hears of it any more.
  bool IsSilent() const;
  void WriteNow(absl::string_view bytes);
  void EndNow();
  void Fail(const char* reply);

  ProcessSession* session_;  // null: gone
  FilterProgram* program_;
  TextSink* sink_;  // null: nothing is said any more
  FilterTextEncoder encoder_;
  size_t line_counted_ = 0;  // of its held line, by HoldLine()
  bool begun_ = false;       // the process has had some of it
  std::string input_;        // that the process could not have yet
  bool input_ended_ = false;
  std::string output_;
  size_t output_at_ = 0;  // of output_ that is gone
  bool output_ended_ = false;
  size_t credit_ = kFilterWindow;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_FILTERS_PROCESS_TEXT_H_
