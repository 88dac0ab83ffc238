// Rows of activations to int8: one pass for the largest magnitude, one for the codes and their sums per 32 k.
// Bound   the first pass reads from DRAM or L2, the second from L1 or L2; equal to the scalar definition bit for bit.
#if defined(LUTRA_GEMM_QUANTIZE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_GEMM_QUANTIZE_INL_H_
#undef LUTRA_GEMM_QUANTIZE_INL_H_
#else
#define LUTRA_GEMM_QUANTIZE_INL_H_
#endif

#include <cmath>

#include "lutra/gemm/kernels.h"
#include "lutra/simd/convert-inl.h"

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

// The largest |x| of n elements as the bits of a float without sign, in which NaN is above infinity.
HWY_INLINE float AbsMax(const void* data, DType type, ptrdiff_t at, size_t n) {
  const hn::CappedTag<float, 16> d;
  const hn::RebindToSigned<decltype(d)> di;
  auto most = hn::Zero(di);
  for (size_t i = 0; i < n; i += hn::Lanes(d)) {
    const auto v = LoadAsF32(d, data, type, at + static_cast<ptrdiff_t>(i), n - i);
    most = hn::Max(most, hn::BitCast(di, hn::Abs(v)));
  }
  return std::bit_cast<float>(hn::ReduceMax(di, most));
}

// Codes of n elements, n <= 32, and their sum. Codes behind n, up to 32, become zero.
HWY_INLINE int32_t QuantizeBlock(const void* data, DType type, ptrdiff_t at, size_t n, float factor, int8_t* codes) {
  const hn::CappedTag<float, 16> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Rebind<int8_t, decltype(d)> d8;
  auto sum = hn::Zero(di);
  for (size_t i = 0; i < 32; i += hn::Lanes(d)) {
    auto q = hn::Zero(di);
    // The factor of a row with NaN or infinity is 0, and their products are not numbers: such a row has codes of 0.
    if (i < n && factor != 0.0f) {
      q = hn::NearestInt(hn::Mul(LoadAsF32(d, data, type, at + static_cast<ptrdiff_t>(i), n - i), hn::Set(d, factor)));
    }
    sum = hn::Add(sum, q);
    hn::StoreU(hn::DemoteTo(d8, q), d8, codes + i);
  }
  return hn::ReduceSum(di, sum);
}

inline int64_t QuantizeRows(const internal::QuantizeArgs& a, size_t task) {
  const Activations& out = a.out.view;
  const size_t begin = task * a.rows_per_task, end = HWY_MIN(out.m, begin + a.rows_per_task);
  for (size_t row = begin; row < end; ++row) {
    const ptrdiff_t at = static_cast<ptrdiff_t>(row) * a.x.row_stride;
    int8_t* codes = a.out.codes + row * out.stride;
    const size_t group_k = out.spec.group_k == 0 ? out.stride : out.spec.group_k;
    for (size_t k0 = 0, group = 0; group < out.groups; k0 += group_k, ++group) {
      const size_t k1 = HWY_MIN(out.k, k0 + group_k);
      float factor = 1.0f;
      if (a.x.type == DType::kI8) {
        a.out.scales[row * out.groups + group] = a.given[out.spec.per_tensor ? 0 : row];
      } else {
        const float absmax = out.spec.per_tensor ? a.tensor_absmax
                                                 : AbsMax(a.x.data, a.x.type, at + static_cast<ptrdiff_t>(k0), k1 - k0);
        const internal::ScaleAndFactor s = internal::ScaleOfAbsMax(absmax, a.limit);
        a.out.scales[row * out.groups + group] = s.scale;
        factor = s.factor;
      }
      for (size_t k = k0; k < (group + 1 == out.groups ? out.stride : k1); k += 32) {
        const size_t n = k < k1 ? HWY_MIN(size_t{32}, k1 - k) : 0;
        int32_t sum = 0;
        if (a.x.type == DType::kI8) {
          const int8_t* from = static_cast<const int8_t*>(a.x.data) + at + k;
          for (size_t i = 0; i < 32; ++i) codes[k + i] = i < n ? from[i] : int8_t{0};
          for (size_t i = 0; i < 32; ++i) sum += codes[k + i];
        } else {
          sum = QuantizeBlock(a.x.data, a.x.type, at + static_cast<ptrdiff_t>(k), n, factor, codes + k);
        }
        a.out.sums[row * out.blocks + k / 32] = sum;
      }
    }
  }
  if (task == 0) {  // the row of zeros
    std::memset(a.out.codes + out.m * out.stride, 0, out.stride);
    std::memset(a.out.sums + out.m * out.blocks, 0, out.blocks * sizeof(int32_t));
    std::memset(a.out.scales + out.m * out.groups, 0, out.groups * sizeof(float));
  }
  return HWY_TARGET;
}

inline float AbsMaxOf(const ConstMatrixView& x) {
  float most = 0.0f;
  for (size_t row = 0; row < x.rows; ++row) {
    const float v = AbsMax(x.data, x.type, static_cast<ptrdiff_t>(row) * x.row_stride, x.cols);
    if (!(v <= most)) most = v;
    if (std::isnan(most)) break;
  }
  return most;
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
