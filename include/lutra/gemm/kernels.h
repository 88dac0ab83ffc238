// What the driver hands to GEMM kernels, and what a kernel is.
#pragma once
#include <algorithm>
#include <limits>

#include "lutra/gemm/types.h"

namespace lutra { inline namespace LUTRA_NS { namespace internal {

// The width of a code, plane by plane: all that integer kernels know of a format, so that formats of one width share
// their kernels.
template <int kPlane0, int kPlane1, int kPlane2>
struct Planes {
  static constexpr std::array<uint8_t, 3> kPlanes = {kPlane0, kPlane1, kPlane2};
  static constexpr int kBits = kPlane0 + kPlane1 + kPlane2;
  static constexpr int kMaxPattern = (1 << kBits) - 1;
};
template <class Format>
using PlanesOfFormat = Planes<Format::info.planes[0], Format::info.planes[1], Format::info.planes[2]>;

// Formats and modes are named in one list.
template <class T>
inline constexpr bool kIsMode = requires {
  T::algo;
};
constexpr unsigned ModeBit(GemmAlgo algo) { return 1u << static_cast<unsigned>(algo); }
template <class T>
constexpr unsigned ModeBitOf() {
  if constexpr (kIsMode<T>) return ModeBit(T::algo);
  return 0;
}
template <class... Formats>
inline constexpr unsigned kModesOf = (ModeBitOf<Formats>() | ... | 0u);

// Targets (a condition of each) whose integer kernels are int_lanes alone: one lane has no bytes in it, and SSE2 is for
// CPUs older than 2008, which should get right answers and no seconds of anybody's compiler.
#define LUTRA_INT_LANES_ALONE (HWY_TARGET == HWY_SCALAR || (HWY_ARCH_X86 && HWY_TARGET == HWY_SSE2))
// Targets with tables of sums: vectors of a known size; CPUs of SSE4 alone do without.
#define LUTRA_HAS_SUMS_TABLE (!HWY_HAVE_SCALABLE && !LUTRA_INT_LANES_ALONE && !(HWY_ARCH_X86 && HWY_TARGET == HWY_SSE4))

// Targets with tables in registers: a lookup among 32 lanes of 16 bits, and of bytes.
#define LUTRA_HAS_REGISTER_TABLE (HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3_DL && HWY_MAX_BYTES == 64)

struct GemmTask;

// Codes of the 32 rows of a block as bytes, [k][row].
using UnpackFn = void (*)(const uint8_t* block, const FormatInfo& format, uint8_t* codes);
// Does one task and returns the target it ran on.
using GemmFn = int64_t (*)(const GemmTask& task, size_t task_index, std::byte* scratch);

// Rows of x that share a sums table, one per 16-bit lane of a 64-byte line.
inline constexpr size_t kSumsRows = 32;

// Sums tables of one width of codes and one target.
struct SumsKernel {
  GemmFn run = nullptr;
  size_t vector_bytes = 0;
  int field = 0;     // bits of its indices
  bool dot = false;  // int_dot has a 4-way dot here
};

LUTRA_MEMBER int WidestPlane(const FormatInfo& f) { return std::max({f.planes[0], f.planes[1], f.planes[2]}); }

// Popcount: rows of x that pass a panel together, at most, and bytes of a panel that are split into planes at a time.
inline constexpr size_t kPopcountRows = 64, kSplitBytes = 24 << 10;
// Few rows stay in L1 beside a panel; many share the work of splitting one.
LUTRA_MEMBER size_t PopcountRows(const FormatInfo& f) { return WidestPlane(f) == 1 ? 16 : kPopcountRows; }

// Products of bit planes on one target: up to `most` of them are faster than int_dot.
struct PopcountKernel {
  GemmFn run = nullptr;
  size_t most = 0;
};

// The kernel of a mode on one target, or why there is none.
struct ModeKernel {
  GemmFn run;
  const char* why_not;
};

// What a unit has compiled for one format and one target.
struct FormatKernels {
  GemmFn int_dot = nullptr;
  UnpackFn unpack = nullptr;
  SumsKernel sums_table;
  PopcountKernel popcount;
  GemmFn register_table = nullptr;
  GemmFn shuffle_table = nullptr;
  ModeKernel byte_table = {nullptr, "compiled only where the mode ByteTables is named"};
  ModeKernel bf16_dot = {nullptr, "compiled only where the mode Bf16Dot is named"};
  GemmFn float_table = nullptr;
  GemmFn triple_table = nullptr;
  unsigned modes = 0;  // that the call asks for
};
// The kernels that serve all formats.
struct CommonKernels {
  GemmFn int_lanes = nullptr;
  GemmFn tile = nullptr;
};

// The UnpackFn of formats that have no kernel of their own.
inline void UnpackAny(const uint8_t* block, const FormatInfo& format, uint8_t* codes) {
  for (size_t k = 0; k < kBlockK; ++k) {
    for (size_t row = 0; row < kPanelRows; ++row) {
      codes[k * kPanelRows + row] = static_cast<uint8_t>(CodeIn(block, format, Unit::kLane32, row, k));
    }
  }
}

// The UnpackFn of Unit::kByteRow.
inline void UnpackBits(const uint8_t* block, const FormatInfo& format, uint8_t* codes) {
  std::memset(codes, 0, kBlockK * kPanelRows);
  for (unsigned p = 0; p < format.bits; ++p, block += 128) {
    for (size_t k = 0; k < kBlockK; ++k) {
      for (size_t half = 0; half < 2; ++half) {
        const uint8_t* from = block + half * 64 + k / 8 * 16;
        uint8_t* to = codes + k * kPanelRows + half * 16;
        for (size_t row = 0; row < 16; ++row) to[row] |= static_cast<uint8_t>((from[row] >> k % 8 & 1) << p);
      }
    }
  }
}

// The UnpackFn of Unit::kTriple.
inline void UnpackAllTriples(const uint8_t* block, const FormatInfo&, uint8_t* codes) {
  for (size_t row = 0; row < kPanelRows; ++row) {
    for (size_t t = 0; t < kTripleBlockK / 3; ++t) {
      const uint8_t* triple = kTripleCodes.of[TripleIn(block, row, t)];
      for (size_t i = 0; i < 3; ++i) codes[(32 * i + t) * kPanelRows + row] = triple[i];
    }
  }
}

// Rows of x per task, whose sums scratch holds; the float path takes kTileRows, and keeps at most
// kFusedRows out of memory (fused-inl.h).
inline constexpr size_t kRowsPerTask = 64, kTileRows = 128, kFusedRows = 8;

// One call of a list, ready to run: tasks are rectangles of [panels, rows].
struct GemmTask {
  GemmCall call;
  GemmFn kernel = nullptr;
  UnpackFn unpack = nullptr;
  size_t m = 0;  // output rows
  size_t rows_per_task = 1, row_tasks = 1;
  size_t panels_per_task = 1, panel_tasks = 1;
  size_t min_lanes = 0;   // sums_table: fewer rows of x than these go to int_dot
  size_t first_task = 0;  // of the list's tasks
};

// The rectangle of a task.
struct GemmTile {
  size_t panel_begin, panel_end, row_begin, row_end;
};
LUTRA_MEMBER GemmTile TileOf(const GemmTask& t, size_t task) {
  const size_t panel = task / t.row_tasks * t.panels_per_task, row = task % t.row_tasks * t.rows_per_task;
  const size_t panels = t.call.w.panels();
  return {panel, panel + t.panels_per_task < panels ? panel + t.panels_per_task : panels, row,
          task % t.row_tasks + 1 == t.row_tasks ? t.m : row + t.rows_per_task};
}

// The row of x for output row m and segment s, -1 for zeros.
LUTRA_MEMBER ptrdiff_t RowOf(const GemmCall& c, size_t m, size_t s) {
  return c.rows.row == nullptr ? static_cast<ptrdiff_t>(m) : c.rows.row[m * c.rows.segments + s];
}
// Where output row m goes, nullptr where it is not stored.
LUTRA_MEMBER std::byte* OutputRow(const GemmCall& c, size_t m) {
  ptrdiff_t row = static_cast<ptrdiff_t>(m);
  if (c.e.y_row != nullptr) row = c.e.y_row[m];
  if (row < 0) return nullptr;
  return static_cast<std::byte*>(c.y.data) + row * c.y.row_stride * static_cast<ptrdiff_t>(SizeOf(c.y.type));
}

// A run of k inside one segment, one group of weight scales and one group of activation scales.
struct Span {
  size_t k0, k1;        // inside the segment
  size_t weight_group;  // over all segments
  size_t x_group;       // inside the row of activations
};
// The span that begins at k0 < segment_k. Spans of a segment ascend until k1 is segment_k.
LUTRA_MEMBER Span SpanAt(const PackedMatrix& w, const ActSpec& spec, size_t segment, size_t k0) {
  const size_t wg = w.scales().group_k, xg = spec.group_k;
  size_t k1 = w.segment_k();
  if (wg != 0 && (k0 / wg + 1) * wg < k1) k1 = (k0 / wg + 1) * wg;
  if (xg != 0 && (k0 / xg + 1) * xg < k1) k1 = (k0 / xg + 1) * xg;
  return {k0, k1, wg == 0 ? 0 : segment * w.groups_per_segment() + k0 / wg, xg == 0 ? 0 : k0 / xg};
}

// Whether a span is the last of its run: of one segment and one group of activation scales.
LUTRA_MEMBER bool EndsRun(const GemmCall& c, const Span& s) {
  const size_t xg = c.xq->spec.group_k;
  return s.k1 == c.w.segment_k() || (xg != 0 && s.k1 % xg == 0);
}

// Whether one span is all there is: one segment, one scale per tensor or row of both sides.
LUTRA_MEMBER bool HasOneSpan(const GemmCall& c) {
  const size_t k = c.w.segment_k();
  return c.w.segments() == 1 && k != 0 && SpanAt(c.w, c.xq->spec, 0, 0).k1 == k;
}

// The largest float that int32 has: what byte_table's sums of rounded parts end at.
inline constexpr float kMostByteSum = 0x1.fffffep30f;

// How byte_table rounds sums of four activations with signs, t: q = (t * factor + 2^13) >> 14, 62 of the largest and 31
// of its half, so that sums of equal activations stay what they are; t is about 2 * half_step * q. Sums up to 63 are q.
struct ByteStep {
  int factor = 1 << 14;
  float half_step = 0.5f;
  LUTRA_MEMBER bool exact() const { return factor == 1 << 14; }
};
LUTRA_MEMBER ByteStep ByteStepOf(int most) {
  if (most <= 63) return {};
  const int factor = ((62 << 15) + most) / (2 * most);  // of 512, the most that there is: 1984
  return {factor, 8192.0f / static_cast<float>(factor)};
}

// The parts of an Activations, writable.
struct ActivationParts {
  Activations view;
  int8_t* codes;
  float* scales;
  int32_t* sums;
  uint32_t* planes;
};
// What a quantising kernel gets. int8 input: `given` holds its scales.
struct QuantizeArgs {
  ConstMatrixView x;
  ActivationParts out;
  float tensor;  // with per_tensor: max |x| or mean |x|
  std::span<const float> given;
  size_t rows_per_task;
};

// The codes that a spec has. One signed bit: the two ends of the range alone.
struct CodeRange {
  int low, high;
};
LUTRA_MEMBER CodeRange CodesOf(const ActSpec& spec) {
  if (!spec.is_signed) return {0, (1 << spec.bits) - 1};
  if (spec.bits == 1) return {-1, 1};
  return {-(1 << (spec.bits - 1)), (1 << (spec.bits - 1)) - 1};
}
LUTRA_MEMBER bool IsBipolar(const ActSpec& spec) { return spec.is_signed && spec.bits == 1; }

// max |x| or mean |x| -> the scale that is stored, and the factor that codes are made with. Rows that hold NaN or
// infinity get scale NaN and codes 0; rows below 2^-100 count as zero.
struct ScaleAndFactor {
  float scale, factor;
};
LUTRA_MEMBER ScaleAndFactor ScaleOf(const ActSpec& spec, float most) {
  // sqrt(2^n - 1), rounded once: what std::sqrt would say.
  constexpr float kRoots[] = {0.0f,       1.0f,       1.7320508f, 2.6457513f, 3.87298346f,
                              5.5677644f, 7.9372539f, 11.269427f, 15.9687195f};
  const int limit = CodesOf(spec).high;
  const int log2 = spec.is_signed && spec.bits > 1 ? spec.bits - 1 : spec.bits;
  const float steps = spec.fit == ActFit::kAbsMax ? static_cast<float>(limit) : kRoots[log2];
  if (!(most <= std::numeric_limits<float>::max())) return {std::numeric_limits<float>::quiet_NaN(), 0.0f};
  if (most < 0x1p-100f) return {0.0f, 0.0f};
  return {most / steps, steps / most};
}

}}}  // namespace lutra::LUTRA_NS::internal
