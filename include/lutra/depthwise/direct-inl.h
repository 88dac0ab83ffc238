// Direct depthwise convolution in f32: a register tile of output pixels, taps ky ascending, then kx ascending.
// NHWC    lanes are channels, the tile is 7 columns of two rows; reads the image itself, or a copy of its rows. With
//         16 registers it is one row, whose pixels are in registers; at edges two, whose pixels stay in memory.
// NCHW    direct_nchw-inl.h, which shares the end of a tile (tile_end-inl.h).
// Needs   checked arguments (job.h). Touches no element outside of the views.
// Bound   the FMA peak.
#if defined(LUTRA_DEPTHWISE_DIRECT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_DEPTHWISE_DIRECT_INL_H_
#undef LUTRA_DEPTHWISE_DIRECT_INL_H_
#else
#define LUTRA_DEPTHWISE_DIRECT_INL_H_
#endif

#include <bit>
#include <type_traits>
#include <utility>

#include "lutra/depthwise/pixels-inl.h"
#include "lutra/depthwise/tile_end-inl.h"

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

using depthwise::DepthwisePiece;
using depthwise::kDirectTile;
using depthwise::kMostPhases;

// 32 registers: 14 sums beside up to 9 taps.
inline constexpr bool kPairs = !(HWY_ARCH_X86 && HWY_TARGET > HWY_AVX3);

// 16, of a target whose FMA can load: tiles at edges leave pixels in memory.
inline constexpr bool kEdgesInMemory = HWY_TARGET == HWY_AVX2;

// Without FMA: CPUs older than 2013, which should get right answers for few seconds of everybody's compiler.
inline constexpr bool kOldX86 = HWY_ARCH_X86 && HWY_TARGET > HWY_AVX2;

// A load that stays one: GCC otherwise repeats it in each MulAdd.
template <class V>
HWY_INLINE V Once(V v) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  asm("" : "+v"(v.raw));
#elif HWY_ARCH_X86 && HWY_TARGET <= HWY_SSE2
  asm("" : "+x"(v.raw));
#endif
  return v;
}

// Where the taps and outputs of an image lie. Input row of output row u and tap ky, in the map: u * row_out + ky *
// row_tap; columns likewise. Where both steps are equal, neighbouring outputs share input.
struct Walk {
  const int32_t *rows, *cols;
  size_t row_out, row_tap, col_out, col_tap;
  size_t kh, kw;
  ptrdiff_t in_row, in_col;     // floats
  ptrdiff_t out_row, out_col;   // bytes
  size_t pixel_row, pixel_col;  // of the epilogue's operands
  ptrdiff_t left, right;        // columns [left, right) of the map are the image's
};

// The taps that a column of tiles walks over.
struct TapRows {
  const float* first;  // of the first row
  size_t count;        // of each row
  size_t step;         // floats from row to row
};

// kStride: col_out / col_tap, 0: any. kTaps: kw, 0: any.
template <size_t kColumns, size_t kStrideW, size_t kTapsW>
struct TileShape {
  static constexpr size_t kCols = kColumns, kStride = kStrideW, kTaps = kTapsW;
};

// Pixel kJ of those that kBlock neighbouring taps of an input row meet, for output rows kFirst ... kLast of the tile;
// tap (row - kFirst) * kBlock + kx.
template <class Tile, size_t kFirst, size_t kLast, size_t kBlock, size_t kJ, class V, size_t kTapRefs, size_t kSums>
HWY_INLINE void AddPixel(V v, Refs<const V, kTapRefs> tap, Refs<V, kSums> sum) {
  Unrolled<(kLast - kFirst + 1) * kBlock>([&](auto i) LUTRA_TILE {
    constexpr size_t kx = i % kBlock, row = kFirst + i / kBlock;
    if constexpr (kJ >= kx && (kJ - kx) % Tile::kStride == 0 && (kJ - kx) / Tile::kStride < Tile::kCols) {
      auto& s = sum.template At<row * Tile::kCols + (kJ - kx) / Tile::kStride>();
      s = hn::MulAdd(v, tap.template At<i>(), s);
    }
  });
}
// All of them: each is loaded once.
template <class Tile, size_t kFirst, size_t kLast, size_t kBlock, class D, class Pixels, class V, size_t kTapRefs,
          size_t kSums>
