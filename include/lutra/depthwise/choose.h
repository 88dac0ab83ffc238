// Which algorithm convolves, and why not the others: a pure function of shape and layout, never of the machine's load,
// nor of its CPU, so that a plan gives equal bits wherever there is FMA.
#pragma once
#include <algorithm>

#include "lutra/core/context.h"
#include "lutra/depthwise/args.h"
#include "lutra/depthwise/fft.h"
#include "lutra/depthwise/geometry.h"

namespace lutra { inline namespace LUTRA_NS { namespace depthwise {

struct DepthwiseShape {
  size_t kh = 0, kw = 0, h = 0, w = 0, out_h = 0, out_w = 0, c = 0;
  ConvGeometry geometry;  // resolved
  Layout layout = Layout::kNhwc;
  bool rank_one = false;  // DepthwiseKernel::separable()
};
struct DepthwiseChoice {
  ConvAlgo algo;          // never kAuto
  const char* reason;     // for Explain
  const char* against;    // why not direct or kFft
  const char* separable;  // why not kSeparable
};

// One axis of it.
constexpr FftLine RowLine(const DepthwiseShape& s) {
  const ConvGeometry& g = s.geometry;
  return {s.w, s.out_w, s.kw, s.out_w > 1 ? g.stride_w : 1, g.dil_w, g.left, g.pad};
}
constexpr FftLine ColumnLine(const DepthwiseShape& s) {
  const ConvGeometry& g = s.geometry;
  return {s.h, s.out_h, s.kh, s.out_h > 1 ? g.stride_h : 1, g.dil_h, g.top, g.pad};
}

// Costs: time of 16 channels of an image in ns, fitted to times on images of 5 to 224 pixels and kernels of 3 to 31,
// spectra in L3, memory of 64-byte lines (Zen 4, 64-byte vectors). With 32-byte ones all are slower; where the two
// would choose differently, what costs both least is chosen. bench/choose.py shows what wrong choices cost.
//
// What channels below or beside whole vectors cost; by transforms, `shared` problems fill a vector.
constexpr double IdleLanes(const DepthwiseShape& s, size_t shared = 1) {
  const size_t lanes = s.c * shared;
  return static_cast<double>(RoundUp(lanes, 16)) / static_cast<double>(lanes);
}
// A tap that is walked over without meeting the image costs a sixteenth.
constexpr double TapsPaid(const DepthwiseShape& s) {
  const double inside = TapsOf(ColumnLine(s)).mean * TapsOf(RowLine(s)).mean;
  return inside + (static_cast<double>(s.kh * s.kw) - inside) / 16;
}
constexpr bool HasSteps(const DepthwiseShape& s) {
  return s.geometry.stride_w > 1 || s.geometry.dil_h > 1 || s.geometry.dil_w > 1;
}
// NHWC.
constexpr double LanesCost(const DepthwiseShape& s) {
  // Tiles are of 7 columns; those at an edge look whether columns are there.
  const double narrow = s.out_w > 14 || s.out_w == 7 ? 1.0 : s.out_w == 14 ? 1.18 : 1.25;
  const double steps = !HasSteps(s) ? 1.0 : s.out_w < 100 ? 1.3 : 1.1;
  const auto outputs = static_cast<double>(s.out_h * s.out_w);
  return IdleLanes(s) * (0.28 * steps * narrow * outputs * (3 + TapsPaid(s)) + 80);
}
// NCHW whose lanes are columns: these idle behind each row (half of the targets have vectors of 16, half of 8), and a
// pixel is loaded for each tap, but by the kernels that share loads. Strides are staged column by column.
constexpr double PlanesCost(const DepthwiseShape& s) {
  const ConvGeometry& g = s.geometry;
  const double narrow = s.out_w <= 12 ? 2.4 : s.out_w <= 16 ? 1.7 : 1.0, partial = s.out_w % 8 == 0 ? 1.0 : 1.2;
  const double columns = static_cast<double>(RoundUp(s.out_w, 16) + RoundUp(s.out_w, 8)) / 2;
  const bool strides = g.stride_h > 1 || g.stride_w > 1;
  const bool shares = !strides && !HasSteps(s) && (s.kh == 3 || s.kh == 5 || s.kh == 7);
  const double staged = strides ? 10 * static_cast<double>(g.stride_h * g.stride_w) : 7;
  const double each = shares ? (s.kh == 3 ? 0.34 : 0.37) : strides || HasSteps(s) ? 0.8 : 0.6;
  return each * narrow * partial * static_cast<double>(s.out_h) * columns * (staged + TapsPaid(s));
}
// NCHW through lanes. Planes that lie a power of two apart meet in the same sets of L1, large ones leave L2.
constexpr double TurnedCost(const DepthwiseShape& s) {
  const double pixel = (s.h * s.w % 512 == 0 ? 3.1 : 1.9) + (s.h * s.w > 10000 ? 1.0 : 0.0);
  const double dilated = s.geometry.dil_w > 1 ? 1.22 : 1.0;
  return dilated * LanesCost(s) + IdleLanes(s) * pixel * static_cast<double>(s.h * s.w + s.out_h * s.out_w);
}
constexpr bool TurnsPlanes(const DepthwiseShape& s) {
  return s.layout == Layout::kNchw && TurnedCost(s) < PlanesCost(s) &&
         TurnedTaskOf(s.kh, s.geometry, s.h, s.w, s.out_h, s.out_w, false).bytes <= Context::kDefaultScratch;
}
constexpr double DirectCost(const DepthwiseShape& s) {
  return s.layout == Layout::kNhwc ? LanesCost(s) : TurnsPlanes(s) ? TurnedCost(s) : PlanesCost(s);
}
// Planes turn into lanes best where a tile has whole rows. The larger transforms leave L2, those of several parts make
// one pass more, and the longest leave L3.
constexpr double FftCost(const DepthwiseShape& s, const FftAxis& rows, const fft::Circle& row, const FftAxis& columns,
                         const fft::Circle& column) {
  const auto points = static_cast<double>(column.Size() * row.Columns());
  const double point = 11.5 + std::min(points, 4500.0) / 500 + (row.parts > 1 ? 2 : 0) + (column.parts > 1 ? 2 : 0) +
                       std::min(std::max(points - 18000, 0.0) / 300, 180.0);
  const size_t tiles = rows.tiles * columns.tiles;
  const bool strides = s.geometry.stride_h > 1 || s.geometry.stride_w > 1, nhwc = s.layout == Layout::kNhwc;
  const double several = tiles == 1 ? 1.0 : nhwc ? 1.3 : 1.15;  // can't run in place, nor stay in L2
  return IdleLanes(s, std::min(tiles, Packed(s.c, kTapBlock))) *
         (nhwc ? 1.0 : (rows.tiles > 1 ? 1.9 : 1.45) * (strides ? 0.7 : 1.0)) * several * static_cast<double>(tiles) *
         (250 + points * point);
}

// How kFft would cut the image; reason: why it can't run, null where it can.
struct FftPlan {
  FftAxis rows, columns;
  double cost = 0;
  const char* reason = nullptr;
  bool shares = false;  // another plan's spectra
};
constexpr FftPlan FftPlanOf(const DepthwiseShape& s) {
  FftPlan best;
  if (s.h * s.w * s.out_h * s.out_w == 0) return best.reason = "the image is empty", best;
  const FftLine row = RowLine(s), column = ColumnLine(s);
  const FftTaps row_taps = TapsOf(row), column_taps = TapsOf(column);
  if (row_taps.begin == row_taps.end || column_taps.begin == column_taps.end) {
    return best.reason = "no tap meets the image", best;
  }
  best.reason = "the kernel is longer than any transform";
  FftAxis by_rows[fft::kCircles];
  for (size_t i = 0; i < fft::kCircles; ++i) by_rows[i] = AxisOf(row, row_taps, fft::CircleAt(i).Size());
  for (size_t i = 0; i < fft::kCircles; ++i) {
    const FftAxis by_columns = AxisOf(column, column_taps, fft::CircleAt(i).Size());
    if (by_columns.points == 0) continue;
    for (size_t k = 0; k < fft::kCircles; ++k) {
      if (by_rows[k].points == 0) continue;
      const double cost = FftCost(s, by_rows[k], fft::CircleAt(k), by_columns, fft::CircleAt(i));
      if (best.reason == nullptr && cost >= best.cost) continue;
      best = {by_rows[k], by_columns, cost, nullptr};
    }
  }
  return best;
}

// The same by the transforms of another plan, where its spectra serve and it costs at most a quarter more.
constexpr FftPlan Sharing(const FftPlan& best, const DepthwiseShape& s, const FftPlan& other,
                          const DepthwiseShape& other_shape) {
  const FftLine row = RowLine(s), column = ColumnLine(s);
  const FftTaps row_taps = TapsOf(row), column_taps = TapsOf(column);
  const auto same = [](const FftTaps& a, const FftTaps& b) { return a.begin == b.begin && a.end == b.end; };
  if (best.reason != nullptr || !same(row_taps, TapsOf(RowLine(other_shape))) ||
      !same(column_taps, TapsOf(ColumnLine(other_shape)))) {
    return best;
  }
  FftPlan p{AxisOf(row, row_taps, other.rows.points), AxisOf(column, column_taps, other.columns.points), 0, nullptr};
  if (p.rows.points == 0 || p.columns.points == 0) return best;
  p.cost = FftCost(s, p.rows, fft::CircleOf(p.rows.points), p.columns, fft::CircleOf(p.columns.points));
  p.shares = p.cost <= 1.25 * best.cost;
  return p.shares ? p : best;
}

// Why kSeparable can't run; null where it can.
constexpr const char* WhyNotSeparable(const DepthwiseShape& s) {
  if (s.kh == 1 || s.kw == 1) return "the kernel is one band";
  if (!s.rank_one) return "not every channel's taps are of rank one";
  if (s.h * s.w * s.out_h * s.out_w == 0) return "the image is empty";
  if (s.geometry.reweight) return "borders are re-weighted";
  return nullptr;
}
// Time of the two bands, fitted on images of 7 to 224 pixels beside the other algorithms. A tile is 7 columns (NHWC),
// the last of a row pays for those that are not there. Padding that is not zero is read pixel by pixel; the last terms
// are what a task costs, in NCHW for each channel and row.
constexpr double SeparableCost(const DepthwiseShape& s) {
  const bool zero = s.geometry.pad == Pad::kZero, planes = s.layout == Layout::kNchw;
  const double narrow = planes || s.out_w >= 16 ? 1.0 : s.out_w > 12 ? 1.2 : 1.55;
  const double partial = planes || s.out_w % 7 == 0 || s.out_w > 64 ? 1.0 : 1.1;
  const double large = !planes && s.out_w >= 56 ? 1.08 : 1.0;
  const double each = planes ? 0.95 : 0.34 * narrow * partial * large, start = planes ? 2.6 : 1.1;
  const auto pass = [&](size_t out_h, size_t k, double inside) {
    const auto outputs = static_cast<double>(out_h * RoundUp(s.out_w, planes ? 8 : 7));
    return each * outputs * (start + inside + (static_cast<double>(k) - inside) / 4);
  };
  const auto kh = static_cast<double>(s.kh), kw = static_cast<double>(s.kw), w = static_cast<double>(s.w);
  const double around = zero ? 1.0 : 1.0 + 0.8 * std::min(1.0, kw / w);
  const double bands = pass(s.h, s.kw, zero ? TapsOf(RowLine(s)).mean : kw) * around +
                       pass(s.out_h, s.kh, zero ? TapsOf(ColumnLine(s)).mean : kh);
  if (planes) return bands + 2000 + 100 * static_cast<double>(s.out_h);
  return bands * IdleLanes(s) + 100;
}
// Bands are chosen only where their error bound is no larger than that of all taps one by one (docs/numerics.md, 4.11).
constexpr bool SeparableIsAsExact(const DepthwiseShape& s) { return s.kh + s.kw + 10 <= s.kh * s.kw + 1; }

// What kSeparable would need; reason: why it can't run, null where it can.
struct SeparableNeeds {
  size_t scratch = 0;
  const char* reason = nullptr;
};

// `wanted`: kAuto, or the algorithm that is forced: only one that can run. kAuto leaves a default Context enough.
constexpr DepthwiseChoice ChooseDepthwise(const DepthwiseShape& s, const FftPlan& fft_plan,
                                          const SeparableNeeds& separable, ConvAlgo wanted) {
  if (wanted == ConvAlgo::kFft) return {ConvAlgo::kFft, "forced", "fft is forced", "fft is forced"};
  if (wanted == ConvAlgo::kDirect) return {ConvAlgo::kDirect, "forced", "direct is forced", "direct is forced"};
  if (wanted == ConvAlgo::kSeparable) return {ConvAlgo::kSeparable, "forced", "separable is forced", nullptr};
  const double direct = DirectCost(s);
  const bool fft = fft_plan.reason == nullptr && fft_plan.cost < direct;
  const char* against = separable.reason;
  if (against == nullptr && !SeparableIsAsExact(s)) against = "the kernel is small";
  if (against == nullptr && separable.scratch > Context::kDefaultScratch) against = "it needs too much scratch";
  if (against == nullptr) {
    if (SeparableCost(s) < (fft ? fft_plan.cost : direct)) {
      return {ConvAlgo::kSeparable, "the taps are of rank one", "two bands are faster", nullptr};
    }
    against = "two bands are slower";
  }
  if (fft_plan.reason != nullptr) return {ConvAlgo::kDirect, "takes every shape", fft_plan.reason, against};
  return fft ? DepthwiseChoice{ConvAlgo::kFft, "the kernel is large", "the kernel is large", against}
             : DepthwiseChoice{ConvAlgo::kDirect, "the kernel is small", "the kernel is small", against};
}

}}}  // namespace lutra::LUTRA_NS::depthwise
