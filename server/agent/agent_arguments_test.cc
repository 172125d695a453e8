#include "server/agent/agent_arguments.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

TEST(AgentArguments, ComeBackAsTheyWere) {
  AgentArguments a;
  a.privileged = true;
  a.mbox = true;
  a.user = "bob=x";
  a.known = AgentArguments::User{1000, 100, "/home/b ob"};
  a.mail_dir = "/tmp/m";
  a.mailbox_user = "ann";
  a.mailbox_home = "";
  absl::StatusOr<AgentArguments> b = ParseAgentArguments(ToArguments(a));
  ASSERT_TRUE(b.ok());
  EXPECT_TRUE(b->privileged);
  EXPECT_TRUE(b->mbox);
  EXPECT_EQ(b->user, "bob=x");
  ASSERT_TRUE(b->known.has_value());
  EXPECT_EQ(b->known->uid, 1000u);
  EXPECT_EQ(b->known->gid, 100u);
  EXPECT_EQ(b->known->home, "/home/b ob");
  EXPECT_EQ(b->mail_dir, "/tmp/m");
  EXPECT_EQ(b->mailbox_user, "ann");
  EXPECT_EQ(b->mailbox_home, "");
  EXPECT_FALSE(b->exec_uid.has_value());
}

TEST(AgentArguments, CommandsComeBackAsTheyWere) {
  AgentArguments a;
  a.user = "bob";
  a.commands = true;
  a.command = "/bin/cat --x=y > \"$HOME/z\"";
  a.wrapper = "nice %{mda}";
  a.delimiter = '=';
  absl::StatusOr<AgentArguments> b = ParseAgentArguments(ToArguments(a));
  ASSERT_TRUE(b.ok());
  EXPECT_TRUE(b->commands);
  EXPECT_EQ(b->command, a.command);
  EXPECT_EQ(b->wrapper, a.wrapper);
  EXPECT_EQ(b->delimiter, '=');
}

TEST(AgentArguments, LimitsComeBackAsTheyWere) {
  AgentArguments a;
  a.user = "bob";
  a.commands = true;
  a.memory = uint64_t{5} << 40;
  a.descriptors = 64;
  a.seconds = 3600;
  absl::StatusOr<AgentArguments> b = ParseAgentArguments(ToArguments(a));
  ASSERT_TRUE(b.ok());
  EXPECT_EQ(b->memory, a.memory);
  EXPECT_EQ(b->descriptors, 64u);
  EXPECT_EQ(b->seconds, 3600u);
  for (const char* bad : {"--memory=-1", "--descriptors=x", "--seconds="}) {
    EXPECT_FALSE(ParseAgentArguments({"--user=bob", bad}).ok()) << bad;
  }
}

TEST(AgentArguments, DefaultsStayAway) {
  AgentArguments a;
  a.user = "bob";
  EXPECT_EQ(ToArguments(a), std::vector<std::string>{"--user=bob"});
  absl::StatusOr<AgentArguments> b = ParseAgentArguments({"--user=bob"});
  ASSERT_TRUE(b.ok());
  EXPECT_FALSE(b->privileged);
  EXPECT_FALSE(b->known.has_value());
  EXPECT_FALSE(b->mailbox_home.has_value());
  EXPECT_EQ(b->mail_dir, "/var/mail");
}

TEST(AgentArguments, ExecKeepsWordsThatLookLikeFlags) {
  AgentArguments a;
  a.exec_uid = 65534;
  a.exec = {"/bin/true", "--user=root", "--", "-S"};
  absl::StatusOr<AgentArguments> b = ParseAgentArguments(ToArguments(a));
  ASSERT_TRUE(b.ok());
  EXPECT_EQ(b->exec_uid, 65534u);
  EXPECT_EQ(b->exec, a.exec);
  EXPECT_TRUE(b->user.empty());
}

TEST(AgentArguments, NonsenseIsRefused) {
  EXPECT_FALSE(ParseAgentArguments({}).ok());
  EXPECT_FALSE(ParseAgentArguments({"--user="}).ok());
  EXPECT_FALSE(ParseAgentArguments({"bob"}).ok());
  EXPECT_FALSE(ParseAgentArguments({"--user=b", "--uid=-1"}).ok());
  EXPECT_FALSE(ParseAgentArguments({"--user=b", "--uid=4294967295"}).ok());
  EXPECT_FALSE(ParseAgentArguments({"--user=b", "--what=1"}).ok());
  EXPECT_FALSE(ParseAgentArguments({"--exec-uid=0", "--"}).ok());
}

}  // namespace
}  // namespace holdfast
