// Float weights to codes and scales: what each Fit means, one scope at a time.
// Bound: the division of each weight and sums in double one after another; of kAbsMedian the search besides.
//
// A scope is what shares a scale: the tensor, a row, or a group of group_k (counted from each segment of K). In a
// scope:
//   1. s is computed by the fit from the scope's weights, then rounded to Scales::type.
//   2. r = w / s in f32, with the rounded s, and
//        integer zero point z       code = clamp(nearbyint(r) + z)
//        half-integer zero point z  code = clamp(floor(r) + (z + 1/2))
//        table                      the value nearest to r, ties to the lower code
//      clamp is to 0 ... codes - 1, nearbyint rounds ties to even.
//
//   kAbsMax     s = absmax / limit, limit = codes - 1 - z, of a table max |table|
//   kAbsMean    s = max(mean |w|, 1e-5)                                                (BitNet b1.58)
//   kAbsMedian  s = max(median |w|, 1e-5), of an even count the lower median           (BitNet b1.58 Reloaded)
//   kSignMean   s = mean |w| / v, code of +v where w > mean w, else of -v. +-v is the largest pair of values that the
//               format has: +-1/2 of Int1, +-1 (codes 0 and 2) of Ternary. Without a pair it is refused. (BitNet)
//   kMinMax     s = (max - min) / (codes - 1); offset = min - value(0) * s, rounded to Scales::type;
//               code = clamp(nearbyint((w - low) / s)), low = value(0) * s + offset. Needs Scales::has_offset and an
//               affine format.
//
// Means are sums in double, k ascending, rows ascending, divided and then rounded to f32; kSignMean compares in double.
// With has_offset and another fit than kMinMax the offset is 0. Where s is 0 (an empty scope, all zeros, kMinMax of
// equal weights, underflow in Scales::type) every code is that of r = 0; all zeros give s = 0 with any fit. A NaN or an
// infinity among the weights, and a scale or offset too large for Scales::type, are errors that name the place.
#pragma once
#include <atomic>
#include <cmath>
#include <limits>

#include "lutra/weights/packed.h"
#include "lutra/weights/search.h"

namespace lutra { inline namespace v0 {

enum class Fit : uint8_t { kAbsMax, kAbsMean, kAbsMedian, kSignMean, kMinMax };

// A CodedMatrix in memory of its own: codes, scales and offsets in f32 (already rounded to Scales::type), the table.
class CodedBuffer {
 public:
  CodedBuffer() = default;
  LUTRA_MEMBER CodedBuffer(CodedBuffer&& other) noexcept : memory_(other.memory_), matrix_(other.matrix_) {
    other.memory_ = nullptr;
    other.matrix_ = {};
  }
  LUTRA_MEMBER CodedBuffer& operator=(CodedBuffer&& other) noexcept {
    void* const memory = memory_;
    const CodedMatrix matrix = matrix_;
    memory_ = other.memory_;
    matrix_ = other.matrix_;
    other.memory_ = memory;
    other.matrix_ = matrix;
    return *this;
  }
  LUTRA_MEMBER ~CodedBuffer() { std::free(memory_); }

  // Valid as long as this buffer.
  LUTRA_MEMBER const CodedMatrix& matrix() const { return matrix_; }
  LUTRA_MEMBER operator const CodedMatrix&() const { return matrix_; }

  // For code that produces codes itself: zeroed codes, scales [scale_rows, groups] and offsets, to be written before
  // use. Copies the table. Fails where there is no memory.
  static CodedBuffer Allocate(const FormatInfo& format, const Scales& scales, size_t n, size_t k, size_t groups,
                              const float* table);
  LUTRA_MEMBER uint8_t* codes() { return const_cast<uint8_t*>(matrix_.codes); }
  LUTRA_MEMBER float* scale() { return static_cast<float*>(const_cast<void*>(matrix_.scale.data)); }
  LUTRA_MEMBER float* offset() { return static_cast<float*>(const_cast<void*>(matrix_.offset.data)); }

 private:
  void* memory_ = nullptr;
  CodedMatrix matrix_;
};

}}  // namespace lutra::v0

