// Which algorithm convolves, and why not the others: a pure function of shape and layout, never of the machine's load.
#pragma once
#include "lutra/depthwise/fft.h"
#include "lutra/depthwise/geometry.h"

namespace lutra { inline namespace LUTRA_NS { namespace depthwise {

struct DepthwiseShape {
  size_t kh = 0, kw = 0, h = 0, w = 0, out_h = 0, out_w = 0, c = 0;
  ConvGeometry geometry;  // resolved
  Layout layout = Layout::kNhwc;
};
struct DepthwiseChoice {
  ConvAlgo algo;        // never kAuto
  const char* reason;   // for Explain
  const char* against;  // why not the other one
};

// The lengths of transforms that kFft would use; reason: why it can't run, null where it can.
struct FftLengths {
  const fft::Length *rows = nullptr, *columns = nullptr;
  const char* reason = nullptr;
};
constexpr FftLengths FftLengthsOf(const DepthwiseShape& s) {
  const ConvGeometry& g = s.geometry;
  FftLengths l;
  if (s.layout != Layout::kNhwc) return l.reason = "the layout is NCHW", l;
  if (s.h * s.w * s.out_h * s.out_w == 0) return l.reason = "the image is empty", l;
  if ((g.stride_h != 1 && s.out_h > 1) || (g.stride_w != 1 && s.out_w > 1)) return l.reason = "a stride is not 1", l;
  if (g.pad != Pad::kZero && (g.top | g.left | g.bottom | g.right) != 0) return l.reason = "the padding is not zero", l;
  const size_t points_h = TapsOf(s.h, s.out_h, s.kh, g.dil_h, g.top).points,
               points_w = TapsOf(s.w, s.out_w, s.kw, g.dil_w, g.left).points;
  if (points_h == 0 || points_w == 0) return l.reason = "no tap meets the image", l;
  l.rows = fft::LengthFor(points_w);
  l.columns = fft::LengthFor(points_h);
  if (l.rows == nullptr || l.columns == nullptr) l.reason = "image and kernel together are longer than any transform";
  return l;
}

// Time of a block of channels in ns, fitted to times of both algorithms on images of 5 to 80 pixels and kernels of 3
// to 31, spectra in L3 (Zen 4, 64-byte vectors; the same shapes are chosen right with 32-byte ones, where both are
// slower). Wrong choices cost up to a fifth, bands of K x 1 up to 1.4 times.
//
// A tap that is walked over without meeting the image costs an eighth; a tile has 8 columns, used or not, and one that
// meets a border takes a fifth longer.
constexpr double DirectCost(const DepthwiseShape& s) {
  const ConvGeometry& g = s.geometry;
  const double inside =
      TapsOf(s.h, s.out_h, s.kh, g.dil_h, g.top).mean * TapsOf(s.w, s.out_w, s.kw, g.dil_w, g.left).mean;
  const double walked = static_cast<double>(s.kh * s.kw);
  const size_t columns = (s.out_w + 7) / 8 * 8;
  const auto outputs = static_cast<double>(s.out_h * columns);
  return 0.28 * (s.out_w < 16 ? 1.2 : 1.0) * outputs * (7 + inside + (walked - inside) / 8);
}
// Points of the larger transforms leave L2.
constexpr double FftCost(const FftLengths& l) {
  const auto points = static_cast<double>(l.columns->size * l.rows->Half());
  return points * (10.5 + points / 330);
}

// `wanted`: kAuto, or the algorithm that is forced: kFft only where FftLengthsOf has no reason against it.
constexpr DepthwiseChoice ChooseDepthwise(const DepthwiseShape& s, const FftLengths& l, ConvAlgo wanted) {
  if (wanted == ConvAlgo::kFft) return {ConvAlgo::kFft, "forced", "fft is forced"};
  if (wanted == ConvAlgo::kDirect) return {ConvAlgo::kDirect, "forced", "direct is forced"};
  if (l.reason != nullptr) return {ConvAlgo::kDirect, "takes every shape", l.reason};
  return FftCost(l) < DirectCost(s) ? DepthwiseChoice{ConvAlgo::kFft, "the kernel is large", "the kernel is large"}
                                    : DepthwiseChoice{ConvAlgo::kDirect, "the kernel is small", "the kernel is small"};
}

}}}  // namespace lutra::LUTRA_NS::depthwise
