// The GEMM kernels of this unit, by format and target.
#pragma once
#include "lutra/dispatch.h"
#include "lutra/gemm/kernels.h"

namespace lutra { inline namespace LUTRA_NS { namespace internal {

LUTRA_DISPATCHED_T(PickIntDot, IntDot)
LUTRA_DISPATCHED_T(PickUnpackBlock, UnpackBlock)
LUTRA_DISPATCHED_T(PickSumsTable, SumsTable)
LUTRA_DISPATCHED(PickIntLanes, IntLanes)
LUTRA_DISPATCHED(PickShuffleTable, ShuffleTable)
LUTRA_DISPATCHED(PickPopcountOf, PopcountOf)
LUTRA_DISPATCHED(PickTile, Tile)

template <int64_t kTargets>
CommonKernels PickCommon(int64_t target) {
  return {PickIntLanes<kTargets>(target), PickTile<kTargets>(target), PickShuffleTable<kTargets>(target)};
}

// The kernels of one width of codes.
template <int64_t kTargets, class Width>
FormatKernels KernelsOf(int64_t target) {
  FormatKernels kernels{PickIntDot<Width, kTargets>(target),
                        PickUnpackBlock<Width, kTargets>(target),
                        {},
                        PickPopcountOf<kTargets>(target)()};
  if constexpr (Width::kPlanes[0] == Width::kBits && Width::kBits <= 2) {
    kernels.sums_table = PickSumsTable<Width, kTargets>(target)();
  }
  return kernels;
}

// The kernels of whichever of Formats has the planes of `format`: that is all kernels know of a format, so a format of
// the user's runs on them too.
template <int64_t kTargets, class... Formats>
FormatKernels PickOf(const FormatInfo& format, int64_t target) {
  FormatKernels kernels;
  ((Formats::info.planes == format.planes ? void(kernels = KernelsOf<kTargets, PlanesOfFormat<Formats>>(target))
                                          : void()),
   ...);
  return kernels;
}

template <int64_t kTargets>
const char* TargetOf(int64_t target) {
  const int64_t usable = target != 0 ? target : UsableTargets<kTargets>();
  return hwy::TargetName(usable & -usable);
}

}}}  // namespace lutra::LUTRA_NS::internal
