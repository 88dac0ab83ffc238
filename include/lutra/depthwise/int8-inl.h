// Depthwise convolution of i8 or u8 images by i8 taps: sums in i32, exact.
// Lanes are channels, a block of 16 at a time; a 32-bit lane takes as many taps at once as the target multiplies, side
// by side along the row:
//   x86 with a 4-way dot   4 bytes   pixels p, p + dil, p + 2 dil, p + 3 dil of a channel, u8, by 4 taps
//   others                 2 x i16   pixels p, p + dil
//   HWY_SCALAR             1 x i32
// Input rows are staged so, padding included, once for all the output rows of a task; rows of a ring stay in L1.
// Zero     padding holds the zero point. Pixels count from their smallest code, so a sum begins with bias - zero * (sum
// of
//          the channel's taps); what wraps there unwraps again, since the whole sum fits (checked when built).
// Needs   checked arguments (job.h). Touches no element outside of the views.
// Bound   the 4-way dot peak, else that of pair-multiplies of 16 bits, times the part of a unit that holds taps.
#if defined(LUTRA_DEPTHWISE_INT8_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_DEPTHWISE_INT8_INL_H_
#undef LUTRA_DEPTHWISE_INT8_INL_H_
#else
#define LUTRA_DEPTHWISE_INT8_INL_H_
#endif

#include <cstring>

#include "lutra/depthwise/args.h"
#include "lutra/depthwise/finish-inl.h"
#include "lutra/depthwise/int8.h"

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

using depthwise::DepthwiseArgs;
using depthwise::DepthwisePiece;
using depthwise::kDirectTile;
using depthwise::kUnitBytes;

