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

// The scale step of one span and one panel: run = run + t * scale, and the offsets' part. See docs/numerics.md, 2.2.
struct SpanScale {
  const float* scale;   // 32 values, of the span's group
  const float* offset;  // the same or null
  bool half;            // the zero point is a half-integer
  bool raw;             // y is i32: `run` holds integers, scales are left out
};

// 32 numbers of 16 bits as f32.
HWY_NOINLINE inline void ConvertScales(const std::byte* from, DType type, float* to) {
  const hn::CappedTag<float, 16> df;
  for (size_t row = 0; row < kPanelRows; row += hn::Lanes(df)) {
    hn::StoreU(LoadAsF32(df, from, type, static_cast<ptrdiff_t>(row), hn::Lanes(df)), df, to + row);
  }
}

// 16-bit scales go through `buffer` of 2 x 32.
HWY_INLINE SpanScale ScaleOfGroup(const GemmCall& c, size_t p, size_t group, float* buffer) {
  const DType type = c.w.scales().type;
  const std::byte* scale = c.w.PanelScales(p) + group * kPanelRows * SizeOf(type);
  const std::byte* offset = c.w.PanelOffsets(p);
  if (offset != nullptr) offset += group * kPanelRows * SizeOf(type);
  SpanScale out{reinterpret_cast<const float*>(scale), reinterpret_cast<const float*>(offset),
                c.w.format().zero_x2 % 2 != 0, c.y.type == DType::kI32};
  if (HWY_UNLIKELY(type != DType::kF32)) {
    ConvertScales(scale, type, buffer);
    out.scale = buffer;
    if (offset != nullptr) {
      ConvertScales(offset, type, buffer + kPanelRows);
      out.offset = buffer + kPanelRows;
    }
  }
  return out;
}

// What the sums of code * x begin with, so that they end as sums of (code - floor(zero point)) * x.
HWY_INLINE int32_t ZeroCorrection(const GemmCall& c, int32_t x_sum) { return -(c.w.format().zero_x2 / 2) * x_sum; }

// `sum` as made by ZeroCorrection, for the rows from `row`: neither offsets nor half-integers, y of floats. Mul, then
// Add: never fused, so that every target gives the same bits.
template <class DF, class VI>
HWY_INLINE hn::Vec<DF> PlainScaleStep(DF df, const float* scale, VI sum, hn::Vec<DF> run) {
  return hn::Add(run, hn::Mul(hn::ConvertTo(df, sum), hn::LoadU(df, scale)));
}
// The same for any case.
template <class DF, class VI>
HWY_INLINE hn::Vec<DF> ScaleStep(DF df, const SpanScale& s, size_t row, int32_t x_sum, VI sum, hn::Vec<DF> run) {
  const hn::RebindToSigned<DF> d32;
  if (s.raw) return hn::BitCast(df, hn::Add(hn::BitCast(d32, run), sum));
  if (s.half) {
    const auto t = hn::Mul(hn::ConvertTo(df, hn::Sub(hn::Add(sum, sum), hn::Set(d32, x_sum))), hn::Set(df, 0.5f));
    run = hn::Add(run, hn::Mul(t, hn::LoadU(df, s.scale + row)));
  } else {
    run = PlainScaleStep(df, s.scale + row, sum, run);
  }
  if (s.offset == nullptr) return run;
  const auto x = hn::Set(df, static_cast<float>(x_sum));
  return hn::Add(run, hn::Mul(x, hn::LoadU(df, s.offset + row)));
}
// For 32 rows in memory.
HWY_NOINLINE inline void ScaleRow(const SpanScale& s, int32_t x_sum, const int32_t* HWY_RESTRICT sums,
                                  float* HWY_RESTRICT run) {
  const hn::CappedTag<float, 16> df;
  const hn::RebindToSigned<decltype(df)> d32;
  for (size_t row = 0; row < kPanelRows; row += hn::Lanes(df)) {
    hn::StoreU(ScaleStep(df, s, row, x_sum, hn::LoadU(d32, sums + row), hn::LoadU(df, run + row)), df, run + row);
  }
}

// Ends a run of 32 rows: acc = acc + run * scale_x.
HWY_INLINE void EndRun(bool raw, float x_scale, const float* HWY_RESTRICT run, float* HWY_RESTRICT acc) {
  const hn::CappedTag<float, 16> df;
  const hn::RebindToSigned<decltype(df)> d32;
  for (size_t row = 0; row < kPanelRows; row += hn::Lanes(df)) {
    const auto v = hn::LoadU(df, run + row), before = hn::LoadU(df, acc + row);
    const auto sum = hn::BitCast(df, hn::Add(hn::BitCast(d32, before), hn::BitCast(d32, v)));
    hn::StoreU(raw ? sum : hn::Add(before, hn::Mul(v, hn::Set(df, x_scale))), df, acc + row);
  }
}

