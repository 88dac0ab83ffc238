// The two searches of an encoder (weights/quantize.h): the median of a scope, and the nearest value of a table.
#pragma once
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "lutra/weights/packed.h"

LUTRA_EXACT_BEGIN
namespace lutra { inline namespace LUTRA_NS { namespace internal {

// Rows [row0, row1), columns [k0, k1) of w.
struct Scope {
  size_t row0, row1, k0, k1;
};
// body(values, count) for runs of the scope's weights as f32, in order.
template <class Body>
inline void ForRuns(const ConstMatrixView& w, const Scope& s, const Body& body) {
  for (size_t row = s.row0; s.k0 != s.k1 && row < s.row1; ++row) {
    const ptrdiff_t begin = static_cast<ptrdiff_t>(row) * w.row_stride;
    if (w.type == DType::kF32) {
      body(static_cast<const float*>(w.data) + begin + static_cast<ptrdiff_t>(s.k0), s.k1 - s.k0);
      continue;
    }
    float values[256];
    for (size_t k = s.k0; k < s.k1; k += 256) {
      const size_t count = s.k1 - k < 256 ? s.k1 - k : 256;
      for (size_t i = 0; i < count; ++i) values[i] = LoadFloat(w.data, w.type, begin + static_cast<ptrdiff_t>(k + i));
      body(values, count);
    }
  }
}

// body(bits of |w|), which order like |w|.
template <class Body>
inline void ForMagnitudes(const ConstMatrixView& w, const Scope& s, const Body& body) {
  ForRuns(w, s, [&](const float* values, size_t n) {
    for (size_t i = 0; i < n; ++i) body(std::bit_cast<uint32_t>(values[i]) & 0x7FFFFFFFu);
  });
}

// So many weights are selected from in a copy. Larger scopes are counted digit by digit until so few are left.
inline constexpr size_t kSelected = 1024;

// The element of `rank` among up to kFew: the largest of those with no more than `rank` below them.
inline constexpr size_t kFew = 32;
inline int32_t SelectOfFew(const int32_t* v, size_t count, size_t rank) {
  typedef int32_t Four __attribute__((vector_size(16)));  // the compilers leave the loops scalar
  constexpr size_t kFours = kFew / 4;
  int32_t all[kFew];
  for (size_t i = 0; i < kFew; ++i) all[i] = i < count ? v[i] : std::numeric_limits<int32_t>::max();
  Four fours[kFours], below[kFours] = {}, found = {};
  std::memcpy(fours, all, sizeof(all));
  for (size_t j = 0; j < count; ++j) {
    const Four one = {all[j], all[j], all[j], all[j]};
    for (size_t i = 0; i < kFours; ++i) below[i] -= one < fours[i];
  }
  const int32_t most = static_cast<int32_t>(rank);
  const Four ranks = {most, most, most, most};
  for (size_t i = 0; i < kFours; ++i) {
    const Four candidate = fours[i] & (below[i] <= ranks), larger = candidate > found;
    found = (candidate & larger) | (found & ~larger);
  }
  const int32_t a = found[0] > found[1] ? found[0] : found[1], b = found[2] > found[3] ? found[2] : found[3];
  return a > b ? a : b;
}
// The same among v[0 ... count), count <= kSelected, none below 0; the order of v is lost. Parts by a pivot, without a
// branch for each element; where a sampled pivot parts badly the middle of the range is next: no input takes long.
inline int32_t Select(int32_t* v, size_t count, size_t rank) {
  int32_t upper[kSelected], low = 0, high = std::numeric_limits<int32_t>::max();
  for (bool sample = true; count > kFew && low < high;) {
    const int32_t a = v[count / 4], b = v[count / 2], c = v[count - 1 - count / 4];
    const int32_t most = a > b ? a : b, least = a > b ? b : a, middle = low + (high - low) / 2 + 1;
    int32_t pivot = !sample ? middle : c > most ? most : c < least ? least : c;
    if (pivot <= low) pivot = low + 1;  // low < pivot <= high, so that the range shrinks
    size_t below = 0, above = 0;
    for (size_t i = 0; i < count; ++i) {
      const int32_t element = v[i];
      v[below] = element;
      upper[above] = element;
      below += element < pivot;
      above += element >= pivot;
    }
    sample = (rank < below ? below : above) <= count - count / 8;
    if (rank < below) {
      high = pivot - 1;
      count = below;
    } else {
      low = pivot;
      count = above;
      rank -= below;
      std::memcpy(v, upper, above * sizeof(int32_t));
    }
  }
  return low == high ? low : SelectOfFew(v, count, rank);
}

// The lower median of |w|.
inline float LowerMedian(const ConstMatrixView& w, const Scope& s) {
  size_t left = (s.row1 - s.row0) * (s.k1 - s.k0), rank = (left - 1) / 2;
  uint32_t prefix = 0;  // the bits from `known` on of what is left
  int known = 31;
  const auto is_left = [&](uint32_t bits) { return bits >> known == prefix >> known; };
  while (left > kSelected && known != 0) {
    const int shift = known == 31 ? 20 : known - 10;
    const uint32_t mask = (1u << (known - shift)) - 1;
    size_t count[2048] = {};
    ForMagnitudes(w, s, [&](uint32_t bits) {
      if (is_left(bits)) ++count[bits >> shift & mask];
    });
    uint32_t digit = 0;
    while (rank >= count[digit]) rank -= count[digit++];
    left = count[digit];
    prefix |= digit << shift;
    known = shift;
  }
  if (known == 0) return std::bit_cast<float>(prefix);
  int32_t some[kSelected + 1];
  size_t n = 0;
  ForMagnitudes(w, s, [&](uint32_t bits) {
    some[n] = static_cast<int32_t>(bits);
    n += is_left(bits);
  });
  return std::bit_cast<float>(Select(some, n, rank));
}

// The nearest of a table's values, ties to the lower code: distances in double, one by one.
inline uint8_t NearestByDistance(const float* table, unsigned codes, double x) {
  unsigned best = 0;
  double least = std::fabs(x - double{table[0]});
  for (unsigned c = 1; c < codes; ++c) {
    const double distance = std::fabs(x - double{table[c]});
    best = distance < least ? c : best;
    least = distance < least ? distance : least;
  }
  return static_cast<uint8_t>(best);
}

// The same by halving: from at[i] on, the nearest of x is code[i] or a later one.
struct TableSteps {
  unsigned last = 0;   // a power of two less one, at most 255: steps, the later ones never taken
  float at[256] = {};  // at[0]: unused
  uint8_t code[256] = {};
  bool use = false;  // false where rounded distances hide how values that are close together are ordered
};
inline TableSteps StepsOf(const float* table, unsigned codes) {
  TableSteps out;
  // Codes by value, the lower of equal ones.
  unsigned count = 0;
  float most = 0.0f;
  for (unsigned c = 0; c < codes; ++c) {
    unsigned i = 0;
    while (i < count && table[out.code[i]] < table[c]) ++i;
    if (i < count && table[out.code[i]] == table[c]) continue;
    std::memmove(out.code + i + 1, out.code + i, count++ - i);
    out.code[i] = static_cast<uint8_t>(c);
    most = std::fabs(table[c]) > most ? std::fabs(table[c]) : most;
  }
  // Distances of up to 2 most, rounded to 53 bits, tell values apart that differ by more than 2^-50 of most.
  for (unsigned i = 1; i < count; ++i) {
    if (double{table[out.code[i]]} - double{table[out.code[i - 1]]} < double{most} * 0x1p-40) return out;
  }
  out.use = true;
  while (out.last < count - 1) out.last = 2 * out.last + 1;
  for (unsigned i = 1; i <= out.last; ++i) {
    if (i >= count) {
      out.at[i] = std::numeric_limits<float>::infinity();
      out.code[i] = out.code[count - 1];
      continue;
    }
    // The first f32 that is nearer to the upper value, or as near where that has the lower code. -0 counts as 0.
    const uint8_t below = out.code[i - 1], above = out.code[i];
    const auto order = [](float v) {
      const int32_t bits = std::bit_cast<int32_t>(v + 0.0f);
      return bits < 0 ? int64_t{INT32_MIN} - bits : int64_t{bits};
    };
    const auto value = [](int64_t key) {
      return std::bit_cast<float>(static_cast<int32_t>(key < 0 ? int64_t{INT32_MIN} - key : key));
    };
    int64_t low = order(table[below]), high = order(table[above]);  // not yet, surely
    while (high - low > 1) {
      const int64_t middle = low + (high - low) / 2;
      const double x = double{value(middle)};
      const double to_below = std::fabs(x - double{table[below]}), to_above = std::fabs(x - double{table[above]});
      (to_above < to_below || (to_above == to_below && above < below) ? high : low) = middle;
    }
    out.at[i] = value(high);
  }
  return out;
}
// Codes of w / scale, eight at a time: their halvings do not wait for each other.
inline void NearestBySteps(const TableSteps& t, const float* values, size_t n, float scale, uint8_t* codes) {
  constexpr size_t kAtOnce = 8;
  for (size_t begin = 0; begin < n; begin += kAtOnce) {
    const size_t count = n - begin < kAtOnce ? n - begin : kAtOnce;
    float x[kAtOnce] = {};
    unsigned at[kAtOnce] = {};
    for (size_t i = 0; i < count; ++i) x[i] = values[begin + i] / scale;
    for (unsigned half = (t.last + 1) / 2; half != 0; half /= 2) {
      for (size_t i = 0; i < kAtOnce; ++i) at[i] += x[i] >= t.at[at[i] + half] ? half : 0;
    }
    for (size_t i = 0; i < count; ++i) codes[begin + i] = t.code[at[i]];
  }
}

}}}  // namespace lutra::LUTRA_NS::internal
LUTRA_EXACT_END
