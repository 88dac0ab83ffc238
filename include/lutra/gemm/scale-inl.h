// From int32 sums to outputs: the scale step that all integer kernels share, and the way out through the epilogue.
#if defined(LUTRA_GEMM_SCALE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_GEMM_SCALE_INL_H_
#undef LUTRA_GEMM_SCALE_INL_H_
#else
#define LUTRA_GEMM_SCALE_INL_H_
#endif

#include <cstring>

#include "lutra/gemm/kernels.h"
#include "lutra/simd/epilogue-inl.h"

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

// What the scale step of one span needs, beside the sums: of one row of x and one panel of w.
struct SpanScale {
  int32_t x_sum;  // sum of the activation codes of the span
  float x_scale;
  const std::byte* scale;   // 32 values, of the span's group
  const std::byte* offset;  // the same or null
  DType type;
  int32_t zero_x2;
  bool raw;  // y is i32
};

// Adds the span's `sums` of code * x, 32 rows of a panel, to `acc`, 32 f32 (raw: i32). Mul, then Add: never fused, so
// that every target gives the same bits. Out of line: its cost is that of a few k, its code that of a kernel.
HWY_NOINLINE inline void AddSpan(const SpanScale& s, const int32_t* HWY_RESTRICT sums, float* HWY_RESTRICT acc) {
  const hn::CappedTag<int32_t, 16> d32;
  const hn::Rebind<float, decltype(d32)> df;
  const auto x_scale = hn::Set(df, s.x_scale);
  for (size_t row = 0; row < kPanelRows; row += hn::Lanes(d32)) {
    const auto sum = hn::Load(d32, sums + row);
    if (s.raw) {
      int32_t* raw = reinterpret_cast<int32_t*>(acc) + row;
      const auto corrected = hn::Sub(sum, hn::Set(d32, s.zero_x2 / 2 * s.x_sum));
      hn::Store(hn::Add(hn::Load(d32, raw), corrected), d32, raw);
      continue;
    }
    auto t = hn::Zero(df);
    if (s.zero_x2 % 2 == 0) {
      t = hn::ConvertTo(df, hn::Sub(sum, hn::Set(d32, s.zero_x2 / 2 * s.x_sum)));
    } else {
      const auto twice = hn::Sub(hn::Add(sum, sum), hn::Set(d32, s.zero_x2 * s.x_sum));
      t = hn::Mul(hn::ConvertTo(df, twice), hn::Set(df, 0.5f));
    }
    const auto at = static_cast<ptrdiff_t>(row);
    const auto factor = hn::Mul(x_scale, LoadAsF32(df, s.scale, s.type, at, hn::Lanes(df)));
    auto total = hn::Add(hn::Load(df, acc + row), hn::Mul(t, factor));
    if (s.offset != nullptr) {
      const auto offset = hn::Mul(x_scale, LoadAsF32(df, s.offset, s.type, at, hn::Lanes(df)));
      total = hn::Add(total, hn::Mul(hn::Set(df, static_cast<float>(s.x_sum)), offset));
    }
    hn::Store(total, df, acc + row);
  }
}

// Writes outputs [m, n0 ... n0 + count), count <= 32, from 32 aligned f32 (y of i32: i32) in `acc`.
HWY_NOINLINE inline void WriteRow(const GemmCall& c, size_t m, size_t n0, size_t count, const float* acc) {
  std::byte* y = internal::OutputRow(c, m);
  if (y == nullptr) return;
  y += n0 * SizeOf(c.y.type);
  const hn::CappedTag<float, 16> df;
  for (size_t i = 0; i < count; i += hn::Lanes(df)) {
    const size_t n = HWY_MIN(hn::Lanes(df), count - i);
    if (c.y.type == DType::kI32) {
      const hn::RebindToSigned<decltype(df)> d32;
      int32_t* out = reinterpret_cast<int32_t*>(y) + i;
      auto v = hn::Load(d32, reinterpret_cast<const int32_t*>(acc) + i);
      if (c.e.accumulate) v = hn::Add(v, LoadSome(d32, out, n));
      StoreSome(d32, v, out, n);
    } else {
      Finish(df, hn::Load(df, acc + i), c.e, m, n0 + i, n, y + i * SizeOf(c.y.type), c.y.type);
    }
  }
}

// The scale step's operands for output row m, panel p and a span.
HWY_INLINE SpanScale ScaleOfSpan(const GemmCall& c, size_t p, size_t x_row, const internal::Span& s, int32_t x_sum) {
  const size_t skip = s.weight_group * kPanelRows * SizeOf(c.w.scales().type);
  const std::byte* offsets = c.w.PanelOffsets(p);
  return {x_sum,
          c.xq->Scale(x_row, s.x_group),
          c.w.PanelScales(p) + skip,
          offsets == nullptr ? nullptr : offsets + skip,
          c.w.scales().type,
          c.w.format().zero_x2,
          c.y.type == DType::kI32};
}

HWY_INLINE size_t XRow(const GemmCall& c, size_t m, size_t segment) {
  const ptrdiff_t row = internal::RowOf(c, m, segment);
  return row < 0 ? c.xq->m : static_cast<size_t>(row);  // the row of zeros stands behind the last
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
