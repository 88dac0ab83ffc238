// Float activations by any format: values of a panel decoded to f32 in L1, then a dense micro-kernel for all rows of a
// task. Few rows go to fused-inl.h where it takes the format.
// Order   gemm.h: t = fma(x, value, t), k ascending in each span; scales multiply the sum of a span. Lanes are outputs.
// Bound   the FMA port from about 16 rows on, decoding below.
#if defined(LUTRA_GEMM_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_GEMM_TILE_INL_H_
#undef LUTRA_GEMM_TILE_INL_H_
#else
#define LUTRA_GEMM_TILE_INL_H_
#endif

#include "lutra/gemm/fused-inl.h"

#ifndef LUTRA_GEMM_TILE_ONCE_
#define LUTRA_GEMM_TILE_ONCE_
namespace lutra { inline namespace LUTRA_NS { namespace internal {

inline constexpr size_t kTileK = 128;  // k decoded at a time: 16 KiB of values, half of L1
inline constexpr size_t kTileMR = 8;   // rows of the widest register tile
// Panels that share a copy of x, where it is not f32 in place: bf16 x costs 2-6 % beside f32 x, 10-16 % for one panel.
inline constexpr size_t kTilePanels = 4;
// Scratch of a worker.
struct TileScratch {
  float* w;      // values, [k][output]
  float* x;      // rows of x that are not f32 in place, [row][k]
  float* scale;  // of a span, [output]
  float* offset;
  uint8_t* codes;  // of formats that are unpacked to bytes
  float* t;        // sums of the span, [panel][row][output]
  float* acc;      // sums of all spans before
  float* parts;    // of the sums of x, [row], with offsets only
  float* sums;     // of x, [span][row]: what the task's first panel leaves to the others, as many spans as fit
  size_t spans;
};
LUTRA_MEMBER TileScratch TileScratchOf(size_t rows, std::byte* scratch) {
  float* at = reinterpret_cast<float*>(scratch);
  const auto take = [&at](size_t count) { return (at += count) - count; };
  TileScratch s;
  s.w = take(kTileK * kPanelRows);
  s.x = take(rows * kTileK);
  s.scale = take(kPanelRows);
  s.offset = take(kPanelRows);
  s.codes = reinterpret_cast<uint8_t*>(take(kMostBlockK * kPanelRows / 4));
  s.t = take(kTilePanels * rows * kPanelRows);
  s.acc = take(kTilePanels * rows * kPanelRows);
  s.parts = take(rows * kSumParts);
  s.sums = at;
  s.spans = (Context::kDefaultScratch / 4 - static_cast<size_t>(at - reinterpret_cast<float*>(scratch))) / rows;
  return s;
}
static_assert(kTileK * kPanelRows + 2 * kPanelRows + kMostBlockK * kPanelRows / 4 +
                  kTileRows * (kTileK + 2 * kTilePanels * kPanelRows + kSumParts) <=
              Context::kDefaultScratch / 4);

}}}  // namespace lutra::LUTRA_NS::internal
#endif

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

// A piece of a span: `count` k of values at w, for the 2 vectors of outputs that w, t, acc and the scales begin with.
struct TilePiece {
  const float* w;
  size_t count;
  bool begins, ends;  // the span, in this piece
  const float* scale;
  const float* offset;  // or null
};

