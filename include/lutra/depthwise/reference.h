// The definition of depthwise convolution, one output at a time. Scalar, for any view; shares no code with the kernels.
#pragma once
#include <cmath>

#include "lutra/core/epilogue_reference.h"
#include "lutra/depthwise/geometry.h"

LUTRA_EXACT_BEGIN
namespace lutra { inline namespace LUTRA_NS { namespace reference {

// Pixel `p` of a line of `size` pixels with everything around it; -1: it is zero.
inline ptrdiff_t PixelAt(ptrdiff_t p, ptrdiff_t size, Pad pad) {
  if (p >= 0 && p < size) return p;
  if (pad == Pad::kCircular) return PixelAt(p < 0 ? p + size : p - size, size, pad);
  if (pad == Pad::kReflect) return PixelAt(p < 0 ? -p : 2 * (size - 1) - p, size, pad);
  if (pad == Pad::kReplicate) return p < 0 ? 0 : size - 1;
  return -1;
}

// visit(tap, pixel, ...): the elements of taps and in that meet in the sum of output (n, y, x, c), ky ascending, then
// kx, as offsets; pixels of zero padding are left out.
template <class Visit>
void ForTaps(const ConstImageView& taps, const ConvGeometry& g, const ConstImageView& in, size_t n, size_t y, size_t x,
             size_t c, const Visit& visit) {
  const auto signed_size = [](size_t v) { return static_cast<ptrdiff_t>(v); };
  const ptrdiff_t kh = signed_size(taps.h), kw = signed_size(taps.w);
  const ptrdiff_t dil_h = signed_size(g.dil_h), dil_w = signed_size(g.dil_w);
  const ptrdiff_t top = g.top == -1 ? dil_h * (kh - 1) / 2 : g.top, left = g.left == -1 ? dil_w * (kw - 1) / 2 : g.left;
  for (ptrdiff_t ky = 0; ky < kh; ++ky) {
    for (ptrdiff_t kx = 0; kx < kw; ++kx) {
      const ptrdiff_t iy = PixelAt(signed_size(y * g.stride_h) + ky * dil_h - top, signed_size(in.h), g.pad);
      const ptrdiff_t ix = PixelAt(signed_size(x * g.stride_w) + kx * dil_w - left, signed_size(in.w), g.pad);
      if (iy < 0 || ix < 0) continue;
      visit(ky * taps.sh + kx * taps.sw + signed_size(c) * taps.sc,
            signed_size(n) * in.sn + iy * in.sh + ix * in.sw + signed_size(c) * in.sc);
    }
  }
}
// out = finish(sum_of(n, y, x, c)) for all outputs.
template <class SumOf>
void ForOutputs(const ImageView& out, const Epilogue& e, const SumOf& sum_of) {
  for (size_t n = 0; n < out.n; ++n) {
    for (size_t y = 0; y < out.h; ++y) {
      for (size_t x = 0; x < out.w; ++x) {
        for (size_t c = 0; c < out.c; ++c) {
          const auto at = [](size_t i, ptrdiff_t stride) { return static_cast<ptrdiff_t>(i) * stride; };
          const ptrdiff_t element = at(n, out.sn) + at(y, out.sh) + at(x, out.sw) + at(c, out.sc);
          Finish(sum_of(n, y, x, c), e, (n * out.h + y) * out.w + x, c,
                 static_cast<char*>(out.data) + element * static_cast<ptrdiff_t>(SizeOf(out.type)), out.type);
        }
      }
    }
  }
}

// Sum = float: what kernels compute, one rounding per tap, or, not fused, two: targets without FMA. Sum = double:
// (almost) the true sum, for error bounds.
template <class Sum = float, bool kFused = true>
void DepthwiseConv2d(const ConstImageView& taps, const ConvGeometry& g, const ConstImageView& in, const ImageView& out,
                     const Epilogue& e = {}) {
  ForOutputs(out, e, [&](size_t n, size_t y, size_t x, size_t c) {
    Sum sum = 0;
    size_t inside = 0;
    ForTaps(taps, g, in, n, y, x, c, [&](ptrdiff_t tap_at, ptrdiff_t pixel_at) {
      ++inside;
      const Sum tap = LoadFloat(taps.data, taps.type, tap_at), pixel = LoadFloat(in.data, in.type, pixel_at);
      sum = kFused ? std::fma(tap, pixel, sum) : tap * pixel + sum;
    });
    sum += Sum{0};  // -0 is +0
    if (g.reweight) sum *= inside == 0 ? Sum{0} : static_cast<Sum>(taps.h * taps.w) / static_cast<Sum>(inside);
    return static_cast<float>(sum);
  });
}

// Taps of i8, in of i8 or u8: the sum is exact, becomes f32 with one rounding, and is multiplied with another.
inline void DepthwiseConv2d(const ConstImageView& taps, const ConvGeometry& g, const ConvQuant& quant,
                            const ConstImageView& in, const ImageView& out, const Epilogue& e = {}) {
  ForOutputs(out, e, [&](size_t n, size_t y, size_t x, size_t c) {
    int64_t sum = quant.bias == nullptr ? 0 : quant.bias[c];
    ForTaps(taps, g, in, n, y, x, c, [&](ptrdiff_t tap_at, ptrdiff_t pixel_at) {
      const int8_t tap = static_cast<const int8_t*>(taps.data)[tap_at];
      const int pixel = in.type == DType::kI8 ? static_cast<const int8_t*>(in.data)[pixel_at]
                                              : static_cast<const uint8_t*>(in.data)[pixel_at];
      sum += tap * (pixel - quant.in_zero);
    });
    const float value = static_cast<float>(sum);
    return quant.scale == nullptr ? value : value * quant.scale[c];
  });
}

}}}  // namespace lutra::LUTRA_NS::reference
LUTRA_EXACT_END
