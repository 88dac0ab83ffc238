// What algorithms that look up sums of activations share: one task, and what it keeps while K passes in chunks.
// Tables of a row of x are built once for all panels of a task. A policy says how (NibbleLookups in
// shuffle_table-inl.h):
//   kBlockK, kBytes     k of a block of weights, and bytes of its tables
//   kBlocks             blocks whose tables L1 keeps beside the weights that stream through
//   kRound              chunks are whole multiples of so many blocks
//   Step, StepOf(c, m)  what tables of output row m have in common
//   Build(x, k, step, to)   tables of a block, of which x has k (a multiple of 32)
//   Ahead(w)            bytes to prefetch ahead where panels follow each other
//   Sum(w, codes, ahead, tables, blocks, sums)   sums[32] += the sums of these blocks, of what its tables hold
//   ToCodes(c, step, x_sum, sums)   makes of a span's 32 sums those of code * x, where that is not what they are
#if defined(LUTRA_GEMM_LOOKUP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_GEMM_LOOKUP_INL_H_
#undef LUTRA_GEMM_LOOKUP_INL_H_
#else
#define LUTRA_GEMM_LOOKUP_INL_H_
#endif

#include "lutra/gemm/int_lanes-inl.h"

#ifndef LUTRA_GEMM_LOOKUP_SCRATCH_
#define LUTRA_GEMM_LOOKUP_SCRATCH_
namespace lutra { inline namespace LUTRA_NS { namespace internal {
// A longer K passes in chunks of a policy's kBlocks; the sums of these panels wait in scratch between chunks.
inline constexpr size_t kSumPanels = 96;
struct PanelSlot {
  alignas(64) int32_t sums[kPanelRows];
  alignas(64) float run[kPanelRows];  // scaled sums of spans, before the scale of x
  alignas(64) float acc[kPanelRows];
};

// The sum of the codes of x over the span that k is in, kept from panel to panel.
struct SpanSums {
  size_t segment = ~size_t{0}, begin = 0;
  int32_t value = 0;
};
}}}  // namespace lutra::LUTRA_NS::internal
#endif

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

// GCC reorders the sums of a whole block, spills all lookups, and loads tables twice (154 -> 195 GMAC/s, AVX2, GCC 12).
template <class V>
HWY_INLINE V Pinned(V v) {
#if HWY_COMPILER_GCC_ACTUAL && HWY_ARCH_X86
  asm("" : "+x"(v.raw));
#endif
  return v;
}

#if !LUTRA_INT_LANES_ALONE
// Bytes of a vector of lookups in Unit::kByteRow: at most a block's four table rows, and a constant of the language.
constexpr size_t LookupLanes() { return HWY_HAVE_SCALABLE ? 16 : HWY_MIN(HWY_LANES(uint8_t), size_t{64}); }