HWY_INLINE void Slide(D d, Pixels pixels, Refs<const V, kTapRefs> tap, Refs<V, kSums> sum) {
  Unrolled<(Tile::kCols - 1) * Tile::kStride + kBlock>([&](auto j) LUTRA_TILE {
    if (pixels.Has()) AddPixel<Tile, kFirst, kLast, kBlock, j>(Once(pixels.Load(d)), tap, sum);
    pixels = pixels.After(1);
  });
}
// The same; each row has the taps `back` floats before those of the row above it.
template <class Tile, size_t kFirst, size_t kLast, size_t kBlock, class D, class Pixels, class V, size_t kSums>
HWY_INLINE void AddBlock(D d, Pixels pixels, const float* taps, size_t back, Refs<V, kSums> sum) {
  WithMade<(kLast - kFirst + 1) * kBlock>(
      [&](auto i)
          LUTRA_TILE { return Once(hn::LoadU(d, taps + (i % kBlock) * kTapBlock - (kFirst + i / kBlock) * back)); },
      [&](const auto&... tap) LUTRA_TILE { Slide<Tile, kFirst, kLast, kBlock>(d, pixels, RefsTo(tap...), sum); });
}

// One tap of an input row, for all sums of the tile it belongs to.
template <class Tile, size_t kFirst, size_t kLast, class D, class V, size_t kSums>
HWY_INLINE void AddTap(D d, const EdgeInMemory& pixels, const float* taps, size_t back, Refs<V, kSums> sum) {
  const auto tap = hn::LoadU(d, taps - kFirst * back), tap_2 = hn::LoadU(d, taps - kLast * back);
  Unrolled<Tile::kCols>([&](auto i) LUTRA_TILE {
    constexpr size_t kSteps = i * Tile::kStride;
    if (!pixels.Has<kSteps>()) return;
    auto& s = sum.template At<kFirst * Tile::kCols + i>();
    s = hn::MulAdd(pixels.Load<kSteps>(d, pixels.at), tap, s);
    if constexpr (kFirst != kLast) {
      auto& s_2 = sum.template At<kLast * Tile::kCols + i>();
      s_2 = hn::MulAdd(pixels.Load<kSteps>(d, pixels.again), tap_2, s_2);
    }
  });
}

// All taps of an input row.
template <class Tile, size_t kFirst, size_t kLast, class D, class Pixels, class V, size_t kSums>
HWY_INLINE void AddRow(D d, const Walk& w, Pixels pixels, const float* taps, const TapRows& of, Refs<V, kSums> sum) {
  const size_t back = of.step;
  if constexpr (Tile::kStride == 0) {
    for (size_t left = of.count; left != 0; --left, taps += kTapBlock, pixels = pixels.After(1)) {
      const auto tap = hn::LoadU(d, taps);
      Pixels p = pixels;
      Unrolled<kSums>([&](auto i) LUTRA_TILE {
        auto& s = sum.template At<i>();
        if (p.Has()) s = hn::MulAdd(p.Load(d), tap, s);
        p.column += w.col_out;
      });
    }
  } else if constexpr (std::is_same_v<Pixels, EdgeInMemory>) {
    for (size_t left = of.count; left != 0; --left, taps += kTapBlock, pixels.Next()) {
      AddTap<Tile, kFirst, kLast>(d, pixels, taps, back, sum);
    }
  } else if constexpr (Tile::kTaps != 0) {
    AddBlock<Tile, kFirst, kLast, Tile::kTaps>(d, pixels, taps, back, sum);
  } else {
    size_t left = of.count;
    for (; left >= 4; left -= 4, taps += 4 * kTapBlock, pixels = pixels.After(4)) {
      AddBlock<Tile, kFirst, kLast, 4>(d, pixels, taps, back, sum);
    }
    if (left == 3) return AddBlock<Tile, kFirst, kLast, 3>(d, pixels, taps, back, sum);
    for (; left != 0; --left, taps += kTapBlock, pixels = pixels.After(1)) {
      AddBlock<Tile, kFirst, kLast, 1>(d, pixels, taps, back, sum);
    }
  }
}

