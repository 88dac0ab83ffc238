// Lookups in tables of activations: shuffle_table equals the reference bit for bit, on every target; and whatever is
// packed in its unit also runs by the algorithms that read codes.
#include <gtest/gtest.h>

#include "support/gemm_compare.h"

namespace lutra { namespace testing { namespace {

GemmAlgo Chosen(const GemmProblem& problem) {
  const GemmCall call = problem.Call();
  return call.w.format().id < 0x8000 ? Explain<>(call, Context()).algo : Explain<Skewed>(call, Context()).algo;
}

class ShuffleTable : public ::testing::TestWithParam<FormatInfo> {};
INSTANTIATE_TEST_SUITE_P(All, ShuffleTable, ::testing::ValuesIn(kFormats), NameOfFormat);
INSTANTIATE_TEST_SUITE_P(Users, ShuffleTable, ::testing::Values(Skewed::info), NameOfFormat);

// K around the ends of byte sums (32, 64, 128 k by vector length), of 16-bit sums (eight times as many) and of tables.
TEST_P(ShuffleTable, EqualsReferenceBitForBit) {
  const size_t ms[] = {0, 1, 2, 5}, ns[] = {0, 1, 31, 32, 33, 65, 97};
  const size_t ks[] = {0, 1, 31, 32, 33, 64, 97, 128, 255, 256, 257, 511, 512, 513, 1024, 1025, 1057};
  Random random{GetParam().id};
  size_t i = 0;
  for (const size_t k : ks) {
    for (const Fill fill : kFills) {
      GemmSpec spec;
      spec.format = GetParam();
      spec.unit = Unit::kByteRow;
      spec.m = ms[i % std::size(ms)];
      spec.n = ns[i++ % std::size(ns)];
      spec.k = k;
      spec.fill = fill;
      DrawCall(random, /*most_segment_k=*/SIZE_MAX, &spec);
      GemmProblem problem(spec);
      DrawOutput(random, &problem);
      ASSERT_EQ(Chosen(problem), GemmAlgo::kShuffleTable);
      Compare(problem, {GemmAlgo::kShuffleTable, GemmAlgo::kIntLanes});
      if (HasFatalFailure()) return;
    }
  }
}

// Tables of a row of x fill scratch at K = 3072: then K passes in chunks, and spans cross their ends; more panels than
// scratch has sums for.
TEST_P(ShuffleTable, ChunksOfK) {
  for (const size_t k : Sizes{3072, 3073, 4100}) {
    for (const size_t group : Sizes{0, 160, 2048}) {
      GemmSpec spec;
      spec.format = GetParam();
      spec.unit = Unit::kByteRow;
      spec.m = 2;
      spec.n = 40;
      spec.k = k;
      spec.scales.group_k = group;
      spec.act.group_k = group == 0 ? 0 : 96;
      spec.fill = group == 0 ? Fill::kAllMin : Fill::kInvalidCodes;
      GemmProblem problem(spec);
      Compare(problem, {GemmAlgo::kShuffleTable});
      if (HasFatalFailure()) return;
    }
  }
  if (GetParam().bits > 2) return;  // these two take long
  GemmSpec spec;
  spec.format = GetParam();
  spec.unit = Unit::kByteRow;
  spec.n = 32 * 130 + 5;
  spec.k = 3200;
  GemmProblem problem(spec);
  Compare(problem, {GemmAlgo::kShuffleTable});
  spec.k = 1100;
  spec.n = 7;
  spec.m = 3;
  spec.gather = true;
  spec.segments = 5;
  GemmProblem gathered(spec);
  Compare(gathered, {GemmAlgo::kShuffleTable});
}

// Groups that are no multiple of 32, and float activations.
TEST_P(ShuffleTable, OtherAlgorithmsReadItsUnit) {
  for (const size_t k : Sizes{1, 33, 100}) {
    GemmSpec spec;
    spec.format = GetParam();
    spec.unit = Unit::kByteRow;
    spec.m = 3;
    spec.n = 37;
    spec.k = k;
    spec.scales.group_k = 20;
    spec.fill = Fill::kInvalidCodes;
    GemmProblem problem(spec);
    ASSERT_EQ(Chosen(problem), GemmAlgo::kIntLanes);
    Compare(problem, {GemmAlgo::kIntLanes});
    spec.x_type = DType::kF32;
    GemmProblem floats(spec);
    ASSERT_EQ(Chosen(floats), GemmAlgo::kTile);
    for (const std::string& target : TargetNames()) {
      TargetContext context(target);
      if (HasFma(target)) {
        ASSERT_EQ(floats.Run(GemmAlgo::kTile, context), "") << target;
      }
    }
  }
}

TEST(ShuffleTableUnit, TablesOfValuesRunByTile) {
  static constexpr auto kThree = TableOf<ThreeLevels>();
  GemmSpec spec;
  spec.format = ThreeLevels::info;
  spec.table = kThree.data();
  spec.unit = Unit::kByteRow;
  spec.m = 3;
  spec.n = 37;
  spec.k = 70;
  spec.x_type = DType::kF32;
  GemmProblem problem(spec);
  for (const std::string& target : TargetNames()) {
    TargetContext context(target);
    if (HasFma(target)) {
      EXPECT_EQ(problem.Run(GemmAlgo::kTile, context), "") << target;
    }
  }
}

// The largest K that packing accepts, all codes and activations at their ends: sums of planes wrap, the total does not.
TEST_P(ShuffleTable, LargestKDoesNotOverflow) {
  const FormatInfo& f = GetParam();
  GemmSpec spec;
  spec.format = f;
  spec.unit = Unit::kByteRow;
  spec.k = std::min(LargestKOf(f), size_t{1} << 22);
  for (const Fill fill : {Fill::kAllMin, Fill::kZeroCodes}) {
    spec.fill = fill;
    GemmProblem problem(spec);
    for (const std::string& target : TargetNames()) {
      TargetContext context(target);
      ASSERT_EQ(problem.Run(GemmAlgo::kShuffleTable, context), "") << target;
    }
  }
}

TEST(ShuffleTableUnit, OtherUnitsSayWhyNot) {
  GemmSpec spec;
  spec.format = Int1::info;
  spec.k = 40;
  GemmProblem lanes(spec);
  EXPECT_EQ(FailureOf([&] {
              Context context;
              (void)lanes.Run(GemmAlgo::kShuffleTable, context);
            }),
            "Gemm: algo is shuffle_table, which cannot run here: w is packed in Unit::kLane32, not in kByteRow");
  spec.unit = Unit::kByteRow;
  GemmProblem rows(spec);
  EXPECT_EQ(FailureOf([&] {
              Context context;
              (void)rows.Run(GemmAlgo::kIntDot, context);
            }),
            "Gemm: algo is int_dot, which cannot run here: w is packed in Unit::kByteRow, not in kLane32");
}

}}}  // namespace lutra::testing
