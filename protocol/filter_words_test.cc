#include "protocol/filter_words.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

TEST(FilterWordsTest, PhasesHaveTheirNamesBothWays) {
  for (int i = 0; i < kFilterPhases; ++i) {
    const auto phase = static_cast<FilterPhase>(i);
    EXPECT_EQ(FilterPhaseNamed(FilterPhaseName(phase)), phase);
  }
  EXPECT_EQ(FilterPhaseName(FilterPhase::kDataLine), "data-line");
  EXPECT_EQ(FilterPhaseName(FilterPhase::kWiz), "wiz");
  EXPECT_EQ(FilterPhaseNamed("*"), std::nullopt);
}

TEST(FilterWordsTest, TwoPhasesHaveAnotherNameInResponses) {
  EXPECT_EQ(FilterPhaseInResponse(FilterPhase::kConnect), "connected");
  EXPECT_EQ(FilterPhaseInResponse(FilterPhase::kStartTls), "tls");
  EXPECT_EQ(FilterPhaseInResponse(FilterPhase::kRcptTo), "rcpt-to");
}

TEST(FilterWordsTest, EventsHaveTheirNamesBothWays) {
  for (int i = 0; i < kFilterEvents; ++i) {
    const auto event = static_cast<FilterEvent>(i);
    EXPECT_EQ(FilterEventNamed(FilterEventName(event)), event);
    EXPECT_NE(MaskOf(event) & kAllFilterEvents, 0u);
  }
  EXPECT_EQ(FilterEventName(FilterEvent::kTimeout), "timeout");
  EXPECT_EQ(FilterEventName(FilterEvent::kTxRollback), "tx-rollback");
}

}  // namespace
}  // namespace holdfast