LUTRA_EXACT_BEGIN
namespace lutra {
inline namespace v0 {

LUTRA_MEMBER CodedBuffer CodedBuffer::Allocate(const FormatInfo& format, const Scales& scales, size_t n, size_t k,
                                               size_t groups, const float* table) {
  const size_t rows = scales.per_tensor ? 1 : n;
  const size_t codes = internal::CheckedSize("CodedBuffer", n, k);
  const size_t floats = internal::CheckedSize("CodedBuffer", rows, groups, scales.has_offset ? 2 : 1);
  const size_t entries = format.map == Map::kTable ? size_t{1} << format.bits : 0;
  size_t bytes = 0;
  if (__builtin_add_overflow((floats + entries) * sizeof(float), codes, &bytes) || bytes > PTRDIFF_MAX / 2) {
    Fail("CodedBuffer: %zu x %zu codes do not fit into memory", n, k);
  }
  CodedBuffer buffer;
  buffer.memory_ = std::calloc(bytes + 1, 1);  // + 1: never null on success
  if (buffer.memory_ == nullptr) Fail("CodedBuffer: no memory for %zu bytes", bytes);
  float* const scale = static_cast<float*>(buffer.memory_);
  float* const copy = scale + floats;
  CodedMatrix& m = buffer.matrix_;
  m.format = format;
  m.scales = scales;
  m.n = n;
  m.k = k;
  m.codes = reinterpret_cast<uint8_t*>(copy + entries);
  m.code_stride = k;
  m.scale = {scale, DType::kF32, rows, groups, static_cast<ptrdiff_t>(groups)};
  if (scales.has_offset) m.offset = {scale + rows * groups, DType::kF32, rows, groups, static_cast<ptrdiff_t>(groups)};
  if (entries != 0) {
    std::memcpy(copy, table, entries * sizeof(float));
    m.table = copy;
  }
  return buffer;
}

}  // namespace v0

inline namespace LUTRA_NS {
namespace internal {

// What an encoder knows before it sees a weight.
struct Encoding {
  ConstMatrixView w;
  FormatInfo format;
  Scales scales;
  Fit fit = Fit::kAbsMax;
  const float* table = nullptr;
  size_t segments = 1, segment_k = 0, groups = 1;
  float limit = 0.0f;               // kAbsMax
  float pair = 0.0f;                // kSignMean: v
  uint8_t plus = 0, minus = 0;      // and the codes of +-v
  float least = 0.0f, most = 0.0f;  // of the table
  TableSteps steps;
};

// nearbyint of |v| <= 2^22 in the default rounding mode. Vectorises where SSE4 is missing, too.
inline float Nearest(float v) { return (v + 0x1.8p23f) - 0x1.8p23f; }

// Codes of w / scale by an affine format. Without branches, written so that GCC, too, makes vectors of it.
template <bool kHalf>
inline void AffineCodes(const float* values, size_t n, float scale, int zero, int last, uint8_t* codes) {
  for (size_t i = 0; i < n; ++i) {
    const float quotient = values[i] / scale, most = std::copysign(512.0f, quotient);
    const float r = std::fabs(quotient) < 512.0f ? quotient : most;  // the clamp below gives the same code
    const float near = Nearest(r);
    int code = static_cast<int>(near) + zero;
    if (kHalf) code -= near > r ? 1 : 0;  // floor
    code = code < 0 ? 0 : code;
    codes[i] = static_cast<uint8_t>(code > last ? last : code);
  }
}
inline void NearestCodes(const Encoding& e, const float* values, size_t n, float scale, uint8_t* codes) {
  const FormatInfo& f = e.format;
  if (f.map == Map::kAffine && f.zero_x2 % 2 == 0) {
    AffineCodes<false>(values, n, scale, f.zero_x2 / 2, f.codes - 1, codes);
  } else if (f.map == Map::kAffine) {
    AffineCodes<true>(values, n, scale, (f.zero_x2 + 1) / 2, f.codes - 1, codes);
  } else if (e.steps.use) {
    NearestBySteps(e.steps, values, n, scale, codes);
  } else {
    for (size_t i = 0; i < n; ++i) {
      float r = values[i] / scale;
      r = r < e.least ? e.least : r > e.most ? e.most : r;  // it may be infinite
      codes[i] = NearestByDistance(e.table, f.codes, double{r});
    }
  }
}

// Scale and offset of a scope, and what its codes are made with.
struct Fitted {
  float scale = 0.0f, offset = 0.0f;  // rounded to Scales::type
  float low = 0.0f;                   // kMinMax
  double mean = 0.0;                  // kSignMean
};
inline Fitted FitScope(const Encoding& e, const Scope& s) {
  Fitted fitted;
  const size_t count = (s.row1 - s.row0) * (s.k1 - s.k0);
  if (count == 0) return fitted;
  float low = std::numeric_limits<float>::infinity(), high = -low;
  double sum = 0.0, abs_sum = 0.0;
  ForRuns(e.w, s, [&](const float* values, size_t n) {
    for (size_t i = 0; i < n; ++i) {
      const float v = values[i];
      low = v < low ? v : low;
      high = v > high ? v : high;
      sum += double{v};
      abs_sum += double{std::fabs(v)};
    }
  });
  if (!std::isfinite(abs_sum)) {  // sums of finite f32 are finite
    fitted.scale = std::numeric_limits<float>::quiet_NaN();
    return fitted;
  }
  const float absmax = -low > high ? -low : high;
  if (absmax == 0.0f) return fitted;
  const float mean = static_cast<float>(abs_sum / static_cast<double>(count));
  const auto at_least = [](float v) { return v < 1e-5f ? 1e-5f : v; };
  float scale = 0.0f;
  switch (e.fit) {
    case Fit::kAbsMax:
      scale = absmax / e.limit;
      break;
    case Fit::kAbsMean:
      scale = at_least(mean);
      break;
    case Fit::kAbsMedian:
      scale = at_least(LowerMedian(e.w, s));
      break;
    case Fit::kSignMean:
      scale = mean / e.pair;
      fitted.mean = sum / static_cast<double>(count);
      break;
    case Fit::kMinMax:
      scale = e.format.codes == 1 ? 0.0f : (high - low) / static_cast<float>(e.format.codes - 1);
      break;
  }
  fitted.scale = RoundTo(scale, e.scales.type);
  if (e.fit == Fit::kMinMax) {
    const float first = static_cast<float>(-e.format.zero_x2) * 0.5f * fitted.scale;
    fitted.offset = RoundTo(low - first, e.scales.type);
    fitted.low = first + fitted.offset;
  }
  return fitted;
}

inline void EncodeScope(const Encoding& e, const Scope& s, const Fitted& f, uint8_t* codes) {
  ForRuns(e.w, s, [&](const float* values, size_t n) {
    if (f.scale == 0.0f) {
      const float zero = 0.0f;
      uint8_t code;
      NearestCodes(e, &zero, 1, 1.0f, &code);
      std::memset(codes, code, n);
    } else if (e.fit == Fit::kSignMean) {
      const int minus = e.minus, step = e.plus - e.minus;
      for (size_t i = 0; i < n; ++i) codes[i] = static_cast<uint8_t>(minus + step * (double{values[i]} > f.mean));
    } else if (e.fit == Fit::kMinMax) {
      const float last = static_cast<float>(e.format.codes - 1);
      for (size_t i = 0; i < n; ++i) {
        float r = (values[i] - f.low) / f.scale;
        r = r > 0.0f ? r : 0.0f;
        r = r < last ? r : last;
        codes[i] = static_cast<uint8_t>(static_cast<int>(Nearest(r)));
      }
    } else {
      NearestCodes(e, values, n, f.scale, codes);
    }
    codes += n;
  });
}

inline bool Failed(const Fitted& f) { return !std::isfinite(f.scale) || !std::isfinite(f.offset); }
inline void FailIfNotFinite(const char* what, const ConstMatrixView& w, const Scope& s) {
  for (size_t row = s.row0; row < s.row1; ++row) {
    for (size_t k = s.k0; k < s.k1; ++k) {
      const float v = LoadFloat(w.data, w.type, static_cast<ptrdiff_t>(row) * w.row_stride + static_cast<ptrdiff_t>(k));
      if (!std::isfinite(v)) Fail("%s: w at row %zu, column %zu is %g, must be finite", what, row, k, double{v});
    }
  }
}
// Says which weight of a scope is not finite, else that its scale is not.
[[noreturn, gnu::cold]] inline void FailScope(const Encoding& e, const Scope& s, const Fitted& f, size_t group) {
  FailIfNotFinite("EncodeWeights", e.w, s);
  Fail("EncodeWeights: the scale %g or offset %g of row %zu, group %zu does not fit into %s", double{f.scale},
       double{f.offset}, s.row0, group, NameOf(e.scales.type));
}

// Group `group` of a row, as columns.
inline Scope GroupScope(const Encoding& e, size_t row, size_t group) {
  const size_t group_k = e.scales.group_k;
  if (group_k == 0) return {row, row + 1, 0, e.w.cols};
  const size_t per_segment = e.groups / e.segments, segment = group / per_segment,
               first = group % per_segment * group_k;
  const size_t size = e.segment_k - first < group_k ? e.segment_k - first : group_k;
  return {row, row + 1, segment * e.segment_k + first, segment * e.segment_k + first + size};
}

// Encodes a row; false where it cannot be done. fail: say why instead.
inline bool EncodeRow(const Encoding& e, size_t row, const Fitted* tensor, uint8_t* codes, float* scale, float* offset,
                      bool fail) {
  if (tensor != nullptr) {
    EncodeScope(e, {row, row + 1, 0, e.w.cols}, *tensor, codes);
    return true;
  }
  for (size_t g = 0; g < e.groups; ++g) {
    const Scope s = GroupScope(e, row, g);
    const Fitted f = FitScope(e, s);
    if (Failed(f)) {
      if (fail) FailScope(e, s, f, g);
      return false;
    }
    EncodeScope(e, s, f, codes + s.k0);
    scale[g] = f.scale;
    if (offset != nullptr) offset[g] = f.offset;
  }
  return true;
}

// encode(row, fail) for all rows, in tasks. Executors do not carry exceptions: where it returns false the task notes
// the row, and the caller makes it fail.
template <class Encode>
void ForRowsInParallel(const char* what, size_t rows, size_t cols, Context& context, const Encode& encode) {
  struct Job {
    const Encode* encode;
    size_t rows, rows_per_task;
    mutable std::atomic<size_t> done{0}, bad_row{SIZE_MAX};
  } job;
  job.encode = &encode;
  job.rows = rows;
  job.rows_per_task = cols >= 16384 ? 1 : 16384 / (cols + 1) + 1;
  const auto task = [](const void* p, size_t i, size_t) {
    const Job& j = *static_cast<const Job*>(p);
    const size_t begin = i * j.rows_per_task, rest = j.rows - begin;
    for (size_t row = begin; row < begin + (rest < j.rows_per_task ? rest : j.rows_per_task); ++row) {
      if ((*j.encode)(row, false)) continue;
      size_t first = j.bad_row.load();
      while (row < first && !j.bad_row.compare_exchange_weak(first, row)) {}
      break;
    }
    j.done.fetch_add(1);
  };
  const size_t tasks = (rows + job.rows_per_task - 1) / job.rows_per_task;
  context.executor().run(context.executor(), tasks, task, &job);
  if (job.bad_row.load() != SIZE_MAX) encode(job.bad_row.load(), true);
  if (job.done.load() != tasks) {
    Fail("%s: context ran %zu of %zu tasks; with Share every thread would get a part of its own", what, job.done.load(),
         tasks);
  }
}

// Checks everything but the weights, and finishes the encoding.
inline void PrepareEncoding(Encoding& e) {
  const FormatInfo& f = e.format;
  if (!IsFloat(e.w.type)) Fail("EncodeWeights: w.type is %s, allowed are f32, bf16, f16", NameOf(e.w.type));
  CheckMatrix("EncodeWeights: w", e.w, false);
  if (e.segments == 0 || e.w.cols % e.segments != 0) {
    Fail("EncodeWeights: segments is %zu, must divide w.cols = %zu", e.segments, e.w.cols);
  }
  e.segment_k = e.w.cols / e.segments;
  const PackSpec spec{f, e.scales, e.w.rows, e.segment_k, e.segments};
  const Status status = CheckSpec(spec);
  if (!status.ok()) Fail("EncodeWeights: %s", status.message());
  e.groups = LayoutOf(spec).groups;
  if (e.fit > Fit::kMinMax) Fail("EncodeWeights: fit is %d, not a Fit", static_cast<int>(e.fit));
  if (f.map == Map::kTable) {
    if (e.table == nullptr) {
      Fail("EncodeWeights: table is null, format %s needs %d values", f.name.data(), f.MaxPattern() + 1);
    }
    for (int c = 0; c <= f.MaxPattern(); ++c) {
      if (!std::isfinite(e.table[c])) Fail("EncodeWeights: table[%d] is %g, must be finite", c, double{e.table[c]});
    }
  }
  e.least = e.most = ValueOf(f, e.table, 0);
  for (unsigned c = 0; c < f.codes; ++c) {
    const float v = ValueOf(f, e.table, c);
    e.least = v < e.least ? v : e.least;
    e.most = v > e.most ? v : e.most;
    for (unsigned d = 0; d < f.codes; ++d) {
      if (v > e.pair && ValueOf(f, e.table, d) == -v) {
        e.pair = v;
        e.plus = static_cast<uint8_t>(c);
        e.minus = static_cast<uint8_t>(d);
      }
    }
  }
  if (f.map == Map::kTable) e.steps = StepsOf(e.table, f.codes);
  e.limit = f.map == Map::kTable && -e.least > e.most ? -e.least : e.most;
  if (e.fit == Fit::kAbsMax && !(e.limit > 0.0f)) {
    Fail("EncodeWeights: fit is kAbsMax, format %s has no value above 0", f.name.data());
  }
  if (e.fit == Fit::kSignMean && e.pair == 0.0f) {
    Fail("EncodeWeights: fit is kSignMean, format %s has no pair of values +-v", f.name.data());
  }
  if (e.fit == Fit::kMinMax && (!e.scales.has_offset || f.map == Map::kTable)) {
    Fail("EncodeWeights: fit is kMinMax, it needs scales.has_offset and a format without a table");
  }
}

}  // namespace internal

// Codes and scales of w [N, K] of f32, bf16 or f16, rows in parallel; equal for any number of threads. segments: see
// PackSpec. table: 2^bits values for Map::kTable, copied. Fails on what the definitions above refuse, and on what
// PackedBytes would. The result is new memory: Share, whose threads would fill one part each, is refused.
inline CodedBuffer EncodeWeights(ConstMatrixView w, const FormatInfo& format, const Scales& scales, Fit fit,
                                 Context& context, size_t segments = 1, const float* table = nullptr) {
  internal::Encoding e;
  e.w = w;
  e.format = format;
  e.scales = scales;
  e.fit = fit;
  e.table = table;
  e.segments = segments;
  internal::PrepareEncoding(e);
  CodedBuffer out = CodedBuffer::Allocate(format, scales, w.rows, w.cols, e.groups, table);
  internal::Fitted tensor;
  if (scales.per_tensor) {
    const internal::Scope whole{0, w.rows, 0, w.cols};
    tensor = internal::FitScope(e, whole);
    if (internal::Failed(tensor)) internal::FailScope(e, whole, tensor, 0);
    out.scale()[0] = tensor.scale;
    if (scales.has_offset) out.offset()[0] = tensor.offset;
  }
  const internal::Fitted* const shared = scales.per_tensor ? &tensor : nullptr;
  const auto encode = [&](size_t row, bool fail) {
    return internal::EncodeRow(e, row, shared, out.codes() + row * w.cols, out.scale() + row * e.groups,
                               scales.has_offset ? out.offset() + row * e.groups : nullptr, fail);
  };
  internal::ForRowsInParallel("EncodeWeights", w.rows, w.cols, context, encode);
  return out;
}

// Encodes and packs.
inline PackedBuffer QuantizeWeights(ConstMatrixView w, const FormatInfo& format, const Scales& scales, Fit fit,
                                    Context& context, size_t segments = 1, const float* table = nullptr,
                                    Unit unit = Unit::kLane32) {
  const CodedBuffer coded = EncodeWeights(w, format, scales, fit, context, segments, table);
  return Pack(coded, context, segments, unit);
}

// With the table, if it has one, from the format: QuantizeWeights<Ternary>(w, {}, Fit::kAbsMean, context).
template <class Format>
CodedBuffer EncodeWeights(ConstMatrixView w, const Scales& scales, Fit fit, Context& context, size_t segments = 1) {
  const auto table = TableOf<Format>();
  return EncodeWeights(w, Format::info, scales, fit, context, segments, table.data());
}
template <class Format>
PackedBuffer QuantizeWeights(ConstMatrixView w, const Scales& scales, Fit fit, Context& context, size_t segments = 1,
                             Unit unit = Unit::kLane32) {
  const auto table = TableOf<Format>();
  return QuantizeWeights(w, Format::info, scales, fit, context, segments, table.data(), unit);
}

}  // namespace LUTRA_NS
}  // namespace lutra
LUTRA_EXACT_END
