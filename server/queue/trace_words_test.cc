#include "server/queue/trace_words.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

TEST(TraceWords, AnythingTracedIsVerbose) {
  TraceWords words(/*verbose=*/false);
  EXPECT_FALSE(words.verbose());
  words.Trace("smtp");
  words.Trace("mta");
  words.Trace("mta");
  EXPECT_TRUE(words.verbose());
  words.Untrace("mta");
  words.Untrace("io");
  EXPECT_TRUE(words.verbose());
  words.Untrace("smtp");
  EXPECT_FALSE(words.verbose());
  words.Trace("all");
  words.Trace("smtp");
  words.Untrace("all");
  EXPECT_FALSE(words.verbose());
}

TEST(TraceWords, LogVerboseAndBriefForgetWhatIsTraced) {
  TraceWords words(/*verbose=*/true);
  words.Trace("smtp");
  words.Untrace("smtp");
  EXPECT_TRUE(words.verbose());
  words.Trace("smtp");
  words.SetVerbose(false);
  EXPECT_FALSE(words.verbose());
  words.SetVerbose(true);
  words.Trace("smtp");
  words.Untrace("smtp");
  EXPECT_TRUE(words.verbose());
}

TEST(TraceWords, Words) {
  for (const char* good :
       {"imsg", "io", "smtp", "filters", "mta", "bounce", "scheduler", "lookup",
        "stat", "rules", "mproc", "expand", "all"})
    EXPECT_TRUE(TraceWords::IsKnown(good)) << good;
  for (const char* bad : {"queue", "tables", "", "sm"})
    EXPECT_FALSE(TraceWords::IsKnown(bad)) << bad;
}

}  // namespace
}  // namespace holdfast