// One output row of a column of tiles, one vector of channels.
template <class Tile, class D, class Pixels>
HWY_INLINE void RowTile(D d, const DepthwiseArgs& a, const Walk& w, Pixels pixels, const int32_t* rows,
                        const TapRows& of, const TileOut& t) {
  const float* taps = of.first;
  WithAccumulators<Tile::kCols>(d, [&](auto&... sums) LUTRA_TILE {
    const auto sum = RefsTo(sums...);
    for (size_t ky = 0; ky < w.kh; ++ky, rows += w.row_tap, taps += of.step) {
      if (*rows >= 0) AddRow<Tile, 0, 0>(d, w, pixels.Row(*rows * w.in_row), taps, of, sum);
    }
    StoreTile<Tile::kCols, false>(d, a, a.epilogue, t, sum);
  });
}
// Two, from the kh + 1 input rows that one of them meets.
template <class Tile, class D, class Pixels>
HWY_INLINE void PairTile(D d, const DepthwiseArgs& a, const Walk& w, Pixels pixels, const int32_t* rows,
                         const TapRows& of, const TileOut& t) {
  const float* taps = of.first;
  WithAccumulators<2 * Tile::kCols>(d, [&](auto&... sums) LUTRA_TILE {
    const auto sum = RefsTo(sums...);
    if (*rows >= 0) AddRow<Tile, 0, 0>(d, w, pixels.Row(*rows * w.in_row), taps, of, sum);
    for (size_t ky = 1; ky < w.kh; ++ky) {
      rows += w.row_tap;
      taps += of.step;
      if (*rows >= 0) AddRow<Tile, 0, 1>(d, w, pixels.Row(*rows * w.in_row), taps, of, sum);
    }
    rows += w.row_tap;
    if (*rows >= 0) AddRow<Tile, 1, 1>(d, w, pixels.Row(*rows * w.in_row), taps + of.step, of, sum);
    StoreTile<Tile::kCols, false>(d, a, a.epilogue, t, sum);
  });
}
// The same of 3 x 3 taps, which stay in registers, for whole tiles.
template <class Tile, class D, class Pixels, class V>
HWY_INLINE void PairTile3x3(D d, const DepthwiseArgs& a, const Walk& w, Pixels pixels, const int32_t* rows,
                            const TileOut& t, Refs<V, 9> tap) {
  WithAccumulators<2 * Tile::kCols>(d, [&](auto&... sums) LUTRA_TILE {
    const auto sum = RefsTo(sums...);
    Unrolled<4>([&](auto ky) LUTRA_TILE {
      if (*rows >= 0) {
        constexpr size_t kFirst = ky == 3 ? 1 : 0, kLast = ky == 0 ? 0 : 1, kTop = 3 * (ky - kFirst);
        using OfRow = std::conditional_t<kFirst == kLast, std::index_sequence<kTop, kTop + 1, kTop + 2>,
                                         std::index_sequence<kTop, kTop + 1, kTop + 2, kTop - 3, kTop - 2, kTop - 1>>;
        Slide<Tile, kFirst, kLast, 3>(d, pixels.Row(*rows * w.in_row), tap.Select(OfRow()), sum);
      }
      rows += w.row_tap;
    });
    StoreWhole<Tile::kCols>(d, a.epilogue, t, sum);
  });
}

// `count` output rows of a column of tiles, one vector of channels.
template <class Tile, class D, class Pixels>
HWY_NOINLINE void Strip(D d, const DepthwiseArgs& a, const Walk& w, Pixels pixels, const TapRows& taps, size_t count,
                        TileOut t) {
  const int32_t* rows = w.rows;
  const auto advance = [&](size_t by) LUTRA_TILE {
    rows += by * w.row_out;
    t.y += At(by, t.row_step);
    t.row += by * t.pixel_row_step;
  };
  if constexpr (Tile::kStride == 1 && (kPairs || std::is_same_v<Pixels, EdgeInMemory>)) {
    if (w.row_out == w.row_tap && w.kh > 1) {
      if constexpr (Tile::kTaps == 3) {
        if (w.kh == 3 && a.row_taps == nullptr && IsWhole<Tile::kCols>(d, a, t)) {
          WithMade<9>([&](auto i) LUTRA_TILE { return Once(hn::LoadU(d, taps.first + i * kTapBlock)); },
                      [&](const auto&... tap) LUTRA_TILE {
                        for (; count > 1; count -= 2) {
                          PairTile3x3<Tile>(d, a, w, pixels, rows, t, RefsTo(tap...));
                          advance(2);
                        }
                      });
        }
      }
      for (; count > 1; count -= 2) {
        PairTile<Tile>(d, a, w, pixels, rows, taps, t);
        advance(2);
      }
    }
  }
  for (; count != 0; --count) {
    RowTile<Tile>(d, a, w, pixels, rows, taps, t);
    advance(1);
  }
}

