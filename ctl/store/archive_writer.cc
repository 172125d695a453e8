#include "ctl/store/archive_writer.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "ctl/control/whole_io.h"
#include "ctl/store/scratch_file.h"

namespace holdfast {

std::string ManifestBegin() {
  return "{\"format\": \"holdfast-queue-export\", \"version\": 1,\n"
         "\"entries\": [\n";
}

std::string ManifestEntry(bool first, absl::string_view name, uint64_t size,
                          const std::string& sha256) {
  return absl::StrCat(first ? "" : ",\n", "{\"name\": \"", name,
                      "\", \"size\": ", size, ", \"sha256\": \"", sha256,
                      "\"}");
}

std::string ManifestEnd(uint64_t messages, uint64_t envelopes) {
  return absl::StrCat("\n],\n\"messages\": ", messages,
                      ", \"envelopes\": ", envelopes, "}\n");
}

ArchiveWriter::~ArchiveWriter() {
  if (archive_ == nullptr) return;
  // Given up: no end is written.
  archive_write_fail(archive_);
  archive_write_free(archive_);
}

absl::Status ArchiveWriter::Failed(absl::string_view what) {
  const char* why = archive_error_string(archive_);
  return absl::InternalError(absl::StrCat("archive: ", what,
                                          why != nullptr ? ": " : "",
                                          why != nullptr ? why : ""));
}

absl::Status ArchiveWriter::Open(int fd) {
  absl::StatusOr<OwnedFd> scratch = ScratchFile();
  if (!scratch.ok()) return scratch.status();
  manifest_ = *std::move(scratch);
  archive_ = archive_write_new();
  if (archive_ == nullptr) return absl::InternalError("archive: no memory");
  if (archive_write_set_format_ustar(archive_) != ARCHIVE_OK ||
      archive_write_add_filter_zstd(archive_) != ARCHIVE_OK ||
      // No padding behind it, which zstd(1) takes for damage.
      archive_write_set_bytes_in_last_block(archive_, 1) != ARCHIVE_OK ||
      archive_write_open_fd(archive_, fd) != ARCHIVE_OK)
    return Failed("can't be begun");
  return Note(ManifestBegin());
}

absl::Status ArchiveWriter::Note(absl::string_view text) {
  if (!WriteAll(manifest_.get(), text))
    return absl::InternalError(absl::StrCat("manifest: ", strerror(errno)));
  manifest_bytes_ += text.size();
  return absl::OkStatus();
}

absl::Status ArchiveWriter::Begin(const std::string& name, uint64_t size,
                                  bool listed) {
  name_ = name;
  size_ = left_ = size;
  listed_ = listed;
  struct archive_entry* entry = archive_entry_new();
  archive_entry_set_pathname(entry, name.c_str());
  archive_entry_set_size(entry, static_cast<int64_t>(size));
  archive_entry_set_filetype(entry, AE_IFREG);
  archive_entry_set_perm(entry, 0600);
  archive_entry_set_mtime(entry, 0, 0);
  const int result = archive_write_header(archive_, entry);
  archive_entry_free(entry);
  return result == ARCHIVE_OK ? absl::OkStatus() : Failed(name);
}

absl::Status ArchiveWriter::Data(absl::string_view bytes) {
  if (bytes.size() > left_)
    return absl::DataLossError(absl::StrCat(name_, ": longer than it says"));
  left_ -= bytes.size();
  digest_.Add(bytes);
  while (!bytes.empty()) {
    const auto n = archive_write_data(archive_, bytes.data(), bytes.size());
    if (n <= 0) return Failed(name_);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

absl::Status ArchiveWriter::End() {
  if (left_ != 0)
    return absl::DataLossError(absl::StrCat(name_, ": shorter than it says"));
  const std::string digest = digest_.TakeHex();
  if (!listed_) return absl::OkStatus();
  return Note(
      ManifestEntry(std::exchange(first_, false), name_, size_, digest));
}

absl::Status ArchiveWriter::Add(const std::string& name,
                                absl::string_view bytes, bool listed) {
  absl::Status status = Begin(name, bytes.size(), listed);
  if (status.ok()) status = Data(bytes);
  return status.ok() ? End() : status;
}

absl::StatusOr<std::string> ArchiveWriter::Finish(uint64_t messages,
                                                  uint64_t envelopes) {
  absl::Status status = Note(ManifestEnd(messages, envelopes));
  if (status.ok() && lseek(manifest_.get(), 0, SEEK_SET) != 0)
    status = absl::InternalError("manifest: can't be read again");
  if (status.ok())
    status = Begin(std::string(kManifestName), manifest_bytes_, false);
  Sha256Stream digest;
  char buffer[65536];
  while (status.ok()) {
    const ssize_t n = read(manifest_.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return absl::InternalError("manifest: can't be read again");
    if (n == 0) break;
    digest.Add({buffer, static_cast<size_t>(n)});
    status = Data({buffer, static_cast<size_t>(n)});
  }
  if (status.ok()) status = End();
  if (!status.ok()) return status;
  if (archive_write_close(archive_) != ARCHIVE_OK) return Failed("its end");
  archive_write_free(archive_);
  archive_ = nullptr;
  return digest.TakeHex();
}

}  // namespace holdfast
