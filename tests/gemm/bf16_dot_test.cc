// The mode Bf16Dot: equal to the reference bit for bit where the CPU has the instruction, refused or in f32 elsewhere.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <span>

#include "support/gemm_compare.h"

namespace lutra { namespace testing { namespace {

// Targets on which the mode runs: none on most CPUs.
std::vector<std::string> Bf16Targets() {
  GemmSpec spec;
  spec.x_type = DType::kF32;
  const GemmProblem problem(spec);
  std::vector<std::string> names;
  for (const std::string& target : TargetNames()) {
    TargetContext context(target);
    if (problem.Accepts(GemmAlgo::kBf16Dot, context)) names.push_back(target);
  }
  return names;
}

class Bf16DotMode : public ::testing::TestWithParam<FormatInfo> {
 protected:
  static const float* Table() {
    static constexpr auto kThree = TableOf<ThreeLevels>();
    static constexpr auto kFive = TableOf<FiveBits>();
    return GetParam() == ThreeLevels::info ? kThree.data() : GetParam() == FiveBits::info ? kFive.data() : nullptr;
  }
  static GemmSpec Spec() {
    GemmSpec spec;
    spec.format = GetParam();
    spec.table = Table();
    spec.x_type = DType::kF32;
    return spec;
  }
  static void Expect(GemmProblem& problem) {
    static const std::vector<std::string> targets = Bf16Targets();
    if (targets.empty()) GTEST_SKIP() << "this CPU has no bf16 dot instruction";
    for (const std::string& target : targets) {
      ContextPair& contexts = ContextsOn(target);
      for (TargetContext* context : {&contexts.one, &contexts.other}) {
        ASSERT_EQ(problem.Run(GemmAlgo::kBf16Dot, *context), "") << target;
        if (problem.spec().m != 0 && problem.spec().n != 0) context->Check();
      }
    }
  }
};
INSTANTIATE_TEST_SUITE_P(All, Bf16DotMode, ::testing::ValuesIn(kFormats), NameOfFormat);
INSTANTIATE_TEST_SUITE_P(Users, Bf16DotMode, ::testing::Values(ThreeLevels::info, FiveBits::info, Skewed::info),
                         NameOfFormat);

TEST_P(Bf16DotMode, EqualsReferenceBitForBit) {
  Random random{GetParam().id};
  size_t i = 0;
  for (const size_t m : Sizes{0, 1, 2, 3, 4, 5, 7, 8, 9, 13, 64, 70}) {
    for (const size_t k : Sizes{0, 1, 2, 31, 32, 33, 65, 100, 163}) {
      constexpr size_t kNs[] = {0, 1, 31, 32, 33, 65, 97, 161}, kGroups[] = {0, 2, 20, 32, 48, 64, 96};
      constexpr DType kXs[] = {DType::kF32, DType::kBF16, DType::kF16};
      GemmSpec spec = Spec();
      spec.unit = random.Below(4) == 0 ? Unit::kByteRow : Unit::kLane32;
      spec.m = m;
      spec.n = kNs[i++ % std::size(kNs)];
      spec.k = k;
      spec.x_type = random.Of(kXs);
      DrawFloatCall(random, random.Of(kGroups), &spec);
      GemmProblem problem(spec);
      Expect(problem);
      if (HasFatalFailure() || IsSkipped()) return;
    }
  }
}

// More k than are decoded at a time, more rows than a task has, more panels than share x, groups that straddle all.
TEST_P(Bf16DotMode, LongRowsAndManyOfThem) {
  struct Case {
    size_t m, n, k, group;
    DType x, scale;
    bool offset;
  };
  for (const Case& t :
       {Case{2, 3, 4096, 128, DType::kF32, DType::kF32, false}, Case{1, 65, 4517, 0, DType::kBF16, DType::kF32, true},
        Case{5, 290, 4250, 4160, DType::kF16, DType::kF16, true}, Case{9, 40, 390, 0, DType::kF32, DType::kF32, true},
        Case{11, 35, 517, 192, DType::kBF16, DType::kF32, true},
        Case{131, 33, 262, 100, DType::kF32, DType::kF16, true}, Case{130, 2, 515, 2, DType::kF16, DType::kF32, true},
        Case{260, 2, 131, 32, DType::kF32, DType::kBF16, false}}) {
    GemmSpec spec = Spec();
    spec.m = t.m;
    spec.n = t.n;
    spec.k = t.k;
    spec.scales = {t.group, t.scale, false, t.offset};
    spec.x_type = t.x;
    spec.fill = Fill::kInvalidCodes;
    GemmProblem problem(spec);
    Expect(problem);
    if (HasFatalFailure() || IsSkipped()) return;
  }
}

// docs/numerics.md 3.5: the distance of the definition from the exact product.
TEST_P(Bf16DotMode, DefinitionIsWithinItsErrorBound) {
  bool exact_values = true;
  for (unsigned code = 0; code <= static_cast<unsigned>(GetParam().MaxPattern()); ++code) {
    const float v = internal::ValueOf(GetParam(), Table(), code);
    exact_values = exact_values && reference::AsBf16(v) == v;
  }
  EXPECT_EQ(exact_values, GetParam() != FiveBits::info);
  for (const size_t group : Sizes{0, 32, 100}) {
    GemmSpec spec = Spec();
    spec.m = 2;
    spec.n = 4;
    spec.k = 3000;
    spec.scales = {group, DType::kF32, false, true};
    const GemmProblem problem(spec);
    const GemmCall c = problem.Call();
    const size_t longest = group == 0 ? spec.k : group, spans = (spec.k + longest - 1) / longest;
    const double sums = static_cast<double>(longest + 2 * spans) * 0x1p-24;
    const double d = exact_values ? 0x1p-8 : 0x1p-7 + 0x1p-16;
    for (size_t m = 0; m < spec.m; ++m) {
      for (size_t n = 0; n < spec.n; ++n) {
        double exact = 0;
        for (size_t k = 0; k < spec.k; ++k) {
          const size_t at = internal::GroupOf(c.w, k);
          const double value = internal::ValueOf(c.w.format(), c.w.table(), c.w.Code(n, k));
          exact +=
              double{reference::XAt(c, m, 0, k)} * (value * double{c.w.ScaleOf(n, at)} + double{c.w.OffsetOf(n, at)});
        }
        const double bound = (d + (1 + d) * sums * (1 + sums)) * SumOfMagnitudes(c, m, n);
        ASSERT_NEAR(reference::Bf16Dot(reference::WeightRow(c, n), m), exact, bound) << spec.ToString();
      }
    }
  }
}

// One after the other, the odd k first, each with one rounding; subnormals are zero.
TEST(Bf16DotByHand, PairsOfTheReference) {
  const auto pair = [](float t, float x0, float v0, float x1, float v1) {
    const float x[2] = {x0, x1}, v[2] = {v0, v1};
    return reference::AddPair(t, x, v);
  };
  EXPECT_EQ(pair(1, 2, 3, 4, 5), 27.0f);
  EXPECT_EQ(pair(0x1p24f, -0x1p12f, 0x1p12f, 1, 1), 0.0f);
  EXPECT_EQ(pair(0x1p24f, 1, 1, -0x1p12f, 0x1p12f), 1.0f);
  EXPECT_EQ(pair(1, 0x1p-12f, 0x1p-12f, 0x1p-12f, 0x1p-12f), 1.0f);
  EXPECT_EQ(pair(0, 0x1p-70f, 0x1p-57f, 0x1p-70f, 0x1p-56f), 0x1.8p-126f);  // products do not round
  EXPECT_EQ(pair(0, 0x1p-70f, 0x1p-56f, 0x1p-70f, 0x1p-57f), 0x1p-126f);    // sums do, to zero
  EXPECT_EQ(reference::AsBf16(0x1.02p0f + 0x1p-8f), 0x1.04p0f);
  EXPECT_EQ(reference::AsBf16(0x1p-126f - 0x1p-149f), 0.0f);
}

// Exponents of all sizes, values of x that are subnormal, infinite and NaN, against a table of hostile values.
TEST(Bf16DotByHand, HostileNumbersEqualReference) {
  const std::vector<std::string> targets = Bf16Targets();
  if (targets.empty()) GTEST_SKIP() << "this CPU has no bf16 dot instruction";
  constexpr float kTables[][4] = {{0x1p-126f, -0x1.7p-127f, 0x1.fffffep-127f, 0x1p-149f},
                                  {-0x1p-63f, 0x1.7fp-62f, 0x1.01p-64f, -0x1.03p-70f},
                                  {1.0f, 0x1.fep0f, 0x1.ffp0f, -0x1.010001p-20f},
                                  {0x1p64f, -0x1.fep127f, 0x1p127f, -0x1.7p63f}};
  Random random{1};
  for (const float* table : {kTables[0], kTables[1], kTables[2], kTables[3]}) {
    // Exponents of x that make products around what is subnormal, around 1, around infinity; and any bits at all.
    for (const uint32_t exponent : {uint32_t{0}, uint32_t{60}, uint32_t{124}, uint32_t{188}, uint32_t{1000}}) {
      for (const size_t k : Sizes{1, 2, 3, 8, 40}) {
        GemmSpec spec;
        spec.format = ThreeLevels::info;
        spec.table = table;
        spec.m = 16;
        spec.n = 64;
        spec.k = k;
        spec.x_type = DType::kF32;
        spec.fill = Fill::kInvalidCodes;
        spec.seed = random.Next();
        GemmProblem problem(spec);
        auto* x = static_cast<uint32_t*>(const_cast<void*>(problem.x().data));
        for (size_t i = 0; i < spec.m * spec.k; ++i) {
          const auto bits = static_cast<uint32_t>(random.Next());
          x[i] = exponent == 1000 ? bits : (bits & 0x807FFFFFu) | (exponent + bits % 8) << 23;
        }
        for (const std::string& target : targets) {
          TargetContext context(target);
          ASSERT_EQ(problem.Run(GemmAlgo::kBf16Dot, context), "") << target << ' ' << exponent << ' ' << table[0];
        }
      }
    }
  }
}

// NaN and infinity of x reach the outputs of their row and no other.
TEST(Bf16DotByHand, NaNAndInfinityStayInTheirRow) {
  GemmSpec spec;
  spec.m = 9;
  spec.n = 40;
  spec.k = 50;
  spec.x_type = DType::kF32;
  GemmProblem problem(spec);
  float* x = static_cast<float*>(const_cast<void*>(problem.x().data));
  x[3 * 50 + 7] = std::nanf("");
  x[5 * 50 + 0] = HUGE_VALF;
  const std::vector<std::string> targets = Bf16Targets();
  if (targets.empty()) GTEST_SKIP() << "this CPU has no bf16 dot instruction";
  for (const std::string& target : targets) {
    TargetContext context(target);
    EXPECT_EQ(problem.Run(GemmAlgo::kBf16Dot, context), "");
    const std::vector<unsigned char> y = problem.YBytes();
    for (size_t i = 0; i < 9 * 40; ++i) {
      EXPECT_EQ(std::isfinite(problem.Value(y.data(), i)), i / 40 != 3 && i / 40 != 5) << target << ' ' << i;
    }
  }
}

// Only the calls that ask get it, only from 8 rows on, only where the CPU can; all others run in f32.
TEST(Bf16DotChoice, IsAskedForAndSaysSo) {
  const std::vector<std::string> has = Bf16Targets();
  for (const std::string& target : TargetNames()) {
    TargetContext context(target);
    const bool runs = std::find(has.begin(), has.end(), target) != has.end();
    for (const size_t m : Sizes{7, 8}) {
      GemmSpec spec;
      spec.m = m;
      spec.n = 40;
      spec.k = 50;
      spec.x_type = DType::kBF16;
      GemmProblem problem(spec);
      GemmCall call = problem.Call();
      const Explanation plain = Explain<>(call, context), asked = Explain<Ternary, Bf16Dot>(call, context);
      EXPECT_EQ(plain.algo, GemmAlgo::kTile);
      EXPECT_NE(std::string(plain.text).find("not bf16_dot: lossy: name the mode Bf16Dot\n"), std::string::npos);
      EXPECT_EQ(asked.algo, runs && m == 8 ? GemmAlgo::kBf16Dot : GemmAlgo::kTile) << asked.text;
      if (asked.algo == GemmAlgo::kBf16Dot) {
        EXPECT_EQ(std::string(asked.text).find("bf16_dot on " + target + "\nbound: the bf16 dot's port"), 0u);
        EXPECT_NE(std::string(asked.text).find("\nlossy: x is rounded to bf16"), std::string::npos) << asked.text;
      } else {
        const char* why = runs ? "slower here" : "instruction";
        EXPECT_NE(std::string(asked.text).find(why), std::string::npos) << asked.text;
      }
      problem.ResetY();
      Gemm<Ternary, Bf16Dot>(std::span<const GemmCall>(&call, 1), context);
      if (asked.algo == GemmAlgo::kBf16Dot || HasFma(target)) {
        EXPECT_EQ(problem.YBytes(), std::vector<unsigned char>(problem.Want(asked.algo))) << target << ' ' << m;
      }
      call.algo = GemmAlgo::kBf16Dot;
      const std::string message = FailureOf([&] { Gemm<>(std::span<const GemmCall>(&call, 1), context); });
      const std::string refused = "Gemm: algo is bf16_dot, which cannot run here: the ";
      EXPECT_EQ(message.substr(0, refused.size()), runs ? "" : refused);
    }
  }
}

TEST(Bf16DotChoice, WhatItDoesNotTake) {
  if (Bf16Targets().empty()) GTEST_SKIP() << "this CPU has no bf16 dot instruction";
  const std::string refused = "Gemm: algo is bf16_dot, which cannot run here: ";
  const auto message = [](const GemmSpec& spec) {
    const GemmProblem problem(spec);
    const GemmCall call = problem.Call(GemmAlgo::kBf16Dot);
    return FailureOf([&] {
      Context context;
      Gemm<>(std::span<const GemmCall>(&call, 1), context);
    });
  };
  GemmSpec spec;
  spec.k = 40;
  EXPECT_EQ(message(spec), refused + "x is int8: pass floats");
  spec.x_type = DType::kF32;
  spec.scales.group_k = 5;
  EXPECT_EQ(message(spec), refused + "group_k is odd");
  spec.scales.group_k = 0;
  spec.y_type = DType::kI32;
  EXPECT_EQ(message(spec), refused + "integer sums (y.type i32) need an integer algorithm");
}

}}}  // namespace lutra::testing
