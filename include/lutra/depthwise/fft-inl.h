// Depthwise convolution by prime-factor transforms (fft/pass.h), tile by tile (fft.h), any layout, padding and stride.
// A task convolves the channels of one block, a vector at a time: rows of the image into columns, columns times the
// kernel's spectrum, columns into rows of the output. Lanes never meet.
// Needs   checked arguments (job.h), spectra (SpectraBlock). Touches no element outside of the views.
// Bound   loads and stores of L1 in columns (within 7 %), of L2 in rows; where images and spectra come from memory,
// they.
#if defined(LUTRA_DEPTHWISE_FFT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_DEPTHWISE_FFT_INL_H_
#undef LUTRA_DEPTHWISE_FFT_INL_H_
#else
#define LUTRA_DEPTHWISE_FFT_INL_H_
#endif

#include "lutra/depthwise/args.h"
#include "lutra/depthwise/finish-inl.h"
#include "lutra/depthwise/lanes-inl.h"
#include "lutra/fft/passes-inl.h"

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {
#if LUTRA_HAS_FFT

// Whether the passes can walk the image itself.
HWY_INLINE bool Walkable(ptrdiff_t pixel_step, size_t w) {
  return pixel_step >= 0 && pixel_step <= INT32_MAX / HWY_MAX(static_cast<ptrdiff_t>(w), 1);
}

// index[point] = at(i) where the point's time is lo + i, whole turns apart, i < count; else -1.
template <class At>
HWY_INLINE void FillIndex(const int32_t* times, int points, int64_t lo, int64_t count, int32_t* index, const At& at) {
  const int64_t turn = lo % points, first = turn < 0 ? turn + points : turn;
  for (int i = 0; i < points; ++i) {
    const int64_t from_first = times[i] < first ? times[i] - first + points : times[i] - first;
    index[i] = from_first < count ? at(from_first) : -1;
  }
}

HWY_INLINE void PrefetchL2(uintptr_t at) { __builtin_prefetch(reinterpret_cast<const void*>(at), 0, 2); }

// Lines of pixels (NHWC) that are needed soon, asked for into L2 some at a time: memory works while the core computes.
// No prefetcher of a CPU sees them come: a pixel's next is `channels` away.
struct LinesAhead {
  uintptr_t at = 0;  // no pointer: it may come to stand behind the image
  uintptr_t pixel_step = 0, row_step = 0;
  size_t cols = 0, rows = 0, col = 0;

  LinesAhead() = default;
  // `channels` channels of h x w pixels, the first of them element `first` of the view. The last byte of each
  // counts: the first may stand in a line that came with the channels before.
  template <class View>
  LinesAhead(const View& v, ptrdiff_t first, size_t channels, size_t h, size_t w) : cols(w), rows(w == 0 ? 0 : h) {
    const auto bytes = [&](ptrdiff_t elements) {
      return static_cast<uintptr_t>(elements * static_cast<ptrdiff_t>(SizeOf(v.type)));
    };
    at = reinterpret_cast<uintptr_t>(v.data) + bytes(first + static_cast<ptrdiff_t>(channels)) - 1;
    pixel_step = bytes(v.sw);
    row_step = bytes(v.sh) - cols * pixel_step;
  }
  size_t Lines() const { return rows * cols; }
  void Ask(size_t lines) {
    while (lines != 0 && rows != 0) {
      const size_t count = HWY_MIN(lines, cols - col);
      uintptr_t line = at;
      for (size_t i = 0; i < count; ++i, line += pixel_step) PrefetchL2(line);
      at = line;
      lines -= count;
      col += count;
      if (col != cols) continue;
      at += row_step;
      col = 0;
      --rows;
    }
  }
};

struct FftRun {
  const DepthwiseArgs& a;
  const FftGroup& g;
  const fft::Circle rb, cb;
  const depthwise::FftScratch s;
  const fft::FirstPasses row_first, column_first;
  const fft::SecondPasses row_second, column_second;
  const fft::AcrossPasses row_across, column_across;
  const bool planes;
  char* const scratch;
  // Input of this group, if nobody asked for it before, output of this group, input of the next.
  LinesAhead in_now{}, out_soon{}, in_next{};

  int32_t* Index(int table) const { return reinterpret_cast<int32_t*>(scratch + s.index) + table * fft::kMostCircle; }
  float* Staged() const { return reinterpret_cast<float*>(scratch + s.staged); }
  float* Lines() const { return reinterpret_cast<float*>(scratch + s.lines); }
  char* Column(size_t part, size_t f) const {
    return scratch + s.columns + (part * static_cast<size_t>(rb.part.Half()) + f) * s.pitch;
  }
  ptrdiff_t Pitch() const { return static_cast<ptrdiff_t>(s.pitch); }
  ptrdiff_t RowWork() const { return static_cast<ptrdiff_t>(fft::WorkBytes(rb.part, true, kFftLanes)); }
  // A part's second passes, forward or back: frequency 0 of the first factor (real), pairs, first / 2 (real).
  template <class Visit>
  HWY_INLINE void Seconds(size_t part, ptrdiff_t slot, const Visit& visit) const {
    const fft::Length& l = rb.part;
    const int pairs = (l.first - 1) / 2;
    char *const work = scratch + s.work, *const column = Column(part, 0) + slot;
    char* const paired = column + (l.second / 2 + 1) * Pitch();
    visit(true, work, column, size_t{1});
    visit(false, work + kWorkRow, paired, static_cast<size_t>(pairs));
    if (l.first % 2 == 0) visit(true, work + l.first / 2 * kWorkRow, paired + pairs * l.second * Pitch(), size_t{1});
  }

  const float* Spectrum(const depthwise::SpectraLayout& layout, size_t frequency, size_t count) const;
  LinesAhead InputOf(const FftProblem& p, size_t c) const;
  LinesAhead OutputOf(const FftProblem& p) const;
  void SpectrumAhead(const depthwise::SpectraLayout& layout, size_t frequency, size_t count) const;
  size_t Forward();  // how many rows of the image
  void Columns(size_t rows);
  void Back() const;
};

inline HWY_NOINLINE LinesAhead FftRun::InputOf(const FftProblem& p, size_t c) const {
  const FftAxis &x = a.plan->fft_rows, &y = a.plan->fft_columns;
  const int64_t y0 = HWY_MAX(p.top + y.lo, int64_t{0}), y1 = HWY_MIN(p.top + y.hi, static_cast<int64_t>(a.in.h));
  const int64_t x0 = HWY_MAX(p.left + x.lo, int64_t{0}), x1 = HWY_MIN(p.left + x.hi, static_cast<int64_t>(a.in.w));
  if (y0 >= y1 || x0 >= x1) return {};
  return {a.in, InputAt(a, p, static_cast<int32_t>(y0), c) + x0 * a.in.sw, HWY_MIN(kTapBlock, a.out.c - c),
          static_cast<size_t>(y1 - y0), static_cast<size_t>(x1 - x0)};
}
inline HWY_NOINLINE LinesAhead FftRun::OutputOf(const FftProblem& p) const {
  return {a.out, At(p.n, a.out.sn) + At(p.y, a.out.sh) + At(p.x, a.out.sw) + static_cast<ptrdiff_t>(g.c),
          HWY_MIN(kTapBlock, a.out.c - g.c), p.rows, p.cols};
}

inline HWY_NOINLINE size_t FftRun::Forward() {
  constexpr ptrdiff_t kFloat = sizeof(float), kLine = kFftLanes * kFloat;
  const FftAxis &x = a.plan->fft_rows, &y = a.plan->fft_columns;
  const FftProblem& p0 = g.problem[0];
  const int64_t height = y.hi - y.lo, width = x.hi - x.lo;
  int32_t *const row_of = reinterpret_cast<int32_t*>(scratch + s.entries), *const stands = row_of + fft::kMostCircle;
  int32_t *const rows_in = Index(0), *const columns_in = Index(2);

  // Rows to transform, each once, and where the rows of the tile stand among them.
  int32_t low = INT32_MAX, high = -1;
  for (int64_t i = 0; i < height; ++i) {
    const int32_t row = stands[i] = RowAt(a, p0.top + y.lo + i);
    if (row < 0) continue;
    low = HWY_MIN(low, row);
    high = HWY_MAX(high, row);
  }
  size_t entries = high < 0 ? 0 : static_cast<size_t>(high - low) + 1;
  const bool shared = g.problems == 1 && entries <= static_cast<size_t>(height);
  if (!shared) entries = static_cast<size_t>(height);
  for (size_t i = 0; i < entries; ++i) row_of[i] = shared ? low + static_cast<int32_t>(i) : stands[i];
  FillIndex(depthwise::ColumnTimes(a), cb.Size(), y.lo, height, columns_in, [&](int64_t i) {
    if (shared) return stands[i] < 0 ? -1 : (stands[i] - low) * static_cast<int32_t>(kSlot);
    return g.problems == 1 && stands[i] < 0 ? -1 : static_cast<int32_t>(i) * static_cast<int32_t>(kSlot);
  });

  const bool walks = !planes && g.problems == 1 && g.channels == kFftLanes && a.in.type == DType::kF32 &&
                     Walkable(a.in.sw * kFloat, a.in.w);
  FillIndex(depthwise::RowTimes(a), rb.Size(), x.lo, width, rows_in, [&](int64_t i) {
    const int32_t column = ColumnAt(a, p0.left + x.lo + i);
    if (walks) return column < 0 ? -1 : column * static_cast<int32_t>(a.in.sw * kFloat);
    return g.problems == 1 && column < 0 ? -1 : static_cast<int32_t>(i) * static_cast<int32_t>(kLine);
  });

  const size_t line = static_cast<size_t>(width) * kFftLanes;
  in_now.Ask(s.row_batch * static_cast<size_t>(width));
  for (size_t i = 0; i < entries;) {
    size_t batch = 1;  // of rows side by side
    while (batch < s.row_batch && i + batch < entries && (!walks || row_of[i + batch] == row_of[i + batch - 1] + 1)) {
      ++batch;
    }
    in_now.Ask(batch * static_cast<size_t>(width));
    const char* from = reinterpret_cast<const char*>(Staged());
    if (walks) {
      if (row_of[i] < 0) {  // nobody asks for it
        ++i;
        continue;
      }
      from = static_cast<const char*>(a.in.data) + InputAt(a, p0, row_of[i], g.c) * kFloat;
    } else {
      const bool runs = planes && shared && StageRuns(a, g, row_of[i], batch, Staged());
      for (size_t k = 0; k < batch && !runs; ++k) {
        int32_t rows[kFftLanes] = {row_of[i + k]};
        for (size_t q = 1; q < g.problems; ++q) {
          rows[q] = RowAt(a, g.problem[q].top + y.lo + static_cast<int64_t>(i + k));
        }
        if (planes) {
          StagePlanes(a, g, rows, Lines(), s.line, Staged() + k * line);
        } else {
          StagePixels(a, g, rows, Staged() + k * line);
        }
      }
    }
    const ptrdiff_t step = walks ? a.in.sh * kFloat : static_cast<ptrdiff_t>(line) * kFloat;
    const ptrdiff_t slot = static_cast<ptrdiff_t>(i) * kSlot;
    for (size_t part = 0; part < static_cast<size_t>(rb.parts); ++part) {
      row_first.row_forward({from, scratch + s.work, rows_in + part * static_cast<size_t>(rb.part.size), nullptr, 0, 0,
                             step, RowWork(), 0, static_cast<size_t>(rb.part.second), batch});
      Seconds(part, slot, [&](bool real, char* work, char* column, size_t groups) {
        (real ? row_second.row_forward_real : row_second.row_forward)(
            {work, column, nullptr, nullptr, Pitch(), Pitch() * rb.part.second, RowWork(), kSlot, 0, groups, batch});
      });
    }
    i += batch;
  }
  return entries;
}

// `count` frequencies of these lanes from `frequency` on, {16 re, 16 im} of f32 each: made in scratch where they are
// not stored so.
inline HWY_NOINLINE const float* FftRun::Spectrum(const depthwise::SpectraLayout& layout, size_t frequency,
                                                  size_t count) const {
  const size_t first = g.c / kTapBlock * layout.Block(rb, cb) + frequency * layout.Frequency() + g.c % kTapBlock;
  const void* const data = a.plan->spectra.data();
  if (!layout.Compact()) return static_cast<const float*>(data) + first;
  auto* const made = reinterpret_cast<float*>(scratch + s.spectrum);
  const auto make = [&](const auto& load) LUTRA_TILE {
    const FftTag d;
    float* to = made;
    size_t from = first;
    for (size_t i = 0; i < count; ++i, from += layout.Frequency(), to += 2 * kTapBlock) {
      hn::Store(load(from), d, to);
      hn::Store(layout.real ? hn::Zero(d) : load(from + kTapBlock), d, to + kTapBlock);
    }
  };
  if (layout.type == DType::kF32) {
    make([&](size_t i) LUTRA_TILE { return hn::Load(FftTag(), static_cast<const float*>(data) + i); });
  } else {
    make([&](size_t i) LUTRA_TILE {
      const hn::Rebind<uint16_t, FftTag> d16;
      const hn::Rebind<uint32_t, FftTag> d32;
      return F32FromBF16(FftTag(), hn::PromoteTo(d32, hn::LoadU(d16, static_cast<const uint16_t*>(data) + i)));
    });
  }
  return made;
}

// Asks for spectra, a line in two: neighbours come together. With AVX2 it costs more than it saves.
HWY_INLINE void FftRun::SpectrumAhead(const depthwise::SpectraLayout& layout, size_t frequency, size_t count) const {
  const size_t first = g.c / kTapBlock * layout.Block(rb, cb) + frequency * layout.Frequency(),
               size = SizeOf(layout.type);
  const uintptr_t at = reinterpret_cast<uintptr_t>(a.plan->spectra.data()) + first * size;
  for (size_t i = 0; i < count * layout.Frequency() * size; i += 128) PrefetchL2(at + i);
}

inline HWY_NOINLINE void FftRun::Columns(size_t rows) {
  constexpr size_t kFrequency = 2 * fft::kSpectrumLanes;
  const fft::Length& l = cb.part;
  const size_t half = static_cast<size_t>(rb.part.Half()), parts = static_cast<size_t>(cb.parts);
  const size_t points = static_cast<size_t>(cb.Size()), groups = static_cast<size_t>(l.second);
  const ptrdiff_t part_work = static_cast<ptrdiff_t>(fft::WorkBytes(l, false, kFftLanes)),
                  work_step = part_work * cb.parts, part_step = Pitch() * static_cast<ptrdiff_t>(half);
  const int32_t *const in = Index(2), *const out = Index(3);
  char* const work = scratch + s.work;
  const depthwise::SpectraLayout layout{a.plan->spectra_type, a.plan->spectra_real};
  const auto across_parts = [&](size_t batch) {
    if (parts == 1) return;
    for (size_t m = 0; m < batch; ++m) {
      column_across.forward({nullptr, work + static_cast<ptrdiff_t>(m) * work_step, nullptr, nullptr, part_work, kSlot,
                             0, kWorkRow, 0, groups, static_cast<size_t>(l.first)});
    }
  };
  const size_t steps = (half + s.column_batch - 1) / s.column_batch * static_cast<size_t>(rb.parts);
  const size_t in_share = (in_next.Lines() + steps - 1) / steps, out_share = (out_soon.Lines() + steps - 1) / steps;
  for (size_t f = 0; f < half; f += s.column_batch) {
    const size_t batch = HWY_MIN(s.column_batch, half - f);
    fft::Pass across{nullptr, Column(0, f), nullptr, nullptr, part_step, kSlot, 0, Pitch(), 0, rows, batch};
    if (rb.parts > 1) row_across.forward(across);
    for (size_t row_part = 0; row_part < static_cast<size_t>(rb.parts); ++row_part) {
      char* const at = Column(row_part, f);
      if (kFftLanes == kTapBlock) SpectrumAhead(layout, (row_part * half + f + batch) * points, batch * points);
      in_next.Ask(in_share);
      for (size_t part = 0; part < parts; ++part) {
        column_first.column_forward({at, work + static_cast<ptrdiff_t>(part) * part_work,
                                     in + part * static_cast<size_t>(l.size), nullptr, 0, 0, Pitch(), work_step, 0,
                                     groups, batch});
      }
      across_parts(batch);
      const float* const spectrum = Spectrum(layout, (row_part * half + f) * points, batch * points);
      for (size_t part = 0; part < parts; ++part) {
        char* const w = work + static_cast<ptrdiff_t>(part) * part_work;
        column_second.column_middle({w, w, nullptr, spectrum + part * static_cast<size_t>(l.size) * kFrequency, 0, 0,
                                     work_step, work_step, static_cast<ptrdiff_t>(points * kFrequency),
                                     static_cast<size_t>(l.first), batch});
      }
      across_parts(batch);
      out_soon.Ask(out_share);
      for (size_t part = 0; part < parts; ++part) {
        column_first.column_back({work + static_cast<ptrdiff_t>(part) * part_work, at,
                                  out + part * static_cast<size_t>(l.size), nullptr, 0, 0, work_step, Pitch(), 0,
                                  groups, batch});
      }
    }
    across.groups = (a.plan->fft_columns.tile + a.g.stride_h - 1) / a.g.stride_h;
    if (rb.parts > 1) row_across.back(across);
  }
}

inline HWY_NOINLINE void FftRun::Back() const {
  constexpr ptrdiff_t kFloat = sizeof(float), kLine = kFftLanes * kFloat;
  const FftProblem& p0 = g.problem[0];
  const auto size = static_cast<ptrdiff_t>(SizeOf(a.out.type));
  const bool bare = a.plain && a.epilogue.bias == nullptr && a.epilogue.act == Act::kNone && a.row_taps == nullptr;
  const bool walks =
      !planes && g.problems == 1 && g.channels == kFftLanes && bare && Walkable(a.out.sw * kFloat, a.out.w);
  size_t rows = 0, cols = 0;
  for (size_t i = 0; i < g.problems; ++i) {
    rows = HWY_MAX(rows, g.problem[i].rows);
    cols = HWY_MAX(cols, g.problem[i].cols);
  }
  const auto outputs = [](size_t stride, size_t count, ptrdiff_t step) {
    return [=](int64_t time) {
      const auto t = static_cast<size_t>(time);
      return t % stride == 0 && t / stride < count ? static_cast<int32_t>(static_cast<ptrdiff_t>(t / stride) * step)
                                                   : -1;
    };
  };
  FillIndex(depthwise::RowTimes(a), rb.Size(), a.plan->fft_rows.turn, static_cast<int64_t>(a.plan->fft_rows.tile),
            Index(1), outputs(a.g.stride_w, cols, walks ? a.out.sw * kFloat : kLine));
  const size_t line = cols * kFftLanes;
  for (size_t y = 0; y < rows; y += s.row_batch) {
    const size_t batch = HWY_MIN(s.row_batch, rows - y);
    const ptrdiff_t slot = static_cast<ptrdiff_t>(y) * kSlot;
    char* const to = walks ? static_cast<char*>(a.out.data) + (At(p0.n, a.out.sn) + At(p0.y + y, a.out.sh) +
                                                               At(p0.x, a.out.sw) + static_cast<ptrdiff_t>(g.c)) *
                                                                  size
                           : reinterpret_cast<char*>(Staged());
    for (size_t part = 0; part < static_cast<size_t>(rb.parts); ++part) {
      Seconds(part, slot, [&](bool real, char* work, char* column, size_t groups) {
        (real ? row_second.row_back_real : row_second.row_back)(
            {column, work, nullptr, nullptr, Pitch(), Pitch() * rb.part.second, kSlot, RowWork(), 0, groups, batch});
      });
      row_first.row_back({scratch + s.work, to, Index(1) + part * static_cast<size_t>(rb.part.size), nullptr, 0, 0,
                          RowWork(), walks ? a.out.sh * kFloat : static_cast<ptrdiff_t>(line) * kFloat, 0,
                          static_cast<size_t>(rb.part.second), batch});
    }
    if (walks) continue;
    if (!planes) {
      for (size_t i = 0; i < g.problems; ++i) {
        const FftProblem& p = g.problem[i];
        for (size_t k = 0; k < batch && y + k < p.rows; ++k) {
          FinishPixels(a, p, Staged() + k * line + i * g.channels, y + k, g.c, g.channels);
        }
      }
      continue;
    }
    if (FinishRuns(a, g, Staged(), y, batch, cols, Lines())) continue;
    UnstagePlanes(Staged(), batch, cols, s.line, Lines());
    SpreadEpilogue spread;
    for (size_t lane = 0; lane < g.problems * g.channels; ++lane) {
      const FftProblem& p = g.problem[lane / g.channels];
      const size_t c = g.c + lane % g.channels;
      spread.Set(a.epilogue, c);
      for (size_t k = 0; k < batch && y + k < p.rows; ++k) {
        FinishPlane(a, p, Lines() + (k * kFftLanes + lane) * s.line, y + k, c, spread);
      }
    }
  }
}

// One task.
template <class = void>
int64_t Fft(const DepthwiseArgs* args, size_t task, void* scratch) {
  if (args == nullptr) return HWY_TARGET;
  DepthwiseArgs a = *args;
  const fft::Circle rb = fft::CircleOf(a.plan->fft_rows.points), cb = fft::CircleOf(a.plan->fft_columns.points);
  const size_t per_task = depthwise::Packed(a.out.c, kTapBlock), packed = depthwise::Packed(a.out.c, kFftLanes);
  const depthwise::SpectraLayout layout{a.plan->spectra_type, a.plan->spectra_real};
  const depthwise::FftScratch sizes(a.plan->fft_rows, a.plan->fft_columns, layout.Compact(), kFftLanes);
  const bool staged = depthwise::FftStaged(a);
  const size_t problems = depthwise::FftProblems(a);
  const size_t chunks = staged ? a.out.n : (problems + per_task - 1) / per_task;
  if (!staged && depthwise::FftBlocksInnermost(a)) {
    const size_t blocks = (a.out.c + kTapBlock - 1) / kTapBlock;
    task = task % blocks * chunks + task / blocks;
  }
  const size_t c_begin = task / chunks * kTapBlock, c_end = HWY_MIN(c_begin + kTapBlock, a.out.c);
  size_t begin = task % chunks * per_task, end = HWY_MIN(begin + per_task, problems), c_base = 0;
  if (staged) {
    a.in = CopyChannels(a, task % chunks, c_begin, c_end, static_cast<char*>(scratch) + sizes.bytes);
    c_base = c_begin;
    begin = task % chunks * (problems / a.out.n);
    end = begin + problems / a.out.n;
  }
  // One channel without gaps is a plane.
  const bool planes = a.layout == Layout::kNchw || (a.out.c == 1 && a.in.sw == 1 && a.out.sw == 1 && a.plain);
  FftGroup g;
  FftRun run{a,
             g,
             rb,
             cb,
             sizes,
             FirstPassesFor(rb.part.first),
             FirstPassesFor(cb.part.first),
             SecondPassesFor(rb.part.second),
             SecondPassesFor(cb.part.second),
             AcrossPassesFor(rb.parts),
             AcrossPassesFor(cb.parts),
             planes,
             static_cast<char*>(scratch)};
  for (size_t i = begin; i < end; i += g.problems) {
    g.problems = HWY_MIN(packed, end - i);
    for (size_t k = 0; k < g.problems; ++k) {
      g.problem[k] = ProblemAt(a, i + k);
      g.problem[k].c_base = c_base;
    }
    for (g.c = c_begin; g.c < c_end; g.c += kFftLanes) {
      g.channels = HWY_MIN(kFftLanes, c_end - g.c);
      if (!planes && !staged && g.problems == 1) {  // a block's lines once, whatever the vectors
        const size_t next = g.c + kFftLanes;
        run.in_now = g.c == 0 && i == 0 ? run.InputOf(g.problem[0], 0) : LinesAhead();
        run.out_soon = g.c == c_begin ? run.OutputOf(g.problem[0]) : LinesAhead();
        run.in_next = next < c_end                    ? LinesAhead()
                      : i + 1 < end                   ? run.InputOf(ProblemAt(a, i + 1), c_begin)
                      : chunks == 1 && next < a.out.c ? run.InputOf(g.problem[0], next)
                                                      : LinesAhead();
      }
      const size_t entries = run.Forward();
      const size_t rows = a.plan->fft_columns.tile;
      const bool skips = ColumnBackSkips(cb.part.first);
      FillIndex(depthwise::ColumnTimes(a), cb.Size(), a.plan->fft_columns.turn, static_cast<int64_t>(rows),
                run.Index(3), [&](int64_t time) {
                  const auto t = static_cast<size_t>(time);
                  const bool wanted = t % a.g.stride_h == 0 && t / a.g.stride_h * a.g.stride_h < rows;
                  return wanted ? static_cast<int32_t>(t / a.g.stride_h) * static_cast<int32_t>(kSlot) : -1;
                });
      if (!skips) {
        for (int k = 0; k < cb.Size(); ++k) {
          if (run.Index(3)[k] < 0) run.Index(3)[k] = static_cast<int32_t>(run.Pitch() - kSlot);
        }
      }
      run.Columns(entries);
      run.Back();
    }
  }
  return HWY_TARGET;
}

#else  // plans may come from elsewhere: they run direct convolution here

template <class = void>
int64_t Fft(const DepthwiseArgs*, size_t, void*) {
  return HWY_TARGET;
}

#endif

// The spectra of one block of channels, in double, rounded once; Mul and Add, so equal on all targets.
inline void SpectraBlock(const depthwise::SpectraArgs& a, size_t block, double* scratch) {
  const hn::CappedTag<double, kTapBlock> d;
  const hn::Rebind<float, decltype(d)> df;
  const size_t lanes = hn::Lanes(d), columns = static_cast<size_t>(a.rows_by.Columns());
  double* const row = scratch;                        // a row of taps: [kw][16]
  double* const across = scratch + a.kw * kTapBlock;  // its transform, of all rows: [kh][half]{16 re, 16 im}
  const float* const taps = a.taps + block * a.kh * a.kw * kTapBlock;
  const size_t spectra = block * a.layout.Block(a.rows_by, a.columns_by);
  const depthwise::FftSteps &x = a.x, &y = a.y;
  const auto points = static_cast<size_t>(a.columns_by.Size()), row_points = static_cast<size_t>(a.rows_by.Size());

  for (size_t ky = y.begin; ky < y.end; ++ky) {
    for (size_t kx = x.begin; kx < x.end; ++kx) {
      for (size_t lane = 0; lane < kTapBlock; ++lane) {
        const size_t from = a.c <= depthwise::kMostPacked ? lane % a.c : lane;
        row[kx * kTapBlock + lane] = double{taps[(ky * a.kw + kx) * kTapBlock + from]};
      }
    }
    double* to = across + ky * columns * 2 * kTapBlock;
    for (size_t i = 0; i < columns; ++i, to += 2 * kTapBlock) {
      const size_t n = row_points, f = a.frequencies[i].frequency;
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
    const fft::Length& part = a.columns_by.part;
    const auto first = static_cast<size_t>(part.first), second = static_cast<size_t>(part.second);
    const size_t at = g % static_cast<size_t>(a.columns_by.parts) * static_cast<size_t>(part.size);
    const size_t to = spectra + (f * points + at + g % first * second + g % second) * a.layout.Frequency() + lane;
    const auto store = [&](auto v, size_t i) LUTRA_TILE {
      const auto rounded = hn::DemoteTo(df, v);
      if (a.layout.type == DType::kF32) return hn::StoreU(rounded, df, static_cast<float*>(a.spectra) + i);
      const hn::Rebind<uint16_t, decltype(d)> d16;
      hn::StoreU(hn::TruncateTo(d16, BF16FromF32(df, rounded)), d16, static_cast<uint16_t*>(a.spectra) + i);
    };
    store(re, to);
    if (!a.layout.real) store(im, to + kTapBlock);
  };
  for (size_t f = 0; f < columns; ++f) {
    for (size_t g = 0; 2 * g <= points; ++g) {  // with g, also -g: the same sums of cosines and of sines
      const size_t first = y.first * g % points, step = y.step * g % points;
      for (size_t lane = 0; lane < kTapBlock; lane += lanes) {
        auto cos_re = hn::Zero(d), cos_im = hn::Zero(d), sin_re = hn::Zero(d), sin_im = hn::Zero(d);
        size_t turn = first;
        for (size_t ky = y.begin; ky < y.end; ++ky) {
          const double* const from = across + (ky * columns + f) * 2 * kTapBlock + lane;
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
