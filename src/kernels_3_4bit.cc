// The compiled mode of the GEMM kernels that depend on the width of codes: those of 3 and 4 bits.
#include "lutra/gemm/dispatch.h"

namespace lutra { inline namespace LUTRA_NS { namespace internal {

template FormatKernels KernelsOf<HWY_TARGETS, Planes<2, 1, 0>, 0>(int64_t);
template FormatKernels KernelsOf<HWY_TARGETS, Planes<4, 0, 0>, 0>(int64_t);

}}}  // namespace lutra::LUTRA_NS::internal
