// Depthwise convolution by prime-factor transforms (fft/pass.h): NHWC, f32, stride 1, zero padding.
// A task convolves the channels of one block, a vector at a time: rows of the image into columns, columns times the
// kernel's spectrum, columns into rows of the output. Lanes never meet.
// Needs   checked arguments (job.h), spectra (SpectraBlock). Touches no element outside of the views.
// Bound   loads and stores of L1 in columns (within 7 %), of L2 in rows.
#if defined(LUTRA_DEPTHWISE_FFT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_DEPTHWISE_FFT_INL_H_
#undef LUTRA_DEPTHWISE_FFT_INL_H_
#else
#define LUTRA_DEPTHWISE_FFT_INL_H_
#endif

#include "lutra/depthwise/args.h"
#include "lutra/depthwise/direct-inl.h"
#include "lutra/depthwise/finish-inl.h"
#include "lutra/fft/passes-inl.h"

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {
#if LUTRA_HAS_FFT

// Whether the passes can walk the image itself.
HWY_INLINE bool Walkable(ptrdiff_t pixel_step, size_t w) {
  return pixel_step >= 0 && pixel_step <= INT32_MAX / HWY_MAX(static_cast<ptrdiff_t>(w), 1);
}
inline void FillIndex(const fft::Length& l, size_t used, ptrdiff_t step, int32_t* index, ptrdiff_t unused = -1) {
  for (int a = 0; a < l.second; ++a) {
    for (int b = 0; b < l.first; ++b) {
      const int t = l.TimeOf(a, b);
      *index++ = static_cast<size_t>(t) < used ? static_cast<int32_t>(t * step) : static_cast<int32_t>(unused);
    }
  }
}
inline HWY_NOINLINE void StageFftRow(const float* in, ptrdiff_t step, size_t w, size_t lanes, float* to) {
  const FftTag d;
  for (size_t x = 0; x < w; ++x, in += step, to += kFftLanes) hn::Store(LoadSome(d, in, lanes), d, to);
}
inline HWY_NOINLINE void FinishFftRow(const DepthwiseArgs& a, const float* from, size_t row, size_t channel,
                                      size_t lanes, char* out, ptrdiff_t step) {
  const FftTag d;
  const float* const taps = a.row_taps == nullptr ? nullptr : a.row_taps + row / a.out.w % a.out.h;
  const auto weighted = [&](size_t x, auto v) LUTRA_TILE {
    return taps == nullptr ? v : hn::Mul(v, hn::Set(d, depthwise::Reweighting(a, *taps, a.row_taps[a.out.h + x])));
  };
  if (!a.plain) {
    HWY_ALIGN float sums[kFftLanes];
    for (size_t x = 0; x < a.out.w; ++x, from += kFftLanes, out += step) {
      hn::Store(weighted(x, hn::Load(d, from)), d, sums);
      FinishRun(a.epilogue, sums, row + x, channel, lanes, out, a.out.type);
    }
    return;
  }
  const bool relu = a.epilogue.act == Act::kRelu;
  const auto zero = hn::Zero(d),
             bias = a.epilogue.bias == nullptr ? zero : LoadSome(d, a.epilogue.bias + channel, lanes);
  for (size_t x = 0; x < a.out.w; ++x, from += kFftLanes, out += step) {
    auto v = hn::Add(weighted(x, hn::Load(d, from)), bias);
    if (relu) v = hn::IfThenZeroElse(hn::Lt(v, zero), v);
    StoreSome(d, v, reinterpret_cast<float*>(out), lanes);
  }
}

// Channels [c, c + lanes) of image n.
inline void FftGroup(const DepthwiseArgs& a, const fft::FirstPasses* first, const fft::SecondPasses* second, size_t n,
                     size_t c, size_t lanes, char* scratch) {
  using fft::Pass;
  const fft::Length rb = a.rows_by, cb = a.columns_by;
  const depthwise::FftScratch s(rb, cb, a.in.h, a.in.w, a.out.h, a.out.w, kFftLanes);
  auto* const rows_in = reinterpret_cast<int32_t*>(scratch + s.index);
  int32_t *const rows_out = rows_in + fft::kMostPoints, *const columns_in = rows_out + fft::kMostPoints,
                 *const columns_out = columns_in + fft::kMostPoints;
  char *const staged = scratch + s.staged, *const work = scratch + s.work, *const columns = scratch + s.columns;
  constexpr ptrdiff_t kFloat = sizeof(float), kLine = kFftLanes * kFloat;

  const auto size = static_cast<ptrdiff_t>(SizeOf(a.out.type));
  const float* const in = static_cast<const float*>(a.in.data) + At(n, a.in.sn) + c;
  char* const out = static_cast<char*>(a.out.data) + (At(n, a.out.sn) + static_cast<ptrdiff_t>(c)) * size;
  const ptrdiff_t out_step = a.out.sw * size;
  const bool bare = a.plain && a.epilogue.bias == nullptr && a.epilogue.act == Act::kNone && a.row_taps == nullptr;
  const bool from_image = lanes == kFftLanes && Walkable(a.in.sw * kFloat, a.in.w);
  const bool to_image = lanes == kFftLanes && bare && Walkable(out_step, a.out.w);
  FillIndex(rb, a.in.w, from_image ? a.in.sw * kFloat : kLine, rows_in);
  FillIndex(rb, a.out.w, to_image ? out_step : kLine, rows_out);
  FillIndex(cb, a.in.h, kSlot, columns_in);
  FillIndex(cb, a.out.h, kSlot, columns_out, ColumnBackSkips(cb.first) ? -1 : static_cast<ptrdiff_t>(s.pitch) - kSlot);

  const size_t row_groups = static_cast<size_t>(rb.second), pairs = static_cast<size_t>((rb.first - 1) / 2);
  const bool even = rb.first % 2 == 0;
  const auto pitch = static_cast<ptrdiff_t>(s.pitch),
             row_work = static_cast<ptrdiff_t>(fft::WorkBytes(rb, true, kFftLanes)),
             column_work = static_cast<ptrdiff_t>(fft::WorkBytes(cb, false, kFftLanes));
  // The columns of the first factor's frequency 0, of the pairs, and of first / 2.
  char *const paired = columns + (rb.second / 2 + 1) * pitch, *const last = paired + static_cast<ptrdiff_t>(pairs) *
                                                                                         rb.second * pitch;
  char *const work_paired = work + kWorkRow, *const work_last = work + rb.first / 2 * kWorkRow;

  for (size_t y = 0; y < a.in.h; y += s.row_batch) {
    const size_t batch = HWY_MIN(s.row_batch, a.in.h - y);
    const ptrdiff_t at = static_cast<ptrdiff_t>(y) * kSlot, staged_step = static_cast<ptrdiff_t>(a.in.w) * kLine;
    if (!from_image) {
      for (size_t i = 0; i < batch; ++i) {
        StageFftRow(in + At(y + i, a.in.sh), a.in.sw, a.in.w, lanes,
                    reinterpret_cast<float*>(staged + static_cast<ptrdiff_t>(i) * staged_step));
      }
    }
    const char* const from = from_image ? reinterpret_cast<const char*>(in + At(y, a.in.sh)) : staged;
    const ptrdiff_t step = from_image ? a.in.sh * kFloat : staged_step;
    first[0].row_forward(Pass{from, work, rows_in, nullptr, 0, 0, step, row_work, 0, row_groups, batch});
    second[0].row_forward_real(Pass{work, columns + at, nullptr, nullptr, pitch, 0, row_work, kSlot, 0, 1, batch});
    second[0].row_forward(
        Pass{work_paired, paired + at, nullptr, nullptr, pitch, pitch * rb.second, row_work, kSlot, 0, pairs, batch});
    if (even) {
      second[0].row_forward_real(Pass{work_last, last + at, nullptr, nullptr, pitch, 0, row_work, kSlot, 0, 1, batch});
    }
  }
  const size_t half = static_cast<size_t>(rb.Half()), points = static_cast<size_t>(cb.size),
               column_groups = static_cast<size_t>(cb.second), firsts = static_cast<size_t>(cb.first);
  constexpr size_t kFrequency = 2 * fft::kSpectrumLanes;
  const float* const spectrum = a.spectra + c / kTapBlock * depthwise::SpectraFloats(rb, cb) + c % kTapBlock;
  for (size_t f = 0; f < half; f += s.column_batch) {
    const size_t batch = HWY_MIN(s.column_batch, half - f);
    char* const at = columns + static_cast<ptrdiff_t>(f) * pitch;
    first[1].column_forward(Pass{at, work, columns_in, nullptr, 0, 0, pitch, column_work, 0, column_groups, batch});
    second[1].column_middle(Pass{work, work, nullptr, spectrum + f * points * kFrequency, 0, 0, column_work,
                                 column_work, static_cast<ptrdiff_t>(points * kFrequency), firsts, batch});
    first[1].column_back(Pass{work, at, columns_out, nullptr, 0, 0, column_work, pitch, 0, column_groups, batch});
  }
  for (size_t y = 0; y < a.out.h; y += s.row_batch) {
    const size_t batch = HWY_MIN(s.row_batch, a.out.h - y);
    const ptrdiff_t at = static_cast<ptrdiff_t>(y) * kSlot, staged_step = static_cast<ptrdiff_t>(a.out.w) * kLine;
    char* const rows = out + At(y, a.out.sh) * size;
    second[0].row_back_real(Pass{columns + at, work, nullptr, nullptr, pitch, 0, kSlot, row_work, 0, 1, batch});
    second[0].row_back(
        Pass{paired + at, work_paired, nullptr, nullptr, pitch, pitch * rb.second, kSlot, row_work, 0, pairs, batch});
    if (even) {
      second[0].row_back_real(Pass{last + at, work_last, nullptr, nullptr, pitch, 0, kSlot, row_work, 0, 1, batch});
    }
    first[0].row_back(Pass{work, to_image ? rows : staged, rows_out, nullptr, 0, 0, row_work,
                           to_image ? a.out.sh * size : staged_step, 0, row_groups, batch});
    if (to_image) continue;
    for (size_t i = 0; i < batch; ++i) {
      FinishFftRow(a, reinterpret_cast<const float*>(staged + static_cast<ptrdiff_t>(i) * staged_step),
                   (n * a.out.h + y + i) * a.out.w, c, lanes, rows + At(i, a.out.sh) * size, out_step);
    }
  }
}

// One task.
template <class = void>
int64_t FftNhwc(const DepthwiseArgs* args, size_t task, void* scratch) {
  if (args == nullptr) return HWY_TARGET;
  const DepthwiseArgs& a = *args;
  const DepthwisePiece piece = depthwise::PieceOf(a, task);
  const fft::FirstPasses first[2] = {FirstPassesFor(a.rows_by.first), FirstPassesFor(a.columns_by.first)};
  const fft::SecondPasses second[2] = {SecondPassesFor(a.rows_by.second), SecondPassesFor(a.columns_by.second)};
  for (size_t c = piece.c_begin; c < piece.c_end; c += kFftLanes) {
    FftGroup(a, first, second, piece.n, c, HWY_MIN(kFftLanes, piece.c_end - c), static_cast<char*>(scratch));
  }
  return HWY_TARGET;
}

#else  // no transforms: plans made here choose direct, and those made for another target run it

template <class = void>
int64_t FftNhwc(const DepthwiseArgs* args, size_t task, void* scratch) {
  return DirectNhwc(args, task, scratch);
}

#endif

// The spectra of one block of channels, in double, rounded once; Mul and Add, so equal on all targets.
inline void SpectraBlock(const depthwise::SpectraArgs& a, size_t block, double* scratch) {
  const hn::CappedTag<double, kTapBlock> d;
  const hn::Rebind<float, decltype(d)> df;
  const size_t lanes = hn::Lanes(d), half = static_cast<size_t>(a.rows_by.Half());
  double* const row = scratch;                        // a row of taps: [kw][16]
  double* const across = scratch + a.kw * kTapBlock;  // its transform, of all rows: [kh][half]{16 re, 16 im}
  const float* const taps = a.taps + block * a.kh * a.kw * kTapBlock;
  float* const spectra = a.spectra + block * depthwise::SpectraFloats(a.rows_by, a.columns_by);
  const depthwise::FftTaps &x = a.x, &y = a.y;
  const auto points = static_cast<size_t>(a.columns_by.size);

  for (size_t ky = y.begin; ky < y.end; ++ky) {
    for (size_t i = x.begin * kTapBlock; i < x.end * kTapBlock; ++i) row[i] = double{taps[ky * a.kw * kTapBlock + i]};
    double* to = across + ky * half * 2 * kTapBlock;
    for (size_t i = 0; i < half; ++i, to += 2 * kTapBlock) {
      const size_t n = static_cast<size_t>(a.rows_by.size), f = a.frequencies[i].frequency;
      const size_t first = x.first * f % n, step = x.step * f % n;
      const auto weight = hn::Set(d, a.frequencies[i].weight);
      for (size_t lane = 0; lane < kTapBlock; lane += lanes) {
        auto re = hn::Zero(d), im = hn::Zero(d);
        size_t turn = first;
        for (size_t kx = x.begin; kx < x.end; ++kx) {
          const auto tap = hn::LoadU(d, row + kx * kTapBlock + lane);
          re = hn::Add(re, hn::Mul(tap, hn::Set(d, a.row_turns[2 * turn])));
          im = hn::Add(im, hn::Mul(tap, hn::Set(d, a.row_turns[2 * turn + 1])));
          turn += step;
          if (turn >= n) turn -= n;
        }
        hn::StoreU(hn::Mul(re, weight), d, to + lane);
        hn::StoreU(hn::Mul(im, weight), d, to + kTapBlock + lane);
      }
    }
  }
  const auto put = [&](size_t f, size_t g, size_t lane, auto re, auto im) LUTRA_TILE {
    const auto first = static_cast<size_t>(a.columns_by.first), second = static_cast<size_t>(a.columns_by.second);
    float* const to = spectra + (f * points + g % first * second + g % second) * 2 * kTapBlock + lane;
    hn::StoreU(hn::DemoteTo(df, re), df, to);
    hn::StoreU(hn::DemoteTo(df, im), df, to + kTapBlock);
  };
  for (size_t f = 0; f < half; ++f) {
    for (size_t g = 0; 2 * g <= points; ++g) {  // with g, also -g: the same sums of cosines and of sines
      const size_t first = y.first * g % points, step = y.step * g % points;
      for (size_t lane = 0; lane < kTapBlock; lane += lanes) {
        auto cos_re = hn::Zero(d), cos_im = hn::Zero(d), sin_re = hn::Zero(d), sin_im = hn::Zero(d);
        size_t turn = first;
        for (size_t ky = y.begin; ky < y.end; ++ky) {
          const double* const from = across + (ky * half + f) * 2 * kTapBlock + lane;
          const auto re = hn::LoadU(d, from), im = hn::LoadU(d, from + kTapBlock);
          const auto cos = hn::Set(d, a.column_turns[2 * turn]), sin = hn::Set(d, a.column_turns[2 * turn + 1]);
          cos_re = hn::Add(cos_re, hn::Mul(re, cos));
          cos_im = hn::Add(cos_im, hn::Mul(im, cos));
          sin_re = hn::Add(sin_re, hn::Mul(re, sin));
          sin_im = hn::Add(sin_im, hn::Mul(im, sin));
          turn += step;
          if (turn >= points) turn -= points;
        }
        put(f, g, lane, hn::Sub(cos_re, sin_im), hn::Add(cos_im, sin_re));
        if (g != 0) put(f, points - g, lane, hn::Add(cos_re, sin_im), hn::Sub(cos_im, sin_re));
      }
    }
  }
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
