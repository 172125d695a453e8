#include "storage/body_codec.h"

#define XXH_INLINE_ALL
#include <xxhash.h>
#include <zstd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace holdfast {
namespace {

// Idle contexts kept for the next body, of about 0.4 MiB each.
constexpr size_t kIdleContexts = 16;

struct FreeContext {
  void operator()(ZSTD_CCtx* c) const { ZSTD_freeCCtx(c); }
  void operator()(ZSTD_DCtx* c) const { ZSTD_freeDCtx(c); }
};
using CompressContext = std::unique_ptr<ZSTD_CCtx, FreeContext>;
using ExpandContext = std::unique_ptr<ZSTD_DCtx, FreeContext>;

CompressContext MakeContext(ZSTD_CCtx*) {
  CompressContext context(ZSTD_createCCtx());
  // Only fails when out of memory, which nothing here survives.
  if (context == nullptr) std::abort();
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel,
                         kBodyZstdLevel);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_windowLog, kBodyWindowLog);
  return context;
}

ExpandContext MakeContext(ZSTD_DCtx*) {
  ExpandContext context(ZSTD_createDCtx());
  if (context == nullptr) std::abort();
  ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, kBodyWindowLog);
  return context;
}

void ResetContext(ZSTD_CCtx* c) { ZSTD_CCtx_reset(c, ZSTD_reset_session_only); }
void ResetContext(ZSTD_DCtx* c) { ZSTD_DCtx_reset(c, ZSTD_reset_session_only); }

// Contexts that no body uses at the moment.
template <class Context>
class ContextPool {
 public:
  using Pointer = std::unique_ptr<Context, FreeContext>;

  static ContextPool& Get() {
    static ContextPool* const pool = new ContextPool;
    return *pool;
  }

  Pointer Take() {
    {
      absl::MutexLock lock(&mutex_);
      if (!idle_.empty()) {
        Pointer context = std::move(idle_.back());
        idle_.pop_back();
        return context;
      }
    }
    return MakeContext(static_cast<Context*>(nullptr));
  }

  void Give(Pointer context) {
    if (context == nullptr) return;
    ResetContext(context.get());
    absl::MutexLock lock(&mutex_);
    if (idle_.size() < kIdleContexts) idle_.push_back(std::move(context));
  }

 private:
  absl::Mutex mutex_;
  std::vector<Pointer> idle_ ABSL_GUARDED_BY(mutex_);
};

uint64_t Load64(const char* p) {
  uint64_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

struct OctetCounts {
  uint64_t lines = 0;
  bool eight_bit = false;
};

// Eight octets at a time.
OctetCounts CountOctets(absl::string_view raw) {
  constexpr uint64_t kLow7 = 0x7f7f7f7f7f7f7f7f;
  constexpr uint64_t kLineFeeds = 0x0a0a0a0a0a0a0a0a;
  OctetCounts counts;
  uint64_t seen = 0;
  const char* p = raw.data();
  size_t left = raw.size();
  for (; left >= 8; p += 8, left -= 8) {
    const uint64_t octets = Load64(p);
    seen |= octets;
    const uint64_t x = octets ^ kLineFeeds;
    // The top bit of each octet of `x` that is zero.
    const uint64_t zero = ~(((x & kLow7) + kLow7) | x | kLow7);
    counts.lines += static_cast<uint64_t>(__builtin_popcountll(zero));
  }
  for (; left > 0; ++p, --left) {
    seen |= static_cast<uint8_t>(*p);
    counts.lines += *p == '\n';
  }
  counts.eight_bit = (seen & ~kLow7) != 0;
  return counts;
}

// Compresses to fewer bytes than `raw` has, or not at all.
bool CompressSmaller(absl::string_view raw, std::string* out) {
  if (raw.size() < 2) return false;
  thread_local CompressContext context =
      MakeContext(static_cast<ZSTD_CCtx*>(nullptr));
  thread_local std::string scratch;
  if (scratch.size() < raw.size()) scratch.resize(raw.size());
  // Too little room for the result is how zstd says that it did not shrink.
  const size_t size = ZSTD_compress2(context.get(), scratch.data(),
                                     raw.size() - 1, raw.data(), raw.size());
  if (ZSTD_isError(size)) return false;
  out->assign(scratch.data(), size);
  return true;
}

}  // namespace

void HeaderScan::Add(absl::string_view raw) {
  if (done_) return;
  for (const char c : raw) {
    if (c == '\n' && line_empty_) {
      done_ = true;
      return;
    }
    line_empty_ = c == '\n';
    eight_bit_ |= static_cast<uint8_t>(c) > 127;
  }
}

