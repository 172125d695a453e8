// Random filters on random envelopes against a naive evaluation
// (protocol/envelope_filter_model.h).
#include "protocol/envelope_filter_model.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "gtest/gtest.h"
#include "protocol/envelope_filter.h"

namespace holdfast {
namespace {

constexpr int kRounds = 300;
constexpr int kEnvelopes = 40;

void ExpectWithinHints(const FilterHints& hints, const EnvelopeFacts& f) {
  const auto has = [](const auto& list, const auto& value) {
    return !list || std::binary_search(list->begin(), list->end(), value);
  };
  EXPECT_TRUE(has(hints.ids, f.envelope.id));
  EXPECT_TRUE(has(hints.messages, MessageOf(f.envelope.id)));
  EXPECT_TRUE(
      has(hints.domains, absl::AsciiStrToLower(f.envelope.dest.domain)));
  EXPECT_TRUE(has(hints.destinations, absl::AsciiStrToLower(f.destination)));
  EXPECT_TRUE(!hints.due_until || (f.due && *f.due <= *hints.due_until));
  EXPECT_TRUE(!hints.held ||
              (f.envelope.flags & (kFlagHeld | kFlagSuspended)) != 0);
}

TEST(EnvelopeFilterModel, RandomFiltersOnRandomQueues) {
  ModelRandom random(20240229);
  int matched = 0, unmatched = 0;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<PlainEnvelope> queue;
    for (int i = 0; i < kEnvelopes; ++i) queue.push_back(MakePlain(&random));
    const FilterModel model = MakeFilterModel(&random, 3);
    const auto filter =
        EnvelopeFilter::Parse(model.text, absl::FromUnixSeconds(kModelNow));
    ASSERT_TRUE(filter.ok()) << filter.status();
    for (const PlainEnvelope& plain : queue) {
      const EnvelopeFacts facts = FactsFrom(plain);
      const bool expected = model.fits(plain);
      ASSERT_EQ(filter->Matches(facts), expected)
          << model.text << "\n"
          << ToString(facts.envelope.id);
      ++(expected ? matched : unmatched);
      if (expected) ExpectWithinHints(filter->hints(), facts);
    }
  }
  // Neither answer is rare.
  EXPECT_GT(matched, kRounds * kEnvelopes / 10);
  EXPECT_GT(unmatched, kRounds * kEnvelopes / 10);
}

// "and" before "or", without parentheses: the text alone tells.
TEST(EnvelopeFilterModel, PrecedenceWithoutParentheses) {
  ModelRandom random(7);
  for (int round = 0; round < kRounds; ++round) {
    std::vector<std::vector<FilterModel>> sum;
    std::string text;
    for (int i = 0; i <= ModelBelow(&random, 3); ++i) {
      sum.emplace_back();
      for (int k = 0; k <= ModelBelow(&random, 3); ++k) {
        FilterModel one = MakeFilterModel(&random, 0);
        const bool inverted = ModelBelow(&random, 3) == 0;
        text += text.empty() ? "" : k == 0 ? " or " : " and ";
        text += (inverted ? "not " : "") + one.text;
        if (inverted)
          one.fits = [fits = one.fits](const PlainEnvelope& p) {
            return !fits(p);
          };
        sum.back().push_back(std::move(one));
      }
    }
    const auto filter =
        EnvelopeFilter::Parse(text, absl::FromUnixSeconds(kModelNow));
    ASSERT_TRUE(filter.ok()) << filter.status();
    for (int i = 0; i < kEnvelopes; ++i) {
      const PlainEnvelope plain = MakePlain(&random);
      const bool expected =
          std::any_of(sum.begin(), sum.end(), [&](const auto& product) {
            return std::all_of(
                product.begin(), product.end(),
                [&](const FilterModel& m) { return m.fits(plain); });
          });
      ASSERT_EQ(filter->Matches(FactsFrom(plain)), expected) << text;
    }
  }
}

}  // namespace
}  // namespace holdfast
