// Which algorithm convolves, and why not the others: a pure function of shape and layout, never of the machine's load.
#pragma once
#include "lutra/depthwise/geometry.h"

namespace lutra { inline namespace LUTRA_NS { namespace depthwise {

struct DepthwiseShape {
  size_t kh = 0, kw = 0, h = 0, w = 0, c = 0;
  ConvGeometry geometry;
  Layout layout = Layout::kNhwc;
};
struct DepthwiseChoice {
  ConvAlgo algo;       // never kAuto
  const char* reason;  // for Explain
};

// `wanted`: kAuto, or the algorithm that is forced.
constexpr DepthwiseChoice ChooseDepthwise(const DepthwiseShape&, ConvAlgo wanted) {
  if (wanted == ConvAlgo::kDirect) return {ConvAlgo::kDirect, "forced"};
  return {ConvAlgo::kDirect, "takes every shape"};
}

}}}  // namespace lutra::LUTRA_NS::depthwise
