// Direct depthwise convolution in f32, NCHW, 3 x 3 taps at stride and dilation 1 over zero padding, for targets whose
// masked loads cost nothing (AVX-512): lanes are columns, read from the image itself, so nothing is staged. Tiles of 8
// rows by two vectors go down the plane, taps in registers. Order of sums, needs and bound: direct-inl.h; loads, most
// of which cross a line, take nearly as long as the FMAs.
#if defined(LUTRA_DEPTHWISE_DIRECT_3X3_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_DEPTHWISE_DIRECT_3X3_INL_H_
#undef LUTRA_DEPTHWISE_DIRECT_3X3_INL_H_
#else
#define LUTRA_DEPTHWISE_DIRECT_3X3_INL_H_
#endif

#include "lutra/depthwise/direct-inl.h"

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
inline constexpr size_t k3x3Rows = 8;

// Which lanes of the loads of the three taps of a row are in the image: columns from `first` on.
template <class D>
HWY_INLINE hn::Mask<D> Inside3x3(D d, ptrdiff_t first, size_t width) {
  const ptrdiff_t end = static_cast<ptrdiff_t>(width) - first;
  return hn::AndNot(hn::FirstN(d, first < 0 ? static_cast<size_t>(-first) : 0),
                    hn::FirstN(d, end < 0 ? 0 : static_cast<size_t>(end)));
}
template <class D>
struct Masks3x3 {
  hn::Mask<D> kx0, kx1, kx2;
  HWY_INLINE Masks3x3(D d, ptrdiff_t first, size_t width)
      : kx0(Inside3x3(d, first, width)), kx1(Inside3x3(d, first + 1, width)), kx2(Inside3x3(d, first + 2, width)) {}
  template <size_t kX>
  HWY_INLINE hn::Mask<D> At() const {
    return kX == 0 ? kx0 : kX == 1 ? kx1 : kx2;
  }
};

// Image row kRow of a tile, two vectors of it, to the sums of all output rows it belongs to. taps[kx * 3 + ky].
template <size_t kRow, class D, class V>
HWY_INLINE void AddRow3x3(D d, const float* p, const float* p2, const Masks3x3<D>& masks, const Masks3x3<D>& masks2,
                          Refs<const V, 9> taps, Refs<V, 2 * k3x3Rows> sum) {
  constexpr size_t kFirst = kRow < 3 ? 0 : kRow - 2, kLast = HWY_MIN(kRow, k3x3Rows - 1);
  Unrolled<3>([&](auto kx) LUTRA_TILE {
    const auto v = Once(hn::MaskedLoad(masks.template At<kx>(), d, p + kx));
    const auto v2 = Once(hn::MaskedLoad(masks2.template At<kx>(), d, p2 + kx));
    Unrolled<kLast - kFirst + 1>([&](auto i) LUTRA_TILE {
      constexpr size_t row = kFirst + i;
      const auto w = taps.template At<kx * 3 + (kRow - row)>();
      auto& s = sum.template At<row>();
      s = hn::MulAdd(v, w, s);
      auto& s2 = sum.template At<k3x3Rows + row>();
      s2 = hn::MulAdd(v2, w, s2);
    });
  });
}

// Output rows [y, y_end) of columns [x, x + 2 vectors).
template <class D>
HWY_NOINLINE void Column3x3(D d, const DepthwiseArgs& a, const float* plane, const float* taps, const Epilogue& e,
                            char* out, size_t y, size_t y_end, size_t x, float* sums) {
  static constexpr float kZeros[HWY_MAX_LANES_D(D) + 2] = {};
  const size_t lanes = hn::Lanes(d), second = x + lanes;
  const ptrdiff_t first = static_cast<ptrdiff_t>(x) - a.g.left;
  const Masks3x3<D> masks(d, first, a.in.w), masks2(d, first + static_cast<ptrdiff_t>(lanes), a.in.w);
  const bool two = second < a.out.w;
  for (; y < y_end; y += k3x3Rows) {
    WithAccumulators<2 * k3x3Rows>(d, [&](auto&... all) LUTRA_TILE {
      const auto sum = RefsTo(all...);
      ptrdiff_t row = static_cast<ptrdiff_t>(y) - a.g.top;
      const float* from = plane + row * a.in.sh + first;
      WithMade<9>([&](auto i) LUTRA_TILE { return Once(hn::Set(d, taps[i])); },
                  [&](const auto&... made) LUTRA_TILE {
                    const auto nine = RefsTo(made...);
                    Unrolled<k3x3Rows + 2>([&](auto i) LUTRA_TILE {
                      const bool has = static_cast<size_t>(row) < a.in.h;
                      AddRow3x3<i>(d, has ? from : kZeros, has ? from + lanes : kZeros, masks, masks2, nine, sum);
                      ++row;
                      from += a.in.sh;
                    });
                  });
      const TileOut t = PlaneTile<k3x3Rows>(a, out, y, y_end, x, a.out.w, lanes, sums);
      const TileOut t2 =
          PlaneTile<k3x3Rows>(a, out, y, y_end, two ? second : x, a.out.w, lanes, sums + k3x3Rows * lanes);
      StorePlaneTiles<k3x3Rows>(d, a, e, t, t2, two, sum);
    });
  }
}
#endif

// Output rows [y, y_end) of a plane. False, and nothing done, on other targets.
template <class D>
HWY_INLINE bool Direct3x3([[maybe_unused]] D d, [[maybe_unused]] const DepthwiseArgs& a,
                          [[maybe_unused]] const float* plane, [[maybe_unused]] const float* taps,
                          [[maybe_unused]] const Epilogue& e, [[maybe_unused]] char* out, [[maybe_unused]] size_t y,
                          [[maybe_unused]] size_t y_end, [[maybe_unused]] float* sums) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  for (size_t x = 0; x < a.out.w; x += 2 * hn::Lanes(d)) Column3x3(d, a, plane, taps, e, out, y, y_end, x, sums);
  return true;
#else
  return false;
#endif
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
