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

// Sum = float: what kernels compute, one rounding per tap, or, not fused, two: targets without FMA. Sum = double:
// (almost) the true sum, for error bounds.
template <class Sum = float, bool kFused = true>
void DepthwiseConv2d(const ConstImageView& taps, const ConvGeometry& g, const ConstImageView& in, const ImageView& out,
                     const Epilogue& e = {}) {
  const auto signed_size = [](size_t v) { return static_cast<ptrdiff_t>(v); };
  const auto at = [](const ConstImageView& v, size_t n, ptrdiff_t y, ptrdiff_t x, size_t c) {
    return static_cast<ptrdiff_t>(n) * v.sn + y * v.sh + x * v.sw + static_cast<ptrdiff_t>(c) * v.sc;
  };
  const ptrdiff_t kh = signed_size(taps.h), kw = signed_size(taps.w);
  const ptrdiff_t dil_h = signed_size(g.dil_h), dil_w = signed_size(g.dil_w);
  const ptrdiff_t top = g.top == -1 ? dil_h * (kh - 1) / 2 : g.top, left = g.left == -1 ? dil_w * (kw - 1) / 2 : g.left;
  for (size_t n = 0; n < out.n; ++n) {
    for (ptrdiff_t y = 0; y < signed_size(out.h); ++y) {
      for (ptrdiff_t x = 0; x < signed_size(out.w); ++x) {
        for (size_t c = 0; c < out.c; ++c) {
          Sum sum = 0;
          ptrdiff_t inside = 0;
          for (ptrdiff_t ky = 0; ky < kh; ++ky) {
            for (ptrdiff_t kx = 0; kx < kw; ++kx) {
              const ptrdiff_t iy = PixelAt(y * signed_size(g.stride_h) + ky * dil_h - top, signed_size(in.h), g.pad);
              const ptrdiff_t ix = PixelAt(x * signed_size(g.stride_w) + kx * dil_w - left, signed_size(in.w), g.pad);
              if (iy < 0 || ix < 0) continue;
              ++inside;
              const Sum tap = LoadFloat(taps.data, taps.type, at(taps, 0, ky, kx, c));
              const Sum pixel = LoadFloat(in.data, in.type, at(in, n, iy, ix, c));
              sum = kFused ? std::fma(tap, pixel, sum) : tap * pixel + sum;
            }
          }
          sum += Sum{0};  // -0 is +0
          if (g.reweight) sum *= inside == 0 ? Sum{0} : static_cast<Sum>(kh * kw) / static_cast<Sum>(inside);
          const size_t row = (n * out.h + static_cast<size_t>(y)) * out.w + static_cast<size_t>(x);
          Finish(static_cast<float>(sum), e, row, c,
                 static_cast<char*>(out.data) + at(out, n, y, x, c) * signed_size(SizeOf(out.type)), out.type);
        }
      }
    }
  }
}

}}}  // namespace lutra::LUTRA_NS::reference
LUTRA_EXACT_END
