#include "storage/body_codec.h"

#include <gtest/gtest.h>
#include <zstd.h>

#include <random>

namespace holdfast {
namespace {

std::string Words(size_t size, uint32_t seed = 1) {
  static const char* const kWords[] = {
      "the ", "queue ", "holds\n", "mail ", "until ", "it ", "is ", "gone.\n"};
  std::mt19937 random(seed);
  std::string text;
  while (text.size() < size) text += kWords[random() % 8];
  text.resize(size);
  return text;
}

std::string Noise(size_t size) {
  std::mt19937 random(7);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

CompressedBody CompressInPieces(const std::string& raw, size_t piece) {
  BodyCompressor compressor;
  std::vector<std::string> chunks;
  for (size_t at = 0; at < raw.size(); at += piece) {
    for (std::string& chunk :
         compressor.Write(absl::string_view(raw).substr(at, piece)))
      chunks.push_back(std::move(chunk));
  }
  CompressedBody body = compressor.Finish();
  chunks.insert(chunks.end(), body.chunks.begin(), body.chunks.end());
  body.chunks = std::move(chunks);
  return body;
}

absl::StatusOr<std::string> Expand(const BodyInfo& info,
                                   const std::vector<std::string>& chunks,
                                   size_t limit) {
  BodyDecompressor body(info);
  std::string out;
  for (;;) {
    const size_t before = out.size();
    auto state = body.Read(limit, &out);
    if (!state.ok()) return state.status();
    EXPECT_LE(out.size() - before, limit);
    if (*state == BodyDecompressor::kEnd) return out;
    if (*state == BodyDecompressor::kNeedsChunk) {
      if (body.chunks_fed() >= chunks.size())
        return absl::DataLossError("no more chunks");
      body.Feed(chunks[body.chunks_fed()]);
    }
  }
}

TEST(BodyCodecTest, SmallBodiesAreOneChunk) {
  const std::string raw = Words(10000);
  const SmallBody body = CompressBody(raw);
  EXPECT_EQ(body.info.codec, BodyCodec::kZstd);
  EXPECT_EQ(body.info.raw_bytes, raw.size());
  EXPECT_EQ(body.info.stored_bytes, body.stored.size());
  EXPECT_EQ(body.info.chunks, 1u);
  EXPECT_LT(body.stored.size(), raw.size() / 2);
  auto back = ExpandBody(body.info, body.stored);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, raw);
}

TEST(BodyCodecTest, CountsLinesAndEightBitOctets) {
  for (size_t pad = 0; pad < 20; ++pad) {
    const std::string raw = std::string(pad, 'x') + "\n\n\x8a\x0b\x09\n";
    const SmallBody body = CompressBody(raw);
    EXPECT_EQ(body.info.lines, 3u) << pad;
    EXPECT_TRUE(body.info.eight_bit) << pad;
    EXPECT_FALSE(CompressBody(std::string(pad, '\x7f')).info.eight_bit);
  }
}

TEST(BodyCodecTest, KnowsWhetherTheHeaderHasEightBitOctets) {
  const std::string tail(2 * kSmallBodyBytes, 'x');
  const std::pair<const char*, bool> cases[] = {
      {"Subject: x\n\n\xc3\xa9\n", false},
      {"Subject: \xc3\xa9\n\nx\n", true},
      {"Subject: x\n\xc3\xa9\n", true},  // there is no body
      {"\n\xc3\xa9\n", false},
      {"A: x\nB: y\n\nt\n\xc3\xa9: z\n\n", false},
  };
  for (const auto& [raw, header] : cases) {
    EXPECT_EQ(CompressBody(raw).info.header_eight_bit, header) << raw;
    for (size_t piece : {size_t{1}, size_t{3}, size_t{100000}}) {
      const CompressedBody large = CompressInPieces(raw + tail, piece);
      EXPECT_EQ(large.info.header_eight_bit, header) << raw;
      EXPECT_TRUE(large.info.eight_bit);
    }
  }
}

TEST(BodyCodecTest, WhatDoesNotShrinkIsStoredRaw) {
  for (const std::string& raw :
       {std::string(), std::string("a"), Noise(5000)}) {
    const SmallBody body = CompressBody(raw);
    EXPECT_EQ(body.info.codec, BodyCodec::kRaw);
    EXPECT_EQ(body.stored, raw);
    EXPECT_EQ(ExpandBody(body.info, body.stored).value(), raw);
  }
  const std::string large = Noise(500000);
  const CompressedBody body = CompressInPieces(large, 4096);
  EXPECT_EQ(body.info.codec, BodyCodec::kRaw);
  EXPECT_EQ(body.info.stored_bytes, large.size());
  EXPECT_EQ(Expand(body.info, body.chunks, 1000).value(), large);
}

TEST(BodyCodecTest, AllSizesGoThereAndBack) {
  for (size_t size : {size_t{1}, kSmallBodyBytes - 1, kSmallBodyBytes,
                      kSmallBodyBytes + 1, size_t{300000}, size_t{3000000}}) {
    for (size_t piece : {size_t{777}, size_t{16384}, size_t{1 << 20}}) {
      const std::string raw = Words(size);
      const CompressedBody body = CompressInPieces(raw, piece);
      EXPECT_EQ(body.info.chunks, body.chunks.size());
      EXPECT_EQ(body.info.raw_bytes, size);
      uint64_t stored = 0;
      for (size_t i = 0; i < body.chunks.size(); ++i) {
        stored += body.chunks[i].size();
        EXPECT_FALSE(body.chunks[i].empty());
        if (size > kSmallBodyBytes) {
          EXPECT_LE(body.chunks[i].size(), kBodyChunkBytes);
          if (i + 1 < body.chunks.size()) {
            EXPECT_EQ(body.chunks[i].size(), kBodyChunkBytes);
          }
        }
      }
      EXPECT_EQ(body.info.stored_bytes, stored);
      auto back = Expand(body.info, body.chunks, 5000);
      ASSERT_TRUE(back.ok()) << back.status();
      EXPECT_EQ(*back, raw);
    }
  }
}

TEST(BodyCodecTest, PiecesDoNotChangeWhatIsKnownOfTheBody) {
  const std::string raw = Words(kSmallBodyBytes + 5000) + "\xff";
  const BodyInfo a = CompressInPieces(raw, 999).info;
  const BodyInfo b = CompressInPieces(raw, 65536).info;
  EXPECT_EQ(a.digest, b.digest);
  EXPECT_EQ(a.lines, b.lines);
  EXPECT_TRUE(a.eight_bit && b.eight_bit);
}

// A relay asks again each time its socket takes something, while the next
// chunk is on its way.
TEST(BodyCodecTest, ReadingWhileAChunkIsAwaitedIsNoDamage) {
  const std::string raw = Words(1 << 20);
  const CompressedBody body = CompressInPieces(raw, 1 << 16);
  ASSERT_GT(body.chunks.size(), 2);
  BodyDecompressor reader(body.info);
  std::string out;
  for (const std::string& chunk : body.chunks) {
    reader.Feed(chunk);
    for (int again = 0; again < 100; ++again) {
      absl::StatusOr<BodyDecompressor::Progress> state =
          BodyDecompressor::kMore;
      while (state.ok() && *state == BodyDecompressor::kMore)
        state = reader.Read(10000, &out);
      ASSERT_TRUE(state.ok()) << state.status();
    }
  }
  EXPECT_EQ(out, raw);
}

TEST(BodyCodecTest, EveryDamageIsFound) {
  const std::string raw = Words(3000);
  const SmallBody body = CompressBody(raw);
  for (size_t size = 0; size < body.stored.size(); ++size)
    EXPECT_FALSE(ExpandBody(body.info, body.stored.substr(0, size)).ok());
  for (size_t at = 0; at < body.stored.size(); ++at) {
    std::string bad = body.stored;
    bad[at] ^= 0x21;
    auto back = ExpandBody(body.info, bad);
    // zstd may not mind a flag that means nothing here; the bytes must be
    // right.
    if (back.ok()) {
      EXPECT_EQ(*back, raw);
    }
  }
  EXPECT_FALSE(ExpandBody(body.info, body.stored + "x").ok());
  BodyInfo wrong = body.info;
  wrong.digest ^= 1;
  EXPECT_FALSE(ExpandBody(wrong, body.stored).ok());
}

TEST(BodyCodecTest, TheDeclaredSizeIsALimit) {
  const std::string raw(kSmallBodyBytes, 'b');
  SmallBody bomb = CompressBody(raw);
  bomb.info.raw_bytes = 100;
  BodyDecompressor body(bomb.info);
  body.Feed(bomb.stored);
  std::string out;
  EXPECT_EQ(body.Read(1 << 20, &out).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_LE(out.size(), 101u);
}

TEST(BodyCodecTest, ALargerWindowIsRefused) {
  const std::string raw = Noise(1 << 20);
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, kBodyWindowLog + 2);
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  std::string frame(ZSTD_compressBound(raw.size()), '\0');
  ZSTD_inBuffer in{raw.data(), raw.size(), 0};
  ZSTD_outBuffer out{frame.data(), frame.size(), 0};
  ZSTD_compressStream2(context, &out, &in, ZSTD_e_continue);
  in = {"", 0, 0};
  ASSERT_EQ(ZSTD_compressStream2(context, &out, &in, ZSTD_e_end), 0u);
  ZSTD_freeCCtx(context);
  frame.resize(out.pos);
  BodyInfo info;
  info.codec = BodyCodec::kZstd;
  info.raw_bytes = raw.size();
  info.stored_bytes = frame.size();
  info.chunks = 1;
  EXPECT_FALSE(ExpandBody(info, frame).ok());
}

TEST(BodyCodecTest, ManyBodiesAtOnceDoNotMix) {
  std::vector<BodyCompressor> compressors(40);
  std::vector<std::vector<std::string>> chunks(40);
  for (int round = 0; round < 20; ++round) {
    for (uint32_t i = 0; i < compressors.size(); ++i) {
      for (std::string& chunk : compressors[i].Write(Words(9000, i)))
        chunks[i].push_back(std::move(chunk));
    }
  }
  for (uint32_t i = 0; i < compressors.size(); ++i) {
    CompressedBody body = compressors[i].Finish();
    chunks[i].insert(chunks[i].end(), body.chunks.begin(), body.chunks.end());
    std::string raw;
    for (int round = 0; round < 20; ++round) raw += Words(9000, i);
    EXPECT_EQ(Expand(body.info, chunks[i], 65536).value(), raw);
  }
}

}  // namespace
}  // namespace holdfast
