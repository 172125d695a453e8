// A message's body as it is stored: compressed with zstd where that gains
// something, cut into chunks, with a digest of the raw bytes.
//
// Who takes a message in uses BodyCompressor (or CompressBody(), if all of it
// is at hand and small); who gives it on uses BodyDecompressor.  Neither holds
// more than a fixed amount of memory, whatever the size of the body, and the
// decompressor trusts nothing but its own limits: `raw_bytes` as declared is a
// limit, a frame that asks for a larger window than ours is refused.
//
// Not safe for use by several threads at once; different objects are
// independent.
#ifndef HOLDFAST_STORAGE_BODY_CODEC_H_
#define HOLDFAST_STORAGE_BODY_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "protocol/body_info.h"

namespace holdfast {

// A body up to this size is compressed in one call and is one chunk.
inline constexpr size_t kSmallBodyBytes = 64 << 10;

// Pieces of larger bodies: all but the last have exactly this size.
// storage/FORMAT.md says how it was chosen.
inline constexpr size_t kBodyChunkBytes = 32 << 10;

// No chunk is larger; a small body that does not shrink is the largest.
inline constexpr size_t kMaxChunkBytes = kSmallBodyBytes;

// log2 of the zstd window: 128 KiB, which bounds the memory of both sides.
inline constexpr int kBodyWindowLog = 17;

inline constexpr int kBodyZstdLevel = 1;

struct CompressedBody {
  BodyInfo info;
  // All chunks that have not been handed out before, at least one.  When
  // info.chunks == 1 it goes into AcceptMessage::stored.
  std::vector<std::string> chunks;
};

// What `raw` (at most kSmallBodyBytes) becomes: one chunk.  Uses a context that
// is shared by all calls on this thread.
struct SmallBody {
  BodyInfo info;
  std::string stored;
};
SmallBody CompressBody(absl::string_view raw);

// Whether the header of a message, which comes in pieces, has octets above 127.
class HeaderScan {
 public:
  void Add(absl::string_view raw);
  bool eight_bit() const { return eight_bit_; }

 private:
  bool line_empty_ = true;  // so far
  bool done_ = false;
  bool eight_bit_ = false;
};

// Digest, lines and octets above 127, of raw bytes that come in pieces.
class BodyCounter {
 public:
  BodyCounter();
  ~BodyCounter();
  BodyCounter(BodyCounter&&) noexcept;
  BodyCounter& operator=(BodyCounter&&) noexcept;

  void Add(absl::string_view raw);
  uint64_t bytes() const { return bytes_; }
  uint64_t digest() const;
  uint32_t lines() const { return lines_; }
  bool eight_bit() const { return eight_bit_; }
  bool header_eight_bit() const { return header_.eight_bit(); }

 private:
  struct State;
  std::unique_ptr<State> state_;
  uint64_t bytes_ = 0;
  uint32_t lines_ = 0;
  bool eight_bit_ = false;
  HeaderScan header_;
};

// One body whose size is not known.  The first kSmallBodyBytes are held raw; a
// body that ends there is compressed in one call.  Else they decide whether
// this body shrinks or is stored raw, and chunks come out as they are filled.
class BodyCompressor {
 public:
  BodyCompressor();
  ~BodyCompressor();
  BodyCompressor(BodyCompressor&&) noexcept;
  BodyCompressor& operator=(BodyCompressor&&) noexcept;

  // Takes raw bytes; what chunks are full now, mostly none.  Their indexes go
  // on from 0.
  std::vector<std::string> Write(absl::string_view raw);

  // The end.  The object is not used after it.
  CompressedBody Finish();

  uint64_t raw_bytes() const { return raw_bytes_; }

 private:
  struct Stream;

  void StartStream();
  void Feed(absl::string_view raw, bool end, std::vector<std::string>* out);

  uint64_t raw_bytes_ = 0;
  std::string held_;                // until there is a stream
  std::unique_ptr<Stream> stream_;  // null: small so far
};

// Gives a stored body back.  Feed it one chunk after the other, each when
// Read() asks for it:
//
//   BodyDecompressor body(info);
//   for (;;) {
//     auto state = body.Read(16384, &out);   // bounded, whatever the input
//     if (!state.ok()) ...                   // damaged
//     if (*state == BodyDecompressor::kNeedsChunk) body.Feed(next chunk);
//     if (*state == BodyDecompressor::kEnd) break;
//   }
class BodyDecompressor {
 public:
  enum Progress {
    kMore,        // `limit` was reached
    kNeedsChunk,  // Feed() and Read() again
    kEnd,         // all is there, and size and digest are right
  };

  explicit BodyDecompressor(const BodyInfo& info);
  ~BodyDecompressor();
  BodyDecompressor(BodyDecompressor&&) noexcept;
  BodyDecompressor& operator=(BodyDecompressor&&) noexcept;

  // The next chunk.  Only after kNeedsChunk.
  void Feed(std::string chunk);

  // Appends at most `limit` (> 0) raw bytes to `*out`.  kDataLoss: not what
  // `info` says; bytes given out before are then not to be trusted.
  absl::StatusOr<Progress> Read(size_t limit, std::string* out);

  // How many chunks were fed.
  uint32_t chunks_fed() const { return chunks_fed_; }

 private:
  struct Stream;

  absl::Status Step(size_t limit, std::string* out);
  absl::StatusOr<Progress> CheckEnd();

  BodyInfo info_;
  BodyCounter counter_;
  std::unique_ptr<Stream> stream_;  // null if stored raw
  std::string chunk_;
  size_t chunk_at_ = 0;  // consumed of chunk_
  uint32_t chunks_fed_ = 0;
  uint64_t stored_fed_ = 0;
  bool frame_ended_ = false;
  bool drained_ = false;  // all that the chunks fed so far hold was read
};

// All of a body of one chunk.  kDataLoss as above.
absl::StatusOr<std::string> ExpandBody(const BodyInfo& info,
                                       absl::string_view stored);

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_BODY_CODEC_H_
