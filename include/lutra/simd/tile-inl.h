// Register tiles without arrays: vectors of SVE and RVV have no size, so accumulators are locals named by a pack.
#if defined(LUTRA_SIMD_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_SIMD_TILE_INL_H_
#undef LUTRA_SIMD_TILE_INL_H_
#else
#define LUTRA_SIMD_TILE_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <utility>

#include "hwy/highway.h"
#include "lutra/core/version.h"

// Every kernel file stands between these: Highway's target attributes, and no contraction (docs/numerics.md).
#undef LUTRA_BEFORE_KERNELS
#define LUTRA_BEFORE_KERNELS \
  HWY_BEFORE_NAMESPACE();    \
  LUTRA_EXACT_BEGIN
#undef LUTRA_AFTER_KERNELS
#define LUTRA_AFTER_KERNELS \
  LUTRA_EXACT_END           \
  HWY_AFTER_NAMESPACE();

// Lambdas of a tile must vanish: at -O2 neither compiler promises that, and then every accumulator lives in memory
// (231 -> 86 GMAC/s with GCC 12, 228 -> 46 with Clang 19, four rows of ternary int_dot).
#undef LUTRA_TILE
#define LUTRA_TILE HWY_ATTR __attribute__((always_inline))

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <size_t kI>
using Index = std::integral_constant<size_t, kI>;

// body(acc0, acc1, ...) with kCount vectors that begin at zero.
template <size_t kCount, class D, class Body, class... V>
HWY_INLINE void WithAccumulators(D d, const Body& body, V&... acc) {
  if constexpr (kCount == 0) {
    body(acc...);
  } else {
    auto next = hn::Zero(d);
    WithAccumulators<kCount - 1>(d, body, acc..., next);
  }
}

// body(make(Index<0>), ..., make(Index<kCount - 1>)).
template <size_t kCount, class Make, class Body, class... V>
HWY_INLINE void WithMade(const Make& make, const Body& body, const V&... made) {
  if constexpr (sizeof...(V) == kCount) {
    body(made...);
  } else {
    WithMade<kCount>(make, body, made..., make(Index<sizeof...(V)>{}));
  }
}
// The kI-th of v...
template <size_t kI, class First, class... V>
HWY_INLINE auto& Pick(First& first, V&... v) {
  if constexpr (kI == 0) {
    return first;
  } else {
    return Pick<kI - 1>(v...);
  }
}

template <size_t... kI, class F, class... V>
HWY_INLINE void NumberedImpl(std::index_sequence<kI...>, const F& f, V&... acc) {
  (f(Index<kI>{}, acc), ...);
}
// f(Index<0>, acc0), f(Index<1>, acc1), ...: the number is a constant of the language, not a hope of the optimizer.
template <class F, class... V>
HWY_INLINE void Numbered(const F& f, V&... acc) {
  NumberedImpl(std::index_sequence_for<V...>(), f, acc...);
}
template <size_t kCount, class F>
HWY_INLINE void Unrolled(const F& f) {
  [&]<size_t... kI>(std::index_sequence<kI...>) LUTRA_TILE { (f(Index<kI>{}), ...); }
  (std::make_index_sequence<kCount>());
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