// A unit: kTaps pixels, or taps, of each of 16 channels.
#if HWY_TARGET == HWY_SCALAR
struct IntUnit {
  static constexpr size_t kTaps = 1;
  using Lane = int32_t;
  template <class D32, class V>
  static HWY_INLINE V MulAdd(D32 d, const uint8_t* pixels, const uint8_t* taps, V sum) {
    const auto load = [&](const uint8_t* p) LUTRA_TILE { return hn::LoadU(d, reinterpret_cast<const int32_t*>(p)); };
    return hn::Add(sum, hn::Mul(load(pixels), load(taps)));
  }
  template <class T>
  static HWY_INLINE void Stage(const T* line, size_t, size_t, size_t count, uint8_t* to) {
    for (size_t i = 0; i < count * kTapBlock; ++i) reinterpret_cast<int32_t*>(to)[i] = line[i];
  }
};
#elif HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3_DL
struct IntUnit {
  static constexpr size_t kTaps = 4;
  using Lane = int8_t;
  template <class D32, class V>
  static HWY_INLINE V MulAdd(D32 d, const uint8_t* pixels, const uint8_t* taps, V sum) {
    const hn::Repartition<uint8_t, D32> d8;
    const hn::Repartition<int8_t, D32> d8i;
    sum = hn::SumOfMulQuadAccumulate(d, hn::LoadU(d8, pixels), hn::LoadU(d8i, reinterpret_cast<const int8_t*>(taps)),
                                     sum);
#if HWY_COMPILER_GCC_ACTUAL
    asm("" : "+v"(sum.raw));  // GCC copies and spills the sums otherwise
#endif
    return sum;
  }
  template <class T>
  static HWY_INLINE void Stage(const T* line, size_t dil, size_t step, size_t count, uint8_t* to) {
    const hn::FixedTag<uint8_t, kUnitBytes> du;
    if (dil == 1 && step == 1) {  // four neighbours are one load; the next three units begin in it
      HWY_ALIGN uint8_t index[kUnitBytes];
      for (size_t i = 0; i < kUnitBytes; ++i) index[i] = static_cast<uint8_t>(i % kTaps * kTapBlock + i / kTaps);
      const auto by = hn::LoadU(du, index), next = hn::Set(du, uint8_t{kTapBlock});
      const auto by0 = hn::IndicesFromVec(du, by), by1 = hn::IndicesFromVec(du, hn::Add(by, next)),
                 by2 = hn::IndicesFromVec(du, hn::Add(by, hn::Add(next, next))),
                 by3 = hn::IndicesFromVec(du, hn::Add(by, hn::Add(next, hn::Add(next, next))));
      const auto load = [&](size_t i) LUTRA_TILE {
        return hn::LoadU(du, reinterpret_cast<const uint8_t*>(line) + i * kTapBlock);
      };
      auto v = load(0);
      for (size_t i = 0; i < count; i += 4, to += 4 * kUnitBytes) {
        const auto w = load(i + 4);
        hn::Store(hn::TableLookupLanes(v, by0), du, to);
        hn::Store(hn::TwoTablesLookupLanes(du, v, w, by1), du, to + kUnitBytes);
        hn::Store(hn::TwoTablesLookupLanes(du, v, w, by2), du, to + 2 * kUnitBytes);
        hn::Store(hn::TwoTablesLookupLanes(du, v, w, by3), du, to + 3 * kUnitBytes);
        v = w;
      }
      return;
    }
    const hn::FixedTag<T, kTapBlock> d8;
    const hn::FixedTag<uint8_t, kTapBlock> d8u;
    for (size_t i = 0; i < count; ++i) {
      const auto at = [&](size_t tap) LUTRA_TILE {
        return hn::BitCast(d8u, hn::LoadU(d8, line + (i * step + tap * dil) * kTapBlock));
      };
      hn::StoreInterleaved4(at(0), at(1), at(2), at(3), d8u, to + i * kUnitBytes);
    }
  }
};
#else
struct IntUnit {
  static constexpr size_t kTaps = 2;
  using Lane = int16_t;
  template <class D32, class V>
  static HWY_INLINE V MulAdd(D32 d, const uint8_t* pixels, const uint8_t* taps, V sum) {
    const hn::Repartition<int16_t, D32> d16;
    const auto load = [&](const uint8_t* p) LUTRA_TILE { return hn::LoadU(d16, reinterpret_cast<const int16_t*>(p)); };
    return hn::Add(sum, hn::WidenMulPairwiseAdd(d, load(pixels), load(taps)));
  }
  template <class T>
  static HWY_INLINE void Stage(const T* line, size_t dil, size_t step, size_t count, uint8_t* to) {
    const hn::CappedTag<int16_t, kTapBlock> d16;
    const hn::Rebind<T, decltype(d16)> d8;
    for (size_t i = 0; i < count; ++i) {
      for (size_t c = 0; c < kTapBlock; c += hn::Lanes(d16)) {
        const auto at = [&](size_t tap) LUTRA_TILE {
          return hn::PromoteTo(d16, hn::LoadU(d8, line + (i * step + tap * dil) * kTapBlock + c));
        };
        hn::StoreInterleaved2(at(0), at(1), d16, reinterpret_cast<int16_t*>(to + i * kUnitBytes) + c * kTaps);
      }
    }
  }
};
#endif

#if HWY_TARGET != HWY_SCALAR
// `columns` bytes of `rows` rows, each at most 16, to 16 rows of 16, transposed and xor `flip`; zeros behind the last
// row.
inline HWY_NOINLINE void TransposeBytes(const uint8_t* from, ptrdiff_t step, size_t rows, size_t columns, uint8_t flip,
                                        uint8_t* to) {
  const hn::FixedTag<uint8_t, kTapBlock> d;
  const hn::Repartition<uint32_t, decltype(d)> d32;
  HWY_ALIGN uint8_t fours[4][4 * kTapBlock];
  for (size_t r = 0; r < kTapBlock; r += 4) {
    const auto row = [&](size_t i) LUTRA_TILE {
      return r + i < rows ? hn::Xor(LoadSome(d, from + At(r + i, step), columns), hn::Set(d, flip)) : hn::Zero(d);
    };
    hn::StoreInterleaved4(row(0), row(1), row(2), row(3), d, fours[r / 4]);
  }
  for (size_t x = 0; x < kTapBlock; x += 4) {
    const auto four = [&](size_t i)
                          LUTRA_TILE { return hn::LoadU(d32, reinterpret_cast<const uint32_t*>(fours[i] + x * 4)); };
    hn::StoreInterleaved4(four(0), four(1), four(2), four(3), d32, reinterpret_cast<uint32_t*>(to + x * kTapBlock));
  }
}
#endif

