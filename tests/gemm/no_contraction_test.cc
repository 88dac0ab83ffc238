// Mul then Add rounds twice, on targets with FMA too: each case has operands for which once would be another number.
#include <gtest/gtest.h>

#include <cmath>

#include "support/gemm_problem.h"

namespace lutra { namespace testing { namespace {

float Rounded(float v) {  // what this test computes itself must not be contracted either
  volatile float stored = v;
  return stored;
}
float MulThenAdd(float a, float b, float c) { return Rounded(Rounded(a * b) + c); }

// Random floats with full mantissas in [1, 2), signs included.
float Full(Random& random) {
  const auto bits = static_cast<uint32_t>(random.Next());
  return std::bit_cast<float>((bits & 0x807FFFFFu) | 0x3F800000u);
}

// The integer path: run = run + t * scale_w over two groups, each then + float(sum q) * offset_w; acc = run * scale_x.
class Spans {
 public:
  static constexpr size_t kN = 64;
  explicit Spans(bool offsets) : offsets_(offsets) {
    Random random{offsets ? 3u : 4u};
    std::vector<uint8_t> codes(kN * 64);
    for (uint8_t& c : codes) c = static_cast<uint8_t>(random.Below(16));
    for (float& v : scale_) v = Full(random);
    for (float& v : offset_) v = Full(random);
    for (int8_t& v : x_) v = static_cast<int8_t>(random.Next());
    x_scale_ = Full(random);
    CodedMatrix coded;
    coded.format = Int4::info;
    coded.scales.group_k = 32;
    coded.scales.has_offset = offsets;
    coded.n = kN;
    coded.k = coded.code_stride = 64;
    coded.codes = codes.data();
    coded.scale = View(scale_, kN, 2);
    coded.offset = View(offset_, kN, 2);
    Context context;
    w_ = Pack(coded, context);
  }
  // Step by step; `fused`: the same with fma. Returns how many of kN differ.
  size_t Differ() const {
    size_t differ = 0;
    for (size_t n = 0; n < kN; ++n) differ += Output(n, false) != Output(n, true);
    return differ;
  }
  float Output(size_t n, bool fused) const {
    const PackedMatrix w = w_.matrix();
    float run = 0;
    for (size_t g = 0; g < 2; ++g) {
      int sum = 0, x_sum = 0;
      for (size_t k = g * 32; k < g * 32 + 32; ++k) {
        sum += x_[k] * (static_cast<int>(w.Code(n, k)) - 8);
        x_sum += x_[k];
      }
      const float scale = scale_[n * 2 + g], offset = offset_[n * 2 + g];
      const auto t = static_cast<float>(sum), s = static_cast<float>(x_sum);
      run = fused ? std::fma(t, scale, run) : MulThenAdd(t, scale, run);
      if (offsets_) run = fused ? std::fma(s, offset, run) : MulThenAdd(s, offset, run);
    }
    return Rounded(run * x_scale_);
  }
  void Expect(GemmAlgo algo) const {
    ASSERT_GE(Differ(), kN / 8) << "the operands tell the two apart";
    for (const std::string& target : TargetNames()) {
      TargetContext context(target);
      std::vector<std::byte> memory(ActivationBytes(1, 64));
      const Activations xq = ImportInt8(View(x_, 1, 64), {&x_scale_, 1}, memory, context);
      float y[kN];
      GemmCall call;
      call.xq = &xq;
      call.w = w_;
      call.y = View(y, 1, kN);
      call.algo = algo;
      Gemm<>(std::span<const GemmCall>(&call, 1), context);
      context.Check();
      for (size_t n = 0; n < kN; ++n) ASSERT_EQ(y[n], Output(n, false)) << target << ' ' << n;
    }
  }

