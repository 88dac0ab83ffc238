// Planes (NCHW) into lanes and back: a line of memory for each lane <-> a vector of lanes for each pixel.
#if defined(LUTRA_DEPTHWISE_PLANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_DEPTHWISE_PLANES_INL_H_
#undef LUTRA_DEPTHWISE_PLANES_INL_H_
#else
#define LUTRA_DEPTHWISE_PLANES_INL_H_
#endif

#include <cstring>
#include <type_traits>

#include "lutra/depthwise/args.h"
#include "lutra/fft/pass.h"
#include "lutra/simd/convert-inl.h"
#include "lutra/simd/tile-inl.h"

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

// Lanes that turn at a time.
using PlaneTag = hn::CappedTag<float, kTapBlock>;

#if LUTRA_HAS_FFT
inline constexpr size_t kPlaneLanes = HWY_MAX_LANES_D(PlaneTag);

using PlaneVec = hn::Vec<PlaneTag>;

// Within each block of four lanes.
HWY_INLINE void TransposeFours(PlaneVec* v) {
  const PlaneTag d;
  const hn::Repartition<uint64_t, PlaneTag> d64;
  const auto pairs = [&](auto x) LUTRA_TILE { return hn::BitCast(d64, x); };
  const auto a = pairs(hn::InterleaveLower(d, v[0], v[1])), b = pairs(hn::InterleaveLower(d, v[2], v[3]));
  const auto c = pairs(hn::InterleaveUpper(d, v[0], v[1])), e = pairs(hn::InterleaveUpper(d, v[2], v[3]));
  v[0] = hn::BitCast(d, hn::InterleaveLower(d64, a, b));
  v[1] = hn::BitCast(d, hn::InterleaveUpper(d64, a, b));
  v[2] = hn::BitCast(d, hn::InterleaveLower(d64, c, e));
  v[3] = hn::BitCast(d, hn::InterleaveUpper(d64, c, e));
}
// Lane i of vector k <-> lane k of vector i. A line of memory is read, or written, whole: 16 of them, a power of two
// apart, would not stay in L1 for a second time.
HWY_INLINE void TransposeLanes(PlaneVec (&v)[kPlaneLanes]) {
  [[maybe_unused]] const PlaneTag d;
  Unrolled<kPlaneLanes / 4>([&](auto i) LUTRA_TILE { TransposeFours(v + 4 * i); });
  if constexpr (kPlaneLanes == 8) {
    Unrolled<4>([&](auto k) LUTRA_TILE {
      const auto a = v[k], b = v[4 + k];
      v[k] = hn::ConcatLowerLower(d, b, a);
      v[4 + k] = hn::ConcatUpperUpper(d, b, a);
    });
  } else if constexpr (kPlaneLanes == 16) {
    Unrolled<4>([&](auto k) LUTRA_TILE {  // blocks of 4 vectors
      const auto a = v[k], b = v[4 + k], c = v[8 + k], e = v[12 + k];
      const auto even = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(b), a),
                 odd = hn::OddEvenBlocks(b, hn::SwapAdjacentBlocks(a));
      const auto even2 = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(e), c),
                 odd2 = hn::OddEvenBlocks(e, hn::SwapAdjacentBlocks(c));
      v[k] = hn::ConcatLowerLower(d, even2, even);
      v[4 + k] = hn::ConcatLowerLower(d, odd2, odd);
      v[8 + k] = hn::ConcatUpperUpper(d, even2, even);
      v[12 + k] = hn::ConcatUpperUpper(d, odd2, odd);
    });
  }
}

