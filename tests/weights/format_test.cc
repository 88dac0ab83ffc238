// Formats are data: what the data says equals Decode, and ids tell formats apart.
#include <gtest/gtest.h>

#include <set>

#include "weights/coded.h"

namespace lutra { namespace {
using testing::AllFormats;
using testing::TestFormat;

static_assert(Ternary::Decode(0) == -1.0f && Ternary::Decode(1) == 0.0f && Ternary::Decode(2) == 1.0f);
static_assert(Int1::Decode(0) == -0.5f && Int1::Decode(1) == 0.5f);
static_assert(Int4::Decode(0) == -8.0f && Int4::Decode(15) == 7.0f);
static_assert(Int<2, 3>::Decode(0) == -1.5f && Int<2, 3>::Decode(3) == 1.5f);
static_assert(Int<4, 0>::Decode(15) == 15.0f && Int8::Decode(0) == -128.0f);
static_assert(TableOf<Ternary>()[3] == 2.0f);
static_assert(Int8::info == IntFormat(8, 256) && Int<2, 3>::info == IntFormat(2, 3));

TEST(Format, DecodeIsTheAffineRule) {
  for (const TestFormat& f : AllFormats()) {
    if (f.info.map == Map::kTable) continue;
    for (size_t c = 0; c < f.values.size(); ++c) {
      EXPECT_EQ(f.values[c], (2.0f * static_cast<float>(c) - static_cast<float>(f.info.zero_x2)) / 2)
          << f.info.name.data() << ", code " << c;
    }
  }
}

TEST(Format, PlanesHoldTheBits) {
  for (const TestFormat& f : AllFormats()) {
    EXPECT_EQ(f.info.planes[0] + f.info.planes[1] + f.info.planes[2], f.info.bits) << f.info.name.data();
    EXPECT_EQ(f.info.MaxPattern() + 1, 1 << f.info.bits);
    EXPECT_LE(f.info.codes, f.info.MaxPattern() + 1);
    EXPECT_TRUE(internal::CheckSpec({f.info, {}, 1, 1, 1}).ok()) << f.info.name.data();
  }
  EXPECT_EQ(Int7::info.planes, (std::array<uint8_t, 3>{4, 2, 1}));
  EXPECT_EQ(Int3::info.planes, (std::array<uint8_t, 3>{2, 1, 0}));
}

TEST(Format, IdsAndNamesOfLutrasAreUniqueAndBelowTheUsers) {
  std::set<int> ids = {Ternary::info.id};
  std::set<std::string> names = {Ternary::info.name.data()};
  for (int bits = 1; bits <= 8; ++bits) {
    for (int zero_x2 = 0; zero_x2 <= 2 * ((1 << bits) - 1); ++zero_x2) {
      const FormatInfo f = IntFormat(bits, zero_x2);
      EXPECT_TRUE(ids.insert(f.id).second) << bits << ' ' << zero_x2;
      EXPECT_TRUE(names.insert(f.name.data()).second) << f.name.data();
      EXPECT_LT(f.id, 0x8000);
      EXPECT_TRUE(internal::CheckSpec({f, {}, 1, 1, 1}).ok()) << f.name.data();
    }
  }
  EXPECT_STREQ(Int4::info.name.data(), "int4");
  EXPECT_STREQ((Int<2, 3>::info.name.data()), "int2_z003");
}

}}  // namespace lutra
