#include "storage/figures_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/store_for_test.h"

namespace holdfast {
namespace {

using ::testing::HasSubstr;

TEST(FiguresTextTest, BothForms) {
  StoreFigures f;
  f.file_bytes = 8'000'000;
  f.end_pages = 200;
  f.used_pages = 150;
  f.behind = 7;
  f.sampled = 3;
  f.raw_bytes = 1000;
  f.stored_bytes = 470;
  f.tables = {{"messages", 3, 1}, {"bodies", 5, 9}};
  const std::string text = FiguresText(f, false);
  EXPECT_THAT(text, HasSubstr("free-pages 50\n"));
  EXPECT_THAT(text, HasSubstr("fragmentation 25.0%\n"));
  EXPECT_THAT(text, HasSubstr("compression 47.0%\n"));
  EXPECT_THAT(text, HasSubstr("oldest-reader-behind 7\n"));
  EXPECT_THAT(text, HasSubstr("table bodies rows 5 pages 9\n"));
  const std::string json = FiguresText(f, true);
  EXPECT_THAT(json, HasSubstr("\"fragmentation\":0.2500,"));
  EXPECT_THAT(json,
              HasSubstr("\"tables\":{\"messages\":{\"rows\":3,\"pages\":1}"
                        ",\"bodies\":{\"rows\":5,\"pages\":9}}}\n"));
  EXPECT_THAT(FiguresText({}, true), HasSubstr("\"compression\":0.0000"));
}

TEST(FiguresTextTest, OfAStore) {
  StoreForTest store;
  ASSERT_TRUE(store.Open().ok());
  for (uint32_t i = 1; i <= 10; ++i)
    ASSERT_TRUE(
        store.RunOne(MakeMessage(MessageId{i}, 2, std::string(10'000, 'x')))
            .status.ok());
  const StoreFigures f = store.View()->Figures();
  EXPECT_EQ(f.sampled, 10u);
  EXPECT_EQ(f.raw_bytes, 100'000u);
  EXPECT_LT(f.stored_bytes, 10'000u);
  EXPECT_GT(f.used_pages, 10u);
  EXPECT_GE(f.end_pages, f.used_pages);
  EXPECT_GE(f.file_bytes, f.end_pages * f.page_bytes);
  EXPECT_EQ(f.readers, 1u);
  EXPECT_EQ(f.behind, 0u);
  // A view that is kept falls behind.
  const auto old = store.View();
  for (uint32_t i = 11; i <= 13; ++i)
    ASSERT_TRUE(store.RunOne(MakeMessage(MessageId{i}, 1, "x")).status.ok());
  const StoreFigures later = store.View()->Figures();
  EXPECT_EQ(later.readers, 2u);
  EXPECT_GE(later.behind, 3u);
}

}  // namespace
}  // namespace holdfast