// The piece of `count` elements behind the one at x: the next whole vectors of memory, at the end some once more.
HWY_INLINE size_t NextPiece(const float* line, size_t x, size_t count) {
  if (x + kPlaneLanes == count) return count;
  x += kPlaneLanes - reinterpret_cast<uintptr_t>(line + x) / sizeof(float) % kPlaneLanes;
  return HWY_MIN(x, count - kPlaneLanes);
}
// line[lane][0 ... count) -> `count` vectors, `pitch` floats apart.
inline HWY_NOINLINE void FromLines(const float* const* line, size_t count, float* to, size_t pitch) {
  const PlaneTag d;
  PlaneVec v[kPlaneLanes];
  for (size_t x = 0; x + kPlaneLanes <= count;) {
    Unrolled<kPlaneLanes>([&](auto i) LUTRA_TILE { v[i] = hn::LoadU(d, line[i] + x); });
    TransposeLanes(v);
    Unrolled<kPlaneLanes>([&](auto i) LUTRA_TILE { hn::Store(v[i], d, to + (x + i) * pitch); });
    x = NextPiece(line[0], x, count);
  }
  if (count >= kPlaneLanes || count == 0) return;
  Unrolled<kPlaneLanes>([&](auto i) LUTRA_TILE { v[i] = hn::LoadN(d, line[i], count); });
  TransposeLanes(v);
  Unrolled<kPlaneLanes>([&](auto i) LUTRA_TILE {
    if (i < count) hn::Store(v[i], d, to + i * pitch);
  });
}
// The way back, through a plain epilogue whose bias has a lane each.
inline HWY_NOINLINE void ToLines(const float* from, size_t pitch, size_t count, const float* bias, bool relu,
                                 float* const* line) {
  const PlaneTag d;
  const auto zero = hn::Zero(d);
  const auto add = bias != nullptr ? hn::Load(d, bias) : zero;
  PlaneVec v[kPlaneLanes];
  const auto load = [&](size_t x, auto some) LUTRA_TILE {
    Unrolled<kPlaneLanes>([&](auto i) LUTRA_TILE {  // no vector behind the last one
      v[i] = hn::Load(d, from + (some ? HWY_MIN(size_t{i}, count - 1) : x + i) * pitch);
    });
    if (bias != nullptr) {  // + 0 would change the bits of -0
      Unrolled<kPlaneLanes>([&](auto i) LUTRA_TILE { v[i] = hn::Add(v[i], add); });
    }
    if (relu) {
      Unrolled<kPlaneLanes>([&](auto i) LUTRA_TILE { v[i] = hn::IfThenZeroElse(hn::Lt(v[i], zero), v[i]); });
    }
    TransposeLanes(v);
  };
  for (size_t x = 0; x + kPlaneLanes <= count;) {
    load(x, std::false_type());
    Unrolled<kPlaneLanes>([&](auto i) LUTRA_TILE { hn::StoreU(v[i], d, line[i] + x); });
    x = NextPiece(line[0], x, count);
  }
  if (count >= kPlaneLanes || count == 0) return;
  load(0, std::true_type());
  if constexpr (HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3) {
    Unrolled<kPlaneLanes>([&](auto i) LUTRA_TILE { hn::StoreN(v[i], d, line[i], count); });
  } else {  // masked stores are slow, or none
    HWY_ALIGN float last[kPlaneLanes];
    Unrolled<kPlaneLanes>([&](auto i) LUTRA_TILE {
      hn::Store(v[i], d, last);
      std::memcpy(line[i], last, count * sizeof(float));
    });
  }
}
#else   // vectors of any size, none, or of a CPU before 2008: right, and slow
inline constexpr size_t kPlaneLanes = 1;
inline HWY_NOINLINE void FromLines(const float* const* line, size_t count, float* to, size_t pitch) {
  for (size_t x = 0; x < count; ++x) to[x * pitch] = line[0][x];
}
inline HWY_NOINLINE void ToLines(const float* from, size_t pitch, size_t count, const float* bias, bool relu,
                                 float* const* line) {
  for (size_t x = 0; x < count; ++x) {
    float v = from[x * pitch];
    if (bias != nullptr) v += *bias;
    line[0][x] = relu && v < 0 ? 0.0f : v;
  }
}
#endif  // LUTRA_HAS_FFT

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
