// Integer dot product: sums of x[m, k] * code[n, k], exact in int32, for affine formats of 1 ... 8 bits.
// Needs   whole blocks of 32 k; x: int8 rows that are zero up to the end of their last block.
// Bound   the multiply's port: 4-way dot where the target has one, else pair-multiplies summed in 16 bits and widened
// as
//         often as WidenEvery says, else (codes above 127 without a dot) multiplies of 16-bit pairs.
//
// Layout: see weights/packed.h. A 32-bit lane is one output row; its 4 code bytes meet 4 activation bytes that are
// broadcast to all lanes, and nothing is ever summed across lanes.
#if defined(LUTRA_GEMM_INT_DOT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_GEMM_INT_DOT_INL_H_
#undef LUTRA_GEMM_INT_DOT_INL_H_
#else
#define LUTRA_GEMM_INT_DOT_INL_H_
#endif

#include "hwy/cache_control.h"
#include "lutra/gemm/int_lanes-inl.h"
#include "lutra/gemm/unpack-inl.h"

#ifndef LUTRA_GEMM_INT_DOT_X_ROWS_
#define LUTRA_GEMM_INT_DOT_X_ROWS_
namespace lutra { inline namespace LUTRA_NS { namespace internal {
template <size_t kMR>
struct XRows {
  const int8_t* at[kMR];
};
}}}  // namespace lutra::LUTRA_NS::internal
#endif

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

#if LUTRA_INT_LANES_ALONE
template <class Planes>
int64_t IntDot(const internal::GemmTask& t, size_t task, std::byte* scratch) {
  return IntLanes(t, task, scratch);
}
#else

// Which multiply the codes of a width take on this target, and into which partial sums. vpdpbusd is unsigned by signed,
// Arm's sdot signed by signed.
template <class Planes, size_t kMR, size_t kV>
struct DotTraits {
  static constexpr int kBits = Planes::kBits, kMaxPattern = Planes::kMaxPattern;
#if HWY_ARCH_X86
  static constexpr bool kQuad = HWY_TARGET <= HWY_AVX3_DL;
#else
  static constexpr bool kQuad = (HWY_TARGET == HWY_NEON_BF16 || (HWY_TARGET & HWY_ALL_SVE) != 0) && kMaxPattern <= 127;
#endif
  static constexpr bool kPair = !kQuad && WidenEvery(kMaxPattern, /*field_weight=*/1, /*x_min=*/-128) >= 1;
  // With few rows of x, unpacking costs more than multiplying: fields of a single plane then stay where they are in
  // the byte, and each place has partial sums of its own, shifted down once they are complete.
  static constexpr bool kSingle = Planes::kPlanes[1] == 0 && kBits < 8;
  static constexpr size_t kFields = kSingle ? 8 / kBits : 1;
  static constexpr bool kUnshifted = kSingle && kMR <= 2 && (kQuad ? kFields * kMR * kV <= 16 : kPair && kBits <= 2);
  static constexpr size_t kPlaces = !kUnshifted ? 1 : kQuad ? kFields : 2;
  // More partial sums, so that dots of long latency overlap.
  static constexpr size_t kSplit = kQuad && !kUnshifted ? HWY_MAX(size_t{8} / (kMR * kV), size_t{1}) : 1;
  static constexpr size_t kParts = kPlaces * kSplit;
  // Quads of k that the loop unrolls: the fields of one unit of a single plane, else a block.
  static constexpr size_t kQuads = kSingle && kBits == 2 ? 4 : 8;
  static constexpr size_t kStride = kQuads * 16 * kBits;  // bytes from one such step to the next
  // Pairs that 16 bits hold, in quads of the place of most weight; steps and parts of a step between two widenings.
  static constexpr int kWiden = WidenEvery(kMaxPattern, 1 << ((kPlaces - 1) * kBits), -128);
  static constexpr size_t kAllowed = kWiden < 1 ? 1 : static_cast<size_t>(kWiden) * kPlaces;
  static constexpr size_t kCuts = !kPair || kAllowed >= kQuads ? 1
                                                               : kQuads / (kAllowed >= 4   ? 4
                                                                           : kAllowed >= 2 ? 2
                                                                                           : 1);
  // Unshifted dots: 2^16 k of one place, codes up to 255 and x of -128, stay inside int32.
  static constexpr size_t kEvery = kPair        ? HWY_MAX(kAllowed / kQuads, size_t{1})
                                   : kUnshifted ? (size_t{1} << 16) * kPlaces / (kQuads * 4)
                                                : ~size_t{0};
};

