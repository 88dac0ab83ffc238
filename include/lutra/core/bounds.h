// Overflow bounds of integer sums, computed instead of written by hand.
#pragma once
#include <cstdint>

#include "lutra/core/version.h"

namespace lutra { inline namespace v0 {

// How many pair-multiplies (two products of an unsigned code and an int8 activation each) a signed 16-bit lane can
// hold. max_code: the largest bit pattern of the field, also those that the format does not use (files are untrusted).
// field_weight: 1, or the weight of a field that is left unshifted. x_min: the smallest activation.
constexpr int WidenEvery(int max_code, int field_weight, int x_min) {
  const int worst = 2 * max_code * field_weight;  // times x_min towards -32768, times 127 towards 32767
  if (worst == 0) return 1 << 16;
  const int down = 32768 / (worst * -x_min), up = 32767 / (worst * 127);
  return down < up ? down : up;
}

// The largest K whose sums of code * activation stay inside int32, for codes of either sign: a zero point turns the
// worst product positive, so the bound is 2^31 - 1. At most 2^30, so that sizes stay manageable.
constexpr int64_t LargestK(int max_code, int x_min = -128) {
  const int64_t worst = int64_t{max_code} * -x_min;
  const int64_t k = worst == 0 ? int64_t{1} << 30 : ((int64_t{1} << 31) - 1) / worst;
  return k > (int64_t{1} << 30) ? int64_t{1} << 30 : k;
}

}}  // namespace lutra::v0
