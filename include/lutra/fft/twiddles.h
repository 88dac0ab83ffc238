// The constants of the codelets: cosines and sines of whole fractions of a turn, computed by the compiler. (Called
// outside of a constant expression they may be computed at run time, inside the codelet: GCC 12 does so.)
#pragma once
#include "lutra/core/version.h"

namespace lutra { inline namespace LUTRA_NS { namespace fft {

inline constexpr double kTurn = 6.283185307179586476925286766559;

// Of 2 pi j / n in double, within 3e-16: series on the first eighth of a turn, where they converge in 10 terms.
struct UnitVector {
  double cos, sin;
};
constexpr UnitVector UnitAt(int j, int n) {
  j %= n;
  if (j < 0) j += n;
  if (2 * j > n) {
    const UnitVector u = UnitAt(n - j, n);
    return {u.cos, -u.sin};
  }
  if (4 * j > n) {  // pi - x
    const UnitVector u = UnitAt(n - 2 * j, 2 * n);
    return {-u.cos, u.sin};
  }
  if (8 * j > n) {  // pi / 2 - x
    const UnitVector u = UnitAt(n - 4 * j, 4 * n);
    return {u.sin, u.cos};
  }
  const double x = kTurn * j / n;
  double cos = 1, sin = x, even = 1, odd = x;
  for (int i = 1; i <= 10; ++i) {
    even *= -x * x / ((2 * i - 1) * (2 * i));
    odd *= -x * x / ((2 * i) * (2 * i + 1));
    cos += even;
    sin += odd;
  }
  return {cos, sin};
}

// cos[j], sin[j] of 2 pi j / kN, rounded once.
template <int kN>
struct TurnTable {
  float cos[kN] = {}, sin[kN] = {};
  constexpr TurnTable() {
    for (int j = 0; j < kN; ++j) {
      const UnitVector u = UnitAt(j, kN);
      cos[j] = static_cast<float>(u.cos);
      sin[j] = static_cast<float>(u.sin);
    }
  }
};
template <int kN>
inline constexpr TurnTable<kN> kTurns{};

}}}  // namespace lutra::LUTRA_NS::fft