// Pixels of up to 16 channels of one image as bytes, i8 with 128 added, zeros behind the last channel.
struct IntPixels {
  const uint8_t* from;  // the first channel
  ptrdiff_t sh, sw, sc;
  size_t channels;
  uint8_t flip;

  // Columns [x, x + count) of row y. Writes up to 15 pixels more.
  HWY_INLINE void Load(size_t y, size_t x, size_t count, uint8_t* to) const {
    const uint8_t* row = from + At(y, sh) + At(x, sw);
#if HWY_TARGET == HWY_SCALAR
    for (size_t i = 0; i < count; ++i, row += sw) {
      for (size_t c = 0; c < kTapBlock; ++c) {
        to[i * kTapBlock + c] = c < channels ? static_cast<uint8_t>(row[At(c, sc)] ^ flip) : uint8_t{0};
      }
    }
#else
    const hn::FixedTag<uint8_t, kTapBlock> d;
    const auto flips = hn::Set(d, flip);
    if (sc == 1 && channels == kTapBlock) {
      for (size_t i = 0; i < count; ++i, row += sw)
        hn::StoreU(hn::Xor(hn::LoadU(d, row), flips), d, to + i * kTapBlock);
    } else if (sc == 1) {
      for (size_t i = 0; i < count; ++i, row += sw) {
        hn::StoreU(hn::Xor(hn::LoadN(d, row, channels), flips), d, to + i * kTapBlock);
      }
    } else {
      for (size_t i = 0; i < count; i += kTapBlock) {
        TransposeBytes(row + i, sc, channels, HWY_MIN(kTapBlock, count - i), flip, to + i * kTapBlock);
      }
    }
#endif
  }
};

// Where the sums of 8 columns of a vector of channels go.
struct IntOut {
  size_t pixels, lanes, row, channel;
  char* y;
  ptrdiff_t step;  // bytes from pixel to pixel
};

// NearestInt of what is far inside of i32: without what Highway adds for the rest, 2 of some 12 instructions for an
// output.
template <class D, class V>
HWY_INLINE hn::Vec<D> NearestInside(D, V v) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  if constexpr (sizeof(v.raw) == 64) return hn::Vec<D>{_mm512_cvtps_epi32(v.raw)};
#endif
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
  if constexpr (sizeof(v.raw) == 32) return hn::Vec<D>{_mm256_cvtps_epi32(v.raw)};
#endif
  return hn::NearestInt(v);
}