// The columns of the next tile of `left` columns: 7 (widths of networks are 7 x 2^n), or 4 where that wastes many
// fewer.
constexpr size_t ColumnsOfTile(size_t left) { return left <= 4 || left == 8 ? 4 : 7; }

template <class Tile, class D>
HWY_INLINE void StripAt(D d, const DepthwiseArgs& a, const Walk& w, const float* image, size_t x, const float* taps,
                        size_t count, const TileOut& t) {
  const size_t first = x * w.col_out;
  TapRows of{taps, w.kw, w.kw * kTapBlock};
  if constexpr (Tile::kStride != 0) {
    constexpr size_t kBefore = (Tile::kCols - 1) * Tile::kStride;  // how far the last column is from the first
    const size_t steps = kBefore + w.kw;
    const auto begin = static_cast<ptrdiff_t>(first), step = static_cast<ptrdiff_t>(w.col_tap);
    const ptrdiff_t last = begin + At(steps - 1, step), at = (begin - w.left) * w.in_col;
    const bool inside = begin >= w.left && last < w.right, whole = t.lanes == hn::Lanes(d);
    // A look at `present` all but hides behind the FMAs: narrow tiles have no other code, where all lanes are there or
    // cost nothing to mask (AVX-512).
    if constexpr (!HWY_ARCH_X86 || Tile::kCols > 4) {
      if (inside && whole) {
        return Strip<Tile>(d, a, w, Inside{image + at, At(w.col_tap, w.in_col)}, of, count, t);
      }
    }
    if (steps <= 64 && (inside || a.g.pad == Pad::kZero)) {
      uint64_t present = 0;
      for (size_t i = 0; i < steps; ++i) {
        const ptrdiff_t column = begin + At(i, step);
        present |= uint64_t{column >= w.left && column < w.right} << i;
      }
      size_t skipped = 0;
      if constexpr (Tile::kTaps == 0) {  // taps that meet no column of the image
        const auto lowest = static_cast<size_t>(std::countr_zero(present)),
                   end = static_cast<size_t>(std::bit_width(present));
        skipped = lowest > kBefore ? HWY_MIN(lowest - kBefore, w.kw) : 0;
        of.first += skipped * kTapBlock;
        of.count = HWY_MAX(HWY_MIN(end, w.kw), skipped) - skipped;
      }
      const Edge pixels = Edge{image, at, At(w.col_tap, w.in_col), present, t.lanes}.After(skipped);
      if constexpr (kEdgesInMemory && Tile::kTaps == 0) {
        if (whole) return Strip<Tile>(d, a, w, EdgeInMemory(pixels), of, count, t);
      }
      return Strip<Tile>(d, a, w, pixels, of, count, t);
    }
  }
  using Any = TileShape<Tile::kCols, 0, 0>;  // rare: the least code
  Strip<Any>(d, a, w, Mapped{image, w.in_col, w.cols + first, w.col_tap, t.lanes}, of, count, t);
}

