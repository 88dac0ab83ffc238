// The words of this room that kernels share with its front doors.
#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>

#include "lutra/core/status.h"

namespace lutra { inline namespace v0 {

// What lies outside of the image: 0; the image again; the image mirrored, its border pixel not repeated; its border
// pixel.
enum class Pad : uint8_t { kZero, kCircular, kReflect, kReplicate };

// Which strides of a view are free. kNhwc: sc is 1 (channel ranges of wider images are fine), kNchw: sw is 1.
enum class Layout : uint8_t { kNhwc, kNchw };

// kFft: transforms of rows and columns, tile by tile, for kernels that span up to some 500 pixels; docs/depthwise.md
// says when it is chosen, docs/numerics.md what it rounds.
// kSeparable: two bands, for kernels of rank one (DepthwiseKernel::separable()).
enum class ConvAlgo : uint8_t { kAuto, kDirect, kFft, kSeparable };

// Padding -1 is "same": dil * (K - 1) in all, half of it before and, where it is odd, the extra one after (below, to
// the right), as PyTorch's padding='same'; with stride 1 the output has the size of the input.
struct ConvGeometry {
  size_t stride_h = 1, stride_w = 1, dil_h = 1, dil_w = 1;
  int top = -1, left = -1, bottom = -1, right = -1;
  Pad pad = Pad::kZero;
  // Partial convolution: each sum is multiplied by the window's taps, KH * KW, over those of them that meet the image,
  // or by 0 where none does; before the epilogue. With zero padding only.
  bool reweight = false;
};

// What integer taps and the images they meet stand for: out = scale * (bias + sum of tap * (in - in_zero)), and then
// the epilogue. Padding holds in_zero.
struct ConvQuant {
  int32_t in_zero = 0;            // zero point of the image: -128 ... 127 for i8, 0 ... 255 for u8
  const float* scale = nullptr;   // [C], finite: scale of the image times that of the channel's taps; null: 1
  const int32_t* bias = nullptr;  // [C]; null: 0
};

inline constexpr size_t kTapBlock = 16;  // channels whose taps lie side by side: one line of 64 bytes

}}  // namespace lutra::v0

namespace lutra { inline namespace LUTRA_NS {

// Pixels that `taps` of a causal kernel look back, `what` names the caller.
inline int CausalPadding(const char* what, size_t taps, size_t dil) {
  constexpr size_t kMost = std::numeric_limits<int32_t>::max() / 4;
  if (taps == 0 || taps > kMost || dil > kMost / taps) {
    Fail("%s: %zu taps, dilated by %zu, must be at least 1 and span at most %zu", what, taps, dil, kMost);
  }
  return static_cast<int>(dil * (taps - 1));
}

// `g` with all padding of columns (rows) before the first: an output sees its own column (row) and earlier ones. For
// kernels of kw columns (kh rows) and g's dilation.
inline ConvGeometry CausalColumns(size_t kw, ConvGeometry g = {}) {
  g.left = CausalPadding("CausalColumns", kw, g.dil_w);
  g.right = 0;
  return g;
}
inline ConvGeometry CausalRows(size_t kh, ConvGeometry g = {}) {
  g.top = CausalPadding("CausalRows", kh, g.dil_h);
  g.bottom = 0;
  return g;
}

}}  // namespace lutra::LUTRA_NS
