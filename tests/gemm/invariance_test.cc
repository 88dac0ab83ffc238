// A row of y depends on its row of x alone; integer results not on the target either: one hash per op, for all
// machines.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <numeric>

#include "support/gemm_problem.h"

namespace lutra { namespace testing { namespace {

constexpr GemmAlgo kAlgos[] = {GemmAlgo::kIntDot, GemmAlgo::kIntLanes, GemmAlgo::kTile, GemmAlgo::kFloatTable};

// Rows of a large problem, and each of them computed by other calls.
class Invariance : public ::testing::TestWithParam<GemmAlgo> {
 protected:
  static constexpr size_t kM = 70, kN = 100, kK = 130;
  static GemmSpec Spec() {
    GemmSpec spec;
    spec.format = Int4::info;
    spec.m = kM;
    spec.n = kN;
    spec.k = kK;
    spec.scales.group_k = 32;
    const bool is_float = GetParam() == GemmAlgo::kTile || GetParam() == GemmAlgo::kFloatTable;
    spec.x_type = is_float ? DType::kF32 : DType::kI8;
    if (GetParam() == GemmAlgo::kFloatTable) spec.unit = Unit::kByteRow;
    return spec;
  }
  // y of rows `map` of the problem's x, on `context`.
  static std::vector<float> RowsOf(const GemmProblem& p, const std::vector<int32_t>& map, Context& context) {
    std::vector<float> y(map.size() * kN);
    GemmCall call = p.Call(GetParam());
    call.y = View(y.data(), map.size(), kN);
    call.rows = {map.size(), 1, map.data()};
    Gemm<>(std::span<const GemmCall>(&call, 1), context);
    return y;
  }
};
INSTANTIATE_TEST_SUITE_P(All, Invariance, ::testing::ValuesIn(kAlgos), [](const auto& test) {
  return std::string(internal::kGemmAlgoNames[static_cast<int>(test.param)]);
});

TEST_P(Invariance, RowDoesNotDependOnMNeighboursOrRowMaps) {
  const GemmProblem p(Spec());
  for (const std::string& target : TargetNames()) {
    TargetContext context(target);
    p.ResetY();
    const GemmCall call = p.Call(GetParam());
    Gemm<>(std::span<const GemmCall>(&call, 1), context);
    context.Check();
    const std::vector<unsigned char> bytes = p.YBytes();
    const auto row = [&](size_t m) { return reinterpret_cast<const float*>(bytes.data()) + m * kN; };
    for (size_t begin = 0; begin < kM; begin += 3) {  // one row, and the first 1 ... 9 rows from it, reversed
      for (const size_t count : Sizes{1, 2, 3, 5, 9}) {
        std::vector<int32_t> map;
        for (size_t i = 0; i < count; ++i) map.push_back(static_cast<int32_t>((begin + 7 * (count - i)) % kM));
        const std::vector<float> y = RowsOf(p, map, context);
        for (size_t i = 0; i < count; ++i) {
          ASSERT_EQ(std::memcmp(y.data() + i * kN, row(static_cast<size_t>(map[i])), kN * 4), 0)
              << target << ' ' << map[i];
        }
      }
    }
    std::vector<int32_t> all(kM);  // and all of them, with a row of zeros between
    std::iota(all.rbegin(), all.rend(), 0);
    all.insert(all.begin() + 33, -1);
    const std::vector<float> y = RowsOf(p, all, context);
    for (size_t i = 0; i < all.size(); ++i) {
      const std::vector<float> zeros(kN);
      const float* want = all[i] < 0 ? zeros.data() : row(static_cast<size_t>(all[i]));
      ASSERT_EQ(std::memcmp(y.data() + i * kN, want, kN * 4), 0) << target << ' ' << i;
    }
  }
}

TEST_P(Invariance, ResultDoesNotDependOnWorkersTilingOrShards) {
  const GemmProblem p(Spec());
  for (const std::string& target : TargetNames()) {
    TargetContext one(target);
    p.ResetY();
    GemmCall call = p.Call(GetParam());
    Gemm<>(std::span<const GemmCall>(&call, 1), one);
    const std::vector<unsigned char> want = p.YBytes();
    Backwards backwards;
    for (const size_t workers : Sizes{2, 3, 16}) {
      Executor executor = backwards.AsExecutor();
      executor.workers = workers;
      TargetContext other(target, executor);
      p.ResetY();
      Gemm<>(std::span<const GemmCall>(&call, 1), other);
      EXPECT_EQ(p.YBytes(), want) << target << ' ' << workers;
    }
    std::vector<float> y(kM * kN);  // N in shards of panels, into columns of one matrix
    for (const auto& [begin, end] : {std::pair<size_t, size_t>{0, 32}, {32, 96}, {96, 100}}) {
      GemmCall shard = call;
      shard.w = call.w.Rows(begin, end);
      shard.y = View(y.data() + begin, kM, end - begin, kN);
      Gemm<>(std::span<const GemmCall>(&shard, 1), one);
    }
    EXPECT_EQ(std::memcmp(y.data(), want.data(), want.size()), 0) << target;
  }
}

// A row that holds NaN or infinity has outputs of NaN; the bits of the other rows are those they have without it.
TEST(InvarianceOfRows, ARowWithNaNOrInfinityTouchesNoOther) {
  constexpr size_t kM = 9, kN = 70, kK = 65;
  GemmSpec spec;
  spec.m = kM;
  spec.n = kN;
  spec.k = kK;
  const GemmProblem p(spec);
  Random random{6};
  std::vector<float> x(kM * kK);
  for (float& v : x) v = random.Float();
  for (const std::string& target : TargetNames()) {
    TargetContext context(target);
    ActivationBuffer buffer;
    std::vector<float> clean(kM * kN), y(kM * kN), spoilt = x;
    Gemm<>(buffer.Quantize(View(x.data(), kM, kK), context), p.w(), View(clean.data(), kM, kN), context);
    spoilt[3 * kK + 64] = std::nanf("");
    spoilt[7 * kK] = -HUGE_VALF;
    Gemm<>(buffer.Quantize(View(spoilt.data(), kM, kK), context), p.w(), View(y.data(), kM, kN), context);
    context.Check();
    for (size_t i = 0; i < y.size(); ++i) {
      if (i / kN == 3 || i / kN == 7) {
        ASSERT_TRUE(std::isnan(y[i])) << target << ' ' << i;
      } else {
        ASSERT_EQ(std::bit_cast<uint32_t>(y[i]), std::bit_cast<uint32_t>(clean[i])) << target << ' ' << i;
      }
    }
  }
}

// One hash per integer op, committed: the same on every target, compiler and machine.
struct Golden {
  const char* name;
  GemmSpec spec;
  GemmAlgo algo;
  uint64_t hash;
};
std::vector<Golden> Goldens() {
  GemmSpec base;
  base.m = 37;
  base.n = 75;
  base.k = 333;
  base.seed = 2026;
  std::vector<Golden> list;
  const auto add = [&](const char* name, const GemmSpec& spec, GemmAlgo algo, uint64_t hash) {
    list.push_back({name, spec, algo, hash});
  };
  GemmSpec s = base;
  add("ternary_f32", s, GemmAlgo::kIntDot, 0xD4C62D56068E8AD7u);
  s.y_type = DType::kI32;
  add("ternary_i32", s, GemmAlgo::kIntDot, 0x11A60C9150762C81u);
  s = base;
  s.format = Int4::info;
  s.scales = {64, DType::kF16, false, true};
  s.act.group_k = 96;
  s.y_type = DType::kBF16;
  add("int4_groups_bf16", s, GemmAlgo::kIntDot, 0xB295439C9CF65379u);
  s = base;
  s.format = Int8::info;
  s.y_type = DType::kI8;
  add("int8_i8", s, GemmAlgo::kIntDot, 0x72949BC99803CD9Cu);
  s = base;
  s.format = Int<2, 3>::info;
  s.scales.group_k = 20;
  add("int2_z003_int_lanes", s, GemmAlgo::kIntLanes, 0x57976BD4C7BDAC5Bu);
  return list;
}

TEST(Golden, GemmHashesAreTheSameEverywhere) {
  for (const Golden& g : Goldens()) {
    GemmProblem p(g.spec);
    p.e.out_scale = 0.125f;
    for (const std::string& target : TargetNames()) {
      TargetContext context(target);
      ASSERT_EQ(p.Run(g.algo, context), "");
      context.Check();
      const std::vector<unsigned char> y = p.YBytes();
      EXPECT_EQ(Hash(y.data(), y.size()), g.hash) << g.name << ' ' << target;
    }
  }
}

TEST(Golden, QuantizeHashIsTheSameEverywhere) {
  Random random{2026};
  std::vector<float> x(37 * 333);
  for (float& v : x) v = random.Float() * 3;
  std::vector<std::byte> memory(ActivationBytes(37, 333, {8, false, 64}));
  for (const std::string& target : TargetNames()) {
    TargetContext context(target);
    const Activations q = Quantize(View(x.data(), 37, 333), {8, false, 64}, memory, context);
    context.Check();
    uint64_t hash = Hash(q.codes, 38 * q.stride);
    hash = Hash(q.scales, 38 * q.groups * sizeof(float), hash);
    hash = Hash(q.sums, 38 * q.blocks * sizeof(int32_t), hash);
    EXPECT_EQ(hash, 0xE0DEE4C3F79E8F39u) << target;
  }
}

}}}  // namespace lutra::testing
