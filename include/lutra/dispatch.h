// The only place that runs Highway's foreach_target.h: every kernel, for every target, once per translation unit.
// A unit that runs its own foreach_target includes lutra/kernels-inl.h in its per-target part and a front door under
// #if HWY_ONCE; then this header finds the kernels there and runs nothing.
#pragma once

#include "lutra/simd/targets.h"  // before any header of Highway

// Everything that kernels or Highway use, so that nothing is first seen inside a target region.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <type_traits>
#include <utility>

#if defined(HIGHWAY_HWY_FOREACH_TARGET_H_)  // Highway's guard: foreach_target.h has begun in this unit
#if !HWY_ONCE
#error "lutra: include <lutra/...h> of a foreach_target unit only under #if HWY_ONCE, after the per-target part"
#elif !defined(LUTRA_KERNELS_SEEN)
#error \
    "lutra: this unit ran hwy/foreach_target.h before a lutra front door. Include lutra first in a unit of its own, or add #include \"lutra/kernels-inl.h\" to the per-target part, or link lutra::compiled"
#endif
#include "hwy/highway.h"
#else
#include "hwy/detect_targets.h"
#if defined(HWY_HIGHWAY_INCLUDED) && HWY_TARGETS != HWY_STATIC_TARGET  // Highway's own rule: foreach_target.h first
#error \
    "lutra: this unit included hwy/highway.h (or a *-inl.h) before a lutra front door. Include lutra first, or link lutra::compiled"
#endif
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lutra/kernels-inl.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "lutra/kernels-inl.h"  // the static target
#endif

#if HWY_ARCH_X86 && defined(__AVX2__) && HWY_STATIC_TARGET > HWY_AVX2 && !defined(HWY_COMPILE_ONLY_SCALAR) && \
    !defined(HWY_COMPILE_ONLY_EMU128)
#error \
    "lutra: AVX2 is on, but Highway's static target is lower. Add -maes -mpclmul -mbmi2 -mfma -mf16c, or use -march=native"
#endif

#include "lutra/core/context.h"

namespace lutra { inline namespace LUTRA_NS { namespace internal {

// Targets of this unit that this CPU has.
template <int64_t kTargets>
int64_t UsableTargets() {
#if (HWY_TARGETS & (HWY_TARGETS - 1)) == 0
  return HWY_STATIC_TARGET;  // one target: needs nothing of Highway's library
#else
  // Asked once: Highway runs CPUID on every call, which on virtual machines takes longer than a small op.
  static const int64_t usable = hwy::SupportedTargets() & kTargets;
  return usable;
#endif
}

// Index into a HWY_EXPORT_T table: of the forced target, or of the best one where `target` is 0. A template over
// HWY_TARGETS, as is each function that owns a table: units built for other targets have other tables, and the linker
// must not merge them.
template <int64_t kTargets>
size_t TableIndex([[maybe_unused]] int64_t target) {
#if (HWY_TARGETS & (HWY_TARGETS - 1)) == 0
  return 0;
#else
  const int64_t usable = UsableTargets<kTargets>();
  if (target != 0 && (target & usable) == 0) {
    Fail("Context: the forced target %s is not built in this unit", hwy::TargetName(target));
  }
  hwy::ChosenTarget chosen;
  chosen.Update(target != 0 ? target : usable);
  return chosen.GetIndex();
#endif
}

}}}  // namespace lutra::LUTRA_NS::internal

// Defines NAME<Config, HWY_TARGETS>(target): the kernel KERNEL<Config> for that target (0: the best one).
#define LUTRA_DISPATCHED_T(NAME, KERNEL)                            \
  template <class Config, int64_t kTargets>                         \
  auto NAME(int64_t target) {                                       \
    HWY_EXPORT_T(Table, KERNEL<Config>);                            \
    return HWY_DISPATCH_TABLE(Table)[TableIndex<kTargets>(target)]; \
  }
// The same for a kernel that is an inline function.
#define LUTRA_DISPATCHED(NAME, KERNEL)                              \
  template <int64_t kTargets>                                       \
  auto NAME(int64_t target) {                                       \
    HWY_EXPORT_T(Table, KERNEL);                                    \
    return HWY_DISPATCH_TABLE(Table)[TableIndex<kTargets>(target)]; \
  }
