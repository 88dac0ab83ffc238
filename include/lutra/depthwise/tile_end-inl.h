// The end of a register tile of direct depthwise convolution, in both layouts: re-weighting, epilogue, stores.
//
// Every sum begins at +0, takes one MulAdd per tap and ends with + 0, which turns -0 into +0: so it does not matter
// whether a tap over zero padding is left out or multiplied by a stored zero (taps are finite), and both layouts give
// the same bits.
#if defined(LUTRA_DEPTHWISE_TILE_END_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_DEPTHWISE_TILE_END_INL_H_
#undef LUTRA_DEPTHWISE_TILE_END_INL_H_
#else
#define LUTRA_DEPTHWISE_TILE_END_INL_H_
#endif

#include <utility>

#include "lutra/depthwise/args.h"
#include "lutra/depthwise/finish-inl.h"

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

using depthwise::DepthwiseArgs;

// Where the sums of a tile go. Sums of each row beyond `pixels` and lanes beyond `lanes` are not stored.
struct TileOut {
  size_t pixels, lanes;
  size_t row, channel;  // of the epilogue's operands
  char* y;
  ptrdiff_t step, row_step;           // bytes from pixel to pixel, from row to row
  size_t pixel_step, pixel_row_step;  // the same of the epilogue's operands
  float* sums;                        // kMostSums vectors of the caller's stack, aligned
};
inline constexpr size_t kMostSums = 16;
// Taps that meet the image of the windows of output pixel `pixel` and of the columns after it.
struct WindowTaps {
  const float *row, *col;
  HWY_INLINE WindowTaps(const DepthwiseArgs& a, size_t pixel)
      : row(a.row_taps + pixel / a.out.w % a.out.h), col(a.row_taps + a.out.h + pixel % a.out.w) {}
  HWY_INLINE bool All(const DepthwiseArgs& a) const {
    return *row == static_cast<float>(a.kh) && *col == static_cast<float>(a.kw);
  }
};
// Whether re-weighting changes nothing: between two windows that miss no tap is none that does.
HWY_INLINE bool AllTapsInside(const DepthwiseArgs& a, const TileOut& t, size_t rows) {
  const size_t last_lane = a.layout == Layout::kNhwc ? 0 : t.lanes - 1;
  const size_t last = (rows - 1) * t.pixel_row_step + (t.pixels - 1) * t.pixel_step + last_lane;
  return WindowTaps(a, t.row).All(a) && WindowTaps(a, t.row + last).All(a);
}
template <class D>
HWY_NOINLINE void Reweight(D d, const DepthwiseArgs& a, size_t pixel, size_t lanes, float* sums) {
  const WindowTaps taps(a, pixel);
  const auto across = a.layout == Layout::kNhwc ? hn::Set(d, *taps.col) : LoadSome(d, taps.col, lanes);
  const auto window = hn::Set(d, static_cast<float>(a.kh) * static_cast<float>(a.kw));
  hn::Store(hn::Mul(hn::Load(d, sums), hn::Div(window, hn::Mul(hn::Set(d, *taps.row), across))), d, sums);
}

// Outputs with nothing but a bias and ReLU, from the sums of one row in memory.
template <DType kType, class D>
HWY_NOINLINE void StoreRow(D d, const Epilogue& e, const TileOut& t, const float* HWY_RESTRICT sums) {
  const auto zero = hn::Zero(d);
  const bool add = e.bias != nullptr, relu = e.act == Act::kRelu;
  const auto bias = add ? LoadSome(d, e.bias + t.channel, t.lanes) : zero;
  const size_t pixels = t.pixels, lanes = t.lanes;
  char* y = t.y;
  for (size_t i = 0; i < pixels; ++i, y += t.step) {
    auto v = hn::Load(d, sums + i * hn::Lanes(d));
    if (add) v = hn::Add(v, bias);
    if (relu) v = hn::IfThenZeroElse(hn::Lt(v, zero), v);
    StoreAsFloat(d, v, y, kType, lanes);
  }
}
// From the sums of all rows in memory: whatever StoreOrKeep leaves.
template <class D>
HWY_NOINLINE void StoreSums(D d, const DepthwiseArgs& a, const Epilogue& e, const TileOut& tile, size_t rows,
                            size_t cols) {
  TileOut t = tile;
  float* sums = t.sums;
  for (size_t r = 0; r < rows; ++r, t.y += t.row_step, t.row += t.pixel_row_step, sums += cols * hn::Lanes(d)) {
    if (a.row_taps == nullptr && (a.plain_16 || a.plain)) {
      a.out.type == DType::kF32    ? StoreRow<DType::kF32>(d, e, t, sums)
      : a.out.type == DType::kBF16 ? StoreRow<DType::kBF16>(d, e, t, sums)
                                   : StoreRow<DType::kF16>(d, e, t, sums);
      continue;
    }
    for (size_t i = 0; i < t.pixels; ++i) {
      float* const sum_of = sums + i * hn::Lanes(d);
      const size_t pixel = t.row + i * t.pixel_step;
      if (a.row_taps != nullptr) Reweight(d, a, pixel, t.lanes, sum_of);
      FinishRun(e, sum_of, pixel, t.channel, t.lanes, t.y + At(i, t.step), a.out.type);
    }
  }
}

