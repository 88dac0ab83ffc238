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

#if HWY_TARGET == HWY_SCALAR  // one lane has no bytes in it
template <class Planes>
int64_t IntDot(const internal::GemmTask& t, size_t task, std::byte* scratch) {
  return IntLanes(t, task, scratch);
}
#else

// Traits: which multiply codes of a width take on this target. vpdpbusd is unsigned by signed, Arm's sdot signed by
// signed.
template <class Planes>
struct DotTraits {
  static constexpr int kMaxPattern = Planes::kMaxPattern;
#if HWY_ARCH_X86
  static constexpr bool kQuad = HWY_TARGET <= HWY_AVX3_DL;
#else
  static constexpr bool kQuad = (HWY_TARGET == HWY_NEON_BF16 || (HWY_TARGET & HWY_ALL_SVE) != 0) && kMaxPattern <= 127;
#endif
  static constexpr int kWiden = WidenEvery(kMaxPattern, /*field_weight=*/1, /*x_min=*/-128);
  static constexpr bool kPair = !kQuad && kWiden >= 1;
  // Quads of k that the loop unrolls: the fields of one to four units of a single plane, else a block.
  static constexpr size_t kQuads = Planes::kPlanes[0] >= 2 && Planes::kPlanes[1] == 0 ? 4 : 8;
  static constexpr size_t kStride = kQuads * 16 * Planes::kBits;  // bytes from one such step to the next
  // Quads between widenings: whole steps, or a divisor of one.
  static constexpr size_t kSteps = kWiden >= int{kQuads} ? kWiden / kQuads * kQuads
                                   : kWiden >= 4         ? 4
                                   : kWiden >= 2         ? 2
                                                         : 1;
};

template <class D32, class VC, class VX, class V>
HWY_INLINE V QuadStep(D32 d32, VC codes, VX x, V sum) {
#if HWY_ARCH_X86
  return hn::SumOfMulQuadAccumulate(d32, codes, x, sum);
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
  return hn::Add(sum, hn::Add(even, odd));
}

// Tile: two vectors of rows by kMR rows of x over `blocks` blocks. emit(m, v, sums) in registers. kSplit sums for each
// output, so that dots of long latency overlap.
template <class Planes, size_t kMR, class D32, class Emit>
HWY_INLINE void DotTile(D32 d32, const uint8_t* HWY_RESTRICT w, const internal::XRows<kMR>& x, size_t blocks,
                        const Emit& emit) {
  using Traits = DotTraits<Planes>;
  const hn::Repartition<uint8_t, D32> d8;
  const hn::Repartition<int8_t, D32> d8i;
  const hn::Repartition<int16_t, D32> d16;
  constexpr size_t kSplit = Traits::kQuad ? HWY_MAX(size_t{4} / kMR, size_t{1}) : 1;
  const size_t steps = blocks * (8 / Traits::kQuads);

  // The one loop body: quads [begin, begin + count) of step s into acc..., number = (m * kSplit + split) * 2 + vector.
  const auto run = [&](auto begin, auto count, size_t s, auto multiply, auto&... acc) LUTRA_TILE {
    Unrolled<decltype(count)::value>([&](auto i) LUTRA_TILE {
      constexpr size_t kQuad = decltype(begin)::value + decltype(i)::value;
      const uint8_t* HWY_RESTRICT at = w + s * Traits::kStride;
      const auto codes0 = UnpackQuad<Planes, kQuad>(d8, at);
      const auto codes1 = UnpackQuad<Planes, kQuad>(d8, at + hn::Lanes(d8));
      Numbered(
          [&](auto number, auto& sum) LUTRA_TILE {
            constexpr size_t kV = decltype(number)::value % 2, kPart = decltype(number)::value / 2;
            if constexpr (kPart % kSplit == kQuad % kSplit) {
              int32_t quad;
              std::memcpy(&quad, x.at[kPart / kSplit] + (s * Traits::kQuads + kQuad) * 4, 4);
              const auto xq = hn::BitCast(d8i, hn::Set(d32, quad));
              if constexpr (kV == 0) {
                sum = multiply(codes0, xq, sum);
              } else {
                sum = multiply(codes1, xq, sum);
              }
            }
          },
          acc...);
    });
  };
  const auto whole = Index<Traits::kQuads>{};

  WithAccumulators<2 * kMR * kSplit>(d32, [&](auto&... sum) LUTRA_TILE {
    if constexpr (Traits::kQuad) {
      const auto multiply = [&](auto c, auto xq, auto acc) LUTRA_TILE { return QuadStep(d32, c, xq, acc); };
      for (size_t s = 0; s < steps; ++s) run(Index<0>{}, whole, s, multiply, sum...);
    } else if constexpr (Traits::kPair) {
      const auto multiply = [&](auto c, auto xq, auto acc) LUTRA_TILE { return PairStep(d16, c, xq, acc); };
      const auto widened = [&](const auto& body) LUTRA_TILE {
        WithAccumulators<2 * kMR>(d16, [&](auto&... pair) LUTRA_TILE {
          body(pair...);
          ((sum = hn::Add(sum, hn::SumsOf2(pair))), ...);  // the only widening
        });
      };
      if constexpr (Traits::kSteps >= Traits::kQuads) {
        constexpr size_t kEvery = Traits::kSteps / Traits::kQuads;
        for (size_t begin = 0; begin < steps; begin += kEvery) {
          widened([&](auto&... pair) LUTRA_TILE {
            const size_t end = HWY_MIN(steps, begin + kEvery);
            for (size_t s = begin; s < end; ++s) run(Index<0>{}, whole, s, multiply, pair...);
          });
        }
      } else {
        for (size_t s = 0; s < steps; ++s) {
          Unrolled<Traits::kQuads / Traits::kSteps>([&](auto part) LUTRA_TILE {
            widened([&](auto&... pair) LUTRA_TILE {
              run(Index<decltype(part)::value * Traits::kSteps>{}, Index<Traits::kSteps>{}, s, multiply, pair...);
            });
          });
        }
      }
    } else {
      const auto multiply = [&](auto c, auto xq, auto acc) LUTRA_TILE { return WideStep(d32, c, xq, acc); };
      for (size_t s = 0; s < steps; ++s) run(Index<0>{}, whole, s, multiply, sum...);
    }
    WithAccumulators<2 * kMR>(d32, [&](auto&... total) LUTRA_TILE {  // joins the split sums
      Numbered(
          [&](auto number, auto& part) LUTRA_TILE {
            constexpr size_t kI = decltype(number)::value, kTotal = kI / 2 / kSplit * 2 + kI % 2;
            Numbered(
                [&](auto t, auto& all) LUTRA_TILE {
                  if constexpr (decltype(t)::value == kTotal) all = hn::Add(all, part);
                },
                total...);
          },
          sum...);
      Numbered([&](auto t, auto& all)
                   LUTRA_TILE { emit(Index<decltype(t)::value / 2>{}, Index<decltype(t)::value % 2>{}, all); },
               total...);
    });
  });
}

