// Codes out of packed blocks, derived from a format's planes: nothing here is written for one format.
#if defined(LUTRA_GEMM_UNPACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_GEMM_UNPACK_INL_H_
#undef LUTRA_GEMM_UNPACK_INL_H_
#else
#define LUTRA_GEMM_UNPACK_INL_H_
#endif

#include "lutra/gemm/kernels.h"
#include "lutra/simd/tile-inl.h"

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

// kShift > 0: right. 16-bit lanes: what crosses into a neighbouring byte is masked away.
template <int kShift, class V>
HWY_INLINE V ShiftBits(V v) {
  if constexpr (kShift > 0) {
    return hn::ShiftRight<kShift>(v);
  } else if constexpr (kShift < 0) {
    return hn::ShiftLeft<-kShift>(v);
  } else {
    return v;
  }
}

// The codes of plane kPlane for k = 4 kQuad ... 4 kQuad + 3 of a block, at their place in the code. `rows` points to
// the first row's bytes of the block's first unit.
template <class Planes, size_t kPlane, size_t kQuad, class D8>
HWY_INLINE hn::Vec<D8> UnpackPlane(D8 d8, const uint8_t* HWY_RESTRICT rows) {
  constexpr auto planes = Planes::kPlanes;
  constexpr int kBits = planes[kPlane];
  constexpr int kDone = kPlane == 0 ? 0 : kPlane == 1 ? planes[0] : planes[0] + planes[1];  // bits below, in units too
  constexpr size_t kUnit = kDone + kQuad / (8 / kBits), kField = kQuad % (8 / kBits);
  const hn::Repartition<uint16_t, D8> d16;
  const auto raw = hn::LoadU(d8, rows + kUnit * 128);
  if constexpr (kBits == 8) return raw;
  const auto shifted = ShiftBits<static_cast<int>(kField) * kBits - kDone>(hn::BitCast(d16, raw));
  return hn::And(hn::BitCast(d8, shifted), hn::Set(d8, static_cast<uint8_t>(((1 << kBits) - 1) << kDone)));
}

// Every 32-bit lane is one row, its bytes are the codes of k = 4 kQuad ... 4 kQuad + 3.
template <class Planes, size_t kQuad, class D8>
HWY_INLINE hn::Vec<D8> UnpackQuad(D8 d8, const uint8_t* HWY_RESTRICT rows) {
  auto codes = UnpackPlane<Planes, 0, kQuad>(d8, rows);
  if constexpr (Planes::kPlanes[1] != 0) codes = hn::Or(codes, UnpackPlane<Planes, 1, kQuad>(d8, rows));
  if constexpr (Planes::kPlanes[2] != 0) codes = hn::Or(codes, UnpackPlane<Planes, 2, kQuad>(d8, rows));
  return codes;
}

// Codes of a block as bytes, [32 k][32 rows].
template <class Planes>
void UnpackBlock(const uint8_t* HWY_RESTRICT block, const FormatInfo& format, uint8_t* HWY_RESTRICT codes) {
#if HWY_TARGET == HWY_SCALAR
  internal::UnpackAny(block, format, codes);
#else
  (void)format;
  const hn::CappedTag<uint32_t, 16> d32;
  const hn::Repartition<uint8_t, decltype(d32)> d8;
  const hn::Rebind<uint8_t, decltype(d32)> d_rows;
  for (size_t row = 0; row < kPanelRows; row += hn::Lanes(d32)) {
    Unrolled<8>([&](auto quad) LUTRA_TILE {
      constexpr size_t kQuad = decltype(quad)::value;
      const auto lanes = hn::BitCast(d32, UnpackQuad<Planes, kQuad>(d8, block + row * 4));
      uint8_t* to = codes + 4 * kQuad * kPanelRows + row;
      hn::StoreU(hn::TruncateTo(d_rows, lanes), d_rows, to);
      hn::StoreU(hn::TruncateTo(d_rows, hn::ShiftRight<8>(lanes)), d_rows, to + kPanelRows);
      hn::StoreU(hn::TruncateTo(d_rows, hn::ShiftRight<16>(lanes)), d_rows, to + 2 * kPanelRows);
      hn::StoreU(hn::TruncateTo(d_rows, hn::ShiftRight<24>(lanes)), d_rows, to + 3 * kPanelRows);
    });
  }
#endif
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
