#include "ctl/spool/byte_source.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/crypto/gcm_stream.h"

namespace holdfast {

absl::StatusOr<bool> TextSource::Read(std::string* out) {
  if (text_.empty()) return false;
  const absl::string_view piece = text_.substr(0, kSourcePiece);
  absl::StrAppend(out, piece);
  text_.remove_prefix(piece.size());
  return true;
}

absl::StatusOr<bool> FileSource::Read(std::string* out) {
  char buffer[kSourcePiece];
  for (;;) {
    const ssize_t n = read(fd_, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return absl::DataLossError(strerror(errno));
    out->append(buffer, static_cast<size_t>(n));
    return n > 0;
  }
}

// ---- UnsealedSource

struct UnsealedSource::State {
  std::unique_ptr<ByteSource> sealed;
  std::string key;
  GcmOpener opener;
  // What came and may be the tag.
  std::string held;
  enum class At { kHead, kText, kEnd } at = At::kHead;
};

namespace {

constexpr size_t kSealHead = 1 + GcmOpener::kNonceBytes;
constexpr char kSealVersion = 1;

absl::Status NotSealed() {
  return absl::DataLossError(
      "it can't be decrypted: another key, or it is damaged");
}

}  // namespace

UnsealedSource::UnsealedSource(std::unique_ptr<ByteSource> sealed,
                               absl::string_view key)
    : state_(std::make_unique<State>()) {
  state_->sealed = std::move(sealed);
  state_->key = std::string(key);
}

UnsealedSource::~UnsealedSource() {
  explicit_bzero(state_->key.data(), state_->key.size());
}

absl::StatusOr<bool> UnsealedSource::Read(std::string* out) {
  State& s = *state_;
  if (s.at == State::At::kEnd) return false;
  const size_t head = s.at == State::At::kHead ? kSealHead : 0;
  while (s.held.size() <= head + GcmOpener::kTagBytes) {
    const absl::StatusOr<bool> more = s.sealed->Read(&s.held);
    if (!more.ok()) return more;
    if (*more) continue;
    if (s.held.size() < head + GcmOpener::kTagBytes) return NotSealed();
    break;
  }
  absl::string_view held = s.held;
  if (s.at == State::At::kHead) {
    if (held[0] != kSealVersion ||
        !s.opener.Begin(s.key, held.substr(1, GcmOpener::kNonceBytes)))
      return NotSealed();
    held.remove_prefix(kSealHead);
    s.at = State::At::kText;
  }
  const absl::string_view tag = held.substr(held.size() - GcmOpener::kTagBytes);
  held.remove_suffix(tag.size());
  if (!held.empty()) {
    if (!s.opener.Add(held, out)) return NotSealed();
    s.held = std::string(tag);
    return true;
  }
  if (!s.opener.Finish(tag)) return NotSealed();
  s.at = State::At::kEnd;
  return false;
}

// ---- GunzipSource

struct GunzipSource::State {
  std::unique_ptr<ByteSource> packed;
  std::string held;  // came, not expanded yet
  z_stream stream = {};
  bool ready = false, ended = false;
};

namespace {

// Window of 32 KiB; a gzip header is expected.
constexpr int kGzipWindow = 15 + 16;

}  // namespace

GunzipSource::GunzipSource(std::unique_ptr<ByteSource> packed)
    : state_(std::make_unique<State>()) {
  state_->packed = std::move(packed);
  state_->ready = inflateInit2(&state_->stream, kGzipWindow) == Z_OK;
}

GunzipSource::~GunzipSource() {
  if (state_->ready) inflateEnd(&state_->stream);
}

absl::StatusOr<bool> GunzipSource::Read(std::string* out) {
  State& s = *state_;
  if (!s.ready) return absl::ResourceExhaustedError("gzip: no memory");
  while (!s.ended) {
    if (s.held.empty()) {
      const absl::StatusOr<bool> more = s.packed->Read(&s.held);
      if (!more.ok()) return more;
      if (!*more) return absl::DataLossError("gzip: it ends too early");
      if (s.held.empty()) continue;
    }
    char buffer[kSourcePiece];
    s.stream.next_in = reinterpret_cast<Bytef*>(s.held.data());
    s.stream.avail_in = static_cast<uInt>(s.held.size());
    s.stream.next_out = reinterpret_cast<Bytef*>(buffer);
    s.stream.avail_out = sizeof buffer;
    const int result = inflate(&s.stream, Z_NO_FLUSH);
    if (result != Z_OK && result != Z_STREAM_END)
      return absl::DataLossError("gzip: damaged");
    s.held.erase(0, s.held.size() - s.stream.avail_in);
    s.ended = result == Z_STREAM_END;
    const size_t got = sizeof buffer - s.stream.avail_out;
    out->append(buffer, got);
    if (got > 0) return true;
  }
  // What lies below has its own end to prove.
  std::string rest = std::exchange(s.held, "");
  while (rest.empty()) {
    const absl::StatusOr<bool> more = s.packed->Read(&rest);
    if (!more.ok()) return more;
    if (!*more) return false;
  }
  return absl::DataLossError("gzip: something stands behind it");
}

absl::StatusOr<std::string> ReadWhole(ByteSource* source, size_t limit) {
  std::string all;
  for (;;) {
    const absl::StatusOr<bool> more = source->Read(&all);
    if (!more.ok()) return more.status();
    if (all.size() > limit) return absl::DataLossError("it is too long");
    if (!*more) return all;
  }
}

}  // namespace holdfast
