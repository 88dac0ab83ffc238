// Overflow bounds, errors, and the list of targets.
#include <gtest/gtest.h>

#include <climits>

#include "lutra/core/bounds.h"
#include "lutra/targets.h"
#include "support/targets.h"

namespace lutra { namespace testing { namespace {

static_assert(WidenEvery(3, 1, -128) == 42);
static_assert(WidenEvery(3, 4, -128) == 10);  // a field left at bits 3:2
static_assert(WidenEvery(15, 1, -128) == 8);
static_assert(WidenEvery(127, 1, -128) == 1);
static_assert(WidenEvery(255, 1, -128) == 0);  // not even one pair
static_assert(LargestK(255) == 65793);
static_assert(LargestK(15) == 1118481);
static_assert(LargestK(0) == 1 << 30);

// All sums of `pairs` pair-multiplies lie between these two.
bool FitsInto16Bits(int64_t pairs, int max_code, int weight, int x_min) {
  const int64_t low = pairs * 2 * max_code * weight * x_min, high = pairs * 2 * max_code * weight * 127;
  return low >= INT16_MIN && high <= INT16_MAX;
}

TEST(Bounds, WidenEveryIsTheLastThatFitsAndOneMoreDoesNot) {
  for (int max_code = 1; max_code <= 255; ++max_code) {
    for (const int weight : {1, 4, 16}) {
      for (const int x_min : {-128, -127}) {
        const int most = WidenEvery(max_code, weight, x_min);
        EXPECT_TRUE(FitsInto16Bits(most, max_code, weight, x_min)) << max_code << ' ' << weight;
        EXPECT_FALSE(FitsInto16Bits(most + 1, max_code, weight, x_min)) << max_code << ' ' << weight;
      }
    }
  }
}

// A zero point may turn a code into -max_code: both signs must fit.
TEST(Bounds, LargestKIsTheLastThatFitsAndOneMoreDoesNot) {
  for (int max_code = 1; max_code <= 510; ++max_code) {
    const auto fits = [&](int64_t k) { return k * max_code * 128 <= INT32_MAX; };
    EXPECT_TRUE(fits(LargestK(max_code))) << max_code;
    EXPECT_FALSE(fits(LargestK(max_code) + 1)) << max_code;
  }
}

TEST(Status, HoldsItsMessageAndCutsIt) {
  EXPECT_TRUE(Status().ok());
  EXPECT_STREQ(Status().message(), "");
  const Status status = Error("Map: version is %d", 3);
  EXPECT_FALSE(status.ok());
  EXPECT_STREQ(status.message(), "Map: version is 3");
  const Status copy = status;
  EXPECT_STREQ(copy.message(), status.message());
  const Status cut = Error("%s", std::string(1000, 'x').c_str());
  EXPECT_EQ(std::string(cut.message()).size(), static_cast<size_t>(Status::kCapacity - 1));
  EXPECT_FALSE(Error("%s", "").ok()) << "an empty message is an error all the same";
}

std::string g_message;

TEST(Fail, ThrowsInvalidArgumentOrGoesToTheHandler) {
  EXPECT_THROW(Fail("Op: x is %d", 1), std::invalid_argument);
  EXPECT_EQ(FailureOf([] { Fail("Op: x is %d, must be %d", 1, 2); }), "Op: x is 1, must be 2");
  const FailHandler keep = SetFailHandler([](const char* message) { g_message = message; });
  EXPECT_EQ(keep, nullptr);
  EXPECT_THROW(Fail("Op: y is %d", 3), std::invalid_argument) << "a handler that returns does not stop it";
  EXPECT_EQ(g_message, "Op: y is 3");
  const FailHandler mine = SetFailHandler([](const char*) { throw 42; });
  EXPECT_NE(mine, nullptr);
  EXPECT_THROW(Fail("Op: z"), int);
  SetFailHandler(nullptr);
  EXPECT_EQ(FailureOf([] { Fail("%s", std::string(1000, 'x').c_str()); }).size(), 511u) << "long messages are cut";
}

TEST(Targets, BestFirstAndEachCanBeForced) {
  ASSERT_GT(Targets().size, 0u);
  int64_t last = 0;
  for (const Target& t : Targets()) {
    EXPECT_GT(t.id, last) << "lower bits are better";
    last = t.id;
    Context context;
    EXPECT_TRUE(ForceTarget(context, t.name).ok());
    EXPECT_EQ(context.target(), t.id);
    EXPECT_STREQ(TargetName(t.id), t.name);
    EXPECT_TRUE(ForceTarget(context, "").ok());
    EXPECT_EQ(context.target(), 0);
  }
  EXPECT_STREQ(TargetName(0), "none");
}

TEST(ForceTarget, RefusesAnUnknownNameAndListsTheRealOnes) {
  Context context;
  ASSERT_TRUE(ForceTarget(context, Targets().begin()->name).ok());
  const Status status = ForceTarget(context, "AVX1");
  ASSERT_FALSE(status.ok());
  std::string want = "ForceTarget: name is \"AVX1\", this CPU and build have:";
  for (const Target& t : Targets()) want = want + " " + t.name;
  EXPECT_EQ(status.message(), want);
  EXPECT_EQ(context.target(), Targets().begin()->id) << "and changes nothing";
}

}}}  // namespace lutra::testing
