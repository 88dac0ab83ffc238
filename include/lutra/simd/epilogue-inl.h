// The epilogue on registers: the only code that writes an op's float results. Defined by core/epilogue_reference.h.
#if defined(LUTRA_SIMD_EPILOGUE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_SIMD_EPILOGUE_INL_H_
#undef LUTRA_SIMD_EPILOGUE_INL_H_
#else
#define LUTRA_SIMD_EPILOGUE_INL_H_
#endif

#include "hwy/contrib/math/math-inl.h"
#include "lutra/core/epilogue.h"
#include "lutra/simd/convert-inl.h"

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

// SiLU and both GELUs, with one exponential for all three: it is most of the code.
//   SiLU, GELU by tanh   v sigmoid(u), u = v or 2 sqrt(2 / pi) (v + 0.044715 v^3). sigmoid(u) = 1 / (1 + exp(-u)) is
//                        within 4 ulp of the true value and 0 below -88.8 (Exp is defined up to 104, infinity from
//                        88.8 on).
//   GELU                 v / 2 (1 + erf(v / sqrt(2))), erf by Abramowitz and Stegun 7.1.26: absolute error below 2e-7.
template <class D, class V>
HWY_INLINE V ActivateByExp(D d, V v, Act act) {
  const auto one = hn::Set(d, 1.0f);
  const bool by_erf = act == Act::kGelu;
  auto u = v;
  if (by_erf) u = hn::Mul(v, hn::Set(d, 0.70710678f));
  if (act == Act::kGeluTanh) {
    const auto cubic = hn::MulAdd(hn::Mul(v, v), hn::Set(d, 0.044715f), one);
    u = hn::Mul(hn::Mul(v, cubic), hn::Set(d, 1.5957691216f));
  }
  const auto exp = hn::Exp(d, hn::Min(hn::Neg(by_erf ? hn::Mul(u, u) : u), hn::Set(d, 104.0f)));
  if (!by_erf) return hn::Mul(v, hn::Div(one, hn::Add(one, exp)));
  const auto t = hn::Div(one, hn::MulAdd(hn::Set(d, 0.3275911f), hn::Abs(u), one));
  auto p = hn::MulAdd(hn::Set(d, 1.061405429f), t, hn::Set(d, -1.453152027f));
  p = hn::MulAdd(p, t, hn::Set(d, 1.421413741f));
  p = hn::MulAdd(p, t, hn::Set(d, -0.284496736f));
  p = hn::Mul(hn::MulAdd(p, t, hn::Set(d, 0.254829592f)), t);
  const auto erf = hn::CopySign(hn::NegMulAdd(p, exp, one), u);
  return hn::Mul(hn::Mul(hn::Set(d, 0.5f), v), hn::Add(one, erf));
}

template <class D, class V>
HWY_INLINE V Activate(D d, V v, Act act) {
  switch (act) {
    case Act::kNone:
      break;
    case Act::kRelu:
      return hn::IfThenZeroElse(hn::Lt(v, hn::Zero(d)), v);
    case Act::kSquaredRelu: {
      const auto r = hn::IfThenZeroElse(hn::Lt(v, hn::Zero(d)), v);
      return hn::Mul(r, r);
    }
    case Act::kSilu:
    case Act::kGelu:
    case Act::kGeluTanh:
      return ActivateByExp(d, v, act);
  }
  return v;
}

template <class D, class V>
HWY_INLINE void StoreAsInt(D d, V v, const Epilogue& e, void* y, DType type, size_t n) {
  const hn::Rebind<int32_t, D> di;
  const hn::Rebind<int8_t, D> d8;
  const hn::Rebind<uint8_t, D> d8u;
  const int low = type == DType::kI8 ? -128 : 0, high = low + 255;
  const auto to_float = [](int i) { return static_cast<float>(i); };
  auto r = hn::Mul(v, hn::Set(d, e.out_scale));
  r = hn::IfThenZeroElse(hn::IsNaN(r), r);
  r = hn::Min(hn::Max(r, hn::Set(d, to_float(low - e.out_zero))), hn::Set(d, to_float(high - e.out_zero)));
  const auto q = hn::Add(hn::NearestInt(r), hn::Set(di, e.out_zero));
  if (type == DType::kI8) {
    StoreSome(d8, hn::DemoteTo(d8, q), static_cast<int8_t*>(y), n);
  } else {
    StoreSome(d8u, hn::DemoteTo(d8u, q), static_cast<uint8_t*>(y), n);
  }
}

// What the lanes of a vector are.
struct LanesAreChannels {  // channels c, c + 1, ... of one pixel or row
  template <class D>
  static HWY_INLINE hn::Vec<D> Load(D d, const float* p, size_t c, size_t n) {
    return LoadSome(d, p + c, n);
  }
  template <class D>
  static HWY_INLINE hn::Vec<D> Load(D d, const ConstMatrixView& m, size_t row, size_t c, size_t n) {
    return LoadAsF32(d, m.data, m.type, static_cast<ptrdiff_t>(row) * m.row_stride + static_cast<ptrdiff_t>(c), n);
  }
};
struct LanesAreColumns {  // pixels of one channel c: operands per channel are broadcast, per pixel ones are refused
                          // before
  template <class D>
  static HWY_INLINE hn::Vec<D> Load(D d, const float* p, size_t c, size_t) {
    return hn::Set(d, p[c]);
  }
  template <class D>
  static HWY_INLINE hn::Vec<D> Load(D d, const ConstMatrixView& m, size_t, size_t c, size_t) {
    return hn::Set(d, ToFloat1(m, c));
  }
  static HWY_INLINE float ToFloat1(const ConstMatrixView& m, size_t c) {
    return LoadFloat(m.data, m.type, static_cast<ptrdiff_t>(c));
  }
};

// Finishes the first n lanes of `v`: channels from c of row `row`, and writes them to y (contiguous, any type but i32).
template <class Lanes = LanesAreChannels, class D, class V>
HWY_INLINE void Finish(D d, V v, const Epilogue& e, size_t row, size_t c, size_t n, void* y, DType type) {
  if (e.scale != nullptr) v = hn::Mul(v, Lanes::Load(d, e.scale, c, n));
  if (e.bias != nullptr) v = hn::Add(v, Lanes::Load(d, e.bias, c, n));
  v = Activate(d, v, e.act);
  if (e.clamp) {
    const auto lo = hn::Set(d, e.lo), hi = hn::Set(d, e.hi);
    v = hn::IfThenElse(hn::Lt(v, lo), lo, v);
    v = hn::IfThenElse(hn::Gt(v, hi), hi, v);
  }
  if (e.mul.data != nullptr) v = hn::Mul(v, Lanes::Load(d, e.mul, row, c, n));
  if (e.residual.data != nullptr) v = hn::Add(v, Lanes::Load(d, e.residual, row, c, n));
  if (IsFloat(type)) {
    if (e.accumulate) v = hn::Add(LoadAsF32(d, y, type, 0, n), v);
    StoreAsFloat(d, v, y, type, n);
  } else {
    StoreAsInt(d, v, e, y, type, n);
  }
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
