#include "protocol/filter_text.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "protocol/filter_lines.h"

namespace holdfast {
namespace {

std::string Encode(absl::string_view text, size_t piece) {
  FilterTextEncoder encoder;
  std::string out;
  for (size_t at = 0; at < text.size(); at += piece)
    EXPECT_TRUE(encoder.Append(text.substr(at, piece), "p|", &out));
  encoder.Finish("p|", &out);
  EXPECT_EQ(encoder.held(), 0u);
  return out;
}

TEST(FilterText, LinesBehindAPrefixWithDotsStuffed) {
  for (size_t piece = 1; piece < 20; ++piece) {
    EXPECT_EQ(Encode("Subject: x\n\n.\n..\n.dot\nlast\n", piece),
              "p|Subject: x\np|\np|..\np|...\np|..dot\np|last\np|.\n");
  }
}

TEST(FilterText, ALastLineWithoutEndIsCompleted) {
  EXPECT_EQ(Encode("a\nb", 100), "p|a\np|b\np|.\n");
  EXPECT_EQ(Encode("", 1), "p|.\n");
}

TEST(FilterText, WhatAFilterPassesThroughIsTheSameText) {
  const std::string text = "a\n.\n..b\n\n. \nc|d\n";
  std::vector<std::string> lines = absl::StrSplit(Encode(text, 3), '\n');
  ASSERT_EQ(lines.back(), "");
  lines.pop_back();
  EXPECT_TRUE(IsFilterTextEnd(lines.back().substr(2)));
  lines.pop_back();
  std::string back;
  for (const std::string& line : lines) {
    EXPECT_FALSE(IsFilterTextEnd(line.substr(2)));
    AppendFilterText(line.substr(2), &back);
  }
  EXPECT_EQ(back, text);
}

TEST(FilterText, NoLineIsLongerThanTheLimit) {
  const std::string most(kMaxFilterLine, 'x');
  std::string out;
  FilterTextEncoder encoder;
  EXPECT_TRUE(encoder.Append(most, "", &out));
  EXPECT_EQ(encoder.held(), kMaxFilterLine);
  EXPECT_EQ(out, "");
  EXPECT_TRUE(encoder.Append("\n", "", &out));
  EXPECT_EQ(out, most + "\n");
  EXPECT_TRUE(encoder.Append(most, "", &out));
  EXPECT_FALSE(encoder.Append("x", "", &out));
  FilterTextEncoder whole;
  EXPECT_FALSE(whole.Append(most + "x\n", "", &out));
}

}  // namespace
}  // namespace holdfast
