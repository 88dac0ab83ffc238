// Conversions between f32 and the 16-bit floats, against their definition in double.
#include "lutra/core/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>

#include "support/random.h"

namespace lutra { namespace testing { namespace {

static_assert(sizeof(BF16) == 2 && sizeof(F16) == 2);
static_assert(SizeOf(DType::kF32) == 4 && SizeOf(DType::kI32) == 4 && SizeOf(DType::kBF16) == 2);
static_assert(SizeOf(DType::kF16) == 2 && SizeOf(DType::kI16) == 2 && SizeOf(DType::kI8) == 1);
static_assert(SizeOf(DType::kU8) == 1 && SizeOf(DType::kE8M0) == 1 && SizeOf(DType::kE4M3) == 1);
static_assert(IsFloat(DType::kF32) && IsFloat(DType::kBF16) && IsFloat(DType::kF16) && !IsFloat(DType::kI32));

uint32_t Bits(float v) { return std::bit_cast<uint32_t>(v); }
float FromBits(uint32_t bits) { return std::bit_cast<float>(bits); }

// The value of a small float by its fields.
double ValueOf(unsigned bits, int exponent_bits, int mantissa_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1,
            exponent = static_cast<int>(bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const double mantissa = bits & ((1u << mantissa_bits) - 1), sign = bits >> 15 != 0 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) {
    return mantissa != 0 ? std::numeric_limits<double>::quiet_NaN() : sign * std::numeric_limits<double>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp(mantissa + std::ldexp(1, mantissa_bits), exponent - bias - mantissa_bits);
}

struct Small {  // what the two types share
  int exponent_bits, mantissa_bits;
  unsigned quiet_nan;
  float (*to_float)(unsigned);
  unsigned (*from_float)(float);
};
const Small kSmalls[] = {
    {8, 7, 0x7FC0u, [](unsigned b) { return ToFloat(BF16{static_cast<uint16_t>(b)}); },
     [](float v) { return unsigned{ToBF16(v).bits}; }},
    {5, 10, 0x7E00u, [](unsigned b) { return ToFloat(F16{static_cast<uint16_t>(b)}); },
     [](float v) { return unsigned{ToF16(v).bits}; }},
};

TEST(DType, All65536ValuesOfBF16AndF16SurviveBothWays) {
  for (const Small& s : kSmalls) {
    for (unsigned bits = 0; bits < 0x10000; ++bits) {
      const float v = s.to_float(bits);
      const double want = ValueOf(bits, s.exponent_bits, s.mantissa_bits);
      if (std::isnan(want)) {
        ASSERT_TRUE(std::isnan(v)) << bits;
        ASSERT_EQ(s.from_float(v), (bits & 0x8000u) | s.quiet_nan) << "the quiet NaN of its sign";
      } else {
        ASSERT_EQ(static_cast<double>(v), want) << bits;
        ASSERT_EQ(std::signbit(v), bits >> 15 != 0);
        ASSERT_EQ(s.from_float(v), bits);
      }
    }
  }
}

// Between every two neighbours: the tie goes to the even one, anything beside the tie to the nearer one.
TEST(DType, RoundsToNearestEvenBetweenAllNeighbours) {
  for (const Small& s : kSmalls) {
    const unsigned infinity = ((1u << s.exponent_bits) - 1) << s.mantissa_bits;
    for (unsigned bits = 0; bits < infinity; ++bits) {
      const double low = ValueOf(bits, s.exponent_bits, s.mantissa_bits);
      // The neighbour of the largest is where the next binade would begin: from the middle on it is infinity.
      const double high = bits + 1 == infinity ? std::ldexp(1, (1 << (s.exponent_bits - 1)))
                                               : ValueOf(bits + 1, s.exponent_bits, s.mantissa_bits);
      const auto middle = static_cast<float>((low + high) / 2);  // exact in f32, except below its subnormals
      if (static_cast<double>(middle) != (low + high) / 2) continue;
      const unsigned even = bits % 2 == 0 ? bits : bits + 1;
      for (const unsigned sign : {0u, 0x8000u}) {
        const float m = sign != 0 ? -middle : middle;
        const float below = std::nextafter(m, 0.0f), above = std::nextafter(m, m > 0 ? HUGE_VALF : -HUGE_VALF);
        ASSERT_EQ(s.from_float(m), sign | even) << bits;
        ASSERT_EQ(s.from_float(below), sign | bits) << bits;
        ASSERT_EQ(s.from_float(above), sign | (bits + 1)) << bits;
      }
    }
  }
}

TEST(DType, OverflowInfinityNaNZeroAndSubnormals) {
  EXPECT_EQ(ToF16(65504.0f).bits, 0x7BFFu);
  EXPECT_EQ(ToF16(std::nextafter(65520.0f, 0.0f)).bits, 0x7BFFu);
  EXPECT_EQ(ToF16(65520.0f).bits, 0x7C00u);
  EXPECT_EQ(ToF16(-HUGE_VALF).bits, 0xFC00u);
  EXPECT_EQ(ToF16(-0.0f).bits, 0x8000u);
  EXPECT_EQ(ToF16(0x1p-24f).bits, 1u);
  EXPECT_EQ(ToF16(0x1p-25f).bits, 0u) << "the tie with zero";
  EXPECT_EQ(ToF16(std::nextafter(0x1p-25f, 1.0f)).bits, 1u);
  EXPECT_EQ(ToF16(FromBits(1)).bits, 0u);
  EXPECT_EQ(ToF16(FromBits(0xFF800001u)).bits, 0xFE00u);
  EXPECT_EQ(ToF16(FromBits(0x7FFFFFFFu)).bits, 0x7E00u);
  EXPECT_EQ(ToBF16(std::numeric_limits<float>::max()).bits, 0x7F80u);
  EXPECT_EQ(ToBF16(-0.0f).bits, 0x8000u);
  EXPECT_EQ(ToBF16(FromBits(0x00008000u)).bits, 0u);
  EXPECT_EQ(ToBF16(FromBits(0x00008001u)).bits, 1u) << "subnormals stay";
  EXPECT_EQ(ToBF16(FromBits(0x7F800001u)).bits, 0x7FC0u) << "not infinity";
  EXPECT_EQ(ToBF16(FromBits(0xFFFFFFFFu)).bits, 0xFFC0u);
}

// Random bit patterns: nearer than any other value of the type.
TEST(DType, RandomFloatsGoToTheNearest) {
  Random random{1};
  for (const Small& s : kSmalls) {
    const unsigned infinity = ((1u << s.exponent_bits) - 1) << s.mantissa_bits;
    for (int i = 0; i < 200000; ++i) {
      const float v = FromBits(static_cast<uint32_t>(random.Next()));
      if (std::isnan(v)) continue;
      const unsigned got = s.from_float(v), magnitude = got & 0x7FFFu;
      ASSERT_EQ(got >> 15, Bits(v) >> 31);
      ASSERT_LE(magnitude, infinity);
      if (magnitude == infinity) continue;
      const auto distance = [&](unsigned b) {
        return std::fabs(std::fabs(static_cast<double>(v)) - ValueOf(b, s.exponent_bits, s.mantissa_bits));
      };
      ASSERT_TRUE(magnitude == 0 || distance(magnitude) <= distance(magnitude - 1)) << v;
      ASSERT_TRUE(magnitude + 1 == infinity || distance(magnitude) <= distance(magnitude + 1)) << v;
    }
  }
}

TEST(DType, LoadFloatReadsEveryType) {
  const float f32[] = {0, -1.5f};
  const BF16 bf16[] = {{}, {0xBFC0u}};
  const F16 f16[] = {{}, {0xBE00u}};
  const int32_t i32[] = {0, -70000};
  const int16_t i16[] = {0, -300};
  const int8_t i8[] = {0, -128};
  const uint8_t u8[] = {0, 255};
  EXPECT_EQ(LoadFloat(f32, DType::kF32, 1), -1.5f);
  EXPECT_EQ(LoadFloat(bf16, DType::kBF16, 1), -1.5f);
  EXPECT_EQ(LoadFloat(f16, DType::kF16, 1), -1.5f);
  EXPECT_EQ(LoadFloat(i32, DType::kI32, 1), -70000.0f);
  EXPECT_EQ(LoadFloat(i16, DType::kI16, 1), -300.0f);
  EXPECT_EQ(LoadFloat(i8, DType::kI8, 1), -128.0f);
  EXPECT_EQ(LoadFloat(u8, DType::kU8, 1), 255.0f);
  EXPECT_EQ(LoadFloat(f32 + 1, DType::kF32, -1), 0.0f);
  EXPECT_STREQ(NameOf(DType::kE8M0), "e8m0");
  EXPECT_STREQ(NameOf(static_cast<DType>(77)), "invalid");
}

}}}  // namespace lutra::testing
