#include "server/queue/explain_words.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace holdfast {
namespace {

std::string Error(const std::vector<std::string>& words) {
  const auto request = ParseExplainWords(words);
  if (request.ok()) return "";
  const std::string text(request.status().message());
  return text.substr(0, text.find('\n'));
}

TEST(ExplainWords, Addresses) {
  const auto request =
      ParseExplainWords({"<Joe@mx.test>", "from", "\"a\\ b\"@x.test"});
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->about.rcpt.ToString(), "Joe@mx.test");
  // In the one form that the server gives it.
  EXPECT_EQ(request->about.sender.ToString(), "\"a b\"@x.test");
  EXPECT_EQ(Error({"joe"}), "");
  EXPECT_EQ(Error({"joe@x", "from", "<>"}), "");
  EXPECT_EQ(Error({"a b@x"}), "not an address: a b@x");
  EXPECT_EQ(Error({"@x"}), "not an address: @x");
  EXPECT_EQ(Error({"joe@a..b"}), "not an address: joe@a..b");
  EXPECT_EQ(Error({"joe\n@x"}), "not an address: joe\\n@x");
  EXPECT_EQ(Error({std::string(256, 'a') + "@x"}),
            "not an address: " + std::string(256, 'a') + "@x");
  EXPECT_EQ(Error({"joe@x", "from", "a\nb@x"}), "not an address: a\\nb@x");
}

TEST(ExplainWords, Clients) {
  for (const auto& [word, source] :
       std::vector<std::pair<std::string, std::string>>{
           {"192.0.2.9", "192.0.2.9"},
           {"2001:db8::1", "[2001:db8::1]"},
           {"[2001:db8::1]", "[2001:db8::1]"},
           {"fe80::1%eth0", "[fe80::1%eth0]"},
           {"local", "local"}}) {
    const auto request = ParseExplainWords({"joe@x", "src", word});
    ASSERT_TRUE(request.ok()) << request.status();
    EXPECT_EQ(request->about.sockaddr, source);
  }
  for (const std::string word : {"1.2.3", "mx.test", "10.0.0.0/8", "[]"}) {
    EXPECT_EQ(Error({"joe@x", "src", word}),
              "not an address of a client: " + word);
  }
}

TEST(ExplainWords, Words) {
  EXPECT_EQ(Error({}), "missing: RCPT");
  EXPECT_EQ(Error({"joe@x", "why"}), "unknown word: why");
  EXPECT_EQ(Error({"joe@x", "via"}), "missing value: via");
  EXPECT_EQ(Error({"joe@x", "from", ""}), "missing value: from");
  EXPECT_EQ(Error({"joe@x", "tls", "tls"}), "given twice: tls");
}

}  // namespace
}  // namespace holdfast
