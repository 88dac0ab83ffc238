// Direct depthwise convolution in f32, NCHW: lanes are columns, the tile is 8 rows; reads padded copies of the rows it
// needs (args.h draws them). Dense kernels of 3, 5 or 7 rows load each input row once for all rows of the tile, and two
// tiles share the taps. Order of sums, needs and bound: direct-inl.h.
#if defined(LUTRA_DEPTHWISE_DIRECT_NCHW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_DEPTHWISE_DIRECT_NCHW_INL_H_
#undef LUTRA_DEPTHWISE_DIRECT_NCHW_INL_H_
#else
#define LUTRA_DEPTHWISE_DIRECT_NCHW_INL_H_
#endif

#include <cstring>

#include "lutra/depthwise/direct-inl.h"
#include "lutra/depthwise/direct_3x3-inl.h"

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

// The tile's rows of the padded image to scratch, from padded column `column` on, by phases. Writes up to a vector
// behind the last row.
template <class D>
HWY_INLINE void StageRows(D d, const DepthwiseArgs& a, ptrdiff_t plane, const depthwise::NchwScratchSizes& s,
                          const int32_t* rows, size_t column, float* to) {
  const size_t stride = a.g.stride_w, lanes = hn::Lanes(d);
  const ptrdiff_t left = a.g.left, right = left + static_cast<ptrdiff_t>(a.in.w);
  const size_t mapped = a.mapped_cols - column;  // what lies behind the map is never used
  const int32_t* const cols = a.cols + column;
  const auto load = [&](ptrdiff_t i) {
    if (HWY_LIKELY(a.in.type == DType::kF32)) return static_cast<const float*>(a.in.data)[i];
    return LoadFloat(a.in.data, a.in.type, i);
  };
  const auto fill_zero = [&](float* line, size_t begin, size_t end) LUTRA_TILE {
    for (size_t i = begin; i < end; i += lanes) hn::StoreU(hn::Zero(d), d, line + i);
  };
  for (size_t r = 0; r < s.rows; ++r, to += s.row_floats) {
    if (rows[r] < 0) {
      fill_zero(to, 0, s.row_floats);
      continue;
    }
    const ptrdiff_t row = plane + rows[r] * a.in.sh;
    for (size_t phase = 0; phase < stride; ++phase) {
      float* const line = to + phase * s.phase_floats;
      // Elements [begin, end) are in the image, at from[0], from[stride], ...
      const auto skipped = static_cast<ptrdiff_t>(column + phase);
      const auto first_at = [&](ptrdiff_t padded) {
        const size_t columns = padded > skipped ? static_cast<size_t>(padded - skipped) : 0;
        return HWY_MIN(s.phase_used, (columns + stride - 1) / stride);
      };
      const size_t begin = first_at(left), end = HWY_MAX(first_at(right), begin);
      const ptrdiff_t from = row + (begin == end ? 0 : skipped + static_cast<ptrdiff_t>(begin * stride) - left);
      const auto pad = [&](size_t i) {
        const size_t x = i * stride + phase;
        return x < mapped && cols[x] >= 0 ? load(row + cols[x] * a.in.sw) : 0.0f;
      };
      const bool zero = a.g.pad == Pad::kZero;
      if (zero) fill_zero(line, 0, begin);  // all stores of vectors may go too far: what follows comes later
      if (stride == 1) {
        for (size_t i = begin; i < end; i += lanes) {
          hn::StoreU(LoadAsF32(d, a.in.data, a.in.type, from + static_cast<ptrdiff_t>(i - begin), end - i), d,
                     line + i);
        }
      } else {
        for (size_t i = begin; i < end; ++i) line[i] = load(from + static_cast<ptrdiff_t>((i - begin) * stride));
      }
      if (zero) {
        fill_zero(line, end, s.phase_used);
      } else {
        for (size_t i = 0; i < begin; ++i) line[i] = pad(i);
        for (size_t i = end; i < s.phase_used; ++i) line[i] = pad(i);
      }
    }
  }
}

