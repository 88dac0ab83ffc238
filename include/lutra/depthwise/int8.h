// Integer taps: how a kernel stores them and what a task needs beside them. Plain C++, shared by front doors and
// kernels.
#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "lutra/core/views.h"
#include "lutra/depthwise/geometry.h"

namespace lutra { inline namespace LUTRA_NS { namespace depthwise {

// A kernel of integer taps, c rounded up to whole blocks, zero behind the last channel:
//   i8   [blocks][kh][kw][kTapBlock]   taps
//   i32  [blocks * kTapBlock]          sum of each channel's taps
//   i32  [blocks * kTapBlock]          bias
//   f32  [blocks * kTapBlock]          scale
struct IntKernelSizes {
  size_t channels, block_bytes, sums, bias, scale, bytes;  // the last four count bytes from the begin
};
inline IntKernelSizes IntKernelBytes(const char* what, size_t c, size_t kh, size_t kw) {
  IntKernelSizes s{};
  s.channels = (c + kTapBlock - 1) / kTapBlock * kTapBlock;
  s.block_bytes = internal::CheckedSize(what, kh, kw, kTapBlock);
  s.sums = internal::CheckedSize(what, s.channels / kTapBlock, s.block_bytes);
  s.bias = s.sums + s.channels * sizeof(int32_t);
  s.scale = s.bias + s.channels * sizeof(int32_t);
  s.bytes = s.scale + s.channels * sizeof(float);
  return s;
}

// What multiplies at once: 4 bytes of each of kTapBlock channels, 1 pixel (tap) of 32 bits, 2 of 16 or 4 of 8, as the
// target multiplies best.
inline constexpr size_t kUnitBytes = kTapBlock * sizeof(int32_t);
inline constexpr size_t kMostUnitTaps = 4;

// Scratch of a task:
//   taps      [kh][units of a row]           units
//   begin     [kTapBlock]                    i32: what sums begin with
//   rows      [kh]                           pointers to staged rows, for the output row at hand
//   line      [line_pixels][kTapBlock]       bytes of an input row with its padding
//   staged    [staged_rows + 1][pixels]      units: of pixel p, pixels p, p + dil_w, ...; the last row is all padding
//   sums      [columns][kTapBlock]           f32, NCHW alone
//   image     [h][w][kTapBlock]              bytes, in place alone
struct IntScratchSizes {
  size_t columns;  // outputs at a time
  size_t pixels, line_pixels, staged_rows;
  size_t begin, rows, line, staged, sums, image, bytes;  // in bytes
};
inline IntScratchSizes IntScratch(size_t kh, size_t kw, const ConvGeometry& g, size_t h, size_t w, size_t out_w,
                                  Layout layout, bool in_place) {
  const char* const what = "DepthwisePlan: scratch";
  constexpr size_t kTile = 8, kMostStaged = 640;  // units: 40 KB
  const auto up = [](size_t v) { return (v + 63) / 64 * 64; };
  IntScratchSizes s{};
  const size_t span = g.dil_h * (kh - 1) + 1, around = g.dil_w * (kw - 1);
  const size_t rows = std::max<size_t>(1, g.pad == Pad::kZero ? std::min(span, h) : span);
  s.staged_rows = std::bit_ceil(rows);  // no two rows in one place; a power of two saves divisions
  const size_t fitting = kMostStaged / rows, least = 4 * kTile;
  const size_t most = fitting > around + least * g.stride_w ? (fitting - around) / g.stride_w : least;
  const size_t strips = std::max<size_t>(1, (out_w + most - 1) / most);
  s.columns = ((out_w + strips - 1) / strips + kTile - 1) / kTile * kTile;
  s.pixels = (internal::CheckedSize(what, s.columns, g.stride_w) + around + 3) / 4 * 4;  // staged by fours
  s.line_pixels = s.pixels + (kMostUnitTaps - 1) * g.dil_w;
  s.begin = internal::CheckedSize(what, kh, kw, kUnitBytes);
  s.rows = s.begin + kUnitBytes;
  s.line = s.rows + up(kh * sizeof(void*));
  s.staged = s.line + up((s.line_pixels + kTapBlock) * kTapBlock);  // loads may write 15 pixels too many
  s.sums = s.staged + internal::CheckedSize(what, s.staged_rows + 1, s.pixels, kUnitBytes);
  s.image = s.sums + (layout == Layout::kNchw ? s.columns * kTapBlock * sizeof(float) : 0);
  s.bytes = s.image + (in_place ? internal::CheckedSize(what, h, w, kTapBlock) + kTapBlock * kTapBlock : 0);
  return s;
}

// A kernel's memory, taken apart.
struct IntKernel {
  const int8_t* taps;
  size_t block_bytes;
  const int32_t *sums, *bias;
  const float* scale;

  IntKernel(const void* memory, size_t c, size_t kh, size_t kw) {
    const IntKernelSizes s = IntKernelBytes("DepthwiseConv2d", c, kh, kw);
    const auto* const bytes = static_cast<const char*>(memory);
    taps = static_cast<const int8_t*>(memory);
    block_bytes = s.block_bytes;
    sums = reinterpret_cast<const int32_t*>(bytes + s.sums);
    bias = reinterpret_cast<const int32_t*>(bytes + s.bias);
    scale = reinterpret_cast<const float*>(bytes + s.scale);
  }
};

}}}  // namespace lutra::LUTRA_NS::depthwise
