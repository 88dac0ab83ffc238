// Binary-coding quantisation (BCQ): w is about the sum of q planes alpha_p * b_p, b_p of +-1, with an alpha for each
// plane and group of k. The planes are the segments of one Int1 matrix, whose values are +-1/2 and whose scales are
// 2 alpha_p, so that one GEMM whose segments all gather the same row of x (RepeatRows, gemm.h) sums over them.
//
// A group is group_k k of a row (the last may have fewer), or the row. Sums are in double, k ascending. In a group:
//   kGreedy       r = w; for each plane: alpha = mean |r|, b = r >= 0 ? 1 : -1, r = r - alpha b.
//   kAlternating  begins as kGreedy. Then, up to `iterations` times, alphas by least squares for these bits, and for
//                 each w the bits whose sum of +-alpha is nearest, of two as near the larger sum. It ends where that
//                 does not make the sum of (w - sum alpha b)^2 smaller, with what was there before: so no step makes
//                 it larger. (Xu and others, 2018)
// Each alpha is rounded as soon as it is computed, so that 2 alpha is of the scales' type; errors are those of rounded
// alphas. A NaN or an infinity among the weights, and a scale too large for its type, are errors that name the place.
#pragma once
#include "lutra/weights/quantize.h"

namespace lutra { inline namespace v0 {

enum class BcqFit : uint8_t { kGreedy, kAlternating };

struct BcqSpec {
  size_t planes = 2;         // 1 ... 8
  size_t group_k = 0;        // as in Scales; float_table and shuffle_table take multiples of 32
  DType type = DType::kF32;  // of the scales
  BcqFit fit = BcqFit::kAlternating;
  size_t iterations = 16;  // at most, of kAlternating
};

}}  // namespace lutra::v0

LUTRA_EXACT_BEGIN
namespace lutra { inline namespace LUTRA_NS {
namespace internal {

inline constexpr size_t kBcqPlanes = 8;

// The alphas of a group.
struct BcqAlphas {
  size_t planes = 1;
  double of[kBcqPlanes] = {};
};

// What alphas make: the sums of +-alpha ascending, the bits of each (bit p: plus alpha_p), and from where on a weight
// is nearer to the next one.
struct BcqSums {
  double sum[size_t{1} << kBcqPlanes], next_from[size_t{1} << kBcqPlanes];
  uint8_t bits[size_t{1} << kBcqPlanes];
  size_t count;

  explicit BcqSums(const BcqAlphas& alphas) : count(size_t{1} << alphas.planes) {
    for (unsigned i = 0; i < count; ++i) {
      double s = 0;
      for (size_t p = 0; p < alphas.planes; ++p) s += (i >> p & 1u) != 0 ? alphas.of[p] : -alphas.of[p];
      size_t at = i;
      for (; at != 0 && sum[at - 1] > s; --at) {
        sum[at] = sum[at - 1];
        bits[at] = bits[at - 1];
      }
      sum[at] = s;
      bits[at] = static_cast<uint8_t>(i);
    }
    for (size_t i = 0; i + 1 < count; ++i) next_from[i] = 0.5 * (sum[i] + sum[i + 1]);
  }
  // The place of the sum nearest to w, of two as near the later one. No branch: none could be foretold.
  size_t Nearest(double w) const {
    size_t at = 0;
    for (size_t step = count / 2; step != 0; step /= 2) at += step * size_t{w >= next_from[at + step - 1]};
    return at;
  }
};

// 2 alpha as `type` holds it, halved.
inline double RoundAlpha(double alpha, DType type) {
  const bool fits = std::fabs(2.0 * alpha) <= double{std::numeric_limits<float>::max()};
  return fits ? 0.5 * double{RoundTo(static_cast<float>(2.0 * alpha), type)} : std::numeric_limits<double>::infinity();
}

// body(w, &bits) for the weights of a group; bits: of all planes, one byte each.
template <class Body>
inline void ForWeights(const ConstMatrixView& w, const Scope& s, uint8_t* bits, const Body& body) {
  ForRuns(w, s, [&](const float* values, size_t n) {
    for (size_t i = 0; i < n; ++i) body(double{values[i]}, *bits++);
  });
}

// Plane by plane. False where a weight or an alpha is not finite.
inline bool FitGreedy(const ConstMatrixView& w, const Scope& s, DType type, BcqAlphas& alphas, uint8_t* bits) {
  const size_t count = s.k1 - s.k0;
  double minus_plus[kBcqPlanes][2];
  if (count != 0) std::memset(bits, 0, count);
  for (size_t p = 0; p < alphas.planes; ++p) {
    double total = 0;
    ForWeights(w, s, bits, [&](double r, uint8_t& b) {
      for (size_t i = 0; i < p; ++i) r -= minus_plus[i][b >> i & 1u];
      total += std::fabs(r);
      b = static_cast<uint8_t>(b | (r >= 0 ? 1u : 0u) << p);
    });
    const double alpha = count == 0 ? 0.0 : RoundAlpha(total / static_cast<double>(count), type);
    if (!std::isfinite(alpha)) return false;
    alphas.of[p] = minus_plus[p][1] = alpha;
    minus_plus[p][0] = -alpha;
  }
  return true;
}

// How many weights of a group have which bits, and their sum.
struct BcqCounts {
  double count[size_t{1} << kBcqPlanes] = {}, total[size_t{1} << kBcqPlanes] = {};

