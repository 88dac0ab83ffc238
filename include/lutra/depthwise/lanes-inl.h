// Lanes of transforms: from an image into vectors, and back. A lane is a channel of a problem (a tile of an image);
// a vector holds channels that lie side by side, planes of as many channels, or both of several problems.
#if defined(LUTRA_DEPTHWISE_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_DEPTHWISE_LANES_INL_H_
#undef LUTRA_DEPTHWISE_LANES_INL_H_
#else
#define LUTRA_DEPTHWISE_LANES_INL_H_
#endif

#include <cstring>

#include "lutra/depthwise/args.h"
#include "lutra/depthwise/finish-inl.h"
#include "lutra/fft/passes-inl.h"

#if LUTRA_HAS_FFT
LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

using depthwise::DepthwiseArgs;

struct FftProblem {
  size_t n, y, x;     // image, and the tile's first output
  size_t rows, cols;  // its outputs
  int64_t top, left;  // its first output's place in the input
};
inline FftProblem ProblemAt(const DepthwiseArgs& a, size_t i) {
  const size_t tx = i % a.plan->fft_rows.tiles, ty = i / a.plan->fft_rows.tiles % a.plan->fft_columns.tiles;
  FftProblem p{};
  p.n = i / (a.plan->fft_rows.tiles * a.plan->fft_columns.tiles);
  p.top = static_cast<int64_t>(ty * a.plan->fft_columns.tile);
  p.left = static_cast<int64_t>(tx * a.plan->fft_rows.tile);
  p.y = ty * a.plan->fft_columns.tile / a.g.stride_h;
  p.x = tx * a.plan->fft_rows.tile / a.g.stride_w;
  const auto outputs = [](size_t tile, size_t stride, size_t left) {
    return HWY_MIN((tile + stride - 1) / stride, left);
  };
  p.rows = outputs(a.plan->fft_columns.tile, a.g.stride_h, a.out.h - p.y);
  p.cols = outputs(a.plan->fft_rows.tile, a.g.stride_w, a.out.w - p.x);
  return p;
}

// Problems that share a vector, with the same channels [c, c + channels).
struct FftGroup {
  size_t problems, c, channels;
  FftProblem problem[kFftLanes];
};

// Row (column) of the image at `p`, -1 where it is zero or nobody needs it.
HWY_INLINE int32_t RowAt(const DepthwiseArgs& a, int64_t p) {
  const auto i = static_cast<uint64_t>(p + a.g.top);
  return i < a.plan->rows ? a.rows[i] : -1;
}
HWY_INLINE int32_t ColumnAt(const DepthwiseArgs& a, int64_t p) {
  const auto i = static_cast<uint64_t>(p + a.g.left);
  return i < a.plan->cols ? a.cols[i] : -1;
}
HWY_INLINE ptrdiff_t InputAt(const DepthwiseArgs& a, const FftProblem& p, int32_t row, size_t c) {
  return At(p.n, a.in.sn) + row * a.in.sh + static_cast<ptrdiff_t>(c) * a.in.sc;
}

