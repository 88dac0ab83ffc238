// What a front door hands to the kernels of this room.
#pragma once
#include <algorithm>

#include "lutra/core/epilogue.h"
#include "lutra/depthwise/fft.h"
#include "lutra/depthwise/geometry.h"

namespace lutra { inline namespace LUTRA_NS { namespace depthwise {

inline constexpr size_t kDirectTile = 8;  // output pixels of a register tile: 8 sums hide an FMA's 4 cycles, twice each
inline constexpr size_t kMostPhases = 8;  // up to this dilation every so many outputs share a tile
inline constexpr size_t kMostLanes = 64;  // of f32: SVE

inline constexpr size_t kNchwColumns = 128;  // output columns at a time, at most, where not all are staged
inline constexpr size_t kNchwRows = 32;      // output rows at a time of small kernels: at most 22 KiB of input, in L1

// Entries of an axis's map of `out` outputs: whole tiles are looked up, of every dil-th output too.
constexpr size_t MappedSize(size_t out, size_t k, size_t stride, size_t dil) {
  const size_t beyond = kDirectTile * std::min(dil, kMostPhases);
  return out == 0 ? 0 : (RoundUp(out, kDirectTile) - 1 + beyond) * stride + dil * (k - 1) + 1;
}
constexpr ptrdiff_t At(size_t i, ptrdiff_t stride) { return static_cast<ptrdiff_t>(i) * stride; }

// `size` cut into even pieces of about `wanted`, each a multiple of `unit` but the last.
constexpr size_t PieceSize(size_t size, size_t wanted, size_t unit) {
  const size_t pieces = std::max<size_t>(1, (size + wanted / 2) / std::max<size_t>(wanted, 1));
  return std::max(unit, RoundUp((size + pieces - 1) / pieces, unit));
}
// Kernels of NCHW whose tiles load each input row once, and how many output rows are staged at a time.
constexpr bool IsSmallNchw(size_t kh, const ConvGeometry& g) {
  return g.stride_h == 1 && g.stride_w == 1 && g.dil_h == 1 && g.dil_w == 1 && (kh == 3 || kh == 5 || kh == 7);
}
constexpr size_t NchwRows(size_t kh, const ConvGeometry& g, size_t out_h) {
  return IsSmallNchw(kh, g) ? std::min(kNchwRows, RoundUp(out_h, kDirectTile)) : kDirectTile;
}

// Scratch of NCHW, per worker: the taps of one channel, then input rows, padded. Columns are stored by phase (column
// modulo stride_w), so that neighbouring outputs read neighbouring floats at any stride:
//   row r: [phase 0: columns 0, s, 2 s, ...][phase 1: 1, s + 1, ...] ... each `phase_floats` long
struct NchwScratchSizes {
  size_t block = 0;  // output columns at a time
  size_t rows = 0, phase_used = 0, phase_floats = 0, row_floats = 0, tap_floats = 0, bytes = 0;
};
inline NchwScratchSizes NchwScratch(size_t kh, size_t kw, const ConvGeometry& g, size_t out_h, size_t out_w,
                                    bool in_place, size_t lanes) {
  const char* const what = "DepthwisePlan: scratch";
  NchwScratchSizes s;
  const size_t blocks = in_place ? 1 : (out_w + kNchwColumns - 1) / kNchwColumns;
  s.block = blocks == 0 ? 0 : RoundUp((out_w + blocks - 1) / blocks, lanes);
  s.rows =
      ((in_place ? RoundUp(out_h, kDirectTile) : NchwRows(kh, g, out_h)) - 1) * g.stride_h + g.dil_h * (kh - 1) + 1;
  s.phase_used = s.block + g.dil_w * (kw - 1) / g.stride_w + 1;
  s.phase_floats = RoundUp(s.phase_used, 16);
  s.row_floats = internal::CheckedSize(what, s.phase_floats, g.stride_w);
  s.tap_floats = RoundUp(internal::CheckedSize(what, kh, kw), 16);
  s.bytes = (s.tap_floats + internal::CheckedSize(what, s.rows, s.row_floats) + kMostLanes) * sizeof(float);
  return s;
}

// NCHW through lanes (direct_turned-inl.h): output rows of a task of 16 channels, and its scratch, which holds the
// pixels it reads, then those it makes.
struct TurnedTask {
  size_t rows = 0, in_pixels = 0, out_pixels = 0, bytes = 0;
};
constexpr TurnedTask TurnedTaskOf(size_t kh, const ConvGeometry& g, size_t h, size_t w, size_t out_h, size_t out_w,
                                  bool in_place) {
  constexpr size_t kWanted = size_t{192} << 10;  // bytes: L2 has room for more, and pieces share rows
  TurnedTask t;
  for (t.rows = out_h;; t.rows = RoundUp((t.rows + 1) / 2, kDirectTile)) {
    const size_t reach = t.rows == 0 ? 0 : (t.rows - 1) * g.stride_h + g.dil_h * (kh - 1) + 1;
    const size_t in = (g.pad == Pad::kZero ? std::min(h, reach) : h) * w, out = t.rows * out_w;
    t.in_pixels = RoundUp(std::max(in, out) + 3, 4);  // out: rows on their way through an epilogue
    t.out_pixels = RoundUp(std::max(out, w) + 3, 4);  // w: a row on its way to f32
    t.bytes = (t.in_pixels + t.out_pixels) * kTapBlock * sizeof(float);
    if (in_place || t.rows <= kDirectTile || t.bytes <= kWanted) return t;
  }
}

// A direct convolution or, without taps, a shift of one image or channel range of one.
struct DepthwiseArgs {
  ConstImageView in;
  ImageView out;
  Layout layout = Layout::kNhwc;
  Epilogue epilogue;
  bool plain = false;     // f32 out, and nothing but a bias and ReLU: finished in the tile's registers
  bool plain_16 = false;  // bf16 or f16 out, and nothing but these
  // convolution
  const float* taps = nullptr;  // DepthwiseKernel::blocks(), or factors()
  size_t kh = 0, kw = 0;
  ConvGeometry g;
  const int32_t* rows = nullptr;  // DepthwisePlan::row_map(), col_map()
  const int32_t* cols = nullptr;
  size_t mapped_cols = 0;
  bool staged = false;              // in place: each task copies its input to scratch first
  bool copied = false;              // NHWC: each task copies the rows it reads, see CrowdsL1; or their type wants it
  const float* row_taps = nullptr;  // DepthwisePlan::row_taps(), then col_taps(); null without reweight
  // by integer taps: the zero point of pixels as bytes, and what makes bytes that count from 0 of them (i8: 0x80)
  int32_t zero = 0;
  uint8_t flip = 0;
  // by transforms
  const DepthwisePlanParts* plan = nullptr;
  // shift
  int shift_h = 0, shift_w = 0;
  // how tasks cut the work; never changes a result
  size_t task_rows = 1;      // output rows of an image (NHWC), of a plane (NCHW)
  size_t task_channels = 1;  // channels; in NHWC a multiple of kTapBlock, or all
};

// Of reweight: all taps over those that meet the image. 1 exactly where these are all.
inline float Reweighting(const DepthwiseArgs& a, float row_taps, float col_taps) {
  return static_cast<float>(a.kh) * static_cast<float>(a.kw) / (row_taps * col_taps);
}

// Task `task` of worker-owned scratch; args == nullptr runs nothing. Returns the target it is built for.
using DepthwiseKernelFn = int64_t (*)(const DepthwiseArgs* args, size_t task, void* scratch);

// By transforms: a block of channels of as many problems (tiles of images) as can share its vectors. Problems
// innermost, so that the spectra of a block stay in cache.
inline size_t FftProblems(const DepthwiseArgs& a) {
  return a.out.n * a.plan->fft_rows.tiles * a.plan->fft_columns.tiles;
}
// But blocks innermost where images leave the caches and two blocks share the lines of a pixel: 1.1 to 2 times as fast,
// median 1.5 (224 x 224 and 320 x 320, C = 32 ... 256, 13 x 13 taps, Zen 4); where they share none, 0.8 to 1.2 times.
inline bool FftBlocksInnermost(const DepthwiseArgs& a) {
  constexpr size_t kManyTiles = 9, kLine = 64;
  if (a.layout != Layout::kNhwc || a.plan->fft_rows.tiles * a.plan->fft_columns.tiles < kManyTiles) return false;
  const size_t size = SizeOf(a.in.type), pixel = static_cast<size_t>(a.in.sw) * size;
  return (reinterpret_cast<uintptr_t>(a.in.data) | pixel | kTapBlock * size) % kLine != 0;
}
// The times of the circles' points.
inline const int32_t* ColumnTimes(const DepthwiseArgs& a) { return a.cols + a.plan->cols; }
inline const int32_t* RowTimes(const DepthwiseArgs& a) { return ColumnTimes(a) + a.plan->fft_columns.points; }
// In place, several tiles: a task is a block of an image, which it copies first.
inline bool FftStaged(const DepthwiseArgs& a) { return a.staged && FftProblems(a) > a.out.n; }
inline size_t FftTasks(const DepthwiseArgs& a) {
  const size_t per_task = Packed(a.out.c, kTapBlock), blocks = (a.out.c + kTapBlock - 1) / kTapBlock;
  return blocks * (FftStaged(a) ? a.out.n : (FftProblems(a) + per_task - 1) / per_task);
}

// Whether the pixels of a register tile (NHWC, f32) push each other out of L1, so that it pays to copy rows first. L1
// has at least 8 ways of 64 sets of 64-byte lines, of which a large power of two in `step`, the bytes between pixels,
// leaves few. Vectors of a whole line load each of them half as often as those of half a line: fewer shapes gain, most
// of them if outputs stand in the same sets. Figures: docs/depthwise.md.
constexpr bool CrowdsL1(size_t step, size_t kh, size_t kw, size_t h, size_t w, const ConvGeometry& g, bool whole_lines,
                        size_t from_in_to_out) {
  constexpr size_t kWays = 8, kSets = 64, kLine = 64, kSpan = kSets * kLine;
  if (kh == 1 || kw == 1) return false;
  const size_t columns = step * g.dil_w, lowest = columns & (~columns + 1);
  const size_t power = lowest == 0 || lowest > kSpan ? kSpan : lowest;
  const size_t lines = kWays * std::min(kSets, kSpan / power);
  const size_t needed = std::min(h, kh + g.stride_h) * std::min(w, 6 * g.stride_w + kw);
  if (10 * needed <= 11 * lines) return false;
  const bool same_sets = (from_in_to_out + kLine - 1) % power < 2 * kLine - 1;
  return !whole_lines || lines <= (same_sets ? 16 : 8);
}

// One axis: how many of its outputs are taken together, every so many, that neighbours among them share input.
constexpr size_t PhasesOf(size_t stride, size_t dil) { return stride == 1 && dil <= kMostPhases ? dil : 1; }
// Output rows of a direct task, NHWC: some 16 of them share most of their input rows, pairs of each phase all.
constexpr size_t NhwcTaskRows(size_t out_h, const ConvGeometry& g) {
  return PieceSize(out_h, 16, RoundUp(kDirectTile, 2 * PhasesOf(g.stride_h, g.dil_h)));
}

// Rows [begin, end) of the image: all that output rows [y_begin, y_end) read, by the row map.
struct RowRange {
  size_t begin, end;
};
inline RowRange RowsOf(const int32_t* map, const ConvGeometry& g, size_t kh, size_t y_begin, size_t y_end) {
  RowRange range{0, 0};
  for (size_t r = y_begin * g.stride_h; y_begin < y_end && r <= (y_end - 1) * g.stride_h + (kh - 1) * g.dil_h; ++r) {
    if (map[r] < 0) continue;
    const auto row = static_cast<size_t>(map[r]);
    range.begin = range.end == 0 ? row : std::min(range.begin, row);
    range.end = std::max(range.end, row + 1);
  }
  return range;
}

// Which piece of the image a task is: channels fastest, then rows, then images.
struct DepthwisePiece {
  size_t n, y_begin, y_end, c_begin, c_end;
};
inline size_t DepthwiseTasks(const DepthwiseArgs& a) {
  if (a.out.n == 0 || a.out.h == 0 || a.out.w == 0 || a.out.c == 0) return 0;
  return a.out.n * ((a.out.h + a.task_rows - 1) / a.task_rows) * ((a.out.c + a.task_channels - 1) / a.task_channels);
}
inline DepthwisePiece PieceOf(const DepthwiseArgs& a, size_t task) {
  const size_t row_pieces = (a.out.h + a.task_rows - 1) / a.task_rows;
  const size_t channel_pieces = (a.out.c + a.task_channels - 1) / a.task_channels;
  const size_t c = task % channel_pieces * a.task_channels, rest = task / channel_pieces;
  const size_t y = rest % row_pieces * a.task_rows;
  return {rest / row_pieces, y, std::min(a.out.h, y + a.task_rows), c, std::min(a.out.c, c + a.task_channels)};
}

}}}  // namespace lutra::LUTRA_NS::depthwise
