// Which algorithm runs: a pure function of types, formats and group sizes, never of the machine's load.
#pragma once
#include "lutra/gemm/types.h"

namespace lutra { inline namespace LUTRA_NS { namespace internal {

inline constexpr const char* kGemmAlgoNames[] = {"auto", "int_dot", "int_lanes", "tile"};

// Why `algo` cannot run this call, nullptr where it can. has_kernel: the unit compiled int_dot for the format.
inline const char* WhyNot(GemmAlgo algo, const GemmCall& c, bool has_kernel) {
  const bool affine = c.w.format().map == Map::kAffine;
  if (algo == GemmAlgo::kTile) {
    if (c.y.type == DType::kI32) return "integer sums (y.type i32) need an integer algorithm";
    return nullptr;
  }
  if (c.xq == nullptr) return "x is float: pass Activations for the integer path";
  if (!affine) return "a table format has no integer codes";
  if (c.y.type == DType::kI32 && c.w.format().zero_x2 % 2 != 0) return "a half-integer zero point has no i32 sums";
  if (algo == GemmAlgo::kIntDot) {
    if (!has_kernel) return "the format has no kernel of its own in this build";
    if (c.w.scales().group_k % kBlockK != 0) return "group_k is not a multiple of 32";
  }
  return nullptr;
}

// The chosen algorithm, kAuto where none can run.
inline GemmAlgo Choose(const GemmCall& c, bool has_kernel) {
  if (c.algo != GemmAlgo::kAuto) return WhyNot(c.algo, c, has_kernel) == nullptr ? c.algo : GemmAlgo::kAuto;
  for (const GemmAlgo algo : {GemmAlgo::kIntDot, GemmAlgo::kIntLanes, GemmAlgo::kTile}) {
    if (WhyNot(algo, c, has_kernel) == nullptr) return algo;
  }
  return GemmAlgo::kAuto;
}

}}}  // namespace lutra::LUTRA_NS::internal
