// Each fit against cases computed by hand, then the promises: scopes, types, threads, messages.
#include <algorithm>
#include <cmath>

#include "lutra/weights/quantize.h"

#include <gtest/gtest.h>

#include "support/targets.h"
#include "weights/coded.h"

namespace lutra { namespace {
using testing::FailureOf;

constexpr float kTiny = std::numeric_limits<float>::denorm_min(), kMax = std::numeric_limits<float>::max(),
                kInf = std::numeric_limits<float>::infinity();

struct Row {
  float scale;
  std::vector<int> codes;
  bool operator==(const Row&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Row& r) {
  out << "scale " << r.scale << ", codes";
  for (const int c : r.codes) out << ' ' << c;
  return out;
}

// One row of weights as one scope.
template <class Format>
Row Encode(const std::vector<float>& w, Fit fit, const Scales& scales = {}) {
  Context context;
  const CodedBuffer b = EncodeWeights<Format>(View(w.data(), 1, w.size()), scales, fit, context);
  const CodedMatrix& m = b.matrix();
  return {static_cast<const float*>(m.scale.data)[0], {m.codes, m.codes + m.k}};
}

TEST(AbsMax, DividesByTheLargestPositiveValue) {
  // Int4: limit 7. r = -7 -3.5 -3 0 1.5 2.5 6, ties to even.
  EXPECT_EQ(Encode<Int4>({-7, -3.5f, -3, 0, 1.5f, 2.5f, 6}, Fit::kAbsMax), (Row{1, {1, 4, 5, 8, 10, 10, 14}}));
  // Int8: limit 127; -absmax is -127, never -128.
  EXPECT_EQ(Encode<Int8>({-254, 254, 1, 3}, Fit::kAbsMax), (Row{2, {1, 255, 128, 130}}));
  // Ternary: limit 1; halves go to even, which is 0.
  EXPECT_EQ(Encode<Ternary>({-2, -1, -1.5f, 1, 1.0001f}, Fit::kAbsMax), (Row{2, {0, 1, 0, 1, 2}}));
  // Unsigned: limit 15, what is negative becomes 0.
  EXPECT_EQ((Encode<Int<4, 0>>({-30, 30, 5, 7}, Fit::kAbsMax)), (Row{2, {0, 15, 2, 4}}));
}

TEST(AbsMax, HalfIntegerZeroPoints) {
  // Int1: +-1/2, limit 1/2. Zero and -0 are not below zero.
  EXPECT_EQ(Encode<Int1>({-3, 3, 0, -0.0f, kTiny, -1}, Fit::kAbsMax), (Row{6, {0, 1, 1, 1, 1, 0}}));
  // Int<2, 3>: -3/2 -1/2 1/2 3/2. floor(r) + 2: 1 is above 1/2, so it rounds up.
  EXPECT_EQ((Encode<Int<2, 3>>({-1.5f, -1, -0.5f, 0.5f, 0.99f, 1, 1.5f}, Fit::kAbsMax)),
            (Row{1, {0, 1, 1, 2, 2, 3, 3}}));
}

TEST(AbsMax, Tables) {
  // Five: -3 -2 1 6 13, limit 13. r = 13, 3.5 (between 1 and 6: the lower), 3.6, -2.5 (tie: the lower), -13.
  EXPECT_EQ(Encode<testing::Five>({26, 7, 7.2f, -5, -26}, Fit::kAbsMax), (Row{2, {4, 2, 3, 0, 0}}));
  // The nearest of NF4 for each of its own values is itself.
  std::vector<float> own(std::begin(testing::Nf4::kValues), std::end(testing::Nf4::kValues));
  EXPECT_EQ(Encode<testing::Nf4>(own, Fit::kAbsMax), (Row{1, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}}));
}

TEST(AbsMean, IsBitNetsScale) {
  // mean |w| = 6/5.
  EXPECT_EQ(Encode<Ternary>({-3, 0.5f, 0.7f, 1.8f, 0}, Fit::kAbsMean), (Row{1.2f, {0, 1, 2, 2, 1}}));
  // The mean of 2^24 + 1 and 1 needs more than f32.
  EXPECT_EQ(Encode<Ternary>({16777216, 1, 1, 0}, Fit::kAbsMean).scale, 4194304.5f);
  // Tiny weights: 1e-5 from below.
  EXPECT_EQ(Encode<Ternary>({1e-7f, -1e-7f}, Fit::kAbsMean), (Row{1e-5f, {1, 1}}));
  EXPECT_EQ(Encode<Ternary>({8e-6f, -8e-6f}, Fit::kAbsMean), (Row{1e-5f, {2, 0}}));
  // The double sum does not overflow where f32 would.
  EXPECT_EQ(Encode<Ternary>({kMax, -kMax, kMax}, Fit::kAbsMean), (Row{kMax, {2, 0, 2}}));
}

TEST(AbsMedian, IsTheLowerOne) {
  EXPECT_EQ(Encode<Ternary>({-4, 1, 2}, Fit::kAbsMedian), (Row{2, {0, 1, 2}}));
  EXPECT_EQ(Encode<Ternary>({-4, 1, 2, 3}, Fit::kAbsMedian), (Row{2, {0, 1, 2, 2}}));
  EXPECT_EQ(Encode<Ternary>({-5}, Fit::kAbsMedian), (Row{5, {0}}));
  // Most are zero: s = 1e-5, r overflows to infinity and is clamped.
  EXPECT_EQ(Encode<Ternary>({0, -0.0f, kMax, 0, -kMax}, Fit::kAbsMedian), (Row{1e-5f, {1, 1, 2, 1, 0}}));
  EXPECT_EQ(Encode<testing::Five>({0, -0.0f, kMax, 0, -kMax}, Fit::kAbsMedian), (Row{1e-5f, {2, 2, 4, 2, 0}}));
  // Against sorting, with many equal leading digits.
  std::minstd_rand random(3);
  for (size_t count = 1; count < 200; count += 7) {
    std::vector<float> w(count), magnitudes(count);
    for (size_t i = 0; i < count; ++i) {
      w[i] = (random() % 2 == 0 ? 1.0f : -1.0f) * (1.0f + static_cast<float>(random() % 97) / 65536);
      magnitudes[i] = std::fabs(w[i]);
    }
    std::sort(magnitudes.begin(), magnitudes.end());
    EXPECT_EQ(Encode<Ternary>(w, Fit::kAbsMedian).scale, magnitudes[(count - 1) / 2]) << count;
  }
}

TEST(AbsMedian, EqualsSortingForAnySizeAndOrder) {
  std::minstd_rand random(5);
  for (const size_t count : {1u, 2u, 31u, 32u, 33u, 34u, 65u, 500u, 1023u, 1024u, 1025u, 1026u, 9000u}) {
    for (int kind = 0; kind < 8; ++kind) {
      std::vector<float> w(count);
      for (size_t i = 0; i < count; ++i) {
        const uint32_t r = static_cast<uint32_t>(random()), half = static_cast<uint32_t>(i < count - i ? i : count - i);
        const uint32_t bits[] = {r % 0x7F800000u,           // any magnitude
                                 0x3F800000u,               // all equal
                                 r % 2 * 0x7F7FFFFFu,       // the smallest and the largest
                                 static_cast<uint32_t>(i),  // subnormals, ascending
                                 0x40000000u - static_cast<uint32_t>(i),
                                 0x3F000000u + half,   // up and down
                                 0x3F800000u + r % 3,  // many equal
                                 i == 0 ? 0x7F000000u : r % 1000u << 2};
        w[i] = std::bit_cast<float>(bits[kind] | static_cast<uint32_t>(r / 7 % 2) << 31);
      }
      std::vector<float> sorted(count);
      for (size_t i = 0; i < count; ++i) sorted[i] = std::fabs(w[i]);
      std::sort(sorted.begin(), sorted.end());
      const internal::Scope whole{0, 1, 0, count};
      EXPECT_EQ(internal::LowerMedian(View(w.data(), 1, count), whole), sorted[(count - 1) / 2])
          << count << " of kind " << kind;
    }
  }
}

// Codes by halving against distances, one after another: at each value, each middle, and their neighbours.
TEST(Tables, StepsFindTheNearestByDistance) {
  std::minstd_rand random(6);
  const float tables[][16] = {
      {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
      {15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0},
      {0.5f, -0.0f, 0.0f, 3, 3, -1, -7, 2, 0.25f, 0.5f, -1, 4, 100, 9, 9, 9},
      {5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5},
      {kTiny, -kTiny, 0, 2 * kTiny, 3 * kTiny, -5 * kTiny, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
      {kMax, -kMax, 0x1p100f, 0, -0x1p100f, 0x1p90f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
      {1, 1 + 0x1p-23f, 1 + 0x1p-22f, -1, -1 - 0x1p-23f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
      {1, 0x1p-30f, 0x1p-38f, -0x1p-39f, 0, 0x1p-41f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
  };
  for (const auto& table : tables) {
    for (unsigned codes = 1; codes <= 16; ++codes) {
      const internal::TableSteps steps = internal::StepsOf(table, codes);
      if (!steps.use) continue;
      const auto [least, most] = std::minmax_element(table, table + codes);
      std::vector<float> x = {kInf, -kInf, kMax, -kMax, 0.0f, -0.0f, kTiny, -kTiny};
      for (unsigned a = 0; a < codes; ++a) {
        for (unsigned b = 0; b < codes; ++b) {
          const float middle = static_cast<float>((double{table[a]} + double{table[b]}) / 2);
          x.insert(x.end(), {middle, std::nextafter(middle, kInf), std::nextafter(middle, -kInf)});
        }
      }
      for (int i = 0; i < 100; ++i) {
        x.push_back(*least + (*most - *least) * static_cast<float>(random() % 1000u) / 1000.0f);
      }
      std::vector<uint8_t> got(x.size());
      internal::NearestBySteps(steps, x.data(), x.size(), 1.0f, got.data());
      for (size_t i = 0; i < x.size(); ++i) {
        const double clamped{std::clamp(x[i], *least, *most)};
        EXPECT_EQ(got[i], internal::NearestByDistance(table, codes, clamped)) << x[i] << " of " << codes;
      }
    }
  }
  EXPECT_TRUE(internal::StepsOf(tables[7], 3).use);
  EXPECT_FALSE(internal::StepsOf(tables[7], 6).use);  // 2^-41 and 0 of 1: distances round
}

TEST(SignMean, IsBitNetsSign) {
  // mean w = 1, mean |w| = 9/5: above the mean is +, the mean itself is -.
  EXPECT_EQ(Encode<Int1>({1, 4, -1, 2, -1}, Fit::kSignMean), (Row{3.6f, {0, 1, 0, 1, 0}}));
  EXPECT_EQ(Encode<Ternary>({1, 4, -1, 2, -1}, Fit::kSignMean), (Row{1.8f, {0, 2, 0, 2, 0}}));
  // One weight is its own mean.
  EXPECT_EQ(Encode<Ternary>({5}, Fit::kSignMean), (Row{5, {0}}));
  // The mean is compared in double: 1/3 of 3 * 2^-24 above 1.
  EXPECT_EQ(Encode<Ternary>({1, 1, 1 + 0x1p-23f}, Fit::kSignMean).codes, (std::vector<int>{0, 0, 2}));
  // The outermost pair of Int4 is +-7.
  EXPECT_EQ(Encode<Int4>({14, -14}, Fit::kSignMean), (Row{2, {15, 1}}));
}

TEST(MinMax, MapsTheEndsToTheEnds) {
  Scales s;
  s.has_offset = true;
  Context context;
  const std::vector<float> w = {-1, 0, 1, 2, 0.5f, 1.5f};
  const auto decoded = [&](const PackedBuffer& p) {
    std::vector<float> out(p.matrix().k());
    p.matrix().DecodeRow(0, out.data());
    return out;
  };
  // s = 1; halves to even: 1.5 -> 2 -> value 1, 2.5 -> 2 -> value 1.
  const std::vector<float> want = {-1, 0, 1, 2, 1, 1};
  EXPECT_EQ(decoded(QuantizeWeights<Int2>(View(w.data(), 1, 6), s, Fit::kMinMax, context)), want);
  EXPECT_EQ(decoded(QuantizeWeights<Int<2, 0>>(View(w.data(), 1, 6), s, Fit::kMinMax, context)), want);
  EXPECT_EQ(decoded(QuantizeWeights<Int<2, 3>>(View(w.data(), 1, 6), s, Fit::kMinMax, context)), want);
  const CodedBuffer b = EncodeWeights<Int2>(View(w.data(), 1, 6), s, Fit::kMinMax, context);
  EXPECT_EQ(static_cast<const float*>(b.matrix().offset.data)[0], 1.0f);  // value(0) is -2
  // Equal weights: scale 0, the offset is the weight.
  const std::vector<float> equal = {3, 3, 3};
  EXPECT_EQ(decoded(QuantizeWeights<Int4>(View(equal.data(), 1, 3), s, Fit::kMinMax, context)), equal);
  EXPECT_EQ(decoded(QuantizeWeights<Int4>(View(equal.data(), 1, 1), s, Fit::kMinMax, context)),
            (std::vector<float>{3}));
}

TEST(MinMax, CodesAreMadeWithTheRoundedScaleAndOffset) {
  Scales s;
  s.has_offset = true;
  s.type = DType::kBF16;
  Context context;
  std::vector<float> w(257);
  for (size_t i = 0; i < w.size(); ++i) w[i] = 100.0f + static_cast<float>(i) / 1024;
  const PackedBuffer p = QuantizeWeights<Int8>(View(w.data(), 1, w.size()), s, Fit::kMinMax, context);
  const PackedMatrix m = p;
  std::vector<float> out(w.size());
  m.DecodeRow(0, out.data());
  // The offset 100 + 128 s = 100.125 rounds to 100 in bf16: the lower half clamps nowhere, the upper end does by 1/8.
  const float scale = m.ScaleOf(0, 0), offset = m.OffsetOf(0, 0), top = 127 * scale + offset;
  for (size_t i = 0; i < w.size(); ++i) {
    EXPECT_LE(std::fabs(out[i] - std::min(w[i], top)), scale * 0.5001f) << i;
  }
}

TEST(Encode, DegenerateScopesHaveScaleZeroAndTheZeroCode) {
  for (const Fit fit : {Fit::kAbsMax, Fit::kAbsMean, Fit::kAbsMedian, Fit::kSignMean, Fit::kMinMax}) {
    Scales s;
    s.has_offset = true;
    EXPECT_EQ(Encode<Ternary>({0, -0.0f, 0}, fit, s), (Row{0, {1, 1, 1}}));
    EXPECT_EQ(Encode<Int1>({0, -0.0f}, fit, s), (Row{0, {1, 1}}));
    EXPECT_EQ(Encode<Int4>({-0.0f}, fit, s), (Row{0, {8}}));
    EXPECT_EQ(Encode<Int4>({}, fit, s), (Row{0, {}}));
    EXPECT_FALSE(std::signbit(Encode<Int4>({-0.0f}, fit, s).scale));
    // A scale below the smallest of f16 is 0.
    s.type = DType::kF16;
    EXPECT_EQ(Encode<Ternary>({1e-9f, -1e-9f, 0}, fit, s).codes[2], 1);
  }
  EXPECT_EQ(Encode<testing::Five>({0, 0}, Fit::kAbsMax), (Row{0, {2, 2}}));  // 1 is nearest to 0
  Scales half;
  half.type = DType::kF16;
  EXPECT_EQ(Encode<Ternary>({1e-9f, -1e-9f}, Fit::kAbsMax, half), (Row{0, {1, 1}}));
}

TEST(Encode, ExtremesOfScales) {
  EXPECT_EQ(Encode<Ternary>({kTiny, -kTiny, 0}, Fit::kAbsMax), (Row{kTiny, {2, 0, 1}}));
  EXPECT_EQ(Encode<Int8>({kTiny, -kTiny}, Fit::kAbsMax), (Row{0, {128, 128}}));  // kTiny / 127 is 0
  EXPECT_EQ(Encode<Ternary>({kMax, -kMax}, Fit::kAbsMax), (Row{kMax, {2, 0}}));
  Scales s;
  s.type = DType::kF16;
  EXPECT_EQ(Encode<Ternary>({65519, -1}, Fit::kAbsMax, s), (Row{65504, {2, 1}}));
  EXPECT_EQ(Encode<Ternary>({0x1p-24f, -0x1p-24f}, Fit::kAbsMax, s), (Row{0x1p-24f, {2, 0}}));
  EXPECT_EQ(FailureOf([&] { Encode<Ternary>({65520}, Fit::kAbsMax, s); }),
            "EncodeWeights: the scale inf or offset 0 of row 0, group 0 does not fit into f16");
  s.type = DType::kBF16;
  EXPECT_EQ(Encode<Ternary>({0x1.FEp127f, 1}, Fit::kAbsMax, s), (Row{0x1.FEp127f, {2, 1}}));
  EXPECT_NE(FailureOf([&] { Encode<Ternary>({kMax}, Fit::kAbsMax, s); }), "");  // rounds up to infinity
  s.type = DType::kF32;
  EXPECT_NE(FailureOf([&] { Encode<Int1>({kMax}, Fit::kAbsMax, s); }), "");  // / (1/2)
  s.has_offset = true;
  EXPECT_NE(FailureOf([&] { Encode<Int4>({kMax, -kMax}, Fit::kMinMax, s); }), "");
  // The rounded scale makes the codes: 1 + 2^-9 rounds to 1 in bf16, and so 1.5 is a tie again.
  s.type = DType::kBF16;
  EXPECT_EQ(Encode<Int4>({7 + 0x1p-7f, 1.5f}, Fit::kAbsMax, s), (Row{1, {15, 10}}));
}

TEST(Encode, ScopesAreTensorRowsAndGroupsOfSegments) {
  const std::vector<float> w = {1,   2, 3, 4, 5, 6, 7, 8, 9, 10,  //
                                -20, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  Context context;
  const auto scales = [&](const Scales& s, size_t segments) {
    const CodedBuffer b = EncodeWeights<Ternary>(View(w.data(), 2, 10), s, Fit::kAbsMax, context, segments);
    const auto* data = static_cast<const float*>(b.matrix().scale.data);
    return std::vector<float>(data, data + b.matrix().scale.rows * b.matrix().scale.cols);
  };
  using V = std::vector<float>;
  EXPECT_EQ(scales({}, 1), (V{10, 20}));
  EXPECT_EQ(scales({}, 2), (V{10, 20}));
  EXPECT_EQ(scales({.per_tensor = true}, 1), (V{20}));
  EXPECT_EQ(scales({.per_tensor = true}, 5), (V{20}));
  EXPECT_EQ(scales({.group_k = 4}, 1), (V{4, 8, 10, 20, 0, 0}));
  EXPECT_EQ(scales({.group_k = 4}, 2), (V{4, 5, 9, 10, 20, 0, 0, 0}));
  EXPECT_EQ(scales({.group_k = 100}, 2), (V{5, 10, 20, 0}));
  EXPECT_EQ(scales({.group_k = 1}, 10).size(), 20u);
}

TEST(Encode, EqualsTheDefinitionForAllFormatsTypesAndThreads) {
  std::minstd_rand random(5);
  testing::ThreeThreads threads;
  Context context, parallel(threads.AsExecutor());
  const size_t n = 37, k = 66, stride = 70;
  std::vector<float> f32(n * stride);
  std::vector<BF16> bf16(f32.size());
  std::vector<F16> f16(f32.size());
  for (size_t i = 0; i < f32.size(); ++i) {
    bf16[i] = ToBF16((static_cast<float>(random() % 2001) - 1000) / 256);  // 8 bits: the same in all three
    f32[i] = ToFloat(bf16[i]);
    f16[i] = ToF16(f32[i]);
  }
  const ConstMatrixView views[] = {View(static_cast<const float*>(f32.data()), n, k, stride),
                                   View(static_cast<const BF16*>(bf16.data()), n, k, stride),
                                   View(static_cast<const F16*>(f16.data()), n, k, stride)};
  for (const testing::TestFormat& f : testing::AllFormats()) {
    for (const Fit fit : {Fit::kAbsMax, Fit::kAbsMean, Fit::kAbsMedian, Fit::kMinMax}) {
      if (fit == Fit::kMinMax && f.info.map == Map::kTable) continue;
      if (fit == Fit::kAbsMax && f.info.zero_x2 == 2 * (f.info.codes - 1)) continue;
      for (const size_t group_k : {0u, 16u, 25u}) {
        Scales s;
        s.group_k = group_k;
        s.has_offset = fit == Fit::kMinMax;
        s.per_tensor = group_k == 0 && f.info.bits % 2 == 0;
        const PackedBuffer w = QuantizeWeights(views[0], f.info, s, fit, context, 2, f.TableData());
        ASSERT_TRUE(w.matrix().Verify().ok());
        for (const ConstMatrixView& view : views) {
          const PackedBuffer same = QuantizeWeights(view, f.info, s, fit, parallel, 2, f.TableData());
          ASSERT_TRUE(std::equal(same.bytes().begin(), same.bytes().end(), w.bytes().begin(), w.bytes().end()));
        }
        // No code is nearer to the weight than the chosen one.
        const PackedMatrix m = w;
        for (size_t row = 0; row < n; ++row) {
          for (size_t i = 0; i < k; ++i) {
            const size_t group = group_k == 0 ? 0 : i / 33 * ((33 + group_k - 1) / group_k) + i % 33 / group_k;
            const double scale = m.ScaleOf(row, group), offset = m.OffsetOf(row, group), x = f32[row * stride + i];
            const double error = std::fabs(f.values[m.Code(row, i)] * scale + offset - x);
            for (size_t c = 0; c < f.info.codes; ++c) {
              ASSERT_LE(error, std::fabs(f.values[c] * scale + offset - x) + 4e-6) << f.info.name.data() << ' ' << x;
            }
          }
        }
      }
    }
  }
}

TEST(Encode, EmptyShapesAndStrides) {
  Context context;
  for (const auto& [n, k] : {std::pair<size_t, size_t>{0, 0}, {0, 5}, {5, 0}}) {
    for (const size_t group_k : {0u, 2u}) {
      Scales s;
      s.group_k = group_k;
      EXPECT_EQ(
          QuantizeWeights<Int4>(View(static_cast<const float*>(nullptr), n, k), s, Fit::kAbsMax, context).matrix().n(),
          n);
    }
    EXPECT_EQ(QuantizeWeights<Int4>(View(static_cast<const float*>(nullptr), n, k), {.per_tensor = true}, Fit::kAbsMean,
                                    context)
                  .matrix()
                  .k(),
              k);
  }
  const std::vector<float> w = {1, 2, 3, 4};
  ConstMatrixView up = View(w.data() + 2, 2, 2);
  up.row_stride = -2;
  EXPECT_EQ(EncodeWeights<Ternary>(up, {}, Fit::kAbsMax, context).scale()[0], 4.0f);
  up.row_stride = 0;
  EXPECT_EQ(EncodeWeights<Ternary>(up, {}, Fit::kAbsMax, context).scale()[1], 4.0f);
}

TEST(Encode, NamesTheWeightThatIsNotFinite) {
  testing::ThreeThreads threads;
  Context serial, parallel(threads.AsExecutor());
  const size_t n = 300, k = 200;
  for (const float bad : {kInf, -kInf, std::nanf("")}) {
    for (const bool per_tensor : {false, true}) {
      std::vector<float> w(n * k, 1.0f);
      w[211 * k + 3] = kInf;
      w[97 * k + 198] = bad;
      w[97 * k + 199] = kInf;
      const std::string text = "EncodeWeights: w at row 97, column 198 is " +
                               std::string(std::isnan(bad) ? "nan"
                                           : bad > 0       ? "inf"
                                                           : "-inf") +
                               ", must be finite";
      for (Context* context : {&serial, &parallel}) {
        EXPECT_EQ(FailureOf([&] {
                    QuantizeWeights<Ternary>(View(w.data(), n, k), {.per_tensor = per_tensor}, Fit::kAbsMean, *context);
                  }),
                  text);
      }
    }
  }
}

TEST(Encode, Messages) {
  Context context;
  const std::vector<float> w(12, 1.0f);
  const ConstMatrixView view = View(w.data(), 3, 4);
  const auto message = [&](const ConstMatrixView& v, const FormatInfo& f, const Scales& s, Fit fit, size_t segments = 1,
                           const float* table = nullptr) {
    return FailureOf([&] { EncodeWeights(v, f, s, fit, context, segments, table); });
  };
  const std::vector<int32_t> ints(12);
  EXPECT_EQ(message(View(ints.data(), 3, 4), Int4::info, {}, Fit::kAbsMax),
            "EncodeWeights: w.type is i32, allowed are f32, bf16, f16");
  ConstMatrixView null = view;
  null.data = nullptr;
  EXPECT_EQ(message(null, Int4::info, {}, Fit::kAbsMax), "EncodeWeights: w: data is null, the shape is 3 x 4");
  EXPECT_EQ(message(view, Int4::info, {}, Fit::kAbsMax, 0), "EncodeWeights: segments is 0, must divide w.cols = 4");
  EXPECT_EQ(message(view, Int4::info, {}, Fit::kAbsMax, 3), "EncodeWeights: segments is 3, must divide w.cols = 4");
  EXPECT_EQ(message(view, Int4::info, {.type = DType::kU8}, Fit::kAbsMax),
            "EncodeWeights: scales: type is u8, allowed are f32, bf16, f16");
  EXPECT_EQ(message(view, Int4::info, {}, static_cast<Fit>(9)), "EncodeWeights: fit is 9, not a Fit");
  EXPECT_EQ(message(view, testing::Nf4::info, {}, Fit::kAbsMax),
            "EncodeWeights: table is null, format nf4 needs 16 values");
  float table[16] = {};
  EXPECT_EQ(message(view, testing::Nf4::info, {}, Fit::kAbsMax, 1, table),
            "EncodeWeights: fit is kAbsMax, format nf4 has no value above 0");
  table[9] = kInf;
  EXPECT_EQ(message(view, testing::Nf4::info, {}, Fit::kAbsMax, 1, table),
            "EncodeWeights: table[9] is inf, must be finite");
  EXPECT_EQ(message(view, IntFormat(4, 30), {}, Fit::kAbsMax),
            "EncodeWeights: fit is kAbsMax, format int4_z030 has no value above 0");
  EXPECT_EQ(message(view, IntFormat(4, 0), {}, Fit::kSignMean),
            "EncodeWeights: fit is kSignMean, format int4_z000 has no pair of values +-v");
  EXPECT_EQ(message(view, Int4::info, {}, Fit::kMinMax),
            "EncodeWeights: fit is kMinMax, it needs scales.has_offset and a format without a table");
  EXPECT_NE(message(view, testing::Five::info, {.has_offset = true}, Fit::kMinMax, 1, testing::Nf4::kValues), "");
  Context share(Share(0, 2));
  std::vector<float> many(100 * 16384, 1.0f);
  EXPECT_EQ(FailureOf([&] { EncodeWeights<Int4>(View(many.data(), 100, 16384), {}, Fit::kAbsMax, share); }),
            "EncodeWeights: context ran 50 of 100 tasks; with Share every thread would get a part of its own");
}

TEST(CodedBuffer, MovesAndOwnsItsTable) {
  Context context;
  const std::vector<float> w = {1, -1};
  CodedBuffer a;
  EXPECT_EQ(a.matrix().n, 0u);
  {
    const auto table = TableOf<testing::Nf4>();
    a = EncodeWeights(View(w.data(), 1, 2), testing::Nf4::info, {}, Fit::kAbsMax, context, 1, table.data());
  }
  const CodedBuffer b = std::move(a);
  EXPECT_EQ(a.matrix().codes, nullptr);
  EXPECT_EQ(b.matrix().table[15], 1.0f);
  EXPECT_EQ(b.matrix().codes[0], 15);
}

}}  // namespace lutra
