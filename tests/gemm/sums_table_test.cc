// Sums tables equal the reference bit for bit, on every target that has them.
#include <gtest/gtest.h>

#include <algorithm>

#include "support/gemm_compare.h"

namespace lutra { namespace testing { namespace {

constexpr FormatInfo kTabled[] = {Ternary::info, Int1::info, Int2::info, Int<2, 3>::info};

class SumsTable : public ::testing::TestWithParam<FormatInfo> {
 protected:
  static internal::SumsFormat Sums() { return internal::SumsOf(GetParam()); }
  // k after which the 16-bit sums move to their second lane.
  static size_t Edge() { return Sums().PassesPerSplit() * static_cast<size_t>(Sums().pass_k); }
};
INSTANTIATE_TEST_SUITE_P(All, SumsTable, ::testing::ValuesIn(kTabled), NameOfFormat);

// All pairs of M and K meet; the rest of the call is drawn for each shape and fill.
TEST_P(SumsTable, EqualsReferenceBitForBit) {
  const size_t edge = Edge();
  const size_t ms[] = {0, 1, 31, 32, 33, 70}, ns[] = {0, 1, 32, 33, 97};
  const size_t ks[] = {0, 1, 31, 33, 64, 96, edge - 1, edge, edge + 1, 2 * edge + 33};
  Random random{GetParam().id};
  for (size_t i = 0; i < std::size(ms); ++i) {
    for (size_t j = 0; j < std::size(ks); ++j) {
      for (const Fill fill : kFills) {
        GemmSpec spec;
        spec.format = GetParam();
        spec.m = ms[i];
        spec.n = ns[(i + j) % std::size(ns)];
        spec.k = ks[j];
        spec.fill = fill;
        DrawCall(random, /*most_segment_k=*/96, &spec);
        GemmProblem problem(spec);
        DrawOutput(random, &problem);
        Compare(problem, {GemmAlgo::kSumsTable});
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Constant activations are the worst sums; 4096 k are many moves to the second lane.
TEST_P(SumsTable, LongRowsEqualReference) {
  for (const Fill fill : kFills) {
    GemmSpec spec;
    spec.format = GetParam();
    spec.m = fill == Fill::kRandom ? 33 : 2;
    spec.n = 35;
    spec.k = 4096;
    spec.fill = fill;
    GemmProblem problem(spec);
    Compare(problem, {GemmAlgo::kSumsTable});
    if (HasFatalFailure()) return;
  }
}

// Extremes of the codes in use at the longest span: both lanes are full. One k more is refused, unless groups cut it.
TEST_P(SumsTable, LongestSpanDoesNotOverflow) {
  const FormatInfo& f = GetParam();
  const size_t k = Sums().LongestSpan();
  const uint8_t least = 0, most = static_cast<uint8_t>(f.codes - 1);
  Context serial;
  for (const uint8_t code : {least, most}) {
    const std::vector<uint8_t> codes(k + 1, code);
    const float one = 1.0f;
    CodedMatrix coded;
    coded.format = f;
    coded.n = 1;
    coded.codes = codes.data();
    coded.code_stride = k + 1;
    coded.scale = View(&one, 1, 1);
    for (const int x : {-128, 127}) {
      const std::vector<int8_t> row(k + 1, static_cast<int8_t>(x));
      std::vector<std::byte> memory(ActivationBytes(1, k + 1));
      for (const size_t length : {k, k + 1}) {
        coded.k = length;
        const PackedBuffer packed = Pack(coded, serial);
        const Activations xq = ImportInt8(View(row.data(), 1, length), {&one, 1}, memory, serial);
        float y = 0;
        GemmCall call;
        call.xq = &xq;
        call.w = packed;
        call.y = View(&y, 1, 1);
        call.algo = GemmAlgo::kSumsTable;
        for (const std::string& target : TargetNames()) {
          if (!HasSumsTables(target)) continue;
          TargetContext context(target);
          const std::string failure = FailureOf([&] { Gemm<>(std::span<const GemmCall>(&call, 1), context); });
          if (length > k) {
            EXPECT_NE(failure.find("K is too long for 16-bit sums"), std::string::npos) << failure;
            continue;
          }
          ASSERT_EQ(failure, "");
          context.Check();
          EXPECT_EQ(y, reference::Sum({call, 0}, GemmAlgo::kIntDot, 0))
              << target << " code " << int{code} << " x " << x;
        }
      }
    }
  }
}

// Any split of a call into tasks, and whatever runs the rows that are left, gives the same bits.
TEST_P(SumsTable, ChosenOrForcedAndForAnyWorkersItEqualsIntDot) {
  for (const size_t m : Sizes{26, 45, 64, 96, 150}) {
    GemmSpec spec;
    spec.format = GetParam();
    spec.m = m;
    spec.n = 2600;  // more than a block of panels
    spec.k = 100;
    spec.gather = m == 45;
    GemmProblem problem(spec);
    Context context;
    problem.ResetY();
    const GemmCall call = problem.Call(GemmAlgo::kIntDot);
    Gemm<>(std::span<const GemmCall>(&call, 1), context);
    problem.SetWant(GemmAlgo::kSumsTable, problem.YBytes());
    for (const std::string& target : TargetNames()) {
      for (const size_t workers : Sizes{1, 2, 3, 16}) {
        Backwards backwards;
        Executor executor = backwards.AsExecutor();
        executor.workers = workers;
        TargetContext other(target, executor);
        for (const GemmAlgo algo : {GemmAlgo::kAuto, GemmAlgo::kSumsTable}) {
          if (algo == GemmAlgo::kSumsTable && !HasSumsTables(target)) continue;
          ASSERT_EQ(problem.Run(algo, other), "") << target << ' ' << workers;
        }
      }
    }
  }
}

// Pattern 3 in a panel of ternary codes: where it has tables, that panel alone leaves them.
class SumsTableTernary : public ::testing::TestWithParam<size_t> {};
INSTANTIATE_TEST_SUITE_P(Panels, SumsTableTernary, ::testing::Values(0, 1, 3), ::testing::PrintToStringParamName());
TEST_P(SumsTableTernary, APanelWithInvalidCodesEqualsReference) {
  constexpr size_t kM = 35, kN = 100, kK = 200;
  Random random{3};
  std::vector<uint8_t> codes(kN * kK);
  for (uint8_t& c : codes) c = static_cast<uint8_t>(random.Below(3));
  const float scale = 0.5f;
  CodedMatrix coded;
  coded.format = Ternary::info;
  coded.scales.per_tensor = true;
  coded.n = kN;
  coded.k = kK;
  coded.codes = codes.data();
  coded.code_stride = kK;
  coded.scale = View(&scale, 1, 1);
  Context serial;
  PackedBuffer packed = Pack(coded, serial);
  const PackedLayout layout = internal::LayoutOf({Ternary::info, coded.scales, kN, kK});
  packed.bytes()[layout.codes_at + GetParam() * layout.panel_bytes + 1500] |= std::byte{0x0C};
  std::vector<float> x(kM * kK), y(kM * kN);
  for (float& v : x) v = random.Float();
  ActivationBuffer xq;
  xq.Quantize(View(x.data(), kM, kK), serial);
  const Activations& activations = xq;
  GemmCall call;
  call.xq = &activations;
  call.w = packed;
  call.y = View(y.data(), kM, kN);
  call.e.accumulate = true;
  call.algo = GemmAlgo::kSumsTable;
  std::vector<float> want(kM * kN, 1.0f);
  GemmCall expected = call;
  expected.y = View(want.data(), kM, kN);
  reference::Gemm(expected, GemmAlgo::kSumsTable);
  for (const std::string& target : TargetNames()) {
    if (!HasSumsTables(target)) continue;
    TargetContext context(target);
    std::fill(y.begin(), y.end(), 1.0f);
    Gemm<>(std::span<const GemmCall>(&call, 1), context);
    context.Check();
    EXPECT_EQ(y, want) << target;
  }
}

// 2-bit codes that are affine, three, and the user's.
struct Lopsided {
  static constexpr FormatInfo info = AffineFormat(0x8004, "lopsided", 2, 1, 3);
  static constexpr float Decode(unsigned code) { return static_cast<float>(code) - 0.5f; }
};

TEST(SumsTableChoice, LargeMAndNOfOneAndTwoBits) {
  for (const std::string& target : TargetNames()) {
    TargetContext context(target);
    // Arm: where int_dot has no 4-way dot.
    const bool chosen = target.rfind("AVX", 0) == 0 || target == "NEON" || target == "NEON_WITHOUT_AES";
    const auto algo = [&](const FormatInfo& f, size_t m, size_t n, size_t group = 0) {
      GemmSpec spec;
      spec.format = f;
      spec.m = m;
      spec.n = n;
      spec.k = 64;
      spec.scales.group_k = group;
      const GemmProblem problem(spec);
      return Explain<>(problem.Call(), context).algo;
    };
    const GemmAlgo tables = chosen ? GemmAlgo::kSumsTable : GemmAlgo::kIntDot;
    EXPECT_EQ(algo(Ternary::info, 32, 2560), tables) << target;
    EXPECT_EQ(algo(Int1::info, 32, 2560), tables) << target;
    EXPECT_EQ(algo(Ternary::info, 8, 2560), GemmAlgo::kIntDot) << target;
    EXPECT_EQ(algo(Ternary::info, 32, 100), GemmAlgo::kIntDot) << target;
    EXPECT_EQ(algo(Int4::info, 32, 2560), GemmAlgo::kIntDot) << target;
    EXPECT_EQ(algo(Ternary::info, 32, 2560, 20), GemmAlgo::kIntLanes) << target;
  }
  GemmSpec spec;
  spec.format = Int4::info;
  const GemmProblem problem(spec);
  Context context;
  const GemmCall call = problem.Call(GemmAlgo::kSumsTable);
  EXPECT_EQ(
      FailureOf([&] { Gemm<>(std::span<const GemmCall>(&call, 1), context); }),
      "Gemm: algo is sums_table, which cannot run here: tables are for one plane of 1 or 2 bits, and targets with "
      "vectors of a fixed size, of x86 from AVX2 on");
}

TEST(SumsTableFormat, OfTheUserIsSummedByItsWidthAndCodes) {
  EXPECT_EQ(internal::SumsOf(Lopsided::info).field, 8);
  EXPECT_EQ(internal::SumsOf(Int2::info).field, 6);
  EXPECT_EQ(internal::SumsOf(Int1::info).field, 6);
}

// The bound is the last that fits.
TEST(SumsTableFormat, OneMorePassWouldOverflow) {
  for (const FormatInfo& f : kTabled) {
    const internal::SumsFormat s = internal::SumsOf(f);
    const int worst = std::max(s.high, -s.low) * 128 * s.pass_k, passes = static_cast<int>(s.PassesPerSplit());
    EXPECT_LE(255 + passes * worst, 32767) << f.name.data();
    EXPECT_GT(255 + (passes + 1) * worst, 32767) << f.name.data();
  }
}

}}}  // namespace lutra::testing