// 8 output rows, a vector of their columns, any kernel and geometry: one broadcast tap for 8 loads, most of which cross
// a line on AVX-512. (To load a row once for all sums it belongs to takes a branch per sum, slower below kernels of 9
// rows, 3 times on AVX2, unless the kernel's height is a constant, as below.)
template <class D>
HWY_INLINE void NchwTile(D d, const DepthwiseArgs& a, const depthwise::NchwScratchSizes& s, const float* taps,
                         const float* staged, size_t ky_begin, size_t ky_end, const Epilogue& e, const TileOut& t) {
  const size_t row_step = a.g.stride_h * s.row_floats, phase_step = a.g.dil_w % a.g.stride_w;
  const size_t step = a.g.dil_w / a.g.stride_w + phase_step * s.phase_floats, back = s.row_floats - 1;
  WithAccumulators<kDirectTile>(d, [&](auto&... sum) LUTRA_TILE {
    const float* tap = taps + ky_begin * a.kw;
    for (size_t ky = ky_begin; ky < ky_end; ++ky) {
      const float* p = staged + ky * a.g.dil_h * s.row_floats;
      size_t phase = 0;
      for (size_t kx = 0; kx < a.kw; ++kx) {
        const auto w = hn::Set(d, *tap++);
        const float* row = p;
        Numbered(
            [&](auto, auto& v) LUTRA_TILE {
              v = hn::MulAdd(hn::LoadU(d, row), w, v);
              row += row_step;
            },
            sum...);
        p += step;
        phase += phase_step;
        if (phase >= a.g.stride_w) {
          phase -= a.g.stride_w;
          p -= back;
        }
      }
    }
    StoreTile<kDirectTile, true>(d, a, e, t, RefsTo(sum...));
  });
}

// Kernels of 3, 5 or 7 rows at stride 1 and dilation 1 (IsSmallNchw): output rows of a tile. Two tiles share each tap:
// 16 sums beside the 9 taps of 3 x 3, or 8 with 16 registers.
inline constexpr size_t kSmallRows = kPairs ? kDirectTile : kDirectTile / 2;

