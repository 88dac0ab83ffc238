#include <gtest/gtest.h>

#include "lutra/core/bounds.h"
#include "lutra/targets.h"

namespace lutra { namespace {

static_assert(WidenEvery(3, 1, -128) == 42);
static_assert(WidenEvery(15, 1, -128) == 8);

TEST(ForceTarget, RefusesAnUnknownNameAndListsTheRealOnes) {
  Context context;
  const Status status = ForceTarget(context, "AVX1");
  ASSERT_FALSE(status.ok());
  EXPECT_NE(std::string(status.message()).find(Targets().begin()->name), std::string::npos);
  EXPECT_EQ(context.target(), 0);
}

}}  // namespace lutra