// From registers. store(vector, y, column of the tile). + 0 ends the sum as well: a bias of -0 counts as +0 beside a
// sum that is +0 at the least.
template <size_t kCols, class D, class V, size_t kSums, class Store>
HWY_INLINE void StorePlain(D d, const Epilogue& e, const TileOut& t, Refs<V, kSums> sum, const Store& store) {
  const auto zero = hn::Zero(d);
  const auto bias = e.bias != nullptr ? hn::Add(LoadSome(d, e.bias + t.channel, t.lanes), zero) : zero;
  Unrolled<kSums>([&](auto i) LUTRA_TILE {
    char* const y = t.y + At(i / kCols, t.row_step) + At(i % kCols, t.step);
    store(hn::Add(sum.template At<i>(), bias), reinterpret_cast<float*>(y), i % kCols);
  });
}
// A tile of f32 with all its pixels (and lanes, where to store some of them is slow), and nothing but a bias and ReLU.
inline constexpr bool kMaskedStores = HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3;
template <size_t kCols, class D>
HWY_INLINE bool IsWhole(D d, const DepthwiseArgs& a, const TileOut& t) {
  return a.plain && t.pixels == kCols && (kMaskedStores || t.lanes == hn::Lanes(d));
}
template <size_t kCols, class D, class V, size_t kSums>
HWY_INLINE void StoreWhole(D d, const Epilogue& e, const TileOut& t, Refs<V, kSums> sum) {
  const auto zero = hn::Zero(d);
  if constexpr (kMaskedStores) {
    if (t.lanes != hn::Lanes(d)) {
      const auto least = e.act == Act::kRelu ? zero : hn::Neg(hn::Inf(d));
      StorePlain<kCols>(d, e, t, sum, [&](auto v, float* y, size_t) LUTRA_TILE {
        hn::StoreN(hn::IfThenZeroElse(hn::Lt(v, least), v), d, y, t.lanes);
      });
      return;
    }
  }
  if (e.act == Act::kRelu) {
    StorePlain<kCols>(d, e, t, sum, [&](auto v, float* y, size_t) LUTRA_TILE {
      hn::StoreU(hn::IfThenZeroElse(hn::Lt(v, zero), v), d, y);
    });
  } else {
    StorePlain<kCols>(d, e, t, sum, [&](auto v, float* y, size_t) LUTRA_TILE { hn::StoreU(v, d, y); });
  }
}
// The end of any tile: false where it has only put the sums where StoreSums wants them. With kSome, tiles of fewer
// pixels or lanes need not go there.
template <size_t kCols, bool kSome, class D, class V, size_t kSums>
HWY_INLINE bool StoreOrKeep(D d, const DepthwiseArgs& a, const Epilogue& e, const TileOut& t, Refs<V, kSums> sum) {
  const auto zero = hn::Zero(d);
  const bool unweighted = a.row_taps == nullptr || AllTapsInside(a, t, kSums / kCols);
  if (HWY_LIKELY(unweighted && IsWhole<kCols>(d, a, t))) {
    StoreWhole<kCols>(d, e, t, sum);
    return true;
  }
  if constexpr (kSome) {
    if (unweighted && a.plain) {
      const auto least = e.act == Act::kRelu ? zero : hn::Neg(hn::Inf(d));
      StorePlain<kCols>(d, e, t, sum, [&](auto v, float* y, size_t pixel) LUTRA_TILE {
        if (pixel < t.pixels) StoreSome(d, hn::IfThenZeroElse(hn::Lt(v, least), v), y, t.lanes);
      });
      return true;
    }
  }
  static_assert(kSums <= kMostSums);
  Unrolled<kSums>([&](auto i)
                      LUTRA_TILE { hn::Store(hn::Add(sum.template At<i>(), zero), d, t.sums + i * hn::Lanes(d)); });
  return false;
}
template <size_t kCols, bool kSome, class D, class V, size_t kSums>
HWY_INLINE void StoreTile(D d, const DepthwiseArgs& a, const Epilogue& e, const TileOut& t, Refs<V, kSums> sum) {
  if (!StoreOrKeep<kCols, kSome>(d, a, e, t, sum)) StoreSums(d, a, e, t, kSums / kCols, kCols);
}

// NCHW: the tile of up to kRows output rows of plane `out` and a vector of columns that begins at (y, x).
template <size_t kRows>
HWY_INLINE TileOut PlaneTile(const DepthwiseArgs& a, char* out, size_t y, size_t y_end, size_t x, size_t x_end,
                             size_t lanes, float* sums) {
  const auto size = static_cast<ptrdiff_t>(SizeOf(a.out.type));
  TileOut t{};
  t.sums = sums;
  t.pixels = HWY_MIN(kRows, y_end - y);
  t.lanes = HWY_MIN(lanes, x_end - x);
  t.row = y * a.out.w + x;
  t.y = out + (At(y, a.out.sh) + At(x, a.out.sw)) * size;
  t.step = a.out.sh * size;
  t.pixel_step = a.out.w;
  return t;
}
// Two of them, the sums of the second behind those of the first; two: there is a second.
template <size_t kRows, class D, class V>
HWY_INLINE void StorePlaneTiles(D d, const DepthwiseArgs& a, const Epilogue& e, const TileOut& t, const TileOut& t2,
                                bool two, Refs<V, 2 * kRows> sum) {
  const auto half = [&]<size_t... kI>(std::index_sequence<kI...>, auto first) LUTRA_TILE {
    return sum.Select(std::index_sequence<(first + kI)...>());
  };
  constexpr std::make_index_sequence<kRows> kHalf;
  // No call while sums are in registers.
  const bool stored = StoreOrKeep<kRows, true>(d, a, e, t, half(kHalf, Index<0>{}));
  const bool stored2 = !two || StoreOrKeep<kRows, true>(d, a, e, t2, half(kHalf, Index<kRows>{}));
  if (!stored) StoreSums(d, a, e, t, 1, kRows);
  if (!stored2) StoreSums(d, a, e, t2, 1, kRows);
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
