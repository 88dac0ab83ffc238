// Tables of float activations: float_table equals the reference bit for bit on every target, and the reference is
// within its bound of the exact product.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/gemm_compare.h"

namespace lutra { namespace testing { namespace {

GemmSpec SpecOf(const FormatInfo& format, size_t m, size_t n, size_t k) {
  GemmSpec spec;
  spec.format = format;
  spec.unit = Unit::kByteRow;
  spec.x_type = DType::kF32;
  spec.m = m;
  spec.n = n;
  spec.k = k;
  return spec;
}

class FloatTable : public ::testing::TestWithParam<FormatInfo> {};
INSTANTIATE_TEST_SUITE_P(All, FloatTable, ::testing::ValuesIn(kFormats), NameOfFormat);
INSTANTIATE_TEST_SUITE_P(Users, FloatTable, ::testing::Values(Skewed::info, ZeroOne::info), NameOfFormat);

// K around the ends of blocks and of pieces of 256 k, groups that cut them, strips of 1 to 4 rows of x.
TEST_P(FloatTable, EqualsReferenceBitForBit) {
  constexpr size_t kMs[] = {0, 1, 2, 3, 4, 5, 7, 9}, kNs[] = {0, 1, 31, 32, 33, 65, 97};
  constexpr size_t kGroups[] = {0, 0, 32, 64, 96, 288, 320};
  constexpr DType kXs[] = {DType::kF32, DType::kBF16, DType::kF16};
  Random random{GetParam().id};
  size_t i = 0;
  for (const size_t k : Sizes{0, 1, 3, 31, 32, 33, 70, 128, 255, 256, 257, 289, 511, 512, 513, 1057}) {
    for (const Fill fill : {Fill::kRandom, Fill::kZeroCodes, Fill::kInvalidCodes}) {
      GemmSpec spec = SpecOf(GetParam(), kMs[i % std::size(kMs)], kNs[i % std::size(kNs)], k);
      ++i;
      spec.x_type = random.Of(kXs);
      DrawFloatCall(random, random.Of(kGroups), &spec);
      spec.scales.per_tensor = spec.scales.group_k == 0 && random.Below(2) == 0;
      spec.fill = fill;
      GemmProblem problem(spec);
      DrawOutput(random, &problem);
      Compare(problem, {GemmAlgo::kFloatTable});
      if (HasFatalFailure()) return;
    }
  }
}

// More k than scratch has tables for, more panels than it has sums for, many rows of x.
TEST_P(FloatTable, LongRowsAndManyOfThem) {
  if (GetParam().bits > 2) return;  // these take long
  struct Case {
    size_t m, n, k, group;
  };
  for (const Case& t : {Case{4, 2, 8300, 0}, Case{1, 33, 33000, 0}, Case{3, 2, 11000, 10976}, Case{1, 61500, 33, 0},
                        Case{70, 97, 300, 0}}) {
    GemmSpec spec = SpecOf(GetParam(), t.m, t.n, t.k);
    spec.scales = {t.group, DType::kF32, false, true};
    GemmProblem problem(spec);
    Compare(problem, {GemmAlgo::kFloatTable});
    if (HasFatalFailure()) return;
  }
}

// Segments that gather one row again and again share its tables; in other rows of y they gather others.
TEST_P(FloatTable, SegmentsOfTheSameRow) {
  constexpr size_t kM = 6, kSegments = 3;
  for (const size_t k : Sizes{40, 600}) {
    GemmSpec spec = SpecOf(GetParam(), kM, 70, k);
    spec.segments = kSegments;
    spec.gather = true;
    spec.scales = {64, DType::kF32, false, true};
    const GemmProblem problem(spec);
    GemmCall call = problem.Call(GemmAlgo::kFloatTable);
    for (const bool one_differs : {false, true}) {
      std::vector<int32_t> rows;
      for (size_t m = 0; m < kM; ++m) rows.insert(rows.end(), kSegments, static_cast<int32_t>(m));
      if (one_differs) rows[3 * kSegments + 1] = -1;
      std::vector<float> y(kM * 70), want(kM * 70);
      call.rows = {kM, kSegments, rows.data()};
      call.y = View(want.data(), kM, 70);
      reference::Gemm(call, GemmAlgo::kFloatTable);
      call.y = View(y.data(), kM, 70);
      for (const std::string& target : TargetNames()) {
        TargetContext context(target);
        const auto run = [&](const GemmCall& c) {
          if (c.w.format().id < 0x8000) return Gemm<>(std::span<const GemmCall>(&c, 1), context);
          Gemm<Skewed, ZeroOne>(std::span<const GemmCall>(&c, 1), context);
        };
        run(call);
        ASSERT_EQ(y, want) << target << ' ' << k << ' ' << one_differs;
      }
    }
  }
}

// docs/numerics.md 3.6: the distance of the definition from the exact product.
TEST_P(FloatTable, DefinitionIsWithinItsErrorBound) {
  for (const size_t group : Sizes{0, 32, 320}) {
    GemmSpec spec = SpecOf(GetParam(), 2, 4, 3000);
    spec.scales = {group, DType::kF32, false, true};
    const GemmProblem problem(spec);
    const GemmCall c = problem.Call();
    const FormatInfo& f = spec.format;
    const size_t longest = group == 0 ? spec.k : group, spans = (spec.k + longest - 1) / longest;
    const size_t pieces = (longest + 255) / 256 + (longest % 256 != 0);  // of any span: groups begin anywhere
    const auto r = static_cast<double>(38 + pieces * f.bits + 2 * spans) * 0x1p-24;
    for (size_t m = 0; m < spec.m; ++m) {
      for (size_t n = 0; n < spec.n; ++n) {
        double exact = 0, size = 0;
        for (size_t k = 0; k < spec.k; ++k) {
          const size_t at = internal::GroupOf(c.w, k);
          const double x = reference::XAt(c, m, 0, k), value = internal::ValueOf(f, nullptr, c.w.Code(n, k));
          const double scale = c.w.ScaleOf(n, at), offset = c.w.OffsetOf(n, at);
          exact += x * (value * scale + offset);
          const double most = (f.MaxPattern() + std::abs(f.MaxPattern() - f.zero_x2)) * 0.5;
          size += std::fabs(x) * (most * std::fabs(scale) + std::fabs(offset));
        }
        ASSERT_NEAR(reference::FloatTable(reference::WeightRow(c, n), m), exact, r * size * (1 + r)) << spec.ToString();
      }
    }
  }
}

// Bits 1010 1 of weights +-1/2: (1 - 2 + 3 - 4 + 5) / 2 * 0.5.
TEST(FloatTableByHand, SignsOfOneRow) {
  const float x[5] = {1, 2, 3, 4, 5}, scale = 0.5f;
  const uint8_t codes[5] = {1, 0, 1, 0, 1};
  CodedMatrix coded;
  coded.format = Int1::info;
  coded.n = 1;
  coded.k = coded.code_stride = 5;
  coded.codes = codes;
  coded.scale = View(&scale, 1, 1);
  Context pack;
  const PackedBuffer w = Pack(coded, pack, 1, Unit::kByteRow);
  for (const std::string& target : TargetNames()) {
    TargetContext context(target);
    float y = 0;
    Gemm<Int1, FloatTables>(View(x, 1, 5), w, View(&y, 1, 1), context);
    EXPECT_EQ(y, 0.75f) << target;
  }
}

// NaN and infinity of x reach the outputs of their row and no other.
TEST(FloatTableByHand, NaNAndInfinityStayInTheirRow) {
  GemmProblem problem(SpecOf(Ternary::info, 9, 40, 50));
  float* x = static_cast<float*>(const_cast<void*>(problem.x().data));
  x[3 * 50 + 7] = std::nanf("");
  x[5 * 50 + 0] = HUGE_VALF;
  Compare(problem, {GemmAlgo::kFloatTable});
  const std::vector<unsigned char> y = problem.YBytes();
  for (size_t i = 0; i < 9 * 40; ++i) {
    EXPECT_EQ(std::isfinite(problem.Value(y.data(), i)), i / 40 != 3 && i / 40 != 5) << i;
  }
}

// A mode: what a call does not name never runs by itself, and what cannot run says why.
TEST(FloatTableMode, RunsWhereItIsNamedOrForced) {
  Context context;
  const auto why = [&](const GemmSpec& spec) {
    const GemmProblem problem(spec);
    const GemmCall call = problem.Call(GemmAlgo::kFloatTable);
    return FailureOf([&] { Gemm<>(std::span<const GemmCall>(&call, 1), context); });
  };
  const GemmSpec spec = SpecOf(Int1::info, 2, 40, 70);
  const GemmProblem problem(spec);
  EXPECT_EQ(Explain<Int1>(problem.Call(), context).algo, GemmAlgo::kTile);
  EXPECT_EQ((Explain<Int1, FloatTables>(problem.Call(), context).algo), GemmAlgo::kFloatTable);
  EXPECT_EQ(Explain<>(problem.Call(GemmAlgo::kFloatTable), context).algo, GemmAlgo::kFloatTable);
  const std::string text = Explain<>(problem.Call(), context).text;
  EXPECT_NE(text.find("not float_table: runs only where the mode FloatTables is named\n"), std::string::npos) << text;

  const std::string head = "Gemm: algo is float_table, which cannot run here: ";
  GemmSpec wrong = spec;
  wrong.unit = Unit::kLane32;
  EXPECT_EQ(why(wrong), head + "w is packed in Unit::kLane32, not in kByteRow");
  wrong = spec;
  wrong.scales.group_k = 20;
  EXPECT_EQ(why(wrong), head + "group_k is not a multiple of 32");
  wrong = spec;
  wrong.x_type = DType::kI8;
  EXPECT_EQ(why(wrong), head + "x is int8, tables are of floats");
  wrong = spec;
  wrong.format = Int2::info;
  wrong.y_type = DType::kI32;
  EXPECT_EQ(why(wrong), head + "integer sums (y.type i32) need an integer algorithm");
  static constexpr auto kThree = TableOf<ThreeLevels>();
  wrong = spec;
  wrong.format = ThreeLevels::info;
  wrong.table = kThree.data();
  const GemmProblem table(wrong);
  const GemmCall call = table.Call(GemmAlgo::kFloatTable);
  EXPECT_EQ(FailureOf([&] { (Gemm<ThreeLevels, FloatTables>(std::span<const GemmCall>(&call, 1), context)); }),
            head + "a table format is no sum of bit planes");
}

}}}  // namespace lutra::testing
