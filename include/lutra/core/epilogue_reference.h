// The definition of the epilogue, one value at a time.
#pragma once
#include <cmath>

#include "lutra/core/epilogue.h"

LUTRA_EXACT_BEGIN
namespace lutra { inline namespace LUTRA_NS { namespace reference {

inline float Activate(float v, Act act) {
  switch (act) {
    case Act::kNone:
      break;
    case Act::kRelu:
      return v < 0.0f ? 0.0f : v;
    case Act::kSquaredRelu:
      return v < 0.0f ? 0.0f : v * v;
    case Act::kSilu:
      return v / (1.0f + std::exp(-v));
    case Act::kGelu:
      return 0.5f * v * (1.0f + std::erf(v * 0.70710678f));
    case Act::kGeluTanh: {  // 0.5 v (1 + tanh(u)), written so that nothing cancels
      const float u = 0.79788456f * (v * (1.0f + 0.044715f * v * v));
      return v / (1.0f + std::exp(-2.0f * u));
    }
  }
  return v;
}

// Finishes the sum `acc` of (row, channel) and writes it to *y, an element of `type` (any but i32).
inline void Finish(float acc, const Epilogue& e, size_t row, size_t channel, void* y, DType type) {
  const auto element = [&](const ConstMatrixView& m) {
    const auto r = static_cast<ptrdiff_t>(m.rows == 1 ? 0 : row);  // one row serves all
    return LoadFloat(m.data, m.type, r * m.row_stride + static_cast<ptrdiff_t>(channel));
  };
  float v = acc;
  if (e.scale) v = v * e.scale[channel];
  if (e.bias) v = v + e.bias[channel];
  v = Activate(v, e.act);
  if (e.clamp && v < e.lo) v = e.lo;
  if (e.clamp && v > e.hi) v = e.hi;
  if (e.mul.data) v = v * element(e.mul);
  if (e.residual.data) v = v + element(e.residual);
  if (e.accumulate && IsFloat(type)) v = LoadFloat(y, type, 0) + v;
  if (type == DType::kF32) *static_cast<float*>(y) = v;
  if (type == DType::kBF16) *static_cast<BF16*>(y) = ToBF16(v);
  if (type == DType::kF16) *static_cast<F16*>(y) = ToF16(v);
  if (type == DType::kI8 || type == DType::kU8) {
    const float low = type == DType::kI8 ? -128.0f : 0.0f, zero = static_cast<float>(e.out_zero);
    float r = v * e.out_scale;
    r = std::isnan(r) ? 0.0f : r;
    r = std::fmin(std::fmax(r, low - zero), low + 255.0f - zero);
    const int q = static_cast<int>(std::nearbyint(r)) + e.out_zero;
    if (type == DType::kI8) *static_cast<int8_t*>(y) = static_cast<int8_t>(q);
    if (type == DType::kU8) *static_cast<uint8_t*>(y) = static_cast<uint8_t>(q);
  }
}

}}}  // namespace lutra::LUTRA_NS::reference
LUTRA_EXACT_END
