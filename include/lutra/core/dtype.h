// Element types of views, and the scalar conversions that define them. Every vector conversion equals these bit for
// bit.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>

#include "lutra/core/version.h"

namespace lutra { inline namespace v0 {

enum class DType : uint8_t { kF32, kBF16, kF16, kI32, kI16, kI8, kU8, kE8M0, kE4M3 };

// 16-bit floats as storage. Arithmetic is f32.
struct BF16 {
  uint16_t bits = 0;
};
struct F16 {
  uint16_t bits = 0;
};

constexpr size_t SizeOf(DType type) {
  return type <= DType::kF32 || type == DType::kI32 ? 4 : type <= DType::kF16 || type == DType::kI16 ? 2 : 1;
}
constexpr bool IsFloat(DType type) { return type <= DType::kF16; }
constexpr const char* NameOf(DType type) {
  switch (type) {
    case DType::kF32:
      return "f32";
    case DType::kBF16:
      return "bf16";
    case DType::kF16:
      return "f16";
    case DType::kI32:
      return "i32";
    case DType::kI16:
      return "i16";
    case DType::kI8:
      return "i8";
    case DType::kU8:
      return "u8";
    case DType::kE8M0:
      return "e8m0";
    case DType::kE4M3:
      return "e4m3";
  }
  return "invalid";
}

template <class T>
inline constexpr bool kHasDType = false;
template <class T>
inline constexpr DType kDTypeOf = DType::kU8;
#define LUTRA_DTYPE(T, D)                    \
  template <>                                \
  inline constexpr bool kHasDType<T> = true; \
  template <>                                \
  inline constexpr DType kDTypeOf<T> = DType::D
LUTRA_DTYPE(float, kF32);
LUTRA_DTYPE(BF16, kBF16);
LUTRA_DTYPE(F16, kF16);
LUTRA_DTYPE(int32_t, kI32);
LUTRA_DTYPE(int16_t, kI16);
LUTRA_DTYPE(int8_t, kI8);
LUTRA_DTYPE(uint8_t, kU8);
#undef LUTRA_DTYPE

}}  // namespace lutra::v0

namespace lutra { inline namespace LUTRA_NS {

LUTRA_MEMBER float ToFloat(BF16 v) { return std::bit_cast<float>(static_cast<uint32_t>(v.bits) << 16); }

LUTRA_MEMBER bool IsFinite(float v) { return (std::bit_cast<uint32_t>(v) & 0x7F800000u) != 0x7F800000u; }

// Rounds to nearest even; overflow becomes infinity, subnormals stay, a NaN becomes the quiet NaN of its sign.
LUTRA_MEMBER BF16 ToBF16(float v) {
  const uint32_t u = std::bit_cast<uint32_t>(v);
  if ((u & 0x7FFFFFFFu) > 0x7F800000u) return {static_cast<uint16_t>((u >> 16 & 0x8000u) | 0x7FC0u)};
  return {static_cast<uint16_t>((u + 0x7FFFu + (u >> 16 & 1u)) >> 16)};
}

LUTRA_MEMBER float ToFloat(F16 v) {
  const uint32_t sign = static_cast<uint32_t>(v.bits & 0x8000u) << 16, exponent = v.bits >> 10 & 31u,
                 mantissa = v.bits & 0x3FFu;
  if (exponent == 31u) return std::bit_cast<float>(sign | 0x7F800000u | mantissa << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112u) << 23 | mantissa << 13);
  const float subnormal = static_cast<float>(mantissa) * 0x1p-24f;  // exact
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(subnormal));
}

// Rounds to nearest even; overflow becomes infinity, subnormals are produced, a NaN becomes the quiet NaN of its sign.
LUTRA_MEMBER F16 ToF16(float v) {
  const uint32_t u = std::bit_cast<uint32_t>(v), sign = u >> 16 & 0x8000u, a = u & 0x7FFFFFFFu;
  if (a > 0x7F800000u) return {static_cast<uint16_t>(sign | 0x7E00u)};
  if (a >= 0x477FF000u) return {static_cast<uint16_t>(sign | 0x7C00u)};  // 65520 and above
  if (a < 0x38800000u) {  // below 2^-14: the sum rounds to a step of 2^-24
    const float rounded = std::bit_cast<float>(a) + 0.5f;
    return {static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(rounded) - 0x3F000000u))};
  }
  return {static_cast<uint16_t>(sign | ((a - 0x38000000u + 0xFFFu + (a >> 13 & 1u)) >> 13))};
}

// Element i of an array of type `type`, one of f32, bf16, f16, i32, i16, i8, u8.
LUTRA_MEMBER float LoadFloat(const void* data, DType type, ptrdiff_t i) {
  switch (type) {
    case DType::kF32:
      return static_cast<const float*>(data)[i];
    case DType::kBF16:
      return ToFloat(static_cast<const BF16*>(data)[i]);
    case DType::kF16:
      return ToFloat(static_cast<const F16*>(data)[i]);
    case DType::kI32:
      return static_cast<float>(static_cast<const int32_t*>(data)[i]);
    case DType::kI16:
      return static_cast<float>(static_cast<const int16_t*>(data)[i]);
    case DType::kI8:
      return static_cast<float>(static_cast<const int8_t*>(data)[i]);
    case DType::kU8:
      return static_cast<float>(static_cast<const uint8_t*>(data)[i]);
    case DType::kE8M0:
    case DType::kE4M3:
      break;
  }
  return 0.0f;
}

}}  // namespace lutra::LUTRA_NS
