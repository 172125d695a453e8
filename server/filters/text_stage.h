// The text of a message on its way through the filters: one stage for each
// link of a chain that changes text, one after the other.
//
// Text is stored text: lines end with LF, dots are not stuffed, cut anywhere.
// Both sides of a stage are bounded by credits: who writes has at most
// kFilterWindow (server/door/filter_messages.h) octets on their way that were
// not said to be taken.  A stage that must see the whole message first (a
// milter) keeps it somewhere else than in memory.
#ifndef HOLDFAST_SERVER_FILTERS_TEXT_STAGE_H_
#define HOLDFAST_SERVER_FILTERS_TEXT_STAGE_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace holdfast {

// Where a stage puts what it makes.  Outlives the stage.  None of these drops
// the stage before it returns.  A stage may call them at any time, inside
// Write() and End() too, but not before LinkSession::BeginText() has returned.
class TextSink {
 public:
  virtual ~TextSink() = default;
  // The next of the text that comes out.  At most kFilterWindow octets may be
  // out that OutputTaken() has not named.
  virtual void OnText(absl::string_view bytes) = 0;
  // All of it is out.  The last call.
  virtual void OnTextEnd() = 0;
  // It can't be done; `reply` ("451 ...", "421 ...") is what the client hears
  // at the end of the message.  The last call.
  virtual void OnTextFailed(std::string reply) = 0;
  // The stage has let go of so many octets of Write(): as many may follow.
  virtual void OnInputTaken(size_t bytes) = 0;
};

// One stage, for one message.  Dropping it before OnTextEnd() gives the
// message up: nothing is called after that.  Used on the loop's thread.
class TextStage {
 public:
  virtual ~TextStage() = default;
  // The next of the text that goes in; copied if it is needed longer.
  virtual void Write(absl::string_view bytes) = 0;
  // All of it is in.
  virtual void End() = 0;
  // So many octets of OnText() are gone.
  virtual void OutputTaken(size_t bytes) = 0;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_FILTERS_TEXT_STAGE_H_
