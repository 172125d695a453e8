#include "config/format_specifiers.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

FormatValues Values() {
  FormatValues v;
  v.sender = {"Ann+news", "Example.ORG"};
  v.rcpt = {"bob+lists", "example.net"};
  v.dest = {"bob", "example.org"};
  v.username = "bob";
  v.directory = "/home/bob";
  return v;
}

std::string Expand(const std::string& format, FormatValues values = Values()) {
  absl::StatusOr<std::string> path = ExpandPath(format, values);
  return path.ok() ? *path : "error";
}

std::string Command(const std::string& format, FormatValues values = Values()) {
  absl::StatusOr<std::string> command = ExpandCommand(format, values);
  return command.ok() ? *command : std::string(command.status().message());
}

constexpr char kBad[] = "smtpd: mda command line could not be expanded";

TEST(ExpandPath, HomeOnlyAtTheBeginning) {
  EXPECT_EQ(Expand("~/Maildir"), "/home/bob/Maildir");
  EXPECT_EQ(Expand("/a/~/b"), "/a/~/b");
  EXPECT_EQ(Expand("~"), "~");
}

TEST(ExpandPath, Names) {
  EXPECT_EQ(Expand("/%{sender}"), "/Ann+news@Example.ORG");
  EXPECT_EQ(Expand("/%{sender.user}/%{sender.domain}"),
            "/Ann+news/Example.ORG");
  EXPECT_EQ(Expand("/%{rcpt}/%{rcpt.user}/%{rcpt.domain}"),
            "/bob+lists@example.net/bob+lists/example.net");
  EXPECT_EQ(Expand("/%{DEST}/%{dest.user}/%{dest.domain}"),
            "/bob@example.org/bob/example.org");
  EXPECT_EQ(Expand("/%{user.username}"), "/bob");
  EXPECT_EQ(Expand("%{user.directory}/x"), "/home/bob/x");
  EXPECT_EQ(Expand("/%{mbox.from}"), "/Ann+news@Example.ORG");
  EXPECT_EQ(Expand("/%{nothing}"), "error");
  EXPECT_EQ(Expand("/%{rcpt.host}"), "error");
  EXPECT_EQ(Expand("/%{}"), "error");
}

TEST(ExpandPath, NullSender) {
  FormatValues v = Values();
  v.sender = {};
  EXPECT_EQ(Expand("/a%{sender}b", v), "/ab");
  EXPECT_EQ(Expand("/%{mbox.from}", v), "/MAILER-DAEMON");
  EXPECT_EQ(Expand("/x%{sender[4:5]}", v), "/x");
}

TEST(ExpandPath, PercentSigns) {
  EXPECT_EQ(Expand("/%%{rcpt}"), "/%{rcpt}");
  EXPECT_EQ(Expand("/a%b"), "/a%b");
  EXPECT_EQ(Expand("/a%"), "/a%");
  EXPECT_EQ(Expand("/%{dest}/%{rcpt"), "/%{dest}/%{rcpt");
}

TEST(ExpandPath, Ranges) {
  EXPECT_EQ(Expand("%{dest.domain[0:3]}"), "exam");
  EXPECT_EQ(Expand("%{dest.domain[-3:]}"), "org");
  EXPECT_EQ(Expand("%{dest.domain[0:-4]}"), "example");
  EXPECT_EQ(Expand("%{dest.domain[2]}"), "a");
  EXPECT_EQ(Expand("%{dest.domain[8:]}"), "org");
  EXPECT_EQ(Expand("%{dest.domain[:2]}"), "exa");
  EXPECT_EQ(Expand("%{dest.domain[8:99]}"), "org");
  EXPECT_EQ(Expand("%{dest.domain[11:]}"), "error");
  EXPECT_EQ(Expand("%{dest.domain[5:4]}"), "error");
  EXPECT_EQ(Expand("%{dest.domain[-1]}"), "error");
  EXPECT_EQ(Expand("%{dest.domain[-99:]}"), "error");
  EXPECT_EQ(Expand("%{dest.domain[x]}"), "error");
  EXPECT_EQ(Expand("%{dest.domain[1}"), "error");
  EXPECT_EQ(Expand("%{dest.domain[]}"), "error");
  EXPECT_EQ(Expand("%{dest.domain[1]x}"), "error");
  EXPECT_EQ(Expand("%{dest.domain[1]:}"), "error");
}