// What the fields of a unit are cut from: its bytes, of more than one plane the codes of a quad.
template <class Traits, class Planes, size_t kUnit, class D8>
HWY_INLINE hn::Vec<D8> LoadUnit(D8 d8, const uint8_t* HWY_RESTRICT rows) {
  if constexpr (!Traits::kSingle) {
    return UnpackQuad<Planes, kUnit>(d8, rows);
  } else {
    auto raw = hn::LoadU(d8, rows + kUnit * 128);
#if HWY_COMPILER_GCC_ACTUAL && HWY_ARCH_X86
    asm("" : "+v"(raw.raw));  // GCC loads anew for each field, and loads bound it (146 -> 200 GMAC/s, ternary, M = 1)
#endif
    return raw;
  }
}
// The codes of a field as bytes, unshifted times the weight of their place.
template <class Traits, class Planes, size_t kField, class D8>
HWY_INLINE hn::Vec<D8> FieldOf(D8 d8, hn::Vec<D8> unit) {
  if constexpr (!Traits::kSingle) {
    return unit;
  } else {
    constexpr int kBits = Planes::kBits, kPlace = static_cast<int>(kField % Traits::kPlaces);
    constexpr int kMask = ((1 << kBits) - 1) << (kPlace * kBits);
    const hn::Repartition<uint16_t, D8> d16;
    const auto moved = ShiftBits<(static_cast<int>(kField) - kPlace) * kBits>(hn::BitCast(d16, unit));
    return hn::And(hn::BitCast(d8, moved), hn::Set(d8, static_cast<uint8_t>(kMask)));
  }
}

template <class D32, class VC, class VX, class V>
HWY_INLINE V QuadStep(D32 d32, VC codes, VX x, V sum) {
#if HWY_ARCH_X86
  sum = hn::SumOfMulQuadAccumulate(d32, codes, x, sum);
#if HWY_COMPILER_GCC_ACTUAL
  asm("" : "+v"(sum.raw));
#endif
  return sum;
#else
  return hn::SumOfMulQuadAccumulate(d32, hn::BitCast(hn::RebindToSigned<hn::DFromV<VC> >(), codes), x, sum);
#endif
}
template <class D16, class VC, class VX, class V>
HWY_INLINE V PairStep(D16 d16, VC codes, VX x, V sum) {
  sum = hn::Add(sum, hn::SatWidenMulPairwiseAdd(d16, codes, x));
#if HWY_COMPILER_GCC_ACTUAL && HWY_ARCH_X86
  asm("" : "+x"(sum.raw));  // GCC hoists the multiplies above the adds and spills (122 -> 149 GMAC/s, GCC 12, Zen 3)
#endif
  return sum;
}
// Sums of neighbouring 16-bit lanes.
template <class D32, class V>
HWY_INLINE hn::Vec<D32> WidenPairs(D32 d32, V pairs) {
#if HWY_ARCH_X86
  return hn::WidenMulPairwiseAdd(d32, pairs, hn::Set(hn::DFromV<V>(), int16_t{1}));  // 1 instruction, SumsOf2 is 4
#else
  (void)d32;
  return hn::SumsOf2(pairs);
#endif
}
// Codes above 127 without a 4-way dot: even and odd bytes as 16-bit numbers.
template <class D32, class VC, class VX, class V>
HWY_INLINE V WideStep(D32 d32, VC codes, VX x, V sum) {
  const hn::Repartition<int16_t, D32> d16;
  const hn::Repartition<uint16_t, D32> d16u;
  const auto c = hn::BitCast(d16u, codes);
  const auto xs = hn::BitCast(d16, x);
  const auto even = hn::WidenMulPairwiseAdd(d32, hn::BitCast(d16, hn::And(c, hn::Set(d16u, 0x00FF))),
                                            hn::ShiftRight<8>(hn::ShiftLeft<8>(xs)));
  const auto odd = hn::WidenMulPairwiseAdd(d32, hn::BitCast(d16, hn::ShiftRight<8>(c)), hn::ShiftRight<8>(xs));
  sum = hn::Add(sum, hn::Add(even, odd));
#if HWY_COMPILER_GCC_ACTUAL && HWY_ARCH_X86
  asm("" : "+x"(sum.raw));  // as in PairStep
#endif
  return sum;
}

