// The integer path: int_dot and int_lanes equal the reference bit for bit, on every target.
#include <gtest/gtest.h>

#include <algorithm>

#include "support/gemm_compare.h"

namespace lutra { namespace testing { namespace {

constexpr GemmAlgo kIntAlgos[] = {GemmAlgo::kIntDot, GemmAlgo::kIntLanes};

class IntDot : public ::testing::TestWithParam<FormatInfo> {
 protected:
  // k at which the 16-bit sums of the pair-multiply are full: a step takes 4 k, one pair in each of two sums.
  static size_t Edge() {
    const int widen = WidenEvery(GetParam().MaxPattern(), 1, -128);
    return 4 * static_cast<size_t>(widen < 1 ? 1 : widen);
  }
};
INSTANTIATE_TEST_SUITE_P(All, IntDot, ::testing::ValuesIn(kFormats), NameOfFormat);

// All pairs of M, N and K meet; the rest of the call is drawn for each shape and fill.
TEST_P(IntDot, EqualsReferenceBitForBit) {
  const size_t edge = Edge();
  const size_t ms[] = {0, 1, 2, 3, 4, 5, 7, 33}, ns[] = {0, 1, 31, 32, 33, 65, 97};
  const size_t ks[] = {0, 1, 31, 32, 33, 64, edge - 1, edge, edge + 1, 2 * edge, 257};
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
        DrawCall(random, /*most_segment_k=*/64, &spec);
        GemmProblem problem(spec);
        DrawOutput(random, &problem);
        Compare(problem, {GemmAlgo::kIntDot, GemmAlgo::kIntLanes});
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(IntDot, GroupsThatNoBlockMeetsRunByIntLanes) {
  Random random{GetParam().id};
  for (const size_t group : Sizes{1, 3, 20, 48}) {
    for (const size_t k : Sizes{1, 19, 33, 100}) {
      for (const Fill fill : {Fill::kRandom, Fill::kAllMin, Fill::kInvalidCodes}) {
        GemmSpec spec;
        spec.format = GetParam();
        spec.m = 1 + random.Below(5);
        spec.n = 1 + random.Below(70);
        spec.k = k;
        spec.fill = fill;
        spec.scales.group_k = group;
        spec.scales.has_offset = random.Below(2) == 0;
        spec.act.group_k = 32 * random.Below(3);
        spec.gather = random.Below(2) == 0;
        if (spec.gather) spec.segments = 1 + random.Below(3);
        spec.seed = random.Next();
        GemmProblem problem(spec);
        ASSERT_EQ(Explain<>(problem.Call(), Context()).algo, GemmAlgo::kIntLanes);
        Compare(problem, {GemmAlgo::kIntLanes});
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(IntDot, LongRowsEqualReference) {
  for (const Fill fill : kFills) {
    GemmSpec spec;
    spec.format = GetParam();
    spec.m = fill == Fill::kRandom ? 5 : 1;
    spec.n = 3;
    spec.k = 4096;
    spec.fill = fill;
    GemmProblem problem(spec);
    Compare(problem, {GemmAlgo::kIntDot, GemmAlgo::kIntLanes});
    if (HasFatalFailure()) return;
  }
}

// At the largest K that packing accepts the sums reach the ends of int32; the answer is a product of three numbers.
TEST_P(IntDot, LargestKDoesNotOverflow) {
  const FormatInfo& f = GetParam();
  const auto k = LargestKOf(f);
  PackSpec too_long{f, {}, 1, k + 1, 1};
  EXPECT_NE(FailureOf([&] { (void)PackedBytes(too_long); }), "");
  const PackSpec pack{f, {}, 2, k, 1};
  PackedBuffer blob = PackedBuffer::Allocate(PackedBytes(pack));
  ASSERT_TRUE(BeginPack(pack, blob.bytes()).ok());
  const PackedLayout layout = internal::LayoutOf(pack);
  const float one = 1.0f;
  for (size_t row = 0; row < 2; ++row) std::memcpy(blob.bytes().data() + layout.scales_at + row * 4, &one, 4);
  Context serial;
  for (const int code : {0, f.MaxPattern()}) {
    std::memset(blob.bytes().data() + layout.codes_at, code == 0 ? 0 : 0xFF, layout.panels * layout.panel_bytes);
    for (const int x : {-128, 127}) {
      const std::vector<int8_t> row(k, static_cast<int8_t>(x));
      std::vector<std::byte> memory(ActivationBytes(1, k));
      const Activations xq = ImportInt8(View(row.data(), 1, k), {&one, 1}, memory, serial);
      const double want = static_cast<double>(x) * static_cast<double>(k) * (code - f.zero_x2 * 0.5);
      const bool integer = f.zero_x2 % 2 == 0;
      for (const std::string& target : TargetNames()) {
        for (const GemmAlgo algo : kIntAlgos) {
          if (algo == GemmAlgo::kIntLanes && k > 3000000) continue;  // seconds, and the same sums
          TargetContext context(target);
          float y[2] = {};
          int32_t sums[2] = {};
          GemmCall call;
          call.xq = &xq;
          call.w = blob;
          call.algo = algo;
          call.y = View(y, 1, 2);
          Gemm<>(std::span<const GemmCall>(&call, 1), context);
          context.Check();
          EXPECT_EQ(y[0], static_cast<float>(want))
              << target << ' ' << NameOfAlgo(algo) << " code " << code << " x " << x;
          EXPECT_EQ(y[1], y[0]);
          if (!integer) continue;
          call.y = View(sums, 1, 2);
          Gemm<>(std::span<const GemmCall>(&call, 1), context);
          EXPECT_EQ(sums[0], static_cast<int64_t>(want)) << target << ' ' << NameOfAlgo(algo);
        }
      }
    }
  }
}

// Every y type with every way in and out of it, alone: a failure above says less about which one is wrong.
TEST_P(IntDot, EveryOutputTypeStrideAccumulateGatherAndScatter) {
  uint64_t seed = 0;
  for (const DType y : {DType::kF32, DType::kBF16, DType::kF16, DType::kI32, DType::kI8, DType::kU8}) {
    if (y == DType::kI32 && GetParam().zero_x2 % 2 != 0) continue;
    for (const int way : {0, 1, 2, 3, 4}) {
      GemmSpec spec;
      spec.format = GetParam();
      spec.m = 6;
      spec.n = 45;
      spec.k = 40;
      spec.y_type = y;
      spec.y_pad = way == 1 ? 3 : 0;
      spec.accumulate = way == 2 && (IsFloat(y) || y == DType::kI32);
      spec.gather = way == 3;
      spec.segments = way == 3 ? 3 : 1;
      spec.scatter = way == 4;
      spec.seed = ++seed;
      GemmProblem problem(spec);
      Compare(problem, {GemmAlgo::kIntDot, GemmAlgo::kIntLanes});
      if (HasFatalFailure()) return;
    }
  }
}

// A list is as if each call ran alone: different formats, sizes (also empty ones), types and algorithms in one region.
TEST(IntDotList, EqualsItsCallsOneByOne) {
  std::vector<std::unique_ptr<GemmProblem>> problems;
  Random random{7};
  const GemmAlgo algos[] = {GemmAlgo::kAuto, GemmAlgo::kIntDot, GemmAlgo::kIntLanes, GemmAlgo::kTile};
  std::vector<GemmCall> calls;
  for (size_t i = 0; i < 24; ++i) {
    GemmSpec spec;
    spec.format = kFormats[i % kFormats.size()];
    spec.m = i % 5 == 4 ? 0 : random.Below(70);
    spec.n = i % 7 == 6 ? 0 : random.Below(140);
    spec.k = random.Below(100);
    spec.seed = i;
    spec.gather = i % 3 == 0;
    spec.scatter = i % 4 == 0;
    problems.push_back(std::make_unique<GemmProblem>(spec));
    calls.push_back(problems.back()->Call(algos[i % 4]));
  }
  for (const std::string& target : TargetNames()) {
    std::vector<std::vector<unsigned char>> alone;
    TargetContext one(target);
    for (size_t i = 0; i < calls.size(); ++i) {
      problems[i]->ResetY();
      Gemm<>(std::span<const GemmCall>(&calls[i], 1), one);
      alone.push_back(problems[i]->YBytes());
    }
    Backwards three;
    TargetContext many(target, three.AsExecutor());
    for (const auto& p : problems) p->ResetY();
    Gemm<>(std::span<const GemmCall>(calls), many);
    many.Check();
    EXPECT_EQ(three.runs, 1u) << "the executor is called once for the whole list";
    for (size_t i = 0; i < calls.size(); ++i) EXPECT_EQ(problems[i]->YBytes(), alone[i]) << target << " call " << i;
  }
}

TEST(IntDotList, AnEmptyListAndEmptyCallsDoNothing) {
  Context context;
  Gemm<>(std::span<const GemmCall>(), context);
  EXPECT_EQ(context.last_target(), 0);
  GemmSpec spec;
  spec.m = 0;
  GemmProblem problem(spec);
  EXPECT_EQ(problem.Run(GemmAlgo::kIntDot, context), "");
  EXPECT_EQ(context.last_target(), 0);
}

TEST(IntDotList, SixtyFourCallsFitIntoOneRegion) {
  EXPECT_GE(Context::kJobBytes / sizeof(internal::GemmTask), 64u);
  GemmSpec spec;
  GemmProblem problem(spec);
  Context context;
  const std::vector<GemmCall> calls(64, problem.Call());
  Gemm<>(std::span<const GemmCall>(calls), context);
}

// A format of the user's that is affine and as wide as one of lutra's runs on its kernels.
TEST(IntDotUser, AffineFormatRunsOnTheKernelsOfItsWidth) {
  GemmSpec spec;
  spec.format = Skewed::info;
  spec.m = 9;
  spec.n = 70;
  spec.k = 100;
  for (const Fill fill : kFills) {
    spec.fill = fill;
    GemmProblem problem(spec);
    EXPECT_EQ(Explain<Skewed>(problem.Call(), Context()).algo, GemmAlgo::kIntDot);
    Compare(problem, {GemmAlgo::kIntDot, GemmAlgo::kIntLanes});
  }
}

}}}  // namespace lutra::testing
