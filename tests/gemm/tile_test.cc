// The float path: tile equals the reference bit for bit on targets with FMA, and is within the bound elsewhere.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/gemm_compare.h"

namespace lutra { namespace testing { namespace {

class Tile : public ::testing::TestWithParam<FormatInfo> {
 protected:
  static const float* Table() {
    static constexpr auto kThree = TableOf<ThreeLevels>();
    static constexpr auto kFive = TableOf<FiveBits>();
    return GetParam() == ThreeLevels::info ? kThree.data() : GetParam() == FiveBits::info ? kFive.data() : nullptr;
  }
  // f32 outputs without FMA. A term passes at most L + 2 G roundings with it (L: the longest span, G spans), two more
  // without: 2 (L + 2 G + 2) eps S holds both distances from the true sum, eps = 2^-24.
  static void ExpectNear(GemmProblem& p, TargetContext& context) {
    const std::vector<unsigned char> want = p.Want(GemmAlgo::kTile);
    const GemmCall call = p.Call(GemmAlgo::kTile);
    (void)p.Run(GemmAlgo::kTile, context);
    context.Check();
    const std::vector<unsigned char> got = p.YBytes();
    const GemmSpec& s = p.spec();
    const size_t group_k = s.scales.group_k, longest = group_k == 0 ? s.k : std::min(s.k, group_k);
    const size_t spans = s.segments * (group_k == 0 ? 1 : (s.k + group_k - 1) / group_k);
    for (size_t m = 0; m < s.m; ++m) {
      for (size_t n = 0; n < s.n; ++n) {
        const size_t i = m * (s.n + s.y_pad) + n;
        const double bound = 2.0 * static_cast<double>(longest + 2 * spans + 2) * 0x1p-24 * SumOfMagnitudes(call, m, n);
        ASSERT_NEAR(p.Value(got.data(), i), p.Value(want.data(), i), bound) << s.ToString();
      }
    }
  }
};
INSTANTIATE_TEST_SUITE_P(All, Tile, ::testing::ValuesIn(kFormats), NameOfFormat);
INSTANTIATE_TEST_SUITE_P(Users, Tile, ::testing::Values(ThreeLevels::info, FiveBits::info, Skewed::info), NameOfFormat);

TEST_P(Tile, EqualsReferenceBitForBitWithFma) {
  Random random{GetParam().id};
  size_t i = 0;
  for (const size_t m : Sizes{0, 1, 2, 3, 4, 5, 7, 8, 9, 13, 64, 70}) {
    for (const size_t k : Sizes{0, 1, 31, 32, 33, 65, 100, 163}) {
      constexpr size_t kNs[] = {0, 1, 31, 32, 33, 65, 97}, kGroups[] = {0, 1, 20, 32, 48, 64, 96};
      constexpr DType kXs[] = {DType::kF32, DType::kBF16, DType::kF16, DType::kI8};
      GemmSpec spec;
      spec.format = GetParam();
      spec.table = Table();
      spec.m = m;
      spec.n = kNs[i++ % std::size(kNs)];
      spec.k = k;
      spec.x_type = random.Of(kXs);
      spec.act.group_k = 32 * random.Below(3);
      DrawFloatCall(random, random.Of(kGroups), &spec);
      GemmProblem problem(spec);
      for (const std::string& target : TargetNames()) {
        ContextPair& contexts = ContextsOn(target);
        for (TargetContext* context : {&contexts.one, &contexts.other}) {
          if (HasFma(target)) {
            ASSERT_EQ(problem.Run(GemmAlgo::kTile, *context), "") << target;
          } else if (spec.y_type == DType::kF32 && !spec.scatter && !spec.accumulate && m != 0 && spec.n != 0) {
            ExpectNear(problem, *context);
          } else {
            (void)problem.Run(GemmAlgo::kTile, *context);
          }
          if (m != 0 && spec.n != 0) context->Check();
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

// docs/numerics.md 3.2: the distance of the definition, which targets with FMA equal, from the exact product.
TEST_P(Tile, DefinitionIsWithinItsErrorBound) {
  for (const size_t group : Sizes{0, 32, 100}) {
    GemmSpec spec;
    spec.format = GetParam();
    spec.table = Table();
    spec.m = 2;
    spec.n = 4;
    spec.k = 3000;
    spec.scales = {group, DType::kF32, false, true};
    spec.x_type = DType::kF32;
    const GemmProblem problem(spec);
    const GemmCall c = problem.Call();
    const size_t longest = group == 0 ? spec.k : group, spans = (spec.k + longest - 1) / longest;
    const auto roundings = static_cast<double>(longest + 2 * spans);
    for (size_t m = 0; m < spec.m; ++m) {
      for (size_t n = 0; n < spec.n; ++n) {
        double exact = 0;
        for (size_t k = 0; k < spec.k; ++k) {
          const size_t at = internal::GroupOf(c.w, k);
          const double value = internal::ValueOf(c.w.format(), c.w.table(), c.w.Code(n, k));
          exact +=
              double{reference::XAt(c, m, 0, k)} * (value * double{c.w.ScaleOf(n, at)} + double{c.w.OffsetOf(n, at)});
        }
        const double bound = roundings * 0x1p-24 * SumOfMagnitudes(c, m, n) * (1 + roundings * 0x1p-24);
        ASSERT_NEAR(reference::Float(reference::WeightRow(c, n), m), exact, bound) << spec.ToString();
      }
    }
  }
}

// More k than a kernel decodes or copies at a time, more rows than a task has, groups that straddle both.
TEST_P(Tile, LongRowsAndManyOfThem) {
  struct Case {
    size_t m, n, k, group;
    DType x, scale;
    bool offset;
  };
  for (const Case& t :
       {Case{2, 3, 4096, 128, DType::kF32, DType::kF32, false}, Case{1, 65, 4517, 0, DType::kBF16, DType::kF32, true},
        Case{3, 33, 2210, 0, DType::kF32, DType::kF32, false}, Case{5, 70, 4250, 4160, DType::kF16, DType::kF16, true},
        Case{1, 97, 2087, 96, DType::kI8, DType::kBF16, true}, Case{9, 40, 390, 0, DType::kF32, DType::kF32, true},
        Case{11, 35, 517, 192, DType::kBF16, DType::kF32, true},
        Case{131, 33, 262, 100, DType::kF32, DType::kF16, true},
        Case{128, 34, 1650, 1, DType::kBF16, DType::kF32, true},  // more sums of x than scratch holds
        Case{260, 2, 131, 32, DType::kF32, DType::kBF16, false}}) {
    GemmSpec spec;
    spec.format = GetParam();
    spec.table = Table();
    spec.m = t.m;
    spec.n = t.n;
    spec.k = t.k;
    spec.scales = {t.group, t.scale, false, t.offset};
    spec.x_type = t.x;
    spec.fill = Fill::kInvalidCodes;
    GemmProblem problem(spec);
    for (const std::string& target : TargetNames()) {
      TargetContext context(target);
      if (HasFma(target)) {
        ASSERT_EQ(problem.Run(GemmAlgo::kTile, context), "") << target;
      } else {
        ExpectNear(problem, context);
      }
    }
  }
}

// (2 * 1 + 3 * -1) * 0.5 + (2 + 3) * 0.25.
TEST(TileByHand, SumTimesScalePlusSumOfXTimesOffset) {
  const float x[2] = {2, 3}, scale = 0.5f, offset = 0.25f;
  const uint8_t codes[2] = {2, 0};
  CodedMatrix coded;
  coded.format = Ternary::info;
  coded.scales.has_offset = true;
  coded.n = 1;
  coded.k = coded.code_stride = 2;
  coded.codes = codes;
  coded.scale = View(&scale, 1, 1);
  coded.offset = View(&offset, 1, 1);
  Context pack;
  const PackedBuffer w = Pack(coded, pack);
  for (const std::string& target : TargetNames()) {
    TargetContext context(target);
    float y = 0;
    Gemm<>(View(x, 1, 2), w, View(&y, 1, 1), context);
    EXPECT_EQ(y, 0.75f) << target;
  }
}

// NaN and infinity of x reach the outputs of their row and no other.
TEST(TileByHand, NaNAndInfinityStayInTheirRow) {
  GemmSpec spec;
  spec.m = 9;
  spec.n = 40;
  spec.k = 50;
  spec.x_type = DType::kF32;
  GemmProblem problem(spec);
  float* x = static_cast<float*>(const_cast<void*>(problem.x().data));
  x[3 * 50 + 7] = std::nanf("");
  x[5 * 50 + 0] = HUGE_VALF;
  for (const std::string& target : TargetNames()) {
    TargetContext context(target);
    if (HasFma(target)) {
      EXPECT_EQ(problem.Run(GemmAlgo::kTile, context), "");
    } else {
      (void)problem.Run(GemmAlgo::kTile, context);
    }
    const std::vector<unsigned char> y = problem.YBytes();
    for (size_t i = 0; i < 9 * 40; ++i) {
      const double v = problem.Value(y.data(), i);
      EXPECT_EQ(std::isfinite(v), i / 40 != 3 && i / 40 != 5) << target << ' ' << i;
    }
  }
}

}}}  // namespace lutra::testing
