// What a low-bit number is: a format is data, and a scalar Decode that is its definition.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

#include "lutra/core/bounds.h"
#include "lutra/core/dtype.h"

namespace lutra { inline namespace v0 {

// How a code becomes a number, before scales.
enum class Map : uint8_t {
  kAffine,  // code - zero_x2 / 2: integers and half-integers, which the exact integer kernels take
  kTable,   // table[code]: anything else
};

struct FormatInfo {
  uint16_t id = 0;                  // below 0x8000 lutra's own, from 0x8000 the user's
  std::array<char, 16> name{};      // for messages, zero-terminated
  uint8_t bits = 0;                 // 1 ... 8, the sum of the planes
  std::array<uint8_t, 3> planes{};  // widths of the bit planes, each 1, 2, 4 or 8 (0: none), lowest bits first
  Map map = Map::kAffine;
  int16_t zero_x2 = 0;  // twice the zero point of kAffine, 0 ... 2 * MaxPattern()
  uint16_t codes = 0;   // how many codes are in use; larger bit patterns decode by the same rule but fail Verify

  constexpr int MaxPattern() const { return (1 << bits) - 1; }
  constexpr bool operator==(const FormatInfo&) const = default;
};

namespace detail {

constexpr std::array<char, 16> Name(const char* text) {
  std::array<char, 16> name{};
  for (size_t i = 0; i + 1 < name.size() && text[i] != '\0'; ++i) name[i] = text[i];
  return name;
}
// bits as at most three planes of 1, 2, 4 or 8, lowest bits in the widest plane.
constexpr std::array<uint8_t, 3> PlanesOf(int bits) {
  std::array<uint8_t, 3> planes{};
  size_t used = 0;
  for (int width = 8; width >= 1; width /= 2) {
    if (bits >= width) {
      planes[used++] = static_cast<uint8_t>(width);
      bits -= width;
    }
  }
  return planes;
}

}  // namespace detail

// A format of the user's or of lutra's that has a table: any `bits`, values from Decode.
// (Formats are types so that Gemm<A, B> compiles kernels for those two alone.)
constexpr FormatInfo TableFormat(uint16_t id, const char* name, int bits, int codes) {
  return {id, detail::Name(name),          static_cast<uint8_t>(bits), detail::PlanesOf(bits), Map::kTable,
          0,  static_cast<uint16_t>(codes)};
}
// A format whose values are code - zero_x2 / 2.
constexpr FormatInfo AffineFormat(uint16_t id, const char* name, int bits, int zero_x2, int codes) {
  return {id,
          detail::Name(name),
          static_cast<uint8_t>(bits),
          detail::PlanesOf(bits),
          Map::kAffine,
          static_cast<int16_t>(zero_x2),
          static_cast<uint16_t>(codes)};
}

// {-1, 0, 1} as codes {0, 1, 2} in two bits (BitNet b1.58; the values of bitnet.cpp's I2_S). Pattern 3 decodes to 2.
struct Ternary {
  static constexpr FormatInfo info = AffineFormat(1, "ternary", 2, 2, 3);
  static constexpr float Decode(unsigned code) { return static_cast<float>(code) - 1.0f; }
};

// The FormatInfo of Int<bits, zero_x2>.
constexpr FormatInfo IntFormat(int bits, int zero_x2) {
  const bool plain = zero_x2 == (bits == 1 ? 1 : 1 << bits);
  const auto digit = [](int v) { return static_cast<char>('0' + v % 10); };
  const char name[] = {
      'i', 'n', 't', digit(bits), plain ? '\0' : '_', 'z', digit(zero_x2 / 100), digit(zero_x2 / 10), digit(zero_x2),
      '\0'};
  return AffineFormat(static_cast<uint16_t>(0x2000 + (zero_x2 << 4) + bits), name, bits, zero_x2, 1 << bits);
}

// kBits-bit codes around a zero point of kZeroX2 / 2. The default is two's complement shifted up (Int4: -8 ... 7) and
// +-1/2 for one bit. Int<2, 3> is {-3/2, -1/2, 1/2, 3/2} (ParetoQ's SEQ), Int<4, 0> is unsigned.
template <int kBits, int kZeroX2 = (kBits == 1 ? 1 : 1 << kBits)>
struct Int {
  static_assert(kBits >= 1 && kBits <= 8 && kZeroX2 >= 0 && kZeroX2 <= 2 * ((1 << kBits) - 1));
  static constexpr FormatInfo info = IntFormat(kBits, kZeroX2);
  static constexpr float Decode(unsigned code) {
    return static_cast<float>(2 * static_cast<int>(code) - kZeroX2) * 0.5f;
  }
};
using Int1 = Int<1>;
using Int2 = Int<2>;
using Int3 = Int<3>;
using Int4 = Int<4>;
using Int5 = Int<5>;
using Int6 = Int<6>;
using Int7 = Int<7>;
using Int8 = Int<8>;

// The scale structure: w[n, k] = value(code[n, k]) * scale[n, k / group_k] + offset[n, k / group_k].
struct Scales {
  size_t group_k = 0;        // 0: one scale per row; else per group of this many k, any size, counted from each segment
  DType type = DType::kF32;  // f32, bf16 or f16, also of the offsets
  bool per_tensor = false;   // one scale for all; group_k must be 0
  bool has_offset = false;
  // A second level (super-groups) has its place in packed files; this version accepts 0 only.
  size_t super_k = 0;
  DType super_type = DType::kF32;

  constexpr bool operator==(const Scales&) const = default;
};

}}  // namespace lutra::v0

namespace lutra { inline namespace LUTRA_NS {

// Decode of all codes of a format: what CodedMatrix::table wants for Map::kTable.
template <class Format>
constexpr std::array<float, size_t{1} << Format::info.bits> TableOf() {
  std::array<float, size_t{1} << Format::info.bits> table{};
  for (unsigned c = 0; c < table.size(); ++c) table[c] = Format::Decode(c);
  return table;
}

}}  // namespace lutra::LUTRA_NS
