// Rows of x as f32 for the float kernels, and their sums, which offsets of weights multiply.
#if defined(LUTRA_GEMM_FLOAT_X_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_GEMM_FLOAT_X_INL_H_
#undef LUTRA_GEMM_FLOAT_X_INL_H_
#else
#define LUTRA_GEMM_FLOAT_X_INL_H_
#endif

#include "lutra/gemm/scale-inl.h"

#ifndef LUTRA_GEMM_FLOAT_X_ONCE_
#define LUTRA_GEMM_FLOAT_X_ONCE_
namespace lutra { inline namespace LUTRA_NS { namespace internal {

// Rows of x from some k on: element i of row r at at[r * stride + i].
struct FloatRows {
  const float* at;
  ptrdiff_t stride;
};
LUTRA_MEMBER bool XIsInPlace(const GemmCall& c) {
  return c.xq == nullptr && c.x.type == DType::kF32 && c.rows.row == nullptr;
}
// The sum of a span of x is kept in this many parts, by k modulo their number.
inline constexpr size_t kSumParts = 16;

}}}  // namespace lutra::LUTRA_NS::internal
#endif

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

// x of rows [m, m + count), k in [k0, k1) of a segment, to buffer[row * pitch].
HWY_NOINLINE inline void CopyRows(const GemmCall& c, size_t m, size_t count, size_t segment, size_t k0, size_t k1,
                                  float* HWY_RESTRICT buffer, size_t pitch) {
  const hn::CappedTag<float, 16> df;
  const hn::RebindToSigned<decltype(df)> d32;
  const hn::Rebind<int8_t, decltype(df)> d8;
  for (size_t r = 0; r < count; ++r) {
    float* to = buffer + r * pitch;
    const ptrdiff_t row = internal::RowOf(c, m + r, segment);
    if (row < 0) {
      std::memset(to, 0, (k1 - k0) * sizeof(float));
    } else if (c.xq == nullptr) {
      const ptrdiff_t at = row * c.x.row_stride;
      for (size_t k = k0; k < k1; k += hn::Lanes(df)) {
        const auto v = LoadAsF32(df, c.x.data, c.x.type, at + static_cast<ptrdiff_t>(k), k1 - k);
        StoreSome(df, v, to + (k - k0), k1 - k);
      }
    } else {
      const size_t index = static_cast<size_t>(row), group_k = c.xq->spec.group_k;
      for (size_t k = k0; k < k1;) {
        const size_t group = group_k == 0 ? 0 : k / group_k;
        const size_t end = group_k == 0 ? k1 : HWY_MIN(k1, (group + 1) * group_k);
        const auto scale = hn::Set(df, c.xq->Scale(index, group));
        for (; k < end; k += hn::Lanes(df)) {
          const auto q = hn::PromoteTo(d32, LoadSome(d8, c.xq->Row(index) + k, end - k));
          StoreSome(df, hn::Mul(hn::ConvertTo(df, q), scale), to + (k - k0), end - k);
        }
        k = end;
      }
    }
  }
}

// The same rows where they are, or copied to `buffer`.
HWY_INLINE internal::FloatRows RowsFrom(const GemmCall& c, size_t m, size_t count, size_t segment, size_t k0, size_t k1,
                                        float* buffer, size_t pitch) {
  if (internal::XIsInPlace(c)) {
    return {static_cast<const float*>(c.x.data) + static_cast<ptrdiff_t>(m) * c.x.row_stride + k0, c.x.row_stride};
  }
  CopyRows(c, m, count, segment, k0, k1, buffer, pitch);
  return {buffer, static_cast<ptrdiff_t>(pitch)};
}

// Adds x of k in [k0, k1) of a span, which begins at x[0], to the parts of its sum.
HWY_NOINLINE inline void AddToSum(const float* x, size_t k0, size_t k1, float* HWY_RESTRICT parts) {
  const hn::CappedTag<float, internal::kSumParts> df;
  size_t k = k0;
  const auto one_by_one = [&](size_t end) {
    for (; k < end; ++k) parts[k % internal::kSumParts] += x[k - k0];
  };
  one_by_one(HWY_MIN(k1, (k0 + internal::kSumParts - 1) / internal::kSumParts * internal::kSumParts));
  for (; k + internal::kSumParts <= k1; k += internal::kSumParts) {
    for (size_t i = 0; i < internal::kSumParts; i += hn::Lanes(df)) {
      hn::StoreU(hn::Add(hn::LoadU(df, parts + i), hn::LoadU(df, x + (k - k0) + i)), df, parts + i);
    }
  }
  one_by_one(k1);
}
// Joins the parts pairwise, 8, 4, 2, 1 apart, and clears them.
HWY_INLINE float TakeSum(float* parts) {
  for (size_t apart = internal::kSumParts / 2; apart != 0; apart /= 2) {
    for (size_t i = 0; i < apart; ++i) parts[i] += parts[i + apart];
  }
  const float sum = parts[0];
  std::memset(parts, 0, internal::kSumParts * sizeof(float));
  return sum;
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
