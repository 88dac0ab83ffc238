// Loads and stores of f32 vectors from and to any element type, equal to core/dtype.h bit for bit on every target.
// (Highway's own bf16 demotion flushes subnormals where the CPU's instruction does.)
#if defined(LUTRA_SIMD_CONVERT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_SIMD_CONVERT_INL_H_
#undef LUTRA_SIMD_CONVERT_INL_H_
#else
#define LUTRA_SIMD_CONVERT_INL_H_
#endif

#include "lutra/core/dtype.h"
#include "lutra/simd/tile-inl.h"

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

// The first n <= Lanes(d) elements at p, the other lanes are zero. Never touches memory behind them.
template <class D, class T>
HWY_INLINE hn::Vec<D> LoadSome(D d, const T* p, size_t n) {
  return HWY_LIKELY(n >= hn::Lanes(d)) ? hn::LoadU(d, p) : hn::LoadN(d, p, n);
}
template <class D, class V, class T>
HWY_INLINE void StoreSome(D d, V v, T* p, size_t n) {
  if (HWY_LIKELY(n >= hn::Lanes(d))) {
    hn::StoreU(v, d, p);
  } else {
    hn::StoreN(v, d, p, n);
  }
}

template <class D, class VU32 = hn::Vec<hn::Repartition<uint32_t, D>>>
HWY_INLINE hn::Vec<D> F32FromBF16(D d, VU32 bits) {
  return hn::BitCast(d, hn::ShiftLeft<16>(bits));
}
template <class D, class V>
HWY_INLINE hn::Vec<hn::Repartition<uint32_t, D>> BF16FromF32(D, V v) {
  const hn::Repartition<uint32_t, D> du;
  const auto u = hn::BitCast(du, v);
  const auto odd = hn::And(hn::ShiftRight<16>(u), hn::Set(du, 1u));
  const auto rounded = hn::ShiftRight<16>(hn::Add(u, hn::Add(odd, hn::Set(du, 0x7FFFu))));
  const auto nan = hn::Or(hn::And(hn::ShiftRight<16>(u), hn::Set(du, 0x8000u)), hn::Set(du, 0x7FC0u));
  return hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(v)), nan, rounded);
}

template <class D, class VU32 = hn::Vec<hn::Repartition<uint32_t, D>>>
HWY_INLINE hn::Vec<D> F32FromF16(D d, VU32 bits) {
  const hn::Repartition<uint32_t, D> du;
  const hn::Repartition<int32_t, D> di;
  const auto sign = hn::ShiftLeft<16>(hn::And(bits, hn::Set(du, 0x8000u)));
  const auto magnitude = hn::And(bits, hn::Set(du, 0x7FFFu));
  const auto special = hn::Gt(hn::BitCast(di, magnitude), hn::Set(di, 0x7BFF));
  const auto tiny = hn::Lt(hn::BitCast(di, magnitude), hn::Set(di, 0x0400));
  const auto shifted = hn::ShiftLeft<13>(magnitude);
  const auto normal = hn::Add(shifted, hn::Set(du, 112u << 23));
  const auto infinite = hn::Or(shifted, hn::Set(du, 0x7F800000u));
  const auto subnormal = hn::BitCast(du, hn::Mul(hn::ConvertTo(d, hn::BitCast(di, magnitude)), hn::Set(d, 0x1p-24f)));
  const auto out = hn::IfThenElse(hn::RebindMask(du, special), infinite,
                                  hn::IfThenElse(hn::RebindMask(du, tiny), subnormal, normal));
  return hn::BitCast(d, hn::Or(out, sign));
}
template <class D, class V>
HWY_INLINE hn::Vec<hn::Repartition<uint32_t, D>> F16FromF32(D d, V v) {
  const hn::Repartition<uint32_t, D> du;
  const hn::Repartition<int32_t, D> di;
  const auto u = hn::BitCast(du, v);
  const auto sign = hn::And(hn::ShiftRight<16>(u), hn::Set(du, 0x8000u));
  const auto a = hn::And(u, hn::Set(du, 0x7FFFFFFFu));
  const auto odd = hn::And(hn::ShiftRight<13>(a), hn::Set(du, 1u));
  const auto normal =
      hn::ShiftRight<13>(hn::Add(hn::Sub(a, hn::Set(du, 0x38000000u)), hn::Add(odd, hn::Set(du, 0xFFFu))));
  const auto tiny = hn::Lt(hn::BitCast(di, a), hn::Set(di, 0x38800000));
  const auto huge = hn::Gt(hn::BitCast(di, a), hn::Set(di, 0x477FEFFF));
  const auto nan = hn::Gt(hn::BitCast(di, a), hn::Set(di, 0x7F800000));
  const auto subnormal =
      hn::Sub(hn::BitCast(du, hn::Add(hn::BitCast(d, a), hn::Set(d, 0.5f))), hn::Set(du, 0x3F000000u));
  auto out = hn::IfThenElse(hn::RebindMask(du, tiny), subnormal, normal);
  out = hn::IfThenElse(hn::RebindMask(du, huge), hn::Set(du, 0x7C00u), out);
  out = hn::IfThenElse(hn::RebindMask(du, nan), hn::Set(du, 0x7E00u), out);
  return hn::Or(out, sign);
}

// n elements of f32, bf16 or f16 at data[i ...] as f32.
template <class D>
HWY_INLINE hn::Vec<D> LoadAsF32(D d, const void* data, DType type, ptrdiff_t i, size_t n) {
  if (HWY_LIKELY(type == DType::kF32)) return LoadSome(d, static_cast<const float*>(data) + i, n);
  const hn::Repartition<uint32_t, D> du;
  const hn::Rebind<uint16_t, D> d16;
  const auto raw = LoadSome(d16, static_cast<const uint16_t*>(data) + i, n);
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2  // the instruction differs from F32FromF16 in the payload of NaN alone
  if (type == DType::kF16) return hn::PromoteTo(d, hn::BitCast(hn::Rebind<hwy::float16_t, D>(), raw));
#endif
  const auto bits = hn::PromoteTo(du, raw);
  return type == DType::kBF16 ? F32FromBF16(d, bits) : F32FromF16(d, bits);
}

// The first n lanes of v to data[0 ...] of f32, bf16 or f16.
template <class D, class V>
HWY_INLINE void StoreAsFloat(D d, V v, void* data, DType type, size_t n) {
  if (HWY_LIKELY(type == DType::kF32)) return StoreSome(d, v, static_cast<float*>(data), n);
  const hn::Rebind<uint16_t, D> d16;
  const auto bits = type == DType::kBF16 ? BF16FromF32(d, v) : F16FromF32(d, v);
  StoreSome(d16, hn::TruncateTo(d16, bits), static_cast<uint16_t*>(data), n);
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
