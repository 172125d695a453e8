// A milter in one SMTP session.
#ifndef HOLDFAST_SERVER_FILTERS_MILTER_LINK_SESSION_H_
#define HOLDFAST_SERVER_FILTERS_MILTER_LINK_SESSION_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "config/config.h"
#include "server/filters/filter.h"
#include "server/filters/milter_connection.h"
#include "server/filters/milter_filter.h"
#include "server/filters/milter_stage.h"

namespace holdfast {

// The phases that milters are asked in.
inline constexpr uint32_t kMilterPhases =
    MaskOf(FilterPhase::kConnect) | MaskOf(FilterPhase::kHelo) |
    MaskOf(FilterPhase::kEhlo) | MaskOf(FilterPhase::kMailFrom) |
    MaskOf(FilterPhase::kRcptTo) | MaskOf(FilterPhase::kData) |
    MaskOf(FilterPhase::kDataLine) | MaskOf(FilterPhase::kCommit);

// Used on the loop's thread.  Connects when it is first asked something.
class MilterLinkSession : public LinkSession,
                          public MilterConnection::Owner,
                          public MilterStage::Owner {
 public:
  // All of them outlive it.
  MilterLinkSession(const Filter& filter, const MilterServices& services,
                    const SessionFacts& facts);
  ~MilterLinkSession() override;

  bool Wants(FilterPhase phase) const override;
  void Ask(const FilterQuestion& question, Done done) override;
  void OnReport(absl::Time at, FilterEvent event,
                const std::vector<std::string>& fields) override;
  std::unique_ptr<TextStage> BeginText(TextSink* sink) override;

 private:
  // One thing that the milter is told; returns whether an answer is due.
  struct Step {
    FilterPhase phase;
    absl::AnyInvocable<bool(MilterSession&)> tell;
  };

  // MilterConnection::Owner
  void OnMilterReady() override { Go(); }
  void OnMilterAnswer(MilterAnswer answer) override;
  void OnMilterChange(MilterChange change) override;
  void OnMilterWritable() override;
  void OnMilterFailed(const std::string& why) override;
  // MilterStage::Owner
  MilterConnection* connection() override { return connection_.get(); }
  void FailMilter(const std::string& why) override { OnMilterFailed(why); }
  void OnStageEnded(LinkAnswer at_commit) override;
  void OnStageOver() override;
  void OnStageDropped() override;

  void Connect();
  void Plan(const FilterQuestion& question);
  void PlanConnect();
  void PlanMail(const std::string& address, const std::string& parameters);
  void Go();
  void LetGoIfFinished();
  // The same, where it was not done with the session but has left it.
  void RefuseIfFinished();
  LinkAnswer Meaning(MilterAnswer answer, FilterPhase phase);
  void Finish(LinkAnswer answer);
  void Abort();
  void SetMacro(absl::string_view name, absl::string_view value);
  // Those that change in a session.
  void SetMacros();

  const Filter& filter_;
  const MilterServices& services_;
  const SessionFacts& facts_;
  std::unique_ptr<MilterConnection> connection_;
  bool connecting_ = false, failed_ = false;
  bool finished_ = false;  // it wants nothing more of this session
  bool told_connect_ = false, told_mail_ = false;
  bool abort_due_ = false;  // when the open answer has come
  // The session is refused for good: this is said to all that follows.
  std::optional<LinkAnswer> refused_;
  std::optional<LinkAnswer> at_commit_;
  // The question.
  Done done_;
  std::deque<Step> steps_;            // to be told for it
  std::optional<FilterPhase> asked_;  // the one whose answer is due
  MilterStage* stage_ = nullptr;      // as long as there is one
  bool stage_talks_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_FILTERS_MILTER_LINK_SESSION_H_