// Bytes of the first pixels, each Lanes(d) of them: clamp(q + zero), q inside +-2^30.
template <class D, class V>
HWY_INLINE void StoreBytes([[maybe_unused]] D d, V q0, V q1, V q2, V q3, int16_t zero, bool is_signed, uint8_t* to) {
#if HWY_TARGET == HWY_SCALAR
  const hn::Rebind<int8_t, D> d8;
  const hn::Rebind<uint8_t, D> d8u;
  uint8_t* next = to;
  for (const auto q : {q0, q1, q2, q3}) {
    const auto v = hn::Add(q, hn::Set(d, zero));
    if (is_signed) hn::StoreU(hn::DemoteTo(d8, v), d8, reinterpret_cast<int8_t*>(next++));
    if (!is_signed) hn::StoreU(hn::DemoteTo(d8u, v), d8u, next++);
  }
#else
  // To 16 bits first: what that clamps, the bytes clamp too.
  const hn::Repartition<int16_t, D> d16;
  const hn::Repartition<int8_t, D> d8;
  const hn::Repartition<uint8_t, D> d8u;
  const auto zeros = hn::Set(d16, zero);
#if HWY_ARCH_X86  // blocks of 16 bytes apart; one shuffle in the end
  const hn::Repartition<uint32_t, D> d32;
  constexpr size_t kBlocks = HWY_MAX_LANES_D(D) / 4;
  HWY_ALIGN uint32_t index[HWY_MAX_LANES_D(D)];
  for (uint32_t i = 0; i < 4 * kBlocks; ++i) index[i] = static_cast<uint32_t>(i % kBlocks * 4 + i / kBlocks);
  const auto low = hn::SaturatedAdd(hn::ReorderDemote2To(d16, q0, q1), zeros);
  const auto high = hn::SaturatedAdd(hn::ReorderDemote2To(d16, q2, q3), zeros);
  const auto bytes = is_signed ? hn::BitCast(d32, hn::ReorderDemote2To(d8, low, high))
                               : hn::BitCast(d32, hn::ReorderDemote2To(d8u, low, high));
  const auto ordered = kBlocks == 1 ? bytes : hn::TableLookupLanes(bytes, hn::SetTableIndices(d32, index));
  hn::StoreU(hn::BitCast(d8u, ordered), d8u, to);
#else
  const auto low = hn::SaturatedAdd(hn::OrderedDemote2To(d16, q0, q1), zeros);
  const auto high = hn::SaturatedAdd(hn::OrderedDemote2To(d16, q2, q3), zeros);
  if (is_signed) {
    hn::StoreU(hn::OrderedDemote2To(d8, low, high), d8, reinterpret_cast<int8_t*>(to));
  } else {
    hn::StoreU(hn::OrderedDemote2To(d8u, low, high), d8u, to);
  }
#endif
#endif
}

// How outputs are finished. A copy of what the epilogue says: through its address, stores of bytes could change it.
// simple: they are bytes, and there is nothing but scales, biases, ReLU and clamp. tame: of the block of channels at
// hand no value is NaN or leaves +-2^30, so that clamping to bytes may come after rounding.
struct IntFinish {
  bool simple, tame, is_signed, relu, clamp;
  const float *scale, *bias;
  float lo, hi, out_scale;
  int16_t zero;

  HWY_INLINE IntFinish(const Epilogue& e, DType type)
      : simple(!IsFloat(type) && e.act <= Act::kRelu && e.mul.data == nullptr && e.residual.data == nullptr),
        tame(false),
        is_signed(type == DType::kI8),
        relu(e.act == Act::kRelu),
        clamp(e.clamp),
        scale(e.scale),
        bias(e.bias),
        lo(e.lo),
        hi(e.hi),
        out_scale(e.out_scale),
        zero(static_cast<int16_t>(e.out_zero)) {}

  template <class DF, class VF>
  HWY_INLINE VF Limited(DF df, VF v) const {
    if (relu) v = hn::IfThenZeroElse(hn::Lt(v, hn::Zero(df)), v);
    if (!clamp) return v;
    const auto low = hn::Set(df, lo), high = hn::Set(df, hi);
    v = hn::IfThenElse(hn::Lt(v, low), low, v);
    return hn::IfThenElse(hn::Gt(v, high), high, v);
  }
};