// Tile: kV vectors of rows by kMR rows of x, from their k-th column, over `blocks` blocks: emit(sums...), number = m *
// kV + vector, of begin[m] + sum code * x.
template <class Planes, size_t kMR, size_t kV, class D32, class Emit>
HWY_INLINE void DotTile(D32 d32, const uint8_t* HWY_RESTRICT w, const internal::XRows<kMR>& x, size_t k,
                        const int32_t* HWY_RESTRICT begin, size_t blocks, const Emit& emit) {
  using Traits = DotTraits<Planes, kMR, kV>;
  const hn::Repartition<uint8_t, D32> d8;
  const hn::Repartition<int8_t, D32> d8i;
  const hn::Repartition<int16_t, D32> d16;
  const size_t steps = blocks * (8 / Traits::kQuads);
  constexpr size_t kParts = Traits::kParts, kCut = Traits::kQuads / Traits::kCuts;

  // One field of the units in registers: quad kQuad of step s into part..., number = (m * kParts + place or split) * kV
  // + vector.
  const auto field = [&](auto quad, size_t s, const auto& multiply, const auto& unit_of, auto&... part) LUTRA_TILE {
    constexpr size_t kQuad = decltype(quad)::value, kField = kQuad % Traits::kFields;
    const auto one = [&](auto number, auto& sum) LUTRA_TILE {
      constexpr size_t kI = decltype(number)::value, kM = kI / kV / kParts;
      if constexpr (kI / kV % kParts == kQuad % kParts) {
        int32_t four;
        std::memcpy(&four, x.at[kM] + k + (s * Traits::kQuads + kQuad) * 4, 4);
        const auto codes = FieldOf<Traits, Planes, kField>(d8, unit_of(Index<kI % kV>{}));
        sum = multiply(codes, hn::BitCast(d8i, hn::Set(d32, four)), sum);
      }
    };
    Numbered(one, part...);
  };
  // The one loop body: the units of cut `cut` of step s.
  const auto run = [&](auto cut, size_t s, const auto& multiply, auto&... part) LUTRA_TILE {
    const auto each = [&](auto u) LUTRA_TILE {
      constexpr size_t kUnit = decltype(cut)::value * kCut / Traits::kFields + decltype(u)::value;
      const auto load = [&](auto v) LUTRA_TILE {
        return LoadUnit<Traits, Planes, kUnit>(d8, w + s * Traits::kStride + decltype(v)::value * hn::Lanes(d8));
      };
      const auto with = [&](const auto&... unit) LUTRA_TILE {
        const auto unit_of = [&](auto v) LUTRA_TILE { return Pick<decltype(v)::value>(unit...); };
        const auto fields = [&](auto f) LUTRA_TILE {
          field(Index<kUnit * Traits::kFields + decltype(f)::value>{}, s, multiply, unit_of, part...);
        };
        Unrolled<Traits::kFields>(fields);
      };
      WithMade<kV>(load, with);
    };
    Unrolled<kCut / Traits::kFields>(each);
  };
  // total += its parts, each shifted down from its place.
  const auto join = [&](auto number, auto& part, const auto& widen, auto&... total) LUTRA_TILE {
    constexpr size_t kI = decltype(number)::value, kPlace = kI / kV % kParts % Traits::kPlaces;
    constexpr size_t kTotal = kI / kV / kParts * kV + kI % kV;
    auto& sum = Pick<kTotal>(total...);
    sum = hn::Add(sum, ShiftBits<static_cast<int>(kPlace) * Planes::kBits>(widen(part)));
#if HWY_COMPILER_GCC_ACTUAL && HWY_ARCH_X86
    if constexpr (Traits::kPair) asm("" : "+x"(sum.raw));  // as in PairStep
#endif
  };
  const auto all = [&](auto d_part, const auto& multiply, const auto& widen, auto&... total) LUTRA_TILE {
    for (size_t from = 0; from < steps;) {
      const size_t to = steps - from > Traits::kEvery ? from + Traits::kEvery : steps;
      Unrolled<Traits::kCuts>([&](auto cut) LUTRA_TILE {
        WithAccumulators<kMR * kParts * kV>(d_part, [&](auto&... part) LUTRA_TILE {
          if constexpr (Traits::kEvery == 1) {
            run(cut, from, multiply, part...);
          } else {
            for (size_t s = from; s < to; ++s) run(cut, s, multiply, part...);
          }
          Numbered([&](auto number, auto& one) LUTRA_TILE { join(number, one, widen, total...); }, part...);
        });
      });
      from = to;
    }
  };

  WithAccumulators<kMR * kV>(d32, [&](auto&... sum) LUTRA_TILE {
    Numbered([&](auto number, auto& total) LUTRA_TILE { total = hn::Set(d32, begin[decltype(number)::value / kV]); },
             sum...);
    const auto same = [](auto v) LUTRA_TILE { return v; };
    if constexpr (Traits::kQuad) {
      const auto multiply = [&](auto c, auto xq, auto acc) LUTRA_TILE { return QuadStep(d32, c, xq, acc); };
      if constexpr (kParts == 1) {
        for (size_t s = 0; s < steps; ++s) run(Index<0>{}, s, multiply, sum...);
      } else {
        all(d32, multiply, same, sum...);
      }
    } else if constexpr (Traits::kPair) {
      all(
          d16, [&](auto c, auto xq, auto acc) LUTRA_TILE { return PairStep(d16, c, xq, acc); },
          [&](auto pair) LUTRA_TILE { return WidenPairs(d32, pair); }, sum...);
    } else {
      const auto multiply = [&](auto c, auto xq, auto acc) LUTRA_TILE { return WideStep(d32, c, xq, acc); };
      for (size_t s = 0; s < steps; ++s) run(Index<0>{}, s, multiply, sum...);
    }
    emit(sum...);
  });
}

