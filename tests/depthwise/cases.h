// Convolutions for tests: every kernel size with a sample of everything else, the same on each run.
#pragma once
#include <algorithm>
#include <ostream>
#include <vector>

#include "depthwise/images.h"

namespace lutra { namespace testing {

struct ConvCase {
  size_t n, h, w, c, kh, kw;
  ConvGeometry geometry;
  Layout layout;
  Gaps in_gaps, out_gaps;
  int epilogue;  // 0: none, 1: bias, 2: bias and ReLU, 3: all that is exact
  uint64_t seed;
};
inline std::ostream& operator<<(std::ostream& os, const ConvCase& t) {
  const ConvGeometry& g = t.geometry;
  return os << t.n << " x " << t.h << " x " << t.w << " x " << t.c << (t.layout == Layout::kNhwc ? " NHWC" : " NCHW")
            << ", kernel " << t.kh << " x " << t.kw << ", stride " << g.stride_h << ' ' << g.stride_w << ", dilation "
            << g.dil_h << ' ' << g.dil_w << ", padding " << static_cast<int>(g.pad) << ": " << g.top << ' ' << g.left
            << ' ' << g.bottom << ' ' << g.right << (g.reweight ? ", re-weighted" : "") << ", epilogue " << t.epilogue
            << ", seed " << t.seed;
}

// Whether a plan for this case exists.
inline bool Possible(const ConvCase& t) {
  const auto line = [&](size_t size, size_t k, size_t dil, int before, int after) {
    const size_t total = dil * (k - 1), b = before == -1 ? total / 2 : static_cast<size_t>(before),
                 a = after == -1 ? total - total / 2 : static_cast<size_t>(after);
    if (t.geometry.pad == Pad::kReflect && std::max(a, b) >= size) return false;
    if (t.geometry.pad != Pad::kZero && size == 0) return false;
    return size == 0 || size + a + b >= total + 1;
  };
  const ConvGeometry& g = t.geometry;
  return line(t.h, t.kh, g.dil_h, g.top, g.bottom) && line(t.w, t.kw, g.dil_w, g.left, g.right);
}

inline std::vector<ConvCase> ConvCases() {
  static constexpr size_t kKernels[][2] = {{1, 1},  {2, 2},   {4, 3}, {1, 21}, {21, 1}, {3, 3},   {5, 5},  {7, 7},
                                           {9, 40}, {31, 31}, {6, 8}, {3, 11}, {8, 8},  {9, 9},   {1, 11}, {11, 1},
                                           {4, 4},  {1, 3},   {6, 6}, {5, 3},  {3, 7},  {13, 13}, {5, 1}};
  static constexpr size_t kSizes[] = {1, 2, 3, 5, 6, 7, 8, 9, 11, 12, 13, 14, 16, 17, 23, 28, 31, 37};
  static constexpr size_t kSmall[] = {1, 2, 3, 5, 7, 8, 9, 11};
  static constexpr size_t kChannels[] = {1, 3, 7, 8, 17, 33, 16, 4, 12, 24};
  static constexpr size_t kSteps[] = {1, 1, 1, 2, 3};
  static constexpr Pad kPads[] = {Pad::kZero, Pad::kZero, Pad::kCircular, Pad::kReflect, Pad::kReplicate};
  std::vector<ConvCase> cases;
  Random random(7);
  for (const auto& k : kKernels) {
    const bool large = k[0] * k[1] > 200;
    for (size_t found = 0; found < (large ? 8 : 12);) {
      ConvCase t{};
      t.n = 1 + random.Below(3) / 2;
      t.h = large ? random.Of(kSmall) : random.Of(kSizes);
      t.w = large ? random.Of(kSmall) : random.Of(kSizes);
      t.c = random.Of(kChannels);
      t.kh = k[0];
      t.kw = k[1];
      t.geometry.stride_h = random.Of(kSteps);
      t.geometry.stride_w = random.Of(kSteps);
      t.geometry.dil_h = random.Of(kSteps);
      t.geometry.dil_w = random.Of(kSteps);
      t.geometry.pad = random.Of(kPads);
      if (random.Below(2) == 0) t.geometry.stride_h = t.geometry.stride_w = t.geometry.dil_h = t.geometry.dil_w = 1;
      if (random.Below(2) == 0) {  // own padding instead of "same"
        t.geometry.top = static_cast<int>(random.Below(t.kh + 2));
        t.geometry.bottom = static_cast<int>(random.Below(t.kh * t.geometry.dil_h + 1));
        t.geometry.left = static_cast<int>(random.Below(t.kw * t.geometry.dil_w + 1));
        t.geometry.right = static_cast<int>(random.Below(t.kw + 2));
      }
      t.layout = random.Below(2) == 0 ? Layout::kNhwc : Layout::kNchw;
      if (random.Below(2) == 0) t.in_gaps = {random.Below(9), random.Below(4), random.Below(5)};
      if (random.Below(2) == 0) t.out_gaps = {random.Below(9), random.Below(4), random.Below(5)};
      t.epilogue = static_cast<int>(random.Below(4));
      t.seed = random.Next();
      t.geometry.reweight = t.geometry.pad == Pad::kZero && t.seed % 3 == 0;
      if (!Possible(t)) continue;
      cases.push_back(t);
      ++found;
    }
  }
  for (const int empty : {0, 1, 2, 3}) {  // nothing to do, or only padding to see
    for (const Layout layout : {Layout::kNhwc, Layout::kNchw}) {
      ConvCase t{1, 5, 5, 3, 3, 3, {}, layout, {}, {}, 1, 1};
      (empty == 0 ? t.n : empty == 1 ? t.h : t.w) = 0;
      if (empty == 3) t.geometry.left = 4;
      cases.push_back(t);
    }
  }
  // Columns and rows of more than one block, widths around the tile and the vector, images smaller than it all.
  for (const size_t w : {15u, 24u, 33u, 130u, 300u}) {
    for (const Layout layout : {Layout::kNhwc, Layout::kNchw}) {
      cases.push_back({1, 3, w, 5, 3, 5, {}, layout, {}, {}, 0, w});
      cases.push_back({1, w, 3, 5, 5, 3, {}, layout, {}, {}, 1, w});
    }
  }
  return cases;
}

}}  // namespace lutra::testing
