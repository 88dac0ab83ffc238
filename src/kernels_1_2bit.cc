// The compiled mode of the GEMM kernels that depend on the width of codes: those of 1 and 2 bits.
#include "lutra/gemm/dispatch.h"

namespace lutra { inline namespace LUTRA_NS { namespace internal {

template FormatKernels KernelsOf<HWY_TARGETS, Planes<1, 0, 0>, 6>(int64_t);
template FormatKernels KernelsOf<HWY_TARGETS, Planes<2, 0, 0>, 8>(int64_t);
template FormatKernels KernelsOf<HWY_TARGETS, Planes<2, 0, 0>, 6>(int64_t);

}}}  // namespace lutra::LUTRA_NS::internal
