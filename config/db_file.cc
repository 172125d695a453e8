#include "config/db_file.h"

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "config/expansion_items.h"

namespace holdfast {
namespace {

// The format, as far as it is read here: all pages have one size, page 0 is the
// description, and a hash page has an index of 16-bit offsets behind its
// header, two items (key, value) for each entry.  Items are laid from the end
// of the page downwards, each as long as the way to the one before it.
constexpr uint32_t kHashMagic = 0x061561;
constexpr uint32_t kBtreeMagic = 0x053162;
constexpr uint32_t kOldestVersion = 7;
constexpr uint32_t kNewestVersion = 10;
constexpr uint32_t kSmallestPage = 512;
constexpr uint32_t kLargestPage = 64 << 10;

// Of the description.
constexpr size_t kMetaMagic = 12;
constexpr size_t kMetaVersion = 16;
constexpr size_t kMetaPageSize = 20;
constexpr size_t kMetaEncryption = 24;
constexpr size_t kMetaType = 25;
constexpr size_t kMetaFlags = 26;
constexpr uint8_t kMetaFlagChecksum = 1;
constexpr size_t kMetaLastPage = 32;
constexpr size_t kMetaBytes = 72;

// Of a page.
constexpr size_t kPageNext = 16;
constexpr size_t kPageEntries = 20;
constexpr size_t kPageFree = 22;  // on overflow pages: bytes that are used
constexpr size_t kPageType = 25;
constexpr size_t kPageHeader = 26;
constexpr size_t kPageHeaderWithChecksum = 32;

enum PageType : uint8_t {
  kHashUnsorted = 2,
  kOverflow = 7,
  kHashMeta = 8,
  kHash = 13,
};
enum ItemType : uint8_t { kKeyData = 1, kOffPage = 3 };
constexpr size_t kOffPageBytes = 12;

class DbFile {
 public:
  explicit DbFile(absl::string_view bytes) : bytes_(bytes) {}

  absl::StatusOr<std::shared_ptr<const TableContents>> Read() {
    absl::Status status = ReadMeta();
    builder_.Reserve(bytes_.size() / 2);
    for (uint64_t page = 1; status.ok() && page <= last_page_; ++page) {
      const uint8_t type = Byte(Start(page) + kPageType);
      if (type == kHash || type == kHashUnsorted) {
        status = ReadPage(Start(page));
      }
    }
    if (!status.ok()) return status;
    return builder_.Finish();
  }

 private:
  static absl::Status Damaged(absl::string_view what) {
    return absl::DataLossError(
        absl::StrCat("damaged Berkeley DB file: ", what));
  }

  // Of the file; who asks has checked that it is there.
  uint8_t Byte(size_t at) const { return static_cast<uint8_t>(bytes_[at]); }
  uint16_t Half(size_t at) const {
    const uint16_t low = Byte(at + (big_ ? 1 : 0));
    const uint16_t high = Byte(at + (big_ ? 0 : 1));
    return static_cast<uint16_t>(high << 8 | low);
  }
  uint32_t Word(size_t at) const {
    const uint32_t low = Half(at + (big_ ? 2 : 0));
    const uint32_t high = Half(at + (big_ ? 0 : 2));
    return high << 16 | low;
  }
  size_t Start(uint64_t page) const { return page * page_size_; }

  absl::Status ReadMeta() {
    if (bytes_.size() < kMetaBytes) {
      return absl::InvalidArgumentError("not a Berkeley DB hash file");
    }
    if (!HasMagic(kHashMagic)) {
      return absl::InvalidArgumentError(
          HasMagic(kBtreeMagic) ? "a Berkeley DB btree file, not a hash file"
                                : "not a Berkeley DB hash file");
    }
    const uint32_t version = Word(kMetaVersion);
    if (version < kOldestVersion || version > kNewestVersion) {
      return absl::InvalidArgumentError(absl::StrCat(
          "unknown version ", version, " of the Berkeley DB hash format"));
    }
    if (Byte(kMetaEncryption) != 0) {
      return absl::InvalidArgumentError("an encrypted Berkeley DB file");
    }
    page_size_ = Word(kMetaPageSize);
    if (page_size_ < kSmallestPage || page_size_ > kLargestPage ||
        (page_size_ & (page_size_ - 1)) != 0) {
      return Damaged("page size");
    }
    if (Byte(kMetaType) != kHashMeta) return Damaged("description");
    last_page_ = Word(kMetaLastPage);
    if (Start(last_page_ + 1) > bytes_.size()) {
      return Damaged("shorter than it says");
    }
    header_ = (Byte(kMetaFlags) & kMetaFlagChecksum) != 0
                  ? kPageHeaderWithChecksum
                  : kPageHeader;
    return absl::OkStatus();
  }