// kMR rows: t += x * w; where the span ends, acc += t * scale and + sum of x * offset.
template <size_t kMR>
HWY_NOINLINE void DenseTile(const TilePiece& piece, const internal::FloatRows& x, float* HWY_RESTRICT t,
                            float* HWY_RESTRICT acc, const float* sums) {
  const hn::CappedTag<float, 16> df;
  const size_t lanes = hn::Lanes(df), second = lanes < kPanelRows ? lanes : 0;
  WithAccumulators<2 * kMR>(df, [&](auto&... sum) LUTRA_TILE {
    if (!piece.begins) {
      Numbered(
          [&](auto i, auto& s) LUTRA_TILE {
            s = hn::Load(df, t + decltype(i)::value / 2 * kPanelRows + decltype(i)::value % 2 * second);
          },
          sum...);
    }
    const float* HWY_RESTRICT w = piece.w;
    const float* HWY_RESTRICT from = x.at;
    const ptrdiff_t stride = x.stride;
    for (size_t k = 0; k < piece.count; ++k) {
      const auto w0 = hn::Load(df, w), w1 = hn::Load(df, w + second);
      Numbered(
          [&](auto i, auto& s) LUTRA_TILE {
            const auto xk = hn::Set(df, from[static_cast<ptrdiff_t>(decltype(i)::value / 2) * stride]);
            s = hn::MulAdd(xk, decltype(i)::value % 2 == 0 ? w0 : w1, s);
          },
          sum...);
      w += kPanelRows;
      ++from;
    }
    Numbered(
        [&](auto i, auto& s) LUTRA_TILE {
          const size_t at = decltype(i)::value / 2 * kPanelRows + decltype(i)::value % 2 * second;
          if (piece.ends) {
            const size_t column = decltype(i)::value % 2 * second;
            s = hn::MulAdd(s, hn::Load(df, piece.scale + column), hn::Load(df, acc + at));
            if (piece.offset != nullptr) {
              s = hn::MulAdd(hn::Set(df, sums[decltype(i)::value / 2]), hn::Load(df, piece.offset + column), s);
            }
            hn::Store(s, df, acc + at);
          } else {
            hn::Store(s, df, t + at);
          }
        },
        sum...);
  });
}

// Rows of the register tile: 2 vectors of outputs each, beside 2 of w and one of x.
inline constexpr size_t kDenseMR = HWY_ARCH_X86 && HWY_TARGET > HWY_AVX2 ? 2
                                   : HWY_ARCH_X86&& HWY_MAX_BYTES < 64   ? 6
                                                                         : 8;
static_assert(kDenseMR <= internal::kTileMR);

// Fewer than half of kDenseMR come only where there are no more in all: one by one.
template <size_t kMR = kDenseMR>
HWY_INLINE void DenseRows(size_t rows, const TilePiece& piece, const internal::FloatRows& x, float* HWY_RESTRICT t,
                          float* HWY_RESTRICT acc, const float* sums) {
  if constexpr (kMR < kDenseMR / 2) {
    for (size_t r = 0; r < rows; ++r) {
      const internal::FloatRows one = {x.at + static_cast<ptrdiff_t>(r) * x.stride, x.stride};
      DenseTile<1>(piece, one, t + r * kPanelRows, acc + r * kPanelRows, sums + r);
    }
  } else if (rows < kMR) {
    DenseRows<kMR - 1>(rows, piece, x, t, acc, sums);
  } else {
    DenseTile<kMR>(piece, x, t, acc, sums);
  }
}

// All rows of the task by k in [k0, k1) of a segment, whose values are in s.w, for panel `p`, whose sums are at t and
// acc.
template <class Mode = void>
HWY_INLINE void TileChunk(const GemmCall& c, const internal::GemmTile& tile, size_t p, size_t segment, size_t k0,
                          size_t k1, const internal::TileScratch& s, float* t, float* acc) {
  const hn::CappedTag<float, 16> df;
  const PackedMatrix& w = c.w;
  const size_t rows = tile.row_end - tile.row_begin, strips = (rows + kDenseMR - 1) / kDenseMR;
  const size_t group_k = w.scales().group_k == 0 ? w.segment_k() : w.scales().group_k;
  const bool has_offset = w.scales().has_offset;
  for (size_t k = k0; k < k1;) {
    const size_t group = k / group_k, begin = group * group_k, span_end = HWY_MIN(w.segment_k(), begin + group_k);
    const size_t end = HWY_MIN(k1, span_end);
    const size_t span = segment * w.groups_per_segment() + group;
    const bool sum_known = p != tile.panel_begin && span < s.spans;
    TilePiece piece = {s.w + (k - k0) * kPanelRows,    end - k, k == begin, end == span_end, s.scale,
                       has_offset ? s.offset : nullptr};
    if (piece.ends) {
      const size_t at = w.scales().group_k == 0 ? 0 : segment * w.groups_per_segment() + group;
      const size_t skip = at * kPanelRows * SizeOf(w.scales().type);
      for (size_t i = 0; i < kPanelRows; i += hn::Lanes(df)) {
        const auto load = [&](const std::byte* from) LUTRA_TILE {
          return LoadAsF32(df, from + skip, w.scales().type, static_cast<ptrdiff_t>(i), hn::Lanes(df));
        };
        hn::Store(load(w.PanelScales(p)), df, s.scale + i);
        if (has_offset) hn::Store(load(w.PanelOffsets(p)), df, s.offset + i);
      }
    }
    for (size_t strip = 0; strip < strips; ++strip) {  // leftovers split evenly
      const size_t m = strip * rows / strips, count = (strip + 1) * rows / strips - m;
      const internal::FloatRows x = internal::XIsInPlace(c)
                                        ? RowsFrom(c, tile.row_begin + m, count, segment, k, end, nullptr, 0)
                                        : internal::FloatRows{s.x + m * internal::kTileK + (k - k0), internal::kTileK};
      float others[internal::kTileMR];
      float* sum = span < s.spans ? s.sums + span * rows + m : others;
      for (size_t r = 0; has_offset && !sum_known && r < count; ++r) {
        float* parts = s.parts + (m + r) * internal::kSumParts;
        AddToSum(x.at + static_cast<ptrdiff_t>(r) * x.stride, k, end, parts);
        if (piece.ends) sum[r] = TakeSum(parts);
      }
      const size_t width = HWY_MIN(kPanelRows, 2 * hn::Lanes(df));
      for (size_t column = 0; column < kPanelRows; column += width) {
        TilePiece here = piece;
        here.w += column;
        here.scale += column;
        if (has_offset) here.offset += column;
        DenseRows(count, here, x, t + m * kPanelRows + column, acc + m * kPanelRows + column, sum);
      }
    }
    k = end;
  }
}

