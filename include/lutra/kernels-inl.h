// The list of all kernels. No guard: foreach_target.h includes it once per target.
#define LUTRA_KERNELS_SEEN
#include "lutra/simd/epilogue-inl.h"
