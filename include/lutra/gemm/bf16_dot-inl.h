// Float activations by any format, the mode Bf16Dot: x and the values of codes rounded to bf16, whose products the CPU
// sums in pairs. Values of a panel are decoded to L1 once for all rows of a task, x is rounded once for a few panels.
// Order   numerics.md, 3.5: t = fma(x[k + 1], v[k + 1], t), then t = fma(x[k], v[k], t), k even and ascending in each
//         span; scales multiply the sum of a span. Lanes are outputs.
// Bound   the port of the bf16 dot from about 64 rows on, decoding beside it below.
#if defined(LUTRA_GEMM_BF16_DOT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_GEMM_BF16_DOT_INL_H_
#undef LUTRA_GEMM_BF16_DOT_INL_H_
#else
#define LUTRA_GEMM_BF16_DOT_INL_H_
#endif

#include "lutra/gemm/float_codes-inl.h"
#include "lutra/gemm/float_x-inl.h"

#ifndef LUTRA_GEMM_BF16_DOT_ONCE_
#define LUTRA_GEMM_BF16_DOT_ONCE_
namespace lutra { inline namespace LUTRA_NS { namespace internal {

inline constexpr size_t kBf16K = 256;     // k decoded at a time: 16 KiB of pairs, half of L1
inline constexpr size_t kBf16Panels = 8;  // that share a rounded copy of x
// Scratch of a worker. A pair is two bf16 of neighbouring k, the even one in the low half.
struct Bf16Scratch {
  alignas(64) uint32_t w[kBf16K / 2][kPanelRows];
  uint32_t x[kTileRows][kBf16K / 2];
  float row[kBf16K];                              // of x, where it is not f32 in place
  float values[kBlockK * kPanelRows];             // of formats that are decoded to f32 first
  uint8_t codes[kMostBlockK * kPanelRows];        // and unpacked to bytes before
  float scale[kPanelRows];                        // of a span
  float offset[kPanelRows];                       //
  float t[kBf16Panels][kTileRows][kPanelRows];    // sums of the span
  float acc[kBf16Panels][kTileRows][kPanelRows];  // sums of all spans before
  float parts[kTileRows][kSumParts];              // of the sums of x, with offsets only
  float sums[kBf16K / 2][kTileRows];              // of x, for the spans that end in these k
};
static_assert(sizeof(Bf16Scratch) <= Context::kDefaultScratch);

}}}  // namespace lutra::LUTRA_NS::internal
#endif

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3_DL && HWY_MAX_BYTES == 64

using DF32x16 = hn::CappedTag<float, 16>;
using DU32x16 = hn::RebindToUnsigned<DF32x16>;
using DU16x32 = hn::Repartition<uint16_t, DF32x16>;

// The instructions by name: of Highway's targets, those that have them are other ones.
HWY_INLINE hn::Vec<DF32x16> AddPair(hn::Vec<DF32x16> sum, hn::Vec<DU32x16> x, hn::Vec<DU32x16> w) {
  asm("vdpbf16ps {%2, %1, %0|%0, %1, %2}" : "+v"(sum.raw) : "v"(x.raw), "v"(w.raw));
  return sum;
}
// Rounds to nearest even; subnormals become zero.
HWY_INLINE hn::Vec<DU16x32> RoundToBf16(hn::Vec<DF32x16> low, hn::Vec<DF32x16> high) {
  hn::Vec<DU16x32> out;
  asm("vcvtne2ps2bf16 {%2, %1, %0|%0, %1, %2}" : "=v"(out.raw) : "v"(high.raw), "v"(low.raw));
  return out;
}