// kMR rows of x from m by one panel: every span of every run, then the epilogue. What spans repeat is kept small: with
// groups of 32 a span is 64 dots.
template <class Planes, size_t kMR, size_t kV>
HWY_NOINLINE void DotRows(const GemmCall& c, size_t p, size_t m) {
  const hn::CappedTag<float, 16> df;
  const hn::RebindToSigned<decltype(df)> d32;
  const size_t lanes = hn::Lanes(df), segment_k = c.w.segment_k(), block_bytes = c.w.block_bytes();
  const size_t weight_group = c.w.scales().group_k == 0 ? segment_k : c.w.scales().group_k;
  const size_t x_group = c.xq->spec.group_k == 0 ? segment_k : c.xq->spec.group_k;
  const DType scale_type = c.w.scales().type;
  const size_t scale_bytes = kPanelRows * SizeOf(scale_type);
  const bool raw = c.y.type == DType::kI32, half = c.w.format().zero_x2 % 2 != 0;
  const bool plain = !raw && !half && c.w.PanelOffsets(p) == nullptr;
  const int32_t zero = ZeroCorrection(c, 1);
  // In memory: registers are the sums'. Two loads and two stores for each run and span.
  HWY_ALIGN float acc[kMR][kPanelRows] = {};
  HWY_ALIGN float run[kMR][kPanelRows];
  HWY_ALIGN int32_t sums[kMR][kPanelRows];  // where the scale step is not the plain one
  HWY_ALIGN float buffer[2 * kPanelRows];
  for (size_t segment = 0; segment < c.w.segments(); ++segment) {
    size_t x_row[kMR];
    internal::XRows<kMR> x;
    const int32_t* x_sums[kMR];
    for (size_t r = 0; r < kMR; ++r) {
      x_row[r] = XRow(c, m + r, segment);
      x.at[r] = c.xq->Row(x_row[r]);
      x_sums[r] = c.xq->sums + x_row[r] * c.xq->blocks;
    }
    const uint8_t* codes = c.w.Codes(p) + segment * c.w.blocks_per_segment() * block_bytes;
    size_t group = c.w.scales().group_k == 0 ? 0 : segment * c.w.groups_per_segment();
    const std::byte* scale = c.w.PanelScales(p) + group * scale_bytes;
    size_t group_end = weight_group;
    for (size_t run_begin = 0, x_index = 0; run_begin < segment_k; run_begin += x_group, ++x_index) {
      const size_t run_end = HWY_MIN(segment_k - run_begin, x_group) + run_begin;
      std::memset(run, 0, sizeof(run));
      for (size_t k = run_begin; k < run_end;) {
        const size_t end = HWY_MIN(group_end, run_end), blocks = (end - k + kBlockK - 1) / kBlockK;
        int32_t x_sum[kMR], begin[kMR];
        Unrolled<kMR>([&](auto r) LUTRA_TILE {
          constexpr size_t kR = decltype(r)::value;
          const int32_t* from = x_sums[kR] + k / kBlockK;
          if (HWY_LIKELY(blocks <= 4)) {
            x_sum[kR] = from[0];
            if (blocks > 1) x_sum[kR] += from[1];
            if (blocks > 2) x_sum[kR] += from[2];
            if (blocks > 3) x_sum[kR] += from[3];
          } else {
            x_sum[kR] = SumOf(from, blocks);
          }
          begin[kR] = zero * x_sum[kR];
        });
        const float* factors = reinterpret_cast<const float*>(scale);
        if (HWY_UNLIKELY(scale_type != DType::kF32)) {
          ConvertScales(scale, scale_type, buffer);
          factors = buffer;
        }
        if (kMR == 1 && weight_group < segment_k) {
          // From DRAM short spans are too irregular for the CPU's own prefetcher (0.77 -> 0.90 of DRAM read, AVX2,
          // groups of 64); without groups it needs no help.
          const uint8_t* ahead = codes + 2048;
          for (size_t i = 0; i < blocks * block_bytes; i += 64) hwy::Prefetch(ahead + i);
        }
        for (size_t row = 0; row < kPanelRows; row += kV * lanes) {
          const auto add = [&](auto number, auto& total) LUTRA_TILE {
            constexpr size_t kI = decltype(number)::value;
            const size_t at = row + kI % kV * lanes;
            float* to = run[kI / kV] + at;
            hn::Store(PlainScaleStep(df, factors + at, total, hn::Load(df, to)), df, to);
          };
          const auto keep = [&](auto number, auto& total) LUTRA_TILE {
            constexpr size_t kI = decltype(number)::value;
            hn::Store(total, d32, sums[kI / kV] + row + kI % kV * lanes);
          };
          const auto emit = [&](auto&... sum) LUTRA_TILE {
            if (HWY_LIKELY(plain)) {
              Numbered(add, sum...);
            } else {
              Numbered(keep, sum...);
            }
          };
          DotTile<Planes, kMR, kV>(d32, codes + row * 4, x, k, begin, blocks, emit);
        }
        if (!plain) {
          const SpanScale span = ScaleOfGroup(c, p, group, buffer);
          for (size_t r = 0; r < kMR; ++r) ScaleRow(span, x_sum[r], sums[r], run[r]);
        }
        codes += blocks * block_bytes;
        if (end == group_end) {
          ++group;
          group_end += weight_group;
          scale += scale_bytes;
        }
        k = end;
      }
      for (size_t r = 0; r < kMR; ++r) EndRun(raw, c.xq->Scale(x_row[r], x_index), run[r], acc[r]);
    }
  }
  for (size_t r = 0; r < kMR; ++r) {
    WriteRow(c, m + r, p * kPanelRows, HWY_MIN(kPanelRows, c.w.n() - p * kPanelRows), acc[r]);
  }
}