 private:
  bool offsets_;
  float scale_[kN * 2], offset_[kN * 2], x_scale_ = 0;
  int8_t x_[64];
  PackedBuffer w_;
};

TEST(NoContraction, ScaleStepIsMulThenAdd) {
  Spans(false).Expect(GemmAlgo::kIntDot);
  Spans(false).Expect(GemmAlgo::kIntLanes);
}
TEST(NoContraction, OffsetStepIsMulThenAdd) {
  Spans(true).Expect(GemmAlgo::kIntDot);
  Spans(true).Expect(GemmAlgo::kIntLanes);
}

// One row of x = 1 and weights of 1: the sums are x; each step of the epilogue, and each decoded weight, by operands.
class Steps {
 public:
  static constexpr size_t kN = 64;
  Steps() {
    Random random{9};
    for (size_t n = 0; n < kN; ++n) {
      a_[n] = Full(random);
      b_[n] = Full(random);
      c_[n] = Full(random);
      fused_differs_ += MulThenAdd(a_[n], b_[n], c_[n]) != std::fma(a_[n], b_[n], c_[n]);
    }
  }
  // Weights of value 1 * scale + offset.
  static PackedBuffer Weights(const float* scale, const float* offset) {
    const std::vector<uint8_t> codes(kN, 2);
    CodedMatrix coded;
    coded.format = Ternary::info;
    coded.scales.has_offset = offset != nullptr;
    coded.n = kN;
    coded.k = coded.code_stride = 1;
    coded.codes = codes.data();
    coded.scale = View(scale, kN, 1);
    if (offset != nullptr) coded.offset = View(offset, kN, 1);
    Context context;
    return Pack(coded, context);
  }
  static void Run(const PackedBuffer& w, float x, const Epilogue& e, const std::string& target, float* y) {
    TargetContext context(target);
    Gemm<>(View(static_cast<const float*>(&x), 1, 1), w, View(y, 1, kN), context, e);
    context.Check();
  }
  float a_[kN], b_[kN], c_[kN];
  size_t fused_differs_ = 0;
};

TEST(NoContraction, EpilogueScaleThenBiasRoundsTwice) {
  const Steps s;
  ASSERT_GT(s.fused_differs_, Steps::kN / 4);
  Epilogue e;
  e.scale = s.b_;
  e.bias = s.c_;
  const PackedBuffer w = Steps::Weights(s.a_, nullptr);
  for (const std::string& target : TargetNames()) {
    float y[Steps::kN];
    Steps::Run(w, 1.0f, e, target, y);
    for (size_t n = 0; n < Steps::kN; ++n) ASSERT_EQ(y[n], MulThenAdd(s.a_[n], s.b_[n], s.c_[n])) << target;
  }
}

TEST(NoContraction, EpilogueMulThenResidualRoundsTwice) {
  const Steps s;
  Epilogue e;
  e.mul = View(s.b_, 1, Steps::kN);
  e.residual = View(s.c_, 1, Steps::kN);
  const PackedBuffer w = Steps::Weights(s.a_, nullptr);
  for (const std::string& target : TargetNames()) {
    float y[Steps::kN];
    Steps::Run(w, 1.0f, e, target, y);
    for (size_t n = 0; n < Steps::kN; ++n) ASSERT_EQ(y[n], MulThenAdd(s.a_[n], s.b_[n], s.c_[n])) << target;
  }
}

TEST(NoContraction, EpilogueMulThenAccumulateRoundsTwice) {
  const Steps s;
  Epilogue e;
  e.mul = View(s.b_, 1, Steps::kN);
  e.accumulate = true;
  const PackedBuffer w = Steps::Weights(s.a_, nullptr);
  for (const std::string& target : TargetNames()) {
    float y[Steps::kN];
    std::memcpy(y, s.c_, sizeof(y));
    Steps::Run(w, 1.0f, e, target, y);
    for (size_t n = 0; n < Steps::kN; ++n) ASSERT_EQ(y[n], MulThenAdd(s.a_[n], s.b_[n], s.c_[n])) << target;
  }
}

// Scale and offset of the float path: 7 * b of one span, to which 1 * c is added: int4's code 15 is 7.
TEST(NoContraction, SumTimesScaleRoundsBeforeTheOffset) {
  const Steps s;
  const std::vector<uint8_t> codes(Steps::kN, 15);
  CodedMatrix coded;
  coded.format = Int4::info;
  coded.scales.has_offset = true;
  coded.n = Steps::kN;
  coded.k = coded.code_stride = 1;
  coded.codes = codes.data();
  coded.scale = View(s.b_, Steps::kN, 1);
  coded.offset = View(s.c_, Steps::kN, 1);
  Context context;
  const PackedBuffer w = Pack(coded, context);
  size_t differ = 0;
  for (const std::string& target : TargetNames()) {
    float y[Steps::kN];
    Steps::Run(w, 1.0f, {}, target, y);
    for (size_t n = 0; n < Steps::kN; ++n) {
      ASSERT_EQ(y[n], MulThenAdd(7.0f, s.b_[n], s.c_[n])) << target;
      differ += y[n] != std::fma(7.0f, s.b_[n], s.c_[n]);
    }
  }
  EXPECT_GT(differ, 0u);
}

// The float path is the other way round: one rounding per multiply-add where the target has FMA.
TEST(NoContraction, FloatPathIsFusedOnTargetsWithFma) {
  Random random{10};
  const float x[2] = {Full(random), Full(random)};
  const std::vector<uint8_t> codes(2 * Steps::kN, 2);
  float scale[Steps::kN * 2];
  for (float& v : scale) v = Full(random);
  CodedMatrix coded;
  coded.format = Ternary::info;
  coded.scales.group_k = 1;
  coded.n = Steps::kN;
  coded.k = coded.code_stride = 2;
  coded.codes = codes.data();
  coded.scale = View(scale, Steps::kN, 2);
  Context pack;
  const PackedBuffer w = Pack(coded, pack);
  size_t differ = 0;
  for (const std::string& target : TargetNames()) {
    TargetContext context(target);
    float y[Steps::kN];
    Gemm<>(View(x, 1, 2), w, View(y, 1, Steps::kN), context);
    for (size_t n = 0; n < Steps::kN; ++n) {
      const float first = Rounded(x[0] * scale[2 * n]), twice = MulThenAdd(x[1], scale[2 * n + 1], first);
      const float once = std::fma(x[1], scale[2 * n + 1], first);
      ASSERT_EQ(y[n], HasFma(target) ? once : twice) << target;
      differ += once != twice;
    }
  }
  EXPECT_GT(differ, 0u);
}

}}}  // namespace lutra::testing