// Output rows [0, rows) and columns [0, cols) of w, channels [c_begin, c_end), whose first outputs are at y.
template <class D>
HWY_INLINE void WalkStrips(D d, const DepthwiseArgs& a, const Walk& w, const float* image, size_t c_base,
                           size_t c_begin, size_t c_end, size_t rows, size_t cols, char* y, size_t pixel) {
  const auto size = static_cast<ptrdiff_t>(SizeOf(a.out.type));
  const size_t block_taps = w.kh * w.kw * kTapBlock;
  const size_t stride = w.col_out % w.col_tap == 0 ? w.col_out / w.col_tap : kDirectTile;  // or whatever is above 2
  HWY_ALIGN float sums[kMostSums * HWY_MAX_LANES_D(D)];
  TileOut t{};
  t.sums = sums;
  t.step = w.out_col;
  t.row_step = w.out_row;
  t.pixel_step = w.pixel_col;
  t.pixel_row_step = w.pixel_row;
  const bool again = a.plain && (a.staged || a.in.data != a.out.data);  // outputs may be written twice
  for (size_t x = 0; x < cols;) {
    const size_t columns = stride > 2 ? 4 : ColumnsOfTile(cols - x);
    // Tiles with all their pixels end in registers (IsWhole): the last begins where it has them.
    if (again && cols - x < columns && columns <= cols) x = cols - columns;
    t.pixels = HWY_MIN(columns, cols - x);
    t.row = pixel + x * w.pixel_col;
    for (size_t c = c_begin; c < c_end; c += hn::Lanes(d)) {
      t.lanes = HWY_MIN(hn::Lanes(d), c_end - c);
      t.channel = c;
      t.y = y + At(x, w.out_col) + static_cast<ptrdiff_t>(c) * size;
      const float* const taps = a.taps + c / kTapBlock * block_taps + c % kTapBlock;
      const float* const from = image + (c - c_base);
      if (stride > 2 || (kOldX86 && columns == 4)) {
        StripAt<TileShape<4, 0, 0>>(d, a, w, from, x, taps, rows, t);
      } else if constexpr (kOldX86) {
        StripAt<TileShape<7, 0, 0>>(d, a, w, from, x, taps, rows, t);
      } else if (stride == 2) {
        if (columns == 7) {
          StripAt<TileShape<7, 2, 0>>(d, a, w, from, x, taps, rows, t);
        } else {
          StripAt<TileShape<4, 2, 0>>(d, a, w, from, x, taps, rows, t);
        }
      } else if (columns == 4) {
        StripAt<TileShape<4, 1, 0>>(d, a, w, from, x, taps, rows, t);
      } else if (w.kw == 3) {
        StripAt<TileShape<7, 1, 3>>(d, a, w, from, x, taps, rows, t);
      } else if (w.kw == 5) {
        StripAt<TileShape<7, 1, 5>>(d, a, w, from, x, taps, rows, t);
      } else {
        StripAt<TileShape<7, 1, 0>>(d, a, w, from, x, taps, rows, t);
      }
    }
    x += columns;
  }
}

// Rows of the image of channels [c_begin, c_end), dense and as f32. kType: the image's.
template <DType kType>
HWY_NOINLINE void CopyRowsOf(const DepthwiseArgs& a, const DepthwisePiece& piece, depthwise::RowRange rows, float* to) {
  const hn::CappedTag<float, kTapBlock> d;
  const size_t channels = piece.c_end - piece.c_begin, lanes = hn::Lanes(d);
  for (size_t y = rows.begin; y < rows.end; ++y) {
    ptrdiff_t from = At(piece.n, a.in.sn) + At(y, a.in.sh) + At(piece.c_begin, a.in.sc);
    for (size_t x = 0; x < a.in.w; ++x, from += a.in.sw, to += channels) {
      size_t c = 0;
      for (; c + lanes <= channels; c += lanes) {
        hn::StoreU(LoadAsF32(d, a.in.data, kType, from + static_cast<ptrdiff_t>(c), lanes), d, to + c);
      }
      if (c == channels) continue;
      hn::StoreN(LoadAsF32(d, a.in.data, kType, from + static_cast<ptrdiff_t>(c), channels - c), d, to + c,
                 channels - c);
    }
  }
}
HWY_INLINE void CopyRows(const DepthwiseArgs& a, const DepthwisePiece& piece, depthwise::RowRange rows, float* to) {
  if (a.in.type == DType::kF32) return CopyRowsOf<DType::kF32>(a, piece, rows, to);
  if (a.in.type == DType::kBF16) return CopyRowsOf<DType::kBF16>(a, piece, rows, to);
  CopyRowsOf<DType::kF16>(a, piece, rows, to);
}

