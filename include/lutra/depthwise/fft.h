// Convolution by transforms: sizes, scratch, and the spectra that a plan holds. Plain C++.
//
// An axis of `size` pixels and a kernel of which the offsets first ... last meet the image goes round a circle of N
// points: what wraps falls on outputs that nobody wants, or on points that are zero.
//
// Spectra: [block of kTapBlock channels][column of the rows' transform, in ForHalf order][frequency of the columns'
// transform, first-factor outside]{16 re, 16 im}. 1 / (N_h N_w), and the 2 of columns that stand for their conjugate,
// are in them.
#pragma once
#include <algorithm>
#include <cstdint>

#include "lutra/core/views.h"
#include "lutra/depthwise/geometry.h"
#include "lutra/fft/pass.h"

namespace lutra { inline namespace LUTRA_NS { namespace depthwise {

static_assert(fft::kSpectrumLanes == kTapBlock);

// One axis: which taps meet the image, and where they lie.
struct FftTaps {
  size_t begin = 0, end = 0;   // taps that meet the image
  size_t first = 0, step = 0;  // offset of the first of them, and from one to the next; modulo the length, not negative
  size_t points = 0;           // the circle must have; 0 where no tap meets the image
  double mean = 0;             // taps that meet the image, of an output
};
constexpr FftTaps TapsOf(size_t size, size_t out, size_t k, size_t dil, int before) {
  const int64_t in_size = static_cast<int64_t>(size), out_size = static_cast<int64_t>(out);
  const auto offset = [&](size_t i) { return static_cast<int64_t>(i * dil) - before; };
  FftTaps t;
  while (t.begin < k && offset(t.begin) <= -out_size) ++t.begin;
  t.end = t.begin;
  while (t.end < k && offset(t.end) < in_size) ++t.end;
  if (t.begin == t.end) return t;
  const int64_t low = offset(t.begin), high = offset(t.end - 1);
  t.points = static_cast<size_t>(std::max({in_size, out_size, in_size - low, out_size + high}));
  for (size_t i = t.begin; i < t.end; ++i) {  // outputs y with 0 <= y + offset < size
    const int64_t meets = std::min(out_size, in_size - offset(i)) - std::max<int64_t>(0, -offset(i));
    t.mean += static_cast<double>(meets) / static_cast<double>(out);
  }
  return t;
}
// The same on a circle of n points.
constexpr FftTaps OnCircle(FftTaps t, size_t dil, int before, int n) {
  const int64_t low = (static_cast<int64_t>(t.begin * dil) - before) % n;
  t.first = static_cast<size_t>(low < 0 ? low + n : low);
  t.step = dil % static_cast<size_t>(n);
  return t;
}

constexpr size_t SpectraFloats(const fft::Length& rows, const fft::Length& columns) {  // of a block
  return static_cast<size_t>(rows.Half()) * static_cast<size_t>(columns.size) * 2 * kTapBlock;
}

// Scratch of a task: index tables, rows with their own lanes (where the image's can't be used), work, columns.
struct FftScratch {
  size_t row_batch, column_batch;              // rows and columns at a time: some 10 KB, a third of L1
  size_t pitch;                                // bytes from column to column, an odd number of slots, the last unused
  size_t index, staged, work, columns, bytes;  // offsets, and the size of it all

  FftScratch(const fft::Length& rows_by, const fft::Length& columns_by, size_t h, size_t w, size_t out_h, size_t out_w,
             size_t lanes) {
    constexpr size_t kBatchBytes = 10000;
    const size_t slot = 2 * lanes * sizeof(float), half = static_cast<size_t>(rows_by.Half());
    const auto batch = [](size_t of, size_t most) { return std::max<size_t>(1, std::min(kBatchBytes / of, most)); };
    const size_t most_h = std::max(h, out_h), most_w = std::max(w, out_w);
    row_batch = batch(static_cast<size_t>(rows_by.size) * slot / 2, most_h);
    column_batch = batch(static_cast<size_t>(columns_by.size) * slot, half);
    pitch = ((most_h + 1) | 1) * slot;
    const auto place = [this](size_t size) {
      const size_t at = bytes;
      bytes += (size + 63) / 64 * 64;
      return at;
    };
    bytes = 0;
    index = place(4 * fft::kMostPoints * sizeof(int32_t));  // rows in, rows out, columns in, columns out
    staged = place(row_batch * most_w * slot / 2);
    work = place(std::max(row_batch * fft::WorkBytes(rows_by, true, lanes),
                          column_batch * fft::WorkBytes(columns_by, false, lanes)));
    columns = place(half * pitch);
  }
};
inline size_t FftScratchBytes(const fft::Length& rows_by, const fft::Length& columns_by, size_t h, size_t w,
                              size_t out_h, size_t out_w) {  // for any number of lanes
  size_t most = 0;
  for (size_t lanes = 1; lanes <= fft::kMostSlotLanes; lanes *= 2) {
    most = std::max(most, FftScratch(rows_by, columns_by, h, w, out_h, out_w, lanes).bytes);
  }
  return most;
}

// What the spectra of a kernel are made of.
struct RowFrequency {  // a column, in ForHalf order
  size_t frequency;
  double weight;  // 1 or 2, over the points of both transforms
};
struct SpectraArgs {
  const float* taps = nullptr;  // DepthwiseKernel::blocks()
  size_t kh = 0, kw = 0;
  FftTaps x, y;  // on their circles
  fft::Length rows_by{}, columns_by{};
  const RowFrequency* frequencies = nullptr;
  const double* row_turns = nullptr;     // cos, sin of 2 pi j / rows_by.size
  const double* column_turns = nullptr;  // of columns_by.size
  float* spectra = nullptr;
};
// Doubles of scratch for a block: a row of taps, and the rows' transforms of all of them.
inline size_t SpectraScratchDoubles(size_t kh, size_t kw, const fft::Length& rows_by) {
  return internal::CheckedSize("DepthwisePlan: spectra", kw + 2 * kh * static_cast<size_t>(rows_by.Half()), kTapBlock);
}

}}}  // namespace lutra::LUTRA_NS::depthwise
