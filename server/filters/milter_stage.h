// The text of a message passes a milter: the milter is told of it while it
// comes, and since changes are asked for at the end, it waits in a spool.
//
//   header (in memory, bounded) -> told field by field
//   -> body told in chunks, with CRLF, and spooled -> end of message
//   -> verdict -> header with its changes, body (the spooled one or the
//   milter's)
#ifndef HOLDFAST_SERVER_FILTERS_MILTER_STAGE_H_
#define HOLDFAST_SERVER_FILTERS_MILTER_STAGE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "protocol/milter_header.h"
#include "server/filters/filter.h"
#include "server/filters/message_spool.h"
#include "server/filters/milter_connection.h"
#include "server/filters/text_stage.h"

namespace holdfast {

// Of what a milter asks for in one message, but for the body.
inline constexpr size_t kMaxMilterChangeBytes = 1 << 20;

// Used on the loop's thread.
class MilterStage : public TextStage {
 public:
  // The session that the milter is in.
  class Owner {
   public:
    virtual ~Owner() = default;
    // Null: it has failed, or is not there.
    virtual MilterConnection* connection() = 0;
    // The milter has broken the protocol of this message: give it up.
    virtual void FailMilter(const std::string& why) = 0;
    // The text is out; what is to be said at commit.
    virtual void OnStageEnded(LinkAnswer at_commit) = 0;
    // The message is given up; or the stage is dropped, ended or not.
    virtual void OnStageOver() = 0;
    virtual void OnStageDropped() = 0;
  };
  struct Settings {
    std::string message;  // its id
    bool accept_on_failure = false;
    bool missing = false;  // the milter must not be missed, and is
    uint64_t max_message_size = 0;
    BackgroundWork* background = nullptr;
    std::string folder;  // of the spool
    // Names the filter in the log.
    std::string filter;
  };

  MilterStage(Settings settings, TextSink* sink, Owner* owner);
  ~MilterStage() override;

  void Write(absl::string_view bytes) override;
  void End() override;
  void OutputTaken(size_t bytes) override;

  // From the connection, while this is the one who talks.
  void OnAnswer(MilterAnswer answer);
  void OnChange(MilterChange change);
  void OnWritable() { Step(); }
  // The connection is gone.
  void OnFailed();
  // The owner is gone: nothing more will happen.
  void Detach() { owner_ = nullptr; }

 private:
  enum class State {
    kHeader,     // comes
    kTellField,  // next_field_
    kTellEndOfHeaders,
    kBody,
    kTellEnd,
    kVerdict,  // EndOfMessage() was said
    kStored,   // decided; waits for the spool to be written
    kEmit,
    kOver,
  };

  void Step();
  bool Advance();
  bool ReadHeader();
  bool TellField();
  bool TellBody();
  bool TellEnd();
  bool Emit();
  void TakeBody();
  // Tells the milter something, if it is there; `tell` returns whether an
  // answer is due.
  template <class Function>
  void Tell(Function tell);
  bool MayTell();
  bool SpoolFailed();
  void ReplaceBody(absl::string_view wire);
  void Conclude();
  void FailText(std::string reply);
  // What the milter still says is for nobody, and has to be read.
  void StopPausing();
  MessageSpool* body() { return new_body_ ? new_body_.get() : &spool_; }

  const Settings settings_;
  TextSink* const sink_;
  Owner* owner_;
  State state_ = State::kHeader;
  bool stepping_ = false, again_ = false;
  bool waiting_ = false;  // for the milter's answer
  bool ended_ = false;    // all text has come
  std::string input_;     // not yet taken
  MilterHeader header_;
  size_t next_field_ = 0;
  std::string first_;  // of the body, what came with the header; to be told
  std::string chunk_;  // of the body, to be told; lines end with CRLF
  MessageSpool spool_;
  // What it asks for.
  std::vector<MilterChange> changes_;
  size_t change_bytes_ = 0;
  std::unique_ptr<MessageSpool> new_body_;
  bool new_body_cr_ = false;  // a CR was left out at the end of a piece
  char new_body_last_ = '\n';
  LinkAnswer at_commit_;
  // The way out.
  bool header_out_ = false, reading_ = false, all_read_ = false;
  std::string output_;
  size_t untaken_ = 0;  // of what was given to the sink
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_FILTERS_MILTER_STAGE_H_