// Entry: one task. A template, as are those it calls: else a unit of int8 x alone would compile the tiles as well, for
// no call (3 % of its compile time).
template <class Mode>
int64_t Tile(const internal::GemmTask& t, size_t task, std::byte* scratch) {
  const GemmCall& c = t.call;
  const internal::GemmTile tile = internal::TileOf(t, task);
  const size_t rows = tile.row_end - tile.row_begin;
  internal::CodeValues values;
  internal::FillCodeValues(c.w, &values);
  if (rows <= internal::kFusedRows && Fused(t, tile, values, scratch)) return HWY_TARGET;
  const internal::TileScratch s = internal::TileScratchOf(rows, scratch);
  if (c.w.scales().has_offset) std::memset(s.parts, 0, rows * internal::kSumParts * sizeof(float));
  // Panels of a turn sum x together, so all sums have to fit.
  const bool alone =
      internal::XIsInPlace(c) || (c.w.scales().has_offset && c.w.segments() * c.w.groups_per_segment() > s.spans);
  const size_t turn = alone ? 1 : internal::kTilePanels, panel_sums = rows * kPanelRows;
  for (size_t first = tile.panel_begin; first < tile.panel_end; first += turn) {
    const size_t end = HWY_MIN(first + turn, tile.panel_end);
    std::memset(s.acc, 0, (end - first) * panel_sums * sizeof(float));
    for (size_t segment = 0; segment < c.w.segments(); ++segment) {
      for (size_t k0 = 0; k0 < c.w.segment_k(); k0 += internal::kTileK) {
        const size_t k1 = HWY_MIN(c.w.segment_k(), k0 + internal::kTileK);
        if (!internal::XIsInPlace(c)) CopyRows(c, tile.row_begin, rows, segment, k0, k1, s.x, internal::kTileK);
        for (size_t p = first; p < end; ++p) {
          DecodeValues(t, values, p, segment, k0, k1, s.codes, s.w);
          const uint8_t* next = c.w.Codes(p) + (segment * c.w.blocks_per_segment() + k1 / c.w.block_k()) *
                                                   c.w.block_bytes();  // comes from L3 while this one is used
          for (size_t i = 0; i < internal::kTileK / kBlockK * c.w.block_bytes(); i += 64) __builtin_prefetch(next + i);
          TileChunk(c, tile, p, segment, k0, k1, s, s.t + (p - first) * panel_sums, s.acc + (p - first) * panel_sums);
        }
      }
    }
    for (size_t p = first; p < end; ++p) {
      const size_t n = p * kPanelRows;
      for (size_t m = 0; m < rows; ++m) {
        WriteRow(c, tile.row_begin + m, n, HWY_MIN(kPanelRows, c.w.n() - n),
                 s.acc + (p - first) * panel_sums + m * kPanelRows);
      }
    }
  }
  return HWY_TARGET;
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