// Sums as f32 by their scale, then the epilogue.
template <class DF, class... V>
HWY_INLINE void StoreInts(DF df, const DepthwiseArgs& a, const float* channel_scale, IntFinish how, const IntOut& t,
                          const V&... sum) {
  const Epilogue& e = a.epilogue;
  const hn::RebindToSigned<DF> d;
  const size_t lanes = hn::Lanes(df);
  const auto scale = hn::LoadU(df, channel_scale);
  if (HWY_LIKELY(how.simple && how.tame)) {
    const bool by_scale = how.scale != nullptr, by_bias = how.bias != nullptr, limited = how.relu || how.clamp;
    const auto scales = by_scale ? LoadSome(df, how.scale + t.channel, t.lanes) : scale;
    const auto bias = by_bias ? LoadSome(df, how.bias + t.channel, t.lanes) : scale;
    const auto out_scale = hn::Set(df, how.out_scale);
    HWY_ALIGN uint8_t bytes[kDirectTile * HWY_MAX_LANES_D(DF)];
    const auto code = [&](const auto& s) LUTRA_TILE {
      auto v = hn::Mul(hn::ConvertTo(df, s), scale);
      if (by_scale) v = hn::Mul(v, scales);
      if (by_bias) v = hn::Add(v, bias);
      if (limited) v = how.Limited(df, v);
      return NearestInside(d, hn::Mul(v, out_scale));
    };
    const auto four = [&](const auto& s0, const auto& s1, const auto& s2, const auto& s3, uint8_t* to) LUTRA_TILE {
      StoreBytes(d, code(s0), code(s1), code(s2), code(s3), how.zero, how.is_signed, to);
    };
    four(Pick<0>(sum...), Pick<1>(sum...), Pick<2>(sum...), Pick<3>(sum...), bytes);
    four(Pick<4>(sum...), Pick<5>(sum...), Pick<6>(sum...), Pick<7>(sum...), bytes + 4 * lanes);
    const hn::Rebind<uint8_t, DF> d8;
    if (HWY_LIKELY(t.lanes == lanes)) {
      Unrolled<kDirectTile>([&](auto i) LUTRA_TILE {
        if (i >= t.pixels) return;
        hn::StoreU(hn::LoadU(d8, bytes + i * lanes), d8, reinterpret_cast<uint8_t*>(t.y) + At(i, t.step));
      });
    } else {
      for (size_t i = 0; i < t.pixels; ++i) std::memcpy(t.y + At(i, t.step), bytes + i * lanes, t.lanes);
    }
    return;
  }
  HWY_ALIGN float sums[kDirectTile * HWY_MAX_LANES_D(DF)];
  Numbered([&](auto i, const auto& s)
               LUTRA_TILE { hn::Store(hn::Mul(hn::ConvertTo(df, s), scale), df, sums + i * hn::Lanes(df)); },
           sum...);
  for (size_t i = 0; i < t.pixels; ++i) {
    FinishRun(e, sums + i * hn::Lanes(df), t.row + i, t.channel, t.lanes, t.y + At(i, t.step), a.out.type);
  }
}

// The sums of 8 output columns, one vector of channels: rows[ky] + at is the first column's first unit.
struct IntSteps {
  size_t kh, units;           // of taps
  size_t unit_step, columns;  // bytes from unit to unit of pixels, and from column to column
};
template <bool kDense, class D, class Emit>
HWY_INLINE void IntTile(D d, IntSteps steps, const uint8_t* const* rows, size_t at, const uint8_t* taps,
                        const int32_t* begin, const Emit& emit) {
  const size_t step = kDense ? kUnitBytes : steps.columns;
  WithAccumulators<kDirectTile>(d, [&](auto&... sum) LUTRA_TILE {
    ((sum = hn::LoadU(d, begin)), ...);
    for (size_t ky = 0; ky < steps.kh; ++ky) {
      const uint8_t* pixels = rows[ky] + at;
      for (size_t u = 0; u < steps.units; ++u, pixels += steps.unit_step, taps += kUnitBytes) {
        Numbered([&](auto i, auto& s) LUTRA_TILE { s = IntUnit::MulAdd(d, pixels + i * step, taps, s); }, sum...);
      }
    }
    emit(sum...);
  });
}