// NHWC: rows[problem] of the image (-1: zeros), pixels [lo, hi) of each, into lanes: problem by problem.
inline HWY_NOINLINE void StagePixels(const DepthwiseArgs& a, const FftGroup& g, const int32_t* rows, float* to) {
  const FftTag d;
  for (int64_t x = a.plan->fft_rows.lo; x < a.plan->fft_rows.hi; ++x, to += kFftLanes) {
    for (size_t i = 0; i < g.problems; ++i) {  // a store's idle lanes are overwritten by what comes after it
      const int32_t column = ColumnAt(a, g.problem[i].left + x);
      const bool inside = rows[i] >= 0 && column >= 0;
      const auto v = inside ? LoadAsF32(d, a.in.data, a.in.type,
                                        InputAt(a, g.problem[i], rows[i], g.c) + column * a.in.sw, g.channels)
                            : hn::Zero(d);
      hn::StoreU(v, d, to + i * g.channels);
    }
  }
}
// Re-weights a row of sums, `step` floats apart.
inline HWY_NOINLINE void ReweightRow(const DepthwiseArgs& a, const FftProblem& p, size_t row, float* sums, size_t step,
                                     size_t channels) {
  const FftTag d;
  for (size_t x = 0; x < p.cols; ++x, sums += step) {
    const float weight = depthwise::Reweighting(a, a.row_taps[p.y + row], a.row_taps[a.out.h + p.x + x]);
    StoreSome(d, hn::Mul(LoadSome(d, sums, channels), hn::Set(d, weight)), sums, channels);
  }
}
// The same way back: the sums of a row of one problem to its outputs.
inline HWY_NOINLINE void FinishPixels(const DepthwiseArgs& a, const FftProblem& p, float* from, size_t row, size_t c,
                                      size_t channels) {
  const FftTag d;
  if (a.row_taps != nullptr) ReweightRow(a, p, row, from, kFftLanes, channels);
  const auto size = static_cast<ptrdiff_t>(SizeOf(a.out.type));
  const size_t y = p.y + row, pixel = (p.n * a.out.h + y) * a.out.w + p.x;
  char* out = static_cast<char*>(a.out.data) +
              (At(p.n, a.out.sn) + At(y, a.out.sh) + At(p.x, a.out.sw) + static_cast<ptrdiff_t>(c)) * size;
  if (!a.plain) {
    for (size_t x = 0; x < p.cols; ++x, from += kFftLanes, out += a.out.sw * size) {
      FinishRun(a.epilogue, from, pixel + x, c, channels, out, a.out.type);
    }
    return;
  }
  const bool relu = a.epilogue.act == Act::kRelu, add = a.epilogue.bias != nullptr;  // + 0 would change bits of -0
  const auto zero = hn::Zero(d), bias = add ? LoadSome(d, a.epilogue.bias + c, channels) : zero;
  for (size_t x = 0; x < p.cols; ++x, from += kFftLanes, out += a.out.sw * size) {
    auto v = hn::LoadU(d, from);
    if (add) v = hn::Add(v, bias);
    if (relu) v = hn::IfThenZeroElse(hn::Lt(v, zero), v);
    StoreSome(d, v, reinterpret_cast<float*>(out), channels);
  }
}

// Four neighbours of each lane's line <-> four vectors of lanes.
using FftFour = hn::FixedTag<float, 4>;
HWY_INLINE void TransposeFours(FftVec v[4]) {
  const FftTag d;
  const hn::Repartition<uint64_t, FftTag> d64;
  const auto pairs = [&](auto x) { return hn::BitCast(d64, x); };
  const auto a = pairs(hn::InterleaveLower(d, v[0], v[1])), b = pairs(hn::InterleaveLower(d, v[2], v[3]));
  const auto c = pairs(hn::InterleaveUpper(d, v[0], v[1])), e = pairs(hn::InterleaveUpper(d, v[2], v[3]));
  v[0] = hn::BitCast(d, hn::InterleaveLower(d64, a, b));
  v[1] = hn::BitCast(d, hn::InterleaveUpper(d64, a, b));
  v[2] = hn::BitCast(d, hn::InterleaveLower(d64, c, e));
  v[3] = hn::BitCast(d, hn::InterleaveUpper(d64, c, e));
}
template <class Load>
HWY_INLINE void FromLines(const Load& load, float* to) {
  FftVec v[4];
  for (size_t k = 0; k < 4; ++k) {
    v[k] = hn::ResizeBitCast(FftTag(), load(k));
    if constexpr (kFftLanes >= 8) v[k] = hn::InsertBlock<1>(v[k], load(4 + k));
    if constexpr (kFftLanes >= 16) {
      v[k] = hn::InsertBlock<2>(v[k], load(8 + k));
      v[k] = hn::InsertBlock<3>(v[k], load(12 + k));
    }
  }
  TransposeFours(v);
  for (size_t k = 0; k < 4; ++k) hn::Store(v[k], FftTag(), to + k * kFftLanes);
}
template <class Store>
HWY_INLINE void ToLines(const float* from, const Store& store) {
  FftVec v[4];
  for (size_t k = 0; k < 4; ++k) v[k] = hn::Load(FftTag(), from + k * kFftLanes);
  TransposeFours(v);
  for (size_t k = 0; k < 4; ++k) {
    store(k, hn::ExtractBlock<0>(v[k]));
    if constexpr (kFftLanes >= 8) store(4 + k, hn::ExtractBlock<1>(v[k]));
    if constexpr (kFftLanes >= 16) {
      store(8 + k, hn::ExtractBlock<2>(v[k]));
      store(12 + k, hn::ExtractBlock<3>(v[k]));
    }
  }
}

