// The version, the inline namespaces, and the floating-point mode that every file of lutra shares.
//
// lutra::v0            plain types. Their layout is the same in every translation unit, so they may cross units.
// lutra::LUTRA_NS      code in headers: its instructions depend on compiler flags, so the name says which mode and
// which
//                      flags, and the linker never merges two different bodies. The static target alone is not enough
//                      of a name: -mavx and the x86-64 baseline are both SSE2.
// lutra::LUTRA_API_NS  front doors: LUTRA_NS, or in the compiled mode the library's own functions, whatever the flags
// of
//                      the unit that calls them.
#pragma once

#define LUTRA_VERSION_MAJOR 0
#define LUTRA_VERSION_MINOR 1
#define LUTRA_VERSION_PATCH 0
#define LUTRA_VERSION_STRING "0.1.0"

#if (defined(__FAST_MATH__) || defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__) && !defined(LUTRA_ALLOW_FAST_MATH)
#error "lutra: -ffast-math breaks the numerics contract (docs/numerics.md). Drop it, or define LUTRA_ALLOW_FAST_MATH"
#endif

#if defined(__SSE4_2__) || defined(__ARM_FEATURE_DOTPROD)
#define LUTRA_ISA_0 1
#else
#define LUTRA_ISA_0 0
#endif
#if defined(__AVX__) || defined(__ARM_FEATURE_SVE) || defined(__riscv_v)
#define LUTRA_ISA_1 1
#else
#define LUTRA_ISA_1 0
#endif
#if defined(__AVX2__) || defined(__ARM_FEATURE_SVE2)
#define LUTRA_ISA_2 1
#else
#define LUTRA_ISA_2 0
#endif
#if defined(__FMA__) || defined(__ARM_FEATURE_MATMUL_INT8)
#define LUTRA_ISA_3 1
#else
#define LUTRA_ISA_3 0
#endif
#if defined(__BMI2__) || defined(__ARM_FEATURE_BF16)
#define LUTRA_ISA_4 1
#else
#define LUTRA_ISA_4 0
#endif
#if defined(__AVX512BW__) || defined(__ARM_FEATURE_CRYPTO)
#define LUTRA_ISA_5 1
#else
#define LUTRA_ISA_5 0
#endif
#if defined(__AVX512VNNI__)
#define LUTRA_ISA_6 1
#else
#define LUTRA_ISA_6 0
#endif
#if defined(__cpp_exceptions)  // Fail() throws
#define LUTRA_ISA_7 1
#else
#define LUTRA_ISA_7 0
#endif
#define LUTRA_JOIN_(p, a, b, c, d, e, f, g, h) p##a##b##c##d##e##f##g##h
#define LUTRA_JOIN(p, a, b, c, d, e, f, g, h) LUTRA_JOIN_(p, a, b, c, d, e, f, g, h)
#define LUTRA_NS_OF(prefix)                                                                                     \
  LUTRA_JOIN(prefix, LUTRA_ISA_0, LUTRA_ISA_1, LUTRA_ISA_2, LUTRA_ISA_3, LUTRA_ISA_4, LUTRA_ISA_5, LUTRA_ISA_6, \
             LUTRA_ISA_7)
#if defined(LUTRA_COMPILED)
#define LUTRA_NS LUTRA_NS_OF(v0c_)
#define LUTRA_API_NS v0c
#define LUTRA_INLINE
#else
#define LUTRA_NS LUTRA_NS_OF(v0h_)
#define LUTRA_API_NS LUTRA_NS
// Front doors vanish into their callers: a weak copy could be that of a unit built for other targets.
#define LUTRA_INLINE inline __attribute__((always_inline))
#endif

// Members of v0 types vanish into their callers: a weak symbol of v0 could be another unit's, built with other flags.
#define LUTRA_MEMBER inline __attribute__((always_inline))

// Between these, a * b + c rounds twice. GCC contracts it by default where the target has FMA, intrinsics included.
#if defined(__clang__)
#define LUTRA_EXACT_BEGIN _Pragma("float_control(push)") _Pragma("clang fp contract(off)")
#define LUTRA_EXACT_END _Pragma("float_control(pop)")
#elif defined(__GNUC__)
#define LUTRA_EXACT_BEGIN _Pragma("GCC push_options") _Pragma("GCC optimize(\"fp-contract=off\")")
#define LUTRA_EXACT_END _Pragma("GCC pop_options")
#else
#error "lutra: GCC 12+ or Clang 14+ is needed"
#endif
