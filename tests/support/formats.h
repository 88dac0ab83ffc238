// The formats of the compiled library (src/formats.h), for tests that go through all of them.
#pragma once
#include <array>

#include "lutra/weights/format.h"

namespace lutra { namespace testing {

inline constexpr std::array kFormats = {Ternary::info, Int1::info, Int2::info, Int3::info, Int4::info,
                                        Int5::info,    Int6::info, Int7::info, Int8::info, Int<2, 3>::info};

// Formats that a user could write; the library has no type for them.
struct ThreeLevels {  // in two bits: a table, and a pattern that no code uses
  static constexpr FormatInfo info = TableFormat(0x8001, "three_levels", 2, 3);
  static constexpr float Decode(unsigned code) {
    return code == 0 ? -0.75f : code == 1 ? 0.125f : code == 2 ? 1.5f : 0.0f;
  }
};
struct FiveBits {  // widths 4 and 1; squares with a sign
  static constexpr FormatInfo info = TableFormat(0x8002, "five_bits", 5, 32);
  static constexpr float Decode(unsigned code) {
    const float v = (static_cast<float>(code) - 15.5f) * 0.0625f;
    return v < 0 ? -v * v : v * v;
  }
};
struct ZeroOne {  // one bit without a zero point
  static constexpr FormatInfo info = AffineFormat(0x8004, "zero_one", 1, 0, 2);
  static constexpr float Decode(unsigned code) { return static_cast<float>(code); }
};
struct Skewed {  // affine, four bits, zero point 7.5 + 3
  static constexpr FormatInfo info = AffineFormat(0x8003, "skewed", 4, 21, 16);
  static constexpr float Decode(unsigned code) { return static_cast<float>(code) - 10.5f; }
};

}}  // namespace lutra::testing
