// The formats of the compiled mode, in one list, and the units that compile their kernels (src/kernels_*.cc).
#pragma once
#include "lutra/gemm/dispatch.h"

namespace lutra { inline namespace LUTRA_NS { namespace internal {

template <class... Formats>
struct Listed {
  static constexpr std::array<FormatInfo, sizeof...(Formats)> kInfos = {Formats::info...};
  // With the kernels of every mode.
  static FormatKernels Pick(const FormatInfo& format, int64_t target) {
    return PickOf<HWY_TARGETS, kAnyX, ShuffleTables, ByteTables, Popcounts, Bf16Dot, FloatTables, TripleTables,
                  Formats...>(format, target);
  }
};
using AllFormats = Listed<Ternary, Int1, Int2, Int3, Int4, Int5, Int6, Int7, Int8, Int<2, 3>>;

extern template FormatKernels KernelsOf<HWY_TARGETS, Planes<1, 0, 0>, 6>(int64_t);
extern template FormatKernels KernelsOf<HWY_TARGETS, Planes<2, 0, 0>, 8>(int64_t);
extern template FormatKernels KernelsOf<HWY_TARGETS, Planes<2, 0, 0>, 6>(int64_t);
extern template FormatKernels KernelsOf<HWY_TARGETS, Planes<2, 1, 0>, 0>(int64_t);
extern template FormatKernels KernelsOf<HWY_TARGETS, Planes<4, 0, 0>, 0>(int64_t);
extern template FormatKernels KernelsOf<HWY_TARGETS, Planes<4, 1, 0>, 0>(int64_t);
extern template FormatKernels KernelsOf<HWY_TARGETS, Planes<4, 2, 0>, 0>(int64_t);
extern template FormatKernels KernelsOf<HWY_TARGETS, Planes<4, 2, 1>, 0>(int64_t);
extern template FormatKernels KernelsOf<HWY_TARGETS, Planes<8, 0, 0>, 0>(int64_t);

}}}  // namespace lutra::LUTRA_NS::internal
