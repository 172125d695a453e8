#include "server/lookup/listener_tables.h"

#include <gtest/gtest.h>

#include <memory>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

using Which = ListenerTableQuestion::Table;
using Result = ListenerTableAnswer::Result;

class ListenerTablesTest : public ::testing::Test {
 protected:
  ListenerTablesTest() {
    auto senders = Make("senders");
    senders->Add("joe", "joe@mx.test , @far.test,sales");
    senders->Add("root", "@");
    senders->Add("none", " , ");
    auto hostnames = Make("hostnames");
    hostnames->Add("192.0.2.1", "One.mx.test");
    hostnames->Add("[2001:db8::1]", "six.mx.test");
    hostnames->Add("2001:db8::2", "plain.mx.test");
    auto xclient = Make("xclient");
    xclient->Add("127.0.0.0/8", "");
    xclient->Add("2001:db8::/32", "");
    Listener named;
    named.senders = senders;
    named.hostnames = hostnames;
    named.xclient = xclient;
    config_.listeners = {named, Listener()};
  }

  std::shared_ptr<Table> Make(const std::string& name) {
    return std::make_shared<Table>(name, Table::Kind::kMap, "static", "");
  }

  ListenerTableAnswer Ask(Which table, const std::string& key,
                          const std::string& sender = "",
                          uint32_t listener = 0) {
    ListenerTableQuestion question;
    question.question = 9;
    question.listener = listener;
    question.table = table;
    question.key = key;
    question.sender = sender;
    const ListenerTableAnswer answer =
        AskListenerTable(config_, question, &answers_);
    EXPECT_EQ(answer.question, 9u);
    return answer;
  }

  Config config_;
  TableAnswers answers_;
};

TEST_F(ListenerTablesTest, Hostnames) {
  EXPECT_EQ(Ask(Which::kHostnames, "192.0.2.1").value, "One.mx.test");
  EXPECT_EQ(Ask(Which::kHostnames, "[2001:DB8::1]").value, "six.mx.test");
  EXPECT_EQ(Ask(Which::kHostnames, "[2001:db8::2]").value, "plain.mx.test");
  EXPECT_EQ(Ask(Which::kHostnames, "192.0.2.2").result, Result::kNotFound);
}

TEST_F(ListenerTablesTest, Senders) {
  for (const char* mine : {"joe@mx.test", "JOE+x@mx.test", "anyone@far.test",
                           "sales@anywhere.test"}) {
    const auto answer = Ask(Which::kSenders, "Joe", mine);
    EXPECT_EQ(answer.result, Result::kFound) << mine;
    EXPECT_EQ(answer.value, "joe@mx.test");
  }
  for (const char* others : {"jim@mx.test", "joe@other.test", "@", ""}) {
    EXPECT_EQ(Ask(Which::kSenders, "joe", others).result, Result::kNotFound)
        << others;
  }
  EXPECT_EQ(Ask(Which::kSenders, "jim", "joe@mx.test").result,
            Result::kNotFound);
  EXPECT_EQ(Ask(Which::kSenders, "none", "joe@mx.test").result,
            Result::kNotFound);
}

TEST_F(ListenerTablesTest, TheNullSenderNeedsAnEntryForAll) {
  EXPECT_EQ(Ask(Which::kSenders, "root", "").result, Result::kFound);
  EXPECT_EQ(Ask(Which::kSenders, "root", "@").result, Result::kFound);
  EXPECT_EQ(Ask(Which::kSenders, "root", "any@one.test").result,
            Result::kFound);
}

TEST_F(ListenerTablesTest, Xclient) {
  EXPECT_EQ(Ask(Which::kXclient, "127.3.2.1").result, Result::kFound);
  EXPECT_EQ(Ask(Which::kXclient, "2001:db8::5").result, Result::kFound);
  EXPECT_EQ(Ask(Which::kXclient, "[2001:db8::5]").result, Result::kFound);
  EXPECT_EQ(Ask(Which::kXclient, "192.0.2.1").result, Result::kNotFound);
  EXPECT_EQ(Ask(Which::kXclient, "").result, Result::kNotFound);
}

TEST_F(ListenerTablesTest, OnlyWhatTheListenerNames) {
  for (const Which table : {Which::kHostnames, Which::kSenders, Which::kXclient,
                            Which::kScram, static_cast<Which>(99)}) {
    EXPECT_EQ(Ask(table, "joe", "joe@mx.test", 1).result, Result::kError);
    EXPECT_EQ(Ask(table, "joe", "joe@mx.test", 2).result, Result::kError);
    EXPECT_EQ(Ask(table, "joe", "joe@mx.test", UINT32_MAX).result,
              Result::kError);
  }
}

TEST_F(ListenerTablesTest, AKeyThatIsTooLongIsAnError) {
  EXPECT_EQ(Ask(Which::kSenders, std::string(2000, 'u'), "a@b").result,
            Result::kError);
}

// The program of a table is asked for what it must say.
TEST_F(ListenerTablesTest, Programs) {
  const auto program =
      std::make_shared<Table>("p", Table::Kind::kDynamic, "ldap", "/etc/p");
  Listener& listener = config_.listeners[0];
  listener.senders = listener.hostnames = listener.xclient = program;
  const auto asked = [this] {
    return absl::StrCat(
        std::string(TableOpName(answers_.missing()->op)), " ",
        std::string(TableServiceName(answers_.missing()->service)), " ",
        answers_.missing()->key);
  };
  Ask(Which::kSenders, "Joe", "x@far.test");
  ASSERT_TRUE(answers_.missing());
  EXPECT_EQ(asked(), "lookup mailaddrmap joe");
  answers_.Give(std::optional<std::string>("@far.test"));
  EXPECT_EQ(Ask(Which::kSenders, "Joe", "x@far.test").result, Result::kFound);
  EXPECT_EQ(Ask(Which::kSenders, "Joe", "x@other.test").result,
            Result::kNotFound);
  EXPECT_FALSE(answers_.missing());

  Ask(Which::kHostnames, "[::1]");
  EXPECT_EQ(asked(), "lookup addrname [::1]");
  answers_.Give(std::optional<std::string>());
  Ask(Which::kHostnames, "[::1]");
  EXPECT_EQ(asked(), "lookup addrname ::1");
  answers_.Give(std::optional<std::string>("six.test"));
  EXPECT_EQ(Ask(Which::kHostnames, "[::1]").value, "six.test");

  Ask(Which::kXclient, "192.0.2.1");
  EXPECT_EQ(asked(), "check netaddr 192.0.2.1");
  answers_.Give(absl::InternalError("gone"));
  EXPECT_EQ(Ask(Which::kXclient, "192.0.2.1").result, Result::kError);
  EXPECT_FALSE(answers_.missing());
}

}  // namespace
}  // namespace holdfast
