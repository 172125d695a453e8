#include "config/filter_use.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "config/parser.h"

namespace holdfast {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::shared_ptr<const Config> Parse(const std::string& lines) {
  ParseOptions options;
  options.path = "c";
  return ParseConfig(options,
                     [&](const std::string&) {
                       return absl::StrCat(
                           "proc p1 \"/p\"\nproc p2 \"/p\"\nproc p3 \"/p\"\n"
                           "filter a proc p1\nfilter b proc-exec \"/b\"\n"
                           "filter c proc p3\nfilter m milter \"/run/m\"\n"
                           "filter x phase connect match !rdns junk\n"
                           "filter both chain { a, x }\n",
                           lines, "match reject\n");
                     })
      .config;
}

TEST(FilterUse, NobodyUsesThem) {
  const auto config = Parse("listen on lo\naction r relay\n");
  EXPECT_THAT(FiltersInUse(*config), IsEmpty());
  EXPECT_THAT(ProcessorsInUse(*config), IsEmpty());
}

TEST(FilterUse, OfListeners) {
  const auto config =
      Parse("listen on lo filter both\nlisten on lo port 26 filter { b, m }\n");
  EXPECT_THAT(FiltersInUse(*config),
              ElementsAre("<dynchain:00000000>", "a", "b", "both", "m", "x"));
  EXPECT_THAT(ProcessorsInUse(*config), ElementsAre("b", "p1"));
}

TEST(FilterUse, OfTheSocketAndOfRelays) {
  EXPECT_THAT(FiltersInUse(*Parse("listen on socket filter m\n")),
              ElementsAre("m"));
  const auto relay = Parse("action r relay filter c\naction s relay\n");
  EXPECT_THAT(FiltersInUse(*relay), ElementsAre("c"));
  EXPECT_THAT(ProcessorsInUse(*relay), ElementsAre("p3"));
}

TEST(FilterUse, TheFolder) {
  EXPECT_EQ(FilterFolder(PathsBelow("/srv/mail")), "/srv/mail/filters");
}

}  // namespace
}  // namespace holdfast
