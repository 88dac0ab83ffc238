// Lengths of transforms, and how the points of one are numbered. Plain C++.
//
// N = first x second, coprime (Good and Thomas): a transform of N points is `second` transforms of `first` points, then
// `first` of `second` points, and nothing between them: no twiddle factors, no order to restore. Point (a, b),
// a < second, b < first, is time (first * a + second * b) mod N on the one side; on the other the frequency that is
// a mod second and b mod first.
//
// The first factor is the one that meets the image: it is real on rows, so it is the larger one. The second is the
// middle of a column, forward and back in one pass. Factors are those whose complex codelets fit 16 registers or
// nearly: 11, 13, 14 and 16 spill badly. One order for all vector lengths, so that all of them give the same bits.
#pragma once
#include <cstddef>

#include "lutra/core/version.h"

namespace lutra { inline namespace LUTRA_NS { namespace fft {

struct Length {
  int size, first, second;

  constexpr int TimeOf(int a, int b) const { return (first * a + second * b) % size; }
  constexpr int FrequencyOf(int a, int b) const {
    for (int f = b; f < size; f += first) {
      if (f % second == a) return f;
    }
    return 0;
  }
  // Columns of a real transform: the frequencies that symmetry leaves, 0 ... N / 2 in the order of the passes (pass.h).
  constexpr int Half() const { return size / 2 + 1; }
};

inline constexpr Length kLadder[] = {
    {1, 1, 1},  {2, 2, 1},   {3, 3, 1},   {4, 4, 1},   {5, 5, 1},  {6, 6, 1},   {7, 7, 1},  {8, 8, 1},
    {9, 9, 1},  {10, 10, 1}, {12, 4, 3},  {14, 7, 2},  {15, 5, 3}, {18, 9, 2},  {20, 5, 4}, {21, 7, 3},
    {24, 8, 3}, {28, 7, 4},  {30, 10, 3}, {35, 7, 5},  {36, 9, 4}, {40, 8, 5},  {42, 7, 6}, {45, 9, 5},
    {56, 8, 7}, {60, 12, 5}, {63, 9, 7},  {70, 10, 7}, {72, 9, 8}, {84, 12, 7}, {90, 10, 9}};
inline constexpr size_t kLadderSize = sizeof(kLadder) / sizeof(kLadder[0]);
inline constexpr int kMostPoints = kLadder[kLadderSize - 1].size;

inline constexpr int kFirstFactors[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12};
inline constexpr int kSecondFactors[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};

// The shortest length of at least `points`; null where the ladder ends below.
constexpr const Length* LengthFor(size_t points) {
  for (const Length& l : kLadder) {
    if (static_cast<size_t>(l.size) >= points) return &l;
  }
  return nullptr;
}

// Columns of a real transform in the order of the passes: first-frequency 0 (real: its second-frequencies 0 ...
// second / 2), then 1 ... (first - 1) / 2 (all second-frequencies), then first / 2 where first is even (real again).
// visit(a, b, alone): frequency (a, b); alone: it is its own conjugate, the others stand for two.
template <class Visit>
constexpr void ForHalf(const Length& l, const Visit& visit) {
  const auto real = [&](int b) {
    for (int a = 0; a <= l.second / 2; ++a) visit(a, b, a == 0 || 2 * a == l.second);
  };
  real(0);
  for (int b = 1; b <= (l.first - 1) / 2; ++b) {
    for (int a = 0; a < l.second; ++a) visit(a, b, false);
  }
  if (l.first % 2 == 0) real(l.first / 2);
}

// The lengths that an axis may have: a circle of `parts` interleaved transforms of part.size points each, and one of
// `parts` points across them, again coprime. Point (a, b) of part p is time (parts * part's time + part.size * p) mod
// N; frequency (a, b) of part p is a mod second, b mod first, p mod parts. Columns of a real transform: part by part,
// each in ForHalf order; a part's own conjugates are not conjugates in the whole, where they come in pairs of parts.
struct Circle {
  Length part;
  int parts;

  constexpr int Size() const { return part.size * parts; }
  constexpr int TimeOf(int a, int b, int p) const { return (parts * part.TimeOf(a, b) + part.size * p) % Size(); }
  constexpr int FrequencyOf(int a, int b, int p) const {
    int f = part.FrequencyOf(a, b);
    while (f % parts != p) f += part.size;
    return f;
  }
  constexpr int Columns() const { return part.Half() * parts; }
};

// Up to kMostPoints they are in one part. The longer ones make columns that L2 does not hold: for kernels that need
// them.
inline constexpr int kAcrossFactors[] = {5, 7};
struct LongCircle {
  int part, parts;
};
inline constexpr LongCircle kLongCircles[] = {{21, 5}, {24, 5}, {18, 7}, {28, 5}, {24, 7}, {36, 5}, {42, 5},
                                              {36, 7}, {56, 5}, {63, 5}, {72, 5}, {60, 7}, {72, 7}};
inline constexpr size_t kCircles = kLadderSize + sizeof(kLongCircles) / sizeof(kLongCircles[0]);
inline constexpr int kMostCircle = 504;

constexpr Circle CircleAt(size_t i) {  // by size, from 1 on
  if (i < kLadderSize) return {kLadder[i], 1};
  const LongCircle& c = kLongCircles[i - kLadderSize];
  return {*LengthFor(static_cast<size_t>(c.part)), c.parts};
}
constexpr Circle CircleOf(int size) {  // one of CircleAt's
  size_t i = 0;
  while (CircleAt(i).Size() != size) ++i;
  return CircleAt(i);
}

}}}  // namespace lutra::LUTRA_NS::fft
