// The words of this room that kernels share with its front doors.
#pragma once
#include <cstddef>
#include <cstdint>

#include "lutra/core/version.h"

namespace lutra { inline namespace v0 {

// What lies outside of the image: 0; the image again; the image mirrored, its border pixel not repeated; its border
// pixel.
enum class Pad : uint8_t { kZero, kCircular, kReflect, kReplicate };

// Which strides of a view are free. kNhwc: sc is 1 (channel ranges of wider images are fine), kNchw: sw is 1.
enum class Layout : uint8_t { kNhwc, kNchw };

// kFft: transforms of whole rows and columns (NHWC, stride 1, zero padding, images of up to 90 pixels with their
// kernel); docs/depthwise.md says when it is chosen, docs/numerics.md what it rounds.
enum class ConvAlgo : uint8_t { kAuto, kDirect, kFft };

// Padding -1 is "same": dil * (K - 1) in all, half of it before and, where it is odd, the extra one after (below, to
// the right), as PyTorch's padding='same'; with stride 1 the output has the size of the input.
struct ConvGeometry {
  size_t stride_h = 1, stride_w = 1, dil_h = 1, dil_w = 1;
  int top = -1, left = -1, bottom = -1, right = -1;
  Pad pad = Pad::kZero;
};

inline constexpr size_t kTapBlock = 16;  // channels whose taps lie side by side: one line of 64 bytes

}}  // namespace lutra::v0