SmallBody CompressBody(absl::string_view raw) {
  SmallBody body;
  const OctetCounts counts = CountOctets(raw);
  body.info.raw_bytes = raw.size();
  body.info.chunks = 1;
  body.info.digest = XXH3_64bits(raw.data(), raw.size());
  body.info.lines = static_cast<uint32_t>(counts.lines);
  body.info.eight_bit = counts.eight_bit;
  if (counts.eight_bit) {
    HeaderScan header;
    header.Add(raw);
    body.info.header_eight_bit = header.eight_bit();
  }
  if (CompressSmaller(raw, &body.stored)) {
    body.info.codec = BodyCodec::kZstd;
  } else {
    body.info.codec = BodyCodec::kRaw;
    body.stored = std::string(raw);
  }
  body.info.stored_bytes = body.stored.size();
  return body;
}

// ---- BodyCounter

struct BodyCounter::State {
  XXH3_state_t hash;
};

BodyCounter::BodyCounter() : state_(std::make_unique<State>()) {
  XXH3_64bits_reset(&state_->hash);
}
BodyCounter::~BodyCounter() = default;
BodyCounter::BodyCounter(BodyCounter&&) noexcept = default;
BodyCounter& BodyCounter::operator=(BodyCounter&&) noexcept = default;

void BodyCounter::Add(absl::string_view raw) {
  XXH3_64bits_update(&state_->hash, raw.data(), raw.size());
  const OctetCounts counts = CountOctets(raw);
  bytes_ += raw.size();
  lines_ += static_cast<uint32_t>(counts.lines);
  eight_bit_ |= counts.eight_bit;
  header_.Add(raw);
}

uint64_t BodyCounter::digest() const {
  return XXH3_64bits_digest(&state_->hash);
}

// ---- BodyCompressor

struct BodyCompressor::Stream {
  ~Stream() { ContextPool<ZSTD_CCtx>::Get().Give(std::move(context)); }

  CompressContext context;  // null: stored raw
  BodyCounter counter;
  std::string chunk;  // being filled
  uint64_t stored_bytes = 0;
  uint32_t chunks = 0;  // handed out
};

BodyCompressor::BodyCompressor() = default;
BodyCompressor::~BodyCompressor() = default;
BodyCompressor::BodyCompressor(BodyCompressor&&) noexcept = default;
BodyCompressor& BodyCompressor::operator=(BodyCompressor&&) noexcept = default;

std::vector<std::string> BodyCompressor::Write(absl::string_view raw) {
  std::vector<std::string> out;
  raw_bytes_ += raw.size();
  if (stream_ == nullptr) {
    const size_t room = kSmallBodyBytes - held_.size();
    if (raw.size() <= room) {
      held_.append(raw.data(), raw.size());
      return out;
    }
    held_.append(raw.data(), room);
    raw.remove_prefix(room);
    StartStream();
    Feed(held_, false, &out);
    std::string().swap(held_);
  }
  Feed(raw, false, &out);
  return out;
}

void BodyCompressor::StartStream() {
  stream_ = std::make_unique<Stream>();
  std::string probe;
  if (CompressSmaller(held_, &probe))
    stream_->context = ContextPool<ZSTD_CCtx>::Get().Take();
}

void BodyCompressor::Feed(absl::string_view raw, bool end,
                          std::vector<std::string>* out) {
  Stream& stream = *stream_;
  stream.counter.Add(raw);
  const auto hand_out = [&] {
    stream.stored_bytes += stream.chunk.size();
    ++stream.chunks;
    out->push_back(std::move(stream.chunk));
    stream.chunk.clear();
  };
  if (stream.context == nullptr) {
    while (!raw.empty()) {
      const size_t n =
          std::min(raw.size(), kBodyChunkBytes - stream.chunk.size());
      stream.chunk.append(raw.data(), n);
      raw.remove_prefix(n);
      if (stream.chunk.size() == kBodyChunkBytes) hand_out();
    }
    if (end && (!stream.chunk.empty() || stream.chunks == 0)) hand_out();
    return;
  }
  ZSTD_inBuffer in{raw.data(), raw.size(), 0};
  for (;;) {
    const size_t filled = stream.chunk.size();
    stream.chunk.resize(kBodyChunkBytes);
    ZSTD_outBuffer to{stream.chunk.data(), kBodyChunkBytes, filled};
    const size_t left = ZSTD_compressStream2(
        stream.context.get(), &to, &in, end ? ZSTD_e_end : ZSTD_e_continue);
    // The parameters are ours and the buffers are valid: only memory can lack.
    if (ZSTD_isError(left)) std::abort();
    stream.chunk.resize(to.pos);
    if (to.pos == kBodyChunkBytes) hand_out();
    if (end ? left == 0 : in.pos == in.size && to.pos < kBodyChunkBytes) break;
  }
  if (end && !stream.chunk.empty()) hand_out();
}

