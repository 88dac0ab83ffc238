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

// What is inlined is copied by the compiler at each call that it is deep, with all that it captures: so tiles nest few
// calls, none per vector, and large ones hand on one Refs instead of a pack.

// body(acc0, acc1, ...) with kCount vectors that begin at zero. (Arguments by value would do without levels; Clang 14
// then spills tiles of int_dot.)
template <size_t kCount, class D, class Body, class... V>
HWY_INLINE void WithAccumulators([[maybe_unused]] D d, const Body& body, V&... acc) {
  if constexpr (kCount == 0) {
    body(acc...);
  } else if constexpr (kCount < 4) {
    auto next = hn::Zero(d);
    WithAccumulators<kCount - 1>(d, body, acc..., next);
  } else {
    auto a = hn::Zero(d), b = hn::Zero(d), c = hn::Zero(d), e = hn::Zero(d);
    WithAccumulators<kCount - 4>(d, body, acc..., a, b, c, e);
  }
}

template <size_t... kI, class Make, class Body>
HWY_INLINE void WithMadeImpl(std::index_sequence<kI...>, const Make& make, const Body& body) {
  body(make(Index<kI>{})...);
}
// body(make(Index<0>), ..., make(Index<kCount - 1>)).
template <size_t kCount, class Make, class Body>
HWY_INLINE void WithMade(const Make& make, const Body& body) {
  WithMadeImpl(std::make_index_sequence<kCount>(), make, body);
}
// The kI-th of v..., which have one type: by one call, as recursion took a third of a compiler's time.
template <class V, class Before, class After>
struct PickOf;
template <class V, size_t... kBefore, size_t... kAfter>
struct PickOf<V, std::index_sequence<kBefore...>, std::index_sequence<kAfter...>> {
  template <size_t>
  using Other = V;
  static HWY_INLINE V& At(Other<kBefore>&..., V& v, Other<kAfter>&...) { return v; }
};
template <size_t kI, class First, class... V>
HWY_INLINE auto& Pick(First& first, V&... v) {
  return PickOf<First, std::make_index_sequence<kI>, std::make_index_sequence<sizeof...(V) - kI>>::At(first, v...);
}

// Names for vectors that are locals of a caller.
template <class V, size_t kCount>
struct Refs {
  V* v[kCount];
  template <size_t kI>
  HWY_INLINE V& At() const {
    return *v[kI];
  }
  template <size_t... kI>
  HWY_INLINE Refs<V, sizeof...(kI)> Select(std::index_sequence<kI...>) const {
    return {{v[kI]...}};
  }
};
template <class First, class... V>
HWY_INLINE Refs<First, 1 + sizeof...(V)> RefsTo(First& first, V&... v) {
  return {{&first, &v...}};
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