// The taps of a block of channels as units, what its sums begin with, and whether its outputs are tame.
inline HWY_NOINLINE bool PrepareIntBlock(const DepthwiseArgs& a, const depthwise::IntKernel& kernel, size_t c,
                                         size_t channels, uint8_t* line, uint8_t* units, int32_t* begin) {
  const int8_t* block = kernel.taps + c / kTapBlock * kernel.block_bytes;
  const size_t row_units = (a.kw + IntUnit::kTaps - 1) / IntUnit::kTaps, row_bytes = a.kw * kTapBlock;
  std::memset(line + row_bytes, 0, (IntUnit::kTaps - 1) * kTapBlock);
  for (size_t ky = 0; ky < a.kh; ++ky, block += row_bytes, units += row_units * kUnitBytes) {
    std::memcpy(line, block, row_bytes);
    IntUnit::Stage(reinterpret_cast<const int8_t*>(line), 1, IntUnit::kTaps, row_units, units);
  }
  const hn::CappedTag<int32_t, kTapBlock> d;
  const hn::Rebind<float, decltype(d)> df;
  const Epilogue& e = a.epilogue;
  const auto most = hn::Set(df, 0x1p100f);
  bool tame = true;
  for (size_t i = 0; i < kTapBlock; i += hn::Lanes(d)) {
    const auto sum = hn::LoadU(d, kernel.sums + c + i), bias = hn::LoadU(d, kernel.bias + c + i);
    hn::StoreU(hn::Sub(bias, hn::Mul(sum, hn::Set(d, a.zero))), d, begin + i);
    const size_t n = i < channels ? HWY_MIN(hn::Lanes(d), channels - i) : 0;
    auto v = hn::Mul(hn::Abs(hn::LoadU(df, kernel.scale + c + i)), hn::Set(df, 0x1p31f));
    auto inside = hn::Le(v, most);
    if (e.scale != nullptr) v = hn::Mul(v, hn::Abs(LoadSome(df, e.scale + c + i, n)));
    if (e.bias != nullptr) v = hn::Add(v, hn::Abs(LoadSome(df, e.bias + c + i, n)));
    if (e.clamp) v = hn::Add(v, hn::Set(df, std::fabs(e.lo) + std::fabs(e.hi)));
    inside = hn::And(inside, hn::Le(v, most));
    tame &=
        hn::AllTrue(df, hn::And(inside, hn::Le(hn::Mul(v, hn::Set(df, std::fabs(e.out_scale))), hn::Set(df, 0x1p30f))));
  }
  return tame;
}

// NCHW: `columns` sums of each channel, [column][kTapBlock], from sums to rows of planes.
inline HWY_NOINLINE void FinishPlanes(const DepthwiseArgs& a, const float* sums, size_t c, size_t channels,
                                      size_t columns, char* y) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d), size = SizeOf(a.out.type);
  HWY_ALIGN float line[HWY_MAX_LANES_D(decltype(d))];
  for (size_t i = 0; i < channels; ++i, y += a.out.sc * static_cast<ptrdiff_t>(size)) {
    for (size_t x = 0; x < columns; x += lanes) {
      const size_t n = HWY_MIN(lanes, columns - x);
      for (size_t k = 0; k < n; ++k) line[k] = sums[(x + k) * kTapBlock + i];
      for (size_t k = n; k < lanes; ++k) line[k] = 0.0f;
      Finish<LanesAreColumns>(d, hn::Load(d, line), a.epilogue, 0, c + i, n, y + x * size, a.out.type);
    }
  }
}
// The same of finished bytes.
inline HWY_NOINLINE void StorePlanes(const DepthwiseArgs& a, const uint8_t* bytes, size_t channels, size_t columns,
                                     char* y) {
#if HWY_TARGET == HWY_SCALAR
  for (size_t x = 0; x < columns; ++x) {
    for (size_t i = 0; i < channels; ++i)
      y[At(i, a.out.sc) + static_cast<ptrdiff_t>(x)] = static_cast<char>(bytes[x * kTapBlock + i]);
  }
#else
  HWY_ALIGN uint8_t planes[kTapBlock * kTapBlock];
  for (size_t x = 0; x < columns; x += kTapBlock) {
    const size_t n = HWY_MIN(kTapBlock, columns - x);
    TransposeBytes(bytes + x * kTapBlock, kTapBlock, n, channels, 0, planes);
    for (size_t i = 0; i < channels; ++i) {
      std::memcpy(y + At(i, a.out.sc) + static_cast<ptrdiff_t>(x), planes + i * kTapBlock, n);
    }
  }
#endif
}

