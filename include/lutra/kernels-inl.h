// The list of all kernels. No guard: foreach_target.h includes it once per target.
#define LUTRA_KERNELS_SEEN
#include "lutra/simd/epilogue-inl.h"
#include "lutra/gemm/quantize-inl.h"
#include "lutra/gemm/int_dot-inl.h"
#include "lutra/gemm/int_lanes-inl.h"
#include "lutra/gemm/shuffle_table-inl.h"
#include "lutra/gemm/float_table-inl.h"
#include "lutra/gemm/sums_table-inl.h"
#include "lutra/gemm/popcount-inl.h"
#include "lutra/gemm/tile-inl.h"
#include "lutra/depthwise/direct-inl.h"
#include "lutra/depthwise/fft-inl.h"
#include "lutra/depthwise/shift-inl.h"
