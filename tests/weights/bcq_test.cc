// Binary-coding quantisation: cases by hand, errors that only fall, sums of planes found again, and products by every
// algorithm that takes them.
#include "lutra/weights/bcq.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "lutra/gemm.h"
#include "support/random.h"
#include "support/targets.h"

namespace lutra { namespace testing { namespace {

// Encoded weights, with what they stand for.
struct Coded {
  CodedBuffer buffer;
  size_t n, k, planes;
  explicit Coded(const std::vector<float>& w, size_t rows, const BcqSpec& spec, Executor executor = Serial())
      : n(rows), k(rows == 0 ? 0 : w.size() / rows), planes(spec.planes) {
    Context context(executor);
    buffer = EncodeBcq(View(w.data(), n, k), spec, context);
  }
  double Alpha(size_t row, size_t p, size_t at) const {
    const CodedMatrix& m = buffer.matrix();
    const size_t groups = m.scale.cols / planes, group = at / m.scales.group_k;
    return 0.5 * double{static_cast<const float*>(m.scale.data)[row * m.scale.cols + p * groups + group]};
  }
  int Bit(size_t row, size_t p, size_t at) const { return buffer.matrix().codes[row * k * planes + p * k + at]; }
  double Value(size_t row, size_t at) const {
    double v = 0;
    for (size_t p = 0; p < planes; ++p) v += Bit(row, p, at) != 0 ? Alpha(row, p, at) : -Alpha(row, p, at);
    return v;
  }
  double Error(const std::vector<float>& w) const {
    double error = 0;
    for (size_t i = 0; i < w.size(); ++i) {
      const double r = double{w[i]} - Value(i / k, i % k);
      error += r * r;
    }
    return error;
  }
};

BcqSpec SpecOf(size_t planes, BcqFit fit, size_t group_k = 0) {
  BcqSpec spec;
  spec.planes = planes;
  spec.fit = fit;
  spec.group_k = group_k;
  return spec;
}
std::vector<float> Weights(size_t count, uint64_t seed) {
  Random random{seed};
  std::vector<float> w(count);
  for (float& v : w) v = random.Float() + 0.5f * random.Float() * random.Float();
  return w;
}

TEST(BcqByHand, Greedy) {
  // mean |w| = 2.5; the rest is 1.5 0.5 -0.5 -1.5 of signs + + - -, mean 1.
  const Coded c({4, 3, 2, -1}, 1, SpecOf(2, BcqFit::kGreedy));
  EXPECT_EQ(c.Alpha(0, 0, 0), 2.5);
  EXPECT_EQ(c.Alpha(0, 1, 0), 1.0);
  for (const auto& [at, first, second] : {std::array<size_t, 3>{0, 1, 1}, {1, 1, 1}, {2, 1, 0}, {3, 0, 1}}) {
    EXPECT_EQ(c.Bit(0, 0, at), static_cast<int>(first)) << at;
    EXPECT_EQ(c.Bit(0, 1, at), static_cast<int>(second)) << at;
  }
}

TEST(BcqByHand, ZeroIsPlus) {
  for (const BcqFit fit : {BcqFit::kGreedy, BcqFit::kAlternating}) {
    const Coded c({0, -0.0f, 2, -2}, 1, SpecOf(1, fit));
    EXPECT_EQ(c.Bit(0, 0, 0), 1);
    EXPECT_EQ(c.Bit(0, 0, 1), 1);
    EXPECT_EQ(c.Bit(0, 0, 3), 0);
    EXPECT_EQ(c.Alpha(0, 0, 0), 1.0);
    const Coded zeros({0, 0, 0}, 1, SpecOf(3, fit));
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(zeros.Value(0, i), 0.0);
  }
}

// {-3, -1, 1, 3} is 2 b + b': the greedy fit of these counts misses it, the alternating one does not.
TEST(BcqByHand, AlternatingFindsTheGrid) {
  const std::vector<float> w = {3, 3, 3, 1, -3, -1, -3, 1, -3};
  EXPECT_GT(Coded(w, 1, SpecOf(2, BcqFit::kGreedy)).Error(w), 0.1);
  const Coded c(w, 1, SpecOf(2, BcqFit::kAlternating));
  EXPECT_EQ(c.Error(w), 0.0);
  EXPECT_EQ(c.Alpha(0, 0, 0), 2.0);
  EXPECT_EQ(c.Alpha(0, 1, 0), 1.0);
}

// The formula of the greedy fit, in double.
TEST(Bcq, GreedyIsItsDefinition) {
  constexpr size_t kN = 5, kK = 77, kGroup = 20, kPlanes = 4;
  const std::vector<float> w = Weights(kN * kK, 1);
  const Coded c(w, kN, SpecOf(kPlanes, BcqFit::kGreedy, kGroup));
  for (size_t row = 0; row < kN; ++row) {
    for (size_t k0 = 0; k0 < kK; k0 += kGroup) {
      const size_t k1 = std::min(kK, k0 + kGroup);
      std::vector<double> r(w.begin() + static_cast<ptrdiff_t>(row * kK + k0),
                            w.begin() + static_cast<ptrdiff_t>(row * kK + k1));
      for (size_t p = 0; p < kPlanes; ++p) {
        double sum = 0;
        for (const double v : r) sum += std::fabs(v);
        const double alpha = 0.5 * double{static_cast<float>(2 * (sum / static_cast<double>(k1 - k0)))};
        ASSERT_EQ(c.Alpha(row, p, k0), alpha);
        for (size_t i = 0; i < r.size(); ++i) {
          ASSERT_EQ(c.Bit(row, p, k0 + i), r[i] >= 0);
          r[i] -= r[i] >= 0 ? alpha : -alpha;
        }
      }
    }
  }
}

TEST(Bcq, MorePlanesAndMoreIterationsNeverMakeTheErrorLarger) {
  constexpr size_t kN = 3, kK = 257;
  const std::vector<float> w = Weights(kN * kK, 2);
  for (const size_t group : {size_t{0}, size_t{32}, size_t{100}}) {
    double greedy_before = HUGE_VAL;
    for (size_t planes = 1; planes <= 8; ++planes) {
      const double greedy = Coded(w, kN, SpecOf(planes, BcqFit::kGreedy, group)).Error(w);
      EXPECT_LT(greedy, greedy_before) << planes;
      greedy_before = greedy;
      double before = greedy;
      for (const size_t iterations : {size_t{0}, size_t{1}, size_t{2}, size_t{4}, size_t{8}, size_t{30}}) {
        BcqSpec spec = SpecOf(planes, BcqFit::kAlternating, group);
        spec.iterations = iterations;
        const double error = Coded(w, kN, spec).Error(w);
        EXPECT_LE(error, before * (1 + 1e-12)) << planes << ' ' << iterations;  // summed here in another order
        if (iterations == 0) {
          EXPECT_EQ(error, greedy);
        }
        before = error;
      }
      if (planes > 1) {
        EXPECT_LT(before, greedy) << planes << ' ' << group;
      }
    }
  }
}

// No pattern of bits is nearer than the one that is stored.
TEST(Bcq, EachWeightHasItsNearestSum) {
  constexpr size_t kK = 300, kPlanes = 3;
  const std::vector<float> w = Weights(kK, 3);
  const Coded c(w, 1, SpecOf(kPlanes, BcqFit::kAlternating));
  for (size_t i = 0; i < kK; ++i) {
    const double distance = std::fabs(double{w[i]} - c.Value(0, i));
    for (unsigned pattern = 0; pattern < 8; ++pattern) {
      double sum = 0;
      for (size_t p = 0; p < kPlanes; ++p) sum += (pattern >> p & 1u) != 0 ? c.Alpha(0, p, 0) : -c.Alpha(0, p, 0);
      EXPECT_LE(distance, std::fabs(double{w[i]} - sum) * (1 + 1e-12)) << i << ' ' << pattern;
    }
  }
}

// Sums of a few planes whose alphas lie far apart come back exactly.
TEST(Bcq, SumsOfPlanesAreFoundAgain) {
  constexpr size_t kN = 4, kK = 200;
  Random random{4};
  for (size_t planes = 1; planes <= 4; ++planes) {
    std::vector<float> w(kN * kK);
    for (float& v : w) {
      for (size_t p = 0; p < planes; ++p)
        v += random.Below(2) == 0 ? std::ldexp(1.0f, -2 * static_cast<int>(p))
                                  : -std::ldexp(1.0f, -2 * static_cast<int>(p));
    }
    const Coded c(w, kN, SpecOf(planes, BcqFit::kAlternating));
    EXPECT_EQ(c.Error(w), 0.0) << planes;
    for (size_t p = 0; p < planes; ++p) EXPECT_EQ(c.Alpha(0, p, 0), std::ldexp(1.0, -2 * static_cast<int>(p)));
  }
}

TEST(Bcq, TypesOfWeightsAndScales) {
  constexpr size_t kK = 90;
  const std::vector<float> w = Weights(kK, 5);
  std::vector<BF16> narrow(kK);
  std::vector<float> wide(kK);
  for (size_t i = 0; i < kK; ++i) wide[i] = ToFloat(narrow[i] = ToBF16(w[i]));
  BcqSpec spec = SpecOf(3, BcqFit::kAlternating, 32);
  spec.type = DType::kF16;
  Context context;
  const CodedBuffer from = EncodeBcq(View(narrow.data(), 1, kK), spec, context);
  const Coded c(wide, 1, spec);
  for (size_t i = 0; i < 3 * kK; ++i) ASSERT_EQ(from.matrix().codes[i], c.buffer.matrix().codes[i]) << i;
  for (size_t i = 0; i < 9; ++i) {
    const float scale = static_cast<const float*>(c.buffer.matrix().scale.data)[i];
    EXPECT_EQ(static_cast<const float*>(from.matrix().scale.data)[i], scale);
    EXPECT_EQ(ToFloat(ToF16(scale)), scale);
  }
  EXPECT_LT(c.Error(wide), 0.1 * static_cast<double>(kK));
}

TEST(Bcq, ThreadsGiveEqualCodes) {
  constexpr size_t kN = 700, kK = 130;
  const std::vector<float> w = Weights(kN * kK, 6);
  const BcqSpec spec = SpecOf(3, BcqFit::kAlternating, 64);
  ThreeThreads three;
  const Coded one(w, kN, spec), other(w, kN, spec, three.AsExecutor());
  EXPECT_EQ(std::memcmp(one.buffer.matrix().codes, other.buffer.matrix().codes, 3 * kN * kK), 0);
  EXPECT_EQ(std::memcmp(one.buffer.matrix().scale.data, other.buffer.matrix().scale.data, kN * 9 * sizeof(float)), 0);
}

TEST(Bcq, EmptyMatrices) {
  Context context;
  for (const auto& [n, k] : {std::pair<size_t, size_t>{0, 0}, {0, 5}, {3, 0}}) {
    const PackedBuffer w = QuantizeBcq(View(static_cast<const float*>(nullptr), n, k), {}, context);
    EXPECT_EQ(w.matrix().n(), n);
    EXPECT_EQ(w.matrix().k(), 2 * k);
  }
}

TEST(Bcq, BadInputSaysWhatIsWrong) {
  Context context;
  std::vector<float> w(3 * 40, 1.0f);
  const auto message = [&](const BcqSpec& spec) {
    return FailureOf([&] { (void)EncodeBcq(View(w.data(), 3, 40), spec, context); });
  };
  BcqSpec spec;
  spec.planes = 0;
  EXPECT_EQ(message(spec), "EncodeBcq: planes is 0, allowed are 1 ... 8");
  spec.planes = 9;
  EXPECT_EQ(message(spec), "EncodeBcq: planes is 9, allowed are 1 ... 8");
  spec = {};
  spec.fit = static_cast<BcqFit>(7);
  EXPECT_EQ(message(spec), "EncodeBcq: fit is 7, not a BcqFit");
  spec = {};
  spec.type = DType::kI8;
  EXPECT_EQ(message(spec), "EncodeBcq: scales: type is i8, allowed are f32, bf16, f16");
  const std::vector<int8_t> bytes(10);
  EXPECT_EQ(FailureOf([&] { (void)EncodeBcq(View(bytes.data(), 1, 10), {}, context); }),
            "EncodeBcq: w.type is i8, allowed are f32, bf16, f16");
  for (const float bad : {std::nanf(""), HUGE_VALF}) {
    w[2 * 40 + 33] = bad;
    spec = {};
    spec.group_k = 32;
    EXPECT_EQ(message(spec).find("EncodeBcq: w at row 2, column 33 is "), 0u) << message(spec);
  }
  w[2 * 40 + 33] = 1.0f;
  w[40 + 3] = std::numeric_limits<float>::max();
  spec.type = DType::kF16;
  EXPECT_EQ(message(spec), "EncodeBcq: a scale of row 1, group 0 does not fit into f16");
  Context share(Share(0, 2));
  EXPECT_EQ(FailureOf([&] {
              (void)EncodeBcq(View(w.data(), 1, 40), {}, share);
              (void)EncodeBcq(View(w.data(), 1, 40), {}, share);
            }).find("EncodeBcq: context ran "),
            std::string::npos);  // one task: the first thread has it all
}

TEST(RepeatRows, MapsEachRowToAllSegments) {
  int32_t memory[7] = {};
  const RowMap map = RepeatRows(2, 3, memory);
  EXPECT_EQ(map.m, 2u);
  EXPECT_EQ(map.segments, 3u);
  const int32_t want[] = {0, 0, 0, 1, 1, 1};
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(map.row[i], want[i]);
  EXPECT_EQ(FailureOf([&] { (void)RepeatRows(4, 2, memory); }),
            "RepeatRows: memory holds 7 numbers, m = 4 rows of 2 segments need m * segments");
}

// sum over planes of alpha_p (b_p . x), by each algorithm, near the exact product of what is stored.
TEST(Bcq, ProductsByEachAlgorithm) {
  constexpr size_t kM = 3, kN = 70;
  for (const size_t k : {size_t{31}, size_t{96}, size_t{300}}) {
    for (const size_t planes : {size_t{1}, size_t{3}}) {
      for (const size_t group : {size_t{0}, size_t{64}}) {
        const std::vector<float> w = Weights(kN * k, 7), x = Weights(kM * k, 8);
        const BcqSpec spec = SpecOf(planes, BcqFit::kAlternating, group);
        const Coded coded(w, kN, spec);
        Context pack;
        const PackedBuffer packed = QuantizeBcq(View(w.data(), kN, k), spec, pack);
        std::vector<int32_t> memory(kM * planes);
        for (const std::string& target : TargetNames()) {
          TargetContext context(target);
          ActivationBuffer xq;
          GemmCall floats, ints;
          floats.x = View(static_cast<const float*>(x.data()), kM, k);
          ints.xq = &xq.Quantize(floats.x, context);
          std::vector<float> y(kM * kN);
          for (GemmCall* call : {&floats, &ints}) {
            call->w = packed;
            call->y = View(y.data(), kM, kN);
            call->rows = RepeatRows(kM, planes, memory);
            const GemmAlgo want = call == &floats ? GemmAlgo::kFloatTable : GemmAlgo::kShuffleTable;
            ASSERT_EQ((Explain<Int1, FloatTables>(*call, context).algo), want);
            Gemm<Int1, FloatTables>(std::span<const GemmCall>(call, 1), context);
            context.Check();
            for (size_t i = 0; i < y.size(); ++i) {
              double exact = 0, size = 0;
              const size_t m = i / kN;
              for (size_t j = 0; j < k; ++j) {
                const double v =
                    call == &floats ? double{x[m * k + j]} : ints.xq->Row(m)[j] * double{ints.xq->Scale(m, 0)};
                exact += v * coded.Value(i % kN, j);
                for (size_t p = 0; p < planes; ++p) size += std::fabs(v) * std::fabs(coded.Alpha(i % kN, p, j));
              }
              const size_t spans = planes * (k / 32 + 1);
              const double roundings = 60.0 + 4.0 * static_cast<double>(spans);
              ASSERT_NEAR(double{y[i]}, exact, roundings * 0x1p-24 * size) << target << ' ' << k << ' ' << planes;
            }
          }
        }
      }
    }
  }
}

}}}  // namespace lutra::testing
