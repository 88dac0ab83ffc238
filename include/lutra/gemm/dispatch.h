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
LUTRA_DISPATCHED_T(PickByteTableOf, ByteTableOf)
LUTRA_DISPATCHED_T(PickFloatTable, FloatTable)
LUTRA_DISPATCHED(PickTripleTable, TripleTable)
LUTRA_DISPATCHED(PickPopcountOf, PopcountOf)
LUTRA_DISPATCHED_T(PickRegisterTableOf, RegisterTableOf)
LUTRA_DISPATCHED_T(PickTile, Tile)
LUTRA_DISPATCHED_T(PickBf16DotOf, Bf16DotOf)

// What x of a call can be: a front door compiles the kernels that its x may need, no others.
enum XKind : unsigned { kInt8X = 1, kFloatX = 2, kAnyX = 3 };

// Whether one of what a call names is a format of which `is` says so.
template <class... Formats>
constexpr bool AnyFormat(bool (*is)(const FormatInfo&)) {
  [[maybe_unused]] const auto test = [&]<class T>() {
    if constexpr (kIsMode<T>)
      return false;
    else
      return is(T::info);
  };
  return (test.template operator()<Formats>() || ...);
}

// The kernels that serve all formats. A table format takes int8 activations as the floats they stand for.
template <int64_t kTargets, unsigned kX, class... Formats>
CommonKernels PickCommon(int64_t target) {
  CommonKernels kernels;
  if constexpr ((kX & kInt8X) != 0) kernels.int_lanes = PickIntLanes<kTargets>(target);
  if constexpr ((kX & kFloatX) != 0 ||
                AnyFormat<Formats...>([](const FormatInfo& f) { return f.map == Map::kTable; })) {
    kernels.tile = PickTile<Mode<GemmAlgo::kTile>, kTargets>(target);
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
    if constexpr (kField != 0) kernels.sums_table = PickSumsTable<SumsConfig<Width, kField>, kTargets>(target)();
  }
  return kernels;
}

// The kernels of whichever of Formats has the planes of `format`: that is all kernels know of a format, so a format of
// the user's runs on them too. Lookups pay for 1 bit: they are compiled where a format of 1 bit, or their mode, is
// named.
template <int64_t kTargets, unsigned kX, class... Formats>
FormatKernels PickOf(const FormatInfo& format, int64_t target) {
  FormatKernels kernels;
  [[maybe_unused]] const auto take = [&]<class T>() {
    if constexpr (!kIsMode<T>) {
      // Of formats of one width, rather one that shares the tables too.
      if (T::info.planes == format.planes &&
          (kernels.unpack == nullptr || SumsFieldOf(T::info) == SumsFieldOf(format))) {
        kernels = KernelsOf<kTargets, PlanesOfFormat<T>, SumsFieldOf(T::info), kX>(target);
      }
    }
  };
  (take.template operator()<Formats>(), ...);
  if (kernels.sums_table.field != SumsFieldOf(format)) kernels.sums_table = {};
  constexpr bool kOneBit = AnyFormat<Formats...>([](const FormatInfo& f) { return f.bits == 1; });
  if constexpr ((kX & kInt8X) != 0 && (kOneBit || (kModesOf<Formats...> & ModeBit(GemmAlgo::kShuffleTable)) != 0)) {
    kernels.shuffle_table = PickShuffleTable<kTargets>(target);
  }
  if constexpr ((kX & kInt8X) != 0 && (kModesOf<Formats...> & ModeBit(GemmAlgo::kByteTable)) != 0) {
    kernels.byte_table = PickByteTableOf<ByteTables, kTargets>(target)();
  }
  if constexpr ((kX & kInt8X) != 0 && kOneBit) {
    if (format.bits == 1)
      kernels.register_table = PickRegisterTableOf<Mode<GemmAlgo::kRegisterTable>, kTargets>(target)();
  }
  if constexpr ((kX & kInt8X) != 0 && (kModesOf<Formats...> & ModeBit(GemmAlgo::kPopcount)) != 0) {
    kernels.popcount = PickPopcountOf<kTargets>(target)();
  }
  if constexpr ((kX & kFloatX) != 0 && (kModesOf<Formats...> & ModeBit(GemmAlgo::kBf16Dot)) != 0) {
    kernels.bf16_dot = PickBf16DotOf<Bf16Dot, kTargets>(target)();
  }
  if constexpr ((kX & kFloatX) != 0 && (kModesOf<Formats...> & ModeBit(GemmAlgo::kFloatTable)) != 0) {
    kernels.float_table = PickFloatTable<FloatTables, kTargets>(target);
  }
  if constexpr ((kX & kInt8X) != 0 && (kModesOf<Formats...> & ModeBit(GemmAlgo::kTripleTable)) != 0) {
    kernels.triple_table = PickTripleTable<kTargets>(target);
  }
  return kernels;
}

template <int64_t kTargets>
const char* TargetOf(int64_t target) {
  const int64_t usable = target != 0 ? target : UsableTargets<kTargets>();
  return hwy::TargetName(usable & -usable);
}

}}}  // namespace lutra::LUTRA_NS::internal
