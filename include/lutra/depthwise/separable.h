// Kernels of rank one: taps[y][x] = column[y] * row[x] in every channel, so that two bands do the work of all taps.
// Plain C++: finding the factors, and how a task is cut.
//
// Factors: [ceil(c / kTapBlock)][w][kTapBlock] of the rows, then [ceil(c / kTapBlock)][h][kTapBlock] of the columns.
#pragma once
#include <algorithm>
#include <cmath>

#include "lutra/depthwise/args.h"

LUTRA_EXACT_BEGIN
namespace lutra { inline namespace LUTRA_NS { namespace depthwise {

// The factors of one channel's taps, tap (y, x) at taps[y * row_step + x * step], to column[y * step] and
// row[x * step]: row is that of the largest tap (of the first such), column the other taps of its column over it. False
// where a product is off by more than 2^-21 of its tap: rank one in f32 rounds to 5 / 8 of that.
inline bool FindFactors(const float* taps, size_t h, size_t w, size_t row_step, size_t step, float* column,
                        float* row) {
  size_t top = 0, left = 0;
  float largest = 0;
  for (size_t y = 0; y < h; ++y) {
    for (size_t x = 0; x < w; ++x) {
      const float size = std::fabs(taps[y * row_step + x * step]);
      if (!(size > largest)) continue;
      largest = size;
      top = y;
      left = x;
    }
  }
  const double pivot = double{taps[top * row_step + left * step]};
  for (size_t x = 0; x < w; ++x) row[x * step] = taps[top * row_step + x * step];
  for (size_t y = 0; y < h; ++y) {
    column[y * step] = largest == 0 ? 0.0f : static_cast<float>(double{taps[y * row_step + left * step]} / pivot);
  }
  for (size_t y = 0; y < h; ++y) {
    for (size_t x = 0; x < w; ++x) {
      const double tap = double{taps[y * row_step + x * step]},
                   product = double{column[y * step]} * double{row[x * step]};
      if (!(std::fabs(tap - product) <= 0x1p-21 * std::fabs(tap))) return false;
    }
  }
  return true;
}

// What a task does at a time: the row pass leaves `between` rows of `cols` columns of 16 channels (NHWC) or one (NCHW)
// to the column pass.
struct SeparableTask {
  size_t rows = 0;                // output rows
  size_t cols = 0;                // output columns at a time
  size_t between = 0;             // padded rows that they need
  size_t pitch = 0;               // floats from one of these to the next
  size_t map, sums, work, bytes;  // scratch: where it lies, and the size of it all
};
inline SeparableTask SeparableTaskOf(size_t kh, size_t kw, const ConvGeometry& g, size_t w, size_t out_h, size_t out_w,
                                     Layout layout, bool in_place, size_t lanes) {
  const char* const what = "DepthwisePlan: scratch";
  constexpr size_t kMostBytes = size_t{1} << 18;  // of L2
  const bool nhwc = layout == Layout::kNhwc;
  const size_t span = g.dil_h * (kh - 1) + 1, channels = nhwc ? kTapBlock : 1;
  const auto even = [](size_t size, size_t pieces) { return (size + pieces - 1) / pieces; };
  SeparableTask t;
  // Rows that two tasks both need are done twice: at most a third of them.
  t.rows = in_place ? out_h : even(out_h, std::max<size_t>(1, out_h / std::max<size_t>(32, 2 * span / g.stride_h)));
  t.between = (t.rows - 1) * g.stride_h + span;
  t.cols = out_w;
  if (!in_place) {
    const size_t most = std::max<size_t>(kMostBytes / (t.between * channels * sizeof(float)), nhwc ? 16 : 128);
    t.cols = std::min(out_w, RoundUp(even(out_w, (out_w + most - 1) / most), 16));
  }
  t.pitch = RoundUp(t.cols * channels, 16);
  const auto place = [&](size_t bytes) {
    const size_t at = t.bytes;
    t.bytes += RoundUp(bytes, 64);
    return at;
  };
  t.bytes = 0;
  t.map = place(
      (MappedSize(t.between, 1, 1, 1) + MappedSize(t.rows, kh, g.stride_h, g.dil_h) + MappedSize(t.cols, 1, 1, 1)) *
      sizeof(int32_t));
  t.sums = place(internal::CheckedSize(what, t.between, t.pitch) * sizeof(float));
  ConvGeometry rows_only = g, columns_only = g;
  rows_only.stride_h = rows_only.dil_h = columns_only.stride_w = columns_only.dil_w = 1;
  const auto work = [&](size_t k_h, size_t k_w, const ConvGeometry& pass, size_t height) {
    if (nhwc) return internal::CheckedSize(what, w, kTapBlock) * sizeof(float);  // a row of bf16 or f16, as f32
    return NchwScratch(k_h, k_w, pass, height, std::min(t.cols, kNchwColumns), false, lanes).bytes;
  };
  t.work = place(std::max(work(1, kw, rows_only, t.between), work(kh, 1, columns_only, t.rows)));
  return t;
}

}}}  // namespace lutra::LUTRA_NS::depthwise
LUTRA_EXACT_END
