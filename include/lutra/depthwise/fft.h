// Convolution by transforms: tiles, sizes, scratch, and the spectra that a plan holds. Plain C++.
//
// Outputs are made tile by tile; a tile of an axis goes round a circle of N points: output i of it is time i, input
// pixel i from its first output is time i modulo N. What wraps falls on outputs that nobody wants, or on pixels that
// are zero. Padding is an index: a table says which pixel of the image a time is. Strides leave outputs out.
//
// Spectra: [block of kTapBlock channels][column of the rows' transform (Circle)][frequency of the columns' transform,
// part by part, first-factor outside]{16 re, 16 im}, f32 or bf16; {16 re} where the kernel is its own reflection: its
// centre is time 0 then, and outputs are so much later. 1 / (N_h N_w), and the 2 of columns that stand for their
// conjugate, are in them. Up to kMostPacked channels fill a block again and again, so that several tiles or images
// share a vector.
#pragma once
#include <algorithm>
#include <cstdint>

#include "lutra/core/views.h"
#include "lutra/depthwise/geometry.h"
#include "lutra/depthwise/parts.h"
#include "lutra/fft/pass.h"

namespace lutra { inline namespace LUTRA_NS { namespace depthwise {

constexpr size_t RoundUp(size_t v, size_t to) { return (v + to - 1) / to * to; }

static_assert(fft::kSpectrumLanes == kTapBlock);

inline constexpr size_t kMostPacked = 8;
// Problems (tiles of images) that share a vector.
constexpr size_t Packed(size_t channels, size_t lanes) { return channels * 2 <= lanes ? lanes / channels : 1; }

// One axis of a convolution.
struct FftLine {
  size_t size = 0, out = 0, k = 0, stride = 1, dil = 1;
  int before = 0;
  Pad pad = Pad::kZero;

  constexpr size_t Span() const { return out == 0 ? 0 : (out - 1) * stride + 1; }  // outputs, those left out as well
  constexpr int64_t OffsetOf(size_t tap) const { return static_cast<int64_t>(tap * dil) - before; }
};
// Its taps that meet an image.
struct FftTaps {
  size_t begin = 0, end = 0;
  double mean = 0;  // that meet it, of an output
};
constexpr FftTaps TapsOf(const FftLine& l) {
  const auto size = static_cast<int64_t>(l.size), span = static_cast<int64_t>(l.Span());
  FftTaps t;
  if (l.pad != Pad::kZero) return {0, l.k, static_cast<double>(l.k)};
  while (t.begin < l.k && l.OffsetOf(t.begin) <= -span) ++t.begin;
  t.end = t.begin;
  while (t.end < l.k && l.OffsetOf(t.end) < size) ++t.end;
  for (size_t i = t.begin; i < t.end; ++i) {  // outputs y with 0 <= y + offset < size
    const int64_t meets = std::min(span, size - l.OffsetOf(i)) - std::max<int64_t>(0, -l.OffsetOf(i));
    t.mean += static_cast<double>(meets) / static_cast<double>(span);
  }
  return t;
}

// The axis cut into tiles for a circle of `points`.
constexpr FftAxis AxisOf(const FftLine& l, const FftTaps& t, int points) {
  const auto n = static_cast<int64_t>(points), size = static_cast<int64_t>(l.size);
  const int64_t first = l.OffsetOf(t.begin), last = l.OffsetOf(t.end - 1), span = static_cast<int64_t>(l.Span());
  if (l.pad == Pad::kCircular && size == n && span <= n) return {points, l.Span(), 1, 0, n};  // the circle of the image
  if (l.pad == Pad::kZero) {  // one tile: pixels outside of the image need no room
    const int64_t lo = std::max<int64_t>(0, first), hi = std::max(lo, std::min(size, span + last));
    if (std::max({hi - lo, span, span + last - lo, hi - first}) <= n) return {points, l.Span(), 1, lo, hi};
  }
  const int64_t stride = static_cast<int64_t>(l.stride);
  const int64_t most = n - (last - first);
  if (most >= span) return {points, l.Span(), 1, first, span + last};
  const int64_t tile = most / stride * stride;
  if (tile <= 0) return {};
  return {points, static_cast<size_t>(tile), static_cast<size_t>((span + tile - 1) / tile), first, tile + last};
}

// Where a kernel's spectra stand, in elements.
struct SpectraLayout {
  DType type = DType::kF32;
  bool real = false;
  constexpr bool Compact() const { return real || type != DType::kF32; }  // made {16 re, 16 im} of f32 before use
  constexpr size_t Frequency() const { return real ? kTapBlock : 2 * kTapBlock; }
  constexpr size_t Block(const fft::Circle& rows, const fft::Circle& columns) const {
    return static_cast<size_t>(rows.Columns()) * static_cast<size_t>(columns.Size()) * Frequency();
  }
};

// Scratch of a task: index tables, rows with their own lanes (where the image's can't be used), work, columns.
struct FftScratch {
  size_t row_batch, column_batch;  // rows and columns at a time: some 10 KB, a third of L1
  size_t pitch;                    // bytes from column to column, an odd number of slots, the last unused
  size_t line;                     // floats of a lane's own row
  size_t index, entries, staged, lines, spectrum, work, columns, bytes;  // offsets, and the size of it all

