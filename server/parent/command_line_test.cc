#include "server/parent/command_line.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(CommandLine, Defaults) {
  const CommandLine line = ParseCommandLine({});
  EXPECT_EQ(line.output, CommandLine::Output::kDaemon);
  EXPECT_EQ(line.config_path, "/etc/smtpd.conf");
  EXPECT_FALSE(line.verbose || line.check_only || line.usage);
  EXPECT_THAT(line.messages, IsEmpty());
}

TEST(CommandLine, Flags) {
  const CommandLine line = ParseCommandLine(
      {"-dvn", "-f", "/x/smtpd.conf", "-Dname=a=b", "-D", "c=d", "-P", "mta",
       "-Psmtp", "-P", "nothing", "-T", "smtp"});
  EXPECT_EQ(line.output, CommandLine::Output::kDebug);
  EXPECT_TRUE(line.verbose);
  EXPECT_TRUE(line.check_only);
  EXPECT_EQ(line.config_path, "/x/smtpd.conf");
  EXPECT_THAT(line.definitions, ElementsAre("name=a=b", "c=d"));
  EXPECT_THAT(line.paused, ElementsAre("mta", "smtp"));
  EXPECT_THAT(line.messages, IsEmpty());
  EXPECT_FALSE(line.usage);
  EXPECT_EQ(ParseCommandLine({"-F"}).output, CommandLine::Output::kForeground);
}

TEST(CommandLine, WhatIsWrongIsSaid) {
  EXPECT_THAT(ParseCommandLine({"-T", "what", "-B", "x=y"}).messages,
              ElementsAre("warn: unknown trace flag \"what\"",
                          "warn: invalid backend specifier x=y"));
  EXPECT_FALSE(ParseCommandLine({"-T", "what"}).usage);
  EXPECT_THAT(ParseCommandLine({"-B", "queue=fs"}).messages, IsEmpty());
  EXPECT_TRUE(ParseCommandLine({"stray"}).usage);
  EXPECT_TRUE(ParseCommandLine({"-d", "-"}).usage);
  const CommandLine unknown = ParseCommandLine({"-dx"});
  EXPECT_TRUE(unknown.usage);
  EXPECT_THAT(unknown.messages, ElementsAre("smtpd: invalid option -- 'x'"));
  const CommandLine missing = ParseCommandLine({"-f"});
  EXPECT_TRUE(missing.usage);
  EXPECT_THAT(missing.messages,
              ElementsAre("smtpd: option requires an argument -- 'f'"));
}

TEST(CommandLine, Help) {
  const CommandLine line = ParseCommandLine({"-h"});
  EXPECT_TRUE(line.usage);
  EXPECT_THAT(line.messages,
              ElementsAre("version: Holdfast 0.1 (OpenSMTPD 7.8.0-portable "
                          "compatible)"));
  EXPECT_EQ(Usage(),
            "usage: smtpd [-dFhnv] [-D macro=value] [-f file] [-P system] [-T "
            "trace]");
}

}  // namespace
}  // namespace holdfast