// In the reference this is an error.
TEST(ExpandPath, ARangeIsOfWhatModifiersLeave) {
  EXPECT_EQ(Expand("%{dest.domain[1]:uppercase}"), "X");
  EXPECT_EQ(Expand("%{rcpt.user[0:9]:strip|uppercase}"), "BOB");
  EXPECT_EQ(Expand("%{rcpt.user[4:]:strip}"), "error");
}

TEST(ExpandPath, Modifiers) {
  EXPECT_EQ(Expand("%{sender:lowercase}"), "ann+news@example.org");
  EXPECT_EQ(Expand("%{sender:uppercase}"), "ANN+NEWS@EXAMPLE.ORG");
  EXPECT_EQ(Expand("%{sender:strip}"), "Ann@Example.ORG");
  EXPECT_EQ(Expand("%{rcpt.user:strip|uppercase}"), "BOB");
  EXPECT_EQ(Expand("%{rcpt:shout}"), "error");
  EXPECT_EQ(Expand("%{rcpt:}"), "error");
}

TEST(ExpandPath, ShellCharactersBecomeColons) {
  FormatValues v = Values();
  v.rcpt.user = "!#$%&'*?`{|}~ok/;";
  EXPECT_EQ(Expand("/%{rcpt.user}", v), "/:::::::::::::ok/:");
  EXPECT_EQ(Expand("/%{rcpt.user:raw}", v), "/!#$%&'*?`{|}~ok/:");
  v.directory = "/home/b$b";
  EXPECT_EQ(Expand("~/x", v), "/home/b$b/x");
}

TEST(ExpandPath, AMessageNeverClimbs) {
  FormatValues v = Values();
  v.rcpt.user = "..";
  EXPECT_EQ(Expand("/mail/%{rcpt.user}/x", v), "error");
  EXPECT_EQ(Expand("/mail/%{rcpt.user:raw}", v), "error");
  EXPECT_EQ(Expand("/mail/a%{rcpt.user}", v), "/mail/a..");
  v.rcpt.user = "a/../../b";
  EXPECT_EQ(Expand("/mail/%{rcpt.user}", v), "error");
  v.rcpt.user = ".";
  EXPECT_EQ(Expand("/mail/.%{rcpt.user}/x", v), "error");
  EXPECT_EQ(Expand("/mail/%{rcpt.user}%{rcpt.user}", v), "error");
  // What the operator wrote is his to say.
  EXPECT_EQ(Expand("/mail/../%{dest.user}", v), "/mail/../bob");
  v.rcpt.user = std::string("a\0b", 3);
  EXPECT_EQ(Expand("/mail/%{rcpt.user}", v), "/mail/a:b");
  EXPECT_EQ(Expand(std::string("/mail/a\0b", 9)), "error");
}

TEST(ExpandPath, Limits) {
  EXPECT_EQ(Expand("/%{" + std::string(128, 'x') + "}"), "error");
  FormatValues v = Values();
  v.rcpt.user = std::string(600, 'a');
  EXPECT_EQ(Expand("/%{rcpt.user}/%{rcpt.user}", v), "error");
  v.rcpt.user = std::string(1022, 'a');
  EXPECT_EQ(Expand("/%{rcpt.user}", v).size(), 1023u);
  EXPECT_EQ(Expand("/a%{rcpt.user}", v), "error");
}

