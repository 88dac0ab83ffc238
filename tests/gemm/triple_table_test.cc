// Three ternary weights in five bits: triple_table equals the reference bit for bit, on every target; and whatever is
// packed in its unit also runs by the algorithms that read codes.
#include <gtest/gtest.h>

#include "support/gemm_compare.h"

namespace lutra { namespace testing { namespace {

GemmSpec Spec(size_t m, size_t n, size_t k) {
  GemmSpec spec;
  spec.format = Ternary::info;
  spec.unit = Unit::kTriple;
  spec.m = m;
  spec.n = n;
  spec.k = k;
  return spec;
}
GemmAlgo Chosen(const GemmProblem& problem) { return Explain<>(problem.Call(), Context()).algo; }

// K around the ends of blocks (96 k), of 16-bit sums (two blocks) and of the 64 bytes that rows of x are padded to.
TEST(TripleTable, EqualsReferenceBitForBit) {
  const size_t ms[] = {0, 1, 2, 5}, ns[] = {0, 1, 31, 32, 33, 65, 97}, groups[] = {0, 0, 96, 192, 288};
  const size_t ks[] = {0,   1,   31,  32,  33,  63,  64,  65,  95,  96,  97,  127, 128,
                       129, 160, 191, 192, 193, 255, 288, 289, 384, 575, 576, 577, 1001};
  Random random{3};
  size_t i = 0;
  for (const size_t k : ks) {
    for (const Fill fill : kFills) {
      GemmSpec spec = Spec(ms[i % std::size(ms)], ns[i % std::size(ns)], k);
      ++i;
      spec.fill = fill;
      DrawCall(random, /*most_segment_k=*/SIZE_MAX, &spec);
      spec.scales.group_k = spec.scales.per_tensor ? 0 : random.Of(groups);
      spec.act.group_k = spec.act.per_tensor ? 0 : random.Of(groups);
      GemmProblem problem(spec);
      DrawOutput(random, &problem);
      ASSERT_EQ(Chosen(problem), GemmAlgo::kTripleTable);
      Compare(problem, {GemmAlgo::kTripleTable, GemmAlgo::kIntLanes});
      if (HasFatalFailure()) return;
    }
  }
}

// Each of the 32 patterns of a triple beside activations at their ends.
TEST(TripleTable, EveryPatternOfATriple) {
  GemmSpec spec = Spec(8, 32, 96);
  spec.y_type = DType::kI32;
  const GemmProblem problem(spec);
  PackedBuffer blob = PackedBuffer::Allocate(PackedBytes({Ternary::info, {}, 32, 96, 1, Unit::kTriple}));
  ASSERT_TRUE(BeginPack({Ternary::info, {}, 32, 96, 1, Unit::kTriple}, blob.bytes()).ok());
  uint8_t* codes = reinterpret_cast<uint8_t*>(blob.bytes().data()) + sizeof(PackedHeader);
  for (size_t row = 0; row < 32; ++row) {  // row r holds pattern r everywhere
    for (size_t eight = 0; eight < 4; ++eight) {
      codes[eight * 160 + row] = row < 16 ? 0 : 0xFF;
      for (size_t i = 0; i < 4; ++i) codes[eight * 160 + 32 + i * 32 + row] = static_cast<uint8_t>(row % 16 * 0x11);
    }
  }
  std::vector<int8_t> x(8 * 96);
  for (size_t m = 0; m < 8; ++m) {
    for (size_t k = 0; k < 96; ++k) x[m * 96 + k] = (m >> k / 32 & 1) != 0 ? int8_t{127} : int8_t{-128};
  }
  const std::vector<float> ones(8, 1.0f);
  Context serial;
  std::vector<std::byte> memory(ActivationBytes(8, 96));
  const Activations xq = ImportInt8(View(x.data(), 8, 96), ones, memory, serial);
  for (const std::string& target : TargetNames()) {
    TargetContext context(target);
    std::vector<int32_t> y(8 * 32, -1);
    GemmCall call;
    call.xq = &xq;
    call.w = blob;
    call.y = View(y.data(), 8, 32);
    call.algo = GemmAlgo::kTripleTable;
    Gemm<>(std::span<const GemmCall>(&call, 1), context);
    context.Check();
    for (size_t m = 0; m < 8; ++m) {
      for (size_t row = 0; row < 32; ++row) {
        // Balanced digits of the magnitude, by hand: 5 = 9 - 3 - 1.
        int left = row % 16 > 13 ? 0 : static_cast<int>(row % 16), want = 0;
        for (size_t digit = 3; digit-- > 0;) {
          const int value = (left + 1) % 3 - 1;
          left = (left - value) / 3;
          want += 32 * value * x[m * 96 + 32 * digit];
        }
        ASSERT_EQ(y[m * 32 + row], row < 16 ? want : -want) << target << " x " << m << ", pattern " << row;
      }
    }
  }
}

// Tables of a row of x fill L1 at some K: then K passes in chunks, and spans cross their ends; more panels than scratch
// has sums for; segments.
TEST(TripleTable, ChunksOfK) {
  for (const size_t k : Sizes{1344, 1345, 2688, 2689, 5500}) {
    for (const size_t group : Sizes{0, 480, 1920}) {
      GemmSpec spec = Spec(2, 40, k);
      spec.scales.group_k = group;
      spec.act.group_k = group == 0 ? 0 : 288;
      spec.fill = group == 0 ? Fill::kAllMin : Fill::kInvalidCodes;
      GemmProblem problem(spec);
      Compare(problem, {GemmAlgo::kTripleTable});
      if (HasFatalFailure()) return;
    }
  }
  GemmProblem panels(Spec(1, 32 * 130 + 5, 3200));
  Compare(panels, {GemmAlgo::kTripleTable});
  GemmSpec spec = Spec(3, 7, 1100);
  spec.gather = true;
  spec.segments = 5;
  GemmProblem gathered(spec);
  Compare(gathered, {GemmAlgo::kTripleTable});
}

// A format of the user's with the values of Ternary.
struct OwnTernary {
  static constexpr FormatInfo info = AffineFormat(0x8010, "own_ternary", 2, 2, 3);
  static constexpr float Decode(unsigned code) { return static_cast<float>(code) - 1.0f; }
};
TEST(TripleTable, TakesAnyTernaryFormat) {
  GemmSpec spec = Spec(2, 40, 200);
  spec.format = OwnTernary::info;
  const GemmProblem problem(spec);
  GemmCall call = problem.Call();
  std::vector<float> got(2 * 40), want(2 * 40);
  call.y = View(got.data(), 2, 40);
  Context context;
  EXPECT_EQ((Explain<OwnTernary, TripleTables>(call, context)).algo, GemmAlgo::kTripleTable);
  Gemm<OwnTernary, TripleTables>(std::span<const GemmCall>(&call, 1), context);
  call.y = View(want.data(), 2, 40);
  reference::Gemm(call, GemmAlgo::kIntDot);
  EXPECT_EQ(got, want);
}

// Groups that are no multiple of 96, and float activations.
TEST(TripleTable, OtherAlgorithmsReadItsUnit) {
  for (const size_t k : Sizes{1, 33, 96, 100, 250}) {
    for (const size_t group : Sizes{20, 32, 128}) {
      GemmSpec spec = Spec(3, 37, k);
      spec.scales.group_k = group;
      spec.fill = Fill::kInvalidCodes;
      GemmProblem problem(spec);
      ASSERT_EQ(Chosen(problem), GemmAlgo::kIntLanes);
      Compare(problem, {GemmAlgo::kIntLanes});
      if (HasFatalFailure()) return;
      for (const size_t m : Sizes{3, 70}) {
        spec.m = m;
        spec.x_type = DType::kF32;
        GemmProblem floats(spec);
        ASSERT_EQ(Chosen(floats), GemmAlgo::kTile);
        for (const std::string& target : TargetNames()) {
          TargetContext context(target);
          if (HasFma(target)) {
            ASSERT_EQ(floats.Run(GemmAlgo::kTile, context), "") << target;
          }
          if (floats.Accepts(GemmAlgo::kBf16Dot, context)) {
            ASSERT_EQ(floats.Run(GemmAlgo::kBf16Dot, context), "") << target;
          }
        }
      }
    }
  }
}

// The largest K that packing accepts, all codes and activations at their ends.
TEST(TripleTable, LargestKDoesNotOverflow) {
  GemmSpec spec = Spec(1, 1, std::min(static_cast<size_t>(LargestK(3)), size_t{1} << 22));
  for (const Fill fill : {Fill::kAllMin, Fill::kAllMax, Fill::kZeroCodes}) {
    spec.fill = fill;
    GemmProblem problem(spec);
    for (const std::string& target : TargetNames()) {
      TargetContext context(target);
      ASSERT_EQ(problem.Run(GemmAlgo::kTripleTable, context), "") << target;
    }
  }
}

TEST(TripleTable, SaysWhyNot) {
  const auto message = [](const GemmSpec& spec, GemmAlgo algo) {
    GemmProblem problem(spec);
    return FailureOf([&] {
      Context context;
      (void)problem.Run(algo, context);
    });
  };
  const std::string triple = "Gemm: algo is triple_table, which cannot run here: ";
  GemmSpec spec = Spec(1, 1, 200);
  EXPECT_EQ(message(spec, GemmAlgo::kIntDot),
            "Gemm: algo is int_dot, which cannot run here: w is packed in Unit::kTriple, not in kLane32");
  EXPECT_EQ(message(spec, GemmAlgo::kShuffleTable),
            "Gemm: algo is shuffle_table, which cannot run here: w is packed in Unit::kTriple, not in kByteRow");
  spec.scales.group_k = 128;
  EXPECT_EQ(message(spec, GemmAlgo::kTripleTable), triple + "group_k is not a multiple of 96");
  spec.scales.group_k = 0;
  spec.act.group_k = 32;
  EXPECT_EQ(message(spec, GemmAlgo::kTripleTable), triple + "group_k of x is not a multiple of 96");
  spec.act.group_k = 0;
  spec.unit = Unit::kLane32;
  EXPECT_EQ(message(spec, GemmAlgo::kTripleTable), triple + "w is packed in Unit::kLane32, not in kTriple");
  spec.unit = Unit::kByteRow;
  EXPECT_EQ(message(spec, GemmAlgo::kTripleTable), triple + "w is packed in Unit::kByteRow, not in kTriple");
}

}}}  // namespace lutra::testing