// Rounds the values of an even k and of the next to a pair.
HWY_INLINE hn::Vec<DU32x16> RoundToPair(hn::Vec<DF32x16> even, hn::Vec<DF32x16> odd) {
  alignas(64) static constexpr uint16_t kInTurn[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                       8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const DU16x32 d16;
  const auto in_turn = hn::Load(d16, kInTurn);
  return hn::BitCast(DU32x16(), hn::Vec<DU16x32>{_mm512_permutexvar_epi16(in_turn.raw, RoundToBf16(even, odd).raw)});
}

// Pairs of k in [k0, k1) of a segment, k0 a multiple of 32, in whole blocks.
template <class Mode = void>
HWY_NOINLINE void DecodePairs(const internal::GemmTask& t, const internal::CodeValues& values, size_t p, size_t segment,
                              size_t k0, size_t k1, internal::Bf16Scratch& s) {
  const DF32x16 df;
  const DU32x16 du;
  const DU16x32 d16;
  const PackedMatrix& m = t.call.w;
  const FormatInfo& f = m.format();
  const bool lanes = m.unit() == Unit::kLane32;
  // store(words, to): pairs of the quads whose codes begin at bit 0 of the bytes of `words`.
  const auto decode = [&](const auto& store) LUTRA_TILE {
    const uint8_t* from = m.Codes(p) + (segment * m.blocks_per_segment() + k0 / kBlockK) * m.block_bytes();
    for (size_t q = 0; q < (k1 - k0 + 3) / 4; ++q) {
      const internal::QuadAt quad = internal::QuadOf(q, values.bits);
      for (size_t row = 0; row < kPanelRows; row += hn::Lanes(df)) {
        const auto raw = hn::LoadU(du, reinterpret_cast<const uint32_t*>(from + quad.offset + row * 4));
        store(hn::ShiftRightSame(raw, quad.shift), s.w[2 * q] + row);
      }
    }
  };
  if (lanes && f.bits <= 4 && f.planes[1] == 0) {
    // A table of 32 bf16 in a register: index bits above those of the code change nothing.
    const auto of = hn::Load(df, values.of);
    const auto table = RoundToBf16(of, of);
    const auto lookup = [&](auto words)
                            LUTRA_TILE { return hn::Vec<DU16x32>{_mm512_permutexvar_epi16(words.raw, table.raw)}; };
    decode([&](auto words, uint32_t* to) LUTRA_TILE {
      const auto even = lookup(words), odd = lookup(hn::ShiftRight<8>(words));  // k 0 and 2, 1 and 3
      const auto low = hn::OddEven(hn::BitCast(d16, hn::ShiftLeft<16>(hn::BitCast(du, odd))), even);
      const auto high = hn::OddEven(odd, hn::BitCast(d16, hn::ShiftRight<16>(hn::BitCast(du, even))));
      hn::Store(hn::BitCast(du, low), du, to);
      hn::Store(hn::BitCast(du, high), du, to + kPanelRows);
    });
  } else if (lanes && HasMantissaCodes(f)) {
    decode([&](auto words, uint32_t* to) LUTRA_TILE {
      const auto value = [&](auto byte)
                             LUTRA_TILE { return MantissaCodes::Value<decltype(byte)::value>(df, values, words); };
      hn::Store(RoundToPair(value(Index<0>()), value(Index<1>())), du, to);
      hn::Store(RoundToPair(value(Index<2>()), value(Index<3>())), du, to + kPanelRows);
    });
  } else {
    for (size_t k = k0; k < k1; k += kBlockK) {
      DecodeValues(t, values, p, segment, k, HWY_MIN(k1, k + kBlockK), s.codes, s.values);
      for (size_t i = 0; i < kBlockK / 2; ++i) {
        for (size_t row = 0; row < kPanelRows; row += hn::Lanes(df)) {
          const float* from = s.values + 2 * i * kPanelRows + row;
          const auto pairs = RoundToPair(hn::Load(df, from), hn::Load(df, from + kPanelRows));
          hn::Store(pairs, du, s.w[(k - k0) / 2 + i] + row);
        }
      }
    }
  }
  if (k1 % 2 != 0) {  // the k behind the last counts as zero, whatever stands there
    uint32_t* last = s.w[(k1 - k0) / 2];
    for (size_t row = 0; row < kPanelRows; ++row) last[row] &= 0xFFFFu;
  }
}

// x of the task's rows, k in [k0, k1) of a segment, as pairs; and the sums of the spans that end there.
HWY_NOINLINE inline void RoundRows(const GemmCall& c, const internal::GemmTile& tile, size_t segment, size_t k0,
                                   size_t k1, internal::Bf16Scratch& s) {
  const DF32x16 df;
  const DU16x32 d16;
  const size_t group_k = c.w.scales().group_k == 0 ? c.w.segment_k() : c.w.scales().group_k;
  for (size_t m = 0; m < tile.row_end - tile.row_begin; ++m) {
    const float* x = RowsFrom(c, tile.row_begin + m, 1, segment, k0, k1, s.row, internal::kBf16K).at;
    for (size_t k = k0; k < k1; k += hn::Lanes(d16)) {
      const size_t half = k + hn::Lanes(df);
      const auto low = LoadSome(df, x + (k - k0), k1 - k);
      const auto high = half < k1 ? LoadSome(df, x + (half - k0), k1 - half) : hn::Zero(df);
      hn::StoreU(RoundToBf16(low, high), d16, reinterpret_cast<uint16_t*>(s.x[m]) + (k - k0));
    }
    size_t span = 0;
    for (size_t k = k0; c.w.scales().has_offset && k < k1;) {
      const size_t span_end = HWY_MIN(c.w.segment_k(), (k / group_k + 1) * group_k), end = HWY_MIN(k1, span_end);
      AddToSum(x + (k - k0), k, end, s.parts[m]);
      if (end == span_end) s.sums[span++][m] = TakeSum(s.parts[m]);
      k = end;
    }
  }
}

// A piece of a span: `pairs` pairs of values at w.
struct Bf16Piece {
  const uint32_t* w;
  size_t pairs;
  bool begins, ends;  // the span, in this piece
  const float* scale;
  const float* offset;  // or null
};

// kMR rows: t += x * w; where the span ends, acc += t * scale and + sum of x * offset.
template <size_t kMR>
HWY_NOINLINE void Bf16Tile(const Bf16Piece& piece, const uint32_t* HWY_RESTRICT x, float* HWY_RESTRICT t,
                           float* HWY_RESTRICT acc, const float* sums) {
  const DF32x16 df;
  const DU32x16 du;
  WithAccumulators<2 * kMR>(df, [&](auto&... sum) LUTRA_TILE {
    if (!piece.begins) {
      Numbered([&](auto i, auto& v) LUTRA_TILE { v = hn::Load(df, t + decltype(i)::value * 16); }, sum...);
    }
    const uint32_t* HWY_RESTRICT w = piece.w;
    for (const uint32_t* end = x + piece.pairs; x != end; ++x) {
      const auto w0 = hn::Load(du, w), w1 = hn::Load(du, w + 16);
      Numbered(
          [&](auto i, auto& v) LUTRA_TILE {
            const auto pair = hn::Set(du, x[decltype(i)::value / 2 * (internal::kBf16K / 2)]);
            v = AddPair(v, pair, decltype(i)::value % 2 == 0 ? w0 : w1);
          },
          sum...);
      w += kPanelRows;
    }
    Numbered(
        [&](auto i, auto& v) LUTRA_TILE {
          constexpr size_t kAt = decltype(i)::value * 16, kColumn = kAt % kPanelRows;
          if (piece.ends) {
            v = hn::MulAdd(v, hn::Load(df, piece.scale + kColumn), hn::Load(df, acc + kAt));
            if (piece.offset != nullptr) {
              v = hn::MulAdd(hn::Set(df, sums[kAt / kPanelRows]), hn::Load(df, piece.offset + kColumn), v);
            }
            hn::Store(v, df, acc + kAt);
          } else {
            hn::Store(v, df, t + kAt);
          }
        },
        sum...);
  });
}

// 1 ... kMR rows. Fewer than half of 8 come only where there are no more in all: one by one.
template <size_t kMR = 8>
HWY_INLINE void Bf16Rows(size_t rows, const Bf16Piece& piece, const uint32_t* x, float* t, float* acc,
                         const float* sums) {
  if constexpr (kMR < 4) {
    for (size_t r = 0; r < rows; ++r) {
      Bf16Tile<1>(piece, x + r * (internal::kBf16K / 2), t + r * kPanelRows, acc + r * kPanelRows, sums + r);
    }
  } else if (rows < kMR) {
    Bf16Rows<kMR - 1>(rows, piece, x, t, acc, sums);
  } else {
    Bf16Tile<kMR>(piece, x, t, acc, sums);
  }
}

// All rows of the task by k in [k0, k1) of a segment, whose pairs are in s.w, for panel `first + at`.
template <class Mode = void>
HWY_INLINE void Bf16Chunk(const GemmCall& c, size_t rows, size_t first, size_t at, size_t segment, size_t k0, size_t k1,
                          internal::Bf16Scratch& s) {
  const DF32x16 df;
  const PackedMatrix& w = c.w;
  const Scales& scales = w.scales();
  const size_t strips = (rows + 7) / 8, group_k = scales.group_k == 0 ? w.segment_k() : scales.group_k;
  size_t span = 0;
  for (size_t k = k0; k < k1;) {
    const size_t group = k / group_k, span_end = HWY_MIN(w.segment_k(), (group + 1) * group_k);
    const size_t end = HWY_MIN(k1, span_end);
    const Bf16Piece piece = {s.w[(k - k0) / 2], (end - k + 1) / 2, k == group * group_k,
                             end == span_end,   s.scale,           scales.has_offset ? s.offset : nullptr};
    if (piece.ends) {
      const size_t skip = scales.group_k == 0 ? 0 : (segment * w.groups_per_segment() + group) * kPanelRows;
      const auto load = [&](const std::byte* from, float* to) LUTRA_TILE {
        for (size_t i = 0; i < kPanelRows; i += hn::Lanes(df)) {
          hn::Store(LoadAsF32(df, from, scales.type, static_cast<ptrdiff_t>(skip + i), hn::Lanes(df)), df, to + i);
        }
      };
      load(w.PanelScales(first + at), s.scale);
      if (scales.has_offset) load(w.PanelOffsets(first + at), s.offset);
    }
    for (size_t strip = 0; strip < strips; ++strip) {  // leftovers split evenly
      const size_t m = strip * rows / strips, count = (strip + 1) * rows / strips - m;
      Bf16Rows(count, piece, s.x[m] + (k - k0) / 2, s.t[at][m], s.acc[at][m], s.sums[span] + m);
    }
    span += piece.ends;
    k = end;
  }
}

// One task. (A template, as Tile in tile-inl.h is.)
template <class Mode>
int64_t Bf16Dot(const internal::GemmTask& t, size_t task, std::byte* scratch) {
  const GemmCall& c = t.call;
  const PackedMatrix& w = c.w;
  const internal::GemmTile tile = internal::TileOf(t, task);
  const size_t rows = tile.row_end - tile.row_begin;
  internal::CodeValues values;
  internal::FillCodeValues(w, &values);
  internal::Bf16Scratch& s = *reinterpret_cast<internal::Bf16Scratch*>(scratch);
  if (w.scales().has_offset) std::memset(s.parts, 0, rows * sizeof(s.parts[0]));
  for (size_t p = tile.panel_begin; p < tile.panel_end; p += internal::kBf16Panels) {
    const size_t panels = HWY_MIN(internal::kBf16Panels, tile.panel_end - p);
    for (size_t at = 0; at < panels; ++at) std::memset(s.acc[at], 0, rows * sizeof(s.acc[at][0]));
    for (size_t segment = 0; segment < w.segments(); ++segment) {
      for (size_t k0 = 0; k0 < w.segment_k(); k0 += internal::kBf16K) {
        const size_t k1 = HWY_MIN(w.segment_k(), k0 + internal::kBf16K);
        RoundRows(c, tile, segment, k0, k1, s);
        for (size_t at = 0; at < panels; ++at) {
          DecodePairs(t, values, p + at, segment, k0, k1, s);
          const uint8_t* next = w.Codes(p + at) + (segment * w.blocks_per_segment() + k1 / w.block_k()) *
                                                      w.block_bytes();  // comes from L3 while others are used
          for (size_t i = 0; i < internal::kBf16K / kBlockK * w.block_bytes(); i += 64) __builtin_prefetch(next + i);
          Bf16Chunk(c, rows, p, at, segment, k0, k1, s);
        }
      }
    }
    for (size_t at = 0; at < panels; ++at) {
      const size_t n = (p + at) * kPanelRows;
      for (size_t m = 0; m < rows; ++m) {
        WriteRow(c, tile.row_begin + m, n, HWY_MIN(kPanelRows, w.n() - n), s.acc[at][m]);
      }
    }
  }
  return HWY_TARGET;
}

#endif

// Entry: the kernel of a target, or why it has none.
template <class Mode>
internal::ModeKernel Bf16DotOf() {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3_DL && HWY_MAX_BYTES == 64
  if (__builtin_cpu_supports("avx512bf16")) return {&Bf16Dot<Mode>, nullptr};
  return {nullptr, "the CPU has no bf16 dot instruction"};
#else
  return {nullptr, "the target has no bf16 dot instruction"};
#endif
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
