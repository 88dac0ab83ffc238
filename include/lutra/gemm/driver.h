// Definitions of lutra/gemm.h: checks, choice, tasks. No SIMD here; kernels come as function pointers.
#pragma once
#include <algorithm>
#include <atomic>

#include "lutra/gemm/choose.h"
#include "lutra/gemm/kernels.h"

namespace lutra { inline namespace LUTRA_NS { namespace internal {

// The first and one past the last byte that a view may touch.
struct ByteRange {
  uintptr_t begin, end;
};
inline ByteRange RangeOf(const ConstMatrixView& v) {
  if (v.data == nullptr || v.rows == 0 || v.cols == 0) return {0, 0};
  const auto at = reinterpret_cast<uintptr_t>(v.data);
  const auto size = static_cast<ptrdiff_t>(SizeOf(v.type));
  const auto reach = static_cast<uintptr_t>(static_cast<ptrdiff_t>(v.rows - 1) * v.row_stride * size);
  const uintptr_t row = v.cols * static_cast<size_t>(size);
  return v.row_stride < 0 ? ByteRange{at + reach, at + row} : ByteRange{at, at + reach + row};
}
// Whether two views share a byte. Column ranges of one matrix do not, though their rows interleave.
inline bool Overlaps(const ConstMatrixView& a, const ConstMatrixView& b) {
  const ByteRange p = RangeOf(a), q = RangeOf(b);
  if (p.begin >= q.end || q.begin >= p.end) return false;
  const auto stride_of = [](const ConstMatrixView& v) {
    return static_cast<uintptr_t>(v.row_stride < 0 ? -v.row_stride : v.row_stride) * SizeOf(v.type);
  };
  const uintptr_t s = stride_of(a.rows == 1 ? b : a);
  if (s == 0 || (b.rows != 1 && s != stride_of(b))) return true;  // may be too careful, never too bold
  const uintptr_t a_row = a.cols * SizeOf(a.type), b_row = b.cols * SizeOf(b.type);
  const uintptr_t distance = (q.begin % s + s - p.begin % s) % s;  // where b's columns begin after a's
  return distance < a_row || distance + b_row > s;
}

inline void CheckOperand(const char* name, ConstMatrixView& v, size_t m, size_t n) {
  if (v.data == nullptr) return;
  if (!IsFloat(v.type)) Fail("Gemm: e.%s.type is %s, allowed are f32, bf16, f16", name, NameOf(v.type));
  if (v.cols != n || (v.rows != m && v.rows != 1)) {
    Fail("Gemm: e.%s is %zu x %zu, must be %zu x %zu or 1 x %zu", name, v.rows, v.cols, m, n, n);
  }
  if (v.rows == 1) v.row_stride = 0;
  CheckMatrix("Gemm: epilogue operand", v, false);
}

// Fails on everything that is wrong with a call, before anything is written.
inline void CheckCall(GemmCall& c, size_t m) {
  const PackedMatrix& w = c.w;
  const bool quantised = c.xq != nullptr;
  if (quantised && c.x.data != nullptr) Fail("Gemm: both xq and x are given, one must be empty");
  if (!quantised && !IsFloat(c.x.type)) Fail("Gemm: x.type is %s, allowed are f32, bf16, f16", NameOf(c.x.type));
  const size_t x_rows = quantised ? c.xq->m : c.x.rows, x_cols = quantised ? c.xq->k : c.x.cols;
  if (x_cols != w.segment_k()) Fail("Gemm: x.cols is %zu, w was packed for k = %zu", x_cols, w.segment_k());
  if (!quantised) CheckMatrix("Gemm: x", c.x, false);
  if (quantised && (c.xq->codes == nullptr || c.xq->sums == nullptr || c.xq->scales == nullptr)) {
    Fail("Gemm: x holds null pointers, it must come from Quantize or ImportInt8");
  }
  if (quantised && (c.xq->spec.bits < 1 || c.xq->spec.bits > 8)) {
    Fail("Gemm: x.spec.bits is %d, it must come from Quantize or ImportInt8", c.xq->spec.bits);
  }
  if (c.rows.row == nullptr) {
    if (w.segments() != 1) Fail("Gemm: rows.row is null, w has %zu segments", w.segments());
  } else {
    if (c.rows.segments != w.segments()) {
      Fail("Gemm: rows.segments is %zu, w was packed with %zu", c.rows.segments, w.segments());
    }
    for (size_t i = 0; i < m * c.rows.segments; ++i) {
      const int32_t row = c.rows.row[i];
      if (row < -1 || (row >= 0 && static_cast<size_t>(row) >= x_rows)) {
        Fail("Gemm: rows.row[%zu] is %d, x has %zu rows", i, row, x_rows);
      }
    }
  }
  if (c.y.cols != w.n() || (c.e.y_row == nullptr && c.y.rows != m)) {
    Fail("Gemm: y is %zu x %zu, must be %zu x %zu", c.y.rows, c.y.cols, m, w.n());
  }
  if (c.y.type == DType::kI16 || c.y.type > DType::kU8) {
    Fail("Gemm: y.type is %s, allowed are f32, bf16, f16, i32, i8, u8", NameOf(c.y.type));
  }
  CheckMatrix("Gemm: y", c.y, true);
  for (size_t i = 0; c.e.y_row != nullptr && i < m; ++i) {
    const int32_t row = c.e.y_row[i];
    if (row < -1 || (row >= 0 && static_cast<size_t>(row) >= c.y.rows)) {
      Fail("Gemm: e.y_row[%zu] is %d, y has %zu rows", i, row, c.y.rows);
    }
  }
  if (c.e.act > Act::kGeluTanh) Fail("Gemm: e.act is %d, not an Act", static_cast<int>(c.e.act));
  if (c.e.clamp && !(c.e.lo <= c.e.hi))
    Fail("Gemm: e.lo is %g, must be at most e.hi = %g", static_cast<double>(c.e.lo), static_cast<double>(c.e.hi));
  CheckOperand("mul", c.e.mul, m, w.n());
  CheckOperand("residual", c.e.residual, m, w.n());
  const bool has_epilogue = c.e.scale != nullptr || c.e.bias != nullptr || c.e.act != Act::kNone || c.e.clamp ||
                            c.e.mul.data != nullptr || c.e.residual.data != nullptr;
  if (c.y.type == DType::kI32 && has_epilogue) Fail("Gemm: y.type is i32, the epilogue may only accumulate");
  if (!IsFloat(c.y.type) && c.y.type != DType::kI32) {
    if (c.e.accumulate) Fail("Gemm: e.accumulate needs a y of f32, bf16, f16 or i32, y.type is %s", NameOf(c.y.type));
    if (c.e.out_zero < -128 || c.e.out_zero > 255)
      Fail("Gemm: e.out_zero is %d, allowed is -128 ... 255", c.e.out_zero);
  }
  if (!quantised && Overlaps(c.y, c.x)) Fail("Gemm: y overlaps x");
  if (quantised && c.xq->m != 0) {
    const ConstMatrixView codes{c.xq->codes, DType::kI8, c.xq->m + 1, c.xq->stride,
                                static_cast<ptrdiff_t>(c.xq->stride)};
    if (Overlaps(c.y, codes)) Fail("Gemm: y overlaps x");
  }
  const size_t w_bytes = w.panels() == 0 ? 0 : static_cast<size_t>(w.Codes(1) - w.Codes(0)) * w.panels();
  const ConstMatrixView codes{w.Codes(0), DType::kU8, 1, w_bytes, 0};
  if (w_bytes != 0 && Overlaps(c.y, codes)) Fail("Gemm: y overlaps w");
}

// What a call names: formats and modes, one bit for each algorithm.
struct Named {
  std::span<const FormatInfo> formats;
  unsigned modes;
};
// The kernels of `format` for a target, empty where the unit has none.
using PickFormat = FormatKernels (*)(const FormatInfo& format, int64_t target);

struct GemmJob {
  const GemmTask* tasks;
  size_t calls;
  const Context* context;
  mutable std::atomic<int64_t> ran{0};
};
inline void RunGemmTask(const void* p, size_t i, size_t worker) {
  const GemmJob& job = *static_cast<const GemmJob*>(p);
  size_t call = job.calls - 1;
  while (job.tasks[call].first_task > i) --call;
  const GemmTask& t = job.tasks[call];
  job.ran.store(t.kernel(t, i - t.first_task, job.context->scratch(worker)), std::memory_order_relaxed);
}

inline void CheckNamed(const PackedMatrix& w, std::span<const FormatInfo> list) {
  for (const FormatInfo& f : list) {
    if (f.id == w.format().id && f.bits == w.format().bits && f.map == w.format().map &&
        f.zero_x2 == w.format().zero_x2 && f.planes == w.format().planes) {
      return;
    }
  }
  char names[200] = {};
  for (const FormatInfo& f : list) Append(names, sizeof(names), " %s", f.name.data());
  Fail("Gemm: w.format is %s, the formats named by this call are:%s", w.format().name.data(), names);
}

// sums_table: a task is 32 rows of x, the last with the few that are left; each builds its tables once for its panels,
// so those are split only where the workers would not get equal shares.
inline void SplitSums(GemmTask& t, const FormatKernels& kernels, size_t workers) {
  const bool forced = t.call.algo == GemmAlgo::kSumsTable;
  t.min_lanes = forced ? 1 : TablesPayFrom(t.call, kernels.sums_table);
  t.rows_per_task = kSumsRows;
  t.row_tasks = t.m / kSumsRows + (t.m % kSumsRows >= t.min_lanes || (t.m != 0 && t.m < kSumsRows));
  constexpr size_t kLeastPanels = 8;
  const size_t panels = t.call.w.panels();
  const bool even = t.m % kSumsRows == 0 && t.row_tasks % workers == 0;
  const size_t parts = even || t.row_tasks >= 4 * workers ? 1 : workers;
  t.panels_per_task = std::max(parts == 1 ? panels : kLeastPanels, (panels + parts - 1) / parts);
}

inline void Prepare(GemmTask& t, const Named& named, PickFormat pick, const CommonKernels& common,
                    const Context& context) {
  GemmCall& c = t.call;
  if (c.w.segments() == 0) Fail("Gemm: w is empty, it must come from Pack or Map");
  CheckNamed(c.w, named.formats);
  t.m = RowsOf(c);
  CheckCall(c, t.m);
  FormatKernels kernels = pick(c.w.format(), context.target());
  kernels.modes = named.modes;
  const GemmAlgo algo = Choose(c, kernels);
  if (algo == GemmAlgo::kAuto) {
    const GemmAlgo asked = c.algo == GemmAlgo::kAuto ? GemmAlgo::kTile : c.algo;
    const char* why = WhyNot(asked, c, kernels);
    Fail("Gemm: algo is %s, which cannot run here: %s", kGemmAlgoNames[static_cast<int>(c.algo)],
         why != nullptr ? why : "no reason");  // there is one, which GCC does not always see
  }
  t.kernel = algo == GemmAlgo::kIntDot          ? kernels.int_dot
             : algo == GemmAlgo::kSumsTable     ? kernels.sums_table.run
             : algo == GemmAlgo::kPopcount      ? kernels.popcount.run
             : algo == GemmAlgo::kIntLanes      ? common.int_lanes
             : algo == GemmAlgo::kShuffleTable  ? kernels.shuffle_table
             : algo == GemmAlgo::kByteTable     ? kernels.byte_table.run
             : algo == GemmAlgo::kBf16Dot       ? kernels.bf16_dot.run
             : algo == GemmAlgo::kFloatTable    ? kernels.float_table
             : algo == GemmAlgo::kTripleTable   ? kernels.triple_table
             : algo == GemmAlgo::kRegisterTable ? kernels.register_table
                                                : common.tile;
  t.unpack = c.w.unit() == Unit::kByteRow  ? &UnpackBits
             : c.w.unit() == Unit::kTriple ? &UnpackAllTriples
             : kernels.unpack != nullptr   ? kernels.unpack
                                           : &UnpackAny;
  // Rectangles: rows in blocks that a worker's scratch and caches hold, panels so that each worker gets a few tasks.
  const size_t panels = c.w.panels(), workers = context.workers();
  t.rows_per_task = algo == GemmAlgo::kTile || algo == GemmAlgo::kBf16Dot ? kTileRows
                    : algo == GemmAlgo::kPopcount                         ? PopcountRows(c.w.format())
                                                                          : kRowsPerTask;
  t.row_tasks = (t.m + t.rows_per_task - 1) / t.rows_per_task;
  const size_t work = t.m * c.w.k() * kPanelRows * panels;
  // Each task of these makes tables of its own, so it gets as few as there are workers.
  const bool makes_tables = algo == GemmAlgo::kShuffleTable || algo == GemmAlgo::kFloatTable ||
                            algo == GemmAlgo::kTripleTable || algo == GemmAlgo::kRegisterTable ||
                            algo == GemmAlgo::kByteTable;
  const size_t per_worker = makes_tables ? 1 : 4;
  const size_t wanted = workers == 1 || work < (size_t{1} << 16) ? 1 : per_worker * workers;
  const size_t panel_tasks = t.row_tasks >= wanted || t.row_tasks == 0 ? 1 : (wanted + t.row_tasks - 1) / t.row_tasks;
  t.panels_per_task = panels == 0 ? 1 : (panels + panel_tasks - 1) / panel_tasks;
  if (algo == GemmAlgo::kSumsTable) SplitSums(t, kernels, workers);
  t.panel_tasks = panels == 0 ? 0 : (panels + t.panels_per_task - 1) / t.panels_per_task;
}

inline void RunGemm(std::span<const GemmCall> calls, Context& context, const Named& named, PickFormat pick,
                    const CommonKernels& common) {
  constexpr size_t kMost = Context::kJobBytes / sizeof(GemmTask);
  if (calls.size() > kMost) Fail("Gemm: calls has %zu entries, at most %zu fit into one region", calls.size(), kMost);
  GemmTask* tasks = reinterpret_cast<GemmTask*>(context.job_memory());
  size_t total = 0;
  for (size_t i = 0; i < calls.size(); ++i) {
    GemmTask& t = *new (tasks + i) GemmTask;
    t.call = calls[i];
    Prepare(t, named, pick, common, context);
    t.first_task = total;
    total += t.panel_tasks * t.row_tasks;
  }
  GemmJob job{tasks, calls.size(), &context};
  context.executor().run(context.executor(), total, &RunGemmTask, &job);
  context.set_last_target(job.ran.load());
}

inline Explanation ExplainGemm(const GemmCall& call, const Context& context, const Named& named, PickFormat pick,
                               const char* target) {
  CheckNamed(call.w, named.formats);
  FormatKernels kernels = pick(call.w.format(), context.target());
  kernels.modes = named.modes;
  Explanation e;
  e.algo = Choose(call, kernels);
  const auto add = [&](const char* a, const char* b, const char* c, const char* d) {
    Append(e.text, sizeof(e.text), "%s%s%s%s\n", a, b, c, d);
  };
  if (e.algo == GemmAlgo::kAuto) {
    add("no algorithm can run this call", "", "", "");
  } else {
    add(kGemmAlgoNames[static_cast<int>(e.algo)], " on ", target, "");
    const bool decode = RowsOf(call) <= 4;
    add("bound: ",
        e.algo == GemmAlgo::kIntDot
            ? (decode ? "DRAM read of the weights, or the dot product's port where they are cached"
                      : "the dot product's port")
        : e.algo == GemmAlgo::kSumsTable     ? "L1 loads of table lines, and the stores that build them"
        : e.algo == GemmAlgo::kRegisterTable ? "vector operations: lookups and sums of 16-bit lanes"
        : e.algo == GemmAlgo::kShuffleTable || e.algo == GemmAlgo::kByteTable
            ? "vector operations: lookups and sums of bytes, once per bit of the codes"
        : e.algo == GemmAlgo::kFloatTable ? "vector operations: lookups and sums of floats, once per bit of the codes"
        : e.algo == GemmAlgo::kTripleTable
            ? (decode ? "DRAM read of the weights, or lookups and sums of bytes where they are cached"
                      : "vector operations: lookups and sums of bytes")
        : e.algo == GemmAlgo::kPopcount
            ? (decode ? "L2 or DRAM read of the weights, or population counts where they are cached"
                      : "population counts of vectors")
        : e.algo == GemmAlgo::kIntLanes ? "unpacking and 32-bit multiplies"
        : e.algo == GemmAlgo::kBf16Dot  ? "the bf16 dot's port, and decoding of the weights beside few rows"
        : RowsOf(call) <= kFusedRows    ? "decoding of the weights (from 2 rows on beside the FMA port)"
                                        : "the FMA port",
        "", "");
    if (e.algo == GemmAlgo::kBf16Dot) add("lossy: x is rounded to bf16, 8 significant bits", "", "", "");
    if (e.algo == GemmAlgo::kByteTable) add("lossy: sums of four activations are rounded to 7 bits", "", "", "");
  }
  for (const GemmAlgo algo : kGemmAlgos) {
    if (algo == e.algo) continue;
    const char* why = WhyNot(algo, call, kernels);
    add("not ", kGemmAlgoNames[static_cast<int>(algo)], ": ",
        why != nullptr                 ? why
        : call.algo != GemmAlgo::kAuto ? "another one is forced"
                                       : "slower here");
  }
  return e;
}

// The formats among what a call names, and the modes.
template <class... Formats>
inline constexpr auto kFormatsOf = [] {
  std::array<FormatInfo, (size_t{!kIsMode<Formats>} + ... + 0)> list{};
  [[maybe_unused]] size_t i = 0;
  [[maybe_unused]] const auto add = [&]<class T>() {
    if constexpr (!kIsMode<T>) list[i++] = T::info;
  };
  (add.template operator()<Formats>(), ...);
  return list;
}();

}}}  // namespace lutra::LUTRA_NS::internal