  // compact: SpectraLayout::Compact()
  FftScratch(const FftAxis& rows_by, const FftAxis& columns_by, bool compact, size_t lanes) {
    constexpr size_t kBatchBytes = 10000;
    const fft::Circle row = fft::CircleOf(rows_by.points), column = fft::CircleOf(columns_by.points);
    const size_t slot = 2 * lanes * sizeof(float), columns_of_row = static_cast<size_t>(row.Columns());
    const auto batch = [](size_t of, size_t most) { return std::max<size_t>(1, std::min(kBatchBytes / of, most)); };
    const auto longest = [](const FftAxis& a) { return std::max(static_cast<size_t>(a.hi - a.lo), a.tile); };
    const size_t most_h = longest(columns_by), most_w = longest(rows_by);
    row_batch = batch(static_cast<size_t>(row.part.size) * slot / 2, most_h);
    const size_t frequency = compact ? 2 * kTapBlock * sizeof(float) : 0;
    column_batch =
        batch(static_cast<size_t>(column.Size()) * std::max(slot, frequency), static_cast<size_t>(row.part.Half()));
    pitch = ((most_h + 1) | 1) * slot;
    line = (most_w + 3) / 4 * 4 + lanes;  // a vector may be stored behind it
    const auto place = [this](size_t size) {
      const size_t at = bytes;
      bytes += (size + 63) / 64 * 64;
      return at;
    };
    bytes = 0;
    index = place(4 * fft::kMostCircle * sizeof(int32_t));    // rows in, rows out, columns in, columns out
    entries = place(2 * fft::kMostCircle * sizeof(int32_t));  // rows of the image, and where they stand
    staged = place((row_batch * most_w + 4) * slot / 2);
    lines = place(row_batch * lanes * line * sizeof(float));
    spectrum = place(column_batch * static_cast<size_t>(column.Size()) * frequency);
    work =
        place(std::max(row_batch * fft::WorkBytes(row.part, true, lanes),
                       column_batch * static_cast<size_t>(column.parts) * fft::WorkBytes(column.part, false, lanes)));
    columns = place(columns_of_row * pitch);
  }
};
inline size_t FftScratchBytes(const FftAxis& rows_by, const FftAxis& columns_by, bool compact) {  // any number of lanes
  size_t most = 0;
  for (size_t lanes = 1; lanes <= fft::kMostSlotLanes; lanes *= 2) {
    most = std::max(most, FftScratch(rows_by, columns_by, compact, lanes).bytes);
  }
  return most;
}

// What the spectra of a kernel are made of.
struct FftSteps {  // taps [begin, end) on a circle: the time of the first, and from one to the next
  size_t begin = 0, end = 0, first = 0, step = 0;
};
constexpr FftSteps StepsOf(const FftLine& l, const FftTaps& t, int points, int64_t turn) {
  const int64_t low = (l.OffsetOf(t.begin) - turn) % points;
  return {t.begin, t.end, static_cast<size_t>(low < 0 ? low + points : low), l.dil % static_cast<size_t>(points)};
}
// The time that the middle of the taps lies from the first output; has: it is one.
struct Centre {
  bool has;
  int64_t time;
};
constexpr Centre CentreOf(const FftLine& l, const FftTaps& t) {
  const int64_t ends = l.OffsetOf(t.begin) + l.OffsetOf(t.end - 1);
  return {ends % 2 == 0, ends / 2};
}
// Whether every channel's taps are their own reflection in that point. taps: DepthwiseKernel::blocks().
inline bool IsReflection(const float* taps, size_t kh, size_t kw, size_t c, const FftTaps& y, const FftTaps& x) {
  for (size_t block = 0; block * kTapBlock < c; ++block, taps += kh * kw * kTapBlock) {
    for (size_t ky = y.begin; ky < y.end; ++ky) {
      for (size_t kx = x.begin; kx < x.end; ++kx) {
        const size_t other = (y.end - 1 - (ky - y.begin)) * kw + x.end - 1 - (kx - x.begin);
        for (size_t lane = 0; lane < kTapBlock; ++lane) {
          if (taps[(ky * kw + kx) * kTapBlock + lane] != taps[other * kTapBlock + lane]) return false;
        }
      }
    }
  }
  return true;
}
struct RowFrequency {  // a column
  size_t frequency;
  double weight;  // 1 or 2, over the points of both transforms
};
struct SpectraArgs {
  const float* taps = nullptr;  // DepthwiseKernel::blocks()
  size_t kh = 0, kw = 0, c = 0;
  FftSteps x, y;
  fft::Circle rows_by{}, columns_by{};
  const RowFrequency* frequencies = nullptr;
  const double* row_turns = nullptr;     // cos, sin of 2 pi j / rows_by.Size()
  const double* column_turns = nullptr;  // of columns_by.Size()
  void* spectra = nullptr;
  SpectraLayout layout;
};
// Doubles of scratch for a block: a row of taps, and the rows' transforms of all of them.
inline size_t SpectraScratchDoubles(size_t kh, size_t kw, const fft::Circle& rows_by) {
  return internal::CheckedSize("DepthwisePlan: spectra", kw + 2 * kh * static_cast<size_t>(rows_by.Columns()),
                               kTapBlock);
}

}}}  // namespace lutra::LUTRA_NS::depthwise
