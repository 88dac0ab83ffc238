// The float path: tile equals the reference bit for bit on targets with FMA, and is within the bound elsewhere.
#include <gtest/gtest.h>

#include <cmath>

#include "support/gemm_problem.h"

namespace lutra { namespace testing { namespace {

// value * scale + offset of x and w: sum |x w| of output (m, n), in double.
double SumOfMagnitudes(const GemmCall& c, size_t m, size_t n, const std::vector<float>& w) {
  double sum = 0;
  for (size_t k = 0; k < c.w.k(); ++k) {
    const size_t segment = k / c.w.segment_k(), at = k % c.w.segment_k();
    const ptrdiff_t row = c.rows.row == nullptr ? static_cast<ptrdiff_t>(m) : c.rows.row[m * c.rows.segments + segment];
    if (row < 0) continue;
    const auto r = static_cast<size_t>(row);
    double x = 0;
    if (c.xq != nullptr) {
      x = static_cast<double>(c.xq->Row(r)[at]) *
          static_cast<double>(c.xq->Scale(r, c.xq->spec.group_k == 0 ? 0 : at / c.xq->spec.group_k));
    } else {
      x = static_cast<double>(LoadFloat(c.x.data, c.x.type, row * c.x.row_stride + static_cast<ptrdiff_t>(at)));
    }
    sum += std::fabs(x * static_cast<double>(w[n * c.w.k() + k]));
  }
  return sum;
}

class Tile : public ::testing::TestWithParam<FormatInfo> {
 protected:
  static const float* Table() {
    static constexpr auto kThree = TableOf<ThreeLevels>();
    static constexpr auto kFive = TableOf<FiveBits>();
    return GetParam() == ThreeLevels::info ? kThree.data() : GetParam() == FiveBits::info ? kFive.data() : nullptr;
  }
  // f32 outputs without FMA: every product rounds too, K more roundings at most: 2 K eps sum |x w|, eps = 2^-24.
  static void ExpectNear(GemmProblem& p, TargetContext& context) {
    const std::vector<unsigned char> want = p.Want(GemmAlgo::kTile);
    const GemmCall call = p.Call(GemmAlgo::kTile);
    (void)p.Run(GemmAlgo::kTile, context);
    context.Check();
    const std::vector<unsigned char> got = p.YBytes();
    const GemmSpec& s = p.spec();
    std::vector<float> w(s.n * call.w.k());
    for (size_t n = 0; n < s.n && call.w.k() != 0; ++n) call.w.DecodeRow(n, w.data() + n * call.w.k());
    for (size_t m = 0; m < s.m; ++m) {
      for (size_t n = 0; n < s.n; ++n) {
        const size_t i = m * (s.n + s.y_pad) + n;
        const double bound = 2.0 * static_cast<double>(call.w.k()) * 0x1p-24 * SumOfMagnitudes(call, m, n, w);
        ASSERT_NEAR(p.Value(got.data(), i), p.Value(want.data(), i), bound) << s.ToString();
      }
    }
  }
};
std::string NameOfFormat(const ::testing::TestParamInfo<FormatInfo>& info) { return info.param.name.data(); }
INSTANTIATE_TEST_SUITE_P(All, Tile, ::testing::ValuesIn(kFormats), NameOfFormat);
INSTANTIATE_TEST_SUITE_P(Users, Tile, ::testing::Values(ThreeLevels::info, FiveBits::info, Skewed::info), NameOfFormat);

TEST_P(Tile, EqualsReferenceBitForBitWithFma) {
  Random random{GetParam().id};
  size_t i = 0;
  for (const size_t m : Sizes{0, 1, 2, 3, 4, 5, 7, 63, 64, 65, 70}) {
    for (const size_t k : Sizes{0, 1, 31, 32, 33, 64, 65, 100}) {
      constexpr size_t kNs[] = {0, 1, 31, 32, 33, 65, 97}, kGroups[] = {0, 1, 3, 20, 32, 48, 64};
      constexpr DType kXs[] = {DType::kF32, DType::kBF16, DType::kF16, DType::kI8};
      constexpr DType kYs[] = {DType::kF32, DType::kF32, DType::kBF16, DType::kF16, DType::kI8, DType::kU8};
      constexpr DType kScaleTypes[] = {DType::kF32, DType::kBF16, DType::kF16};
      GemmSpec spec;
      spec.format = GetParam();
      spec.table = Table();
      spec.m = m;
      spec.n = kNs[i++ % std::size(kNs)];
      spec.k = k;
      spec.x_type = random.Of(kXs);
      spec.x_pad = random.Below(3);
      spec.act.group_k = 32 * random.Below(3);
      spec.scales = {random.Of(kGroups), random.Of(kScaleTypes), false, random.Below(3) == 0};
      spec.y_type = random.Of(kYs);
      spec.y_pad = random.Below(3);
      spec.accumulate = IsFloat(spec.y_type) && random.Below(3) == 0;
      spec.gather = random.Below(4) == 0;
      if (spec.gather) spec.segments = 1 + random.Below(3);
      spec.scatter = random.Below(4) == 0;
      spec.fill = random.Below(3) == 0 ? Fill::kInvalidCodes : Fill::kRandom;
      spec.edge = random.Below(2) == 0 ? Edge::kEnd : Edge::kBegin;
      spec.seed = random.Next();
      GemmProblem problem(spec);
      for (const std::string& target : TargetNames()) {
        Backwards three;
        TargetContext one(target), other(target, three.AsExecutor());
        for (TargetContext* context : {&one, &other}) {
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

TEST_P(Tile, LongRows) {
  GemmSpec spec;
  spec.format = GetParam();
  spec.table = Table();
  spec.m = 2;
  spec.n = 3;
  spec.k = 4096;
  spec.scales.group_k = 128;
  spec.x_type = DType::kF32;
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

// 2 * (1 * 0.5 + 0.25) + 3 * (-1 * 0.5 + 0.25), in this order.
TEST(TileByHand, ValueTimesScalePlusOffset) {
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