// Tiles cost compile time, for each format and target: those stand here that are faster than two smaller ones. With a
// 4-way dot 3 rows are as fast as 2 and 1; SSE4 has 4 rows and 1.
constexpr bool HasTileOf(size_t rows) {
  if (!HWY_ARCH_X86 || rows == 1 || rows == 4) return true;
  return rows == 2 ? HWY_TARGET <= HWY_AVX2 : HWY_TARGET == HWY_AVX2;
}
// Rows of x of the next tile, of `left`: tiles of 4, what remains split evenly.
HWY_INLINE size_t NextRows(size_t left) {
  if (HasTileOf(3) && (left == 5 || left == 6 || left == 9)) return 3;
  size_t rows = HWY_MIN(left, size_t{4});
  while (!HasTileOf(rows)) --rows;
  return rows;
}
template <class Planes, size_t kMR>
HWY_INLINE void DotTileOf(const GemmCall& c, size_t p, size_t m) {
  // One row: the whole panel where registers allow, so that weights are read in order.
  constexpr size_t kWide = kMR == 1 && HWY_MAX_BYTES == 32 ? 4 : 2;
  DotRows<Planes, kMR, kWide>(c, p, m);
}

// Tiles of rows [m, end) by one panel.
template <class Planes>
HWY_INLINE void DotPanel(const GemmCall& c, size_t p, size_t m, size_t end) {
  while (m < end) {
    const size_t rows = NextRows(end - m);
    const auto tile_of = [&](auto count) LUTRA_TILE {
      constexpr size_t kMR = decltype(count)::value + 1;
      if constexpr (HasTileOf(kMR)) {
        if (rows == kMR) DotTileOf<Planes, kMR>(c, p, m);
      }
    };
    Unrolled<4>(tile_of);
    m += rows;
  }
}
// Rows of x in blocks that L1 holds for the most part, while they pass panels that L2 holds (up to 1.05 times as fast
// as 64 rows at a time; 2 bits in groups of 64, M = 128, AVX-512).
template <class Planes>
void DotRectangle(const GemmCall& c, const internal::GemmTile& tile) {
  constexpr size_t kRows = 16, kPanelsBytes = size_t{256} << 10;
  const size_t panels =
      HWY_MAX(kPanelsBytes / (c.w.segments() * c.w.blocks_per_segment() * c.w.block_bytes() + 1), size_t{1});
  for (size_t p = tile.panel_begin; p < tile.panel_end; p += panels) {
    const size_t end = HWY_MIN(p + panels, tile.panel_end);
    for (size_t m = tile.row_begin; m < tile.row_end;) {
      const size_t left = tile.row_end - m, rows = left < 2 * kRows ? left : kRows;
      for (size_t panel = p; panel < end; ++panel) DotPanel<Planes>(c, panel, m, m + rows);
      m += rows;
    }
  }
}

// Entry: one task.
template <class Planes>
int64_t IntDot(const internal::GemmTask& t, size_t task, std::byte*) {
  DotRectangle<Planes>(t.call, internal::TileOf(t, task));
  return HWY_TARGET;
}
#endif  // LUTRA_INT_LANES_ALONE

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