CompressedBody BodyCompressor::Finish() {
  CompressedBody body;
  if (stream_ == nullptr) {
    SmallBody small = CompressBody(held_);
    body.info = small.info;
    body.chunks.push_back(std::move(small.stored));
    return body;
  }
  Feed({}, true, &body.chunks);
  const Stream& stream = *stream_;
  body.info.codec =
      stream.context == nullptr ? BodyCodec::kRaw : BodyCodec::kZstd;
  body.info.raw_bytes = stream.counter.bytes();
  body.info.stored_bytes = stream.stored_bytes;
  body.info.chunks = stream.chunks;
  body.info.digest = stream.counter.digest();
  body.info.lines = stream.counter.lines();
  body.info.eight_bit = stream.counter.eight_bit();
  body.info.header_eight_bit = stream.counter.header_eight_bit();
  stream_.reset();
  return body;
}

// ---- BodyDecompressor

struct BodyDecompressor::Stream {
  ~Stream() { ContextPool<ZSTD_DCtx>::Get().Give(std::move(context)); }

  ExpandContext context = ContextPool<ZSTD_DCtx>::Get().Take();
};

BodyDecompressor::BodyDecompressor(const BodyInfo& info) : info_(info) {
  if (info_.codec == BodyCodec::kZstd) stream_ = std::make_unique<Stream>();
}
BodyDecompressor::~BodyDecompressor() = default;
BodyDecompressor::BodyDecompressor(BodyDecompressor&&) noexcept = default;
BodyDecompressor& BodyDecompressor::operator=(BodyDecompressor&&) noexcept =
    default;

void BodyDecompressor::Feed(std::string chunk) {
  chunk_ = std::move(chunk);
  chunk_at_ = 0;
  drained_ = false;
  stored_fed_ += chunk_.size();
  ++chunks_fed_;
}

absl::Status BodyDecompressor::Step(size_t limit, std::string* out) {
  const size_t start = out->size();
  if (stream_ == nullptr) {
    const size_t n = std::min(limit, chunk_.size() - chunk_at_);
    out->append(chunk_, chunk_at_, n);
    chunk_at_ += n;
  } else {
    if (frame_ended_) return absl::DataLossError("bytes behind the body's end");
    out->resize(start + limit);
    ZSTD_inBuffer in{chunk_.data(), chunk_.size(), chunk_at_};
    ZSTD_outBuffer to{out->data() + start, limit, 0};
    const size_t left = ZSTD_decompressStream(stream_->context.get(), &to, &in);
    out->resize(start + to.pos);
    chunk_at_ = in.pos;
    if (ZSTD_isError(left)) {
      return absl::DataLossError(std::string("body: ") +
                                 ZSTD_getErrorName(left));
    }
    frame_ended_ = left == 0;
  }
  counter_.Add(absl::string_view(*out).substr(start));
  if (counter_.bytes() > info_.raw_bytes)
    return absl::DataLossError("body is longer than declared");
  return absl::OkStatus();
}

absl::StatusOr<BodyDecompressor::Progress> BodyDecompressor::CheckEnd() {
  if (stream_ != nullptr && !frame_ended_)
    return absl::DataLossError("body ends too early");
  if (counter_.bytes() != info_.raw_bytes || stored_fed_ != info_.stored_bytes)
    return absl::DataLossError("body is not as long as declared");
  if (counter_.digest() != info_.digest)
    return absl::DataLossError("body does not match its digest");
  return kEnd;
}

absl::StatusOr<BodyDecompressor::Progress> BodyDecompressor::Read(
    size_t limit, std::string* out) {
  const size_t start = out->size();
  for (;;) {
    const size_t done = out->size() - start;
    if (done == limit) return kMore;
    // A raw body can't be longer than declared by more than the probe octet.
    const size_t room = std::min<uint64_t>(
        limit - done, info_.raw_bytes - counter_.bytes() + 1);
    const bool fed = chunk_at_ < chunk_.size();
    const bool may_hold_output =
        stream_ != nullptr && chunks_fed_ > 0 && !frame_ended_ && !drained_;
    if (fed || may_hold_output) {
      const size_t before = chunk_at_;
      const size_t size = out->size();
      absl::Status status = Step(room, out);
      if (!status.ok()) return status;
      if (chunk_at_ != before || out->size() != size) continue;
      // Nothing moved: the decoder wants more than this chunk.
      if (chunk_at_ < chunk_.size())
        return absl::DataLossError("body makes no progress");
      // zstd takes a number of calls in a row without input for an error.
      drained_ = true;
    }
    if (chunks_fed_ < info_.chunks) return kNeedsChunk;
    return CheckEnd();
  }
}

absl::StatusOr<std::string> ExpandBody(const BodyInfo& info,
                                       absl::string_view stored) {
  if (info.chunks != 1)
    return absl::InvalidArgumentError("body is not of one chunk");
  BodyDecompressor body(info);
  body.Feed(std::string(stored));
  std::string out;
  for (;;) {
    auto state = body.Read(kSmallBodyBytes, &out);
    if (!state.ok()) return state.status();
    if (*state == BodyDecompressor::kEnd) return out;
    if (*state == BodyDecompressor::kNeedsChunk)
      return absl::DataLossError("body ends too early");
  }
}

}  // namespace holdfast