// One row of the padded image as units, from padded column `column` on.
inline HWY_NOINLINE void StageInts(const DepthwiseArgs& a, const depthwise::IntScratchSizes& s, const IntPixels& image,
                                   int32_t y, size_t column, uint8_t* line, uint8_t* to) {
  const auto zero = static_cast<int>(a.zero);
  if (y < 0) {
    std::memset(line, zero, s.line_pixels * kTapBlock);
  } else {
    const auto row = static_cast<size_t>(y);
    const size_t left = static_cast<size_t>(a.g.left), right = left + a.in.w, mapped = a.mapped_cols - column;
    const auto clamped = [&](size_t padded) { return HWY_MIN(s.line_pixels, padded > column ? padded - column : 0); };
    const auto fill_zero = [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) std::memset(line + i * kTapBlock, zero, kTapBlock);
    };
    const auto pad = [&](size_t begin, size_t end) {
      if (a.g.pad == Pad::kZero) return fill_zero(begin, end);
      for (size_t i = begin; i < end; ++i) {
        const int32_t x = i < mapped ? a.cols[column + i] : -1;
        if (x < 0) {
          fill_zero(i, i + 1);
        } else {  // loads write further than they are asked to, so into `to`, which is written last
          image.Load(row, static_cast<size_t>(x), 1, to);
          std::memcpy(line + i * kTapBlock, to, kTapBlock);
        }
      }
    };
    const size_t begin = clamped(left), end = HWY_MAX(clamped(right), begin);
    if (begin != end) image.Load(row, column + begin - left, end - begin, line + begin * kTapBlock);
    pad(0, begin);
    pad(end, s.line_pixels);
  }
  IntUnit::Stage(line, a.g.dil_w, 1, s.pixels, to);
}

