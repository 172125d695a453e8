#include "ctl/store/archive_reader.h"

#include <archive.h>
#include <archive_entry.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "ctl/store/archive_writer.h"

namespace holdfast {
namespace {

constexpr size_t kPiece = 64 << 10;
constexpr size_t kMaxName = 64;

absl::Status Bad(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("archive: ", what));
}

}  // namespace

ArchiveReader::~ArchiveReader() {
  if (archive_ != nullptr) archive_read_free(archive_);
}

absl::Status ArchiveReader::Failed(absl::string_view what) {
  const char* why = archive_error_string(archive_);
  return Bad(absl::StrCat(what, why != nullptr ? ": " : "",
                          why != nullptr ? why : ""));
}

absl::Status ArchiveReader::Open(int fd) {
  archive_ = archive_read_new();
  if (archive_ == nullptr) return absl::InternalError("archive: no memory");
  if (archive_read_support_filter_zstd(archive_) != ARCHIVE_OK ||
      archive_read_support_format_tar(archive_) != ARCHIVE_OK ||
      archive_read_open_fd(archive_, fd, kPiece) != ARCHIVE_OK)
    return Failed("not an export");
  manifest_.Add(ManifestBegin());
  return absl::OkStatus();
}

absl::Status ArchiveReader::EndEntry() {
  if (!entry_) return absl::OkStatus();
  std::string rest;
  for (;;) {
    const absl::StatusOr<bool> more = Read(&rest);
    if (!more.ok()) return more.status();
    if (!*more) break;
    rest.clear();
  }
  if (read_ != entry_->size) return Bad(entry_->name + " is cut off");
  const std::string digest = digest_.TakeHex();
  if (listed_)
    manifest_.Add(ManifestEntry(std::exchange(first_, false), entry_->name,
                                entry_->size, digest));
  entry_.reset();
  return absl::OkStatus();
}

absl::StatusOr<std::optional<ArchiveReader::Entry>> ArchiveReader::Next() {
  for (;;) {
    const absl::Status status = EndEntry();
    if (!status.ok()) return status;
    struct archive_entry* header = nullptr;
    const int result = archive_read_next_header(archive_, &header);
    if (result == ARCHIVE_EOF) return Bad("it ends without its manifest");
    if (result != ARCHIVE_OK) return Failed("it can't be read");
    const char* name = archive_entry_pathname(header);
    const int64_t size = archive_entry_size(header);
    if (archive_entry_filetype(header) != AE_IFREG || name == nullptr ||
        archive_entry_hardlink(header) != nullptr || size < 0 ||
        static_cast<uint64_t>(size) > kMaxArchiveEntry ||
        absl::string_view(name).size() > kMaxName ||
        ++entries_ > kMaxArchiveEntries)
      return Bad("an entry that no export has");
    entry_ = Entry{name, static_cast<uint64_t>(size)};
    read_ = 0;
    listed_ = entry_->name != kAboutName && entry_->name != kManifestName;
    if (entry_->name == kManifestName) return ReadManifest();
    if (listed_) return entry_;
  }
}

absl::StatusOr<std::optional<ArchiveReader::Entry>>
ArchiveReader::ReadManifest() {
  manifest_.Add(ManifestEnd(messages_, envelopes_));
  const std::string wanted = manifest_.TakeHex();
  std::string piece;
  for (;;) {
    const absl::StatusOr<bool> more = Read(&piece);
    if (!more.ok()) return more.status();
    if (!*more) break;
    piece.clear();
  }
  manifest_digest_ = digest_.TakeHex();
  entry_.reset();
  if (manifest_digest_ != wanted)
    return Bad("it is damaged: what is in it is not what its manifest says");
  struct archive_entry* header = nullptr;
  if (archive_read_next_header(archive_, &header) != ARCHIVE_EOF)
    return Bad("something stands behind the manifest");
  return std::optional<Entry>();
}

absl::StatusOr<bool> ArchiveReader::Read(std::string* out) {
  char buffer[kPiece];
  const auto n = archive_read_data(archive_, buffer, sizeof buffer);
  if (n < 0) return Failed(entry_->name);
  read_ += static_cast<uint64_t>(n);
  if (read_ > entry_->size) return Bad(entry_->name + " is too long");
  digest_.Add({buffer, static_cast<size_t>(n)});
  out->append(buffer, static_cast<size_t>(n));
  return n > 0;
}

absl::StatusOr<std::string> ArchiveReader::ReadAll(size_t limit) {
  std::string all;
  for (;;) {
    const absl::StatusOr<bool> more = Read(&all);
    if (!more.ok()) return more.status();
    if (all.size() > limit) return Bad(entry_->name + " is too long");
    if (!*more) return all;
  }
}

}  // namespace holdfast
