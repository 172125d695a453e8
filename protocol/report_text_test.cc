#include "protocol/report_text.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using ::testing::HasSubstr;

constexpr char kSome[] = "[failed]\nx\n";

std::string Named(ReportVariable variable) {
  return absl::StrCat("<", static_cast<int>(variable), ">");
}

// The body of a section, rendered; "-": it is not there.
std::string Body(absl::string_view text,
                 ReportAction action = ReportAction::kFailed) {
  const auto parsed = ReportText::Parse(text);
  if (const auto* error = std::get_if<ReportTextError>(&parsed))
    return absl::StrCat(error->line, ": ", error->what);
  const ReportWords* words = std::get<ReportText>(parsed).For(action);
  return words == nullptr ? "-" : RenderReportBody(words->body, Named);
}

std::string Subject(absl::string_view text) {
  const auto parsed = ReportText::Parse(text);
  return RenderReportSubject(
      std::get<ReportText>(parsed).For(ReportAction::kFailed)->subject, Named);
}

TEST(ReportTextTest, SectionsAndTheirText) {
  const char text[] =
      "\n# A comment.\n[delayed]\n\n\n  One\n\n# text\ntwo\n\n\n[failed]\r\n"
      "Subject:  It failed \r\n\r\n%{smtpname}\r\n";
  EXPECT_EQ(Body(text, ReportAction::kDelayed), "  One\n\n# text\ntwo\n");
  EXPECT_EQ(Body(text), "<7>\n");
  EXPECT_EQ(Subject(text), "It failed");
  EXPECT_EQ(Body(text, ReportAction::kRelayed), "-");
}

TEST(ReportTextTest, ASubjectIsTheFirstLineOnly) {
  EXPECT_EQ(Body("[failed]\n\nSubject: x\n"), "Subject: x\n");
  EXPECT_EQ(Body("[failed]\nsubject: x\nSubject: y\n"), "Subject: y\n");
}

TEST(ReportTextTest, Variables) {
  EXPECT_EQ(Body("[failed]\n%{action}%{arrival}%{delay}%{envid}%{reason}"
                 "%{sender}%{smtpname}%{ttl}\n %{recipients}\n100 %%{x} %\n"),
            "<0><1><2><3><4><6><7><8>\n <5>\n100 %{x} %\n");
}

TEST(ReportTextTest, WhatIsWrongAndWhere) {
  EXPECT_EQ(Body(""), "1: no section");
  EXPECT_EQ(Body("# only\n"), "1: no section");
  EXPECT_EQ(Body("\nhello\n[failed]\nx\n"), "2: text before the first section");
  EXPECT_EQ(Body("[bounced]\nx\n"),
            "1: unknown section [bounced]: failed, delayed, delivered, "
            "relayed");
  EXPECT_EQ(Body("[failed]\nx\n[failed]\nx\n"), "3: second section [failed]");
  EXPECT_EQ(Body("\n[failed]\n\n[delayed]\nx\n"), "2: section without text");
  EXPECT_EQ(Body("[failed]\nSubject: x\n"), "1: section without text");
  EXPECT_EQ(Body("[failed]\nSubject:\nx\n"), "2: empty subject");
  EXPECT_EQ(Body("[failed]\nx\n%{reason\n"), "3: '%{' without '}'");
  EXPECT_THAT(Body("[failed]\n%{Reason}\n"),
              HasSubstr("2: unknown variable %{Reason}: action arrival "));
  EXPECT_EQ(Body("[failed]\nTo %{recipients}\n"),
            "2: %{recipients} must stand alone in a line of the text");
  EXPECT_EQ(Body("[failed]\nSubject: %{recipients}\nx\n"),
            "2: %{recipients} must stand alone in a line of the text");
  EXPECT_EQ(Body("[failed]\n%{recipients}\n%{recipients}\n"),
            "3: second %{recipients} in a section");
  for (const char* bad : {"\xff", "a\x1b[31m", "\xc3", "a\rb"})
    EXPECT_EQ(Body(absl::StrCat(kSome, bad, "\n")),
              "3: neither UTF-8 nor without control characters");
}

TEST(ReportTextTest, Limits) {
  const std::string line(ReportText::kMaxLine, 'x');
  EXPECT_EQ(Body(absl::StrCat("[failed]\n", line)), line + "\n");
  EXPECT_EQ(Body(absl::StrCat("[failed]\n", line, "x")),
            "2: line longer than 500 octets");
  std::string many = "[failed]\n";
  for (size_t i = 0; i < ReportText::kMaxVariables; ++i) many += "%{ttl}\n";
  EXPECT_EQ(Body(many).size(), 4 * ReportText::kMaxVariables);
  EXPECT_EQ(Body(many + "%{ttl}"), "66: more than 64 variables in a section");
  std::string large = kSome;
  while (large.size() < ReportText::kMaxBytes) large += "y\n";
  large.resize(ReportText::kMaxBytes);
  EXPECT_THAT(Body(large), HasSubstr("x\ny\n"));
  EXPECT_EQ(Body(large + "y"), "1: file larger than 32768 octets");
}

TEST(ReportTextTest, LongLinesAreCutBetweenCharacters) {
  std::string word;
  for (int i = 0; i < 1000; ++i) word += "\xe5\xb1\xb1";
  EXPECT_EQ(
      WrapLongLines(word + "\nx"),
      absl::StrCat(word.substr(0, 900), "\n", word.substr(900, 900), "\n",
                   word.substr(1800, 900), "\n", word.substr(2700), "\nx\n"));
  EXPECT_EQ(WrapLongLines(std::string(900, 'a') + "\n\nb\n"),
            std::string(900, 'a') + "\n\nb\n");
  EXPECT_EQ(WrapLongLines("a" + word).substr(0, 900),
            "a" + word.substr(0, 897) + "\n" + word[897]);
}

TEST(ReportTextTest, SubjectsAreEncodedWhereTheyMust) {
  EXPECT_EQ(Subject("[failed]\nSubject: a %{ttl}\nx\n"), "a <8>");
  EXPECT_EQ(Subject("[failed]\nSubject: =?x\nx\n"), "=?utf-8?B?PT94?=");
  EXPECT_EQ(Subject("[failed]\nSubject: a\tb\nx\n"), "a b");
  std::string hills;
  for (int i = 0; i < 130; ++i) hills += "\xe5\xb1\xb1";
  const std::string subject =
      Subject(absl::StrCat("[failed]\nSubject: ", hills, "\nx\n"));
  // Not more than kMaxReportSubject of it: six words of 15 characters and one
  // of ten.
  EXPECT_EQ(std::count(subject.begin(), subject.end(), '\n'), 6);
  EXPECT_THAT(subject, HasSubstr("?=\n =?utf-8?B?5bGx"));
}

}  // namespace
}  // namespace holdfast