TEST(ExpandCommand, WhatOnlyQuotesCanHoldNeverGetsThrough) {
  FormatValues v = Values();
  v.sender = {"\"a;b \\\"c\n$(x)<>[],:\"", "[IPv6:2001:db8::1]"};
  EXPECT_EQ(Command("m %{sender.user}", v), "m :a:b:::c:::x::::::::");
  EXPECT_EQ(Command("m %{sender.user:raw}", v), "m :a:b:::c:::x::::::::");
  EXPECT_EQ(Command("m %{sender.domain}", v), "m [IPv6:2001:db8::1]");
  v.sender.user = "J\xc3\xbcrgen^x";
  EXPECT_EQ(Command("m %{sender.user}", v), "m J\xc3\xbcrgen^x");
  v.sender.domain = "a;b$c";
  EXPECT_EQ(Command("m %{sender.domain:raw}", v), "m a:b:c");
  EXPECT_EQ(Command("m %{mbox.from:raw}", v), "m J\xc3\xbcrgen^x@a:b:c");
  v.username = "x;y";
  EXPECT_EQ(Command("m %{user.username:raw}", v), "m x:y");
}

// All of these are atoms: nothing but the shell is offended by them.
TEST(ExpandCommand, RawIsForPaths) {
  FormatValues v = Values();
  v.rcpt.user = "`touch${IFS}/tmp/x`|y&z'#!*?~";
  EXPECT_EQ(Command("m %{rcpt.user:raw}", v),
            "m :touch::IFS:/tmp/x::y:z::::::");
  EXPECT_EQ(Command("m %{rcpt.user:raw|lowercase}", v),
            "m :touch::ifs:/tmp/x::y:z::::::");
  EXPECT_EQ(Expand("/%{rcpt.user:raw}", v), "/" + v.rcpt.user);
}

TEST(ExpandPathCommand, IsBoth) {
  FormatValues v = Values();
  v.rcpt.user = "a`b`";
  EXPECT_EQ(*ExpandPathCommand("m \"/%{rcpt.user:raw}\"", v), "m \"/a:b:\"");
  v.rcpt.user = "a/../..";
  EXPECT_FALSE(ExpandPathCommand("m \"/x/%{rcpt.user}/y\"", v).ok());
  v.rcpt.user = "..";
  EXPECT_FALSE(ExpandPathCommand("m \"/x/%{rcpt.user}\"", v).ok());
  EXPECT_TRUE(ExpandPathCommand("m \"/x/../%{dest.user}\"", v).ok());
}

TEST(ExpandCommand, WhatItWraps) {
  FormatValues v = Values();
  EXPECT_EQ(Command("nice %{mda}", v), kBad);
  v.mda = "/bin/x \"$HOME\" %{rcpt}";
  EXPECT_EQ(Command("nice %{mda}", v), "nice /bin/x \"$HOME\" %{rcpt}");
}

TEST(ExpandCommand, DotsAreNoFolders) {
  FormatValues v = Values();
  v.rcpt.user = "..";
  EXPECT_EQ(Command("x /%{rcpt.user}/", v), "x /../");
  EXPECT_EQ(Command("~/bin/x %{dest}", v), "/home/bob/bin/x bob@example.org");
}

TEST(ExpandCommand, Errors) {
  for (const char* format :
       {"%{rcpt:loud}", "%{x}", "%{rcpt[5:1]}", "%{rcpt[99:]}"}) {
    EXPECT_EQ(Command(format), kBad) << format;
  }
  EXPECT_EQ(Command(std::string(1023, 'x')).size(), 1023u);
  EXPECT_EQ(Command(std::string(1024, 'x')), kBad);
  EXPECT_EQ(Command(std::string(1020, 'x') + "%{x"),
            std::string(1020, 'x') + "%{x");
  EXPECT_EQ(Command(std::string(1022, 'x') + "%{x"), kBad);
}

TEST(NeedsDirectory, OnlyWhereItIsNamed) {
  EXPECT_TRUE(NeedsDirectory("~/Maildir"));
  EXPECT_TRUE(NeedsDirectory("%{USER.directory}/m"));
  EXPECT_FALSE(NeedsDirectory("/var/vmail/%{dest.user}"));
  EXPECT_FALSE(NeedsDirectory(""));
}

}  // namespace
}  // namespace holdfast
