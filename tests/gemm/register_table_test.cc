// Tables in registers equal the reference bit for bit, on every target that has them.
#include <gtest/gtest.h>

#include "support/gemm_compare.h"

namespace lutra { namespace testing { namespace {

// One span: what the algorithm is for.
void DrawOneSpan(Random& random, GemmSpec* spec) {
  spec->format = Int1::info;
  DrawCall(random, /*most_segment_k=*/0, spec);
  spec->scales.group_k = 0;
  spec->act.group_k = 0;
}

// Every number of rows of a tile, and K on both sides of what 16 bits hold (224), with every fill.
TEST(RegisterTable, EqualsReferenceBitForBit) {
  const size_t ms[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 20, 70}, ns[] = {0, 1, 31, 33, 64, 97};
  const size_t ks[] = {1, 31, 33, 64, 223, 225, 256, 449};
  Random random{1};
  for (size_t i = 0; i < std::size(ms); ++i) {
    for (size_t j = 0; j < std::size(ks); ++j) {
      GemmSpec spec;
      spec.m = ms[i];
      spec.n = ns[(i + j) % std::size(ns)];
      spec.k = ks[j];
      spec.fill = kFills[(i + j) % std::size(kFills)];
      DrawOneSpan(random, &spec);
      GemmProblem problem(spec);
      DrawOutput(random, &problem);
      Compare(problem, {GemmAlgo::kRegisterTable});
      if (HasFatalFailure()) return;
    }
  }
}

// The worst sums at and beside the bound of 16 bits, and in a long row.
TEST(RegisterTable, ExtremesDoNotOverflow) {
  for (const size_t k : Sizes{223, 224, 225, 4096}) {
    for (const Fill fill : kFills) {
      GemmSpec spec;
      spec.format = Int1::info;
      spec.m = 3;
      spec.n = 35;
      spec.k = k;
      spec.fill = fill;
      spec.y_type = DType::kF32;
      GemmProblem problem(spec);
      Compare(problem, {GemmAlgo::kRegisterTable});
      if (HasFatalFailure()) return;
    }
  }
}

// More panels than wait at a time, an odd number of them.
TEST(RegisterTable, ManyPanelsEqualReference) {
  GemmSpec spec;
  spec.format = Int1::info;
  spec.m = 5;
  spec.n = 97 * kPanelRows - 3;
  spec.k = 300;
  spec.gather = true;
  GemmProblem problem(spec);
  Compare(problem, {GemmAlgo::kRegisterTable});
}

GemmAlgo Chosen(const FormatInfo& format, size_t m, size_t n, size_t group, Context& context) {
  GemmSpec spec;
  spec.format = format;
  spec.m = m;
  spec.n = n;
  spec.k = 256;
  spec.scales.group_k = group;
  return Explain<>(GemmProblem(spec).Call(), context).algo;
}

TEST(RegisterTable, IsChosenForSomeRowsOfOneBit) {
  for (const std::string& target : TargetNames()) {
    TargetContext context(target);
    for (const size_t m : Sizes{3, 8, 31, 40}) {
      EXPECT_EQ(Chosen(Int1::info, m, 512, 0, context) == GemmAlgo::kRegisterTable, HasRegisterTables(target))
          << target << ' ' << m;
    }
    EXPECT_NE(Chosen(Int1::info, 2, 512, 0, context), GemmAlgo::kRegisterTable) << target;
    EXPECT_NE(Chosen(Int1::info, 128, 512, 0, context), GemmAlgo::kRegisterTable) << target;
    EXPECT_NE(Chosen(Int1::info, 8, 64, 0, context), GemmAlgo::kRegisterTable) << target;
    EXPECT_NE(Chosen(Int1::info, 8, 512, 128, context), GemmAlgo::kRegisterTable) << target;
    EXPECT_NE(Chosen(Ternary::info, 8, 512, 0, context), GemmAlgo::kRegisterTable) << target;
  }
}

// Another format, groups, a target without: each is refused with its reason.
TEST(RegisterTable, SaysWhyNot) {
  const auto message = [](const GemmSpec& spec, const std::string& target) {
    TargetContext context(target);
    GemmProblem problem(spec);
    return FailureOf([&] { (void)problem.Run(GemmAlgo::kRegisterTable, context); });
  };
  const std::string begin = "Gemm: algo is register_table, which cannot run here: ";
  const std::string other = begin + "tables in registers are for 1 bit, and AVX-512";
  for (const std::string& target : TargetNames()) {
    GemmSpec spec;
    EXPECT_EQ(message(spec, target), other) << target;  // ternary
    spec.format = Int1::info;
    spec.scales.group_k = 32;
    spec.k = 64;
    EXPECT_EQ(message(spec, target), HasRegisterTables(target) ? begin + "scales in groups, or K in segments" : other)
        << target;
  }
}

}}}  // namespace lutra::testing