// One column of taps, tap(Index<ky>), for staged row kRow of a tile, which is loaded once for all output rows it
// belongs to. A second tile, its sums behind those of the first, reads what lies `next` floats on with the same taps.
template <size_t kKh, size_t kRow, class D, class Tap, class V, size_t kSums>
HWY_INLINE void AddStaged(D d, const float* p, size_t next, const Tap& tap, Refs<V, kSums> sum) {
  constexpr size_t kFirst = kRow < kKh ? 0 : kRow - kKh + 1, kLast = HWY_MIN(kRow, kSmallRows - 1);
  constexpr bool kTwo = kSums == 2 * kSmallRows;
  const auto v = Once(hn::LoadU(d, p));
  [[maybe_unused]] const auto v2 = Once(hn::LoadU(d, p + next));
  Unrolled<kLast - kFirst + 1>([&](auto i) LUTRA_TILE {
    constexpr size_t row = kFirst + i;
    const auto w = tap(Index<kRow - row>{});
    auto& s = sum.template At<row>();
    s = hn::MulAdd(v, w, s);
    if constexpr (kTwo) {
      auto& s2 = sum.template At<kSmallRows + row>();
      s2 = hn::MulAdd(v2, w, s2);
    }
  });
}
// All rows of a tile or of two. Taps are at taps[kx * kKh + ky].
template <size_t kKh, class D, class V, size_t kSums>
HWY_INLINE void AddSmall(D d, const float* staged, size_t row_floats, size_t next, const float* taps, size_t kw,
                         Refs<V, kSums> sum) {
  if constexpr (kKh == 3 && kPairs) {
    if (kw == 3) {  // in registers
      WithMade<9>([&](auto i) LUTRA_TILE { return Once(hn::Set(d, taps[i])); },
                  [&](const auto&... made) LUTRA_TILE {
                    const auto nine = RefsTo(made...);
                    Unrolled<3 * (kSmallRows + 2)>([&](auto i) LUTRA_TILE {
                      constexpr size_t kx = i % 3;
                      AddStaged<3, i / 3>(
                          d, staged + kx, next, [&](auto ky) LUTRA_TILE { return nine.template At<kx * 3 + ky>(); },
                          sum);
                      if constexpr (kx == 2) staged += row_floats;
                    });
                  });
      return;
    }
  }
  Unrolled<kSmallRows + kKh - 1>([&](auto row) LUTRA_TILE {
    const float* tap = taps;
    for (size_t kx = 0; kx < kw; ++kx, tap += kKh) {
      AddStaged<kKh, row>(
          d, staged + kx, next, [&](auto ky) LUTRA_TILE { return hn::Set(d, tap[ky]); }, sum);
    }
    staged += row_floats;
  });
}
template <size_t kKh, class D>
HWY_NOINLINE void SmallTile(D d, const DepthwiseArgs& a, size_t row_floats, const float* taps, const float* staged,
                            const Epilogue& e, const TileOut& t) {
  WithAccumulators<kSmallRows>(d, [&](auto&... sums) LUTRA_TILE {
    const auto sum = RefsTo(sums...);
    AddSmall<kKh>(d, staged, row_floats, 0, taps, a.kw, sum);
    StoreTile<kSmallRows, true>(d, a, e, t, sum);
  });
}
template <size_t kKh, class D>
HWY_NOINLINE void SmallPair(D d, const DepthwiseArgs& a, size_t row_floats, size_t next, const float* taps,
                            const float* staged, const Epilogue& e, const TileOut& t, const TileOut& t2) {
  WithAccumulators<2 * kSmallRows>(d, [&](auto&... sums) LUTRA_TILE {
    const auto sum = RefsTo(sums...);
    AddSmall<kKh>(d, staged, row_floats, next, taps, a.kw, sum);
    StorePlaneTiles<kSmallRows>(d, a, e, t, t2, true, sum);
  });
}
// Output rows [y, y_end), columns [x, x_end) of plane `out`, by two tiles at a time where there are two: side by side,
// one below the other in the last column of them.
template <size_t kKh, class D>
HWY_NOINLINE void SmallBlock(D d, const DepthwiseArgs& a, size_t row_floats, const float* taps, const float* staged,
                             const Epilogue& e, char* out, size_t y, size_t y_end, size_t x, size_t x_end) {
  const size_t lanes = hn::Lanes(d);
  HWY_ALIGN float sums[kMostSums * HWY_MAX_LANES_D(D)];
  static_assert(2 * kSmallRows <= kMostSums);
  const auto tile = [&](size_t ty, size_t tx, size_t which = 0) LUTRA_TILE {
    return PlaneTile<kSmallRows>(a, out, ty, y_end, tx, x_end, lanes, sums + which * kSmallRows * lanes);
  };
  for (; x + lanes < x_end; x += 2 * lanes, staged += 2 * lanes) {
    const float* from = staged;
    for (size_t ty = y; ty < y_end; ty += kSmallRows, from += kSmallRows * row_floats) {
      SmallPair<kKh>(d, a, row_floats, lanes, taps, from, e, tile(ty, x), tile(ty, x + lanes, 1));
    }
  }
  if (x >= x_end) return;
  const size_t below = kSmallRows * row_floats;
  for (; y + kSmallRows < y_end; y += 2 * kSmallRows, staged += 2 * below) {
    SmallPair<kKh>(d, a, row_floats, below, taps, staged, e, tile(y, x), tile(y + kSmallRows, x, 1));
  }
  if (y < y_end) SmallTile<kKh>(d, a, row_floats, taps, staged, e, tile(y, x));
}