#if defined(LUTRA_COMPILED)
namespace lutra { inline namespace LUTRA_API_NS {

// The library's own entries: `list` names the formats a call may have, empty: all of lutra's own; modes: those it asks
// for, 1 << algo.
void GemmListed(std::span<const GemmCall> calls, Context& context, std::span<const FormatInfo> list, unsigned modes);
Explanation ExplainListed(const GemmCall& call, const Context& context, std::span<const FormatInfo> list,
                          unsigned modes);

}}  // namespace lutra::LUTRA_API_NS
#endif

#if !defined(LUTRA_COMPILED) || defined(LUTRA_BUILDS_GEMM)
#include "lutra/gemm/dispatch.h"
#endif

namespace lutra { inline namespace LUTRA_NS {

inline RowMap RepeatRows(size_t m, size_t segments, std::span<int32_t> memory) {
  if (segments == 0 || m > INT32_MAX || memory.size() / segments < m) {
    Fail("RepeatRows: memory holds %zu numbers, m = %zu rows of %zu segments need m * segments", memory.size(), m,
         segments);
  }
  for (size_t i = 0; i < m * segments; ++i) memory[i] = static_cast<int32_t>(i / segments);
  return {m, segments, memory.data()};
}

#if defined(LUTRA_COMPILED)
#define LUTRA_GEMM_OF(X) GemmListed(calls, context, internal::kFormatsOf<Formats...>, internal::kModesOf<Formats...>)
#else
#define LUTRA_GEMM_OF(X)                                                                                \
  internal::RunGemm(calls, context, {internal::kFormatsOf<Formats...>, internal::kModesOf<Formats...>}, \
                    &internal::PickOf<HWY_TARGETS, internal::X, Formats...>,                            \
                    internal::PickCommon<HWY_TARGETS, internal::X, Formats...>(context.target()));      \
  static_assert(!internal::kFormatsOf<Formats...>.empty(),                                              \
                "name the formats: Gemm<Ternary>(...). Only lutra::compiled has them all")
#endif

template <class... Formats>
LUTRA_MEMBER void Gemm(std::span<const GemmCall> calls, Context& context) {
  LUTRA_GEMM_OF(kAnyX);
}
template <class... Formats>
LUTRA_MEMBER void Gemm(const Activations& x, const PackedMatrix& w, MatrixView y, Context& context, const Epilogue& e) {
  GemmCall call;
  call.xq = &x;
  call.w = w;
  call.y = y;
  call.e = e;
  const std::span<const GemmCall> calls(&call, 1);
  LUTRA_GEMM_OF(kInt8X);
}
template <class... Formats>
LUTRA_MEMBER void Gemm(ConstMatrixView x, const PackedMatrix& w, MatrixView y, Context& context, const Epilogue& e) {
  GemmCall call;
  call.x = x;
  call.w = w;
  call.y = y;
  call.e = e;
  const std::span<const GemmCall> calls(&call, 1);
  LUTRA_GEMM_OF(kFloatX);
}
#undef LUTRA_GEMM_OF

template <class... Formats>
LUTRA_MEMBER Explanation Explain(const GemmCall& call, const Context& context) {
#if defined(LUTRA_COMPILED)
  return ExplainListed(call, context, internal::kFormatsOf<Formats...>, internal::kModesOf<Formats...>);
#else
  return internal::ExplainGemm(call, context, {internal::kFormatsOf<Formats...>, internal::kModesOf<Formats...>},
                               &internal::PickOf<HWY_TARGETS, internal::kAnyX, Formats...>,
                               internal::TargetOf<HWY_TARGETS>(context.target()));
#endif
}

}}  // namespace lutra::LUTRA_NS
