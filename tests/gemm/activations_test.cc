// Quantised activations equal their definition bit for bit on every target.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "lutra/activations.h"
#include "lutra/gemm/reference.h"
#include "support/guarded.h"
#include "support/random.h"
#include "support/targets.h"

namespace lutra { namespace testing { namespace {

constexpr float kInf = std::numeric_limits<float>::infinity(), kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kMost = std::numeric_limits<float>::max();

struct Quantised {  // what Quantize must produce, row by row
  std::vector<int8_t> codes;
  std::vector<float> scales;
  std::vector<int32_t> sums;
  std::vector<uint32_t> planes;
};

Quantised Reference(const ConstMatrixView& x, const ActSpec& spec) {
  const size_t stride = (x.cols + 63) / 64 * 64,
               group_k = spec.group_k == 0 ? std::max<size_t>(1, x.cols) : spec.group_k;
  const size_t groups = std::max<size_t>(1, (x.cols + group_k - 1) / group_k);
  Quantised q;
  q.codes.resize((x.rows + 1) * stride);
  q.scales.resize((x.rows + 1) * groups);
  q.sums.resize((x.rows + 1) * stride / 32);
  std::vector<float> all;
  for (size_t r = 0; r < x.rows; ++r) {
    for (size_t k = 0; k < x.cols; ++k) {
      all.push_back(LoadFloat(x.data, x.type, static_cast<ptrdiff_t>(r) * x.row_stride + static_cast<ptrdiff_t>(k)));
    }
  }
  float tensor = reference::AbsMax(all.data(), all.size());
  if (spec.fit == ActFit::kAbsMean && !all.empty()) {
    double sum = 0;
    for (size_t r = 0; r < x.rows; ++r) sum += double{reference::AbsSum(all.data() + r * x.cols, x.cols)};
    tensor = static_cast<float>(sum / static_cast<double>(all.size()));
  }
  for (size_t r = 0; r < x.rows; ++r) {
    for (size_t g = 0; g < groups; ++g) {
      const float* from = all.data() + r * x.cols + g * group_k;
      const size_t count = std::min(group_k, x.cols - g * group_k);
      const float most = spec.per_tensor ? tensor : reference::MostOf(from, count, spec.fit);
      int8_t* codes = q.codes.data() + r * stride + g * group_k;
      q.scales[r * groups + g] = reference::QuantizeRow(from, count, most, spec, codes);
    }
    for (size_t k = 0; k < stride; ++k) q.sums[(r * stride + k) / 32] += q.codes[r * stride + k];
  }
  for (size_t r = 0; spec.planes && r <= x.rows; ++r) {
    for (int bit = 0; bit < spec.bits; ++bit) {
      for (size_t k = 0; k < stride; k += 32) {
        q.planes.push_back(reference::PlaneWord(q.codes.data() + r * stride + k, spec, bit));
      }
    }
  }
  return q;
}

template <class T>
bool SameBytes(const T* a, const std::vector<T>& b) {
  return b.empty() || std::memcmp(a, b.data(), b.size() * sizeof(T)) == 0;
}

// Quantises on every target with 1 and 3 workers into guarded memory of any alignment, and compares.
void Compare(const ConstMatrixView& x, const ActSpec& spec, size_t misaligned = 0) {
  const Quantised want = Reference(x, spec);
  for (const std::string& target : TargetNames()) {
    ContextPair& contexts = ContextsOn(target);
    const size_t runs = contexts.three.runs;
    for (TargetContext* context : {&contexts.one, &contexts.other}) {
      GuardedBuffer<std::byte> memory(ActivationBytes(x.rows, x.cols, spec) + misaligned);
      const Activations got = Quantize(x, spec, {memory.data() + misaligned, memory.size() - misaligned}, *context);
      context->Check();
      ASSERT_EQ(got.m, x.rows);
      ASSERT_EQ(got.k, x.cols);
      ASSERT_EQ(got.spec, spec);
      ASSERT_EQ(reinterpret_cast<uintptr_t>(got.codes) % 64, 0u);
      ASSERT_EQ((got.m + 1) * got.stride, want.codes.size());
      ASSERT_EQ((got.m + 1) * got.groups, want.scales.size());
      ASSERT_EQ((got.m + 1) * got.blocks, want.sums.size());
      ASSERT_TRUE(SameBytes(got.codes, want.codes))
          << target << ' ' << x.rows << " x " << x.cols << " bits " << spec.bits;
      ASSERT_TRUE(SameBytes(got.scales, want.scales)) << target << ' ' << x.rows << " x " << x.cols;
      ASSERT_TRUE(SameBytes(got.sums, want.sums)) << target << ' ' << x.rows << " x " << x.cols;
      ASSERT_EQ(got.planes != nullptr, spec.planes);
      if (spec.planes) {
        ASSERT_TRUE(SameBytes(got.planes, want.planes)) << target << ' ' << x.cols << " bits " << spec.bits;
      }
      ASSERT_TRUE(memory.CanariesIntact());
      const internal::CodeRange range = internal::CodesOf(spec);
      for (size_t i = 0; i < want.codes.size(); ++i) {
        ASSERT_GE(got.codes[i], range.low + (spec.fit == ActFit::kAbsMax && spec.is_signed && spec.bits > 1));
        ASSERT_LE(got.codes[i], range.high);
      }
    }
    ASSERT_EQ(contexts.three.runs, runs + 1);
  }
}

// A matrix of `type` at the edge of readable memory.
struct Input {
  Input(DType t, size_t rows, size_t cols, size_t pad, Edge edge)
      : bytes(rows == 0 || cols == 0 ? 0 : ((rows - 1) * (cols + pad) + cols) * SizeOf(t), edge),
        view{bytes.data(), t, rows, cols, static_cast<ptrdiff_t>(cols + pad)} {}
  void Set(size_t r, size_t c, float v) const {
    const size_t i = r * static_cast<size_t>(view.row_stride) + c;
    if (view.type == DType::kF32) reinterpret_cast<float*>(bytes.data())[i] = v;
    if (view.type == DType::kBF16) reinterpret_cast<BF16*>(bytes.data())[i] = ToBF16(v);
    if (view.type == DType::kF16) reinterpret_cast<F16*>(bytes.data())[i] = ToF16(v);
  }
  void FillRandom(Random& random) const {
    for (size_t r = 0; r < view.rows; ++r) {
      for (size_t c = 0; c < view.cols; ++c) Set(r, c, random.Float() * 5);
    }
  }
  GuardedBytes bytes;
  ConstMatrixView view;
};

TEST(Activations, QuantizeEqualsReferenceBitForBit) {
  Random random{1};
  for (const size_t m : Sizes{0, 1, 31, 32, 33, 63, 64, 65, 100}) {
    for (const size_t k : Sizes{0, 1, 31, 32, 33, 63, 64, 65, 100}) {
      for (const size_t group : Sizes{0, 1, 32, 64, 96}) {  // 1: per tensor
        constexpr DType kTypes[] = {DType::kF32, DType::kBF16, DType::kF16};
        ActSpec spec{1 + static_cast<int>(random.Below(8)), group == 1, group == 1 ? 0 : group};
        spec.is_signed = spec.bits == 8 || random.Below(2) == 0;
        spec.fit = random.Below(2) == 0 ? ActFit::kAbsMax : ActFit::kAbsMean;
        spec.planes = random.Below(2) == 0;
        const Input x(random.Of(kTypes), m, k, random.Below(3), random.Below(2) == 0 ? Edge::kEnd : Edge::kBegin);
        x.FillRandom(random);
        Compare(x.view, spec, random.Below(64));
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(Activations, EveryTypeAndNumberOfBits) {
  Random random{2};
  for (const DType type : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (int bits = 1; bits <= 8; ++bits) {
      for (const ActFit fit : {ActFit::kAbsMax, ActFit::kAbsMean}) {
        for (const size_t k : Sizes{70, 2100}) {
          const Input x(type, 3, k, 1, Edge::kEnd);
          x.FillRandom(random);
          Compare(x.view, {bits, false, 0, true, fit, true});
          if (bits < 8) Compare(x.view, {bits, false, 0, false, fit, true});
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(Activations, NegativeAndZeroRowStrides) {
  Random random{3};
  const Input x(DType::kF32, 5, 40, 2, Edge::kEnd);
  x.FillRandom(random);
  ConstMatrixView view = x.view;
  view.row_stride = 0;
  Compare(view, {});
  view.data = static_cast<const float*>(view.data) + 4 * 42;
  view.row_stride = -42;
  Compare(view, {});
}

// The special rows of docs/numerics.md beside an ordinary one, which they must not touch.
TEST(Activations, NaNInfinityZeroSubnormalTiesAndLargestFloats) {
  const float tiny = std::numeric_limits<float>::denorm_min();
  const std::vector<std::vector<float>> rows = {
      {0, 0, 0, 0},
      {-0.0f, 0, -0.0f, 0},
      {1, kNaN, 2, 3},
      {1, -kNaN, kInf, 3},
      {1, kInf, 2, 3},
      {1, -kInf, 2, 3},
      {tiny, -tiny, tiny, 0},
      {0x1p-127f, 0x1p-130f, 0, 0},
      {0x1p-101f, 0, -0x1p-101f, 0},          // below 2^-100: zero
      {0x1p-100f, -0x1p-100f, 0x1p-101f, 0},  // the smallest row that counts
      {std::nextafter(0x1p-100f, 0.0f), 0, 0, 0},
      {kMost, -kMost, kMost / 2, 1},
      {127, 0.5f, 1.5f, -2.5f},  // ties to even
      {-127, 126.5f, 125.5f, -0.5f},
      {254, 1, 3, -5},
      {7, 0.5f, -1.5f, 2.5f},
      {1, -0.0f, 0x1p-149f, -0x1p-149f},
      {0.1f, -0.05f, 0.025f, 0.3f},
  };
  for (const DType type : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const int bits : {1, 2, 3, 4, 8}) {
      for (const size_t k : Sizes{4, 37, 68}) {
        const Input x(type, rows.size(), k, 0, Edge::kEnd);
        for (size_t r = 0; r < rows.size(); ++r) {
          for (size_t c = 0; c < k; ++c) x.Set(r, c, c < 2 || c + 2 >= k ? rows[r][c < 2 ? c : c + 4 - k] : 0.0f);
        }
        Compare(x.view, {bits, false, 0});
        Compare(x.view, {bits, false, 32});
        Compare(x.view, {bits, true, 0});
        Compare(x.view, {bits, false, 0, true, ActFit::kAbsMean, true});
        Compare(x.view, {bits, true, 0, true, ActFit::kAbsMean});
        if (bits < 8) Compare(x.view, {bits, false, 0, false, ActFit::kAbsMean, true});
        if (bits < 8) Compare(x.view, {bits, false, 32, false});
        if (HasFatalFailure()) return;
      }
    }
  }
}

// By hand: what the definition says, without the definition's code.
TEST(Activations, HandComputed) {
  const float x[3][4] = {{127, -127, 0.5f, 1.5f}, {1, kNaN, 2, 3}, {0x1p-101f, 0, 0, 0}};
  std::vector<std::byte> memory(ActivationBytes(3, 4));
  Context context;
  const Activations q = Quantize(View(&x[0][0], 3, 4), {}, memory, context);
  EXPECT_EQ(q.Scale(0, 0), 1.0f);
  EXPECT_EQ(std::vector<int8_t>(q.Row(0), q.Row(0) + 5), (std::vector<int8_t>{127, -127, 0, 2, 0}));
  EXPECT_EQ(q.sums[0], 2);
  EXPECT_TRUE(std::isnan(q.Scale(1, 0)));
  EXPECT_EQ(std::vector<int8_t>(q.Row(1), q.Row(1) + 4), (std::vector<int8_t>{0, 0, 0, 0}));
  EXPECT_EQ(q.Scale(2, 0), 0.0f);
  EXPECT_EQ(q.Row(2)[0], 0);
  EXPECT_EQ(q.Scale(3, 0), 0.0f) << "the row of zeros";
  for (size_t k = 0; k < q.stride; ++k) EXPECT_EQ(q.Row(3)[k], 0);
  EXPECT_EQ(q.sums[3 * q.blocks], 0);
  const ActSpec two{2, false, 0};
  memory.resize(ActivationBytes(1, 4, two));
  const float levels[4] = {1.0f, 0.5f, -0.51f, -1.0f};
  const Activations t = Quantize(View(levels, 1, 4), two, memory, context);
  EXPECT_EQ(std::vector<int8_t>(t.Row(0), t.Row(0) + 4), (std::vector<int8_t>{1, 0, -1, -1}));
}

TEST(Activations, ImportInt8CopiesAndSumsAnyCode) {
  Random random{4};
  for (const size_t m : Sizes{0, 1, 5, 64}) {
    for (const size_t k : Sizes{0, 1, 31, 33, 64, 100}) {
      const size_t stride = k + 3, padded = (k + 63) / 64 * 64;
      GuardedBuffer<int8_t> x(m == 0 || k == 0 ? 0 : (m - 1) * stride + k);
      for (int8_t& v : x) v = random.Below(4) == 0 ? int8_t{-128} : static_cast<int8_t>(random.Next());
      for (const bool tensor : {false, true}) {
        GuardedBuffer<float> scale(tensor ? 1 : m);
        for (float& s : scale) s = random.Float();
        for (const std::string& target : TargetNames()) {
          TargetContext context(target);
          GuardedBuffer<std::byte> memory(ActivationBytes(m, k));
          const Activations got =
              ImportInt8(View(static_cast<const int8_t*>(x.data()), m, k, static_cast<ptrdiff_t>(stride)),
                         {scale.data(), scale.size()}, {memory.data(), memory.size()}, context);
          context.Check();
          ASSERT_EQ(got.stride, padded);
          for (size_t r = 0; r <= m; ++r) {
            ASSERT_EQ(got.Scale(r, 0), r == m ? 0.0f : scale[tensor ? 0 : r]);
            std::vector<int32_t> sums(padded / 32);
            for (size_t c = 0; c < padded; ++c) {
              const int8_t want = r < m && c < k ? x[r * stride + c] : int8_t{0};
              ASSERT_EQ(got.Row(r)[c], want) << target;
              sums[c / 32] += want;
            }
            for (size_t b = 0; b < sums.size(); ++b) ASSERT_EQ(got.sums[r * got.blocks + b], sums[b]);
          }
        }
      }
    }
  }
}

// By hand: the formulas of docs/numerics.md for few bits.
TEST(Activations, FewBitsByHand) {
  Context context;
  const auto quantise = [&](const std::vector<float>& x, const ActSpec& spec, std::vector<int8_t>* codes) {
    std::vector<std::byte> memory(ActivationBytes(1, x.size(), spec));
    const Activations q = Quantize(View(x.data(), 1, x.size()), spec, memory, context);
    codes->assign(q.Row(0), q.Row(0) + x.size());
    return q.Scale(0, 0);
  };
  std::vector<int8_t> codes;
  // One bit: signs, and mean |x|.
  EXPECT_EQ(quantise({1, -2, 0, -0.0f, 5}, {1, false, 0, true, ActFit::kAbsMean}, &codes), 1.6f);
  EXPECT_EQ(codes, (std::vector<int8_t>{1, -1, 1, 1, 1}));
  EXPECT_EQ(quantise({1, -2, 0, -0.0f, 5}, {1, false, 0, true, ActFit::kAbsMax}, &codes), 5.0f);
  EXPECT_EQ(codes, (std::vector<int8_t>{1, -1, 1, 1, 1}));
  EXPECT_EQ(quantise({0, 0, 0}, {1, false, 0, true, ActFit::kAbsMean}, &codes), 0.0f);
  EXPECT_EQ(codes, (std::vector<int8_t>{1, 1, 1}));
  // A map of 0 and 1: what is above half of the largest.
  EXPECT_EQ(quantise({0.5f, 0.25f, 0.26f, 0, 0.1f}, {1, false, 0, false}, &codes), 0.5f);
  EXPECT_EQ(codes, (std::vector<int8_t>{1, 0, 1, 0, 0}));
  // BitNet a4.8: beta = mean |x| = 1, round(sqrt(7) x / beta), from -8 to 7.
  EXPECT_EQ(quantise({0, 0.5f, -0.5f, 5, 1, -1, -4, -0.2f, 0.25f, -0.05f, 0.3f, -0.2f, 0, 2},
                     {4, false, 0, true, ActFit::kAbsMean}, &codes),
            15.0f / 14 / 2.6457513f);
  EXPECT_EQ(codes, (std::vector<int8_t>{0, 1, -1, 7, 2, -2, -8, 0, 1, 0, 1, 0, 0, 5}));
  EXPECT_EQ(quantise({-3, 1, 2, 6}, {2, false, 0, false}, &codes), 2.0f);
  EXPECT_EQ(codes, (std::vector<int8_t>{0, 0, 1, 3}));
}

TEST(Activations, ImportOfFewBitsKeepsPlanesAndRefusesOtherCodes) {
  Random random{6};
  const float scale = 0.5f;
  for (const ActSpec& spec : {ActSpec{1, true, 0, true, ActFit::kAbsMax, true}, ActSpec{1, true, 0, false, {}, true},
                              ActSpec{3, true, 0, true, {}, true}, ActSpec{7, true, 0, false, {}, true}}) {
    const internal::CodeRange range = internal::CodesOf(spec);
    for (const size_t k : Sizes{0, 1, 31, 64, 65, 200}) {
      GuardedBuffer<int8_t> x(3 * k);
      for (int8_t& v : x) v = static_cast<int8_t>(random.Below(2) == 0 ? range.low : range.high);
      const auto view = View(static_cast<const int8_t*>(x.data()), 3, k);
      for (const std::string& target : TargetNames()) {
        TargetContext context(target);
        GuardedBuffer<std::byte> memory(ActivationBytes(3, k, spec));
        const std::span<std::byte> bytes(memory.data(), memory.size());
        const Activations got = ImportInt8(view, {&scale, 1}, spec, bytes, context);
        EXPECT_EQ(got.spec, spec);
        for (size_t r = 0; r <= 3; ++r) {
          for (int bit = 0; bit < spec.bits; ++bit) {
            for (size_t b = 0; b < got.blocks; ++b) {
              ASSERT_EQ(got.Plane(r, static_cast<size_t>(bit))[b], reference::PlaneWord(got.Row(r) + b * 32, spec, bit))
                  << target;
            }
          }
        }
        if (k == 0) continue;
        const std::vector<std::byte> before(bytes.begin(), bytes.end());
        for (const int wrong : {range.low - 1, range.high + 1, 0}) {
          if (wrong == 0 && !internal::IsBipolar(spec)) continue;
          const int8_t right = x[2 * k + k / 2];
          x[2 * k + k / 2] = static_cast<int8_t>(wrong);
          const std::string message = FailureOf([&] { (void)ImportInt8(view, {&scale, 1}, spec, bytes, context); });
          x[2 * k + k / 2] = right;
          const std::string at = "ImportInt8: x[2, " + std::to_string(k / 2) + "] is ";
          EXPECT_EQ(message.substr(0, at.size()), at);
          EXPECT_TRUE(std::equal(before.begin(), before.end(), bytes.begin()));
        }
      }
    }
  }
  const int8_t two = 2;
  std::vector<std::byte> memory(1000);
  Context context;
  const auto message = [&](const ActSpec& spec) {
    return FailureOf([&] { (void)ImportInt8(View(&two, 1, 1), {&scale, 1}, spec, memory, context); });
  };
  EXPECT_EQ(message({1}), "ImportInt8: x[0, 0] is 2, codes of 1 bits are -1 and 1");
  EXPECT_EQ(message({1, false, 0, false}), "ImportInt8: x[0, 0] is 2, codes of 1 bits without sign are 0 ... 1");
  EXPECT_EQ(message({2}), "ImportInt8: x[0, 0] is 2, codes of 2 bits are -2 ... 1");
  EXPECT_EQ(message({9}), "ImportInt8: spec.bits is 9, allowed is 1 ... 8");
}

TEST(Activations, BufferGrowsAndKeeps) {
  Context context;
  ActivationBuffer buffer;
  const std::vector<float> x(64 * 32, 1.0f);
  const int8_t* const big = buffer.Quantize(View(x.data(), 64, 32), context).codes;
  EXPECT_EQ(buffer.Quantize(View(x.data(), 2, 32), context).codes, big) << "a smaller batch needs no memory";
  ActivationBuffer moved = std::move(buffer);
  const Activations& q = moved.Quantize(View(x.data(), 3, 32), context);
  EXPECT_EQ(q.codes, big);
  EXPECT_EQ(q.Row(2)[31], 127);
}

TEST(Activations, WrongArgumentsAreNamedAndNothingIsWritten) {
  Context context;
  const std::vector<float> x(8, 1.0f);
  const std::vector<int8_t> q(8);
  const std::vector<float> scale(3, 1.0f);
  std::vector<std::byte> memory(1000, std::byte{7});
  const std::vector<std::byte> before = memory;
  const auto message = [&](auto view, const ActSpec& spec, std::span<std::byte> bytes) {
    return FailureOf([&] { (void)Quantize(view, spec, bytes, context); });
  };
  const auto v = View(x.data(), 2, 4);
  EXPECT_EQ(message(v, {0, false, 0}, memory), "Quantize: spec.bits is 0, allowed is 1 ... 8");
  EXPECT_EQ(message(v, {9, false, 0}, memory), "Quantize: spec.bits is 9, allowed is 1 ... 8");
  EXPECT_EQ(message(v, {8, false, 0, false}, memory), "Quantize: spec.bits is 8, allowed is 1 ... 7 without sign");
  EXPECT_EQ(message(v, {8, false, 33}, memory), "Quantize: spec.group_k is 33, must be a multiple of 32");
  EXPECT_EQ(message(v, {8, true, 32}, memory), "Quantize: spec.group_k is 32, must be 0 with per_tensor");
  const std::string need = std::to_string(ActivationBytes(2, 4));
  EXPECT_EQ(message(v, {}, std::span(memory).first(5)), "Quantize: memory has 5 bytes, 2 x 4 need " + need);
  EXPECT_EQ(message(View(q.data(), 2, 4), {}, memory),
            "Quantize: x.type is i8, allowed are f32, bf16, f16 (i8: ImportInt8)");
  EXPECT_EQ(message(ConstMatrixView{nullptr, DType::kF32, 2, 4, 4}, {}, memory),
            "Quantize: data is null, the shape is 2 x 4");
  EXPECT_EQ(FailureOf([&] { (void)ImportInt8(v, scale, memory, context); }), "ImportInt8: x.type is f32, must be i8");
  EXPECT_EQ(FailureOf([&] { (void)ImportInt8(View(q.data(), 2, 4), scale, memory, context); }),
            "ImportInt8: scale has 3 values, must be 1 or x.rows = 2");
  EXPECT_EQ(FailureOf([&] {
              (void)ActivationBytes(1, 1, {0, false, 0});
            }),
            "ActivationBytes: spec.bits is 0, allowed is 1 ... 8");
  for (const auto& [m, k] :
       {std::pair<size_t, size_t>{1, SIZE_MAX}, {SIZE_MAX, 1}, {0, SIZE_MAX - 63}, {1u << 31, SIZE_MAX >> 20}}) {
    EXPECT_NE(FailureOf([&, rows = m, cols = k] { (void)ActivationBytes(rows, cols); }).find("do not fit into memory"),
              std::string::npos);
  }
  EXPECT_EQ(memory, before);
}

}}}  // namespace lutra::testing