// Output rows [y_begin, y_end) of an image whose pixels are vectors of channels: `image` points at channel c_base of
// its first pixel, sh and sw floats between rows and columns. any_rows: `image` has all rows, not only those of the
// piece.
inline void WalkPiece(const DepthwiseArgs& a, const DepthwisePiece& piece, const float* image, ptrdiff_t sh,
                      ptrdiff_t sw, size_t c_base, bool any_rows) {
  const hn::CappedTag<float, kTapBlock> d;  // a vector's taps lie in one block
  const auto size = static_cast<ptrdiff_t>(SizeOf(a.out.type));
  const size_t phases_h = depthwise::PhasesOf(a.g.stride_h, a.g.dil_h),
               phases_w = depthwise::PhasesOf(a.g.stride_w, a.g.dil_w);
  char* const out = static_cast<char*>(a.out.data) + At(piece.n, a.out.sn) * size;
  for (size_t fy = 0; fy < phases_h; ++fy) {
    for (size_t fx = 0; fx < phases_w; ++fx) {
      const size_t y = piece.y_begin + fy, x = fx;
      if (y >= piece.y_end || x >= a.out.w) continue;
      size_t rows = (piece.y_end - y + phases_h - 1) / phases_h, cols = (a.out.w - x + phases_w - 1) / phases_w;
      Walk w;
      w.rows = a.rows + y * a.g.stride_h;
      w.cols = a.cols + x * a.g.stride_w;
      w.row_out = a.g.stride_h * phases_h;
      w.col_out = a.g.stride_w * phases_w;
      w.row_tap = a.g.dil_h;
      w.col_tap = a.g.dil_w;
      w.kh = a.kh;
      w.kw = a.kw;
      w.in_row = sh;
      w.in_col = sw;
      w.out_row = At(phases_h, a.out.sh) * size;
      w.out_col = At(phases_w, a.out.sw) * size;
      w.pixel_row = phases_h * a.out.w;
      w.pixel_col = phases_w;
      w.left = a.g.left - static_cast<ptrdiff_t>(x * a.g.stride_w);
      w.right = w.left + static_cast<ptrdiff_t>(a.in.w);
      // A column of taps is a row of the image that is turned. Its tiles may read rows beyond those of the piece.
      if (a.kw == 1 && a.kh != 1 && any_rows) {
        std::swap(w.rows, w.cols);
        std::swap(w.row_out, w.col_out);
        std::swap(w.row_tap, w.col_tap);
        std::swap(w.kh, w.kw);
        std::swap(w.in_row, w.in_col);
        std::swap(w.out_row, w.out_col);
        std::swap(w.pixel_row, w.pixel_col);
        std::swap(rows, cols);
        w.left = a.g.top - static_cast<ptrdiff_t>(y * a.g.stride_h);
        w.right = w.left + static_cast<ptrdiff_t>(a.in.h);
      }
      WalkStrips(d, a, w, image, c_base, piece.c_begin, piece.c_end, rows, cols,
                 out + (At(y, a.out.sh) + At(x, a.out.sw)) * size, (piece.n * a.out.h + y) * a.out.w + x);
    }
  }
}

// One task.
inline int64_t DirectNhwc(const DepthwiseArgs* args, size_t task, void* scratch) {
  if (args == nullptr) return HWY_TARGET;
  const DepthwiseArgs& a = *args;
  const DepthwisePiece piece = depthwise::PieceOf(a, task);
  if (!a.staged && !a.copied) {
    WalkPiece(a, piece, static_cast<const float*>(a.in.data) + At(piece.n, a.in.sn), a.in.sh, a.in.sw, 0, true);
    return HWY_TARGET;
  }
  const depthwise::RowRange range =
      a.staged ? depthwise::RowRange{0, a.in.h} : depthwise::RowsOf(a.rows, a.g, a.kh, piece.y_begin, piece.y_end);
  for (DepthwisePiece block = piece; block.c_begin < piece.c_end; block.c_begin += kTapBlock) {
    block.c_end = HWY_MIN(block.c_begin + kTapBlock, piece.c_end);
    CopyRows(a, block, range, static_cast<float*>(scratch));
    const auto sw = static_cast<ptrdiff_t>(block.c_end - block.c_begin), sh = At(a.in.w, sw);
    WalkPiece(a, block, static_cast<const float*>(scratch) - At(range.begin, sh), sh, sw, block.c_begin, a.staged);
  }
  return HWY_TARGET;
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
