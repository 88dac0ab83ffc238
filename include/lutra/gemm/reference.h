// The definition of Gemm, one output at a time.
#pragma once
#include <cmath>
#include <vector>

#include "lutra/core/epilogue_reference.h"
#include "lutra/gemm/kernels.h"

LUTRA_EXACT_BEGIN
namespace lutra { inline namespace LUTRA_NS { namespace reference {

// Quantises one row [k] as Quantize does; writes k codes, returns the scale. most: max |x| or mean |x|, as spec.fit
// says, of the row, group or tensor.
inline float QuantizeRow(const float* x, size_t k, float most, const ActSpec& spec, int8_t* codes) {
  const auto s = internal::ScaleOf(spec, most);
  const auto range = internal::CodesOf(spec);
  for (size_t i = 0; i < k; ++i) {
    if (internal::IsBipolar(spec)) {
      codes[i] = x[i] < 0.0f ? int8_t{-1} : int8_t{1};
    } else if (s.factor == 0.0f) {
      codes[i] = 0;
    } else {
      const float r = std::nearbyint(x[i] * s.factor);
      codes[i] =
          static_cast<int8_t>(std::fmin(std::fmax(r, static_cast<float>(range.low)), static_cast<float>(range.high)));
    }
  }
  return s.scale;
}
// The largest magnitude of k values; NaN where one of them is.
inline float AbsMax(const float* x, size_t k) {
  float most = 0.0f;
  for (size_t i = 0; i < k; ++i) most = std::fabs(x[i]) > most || std::isnan(x[i]) ? std::fabs(x[i]) : most;
  return most;
}
// The sum of |x| in the one order that all targets keep: 32 sums, each of every 32nd value, then halves upon halves.
inline float AbsSum(const float* x, size_t k) {
  float sums[32] = {};
  for (size_t i = 0; i < k; ++i) sums[i % 32] += std::fabs(x[i]);
  for (size_t half = 16; half != 0; half /= 2) {
    for (size_t i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  return sums[0];
}
// max |x| or mean |x| of a row or group.
inline float MostOf(const float* x, size_t k, ActFit fit) {
  if (fit == ActFit::kAbsMax) return AbsMax(x, k);
  return k == 0 ? 0.0f : AbsSum(x, k) / static_cast<float>(k);
}
// Bit `bit` of the codes of 32 k as Activations::planes holds it.
inline uint32_t PlaneWord(const int8_t* codes, const ActSpec& spec, int bit) {
  uint32_t word = 0;
  for (uint32_t k = 0; k < 32; ++k) {
    const uint32_t is_set = internal::IsBipolar(spec) ? codes[k] > 0 : static_cast<uint8_t>(codes[k]) >> bit & 1u;
    word |= is_set << (k % 4 * 8 + k / 4);
  }
  return word;
}

// Row n of a call's weights, its codes decoded once for all rows of x.
struct WeightRow {
  WeightRow(const GemmCall& c, size_t row) : call(c), n(row), codes(c.w.k()) {
    for (size_t k = 0; k < codes.size(); ++k) codes[k] = static_cast<uint8_t>(c.w.Code(n, k));
  }
  unsigned Code(size_t segment, size_t k) const { return codes[segment * call.w.segment_k() + k]; }
  float Value(size_t segment, size_t k) const {
    return internal::ValueOf(call.w.format(), call.w.table(), Code(segment, k));
  }

  const GemmCall& call;
  size_t n;
  std::vector<uint8_t> codes;
};

// sum over k in [span.k0, span.k1) of q * (2 c - zero_x2); x_sum gets the sum of q.
inline int64_t SpanSum(const WeightRow& w, const int8_t* q, size_t segment, const internal::Span& s, int32_t* x_sum) {
  const int zero_x2 = w.call.w.format().zero_x2;
  int64_t sum = 0;
  *x_sum = 0;
  for (size_t k = s.k0; k < s.k1; ++k) {
    sum += q[k] * (2 * static_cast<int>(w.Code(segment, k)) - zero_x2);
    *x_sum += q[k];
  }
  return sum;
}

// The same by tables of sums rounded to 7 bits (docs/numerics.md, 2.8).
inline int64_t ByteSpanSum(const WeightRow& w, const internal::ByteStep& step, const int8_t* q, size_t segment,
                           const internal::Span& s, int32_t* x_sum) {
  const FormatInfo& f = w.call.w.format();
  int32_t sum = 0;
  *x_sum = 0;
  for (size_t k0 = s.k0; k0 < s.k1; k0 += 4) {
    int quads[8] = {};  // of each plane
    for (size_t k = k0; k < std::min(s.k1, k0 + 4); ++k) {
      const unsigned code = w.Code(segment, k);
      for (int p = 0; p < f.bits; ++p) quads[p] += (code >> p & 1u) != 0 ? q[k] : -q[k];
      *x_sum += q[k];
    }
    for (int p = 0; p < f.bits; ++p) sum += ((quads[p] * step.factor + (1 << 13)) >> 14) * (1 << p);
  }
  int64_t half = (int64_t{sum} - *x_sum) >> 1;
  if (!step.exact()) {
    const float part = static_cast<float>(sum) * step.half_step - static_cast<float>(*x_sum) * 0.5f;
    half = static_cast<int64_t>(std::nearbyint(std::fmin(part, internal::kMostByteSum)));
  }
  return 2 * (half + *x_sum * (int64_t{1} << (f.bits - 1))) - int64_t{f.zero_x2} * *x_sum;
}
// What the rows of x of output m are rounded by.
inline internal::ByteStep ByteStepOf(const GemmCall& c, size_t m) {
  int most = 0;
  for (size_t segment = 0; segment < c.w.segments(); ++segment) {
    const ptrdiff_t row = internal::RowOf(c, m, segment);
    for (size_t k = 0; row >= 0 && k < c.w.segment_k(); k += 4) {
      int quad = 0;
      for (size_t i = k; i < std::min(c.w.segment_k(), k + 4); ++i) {
        quad += std::abs(int{c.xq->Row(static_cast<size_t>(row))[i]});
      }
      most = std::max(most, quad);
    }
  }
  return internal::ByteStepOf(most);
}
// Calls take(row of x, span, sum, sum of x) for the spans of output (m, w.n), ascending; sum as by SpanSum.
template <class Take>
void ForSpans(const WeightRow& w, GemmAlgo algo, size_t m, const Take& take) {
  const GemmCall& c = w.call;
  internal::ByteStep step;
  if (algo == GemmAlgo::kByteTable) step = ByteStepOf(c, m);
  for (size_t segment = 0; segment < c.w.segments(); ++segment) {
    const ptrdiff_t row = internal::RowOf(c, m, segment);
    const size_t r = row < 0 ? c.xq->m : static_cast<size_t>(row);
    for (size_t k = 0; k < c.w.segment_k();) {
      const internal::Span s = internal::SpanAt(c.w, c.xq->spec, segment, k);
      k = s.k1;
      int32_t x_sum = 0;
      const int64_t sum = algo == GemmAlgo::kByteTable ? ByteSpanSum(w, step, c.xq->Row(r), segment, s, &x_sum)
                                                       : SpanSum(w, c.xq->Row(r), segment, s, &x_sum);
      take(r, s, sum, x_sum);
    }
  }
}

// Output (m, w.n) before the epilogue, integer path.
inline float IntDot(const WeightRow& w, GemmAlgo algo, size_t m) {
  const GemmCall& c = w.call;
  float acc = 0.0f, run = 0.0f;
  ForSpans(w, algo, m, [&](size_t r, const internal::Span& s, int64_t sum, int32_t x_sum) {
    const float t = static_cast<float>(sum) * 0.5f;
    run = run + t * c.w.ScaleOf(w.n, s.weight_group);
    if (c.w.scales().has_offset) run = run + static_cast<float>(x_sum) * c.w.OffsetOf(w.n, s.weight_group);
    if (internal::EndsRun(c, s)) {
      acc = acc + run * c.xq->Scale(r, s.x_group);
      run = 0.0f;
    }
  });
  return acc;
}
// Output (m, w.n) as an integer sum: y.type i32.
inline int32_t IntSum(const WeightRow& w, GemmAlgo algo, size_t m) {
  int32_t acc = 0;
  ForSpans(w, algo, m,
           [&](size_t, const internal::Span&, int64_t sum, int32_t) { acc += static_cast<int32_t>(sum / 2); });
  return acc;
}

// x of output row m at k of a segment, as a float. Activations count as the floats q * scale.
inline float XAt(const GemmCall& c, size_t m, size_t segment, size_t k) {
  const ptrdiff_t row = internal::RowOf(c, m, segment);
  if (row < 0) return 0.0f;
  if (c.xq == nullptr) return LoadFloat(c.x.data, c.x.type, row * c.x.row_stride + static_cast<ptrdiff_t>(k));
  const auto r = static_cast<size_t>(row);
  return static_cast<float>(c.xq->Row(r)[k]) * c.xq->Scale(r, c.xq->spec.group_k == 0 ? 0 : k / c.xq->spec.group_k);
}

// acc with the sum of a span; parts: sums of its x by k mod 16.
inline float AddSpan(const GemmCall& c, size_t n, const internal::Span& s, float t, float (&parts)[16], float acc) {
  acc = std::fma(t, c.w.ScaleOf(n, s.weight_group), acc);
  if (!c.w.scales().has_offset) return acc;
  for (size_t apart = 8; apart != 0; apart /= 2) {
    for (size_t i = 0; i < apart; ++i) parts[i] = parts[i] + parts[i + apart];
  }
  return std::fma(parts[0], c.w.OffsetOf(n, s.weight_group), acc);
}

// Output (m, w.n) before the epilogue, float path.
inline float Float(const WeightRow& w, size_t m) {
  const GemmCall& c = w.call;
  float acc = 0.0f;
  for (size_t segment = 0; segment < c.w.segments(); ++segment) {
    for (size_t k0 = 0; k0 < c.w.segment_k();) {
      const internal::Span s = internal::SpanAt(c.w, ActSpec(), segment, k0);
      float t = 0.0f, parts[16] = {};
      for (size_t k = s.k0; k < s.k1; ++k) {
        const float x = XAt(c, m, segment, k);
        t = std::fma(x, w.Value(segment, k), t);
        parts[k % 16] = parts[k % 16] + x;
      }
      acc = AddSpan(c, w.n, s, t, parts, acc);
      k0 = s.k1;
    }
  }
  return acc;
}

// A float as an operand or a result of the bf16 dot: what is subnormal counts as zero.
inline float WithoutSubnormals(float v) { return std::fabs(v) < 0x1p-126f ? std::copysign(0.0f, v) : v; }
inline float AsBf16(float v) { return ToFloat(ToBF16(WithoutSubnormals(v))); }
// t + x[1] * v[1], then + x[0] * v[0], as the CPU's instruction adds a pair of products of bf16.
inline float AddPair(float t, const float* x, const float* v) {
  t = WithoutSubnormals(std::fma(x[1], v[1], t));
  return WithoutSubnormals(std::fma(x[0], v[0], t));
}

// Output (m, w.n) before the epilogue, float path in bf16. Groups are even.
inline float Bf16Dot(const WeightRow& w, size_t m) {
  const GemmCall& c = w.call;
  float acc = 0.0f;
  for (size_t segment = 0; segment < c.w.segments(); ++segment) {
    for (size_t k0 = 0; k0 < c.w.segment_k();) {
      const internal::Span s = internal::SpanAt(c.w, ActSpec(), segment, k0);
      float t = 0.0f, parts[16] = {};
      for (size_t k = s.k0; k < s.k1; k += 2) {
        float x[2] = {}, v[2] = {};
        for (size_t i = 0; i < 2 && k + i < s.k1; ++i) {
          const float value = XAt(c, m, segment, k + i);
          x[i] = AsBf16(value);
          v[i] = AsBf16(w.Value(segment, k + i));
          parts[(k + i) % 16] = parts[(k + i) % 16] + value;
        }
        t = AddPair(t, x, v);
      }
      acc = AddSpan(c, w.n, s, t, parts, acc);
      k0 = s.k1;
    }
  }
  return acc;
}

// Output (m, w.n) before the epilogue by tables of floats (docs/numerics.md, 3.6): sums and differences alone. With
// codes of bits b, value = sum over planes p of 2^(p - 1) (b_p ? 1 : -1), + extra.
inline float FloatTable(const WeightRow& w, size_t m) {
  const GemmCall& c = w.call;
  const FormatInfo& f = c.w.format();
  const float extra = static_cast<float>(f.MaxPattern() - f.zero_x2) * 0.5f;
  float acc = 0.0f;
  for (size_t segment = 0; segment < c.w.segments(); ++segment) {
    const auto x = [&](size_t k) { return k < c.w.segment_k() ? XAt(c, m, segment, k) : 0.0f; };
    for (size_t k0 = 0; k0 < c.w.segment_k();) {
      const internal::Span s = internal::SpanAt(c.w, ActSpec(), segment, k0);
      float t = 0.0f, x_sum = 0.0f;
      for (; k0 < s.k1; k0 = std::min(s.k1, (k0 / 256 + 1) * 256)) {  // pieces
        const size_t k1 = std::min(s.k1, (k0 / 256 + 1) * 256);
        // The sum of x, negative where is_set(k) is not.
        const auto sum_of = [&](const auto& is_set) {
          float parts[2] = {};
          for (size_t k = k0; k < k1; k += 4) {
            const auto term = [&](size_t i) { return is_set(i) ? x(i) : -x(i); };
            float& part = parts[k / 4 % 2];
            part = part + ((term(k) + term(k + 1)) + (term(k + 2) + term(k + 3)));
          }
          return parts[0] + parts[1];
        };
        for (int p = 0; p < f.bits; ++p) {
          const float weight = std::ldexp(0.5f, p);
          const auto bit = [&](size_t k) { return k < c.w.segment_k() && (w.Code(segment, k) >> p & 1u) != 0; };
          t = t + sum_of(bit) * weight;
        }
        x_sum = x_sum + sum_of([](size_t) { return true; });
      }
      if (extra != 0.0f) t = t + x_sum * extra;
      acc = acc + t * c.w.ScaleOf(w.n, s.weight_group);
      if (c.w.scales().has_offset) acc = acc + x_sum * c.w.OffsetOf(w.n, s.weight_group);
    }
  }
  return acc;
}

// Output (m, w.n) before the epilogue, by an algorithm that computes the integer path (kIntDot, kIntLanes), the float
// path (kTile) or one of its own.
inline float Sum(const WeightRow& w, GemmAlgo algo, size_t m) {
  return algo == GemmAlgo::kTile         ? Float(w, m)
         : algo == GemmAlgo::kBf16Dot    ? Bf16Dot(w, m)
         : algo == GemmAlgo::kFloatTable ? FloatTable(w, m)
                                         : IntDot(w, algo, m);
}

// The whole call.
inline void Gemm(const GemmCall& c, GemmAlgo algo) {
  const size_t m_count = c.rows.row != nullptr ? c.rows.m : c.xq != nullptr ? c.xq->m : c.x.rows;
  for (size_t n = 0; n < c.w.n(); ++n) {
    const WeightRow w(c, n);
    for (size_t m = 0; m < m_count; ++m) {
      std::byte* at = internal::OutputRow(c, m);
      if (at == nullptr) continue;
      at += n * SizeOf(c.y.type);
      if (c.y.type == DType::kI32) {
        int32_t& out = *reinterpret_cast<int32_t*>(at);
        const auto before = static_cast<uint32_t>(c.e.accumulate ? out : 0);  // wraps, as vectors do
        out = static_cast<int32_t>(static_cast<uint32_t>(IntSum(w, algo, m)) + before);
      } else {
        Finish(Sum(w, algo, m), c.e, m, n, at, c.y.type);
      }
    }
  }
}

}}}  // namespace lutra::LUTRA_NS::reference
LUTRA_EXACT_END
