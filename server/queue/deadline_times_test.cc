#include "server/queue/deadline_times.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

using What = DeadlineStep::What;

const absl::Time kCreated = absl::FromUnixSeconds(1795324048);
const WarnIntervals kDefault = {absl::Hours(4)};
const WarnIntervals kThree = {absl::Hours(1), absl::Hours(4), absl::Hours(24)};

Envelope Made() {
  Envelope envelope;
  envelope.sender = {"alice", "example.com"};
  envelope.created = kCreated;
  envelope.expires = kCreated + absl::Hours(96);
  return envelope;
}

TEST(DeadlineTimesTest, FirstIsTheFirstWarning) {
  EXPECT_EQ(FirstDeadline(Made(), kDefault), kCreated + absl::Hours(4));
  EXPECT_EQ(FirstDeadline(Made(), {}), kCreated + absl::Hours(96));
  // Order in the configuration is free.
  EXPECT_EQ(FirstDeadline(Made(), {absl::Hours(5), absl::Hours(2)}),
            kCreated + absl::Hours(2));
}

TEST(DeadlineTimesTest, WhoIsNotWarnedOnlyExpires) {
  Envelope null_sender = Made();
  null_sender.sender = {};
  Envelope report = Made();
  report.flags = kFlagBounce;
  Envelope never = Made();
  never.dsn_notify = kNotifyNever;
  Envelope failure_only = Made();
  failure_only.dsn_notify = kNotifyFailure;
  for (const Envelope& e : {null_sender, report, never, failure_only}) {
    EXPECT_FALSE(WantsDelayReports(e));
    EXPECT_EQ(FirstDeadline(e, kDefault), e.expires);
  }
  Envelope delay = Made();
  delay.dsn_notify = kNotifyDelay;
  EXPECT_EQ(FirstDeadline(delay, kDefault), kCreated + absl::Hours(4));
}

TEST(DeadlineTimesTest, WarningsOneAfterTheOther) {
  Envelope e = Made();
  DeadlineStep step = NextDeadlineStep(e, kThree, kCreated + absl::Hours(1));
  EXPECT_EQ(step.what, What::kWarn);
  EXPECT_EQ(step.warned, kCreated + absl::Hours(1));
  EXPECT_EQ(step.next, kCreated + absl::Hours(4));

  e.last_bounce = step.warned;
  step = NextDeadlineStep(e, kThree, kCreated + absl::Hours(2));
  EXPECT_EQ(step.what, What::kNothing);
  EXPECT_EQ(step.next, kCreated + absl::Hours(4));

  step = NextDeadlineStep(e, kThree, kCreated + absl::Hours(30));
  EXPECT_EQ(step.what, What::kWarn) << "two have passed: one report";
  EXPECT_EQ(step.warned, kCreated + absl::Hours(24));
  EXPECT_EQ(step.next, e.expires);
}

TEST(DeadlineTimesTest, ExpiryGoesBeforeWarnings) {
  const DeadlineStep step =
      NextDeadlineStep(Made(), kDefault, kCreated + absl::Hours(96));
  EXPECT_EQ(step.what, What::kExpire);
  EXPECT_EQ(step.next, absl::InfiniteFuture());
}

TEST(DeadlineTimesTest, AWarningBehindTheExpiryNeverComes) {
  Envelope e = Made();
  e.expires = kCreated + absl::Hours(2);
  EXPECT_EQ(FirstDeadline(e, kDefault), e.expires);
}

TEST(DeadlineTimesTest, AHoldMovesWarnings) {
  Envelope e = Made();
  e.hold_until = kCreated + absl::Hours(10);
  e.expires += absl::Hours(10);
  EXPECT_EQ(FirstDeadline(e, kDefault), kCreated + absl::Hours(14));
}

TEST(DeadlineTimesTest, DeliverByReturnExpires) {
  Envelope e = Made();
  e.flags = kFlagDeliverByReturn;
  e.deliver_by = kCreated + absl::Hours(1);
  EXPECT_EQ(FirstDeadline(e, kDefault), e.deliver_by);
  DeadlineStep step =
      NextDeadlineStep(e, kDefault, e.deliver_by - absl::Seconds(1));
  EXPECT_EQ(step.what, What::kNothing);
  step = NextDeadlineStep(e, kDefault, e.deliver_by);
  EXPECT_EQ(step.what, What::kExpire);
  EXPECT_TRUE(step.by_wish);
  // Its own end may come first.
  e.deliver_by = e.expires + absl::Hours(1);
  step = NextDeadlineStep(e, kDefault, e.expires);
  EXPECT_EQ(step.what, What::kExpire);
  EXPECT_FALSE(step.by_wish);
  // Also for those who are not warned.
  e.deliver_by = kCreated + absl::Hours(1);
  e.dsn_notify = kNotifyNever;
  EXPECT_EQ(NextDeadlineStep(e, kDefault, e.deliver_by).what, What::kExpire);
}

TEST(DeadlineTimesTest, DeliverByNotifyWarnsOnceAndGoesOn) {
  Envelope e = Made();
  e.deliver_by = kCreated + absl::Hours(2);
  EXPECT_EQ(FirstDeadline(e, kDefault), e.deliver_by);
  DeadlineStep step = NextDeadlineStep(e, kDefault, e.deliver_by);
  EXPECT_EQ(step.what, What::kWarn);
  EXPECT_TRUE(step.by_wish);
  EXPECT_EQ(step.warned, e.deliver_by);
  EXPECT_EQ(step.next, kCreated + absl::Hours(4));
  e.last_bounce = step.warned;
  step = NextDeadlineStep(e, kDefault, kCreated + absl::Hours(4));
  EXPECT_EQ(step.what, What::kWarn);
  EXPECT_FALSE(step.by_wish) << "an ordinary warning";
  e.last_bounce = step.warned;
  EXPECT_EQ(NextDeadlineStep(e, kDefault, e.expires - absl::Seconds(1)).what,
            What::kNothing);
  e.last_bounce = absl::UnixEpoch();
  e.dsn_notify = kNotifyFailure;
  EXPECT_EQ(NextDeadlineStep(e, kDefault, e.deliver_by).what, What::kNothing)
      << "NOTIFY without DELAY";
}

}  // namespace
}  // namespace holdfast
