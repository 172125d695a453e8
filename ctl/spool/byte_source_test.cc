#include "ctl/spool/byte_source.h"

#include <gtest/gtest.h>

#include "absl/strings/escaping.h"

namespace holdfast {
namespace {

// What OpenSSL makes of "hello, sealed queue\n" with this key: 1, the nonce
// 000102...0b, the text, the tag.
constexpr char kKey[] = "0123456789abcdef0123456789abcdef";
constexpr char kSealed[] =
    "01000102030405060708090a0b4580d710b634f2dfcdbd1ddb15efa071837d668dbdb46f7c"
    "f4810d42ed68abb2a21bf14a";
// gzip of the same text.
constexpr char kPacked[] =
    "1f8b0800000000000203cb48cdc9c9d751284e4dcc494d51282c4d2d4de5020071be4b7514"
    "000000";
constexpr char kText[] = "hello, sealed queue\n";

// One octet at a time.
class SlowSource : public ByteSource {
 public:
  explicit SlowSource(std::string text) : text_(std::move(text)) {}
  absl::StatusOr<bool> Read(std::string* out) override {
    if (at_ == text_.size()) return false;
    out->push_back(text_[at_++]);
    return true;
  }

 private:
  const std::string text_;
  size_t at_ = 0;
};

std::string Bytes(absl::string_view hex) { return absl::HexStringToBytes(hex); }

absl::StatusOr<std::string> Unsealed(const std::string& bytes,
                                     absl::string_view key = kKey) {
  UnsealedSource source(std::make_unique<SlowSource>(bytes), key);
  return ReadWhole(&source, 1000);
}

absl::StatusOr<std::string> Unpacked(const std::string& bytes) {
  GunzipSource source(std::make_unique<SlowSource>(bytes));
  return ReadWhole(&source, 1000);
}

TEST(UnsealedSourceTest, OpensWhatOpensmtpdSeals) {
  const auto text = Unsealed(Bytes(kSealed));
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(*text, kText);
}

TEST(UnsealedSourceTest, EveryChangedOctetAndEveryCutIsFound) {
  const std::string sealed = Bytes(kSealed);
  for (size_t i = 0; i < sealed.size(); ++i) {
    std::string changed = sealed;
    changed[i] ^= 1;
    EXPECT_FALSE(Unsealed(changed).ok()) << i;
    EXPECT_FALSE(Unsealed(sealed.substr(0, i)).ok()) << i;
  }
  EXPECT_FALSE(Unsealed(sealed + "x").ok());
  EXPECT_FALSE(Unsealed(sealed, "1123456789abcdef0123456789abcdef").ok());
  EXPECT_FALSE(Unsealed(sealed, "short").ok());
}

TEST(GunzipSourceTest, ExpandsAndKnowsWhatIsMissing) {
  const std::string packed = Bytes(kPacked);
  const auto text = Unpacked(packed);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(*text, kText);
  for (size_t i = 0; i < packed.size(); ++i)
    EXPECT_FALSE(Unpacked(packed.substr(0, i)).ok()) << i;
  EXPECT_FALSE(Unpacked(packed + "x").ok());
}

TEST(ReadWholeTest, MoreThanTheLimitIsAnError) {
  TextSource fits("12345"), long_text("123456");
  EXPECT_TRUE(ReadWhole(&fits, 5).ok());
  EXPECT_FALSE(ReadWhole(&long_text, 5).ok());
}

}  // namespace
}  // namespace holdfast