// One task.
template <class = void>
int64_t DirectInt8(const DepthwiseArgs* args, size_t task, void* scratch) {
  if (args == nullptr) return HWY_TARGET;
  const DepthwiseArgs& a = *args;
  const hn::CappedTag<int32_t, kTapBlock> d;
  const hn::Rebind<float, decltype(d)> df;
  const bool nhwc = a.layout == Layout::kNhwc;
  const Epilogue& e = a.epilogue;
  IntFinish how(e, a.out.type);
  const DepthwisePiece piece = depthwise::PieceOf(a, task);
  const depthwise::IntKernel kernel(a.taps, a.out.c, a.kh, a.kw);
  const depthwise::IntScratchSizes s =
      depthwise::IntScratch(a.kh, a.kw, a.g, a.in.h, a.in.w, a.out.w, a.layout, a.staged);
  const auto size = static_cast<ptrdiff_t>(SizeOf(a.out.type));
  auto* const memory = static_cast<uint8_t*>(scratch);
  uint8_t *const taps = memory, *const line = memory + s.line, *const staged = memory + s.staged;
  auto* const begin = reinterpret_cast<int32_t*>(memory + s.begin);
  auto** const rows = reinterpret_cast<const uint8_t**>(memory + s.rows);
  auto* const sums = reinterpret_cast<float*>(memory + s.sums);
  const size_t row_bytes = s.pixels * kUnitBytes;
  uint8_t* const padding = staged + s.staged_rows * row_bytes;
  char* const out = static_cast<char*>(a.out.data) + At(piece.n, a.out.sn) * size;
  const size_t span = a.g.dil_h * (a.kh - 1) + 1;
  const IntSteps steps{a.kh, (a.kw + IntUnit::kTaps - 1) / IntUnit::kTaps, IntUnit::kTaps * a.g.dil_w * kUnitBytes,
                       a.g.stride_w * kUnitBytes};
  const bool dense = a.g.stride_w == 1;

  for (size_t c = piece.c_begin; c < piece.c_end; c += kTapBlock) {
    const size_t channels = HWY_MIN(kTapBlock, piece.c_end - c);
    how.tame = PrepareIntBlock(a, kernel, c, channels, line, taps, begin);
    IntPixels image{static_cast<const uint8_t*>(a.in.data) + At(piece.n, a.in.sn) + At(c, a.in.sc),
                    a.in.sh,
                    a.in.sw,
                    a.in.sc,
                    channels,
                    a.flip};
    if (a.staged) {
      uint8_t* const copy = memory + s.image;
      for (size_t y = 0; y < a.in.h; ++y) image.Load(y, 0, a.in.w, copy + y * a.in.w * kTapBlock);
      image = {copy, At(a.in.w, kTapBlock), kTapBlock, 1, kTapBlock, 0};
    }
    for (size_t x0 = 0; x0 < a.out.w; x0 += s.columns) {
      const size_t columns = HWY_MIN(s.columns, a.out.w - x0), column = x0 * a.g.stride_w;
      StageInts(a, s, image, -1, column, line, padding);
      size_t next = 0;  // padded row to be staged next
      for (size_t y = piece.y_begin; y < piece.y_end; ++y) {
        const size_t first = y * a.g.stride_h;
        const auto place = [&](size_t r) { return staged + (r & (s.staged_rows - 1)) * row_bytes; };
        for (next = HWY_MAX(next, first); next < first + span; ++next) {
          if (a.rows[next] >= 0) StageInts(a, s, image, a.rows[next], column, line, place(next));
        }
        for (size_t ky = 0; ky < a.kh; ++ky) {
          const size_t r = first + ky * a.g.dil_h;
          rows[ky] = a.rows[r] >= 0 ? place(r) : padding;
        }
        char* const y_row = out + (At(y, a.out.sh) + At(x0, a.out.sw) + At(c, a.out.sc)) * size;
        const bool in_bytes = !nhwc && how.simple && how.tame;  // finished before they are transposed
        char* const to = in_bytes ? reinterpret_cast<char*>(sums) : y_row;
        const ptrdiff_t to_step = in_bytes ? ptrdiff_t{kTapBlock} : a.out.sw * size;
        for (size_t x = 0; x < columns; x += kDirectTile) {
          for (size_t v = 0; v < channels; v += hn::Lanes(d)) {
            const auto emit = [&](const auto&... sum) LUTRA_TILE {
              if (nhwc || in_bytes) {
                IntOut t{HWY_MIN(kDirectTile, columns - x),
                         HWY_MIN(hn::Lanes(d), channels - v),
                         (piece.n * a.out.h + y) * a.out.w + x0 + x,
                         c + v,
                         to + At(x, to_step) + static_cast<ptrdiff_t>(v) * size,
                         to_step};
                StoreInts(df, a, kernel.scale + c + v, how, t, sum...);
              } else {
                const auto scale = hn::LoadU(df, kernel.scale + c + v);
                Numbered(
                    [&](auto i, const auto& one) LUTRA_TILE {
                      hn::StoreU(hn::Mul(hn::ConvertTo(df, one), scale), df, sums + (x + i) * kTapBlock + v);
                    },
                    sum...);
              }
            };
            const size_t at = x * steps.columns + v * sizeof(int32_t);
            const uint8_t* const tap = taps + v * sizeof(int32_t);
            if (dense) {
              IntTile<true>(d, steps, rows, at, tap, begin + v, emit);
            } else {
              IntTile<false>(d, steps, rows, at, tap, begin + v, emit);
            }
          }
        }
        if (in_bytes) {
          StorePlanes(a, reinterpret_cast<const uint8_t*>(sums), channels, columns, y_row);
        } else if (!nhwc) {
          FinishPlanes(a, sums, c, channels, columns, y_row);
        }
      }
    }
  }
  return HWY_TARGET;
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