// The sum of the 16-byte blocks of a vector, which may wrap.
template <class D>
HWY_INLINE auto SumOfBlocks(D d, hn::Vec<D> v) {
  if constexpr (hn::MaxLanes(d) * sizeof(hn::TFromD<D>) <= 16) {
    return v;
  } else {
    const hn::Half<D> half;
    return SumOfBlocks(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
}
// to[8] += (v - bias) << shift, v of 8 rows; what wrapped in v wraps back.
template <class V>
HWY_INLINE void AddEight(V v, uint16_t bias, int shift, int32_t* HWY_RESTRICT to) {
  const hn::FixedTag<uint16_t, 8> d16;
  const hn::FixedTag<int16_t, 8> d16i;
  const hn::FixedTag<int32_t, 4> d32;
  const auto rows = hn::BitCast(d16i, hn::Sub(v, hn::Set(d16, bias)));
  const auto lower = hn::ShiftLeftSame(hn::PromoteLowerTo(d32, rows), shift);
  const auto upper = hn::ShiftLeftSame(hn::PromoteUpperTo(d32, rows), shift);
  hn::StoreU(hn::Add(hn::LoadU(d32, to), lower), d32, to);
  hn::StoreU(hn::Add(hn::LoadU(d32, to + 4), upper), d32, to + 4);
}
#endif

// (memset becomes "rep stos" with GCC: 28 cycles for these 128 bytes.)
template <class T>
HWY_INLINE void Zero32(T* to) {
  const hn::CappedTag<T, 16> d;
  for (size_t i = 0; i < kPanelRows; i += hn::Lanes(d)) hn::Store(hn::Zero(d), d, to + i);
}

// Blocks [begin, end), counted over all segments, of panel p for output row m; spans that end there go to slot.acc.
template <class Tables>
HWY_INLINE void SumBlocks(const GemmCall& c, size_t p, size_t m, size_t begin, size_t end, size_t ahead,
                          const uint8_t* tables, const typename Tables::Step& step, internal::SpanSums* kept,
                          internal::PanelSlot* slot) {
  const size_t per_segment = c.w.blocks_per_segment(), block_bytes = c.w.block_bytes();
  const size_t wg = c.w.scales().group_k, xg = c.xq->spec.group_k;
  for (size_t b = begin; b < end;) {
    const size_t segment = b / per_segment, k = b % per_segment * Tables::kBlockK;
    const internal::Span s = internal::SpanAt(c.w, c.xq->spec, segment, k);
    const size_t last = segment * per_segment + (s.k1 + Tables::kBlockK - 1) / Tables::kBlockK;
    const size_t stop = HWY_MIN(end, last);
    Tables::Sum(c.w, c.w.Codes(p) + b * block_bytes, ahead, tables + (b - begin) * Tables::kBytes, stop - b,
                slot->sums);
    b = stop;
    if (stop != last) continue;
    const size_t x_row = XRow(c, m, segment);
    const size_t start = HWY_MAX(wg == 0 ? 0 : k / wg * wg, xg == 0 ? 0 : k / xg * xg) / kBlockK;
    if (kept->segment != segment || kept->begin != start) {
      *kept = {segment, start, 0};
      const int32_t* x_sums = c.xq->sums + x_row * c.xq->blocks;
      for (size_t i = start; i < (s.k1 + kBlockK - 1) / kBlockK; ++i) kept->value += x_sums[i];
    }
    Tables::ToCodes(c, step, kept->value, slot->sums);
    AddSpan(c, p, x_row, s, kept->value, slot->sums, slot->run, slot->acc);
    Zero32(slot->sums);
  }
}

// One task. Tables of a chunk of K are built once for each row of x and serve all panels of the task, or, where K takes
// several chunks, kSumPanels of them.
template <class Tables>
int64_t LookUpTask(const internal::GemmTask& t, size_t task, std::byte* scratch) {
  constexpr size_t kTableBytes = Tables::kBlocks * Tables::kBytes;
  static_assert(kTableBytes + internal::kSumPanels * sizeof(internal::PanelSlot) <= Context::kDefaultScratch &&
                Tables::kBlocks % Tables::kRound == 0);
  const GemmCall& c = t.call;
  const internal::GemmTile tile = internal::TileOf(t, task);
  uint8_t* tables = reinterpret_cast<uint8_t*>(scratch);
  auto* slots = reinterpret_cast<internal::PanelSlot*>(scratch + kTableBytes);
  const size_t per_segment = c.w.segment_k() == 0 ? 0 : c.w.blocks_per_segment();
  const size_t padded_k = (c.w.segment_k() + kBlockK - 1) / kBlockK * kBlockK;
  const size_t blocks = per_segment * c.w.segments();
  const size_t panel_bytes = blocks * c.w.block_bytes();
  const size_t chunks = HWY_MAX((blocks + Tables::kBlocks - 1) / Tables::kBlocks, size_t{1});
  const size_t chunk = ((blocks + chunks - 1) / chunks + Tables::kRound - 1) / Tables::kRound * Tables::kRound;
  const size_t ahead = chunks == 1 ? Tables::Ahead(c.w) : panel_bytes;  // or: the next panel's chunk
  const size_t group = chunks == 1 ? tile.panel_end : internal::kSumPanels;
  for (size_t m = tile.row_begin; m < tile.row_end; ++m) {
    const typename Tables::Step step = Tables::StepOf(c, m);
    for (size_t p0 = tile.panel_begin; p0 < tile.panel_end; p0 += group) {
      const size_t p1 = HWY_MIN(tile.panel_end, p0 + group);
      internal::SpanSums kept;
      for (size_t i = 0; i < chunks; ++i) {
        const size_t begin = HWY_MIN(i * chunk, blocks), end = HWY_MIN(begin + chunk, blocks);
        for (size_t b = begin; b < end; ++b) {
          const size_t k = b % per_segment * Tables::kBlockK;
          Tables::Build(c.xq->Row(XRow(c, m, b / per_segment)) + k, padded_k - k, step,
                        tables + (b - begin) * Tables::kBytes);
        }
        for (size_t p = p0; p < p1; ++p) {
          internal::PanelSlot* slot = slots + (chunks == 1 ? 0 : p - p0);
          if (i == 0) {
            Zero32(slot->sums);
            Zero32(slot->run);
            Zero32(slot->acc);
          }
          SumBlocks<Tables>(c, p, m, begin, end, ahead, tables, step, &kept, slot);
          if (i + 1 == chunks) {
            WriteRow(c, m, p * kPanelRows, HWY_MIN(kPanelRows, c.w.n() - p * kPanelRows), slot->acc);
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
