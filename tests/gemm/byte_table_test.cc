// The mode ByteTables: equal to its reference bit for bit on every target that has it, within its bound of the exact
// sums, and refused or exact elsewhere.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "support/gemm_compare.h"

namespace lutra { namespace testing { namespace {

class ByteTable : public ::testing::TestWithParam<FormatInfo> {
 protected:
  static GemmSpec Spec() {
    GemmSpec spec;
    spec.format = GetParam();
    spec.unit = Unit::kByteRow;
    return spec;
  }
};
INSTANTIATE_TEST_SUITE_P(All, ByteTable, ::testing::ValuesIn(kFormats), NameOfFormat);
INSTANTIATE_TEST_SUITE_P(Users, ByteTable, ::testing::Values(Skewed::info), NameOfFormat);

// K around a block and around what 16 bits hold (2048), rows of few bits, whose step is one, among those of many.
TEST_P(ByteTable, EqualsReferenceBitForBit) {
  const size_t ms[] = {0, 1, 2, 5}, ns[] = {0, 1, 31, 32, 33, 65, 97};
  const size_t ks[] = {0, 1, 3, 31, 32, 33, 64, 97, 256, 257, 511, 1025, 2047, 2049};
  Random random{GetParam().id};
  size_t i = 0;
  for (const size_t k : ks) {
    for (const Fill fill : kFills) {
      GemmSpec spec = Spec();
      spec.m = ms[i % std::size(ms)];
      spec.n = ns[i % std::size(ns)];
      spec.k = k;
      spec.fill = fill;
      DrawCall(random, /*most_segment_k=*/600, &spec);
      if (i++ % 3 == 0) spec.act.bits = 2 + static_cast<int>(random.Below(6));
      GemmProblem problem(spec);
      DrawOutput(random, &problem);
      Compare(problem, {GemmAlgo::kByteTable});
      if (HasFatalFailure()) return;
    }
  }
}

// Tables of a row of x fill scratch at K = 6144: then K passes in chunks, and spans cross their ends; more panels than
// scratch has sums for.
class ByteTableChunks : public ::testing::TestWithParam<FormatInfo> {};
INSTANTIATE_TEST_SUITE_P(TwoWidths, ByteTableChunks, ::testing::Values(Int1::info, Ternary::info), NameOfFormat);

TEST_P(ByteTableChunks, EqualReferenceBitForBit) {
  for (const size_t group : Sizes{0, 2048}) {
    GemmSpec spec;
    spec.format = GetParam();
    spec.unit = Unit::kByteRow;
    spec.m = 2;
    spec.n = 40;
    spec.k = 6145;
    spec.scales.group_k = group;
    spec.act.group_k = group == 0 ? 0 : 96;
    spec.fill = group == 0 ? Fill::kAllMin : Fill::kInvalidCodes;
    GemmProblem problem(spec);
    Compare(problem, {GemmAlgo::kByteTable});
    if (HasFatalFailure()) return;
  }
  GemmSpec spec;
  spec.format = GetParam();
  spec.unit = Unit::kByteRow;
  spec.k = 1100;
  spec.n = 32 * 97 + 5;
  spec.gather = true;
  spec.segments = 6;
  GemmProblem gathered(spec);
  Compare(gathered, {GemmAlgo::kByteTable});
}

// The largest K that packing accepts, all codes and activations at their ends: neither the sums of rounded sums nor
// what they stand for leave int32.
TEST_P(ByteTable, LargestKDoesNotOverflow) {
  const FormatInfo& f = GetParam();
  GemmSpec spec = Spec();
  spec.k = std::min(LargestKOf(f), size_t{1} << 24);
  for (const Fill fill : {Fill::kAllMin, Fill::kZeroCodes}) {
    spec.fill = fill;
    GemmProblem problem(spec);
    for (const std::string& target : TargetNames()) {
      if (!HasByteTables(target)) continue;
      TargetContext context(target);
      ASSERT_EQ(problem.Run(GemmAlgo::kByteTable, context), "") << target;
    }
  }
}

// docs/numerics.md, 2.8: spans of Q quads are off by at most (2^bits - 1) Q step / 4 and a rounding; by none where step
// is one.
TEST_P(ByteTable, SumsAreWithinTheirErrorBound) {
  for (const Fill fill : {Fill::kRandom, Fill::kAllMax, Fill::kAlternating, Fill::kInvalidCodes}) {
    for (const int bits : {4, 5, 8}) {
      for (const size_t k : Sizes{1, 33, 100, 2000}) {
        GemmSpec spec = Spec();
        spec.m = 3;
        spec.n = 20;
        spec.k = k;
        spec.act.bits = bits;
        spec.fill = fill;
        spec.scales.has_offset = true;
        const GemmProblem problem(spec);
        const GemmCall c = problem.Call();
        const internal::Span whole = internal::SpanAt(c.w, c.xq->spec, 0, 0);
        for (size_t m = 0; m < spec.m; ++m) {
          const internal::ByteStep step = reference::ByteStepOf(c, m);
          if (bits == 4) {
            EXPECT_TRUE(step.exact());
          }
          for (size_t n = 0; n < spec.n; ++n) {
            const reference::WeightRow w(c, n);
            int32_t x_sum = 0, same = 0;
            const int64_t exact = reference::SpanSum(w, c.xq->Row(m), 0, whole, &x_sum);
            const int64_t got = reference::ByteSpanSum(w, step, c.xq->Row(m), 0, whole, &same);
            ASSERT_EQ(x_sum, same);
            const size_t quads_of_k = (k + 3) / 4;
            const auto quads = static_cast<double>(quads_of_k), planes = static_cast<double>(GetParam().MaxPattern());
            const double bound = step.exact() ? 0 : planes * quads * double{step.half_step} / 2 * (1 + 0x1p-22) + 0.6;
            ASSERT_LE(std::fabs(static_cast<double>(got - exact)), 2 * bound) << spec.ToString();  // both are doubled
          }
        }
      }
    }
  }
}

// What a step is: of the largest quad, at most a 61.98th, and never below one; halves of it are as exact as it is.
TEST(ByteTableStep, FollowsTheLargestQuad) {
  for (int most = 0; most <= 512; ++most) {
    const internal::ByteStep step = internal::ByteStepOf(most);
    const auto rounded = [&](int t) { return (t * step.factor + (1 << 13)) >> 14; };
    EXPECT_EQ(step.exact(), most <= 63) << most;
    EXPECT_EQ(rounded(most), most <= 63 ? most : 62) << most;
    EXPECT_EQ(rounded(-most), -rounded(most)) << most;
    if (most <= 63) continue;
    EXPECT_LE(2 * double{step.half_step}, most / 61.98) << most;
    EXPECT_LE(62 * 2 * double{step.half_step}, 512.0) << most;
    if (most % 2 == 0) {
      EXPECT_EQ(rounded(most / 2), 31) << most;
    }
  }
  EXPECT_EQ(internal::ByteStepOf(64).factor, 15872);
  EXPECT_EQ(internal::ByteStepOf(512).factor, 1984);
}

// Hand-computed: x = (100, 0, 0, 0): quads are +100 or -100; factor 10158, so q = +-62, half a step 0.8065.
TEST(ByteTableByHand, OneQuad) {
  GemmSpec spec;
  spec.format = Int2::info;  // code - 2
  spec.unit = Unit::kByteRow;
  spec.k = 4;
  const GemmProblem problem(spec);
  GemmCall call = problem.Call();
  Activations x = *call.xq;
  alignas(64) const int8_t codes[128] = {100};
  x.codes = codes;
  call.xq = &x;
  const internal::ByteStep step = reference::ByteStepOf(call, 0);
  EXPECT_EQ(step.factor, 10158);
  // The planes of code 3: 62 + 2 * 62 half steps are 150.0; less half of x, and of 200, which both planes of it are,
  // the zero point's 200: the sum is 100, that of (3 - 2) * 100.
  const double want[] = {-200, -100, 0, 100};
  int32_t x_sum = 0;
  EXPECT_EQ(static_cast<double>(reference::ByteSpanSum({call, 0}, step, codes, 0, {0, 4, 0, 0}, &x_sum)) / 2,
            want[call.w.Code(0, 0)]);
  EXPECT_EQ(x_sum, 100);
}

// Unnamed it never runs; named, wherever the target has it; elsewhere the exact ones do.
TEST(ByteTableMode, RunsOnlyWhereItIsNamed) {
  GemmSpec spec;
  spec.unit = Unit::kByteRow;
  spec.k = 64;
  const GemmProblem problem(spec);
  const GemmCall call = problem.Call();
  for (const std::string& target : TargetNames()) {
    TargetContext context(target);
    EXPECT_EQ(Explain<>(call, context).algo, GemmAlgo::kShuffleTable) << target;
    EXPECT_NE(std::string(Explain<>(call, context).text).find("not byte_table: lossy: name the mode ByteTables"),
              std::string::npos);
    const Explanation named = Explain<Ternary, ByteTables>(call, context);
    EXPECT_EQ(named.algo, HasByteTables(target) ? GemmAlgo::kByteTable : GemmAlgo::kShuffleTable) << target;
    EXPECT_EQ(std::string(named.text).find("\nlossy: ") != std::string::npos, HasByteTables(target)) << named.text;
  }
}

TEST(ByteTableMode, SaysWhyNot) {
  const auto message = [](const GemmSpec& spec, const std::string& target) {
    TargetContext context(target);
    GemmProblem problem(spec);
    return FailureOf([&] { (void)problem.Run(GemmAlgo::kByteTable, context); });
  };
  const std::string begin = "Gemm: algo is byte_table, which cannot run here: ";
  for (const std::string& target : TargetNames()) {
    GemmSpec spec;
    spec.k = 64;
    EXPECT_EQ(message(spec, target), begin + "w is packed in Unit::kLane32, not in kByteRow");
    spec.unit = Unit::kByteRow;
    spec.scales.group_k = 20;
    EXPECT_EQ(message(spec, target), begin + (HasByteTables(target) ? "group_k is not a multiple of 32"
                                                                    : "the target has no lookups of bytes"));
  }
}

}}}  // namespace lutra::testing
