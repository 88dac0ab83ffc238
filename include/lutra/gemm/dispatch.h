// The GEMM kernels of this unit, by format and target.
#pragma once
#include "lutra/dispatch.h"
#include "lutra/gemm/sums_table.h"

namespace lutra { inline namespace LUTRA_NS { namespace internal {

LUTRA_DISPATCHED_T(PickIntDot, IntDot)
LUTRA_DISPATCHED_T(PickUnpackBlock, UnpackBlock)
LUTRA_DISPATCHED_T(PickSumsTable, SumsTable)
LUTRA_DISPATCHED(PickIntLanes, IntLanes)
LUTRA_DISPATCHED(PickShuffleTable, ShuffleTable)
LUTRA_DISPATCHED(PickPopcountOf, PopcountOf)
LUTRA_DISPATCHED(PickTile, Tile)

// What x of a call can be: a front door compiles the kernels that its x may need, no others.
enum XKind : unsigned { kInt8X = 1, kFloatX = 2, kAnyX = 3 };

// The kernels that serve all formats. A table format takes int8 activations as the floats they stand for.
template <int64_t kTargets, unsigned kX, class... Formats>
CommonKernels PickCommon(int64_t target) {
  CommonKernels kernels;
  if constexpr ((kX & kInt8X) != 0) kernels.int_lanes = PickIntLanes<kTargets>(target);
  if constexpr ((kX & kFloatX) != 0 || ((Formats::info.map == Map::kTable) || ...)) {
    kernels.tile = PickTile<kTargets>(target);
  }
  return kernels;
}

// The kernels of one width of codes; kField: of its sums tables, 0 for none.
template <int64_t kTargets, class Width, int kField, unsigned kX = kAnyX>
FormatKernels KernelsOf(int64_t target) {
  FormatKernels kernels;
  kernels.unpack = PickUnpackBlock<Width, kTargets>(target);
  if constexpr ((kX & kInt8X) != 0) {
    kernels.int_dot = PickIntDot<Width, kTargets>(target);
    kernels.popcount = PickPopcountOf<kTargets>(target)();
    if constexpr (kField != 0) kernels.sums_table = PickSumsTable<SumsConfig<Width, kField>, kTargets>(target)();
  }
  return kernels;
}

// The kernels of whichever of Formats has the planes of `format`: that is all kernels know of a format, so a format of
// the user's runs on them too. Lookups pay for 1 bit: they are compiled where a format of 1 bit is named.
template <int64_t kTargets, unsigned kX, class... Formats>
FormatKernels PickOf(const FormatInfo& format, int64_t target) {
  FormatKernels kernels;
  const auto take = [&](const FormatInfo& named, auto of) {
    // Of formats of one width, rather one that shares the tables too.
    if (named.planes == format.planes && (kernels.unpack == nullptr || SumsFieldOf(named) == SumsFieldOf(format))) {
      kernels = of(target);
    }
  };
  (take(Formats::info, &KernelsOf<kTargets, PlanesOfFormat<Formats>, SumsFieldOf(Formats::info), kX>), ...);
  if (kernels.sums_table.field != SumsFieldOf(format)) kernels.sums_table = {};
  if constexpr ((kX & kInt8X) != 0 && ((Formats::info.bits == 1) || ...)) {
    kernels.shuffle_table = PickShuffleTable<kTargets>(target);
  }
  return kernels;
}

template <int64_t kTargets>
const char* TargetOf(int64_t target) {
  const int64_t usable = target != 0 ? target : UsableTargets<kTargets>();
  return hwy::TargetName(usable & -usable);
}

}}}  // namespace lutra::LUTRA_NS::internal