// Zeros to all columns of the lines but [begin, end), and up to a vector behind: into those, or into the next line.
template <class D>
HWY_INLINE void ClearOutside(D d, const depthwise::NchwScratchSizes& s, size_t begin, size_t end, float* to) {
  for (size_t r = 0; r < s.rows; ++r, to += s.row_floats) {
    for (size_t i = 0; i < begin; i += hn::Lanes(d)) hn::StoreU(hn::Zero(d), d, to + i);
    for (size_t i = end; i < s.phase_used; i += hn::Lanes(d)) hn::StoreU(hn::Zero(d), d, to + i);
  }
}
// StageRows of f32 and zero padding at stride 1: columns [begin, end) of each line are the image's, from `from` on in
// its rows. All others are zero already, and up to a vector behind `end` becomes so.
template <class D>
HWY_INLINE void StageInside(D d, const DepthwiseArgs& a, const float* from, const depthwise::NchwScratchSizes& s,
                            const int32_t* rows, size_t begin, size_t end, float* to) {
  const size_t lanes = hn::Lanes(d), columns = end - begin, whole = columns / lanes * lanes, rest = columns - whole;
  to += begin;
  for (size_t r = 0; r < s.rows; ++r, to += s.row_floats) {
    if (rows[r] < 0) {
      for (size_t i = 0; i < columns; i += lanes) hn::StoreU(hn::Zero(d), d, to + i);
      continue;
    }
    const float* const row = from + rows[r] * a.in.sh;
    for (size_t i = 0; i < whole; i += lanes) hn::StoreU(hn::LoadU(d, row + i), d, to + i);
    if (rest != 0) hn::StoreU(LoadLanes(d, row + whole, rest), d, to + whole);
  }
}

