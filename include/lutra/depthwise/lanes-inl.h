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
#include "lutra/depthwise/planes-inl.h"
#include "lutra/fft/passes-inl.h"

#if LUTRA_HAS_FFT
LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

using depthwise::DepthwiseArgs;

struct FftProblem {
  size_t n, y, x;     // image, and the tile's first output
  size_t rows, cols;  // its outputs
  int64_t top, left;  // its first output's place in the input
  size_t c_base;      // channel at which the input begins
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

// Channels [c_begin, c_end) of image n, densely, to `to`: their view.
inline HWY_NOINLINE ConstImageView CopyChannels(const DepthwiseArgs& a, size_t n, size_t c_begin, size_t c_end,
                                                char* to) {
  const auto size = static_cast<ptrdiff_t>(SizeOf(a.in.type));
  const ptrdiff_t count = static_cast<ptrdiff_t>(c_end - c_begin), w = static_cast<ptrdiff_t>(a.in.w);
  ConstImageView copy = a.in;
  copy.data = to;
  copy.sn = 0;  // problems keep their n
  const bool planes = a.layout == Layout::kNchw;
  const ptrdiff_t run = planes ? w : count;
  const size_t outer = planes ? c_end - c_begin : a.in.h, inner = planes ? a.in.h : a.in.w;
  const char* const from = static_cast<const char*>(a.in.data) +
                           (At(n, a.in.sn) + static_cast<ptrdiff_t>(c_begin) * (planes ? a.in.sc : 1)) * size;
  for (size_t i = 0; i < outer; ++i) {
    for (size_t k = 0; k < inner; ++k, to += run * size) {
      const ptrdiff_t at = planes ? At(i, a.in.sc) + At(k, a.in.sh) : At(i, a.in.sh) + At(k, a.in.sw);
      std::memcpy(to, from + at * size, static_cast<size_t>(run * size));
    }
  }
  copy.sc = planes ? w * static_cast<ptrdiff_t>(a.in.h) : 1;
  copy.sw = planes ? 1 : count;
  copy.sh = planes ? w : w * count;
  return copy;
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
  return At(p.n, a.in.sn) + row * a.in.sh + static_cast<ptrdiff_t>(c - p.c_base) * a.in.sc;
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
// `count` rows of the image, one behind the other, where they are one run of each lane: null otherwise.
inline bool StageRuns(const DepthwiseArgs& a, const FftGroup& g, int32_t row, size_t count, float* to) {
  const int64_t width = a.plan->fft_rows.hi - a.plan->fft_rows.lo;
  const FftProblem& p = g.problem[0];
  if (g.problems != 1 || p.left + a.plan->fft_rows.lo != 0 || width != static_cast<int64_t>(a.in.w) ||
      a.in.sh != width || a.in.type != DType::kF32) {
    return false;
  }
  const float* line[kFftLanes];
  for (size_t lane = 0; lane < kFftLanes; ++lane) {
    line[lane] = static_cast<const float*>(a.in.data) + InputAt(a, p, row, g.c + (lane < g.channels ? lane : 0));
  }
  FromLines(line, count * a.in.w, to, kFftLanes);
  return true;
}
// rows[problem] as for StagePixels. `lines`: kFftLanes lines of `pitch` floats.
inline void StagePlanes(const DepthwiseArgs& a, const FftGroup& g, const int32_t* rows, float* lines, size_t pitch,
                        float* to) {
  const float* line[kFftLanes];
  for (size_t lane = 0; lane < kFftLanes; ++lane) {
    const size_t i = lane / g.channels;
    line[lane] = i < g.problems ? LaneLine(a, g.problem[i], rows[i], g.c + lane % g.channels, lines + lane * pitch)
                                : line[0];  // idle
  }
  FromLines(line, static_cast<size_t>(a.plan->fft_rows.hi - a.plan->fft_rows.lo), to, kFftLanes);
}
HWY_INLINE char* PlaneAt(const DepthwiseArgs& a, const FftProblem& p, size_t row, size_t c) {
  return static_cast<char*>(a.out.data) +
         (At(p.n, a.out.sn) + At(p.y + row, a.out.sh) + static_cast<ptrdiff_t>(p.x) + At(c, a.out.sc)) *
             static_cast<ptrdiff_t>(SizeOf(a.out.type));
}
// `rows` rows of sums, [row][cols] vectors, from row `y` of each problem: plain epilogues, tiles of one size. `idle`: a
// line that nobody reads.
inline bool FinishRuns(const DepthwiseArgs& a, const FftGroup& g, const float* from, size_t y, size_t rows, size_t cols,
                       float* idle) {
  if (!a.plain || a.row_taps != nullptr) return false;
  for (size_t i = 0; i < g.problems; ++i) {
    if (g.problem[i].cols != cols || g.problem[i].rows < y + rows) return false;
  }
  HWY_ALIGN float bias[kFftLanes] = {};
  float* line[kFftLanes];
  const bool add = a.epilogue.bias != nullptr, run = g.problems == 1 && a.out.sh == static_cast<ptrdiff_t>(cols);
  for (size_t row = 0; row < rows; row += run ? rows : 1) {
    for (size_t lane = 0; lane < kFftLanes; ++lane) {
      const size_t i = lane / g.channels, c = g.c + lane % g.channels;
      line[lane] = i < g.problems ? reinterpret_cast<float*>(PlaneAt(a, g.problem[i], y + row, c)) : idle;
      if (add && i < g.problems) bias[lane] = a.epilogue.bias[c];
    }
    ToLines(from + row * cols * kFftLanes, kFftLanes, (run ? rows : 1) * cols, add ? bias : nullptr,
            a.epilogue.act == Act::kRelu, line);
  }
  return true;
}
// The same to lines of the scratch, [row][lane][pitch], and no epilogue.
inline void UnstagePlanes(const float* from, size_t rows, size_t cols, size_t pitch, float* lines) {
  for (size_t row = 0; row < rows; ++row, from += cols * kFftLanes, lines += kFftLanes * pitch) {
    float* line[kFftLanes];
    for (size_t lane = 0; lane < kFftLanes; ++lane) line[lane] = lines + lane * pitch;
    ToLines(from, kFftLanes, cols, nullptr, false, line);
  }
}
inline HWY_NOINLINE void FinishPlane(const DepthwiseArgs& a, const FftProblem& p, float* line, size_t row, size_t c,
                                     const SpreadEpilogue& spread) {
  if (a.row_taps != nullptr) ReweightRow(a, p, row, line, 1, 1);
  char* const out = PlaneAt(a, p, row, c);
  for (size_t x = 0; x < p.cols; x += depthwise::kMostLanes) {
    FinishRun(spread.epilogue, line + x, 0, 0, HWY_MIN(depthwise::kMostLanes, p.cols - x),
              out + static_cast<ptrdiff_t>(x * SizeOf(a.out.type)), a.out.type);
  }
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
#endif
