// Integer sums for groups of any size: codes unpacked to bytes, one multiplication per code, exact in int32.
// The general path behind int_dot; also the scalar entry of it.
// Bound   unpacking and 32-bit multiplies: far from any peak, the price of groups that no block boundary meets.
#if defined(LUTRA_GEMM_INT_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_GEMM_INT_LANES_INL_H_
#undef LUTRA_GEMM_INT_LANES_INL_H_
#else
#define LUTRA_GEMM_INT_LANES_INL_H_
#endif

#include "lutra/gemm/scale-inl.h"

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

// Adds the sums of k in [k0, k1) of a segment to sums[32], unpacking each block once.
HWY_INLINE int32_t SumSpan(const internal::GemmTask& t, const uint8_t* segment_codes, size_t k0, size_t k1,
                           const int8_t* x, uint8_t* codes, size_t* unpacked, int32_t* sums) {
  const hn::CappedTag<int32_t, 16> d32;
  const hn::Rebind<uint8_t, decltype(d32)> d8;
  const size_t block_k = t.call.w.block_k();
  int32_t x_sum = 0;
  for (size_t k = k0; k < k1; ++k) {
    if (*unpacked != k / block_k) {
      *unpacked = k / block_k;
      t.unpack(segment_codes + *unpacked * t.call.w.block_bytes(), t.call.w.format(), codes);
    }
    x_sum += x[k];
    const auto xk = hn::Set(d32, int32_t{x[k]});
    for (size_t row = 0; row < kPanelRows; row += hn::Lanes(d32)) {
      const auto code = hn::PromoteTo(d32, hn::LoadU(d8, codes + k % block_k * kPanelRows + row));
      hn::StoreU(hn::Add(hn::LoadU(d32, sums + row), hn::Mul(code, xk)), d32, sums + row);
    }
  }
  return x_sum;
}

inline int64_t IntLanes(const internal::GemmTask& t, size_t task, std::byte* scratch) {
  const GemmCall& c = t.call;
  const internal::GemmTile tile = internal::TileOf(t, task);
  uint8_t* codes = reinterpret_cast<uint8_t*>(scratch);
  float* acc = reinterpret_cast<float*>(scratch + kMostBlockK * kPanelRows);
  float* run = acc + kPanelRows;
  int32_t* sums = reinterpret_cast<int32_t*>(run + kPanelRows);
  for (size_t p = tile.panel_begin; p < tile.panel_end; ++p) {
    for (size_t m = tile.row_begin; m < tile.row_end; ++m) {
      std::memset(acc, 0, 2 * kPanelRows * sizeof(float));  // and run
      for (size_t segment = 0; segment < c.w.segments(); ++segment) {
        const uint8_t* segment_codes = c.w.Codes(p) + segment * c.w.blocks_per_segment() * c.w.block_bytes();
        const size_t x_row = XRow(c, m, segment);
        size_t unpacked = ~size_t{0};
        for (size_t k = 0; k < c.w.segment_k();) {
          const internal::Span s = internal::SpanAt(c.w, c.xq->spec, segment, k);
          k = s.k1;
          std::memset(sums, 0, kPanelRows * sizeof(int32_t));
          const int32_t x_sum = SumSpan(t, segment_codes, s.k0, s.k1, c.xq->Row(x_row), codes, &unpacked, sums);
          AddSpan(c, p, x_row, s, x_sum, sums, run, acc);
        }
      }
      WriteRow(c, m, p * kPanelRows, HWY_MIN(kPanelRows, c.w.n() - p * kPanelRows), acc);
    }
  }
  return HWY_TARGET;
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