// kMR rows of x from m by one panel: every span of every segment, then the epilogue.
template <class Planes, size_t kMR>
HWY_NOINLINE void DotRows(const GemmCall& c, size_t p, size_t m) {
  const hn::CappedTag<int32_t, 16> d32;
  const size_t lanes = hn::Lanes(d32);
  HWY_ALIGN float acc[kMR][kPanelRows] = {};
  HWY_ALIGN int32_t sums[kMR][kPanelRows];
  for (size_t segment = 0; segment < c.w.segments(); ++segment) {
    size_t x_row[kMR];
    for (size_t r = 0; r < kMR; ++r) x_row[r] = XRow(c, m + r, segment);
    const uint8_t* segment_codes = c.w.Codes(p) + segment * c.w.blocks_per_segment() * c.w.block_bytes();
    for (size_t k = 0; k < c.w.segment_k();) {
      const internal::Span s = internal::SpanAt(c.w, c.xq->spec, segment, k);
      k = s.k1;
      const size_t block = s.k0 / kBlockK, blocks = (s.k1 - s.k0 + kBlockK - 1) / kBlockK;
      internal::XRows<kMR> x;
      for (size_t r = 0; r < kMR; ++r) x.at[r] = c.xq->Row(x_row[r]) + s.k0;
      for (size_t row = 0; row < kPanelRows; row += 2 * lanes) {
        DotTile<Planes, kMR>(d32, segment_codes + block * c.w.block_bytes() + row * 4, x, blocks,
                             [&](auto r, auto v, auto sum)
                                 LUTRA_TILE { hn::Store(sum, d32, sums[r] + row + v * lanes); });
      }
      for (size_t r = 0; r < kMR; ++r) {
        const int32_t* x_sums = c.xq->sums + x_row[r] * c.xq->blocks + block;
        int32_t x_sum = 0;
        for (size_t b = 0; b < blocks; ++b) x_sum += x_sums[b];
        AddSpan(ScaleOfSpan(c, p, x_row[r], s, x_sum), sums[r], acc[r]);
      }
    }
  }
  for (size_t r = 0; r < kMR; ++r) {
    WriteRow(c, m + r, p * kPanelRows, HWY_MIN(kPanelRows, c.w.n() - p * kPanelRows), acc[r]);
  }
}

// Rows of x per tile. SSE2 emulates the pair-multiply: more rows only cost compile time there.
inline constexpr size_t kTileMR = HWY_TARGET == HWY_SSE2 ? 1 : 4;

// Entry: one task. A panel stays in L1 while all rows pass it.
template <class Planes>
int64_t IntDot(const internal::GemmTask& t, size_t task, std::byte*) {
  const internal::GemmTile tile = internal::TileOf(t, task);
  for (size_t p = tile.panel_begin; p < tile.panel_end; ++p) {
    size_t m = tile.row_begin;
    if constexpr (kTileMR > 1) {
      for (; m + kTileMR <= tile.row_end; m += kTileMR) DotRows<Planes, kTileMR>(t.call, p, m);
    }
    for (; m < tile.row_end; ++m) DotRows<Planes, 1>(t.call, p, m);
  }
  return HWY_TARGET;
}
#endif  // HWY_SCALAR

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