  void Add(double w, uint8_t bits) {
    count[bits] += 1;
    total[bits] += w;
  }
};

// Alphas that are best for the bits: least squares. False where the equations have no single answer.
inline bool SolveAlphas(const BcqCounts& counts, DType type, BcqAlphas& alphas) {
  const size_t q = alphas.planes;
  double m[kBcqPlanes][kBcqPlanes + 1] = {};
  for (unsigned b = 0; b < 1u << q; ++b) {
    for (size_t i = 0; i < q; ++i) {
      const double sign = (b >> i & 1u) != 0 ? 1.0 : -1.0;
      for (size_t j = 0; j < q; ++j) m[i][j] += (b >> j & 1u) != 0 ? sign * counts.count[b] : -sign * counts.count[b];
      m[i][q] += sign * counts.total[b];
    }
  }
  const double least = 1e-9 * m[0][0];  // m[0][0] is how many weights there are
  for (size_t i = 0; i < q; ++i) {
    size_t pivot = i;
    for (size_t r = i + 1; r < q; ++r) pivot = std::fabs(m[r][i]) > std::fabs(m[pivot][i]) ? r : pivot;
    if (!(std::fabs(m[pivot][i]) > least)) return false;
    std::swap(m[i], m[pivot]);
    for (size_t r = 0; r < q; ++r) {
      if (r == i) continue;
      const double factor = m[r][i] / m[i][i];
      for (size_t j = i; j <= q; ++j) m[r][j] -= factor * m[i][j];
    }
  }
  for (size_t i = 0; i < q; ++i) {
    alphas.of[i] = RoundAlpha(m[i][q] / m[i][i], type);
    if (!std::isfinite(alphas.of[i])) return false;
  }
  return true;
}

// One group: its alphas, and the bits of all planes to `bits`. more: room for as many bytes, with more than one plane.
// False where that is an error.
inline bool FitBcq(const ConstMatrixView& w, const Scope& s, const BcqSpec& spec, BcqAlphas& alphas, uint8_t* bits,
                   uint8_t* more) {
  if (!FitGreedy(w, s, spec.type, alphas, bits)) return false;
  // One plane: the signs and their mean are the best there is.
  if (spec.fit == BcqFit::kGreedy || s.k1 == s.k0 || alphas.planes == 1) return true;
  double error = 0;
  BcqCounts counts;
  const BcqSums greedy(alphas);
  double of_bits[size_t{1} << kBcqPlanes];
  for (size_t i = 0; i < greedy.count; ++i) of_bits[greedy.bits[i]] = greedy.sum[i];
  ForWeights(w, s, bits, [&](double v, const uint8_t& b) {
    const double r = v - of_bits[b];
    error += r * r;
    counts.Add(v, b);
  });
  for (size_t i = 0; i < spec.iterations && error > 0; ++i) {
    BcqAlphas next = alphas;
    if (!SolveAlphas(counts, spec.type, next)) break;
    const BcqSums sums(next);
    double smaller = 0;
    counts = {};
    ForWeights(w, s, more, [&](double v, uint8_t& b) {
      const size_t at = sums.Nearest(v);
      const double r = v - sums.sum[at];
      smaller += r * r;
      b = sums.bits[at];
      counts.Add(v, b);
    });
    if (!(smaller < error)) break;
    std::memcpy(bits, more, s.k1 - s.k0);
    alphas = next;
    error = smaller;
  }
  return true;
}

}  // namespace internal

// Codes and scales of w [N, K] of f32, bf16 or f16, rows in parallel; equal for any number of threads. The result is
// [N, planes * K]: code (n, p * K + k) is 1 where b_p is +1. Pack it with spec.planes segments. Fails on what is said
// above, and on what PackedBytes would; Share is refused as by EncodeWeights.
inline CodedBuffer EncodeBcq(ConstMatrixView w, const BcqSpec& spec, Context& context) {
  if (!IsFloat(w.type)) Fail("EncodeBcq: w.type is %s, allowed are f32, bf16, f16", NameOf(w.type));
  internal::CheckMatrix("EncodeBcq: w", w, false);
  if (spec.planes < 1 || spec.planes > internal::kBcqPlanes) {
    Fail("EncodeBcq: planes is %zu, allowed are 1 ... %zu", spec.planes, internal::kBcqPlanes);
  }
  if (spec.fit > BcqFit::kAlternating) Fail("EncodeBcq: fit is %d, not a BcqFit", static_cast<int>(spec.fit));
  Scales scales;
  // Planes have scales of their own: a row of one is a group, as long as the blocks that hold it.
  scales.group_k = spec.group_k != 0 ? spec.group_k : internal::RoundUp(w.cols == 0 ? 1 : w.cols, kBlockK);
  scales.type = spec.type;
  const PackSpec pack{Int1::info, scales, w.rows, w.cols, spec.planes};
  const Status status = internal::CheckSpec(pack);
  if (!status.ok()) Fail("EncodeBcq: %s", status.message());
  const PackedLayout layout = internal::LayoutOf(pack);
  const size_t k = w.cols, groups = layout.groups_per_segment;
  CodedBuffer out = CodedBuffer::Allocate(Int1::info, scales, w.rows, k * spec.planes, layout.groups, nullptr);
  const auto encode = [&](size_t row, bool fail) {
    uint8_t* const codes = out.codes() + row * k * spec.planes;
    float* const scale = out.scale() + row * layout.groups;
    for (size_t g = 0; g < groups; ++g) {
      const size_t begin = g * scales.group_k, left = k - begin;
      const internal::Scope s{row, row + 1, begin, begin + (left < scales.group_k ? left : scales.group_k)};
      internal::BcqAlphas alphas;
      alphas.planes = spec.planes;
      // The bits of all planes stand where plane 0 will be, others for a time in that of plane 1.
      uint8_t* const more = spec.planes == 1 ? nullptr : codes + k + begin;
      if (!internal::FitBcq(w, s, spec, alphas, codes + begin, more)) {
        if (fail) internal::FailIfNotFinite("EncodeBcq", w, s);
        if (fail) Fail("EncodeBcq: a scale of row %zu, group %zu does not fit into %s", row, g, NameOf(spec.type));
        return false;
      }
      for (size_t p = spec.planes; p-- != 0;) {
        for (size_t i = s.k0; i < s.k1; ++i) codes[p * k + i] = codes[i] >> p & 1u;
        scale[p * groups + g] = static_cast<float>(2.0 * alphas.of[p]);
      }
    }
    return true;
  };
  internal::ForRowsInParallel("EncodeBcq", w.rows, k * spec.planes, context, encode);
  return out;
}

// Encodes and packs, in the unit of lookups.
inline PackedBuffer QuantizeBcq(ConstMatrixView w, const BcqSpec& spec, Context& context, Unit unit = Unit::kByteRow) {
  const CodedBuffer coded = EncodeBcq(w, spec, context);
  return Pack(coded, context, spec.planes, unit);
}

}}  // namespace lutra::LUTRA_NS
LUTRA_EXACT_END
