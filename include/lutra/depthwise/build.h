// Building kernels and plans: all that allocates. Plain C++, once per unit.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <utility>

#include "lutra/depthwise/args.h"
#include "lutra/depthwise/choose.h"
#include "lutra/depthwise/fft.h"
#include "lutra/depthwise/int8.h"
#include "lutra/depthwise/job.h"
#include "lutra/depthwise/plan.h"
#include "lutra/depthwise/separable.h"
#include "lutra/dispatch.h"
#include "lutra/fft/twiddles.h"

namespace lutra { inline namespace LUTRA_NS { namespace depthwise {

inline const char* NameOf(Pad pad) {
  return pad == Pad::kZero       ? "zero"
         : pad == Pad::kCircular ? "circular"
         : pad == Pad::kReflect  ? "reflect"
                                 : "replicate";
}

// One side pair of a ConvGeometry: checks it and replaces -1.
inline void ResolvePadding(const char* names[2], size_t k, size_t dil, int* before, int* after) {
  for (int i = 0; i < 2; ++i) {
    const int pad = i == 0 ? *before : *after;
    if (pad < -1) Fail("DepthwiseKernel: padding %s is %d, must be -1 (same) or at least 0", names[i], pad);
  }
  const auto total = static_cast<int>(dil * (k - 1));
  if (*before == -1) *before = total / 2;
  if (*after == -1) *after = total - total / 2;
}

// Taps of i8 that have been checked, c, h, w and geometry of `parts` set.
inline void FillIntKernel(const ConstImageView& taps, const ConvQuant& quant, DepthwiseKernelParts* parts) {
  const char* const what = "DepthwiseKernel";
  if (quant.in_zero < -128 || quant.in_zero > 255) {
    Fail("%s: quant.in_zero is %d, must be inside -128 ... 255", what, quant.in_zero);
  }
  if (parts->geometry.reweight) Fail("%s: geometry.reweight needs taps of f32, they are i8", what);
  const IntKernelSizes s = IntKernelBytes(what, taps.c, taps.h, taps.w);
  parts->memory = SharedBytes(s.bytes);
  parts->integer = true;
  parts->in_zero = quant.in_zero;
  auto* const memory = static_cast<char*>(parts->memory.data());
  const auto* const from = static_cast<const int8_t*>(taps.data);
  for (size_t c = 0; c < taps.c; ++c) {
    int64_t sum = 0, size = 0;
    for (size_t y = 0; y < taps.h; ++y) {
      for (size_t x = 0; x < taps.w; ++x) {
        const int8_t tap = from[At(y, taps.sh) + At(x, taps.sw) + At(c, taps.sc)];
        reinterpret_cast<int8_t*>(
            memory)[c / kTapBlock * s.block_bytes + (y * taps.w + x) * kTapBlock + c % kTapBlock] = tap;
        sum += tap;
        size += tap < 0 ? -tap : tap;
      }
    }
    const int32_t bias = quant.bias == nullptr ? 0 : quant.bias[c];
    const float scale = quant.scale == nullptr ? 1.0f : quant.scale[c];
    size = 255 * size + (bias < 0 ? -int64_t{bias} : int64_t{bias});
    constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
    if (size > kMost) {
      Fail("%s: 255 * (sum of |tap|) + |bias| of channel %zu is %lld, must be at most %lld", what, c,
           static_cast<long long>(size), static_cast<long long>(kMost));
    }
    if (!std::isfinite(scale)) Fail("%s: quant.scale of channel %zu is %f, must be finite", what, c, scale);
    reinterpret_cast<int32_t*>(memory + s.sums)[c] = static_cast<int32_t>(sum);
    reinterpret_cast<int32_t*>(memory + s.bias)[c] = bias;
    reinterpret_cast<float*>(memory + s.scale)[c] = scale;
  }
}

inline DepthwiseKernelParts MakeKernel(const ConstImageView& taps, const ConvGeometry& geometry,
                                       const ConvQuant& quant) {
  const char* const what = "DepthwiseKernel";
  if (taps.type != DType::kF32 && taps.type != DType::kI8) {
    Fail("%s: taps.type is %s, must be f32 or i8", what, lutra::NameOf(taps.type));
  }
  if (taps.type != DType::kI8 && (quant.in_zero != 0 || quant.scale != nullptr || quant.bias != nullptr)) {
    Fail("%s: quant is for taps of i8, they are %s", what, lutra::NameOf(taps.type));
  }
  if (taps.n != 1) Fail("%s: taps.n is %zu, must be 1 (channels are c: Nchw(p, 1, C, KH, KW))", what, taps.n);
  if (taps.h == 0 || taps.w == 0 || taps.c == 0) {
    Fail("%s: taps are %zu x %zu for %zu channels, must be at least 1 x 1 for 1", what, taps.h, taps.w, taps.c);
  }
  internal::CheckImage("DepthwiseKernel: taps", taps);
  ConvGeometry g = geometry;
  if (g.stride_h == 0 || g.stride_w == 0) {
    Fail("%s: stride is %zu x %zu, must be at least 1", what, g.stride_h, g.stride_w);
  }
  if (g.dil_h == 0 || g.dil_w == 0) Fail("%s: dilation is %zu x %zu, must be at least 1", what, g.dil_h, g.dil_w);
  if (g.pad > Pad::kReplicate) Fail("%s: pad is %d, not a Pad", what, static_cast<int>(g.pad));
  if (g.reweight && g.pad != Pad::kZero) Fail("%s: pad is %s, reweight needs zero padding", what, NameOf(g.pad));
  constexpr size_t kMost = std::numeric_limits<int32_t>::max() / 4;
  if (taps.h > kMost || taps.w > kMost || internal::CheckedSize(what, taps.h, g.dil_h) > kMost ||
      internal::CheckedSize(what, taps.w, g.dil_w) > kMost) {
    Fail("%s: taps of %zu x %zu, dilated by %zu x %zu, span more than %zu pixels", what, taps.h, taps.w, g.dil_h,
         g.dil_w, kMost);
  }
  const char* vertical[2] = {"top", "bottom"};
  const char* horizontal[2] = {"left", "right"};
  ResolvePadding(vertical, taps.h, g.dil_h, &g.top, &g.bottom);
  ResolvePadding(horizontal, taps.w, g.dil_w, &g.left, &g.right);

  constexpr size_t kBlock = kTapBlock;
  const size_t block_floats = internal::CheckedSize(what, taps.h, taps.w, kBlock),
               blocks = (taps.c + kBlock - 1) / kBlock;
  DepthwiseKernelParts parts;
  parts.c = taps.c;
  parts.h = taps.h;
  parts.w = taps.w;
  parts.geometry = g;
  if (taps.type == DType::kI8) {
    FillIntKernel(taps, quant, &parts);
    return parts;
  }
  parts.memory = SharedBytes(internal::CheckedSize(what, blocks, block_floats) * sizeof(float));
  auto* const to = static_cast<float*>(parts.memory.data());
  const auto* const from = static_cast<const float*>(taps.data);
  for (size_t c = 0; c < taps.c; ++c) {
    for (size_t y = 0; y < taps.h; ++y) {
      for (size_t x = 0; x < taps.w; ++x) {
        const float tap = from[At(y, taps.sh) + At(x, taps.sw) + At(c, taps.sc)];
        if (!std::isfinite(tap)) Fail("%s: tap y %zu, x %zu of channel %zu is %f, must be finite", what, y, x, c, tap);
        to[c / kBlock * block_floats + (y * taps.w + x) * kBlock + c % kBlock] = tap;
      }
    }
  }
  if (taps.h == 1 || taps.w == 1) return parts;
  SharedBytes factors(internal::CheckedSize(what, blocks, taps.h + taps.w, kBlock) * sizeof(float));
  auto* const rows = static_cast<float*>(factors.data());
  float* const columns = rows + blocks * taps.w * kBlock;
  for (size_t c = 0; c < taps.c; ++c) {
    const size_t block = c / kBlock, lane = c % kBlock;
    if (!FindFactors(to + block * block_floats + lane, taps.h, taps.w, taps.w * kBlock, kBlock,
                     columns + block * taps.h * kBlock + lane, rows + block * taps.w * kBlock + lane)) {
      return parts;
    }
  }
  parts.factors = std::move(factors);
  return parts;
}

// Pixel `p` of a padded line -> pixel of the line of `size`, -1 where it is zero.
inline int32_t PaddedSource(int64_t p, int64_t size, Pad pad) {
  if (p >= 0 && p < size) return static_cast<int32_t>(p);
  switch (pad) {
    case Pad::kZero:
      break;
    case Pad::kCircular:
      return static_cast<int32_t>((p % size + size) % size);
    case Pad::kReflect:
      return static_cast<int32_t>(p < 0 ? -p : 2 * (size - 1) - p);
    case Pad::kReplicate:
      return static_cast<int32_t>(p < 0 ? 0 : size - 1);
  }
  return -1;
}

struct Line {  // one axis of a plan
  const char* name;
  size_t size, k, stride, dil;
  int before, after;
  Pad pad;
};
struct LinePlan {
  size_t out = 0, stride = 1, dil = 1, padded = 0, mapped = 0;
};
inline LinePlan PlanLine(const Line& l) {
  const char* const what = "DepthwisePlan";
  constexpr size_t kMost = std::numeric_limits<int32_t>::max() / 4;
  if (l.size > kMost) Fail("%s: %s is %zu, must be at most %zu", what, l.name, l.size, kMost);
  const size_t before = static_cast<size_t>(l.before), after = static_cast<size_t>(l.after);
  if (l.pad != Pad::kZero && l.size == 0 && before + after != 0) {
    Fail("%s: %s is 0, %s padding needs at least 1", what, l.name, NameOf(l.pad));
  }
  if (l.pad == Pad::kReflect && std::max(before, after) >= std::max<size_t>(l.size, 1)) {
    Fail("%s: %s is %zu, reflect padding is %zu and %zu there, must be smaller", what, l.name, l.size, before, after);
  }
  LinePlan r;
  const size_t span = l.dil * (l.k - 1) + 1;
  r.padded = l.size + before + after;
  if (r.padded > kMost) Fail("%s: %s is %zu with padding, must be at most %zu", what, l.name, r.padded, kMost);
  if (r.padded < span && l.size != 0) {
    Fail("%s: %s is %zu with padding, the kernel spans %zu", what, l.name, r.padded, span);
  }
  r.out = r.padded < span ? 0 : (r.padded - span) / l.stride + 1;
  r.stride = r.out > 1 ? l.stride : 1;  // so that maps and scratch follow the image, not the step beyond it
  r.dil = l.k > 1 ? l.dil : 1;
  r.mapped = MappedSize(r.out, l.k, r.stride, r.dil);
  return r;
}
inline void FillMap(const Line& l, const LinePlan& p, int32_t* map) {
  for (size_t i = 0; i < p.mapped; ++i) {
    map[i] = i < p.padded ? PaddedSource(static_cast<int64_t>(i) - l.before, static_cast<int64_t>(l.size), l.pad) : -1;
  }
}
inline void FillTaps(const Line& l, const LinePlan& p, const int32_t* map, float* taps) {
  for (size_t i = 0; i < p.out; ++i) {
    size_t inside = 0;
    for (size_t k = 0; k < l.k; ++k) inside += map[i * p.stride + k * p.dil] >= 0;
    taps[i] = inside == 0 ? std::numeric_limits<float>::infinity() : static_cast<float>(inside);
  }
}

using internal::TableIndex;  // for the dispatch macros
LUTRA_DISPATCHED(SpectraBlockFor, SpectraBlock)

// The spectra of all blocks, by the executor's workers. Of a Share each thread has a plan of its own: what its part of
// the tasks left is done here.
template <int64_t kTargets>
SharedBytes MakeSpectra(const DepthwiseKernelParts& kernel, const DepthwiseShape& s, const FftPlan& plan,
                        const SpectraLayout& layout, const Executor& executor) {
  SpectraArgs a;
  a.layout = layout;
  a.taps = static_cast<const float*>(kernel.memory.data());
  a.kh = s.kh;
  a.kw = s.kw;
  a.c = s.c;
  a.rows_by = fft::CircleOf(plan.rows.points);
  a.columns_by = fft::CircleOf(plan.columns.points);
  a.x = StepsOf(RowLine(s), TapsOf(RowLine(s)), plan.rows.points, plan.rows.turn);
  a.y = StepsOf(ColumnLine(s), TapsOf(ColumnLine(s)), plan.columns.points, plan.columns.turn);
  const size_t blocks = (s.c + kTapBlock - 1) / kTapBlock, workers = std::max<size_t>(executor.workers, 1);
  const auto row_n = static_cast<size_t>(plan.rows.points), column_n = static_cast<size_t>(plan.columns.points);
  const size_t worker_doubles = SpectraScratchDoubles(s.kh, s.kw, a.rows_by);
  SharedBytes spectra(internal::CheckedSize("DepthwisePlan: spectra", blocks, layout.Block(a.rows_by, a.columns_by)) *
                      SizeOf(layout.type));
  const auto columns = static_cast<size_t>(a.rows_by.Columns());
  const SharedBytes memory(internal::CheckedSize("DepthwisePlan: scratch", workers, worker_doubles) * sizeof(double) +
                           columns * sizeof(RowFrequency) + 2 * (row_n + column_n) * sizeof(double) + blocks);
  auto* const frequencies = static_cast<RowFrequency*>(memory.data());
  a.frequencies = frequencies;
  size_t found = 0;
  for (int part = 0; part < a.rows_by.parts; ++part) {
    fft::ForHalf(a.rows_by.part, [&](int fa, int fb, bool alone) {
      frequencies[found++] = {static_cast<size_t>(a.rows_by.FrequencyOf(fa, fb, part)),
                              (alone ? 1.0 : 2.0) / static_cast<double>(row_n * column_n)};
    });
  }
  auto* const turns = reinterpret_cast<double*>(frequencies + columns);
  for (size_t i = 0; i < row_n + column_n; ++i) {
    const fft::UnitVector u = i < row_n ? fft::UnitAt(static_cast<int>(i), plan.rows.points)
                                        : fft::UnitAt(static_cast<int>(i - row_n), plan.columns.points);
    turns[2 * i] = u.cos;
    turns[2 * i + 1] = u.sin;
  }
  a.row_turns = turns;
  a.column_turns = turns + 2 * row_n;
  a.spectra = spectra.data();

  struct Job {
    const SpectraArgs* args;
    double* scratch;
    size_t worker_doubles;
    unsigned char* done;
    decltype(SpectraBlockFor<kTargets>(0)) block;
  } const job{&a, turns + 2 * (row_n + column_n), worker_doubles,
              reinterpret_cast<unsigned char*>(turns + 2 * (row_n + column_n) + workers * worker_doubles),
              SpectraBlockFor<kTargets>(0)};
  const auto task = [](const void* of, size_t i, size_t worker) {
    const Job& j = *static_cast<const Job*>(of);
    j.block(*j.args, i, j.scratch + worker * j.worker_doubles);
    j.done[i] = 1;
  };
  if (executor.run != nullptr) executor.run(executor, blocks, task, &job);
  for (size_t i = 0; i < blocks; ++i) {
    if (job.done[i] == 0) task(&job, i, 0);
  }
  return spectra;
}

// times[point of the circle, part by part, second-factor outside] = its time.
inline int32_t* FillTimes(const fft::Circle& circle, int32_t* times) {
  for (int p = 0; p < circle.parts; ++p) {
    for (int a = 0; a < circle.part.second; ++a) {
      for (int b = 0; b < circle.part.first; ++b) *times++ = circle.TimeOf(a, b, p);
    }
  }
  return times;
}

template <int64_t kTargets>
DepthwisePlanParts MakePlan(const DepthwiseKernelParts& kernel, size_t h, size_t w, Layout layout, ConvAlgo algo,
                            const Executor& executor, DType spectra, const DepthwisePlanParts* like) {
  const char* const what = "DepthwisePlan";
  if (spectra != DType::kF32 && spectra != DType::kBF16) {
    Fail("%s: spectra are %s, must be f32 or bf16", what, NameOf(spectra));
  }
  if (layout > Layout::kNchw) Fail("%s: layout is %d, not a Layout", what, static_cast<int>(layout));
  if (algo > ConvAlgo::kSeparable) Fail("%s: algo is %d, not a ConvAlgo", what, static_cast<int>(algo));
  const ConvGeometry& g = kernel.geometry;
  const Line vertical{"h", h, kernel.h, g.stride_h, g.dil_h, g.top, g.bottom, g.pad};
  const Line horizontal{"w", w, kernel.w, g.stride_w, g.dil_w, g.left, g.right, g.pad};
  const LinePlan rows = PlanLine(vertical), cols = PlanLine(horizontal);
  const DepthwiseShape shape{kernel.h, kernel.w, h, w,      rows.out,
                             cols.out, kernel.c, g, layout, kernel.factors.bytes() != 0};

  FftPlan by_fft = FftPlanOf(shape);
  if (like != nullptr && like->algo == ConvAlgo::kFft) {
    by_fft = Sharing(by_fft, shape, {like->fft_rows, like->fft_columns},
                     {kernel.h, kernel.w, like->h, like->w, like->out_h, like->out_w, kernel.c, g, layout});
  }
  if (by_fft.reason == nullptr && FftLanesOf<kTargets>(0)() == 0) {
    by_fft.reason = "this CPU's target has no transforms";
  }
  if (kernel.integer) by_fft.reason = "the taps are integers";
  if (algo == ConvAlgo::kFft && by_fft.reason != nullptr) {
    Fail("%s: algo is kFft, which can't run: %s", what, by_fft.reason);
  }
  ConvGeometry run = g;
  run.stride_h = rows.stride;
  run.stride_w = cols.stride;
  run.dil_h = rows.dil;
  run.dil_w = cols.dil;
  const auto separable_task = [&](bool in_place) {
    return SeparableTaskOf(kernel.h, kernel.w, run, w, rows.out, cols.out, layout, in_place, kMostLanes);
  };
  SeparableNeeds separable{0, kernel.integer ? "the taps are integers" : WhyNotSeparable(shape)};
  if (algo == ConvAlgo::kSeparable && separable.reason != nullptr) {
    Fail("%s: algo is kSeparable, which can't run: %s", what, separable.reason);
  }
  if (separable.reason == nullptr) separable.scratch = separable_task(false).bytes;
  const DepthwiseChoice choice = ChooseDepthwise(shape, by_fft, separable, algo);
  const bool transforms = choice.algo == ConvAlgo::kFft;
  const size_t times = transforms ? static_cast<size_t>(by_fft.rows.points + by_fft.columns.points) : 0;

  DepthwisePlanParts p;
  p.memory = SharedBytes((rows.mapped + cols.mapped + times) * sizeof(int32_t) +
                         (g.reweight ? rows.out + cols.out : 0) * sizeof(float));
  p.h = h;
  p.w = w;
  p.out_h = rows.out;
  p.out_w = cols.out;
  p.rows = rows.mapped;
  p.cols = cols.mapped;
  p.run = run;
  p.layout = layout;
  p.algo = choice.algo;
  p.reason = choice.reason;
  p.against = choice.against;
  p.separable = choice.separable;
  p.in_place_ok = p.out_h == h && p.out_w == w;
  p.pointwise = kernel.h == 1 && kernel.w == 1 && rows.padded == h && cols.padded == w && p.in_place_ok;
  auto* const map = static_cast<int32_t*>(p.memory.data());
  FillMap(vertical, rows, map);
  FillMap(horizontal, cols, map + rows.mapped);
  if (g.reweight) {
    auto* const taps = reinterpret_cast<float*>(map + rows.mapped + cols.mapped + times);
    FillTaps(vertical, rows, map, taps);
    FillTaps(horizontal, cols, map + rows.mapped, taps + rows.out);
  }

  if (kernel.integer) {
    const auto bytes = [&](bool in_place) {
      return IntScratch(kernel.h, kernel.w, p.run, h, w, p.out_w, layout, in_place).bytes;
    };
    p.scratch = bytes(false);
    p.scratch_in_place = bytes(!p.pointwise);
  } else if (p.algo == ConvAlgo::kSeparable) {
    p.scratch = separable.scratch;
    if (p.in_place_ok) p.scratch_in_place = separable_task(true).bytes;
  } else if (layout == Layout::kNchw) {  // for kFft as well: on targets without transforms it runs direct
    p.scratch = NchwScratch(kernel.h, kernel.w, p.run, p.out_h, p.out_w, false, kMostLanes).bytes;
    p.scratch_in_place =
        p.pointwise ? p.scratch : NchwScratch(kernel.h, kernel.w, p.run, p.out_h, p.out_w, true, kMostLanes).bytes;
    const auto turned = [&](bool in_place) {
      return TurnedTaskOf(kernel.h, p.run, h, w, p.out_h, p.out_w, in_place).bytes;
    };
    p.turned = p.algo == ConvAlgo::kDirect && TurnsPlanes(shape);
    p.turned_in_place = p.turned && p.in_place_ok && turned(true) <= Context::kDefaultScratch;
    if (p.turned) p.scratch = turned(false);
    if (p.turned_in_place) p.scratch_in_place = turned(true);
  } else if (!p.pointwise && p.in_place_ok) {
    p.scratch_in_place = internal::CheckedSize(what, h, w, std::min(kernel.c, kTapBlock)) * sizeof(float);
  }
  if (transforms) {
    FillTimes(fft::CircleOf(by_fft.rows.points),
              FillTimes(fft::CircleOf(by_fft.columns.points), map + rows.mapped + cols.mapped));
    p.spectra_type = spectra;
    if (by_fft.shares) {
      p.spectra_real = like->spectra_real;
      by_fft.rows.turn = like->fft_rows.turn;
      by_fft.columns.turn = like->fft_columns.turn;
      p.spectra = like->spectra;
    } else {
      const FftTaps x = TapsOf(RowLine(shape)), y = TapsOf(ColumnLine(shape));
      const Centre across = CentreOf(RowLine(shape), x), down = CentreOf(ColumnLine(shape), y);
      p.spectra_real =
          across.has && down.has &&
          IsReflection(static_cast<const float*>(kernel.memory.data()), kernel.h, kernel.w, kernel.c, y, x);
      if (p.spectra_real) {
        by_fft.rows.turn = across.time;
        by_fft.columns.turn = down.time;
      }
      p.spectra = MakeSpectra<kTargets>(kernel, shape, by_fft, {spectra, p.spectra_real}, executor);
    }
    p.fft_rows = by_fft.rows;
    p.fft_columns = by_fft.columns;
    const size_t scratch =
        FftScratchBytes(by_fft.rows, by_fft.columns, SpectraLayout{spectra, p.spectra_real}.Compact());
    p.scratch = std::max(p.scratch, scratch);
    if (p.in_place_ok) {
      const bool tiles = by_fft.rows.tiles * by_fft.columns.tiles > 1;
      const size_t copy = internal::CheckedSize(what, h, w, std::min(kernel.c, kTapBlock)) * sizeof(float);
      p.scratch_in_place = std::max(p.scratch_in_place, scratch + (tiles ? copy : 0));
    }
  }
  if (!kernel.integer && layout == Layout::kNhwc && p.algo != ConvAlgo::kSeparable) {
    const size_t task_rows = NhwcTaskRows(p.out_h, p.run);
    size_t most = 0;
    for (size_t y = 0; y < p.out_h; y += task_rows) {
      const RowRange range = RowsOf(map, p.run, kernel.h, y, std::min(p.out_h, y + task_rows));
      most = std::max(most, range.end - range.begin);
    }
    p.scratch_16 = internal::CheckedSize(what, most, w, std::min(kernel.c, kTapBlock)) * sizeof(float);
  }
  return p;
}

inline std::string ExplainDepthwise(const DepthwisePlan& plan) {
  const DepthwiseKernel& k = plan.kernel();
  const ConvGeometry& g = k.geometry();
  char fft[256], direct[256], separable[256], text[1280];
  const DepthwisePlanParts& p = plan.parts();
  if (p.algo == ConvAlgo::kFft) {
    std::snprintf(fft, sizeof(fft),
                  "chosen, %s. Transforms of %d x %d points, %zu x %zu tiles of an image, %zu bytes of spectra (%s%s). "
                  "Bound: L1 and L2",
                  p.reason, p.fft_columns.points, p.fft_rows.points, p.fft_columns.tiles, p.fft_rows.tiles,
                  p.spectra.bytes(), NameOf(p.spectra_type), p.spectra_real ? ", real: the taps are symmetric" : "");
    std::snprintf(direct, sizeof(direct), "not chosen: %s", p.against);
  } else {
    std::snprintf(fft, sizeof(fft), "not chosen: %s", p.against);
    std::snprintf(direct, sizeof(direct), "chosen, %s%s. Bound: %s", p.reason,
                  p.turned ? "; planes turn into lanes and back" : "",
                  k.integer() ? "the multiply's peak (4-way dot, or pairs of 16 bits)" : "the FMA peak");
  }
  std::snprintf(separable, sizeof(separable), "not chosen: %s", p.separable);
  if (p.algo == ConvAlgo::kSeparable) {
    std::snprintf(direct, sizeof(direct), "not chosen: %s", p.against);
    std::snprintf(separable, sizeof(separable), "chosen, %s. Two bands. Bound: the FMA peak", p.reason);
  }
  std::snprintf(text, sizeof(text),
                "depthwise %zu x %zu, stride %zu x %zu, dilation %zu x %zu, %s padding %d %d %d %d (top left bottom "
                "right)%s, %zu channels, %s, %zu x %zu -> %zu x %zu\n"
                "  direct: %s\n  fft: %s\n  separable: %s\n  %.4g multiply-adds an image\n"
                "  scratch per worker: %zu bytes, in place %zu bytes%s\n",
                k.h(), k.w(), g.stride_h, g.stride_w, g.dil_h, g.dil_w, NameOf(g.pad), g.top, g.left, g.bottom, g.right,
                g.reweight ? ", re-weighted" : "", plan.c(), plan.layout() == Layout::kNhwc ? "NHWC" : "NCHW", plan.h(),
                plan.w(), plan.out_h(), plan.out_w(), direct, fft, separable,
                static_cast<double>(plan.out_h()) * static_cast<double>(plan.out_w()) * static_cast<double>(plan.c()) *
                    static_cast<double>(k.h()) * static_cast<double>(k.w()),
                plan.scratch_per_worker(), plan.scratch_per_worker(true),
                plan.in_place_ok() ? "" : " (not possible: the output has another size)");
  return text;
}

}}}  // namespace lutra::LUTRA_NS::depthwise

namespace lutra { inline namespace LUTRA_API_NS { namespace plans {

LUTRA_INLINE DepthwiseKernelParts BuildKernel(const ConstImageView& taps, const ConvGeometry& geometry,
                                              const ConvQuant& quant) {
  return depthwise::MakeKernel(taps, geometry, quant);
}
LUTRA_INLINE DepthwisePlanParts BuildPlan(const DepthwiseKernelParts& kernel, size_t h, size_t w, Layout layout,
                                          ConvAlgo algo, const Executor& executor, DType spectra,
                                          const DepthwisePlanParts* like) {
  return depthwise::MakePlan<HWY_TARGETS>(kernel, h, w, layout, algo, executor, spectra, like);
}

}}}  // namespace lutra::LUTRA_API_NS::plans
