#include "ctl/control/message_output.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using Form = MessageOutput::Form;

std::string InPieces(Form form, absl::string_view text, size_t size) {
  MessageOutput output(form);
  std::string out;
  for (size_t at = 0; at < text.size(); at += size)
    out += output.Take(text.substr(at, size));
  return out;
}

TEST(MessageOutput, Forms) {
  const absl::string_view text = "A: b\n c\nD: e\n\nbody\n\nmore\n";
  for (const size_t size : {1, 2, 5, 100}) {
    EXPECT_EQ(InPieces(Form::kWhole, text, size), text);
    EXPECT_EQ(InPieces(Form::kHeaders, text, size), "A: b\n c\nD: e\n");
    EXPECT_EQ(InPieces(Form::kRaw, text, size),
              "A: b\r\n c\r\nD: e\r\n\r\nbody\r\n\r\nmore\r\n");
  }
  EXPECT_EQ(InPieces(Form::kHeaders, "\nbody\n", 1), "");
  EXPECT_EQ(InPieces(Form::kHeaders, "A: b", 1), "A: b");
}

TEST(MessageOutput, Words) {
  std::vector<std::string> words = {"show", "message", "0000000a", "--raw"};
  EXPECT_EQ(MessageOutput::TakeForm(&words), Form::kRaw);
  EXPECT_THAT(words, testing::ElementsAre("show", "message", "0000000a"));
  EXPECT_EQ(MessageOutput::TakeForm(&words), Form::kWhole);
  words.push_back("--headers");
  EXPECT_EQ(MessageOutput::TakeForm(&words), Form::kHeaders);
  words = {"show", "queue", "0000000a", "--raw"};
  EXPECT_EQ(MessageOutput::TakeForm(&words), Form::kWhole);
  EXPECT_EQ(words.size(), 4u);
}

}  // namespace
}  // namespace holdfast