// One task.
inline int64_t DirectNchw(const DepthwiseArgs* args, size_t task, void* scratch) {
  if (args == nullptr) return HWY_TARGET;
  const DepthwiseArgs& a = *args;
  const hn::ScalableTag<float> d;
  const DepthwisePiece piece = depthwise::PieceOf(a, task);
  const auto size = static_cast<ptrdiff_t>(SizeOf(a.out.type));
  const depthwise::NchwScratchSizes s =
      depthwise::NchwScratch(a.kh, a.kw, a.g, a.out.h, a.out.w, a.staged, hn::Lanes(d));
  auto* const taps = static_cast<float*>(scratch);
  float* const staged = taps + s.tap_floats;
  const bool small = !kOldX86 && depthwise::IsSmallNchw(a.kh, a.g);
  const bool inside = small && a.in.type == DType::kF32 && a.g.pad == Pad::kZero;
  const size_t height = depthwise::NchwRows(a.kh, a.g, a.out.h);
  size_t clean = SIZE_MAX;  // the block of columns whose padding is zero in scratch
  SpreadEpilogue spread;
  HWY_ALIGN float sums[kMostSums * HWY_MAX_LANES_D(decltype(d))];
  for (size_t c = piece.c_begin; c < piece.c_end; ++c) {
    const ptrdiff_t plane = At(piece.n, a.in.sn) + At(c, a.in.sc);
    const float* tap = a.taps + c / kTapBlock * a.kh * a.kw * kTapBlock + c % kTapBlock;
    for (size_t ky = 0; ky < a.kh; ++ky) {
      for (size_t kx = 0; kx < a.kw; ++kx, tap += kTapBlock) taps[small ? kx * a.kh + ky : ky * a.kw + kx] = *tap;
    }
    char* const out = static_cast<char*>(a.out.data) + (At(piece.n, a.out.sn) + At(c, a.out.sc)) * size;
    spread.Set(a.epilogue, c);
    if (inside && a.kh == 3 && a.kw == 3 && !a.staged &&
        Direct3x3(d, a, static_cast<const float*>(a.in.data) + plane, taps, spread.epilogue, out, piece.y_begin,
                  piece.y_end, sums)) {
      continue;
    }
    for (size_t x0 = 0; x0 < a.out.w; x0 += s.block) {
      const size_t columns = HWY_MIN(s.block, a.out.w - x0);
      size_t begin = 0, end = 0;  // of the image, among the padded columns of the block
      float* lines = staged;
      if (inside) {
        const ptrdiff_t first = a.g.left - static_cast<ptrdiff_t>(x0), last = first + static_cast<ptrdiff_t>(a.in.w);
        begin = HWY_MIN(s.phase_used, static_cast<size_t>(HWY_MAX(first, ptrdiff_t{0})));
        end = HWY_MAX(begin, HWY_MIN(s.phase_used, static_cast<size_t>(HWY_MAX(last, ptrdiff_t{0}))));
        if (hn::Lanes(d) <= kTapBlock) lines += (kTapBlock - begin % kTapBlock) % kTapBlock;  // whole lines are stored
        if (x0 != clean) ClearOutside(d, s, begin, end, lines);
        clean = x0;
      }
      const auto stage = [&](const depthwise::NchwScratchSizes& part, const int32_t* rows) {
        if (!inside) return StageRows(d, a, plane, part, rows, x0 * a.g.stride_w, lines);
        if (begin == end) return;
        const ptrdiff_t from = static_cast<ptrdiff_t>(x0 + begin) - a.g.left;
        StageInside(d, a, static_cast<const float*>(a.in.data) + plane + from, part, rows, begin, end, lines);
      };
      if (a.staged) stage(s, a.rows);
      for (size_t y = piece.y_begin; y < piece.y_end; y += height) {
        const int32_t* const rows = a.rows + y * a.g.stride_h;
        const size_t y_end = HWY_MIN(y + height, piece.y_end);
        if (!a.staged) {
          depthwise::NchwScratchSizes part = s;
          part.rows -= (height - depthwise::RoundUp(y_end - y, kDirectTile)) * a.g.stride_h;
          stage(part, rows);
        }
        const float* const first = lines + (a.staged ? y * a.g.stride_h * s.row_floats : 0);
        if constexpr (!kOldX86) {
          const auto run = [&](auto kh) {
            SmallBlock<kh>(d, a, s.row_floats, taps, first, spread.epilogue, out, y, y_end, x0, x0 + columns);
          };
          if (small) {
            a.kh == 3 ? run(Index<3>{}) : a.kh == 5 ? run(Index<5>{}) : run(Index<7>{});
            continue;
          }
        }
        for (size_t ty = y; ty < y_end; ty += kDirectTile) {
          const int32_t* const tile_rows = rows + (ty - y) * a.g.stride_h;
          const float* const tile = first + (ty - y) * a.g.stride_h * s.row_floats;
          // Taps that no row of the tile needs.
          const auto unused = [&](size_t ky) {
            for (size_t i = 0; i < kDirectTile; ++i) {
              if (tile_rows[ky * a.g.dil_h + i * a.g.stride_h] >= 0) return false;
            }
            return true;
          };
          size_t ky_begin = 0, ky_end = a.kh;
          while (ky_begin < ky_end && unused(ky_begin)) ++ky_begin;
          while (ky_begin < ky_end && unused(ky_end - 1)) --ky_end;
          TileOut t{};
          t.sums = sums;
          t.pixels = HWY_MIN(kDirectTile, y_end - ty);
          t.step = a.out.sh * size;
          t.pixel_step = a.out.w;
          for (size_t x = 0; x < columns; x += hn::Lanes(d)) {
            t.lanes = HWY_MIN(hn::Lanes(d), columns - x);
            t.row = ty * a.out.w + x0 + x;
            t.y = out + (At(ty, a.out.sh) + At(x0 + x, a.out.sw)) * size;
            NchwTile(d, a, s, taps, tile + x, ky_begin, ky_end, spread.epilogue, t);
          }
        }
      }
    }
  }
  return HWY_TARGET;
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
