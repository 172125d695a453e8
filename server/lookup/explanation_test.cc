// Each file of testdata/explain: its configuration, its question, its answer.
// With HOLDFAST_UPDATE=FOLDER in the environment the answers are written there
// instead.
#include "server/lookup/explanation.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "config/parser.h"
#include "server/lookup/expansion.h"
#include "server/queue/explain_words.h"
#include "server/tls/sha1.h"

namespace holdfast {
namespace {

constexpr char kLine[] = "---\n";
const absl::Time kNow = absl::FromUnixSeconds(1700000000);

std::shared_ptr<const Config> Parse(const std::string& text) {
  ParseOptions options;
  options.path = "smtpd.conf";
  options.server_name = "mx.test";
  options.local_addresses = {"127.0.0.1", "::1"};
  const ParseResult result = ParseConfig(options, [&](const std::string&) {
    return absl::StatusOr<std::string>(text);
  });
  for (const std::string& line : result.messages) ADD_FAILURE() << line;
  return result.config;
}

// root forwards nothing, joe has a .forward, jim none; nobody else is there.
Expansion::Step Serve(Expansion* expansion, Expansion::Step step) {
  if (auto* user = std::get_if<Expansion::NeedUser>(&step)) {
    const bool known =
        user->name == "joe" || user->name == "jim" || user->name == "root";
    return expansion->OnUser(known ? Expansion::UserResult::kFound
                                   : Expansion::UserResult::kNotFound);
  }
  if (auto* file = std::get_if<Expansion::NeedFile>(&step)) {
    if (file->path == "/lists/crew") {
      return expansion->OnFile(std::string("# the crew\njoe, jim\n"));
    }
    return expansion->OnFile(absl::NotFoundError(absl::StrCat(
        "warn: failed to open include file \"", file->path, "\".")));
  }
  if (auto* forward = std::get_if<Expansion::NeedForward>(&step)) {
    ForwardAnswer answer;
    answer.result = ForwardAnswer::Result::kNone;
    if (forward->question.name == "joe") {
      answer.result = ForwardAnswer::Result::kFound;
      answer.contents = "\\joe, joe@far.test\n\"|/usr/bin/notify joe\"\n";
      answer.uid = 1000;
    }
    return expansion->OnForward(answer);
  }
  return expansion->Run();
}

std::string Explain(std::shared_ptr<const Config> config,
                    const ExplainRequest& request) {
  std::optional<SrsRewriter> srs;
  if (!config->srs.key.empty()) srs.emplace(config->srs.key, "", 4, Sha1);
  Explanation explanation(config, request);
  if (!explanation.status().ok()) {
    return absl::StrCat(explanation.status().message(), "\n");
  }
  ExpansionContext context;
  context.now = kNow;
  context.srs = srs ? &*srs : nullptr;
  context.trace = explanation.trace();
  Expansion expansion(config, explanation.request(), context);
  Expansion::Step step = expansion.Run();
  while (!std::holds_alternative<ExpandAnswer>(step)) {
    step = Serve(&expansion, std::move(step));
  }
  const ExplainAnswer answer =
      explanation.Tell(std::get<ExpandAnswer>(step), context.srs, kNow);
  EXPECT_TRUE(answer.ok);
  return answer.text;
}

TEST(Explanation, Golden) {
  const char* update = getenv("HOLDFAST_UPDATE");
  int cases = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator("testdata/explain")) {
    if (entry.path().extension() != ".explain") continue;
    SCOPED_TRACE(entry.path().string());
    std::ifstream file(entry.path());
    const std::string text(std::istreambuf_iterator<char>(file), {});
    const std::vector<std::string> parts = absl::StrSplit(text, kLine);
    ASSERT_EQ(parts.size(), 3u);
    const auto config = Parse(parts[0]);
    ASSERT_NE(config, nullptr);
    const auto request = ParseExplainWords(
        absl::StrSplit(parts[1], absl::ByAnyChar(" \n"), absl::SkipEmpty()));
    ASSERT_TRUE(request.ok()) << request.status();
    const std::string answer = Explain(config, *request);
    EXPECT_EQ(answer, parts[2]);
    if (update != nullptr) {
      std::ofstream(absl::StrCat(update, "/", entry.path().filename().string()))
          << parts[0] << kLine << parts[1] << kLine << answer;
    }
    ++cases;
  }
  EXPECT_GE(cases, 8);
}

// joe is ninety addresses, each of which meets three hundred rules.
std::string ExplainMuch(size_t length) {
  std::string text = "table a { joe = \"";
  for (int i = 0; i < 90; ++i) absl::StrAppend(&text, "u", i, "@far.test,");
  absl::StrAppend(&text, "jim\" }\naction l mbox alias <a>\naction r relay\n");
  for (int i = 0; i < 300; ++i) {
    absl::StrAppend(&text, "match from any for domain \"",
                    std::string(length, 'x'), i, "\" action r\n");
  }
  absl::StrAppend(&text, "match from any for local action l\n",
                  "match for any action r\n");
  const auto config = Parse(text);
  const auto request = ParseExplainWords({"joe@mx.test"});
  return Explain(config, *request);
}

TEST(Explanation, VeryLongAnswersAreCut) {
  const std::string answer = ExplainMuch(5);
  EXPECT_NE(answer.find("(more than can be shown)\n"), std::string::npos);
  // What it comes to is there all the same.
  EXPECT_NE(answer.find("envelope 90: "), std::string::npos);
  EXPECT_NE(answer.find("reply: 250 "), std::string::npos);
  const std::string longer = ExplainMuch(200);
  EXPECT_LE(longer.size(), kMaxExplainBytes);
  EXPECT_NE(longer.find("\n(cut)\n"), std::string::npos);
  EXPECT_NE(longer.find("envelope 90: "), std::string::npos);
  EXPECT_NE(longer.find("reply: 250 "), std::string::npos);
}

TEST(ExplainWords, Mistakes) {
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{},
                                             {"joe", "like"},
                                             {"joe", "from"},
                                             {"joe", "from", ""},
                                             {"joe", "tls", "tls"},
                                             {"joe", "via", "a", "via", "b"}}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseExplainWords(words).status()));
  }
}

TEST(ExplainWords, Everything) {
  const auto request = ParseExplainWords(
      {"<joe@mx.test>", "from", "<>", "via", "ext", "src", "2001:db8::1",
       "rdns", "a.test", "helo", "b.test", "auth", "joe", "tls"});
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->about.rcpt.ToString(), "joe@mx.test");
  EXPECT_TRUE(request->about.sender.IsNull());
  EXPECT_EQ(request->listener, "ext");
  EXPECT_EQ(request->about.sockaddr, "[2001:db8::1]");
  EXPECT_EQ(request->about.rdns, "a.test");
  EXPECT_EQ(request->about.helo, "b.test");
  EXPECT_TRUE(request->about.authenticated && request->about.tls);
  EXPECT_EQ(request->about.username, "joe");
}

}  // namespace
}  // namespace holdfast
