// Which targets are built; whoever defines HWY_DISABLED_TARGETS decides. Included before any header of Highway.
#pragma once

// SSE2 stays: it is the baseline of x86-64, and without it the static target is the one-lane HWY_SCALAR. AVX3_DL is
// AVX-512 with VNNI; machines with plain AVX3 run AVX2.
#if !defined(HWY_DISABLED_TARGETS) && !defined(LUTRA_ALL_TARGETS)
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3 | HWY_AVX3_SPR | HWY_AVX3_ZEN4 | HWY_AVX10_2 | HWY_ALL_SVE)
#endif
// -march=x86-64-v3, -v4 and haswell promise AVX2 but not AES, without which Highway's static target would be SSSE3.
#if defined(__AVX2__) && !defined(__AES__) && !defined(HWY_DISABLE_PCLMUL_AES)
#define HWY_DISABLE_PCLMUL_AES
#endif