  // In one of the byte orders, which is then the file's.
  bool HasMagic(uint32_t magic) {
    for (const bool big : {false, true}) {
      big_ = big;
      if (Word(kMetaMagic) == magic) return true;
    }
    return false;
  }

  absl::Status ReadPage(size_t page) {
    const size_t entries = Half(page + kPageEntries);
    if (header_ + 2 * entries > page_size_ || entries % 2 != 0) {
      return Damaged("index of a page");
    }
    size_t end = page_size_;
    std::string texts[2];
    for (size_t i = 0; i < entries; ++i) {
      const size_t at = Half(page + header_ + 2 * i);
      if (at < header_ + 2 * entries || at >= end) {
        return Damaged("item outside its page");
      }
      absl::Status status = ReadItem(page + at, end - at, &texts[i % 2]);
      if (!status.ok()) return status;
      end = at;
      if (i % 2 == 0) continue;
      if (!builder_.Add(texts[0], texts[1])) {
        return absl::ResourceExhaustedError("too large");
      }
      if (!IsExpansion(texts[1])) builder_.NoteBadAlias(texts[0], 0);
    }
    return absl::OkStatus();
  }

  absl::Status ReadItem(size_t at, size_t size, std::string* text) {
    switch (Byte(at)) {
      case kKeyData:
        text->assign(bytes_.data() + at + 1, size - 1);
        break;
      case kOffPage: {
        if (size < kOffPageBytes) return Damaged("item");
        absl::Status status = ReadOverflow(Word(at + 4), Word(at + 8), text);
        if (!status.ok()) return status;
        break;
      }
      default:
        return absl::InvalidArgumentError(
            "a Berkeley DB file with several values of one key");
    }
    if (!text->empty() && text->back() == '\0') text->pop_back();
    return absl::OkStatus();
  }

  // `length` bytes in a chain of pages.  Each page belongs to one chain, so
  // that all of them together are never longer than the file; that is what ends
  // a chain that goes round.
  absl::Status ReadOverflow(uint64_t page, size_t length, std::string* text) {
    text->clear();
    while (text->size() < length) {
      if (page == 0 || page > last_page_ ||
          Byte(Start(page) + kPageType) != kOverflow) {
        return Damaged("chain of pages");
      }
      const size_t used = Half(Start(page) + kPageFree);
      overflow_ += page_size_;
      if (used == 0 || header_ + used > page_size_ ||
          overflow_ > bytes_.size()) {
        return Damaged("chain of pages");
      }
      text->append(bytes_.data() + Start(page) + header_, used);
      page = Word(Start(page) + kPageNext);
    }
    if (text->size() != length) return Damaged("chain of pages");
    return absl::OkStatus();
  }

  const absl::string_view bytes_;
  bool big_ = false;  // byte order
  uint32_t page_size_ = 0;
  uint64_t last_page_ = 0;
  size_t header_ = kPageHeader;
  size_t overflow_ = 0;  // bytes of overflow pages that were read
  TableContents::Builder builder_{TableContents::Kind::kMap};
};

}  // namespace

absl::StatusOr<std::shared_ptr<const TableContents>> ParseDbFile(
    absl::string_view path, absl::string_view bytes) {
  absl::StatusOr<std::shared_ptr<const TableContents>> read =
      DbFile(bytes).Read();
  if (read.ok()) return read;
  return absl::Status(read.status().code(),
                      absl::StrCat(path, ": ", read.status().message()));
}

}  // namespace holdfast