// Both steps for the 32 sums of code * x of a span, from memory to memory; `run` is zero again where the run ends.
HWY_NOINLINE inline void AddSpan(const GemmCall& c, size_t p, size_t x_row, const internal::Span& s, int32_t x_sum,
                                 const int32_t* HWY_RESTRICT sums, float* HWY_RESTRICT run, float* HWY_RESTRICT acc) {
  const hn::CappedTag<int32_t, 16> d32;
  HWY_ALIGN float buffer[2 * kPanelRows];
  HWY_ALIGN int32_t corrected[kPanelRows];
  const SpanScale scale = ScaleOfGroup(c, p, s.weight_group, buffer);
  for (size_t row = 0; row < kPanelRows; row += hn::Lanes(d32)) {
    hn::Store(hn::Add(hn::LoadU(d32, sums + row), hn::Set(d32, ZeroCorrection(c, x_sum))), d32, corrected + row);
  }
  ScaleRow(scale, x_sum, corrected, run);
  if (internal::EndsRun(c, s)) {
    EndRun(scale.raw, c.xq->Scale(x_row, s.x_group), run, acc);
    std::memset(run, 0, kPanelRows * sizeof(float));
  }
}

// Writes outputs [m, n0 ... n0 + count), count <= 32, from 32 aligned f32 (y of i32: i32) in `acc`.
HWY_NOINLINE inline void WriteRow(const GemmCall& c, size_t m, size_t n0, size_t count, const float* acc) {
  std::byte* y = internal::OutputRow(c, m);
  if (y == nullptr) return;
  y += n0 * SizeOf(c.y.type);
  const hn::CappedTag<float, 16> df;
  const Epilogue& e = c.e;
  const bool plain = e.scale == nullptr && e.bias == nullptr && e.act == Act::kNone && !e.clamp &&
                     e.mul.data == nullptr && e.residual.data == nullptr && !e.accumulate;
  if (plain && count == kPanelRows && c.y.type == DType::kF32) {  // asked once, not for each vector
    float* out = reinterpret_cast<float*>(y);
    for (size_t i = 0; i < kPanelRows; i += hn::Lanes(df)) hn::StoreU(hn::Load(df, acc + i), df, out + i);
    return;
  }
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

// Outputs of row m and panel p from the sums of code * x, where these are all of its K: both steps, and the way out.
HWY_INLINE void FinishSpan(const GemmCall& c, const SpanScale& s, float x_scale, int32_t x_sum,
                           const int32_t* HWY_RESTRICT sums, size_t m, size_t p) {
  const hn::CappedTag<float, 16> df;
  const hn::RebindToSigned<decltype(df)> d32;
  HWY_ALIGN float acc[kPanelRows];
  const auto factor = hn::Set(df, x_scale);
  for (size_t i = 0; i < kPanelRows; i += hn::Lanes(df)) {
    const auto sum = hn::Add(hn::Load(d32, sums + i), hn::Set(d32, ZeroCorrection(c, x_sum)));
    const auto run = ScaleStep(df, s, i, x_sum, sum, hn::Zero(df));
    hn::Store(s.raw ? run : hn::Add(hn::Zero(df), hn::Mul(run, factor)), df, acc + i);
  }
  WriteRow(c, m, p * kPanelRows, HWY_MIN(kPanelRows, c.w.n() - p * kPanelRows), acc);
}

HWY_NOINLINE inline int32_t SumOf(const int32_t* HWY_RESTRICT v, size_t count) {
  const hn::CappedTag<int32_t, 16> d32;
  auto sums = hn::Zero(d32);
  size_t i = 0;
  for (; i + hn::Lanes(d32) <= count; i += hn::Lanes(d32)) sums = hn::Add(sums, hn::LoadU(d32, v + i));
  int32_t sum = hn::ReduceSum(d32, sums);
  for (; i < count; ++i) sum += v[i];
  return sum;
}

HWY_INLINE size_t XRow(const GemmCall& c, size_t m, size_t segment) {
  const ptrdiff_t row = internal::RowOf(c, m, segment);
  return row < 0 ? c.xq->m : static_cast<size_t>(row);  // the row of zeros stands behind the last
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