// NCHW: pixels [lo, hi) of a lane's row. Where they are neighbours, of f32: in the image itself; else copied to `own`.
inline const float* LaneLine(const DepthwiseArgs& a, const FftProblem& p, int32_t row, size_t c, float* own) {
  const FftTag d;
  const int64_t lo = a.plan->fft_rows.lo, hi = a.plan->fft_rows.hi;
  // [from, to): inside of the image.
  const int64_t from = row < 0 ? hi : HWY_MIN(hi, HWY_MAX(lo, -p.left)),
                to = HWY_MAX(from, HWY_MIN(hi, static_cast<int64_t>(a.in.w) - p.left));
  const ptrdiff_t at = row < 0 ? 0 : InputAt(a, p, row, c);
  if (from == lo && to == hi && a.in.type == DType::kF32) {
    return static_cast<const float*>(a.in.data) + at + (p.left + lo);
  }
  for (int64_t x = from; x < to; x += static_cast<int64_t>(kFftLanes)) {
    const auto count = static_cast<size_t>(to - x);
    hn::StoreU(LoadAsF32(d, a.in.data, a.in.type, at + (p.left + x), count), d, own + (x - lo));
  }
  const auto pad = [&](int64_t begin, int64_t end) {
    for (int64_t x = begin; x < end; ++x) {
      const int32_t column = row < 0 ? -1 : ColumnAt(a, p.left + x);
      own[x - lo] = column < 0 ? 0.0f : LoadFloat(a.in.data, a.in.type, at + column);
    }
  };
  pad(lo, from);
  pad(to, hi);
  return own;
}
// rows[problem] as for StagePixels. `lines`: kFftLanes lines of `pitch` floats.
inline HWY_NOINLINE void StagePlanes(const DepthwiseArgs& a, const FftGroup& g, const int32_t* rows, float* lines,
                                     size_t pitch, float* to) {
  const FftFour d4;
  const float* line[kFftLanes];
  for (size_t lane = 0; lane < kFftLanes; ++lane) {
    const size_t i = lane / g.channels;
    if (i < g.problems) {
      line[lane] = LaneLine(a, g.problem[i], rows[i], g.c + lane % g.channels, lines + lane * pitch);
    } else {
      line[lane] = line[0];  // idle
    }
  }
  const auto width = static_cast<size_t>(a.plan->fft_rows.hi - a.plan->fft_rows.lo);
  size_t x = 0;
  for (; x + 4 <= width; x += 4, to += 4 * kFftLanes) {
    FromLines([&](size_t lane) HWY_ATTR { return hn::LoadU(d4, line[lane] + x); }, to);
  }
  if (x != width) FromLines([&](size_t lane) HWY_ATTR { return hn::LoadN(d4, line[lane] + x, width - x); }, to);
}
// `rows` rows of sums to lines, [row][lane][pitch].
inline HWY_NOINLINE void UnstagePlanes(const float* from, size_t from_step, size_t rows, size_t width, size_t pitch,
                                       float* lines) {
  for (size_t row = 0; row < rows; ++row, from += from_step, lines += kFftLanes * pitch) {
    for (size_t x = 0; x < width; x += 4) {  // sums behind the last one, as they come
      ToLines(from + x * kFftLanes,
              [&](size_t lane, auto v) HWY_ATTR { hn::StoreU(v, FftFour(), lines + lane * pitch + x); });
    }
  }
}
inline HWY_NOINLINE void FinishPlane(const DepthwiseArgs& a, const FftProblem& p, float* line, size_t row, size_t c,
                                     const SpreadEpilogue& spread) {
  const FftTag d;
  if (a.row_taps != nullptr) ReweightRow(a, p, row, line, 1, 1);
  const auto size = static_cast<ptrdiff_t>(SizeOf(a.out.type));
  char* const out =
      static_cast<char*>(a.out.data) +
      (At(p.n, a.out.sn) + At(p.y + row, a.out.sh) + static_cast<ptrdiff_t>(p.x) + At(c, a.out.sc)) * size;
  if (!a.plain) {
    for (size_t x = 0; x < p.cols; x += depthwise::kMostLanes) {
      FinishRun(spread.epilogue, line + x, 0, 0, HWY_MIN(depthwise::kMostLanes, p.cols - x),
                out + static_cast<ptrdiff_t>(x) * size, a.out.type);
    }
    return;
  }
  const bool relu = a.epilogue.act == Act::kRelu, add = a.epilogue.bias != nullptr;
  const auto zero = hn::Zero(d), bias = hn::Set(d, add ? a.epilogue.bias[c] : 0.0f);
  for (size_t x = 0; x < p.cols; x += kFftLanes) {
    auto v = LoadSome(d, line + x, p.cols - x);
    if (add) v = hn::Add(v, bias);
    if (relu) v = hn::IfThenZeroElse(hn::Lt(v, zero), v);
    StoreSome(d, v, reinterpret_cast<float*>(out) + x, p.cols - x);
  }
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
#endif
