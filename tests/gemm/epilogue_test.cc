// The epilogue against its definition: bit for bit, except for SiLU and GELU, which have bounds.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "support/gemm_problem.h"

namespace lutra { namespace testing { namespace {

constexpr float kInf = std::numeric_limits<float>::infinity(), kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kMost = std::numeric_limits<float>::max(), kTiny = std::numeric_limits<float>::denorm_min();

// The sums that enter the epilogue are the values of x: K is 1 and every weight is 1. (0 * 1 + 0 is +0; a scale of -1
// makes -0 of it.)
class EpilogueOf {
 public:
  EpilogueOf(const std::vector<float>& values, size_t n, DType type, size_t pad = 0)
      : values_(values), m_(values.size()), n_(n), stride_(n + pad), type_(type), bytes_(m_ * stride_ * SizeOf(type)) {
    const std::vector<uint8_t> codes(n, 2);
    const float one = 1.0f;
    CodedMatrix coded;
    coded.format = Ternary::info;
    coded.scales.per_tensor = true;
    coded.n = n;
    coded.k = coded.code_stride = 1;
    coded.codes = codes.data();
    coded.scale = View(&one, 1, 1);
    Context context;
    w_ = Pack(coded, context);
    Random random{n};
    for (unsigned char& b : bytes_) b = static_cast<unsigned char>(random.Below(64));  // finite in every type
  }
  MatrixView Y(std::vector<unsigned char>& bytes) const {
    return {bytes.data(), type_, m_, n_, static_cast<ptrdiff_t>(stride_)};
  }
  const std::vector<unsigned char>& initial() const { return bytes_; }

  std::vector<unsigned char> Want(const Epilogue& e) const {
    std::vector<unsigned char> y = bytes_;
    for (size_t m = 0; m < m_; ++m) {
      for (size_t n = 0; n < n_; ++n) {
        reference::Finish(std::fma(values_[m], 1.0f, 0.0f), e, m, n, y.data() + (m * stride_ + n) * SizeOf(type_),
                          type_);
      }
    }
    return y;
  }
  std::vector<unsigned char> Got(const Epilogue& e, const std::string& target) const {
    std::vector<unsigned char> y = bytes_;
    Run(e, target, y);
    return y;
  }
  void Run(const Epilogue& e, const std::string& target, std::vector<unsigned char>& y) const {
    TargetContext context(target);
    Gemm<>(View(values_.data(), m_, 1), w_, Y(y), context, e);
    context.Check();
  }
  // Fails where an element differs; NaNs are equal.
  void Compare(const Epilogue& e) const {
    const std::vector<unsigned char> want = Want(e);
    for (const std::string& target : TargetNames()) ExpectSame(Got(e, target), want, target);
  }
  void ExpectSame(const std::vector<unsigned char>& got, const std::vector<unsigned char>& want,
                  const std::string& target) const {
    if (got == want) return;
    for (size_t i = 0; i < m_ * stride_; ++i) {
      const size_t size = SizeOf(type_);
      if (std::memcmp(got.data() + i * size, want.data() + i * size, size) == 0) continue;
      const float g = LoadFloat(got.data(), type_, static_cast<ptrdiff_t>(i));
      const float w = LoadFloat(want.data(), type_, static_cast<ptrdiff_t>(i));
      ASSERT_TRUE(std::isnan(g) && std::isnan(w))
          << target << ' ' << NameOf(type_) << ": " << g << ", must be " << w << " for " << values_[i / stride_];
    }
  }

 private:
  std::vector<float> values_;
  size_t m_, n_, stride_;
  DType type_;
  std::vector<unsigned char> bytes_;
  PackedBuffer w_;
};

const std::vector<float>& Values() {
  static const std::vector<float> values = [] {
    std::vector<float> v = {0.0f,   1.0f,    -1.0f,    0.5f,     -0.5f,    1.5f,     2.5f,    -2.5f,      127.0f,
                            127.5f, 128.5f,  -128.0f,  -128.5f,  -129.0f,  255.0f,   255.5f,  256.0f,     1e9f,
                            -1e9f,  3e38f,   -3e38f,   kMost,    -kMost,   kInf,     -kInf,   kNaN,       -kNaN,
                            kTiny,  -kTiny,  65504.0f, 65519.0f, 65520.0f, 1e-7f,    6e-8f,   3.1f,       -3.1f,
                            1e-40f, -1e-40f, 2.98e-8f, 5.97e-8f, 0x1p31f,  -0x1p31f, 0x1p63f, 0.33333334f};
    Random random{11};
    while (v.size() < 100) v.push_back(random.Float() * 300);
    return v;
  }();
  return values;
}
constexpr DType kOutputs[] = {DType::kF32, DType::kBF16, DType::kF16, DType::kI8, DType::kU8};

struct Operands {  // per channel, and per row and channel
  std::vector<float> scale, bias, wide;
  std::vector<BF16> wide_bf16;
  std::vector<F16> wide_f16;
  explicit Operands(size_t n, size_t m = Values().size()) {
    Random random{5};
    for (size_t i = 0; i < n; ++i) scale.push_back(i % 5 == 0 ? -1.0f : random.Float() * 2);
    for (size_t i = 0; i < n; ++i) bias.push_back(i % 4 == 0 ? -0.0f : random.Float());
    for (size_t i = 0; i < m * n; ++i) {
      wide.push_back(random.Float() * 3);
      wide_bf16.push_back(ToBF16(random.Float() * 3));
      wide_f16.push_back(ToF16(random.Float() * 3));
    }
  }
};

TEST(Epilogue, OutputConversionsEqualTheScalarOnes) {
  for (const DType type : kOutputs) {
    for (const size_t n : Sizes{1, 33, 97}) EpilogueOf(Values(), n, type).Compare({});
  }
}

TEST(Epilogue, EachStepAlone) {
  const size_t n = 37;
  const Operands o(n);
  for (const DType type : kOutputs) {
    const EpilogueOf p(Values(), n, type, 2);
    Epilogue scale, bias, relu, squared, clamp;
    scale.scale = o.scale.data();
    bias.bias = o.bias.data();
    relu.act = Act::kRelu;
    squared.act = Act::kSquaredRelu;
    clamp.clamp = true;
    clamp.lo = -2.0f;
    clamp.hi = 100.0f;
    for (const Epilogue& e : {scale, bias, relu, squared, clamp}) p.Compare(e);
    for (const ConstMatrixView& view : {ConstMatrixView(View(o.wide.data(), Values().size(), n)),
                                        ConstMatrixView(View(o.wide_bf16.data(), Values().size(), n)),
                                        ConstMatrixView(View(o.wide_f16.data(), Values().size(), n))}) {
      Epilogue mul, residual;
      mul.mul = view;
      residual.residual = view;
      p.Compare(mul);
      p.Compare(residual);
      mul.mul.row_stride = 0;  // one row for all, by its stride
      p.Compare(mul);
    }
    if (IsFloat(type)) {
      Epilogue accumulate;
      accumulate.accumulate = true;
      p.Compare(accumulate);
    }
  }
}

TEST(Epilogue, AllStepsTogetherInTheirOrder) {
  const size_t n = 70;
  const Operands o(n);
  for (const DType type : kOutputs) {
    Epilogue e;
    e.scale = o.scale.data();
    e.bias = o.bias.data();
    e.act = Act::kSquaredRelu;
    e.clamp = true;
    e.lo = 0.25f;
    e.hi = 40.0f;
    e.mul = View(o.wide_bf16.data(), Values().size(), n);
    e.residual = View(o.wide.data(), Values().size(), n);
    e.accumulate = IsFloat(type);
    e.out_scale = 3.0f;
    e.out_zero = 5;
    EpilogueOf(Values(), n, type, 1).Compare(e);
  }
}

// ((3 * 2 + 1), squared) = 49, clamped to 40, * 0.5 + 7 = 27, + 100 in y.
TEST(Epilogue, HandComputed) {
  const float scale = 2, bias = 1, mul = 0.5f, residual = 7;
  Epilogue e;
  e.scale = &scale;
  e.bias = &bias;
  e.act = Act::kSquaredRelu;
  e.clamp = true;
  e.lo = 0;
  e.hi = 40;
  e.mul = View(&mul, 1, 1);
  e.residual = View(&residual, 1, 1);
  e.accumulate = true;
  const EpilogueOf p({3.0f}, 1, DType::kF32);
  std::vector<unsigned char> y(4);
  const float hundred = 100;
  for (const std::string& target : TargetNames()) {
    std::memcpy(y.data(), &hundred, 4);
    p.Run(e, target, y);
    EXPECT_EQ(LoadFloat(y.data(), DType::kF32, 0), 127.0f) << target;
  }
}

TEST(Epilogue, OneRowOperandIsBroadcast) {
  const size_t n = 40;
  const Operands o(n);
  const EpilogueOf p(Values(), n, DType::kF32);
  Epilogue one, wide;
  one.mul = one.residual = View(o.scale.data(), 1, n);
  wide.mul = wide.residual = {o.scale.data(), DType::kF32, Values().size(), n, 0};
  for (const std::string& target : TargetNames()) {
    p.ExpectSame(p.Got(one, target), p.Want(wide), target);
    p.ExpectSame(p.Got(one, target), p.Want(one), target);
  }
}

TEST(Epilogue, ResidualMayBeYItself) {
  const size_t n = 45;
  for (const DType type : {DType::kF32, DType::kBF16, DType::kF16}) {
    const EpilogueOf p(Values(), n, type, 3);
    std::vector<unsigned char> before = p.initial();
    Epilogue apart, in_place;
    apart.residual = p.Y(before);
    const std::vector<unsigned char> want = p.Want(apart);
    for (const std::string& target : TargetNames()) {
      std::vector<unsigned char> y = p.initial();
      in_place.residual = p.Y(y);
      p.Run(in_place, target, y);
      p.ExpectSame(y, want, target);
    }
  }
}

// Without `accumulate` y is never read: NaN in it does not come through.
TEST(Epilogue, YIsNotReadWithoutAccumulate) {
  const EpilogueOf p({1.0f, 2.0f}, 33, DType::kF32);
  for (const std::string& target : TargetNames()) {
    std::vector<unsigned char> y(p.initial().size(), 0xFF);
    p.Run({}, target, y);
    for (size_t i = 0; i < 66; ++i)
      EXPECT_EQ(LoadFloat(y.data(), DType::kF32, static_cast<ptrdiff_t>(i)), i < 33 ? 1.0f : 2.0f);
  }
}

TEST(Epilogue, MinusZeroAndNaNThroughReluAndClamp) {
  const float minus = -1.0f;
  Epilogue relu;
  relu.scale = &minus;
  relu.act = Act::kRelu;
  const EpilogueOf p({0.0f, 5.0f, kNaN}, 1, DType::kF32);
  for (const std::string& target : TargetNames()) {
    const std::vector<unsigned char> y = p.Got(relu, target);
    EXPECT_EQ(LoadFloat(y.data(), DType::kF32, 0), 0.0f);
    EXPECT_TRUE(std::signbit(LoadFloat(y.data(), DType::kF32, 0))) << "-0 is not below 0";
    EXPECT_EQ(LoadFloat(y.data(), DType::kF32, 1), 0.0f);
    EXPECT_TRUE(std::isnan(LoadFloat(y.data(), DType::kF32, 2)));
    Epilogue clamp;
    clamp.clamp = true;
    clamp.lo = clamp.hi = 3.0f;
    EXPECT_TRUE(std::isnan(LoadFloat(p.Got(clamp, target).data(), DType::kF32, 2))) << "NaN passes a clamp";
    EXPECT_EQ(LoadFloat(p.Got(clamp, target).data(), DType::kF32, 1), 3.0f);
  }
}

TEST(Epilogue, QuantisedOutputsAtTheExtremesOfZeroAndScale) {
  for (const DType type : {DType::kI8, DType::kU8}) {
    const EpilogueOf p(Values(), 34, type);
    for (const int32_t zero : {-128, -127, -1, 0, 1, 127, 128, 254, 255}) {
      for (const float scale : {1.0f, -1.0f, 0.0f, 0.03f, 1e30f, kInf, kNaN}) {
        Epilogue e;
        e.out_zero = zero;
        e.out_scale = scale;
        p.Compare(e);
      }
    }
  }
}

TEST(Epilogue, QuantisedNaNIsTheZeroPointAndTiesGoToEven) {
  const EpilogueOf p({kNaN, 0.5f, 1.5f, 2.5f, kInf, -kInf}, 1, DType::kU8);
  Epilogue e;
  e.out_zero = 10;
  for (const std::string& target : TargetNames()) {
    EXPECT_EQ(p.Got(e, target), (std::vector<unsigned char>{10, 10, 12, 12, 255, 0})) << target;
  }
}

// SiLU and GELU against the true value t of v, computed in double:
//   SiLU        |error| <= 2^-21 |t| + 1e-36: some roundings; 1e-36 where exp(-v) is infinite in float.
//   GELU, tanh  |error| <= 2^-21 (1 + |2 u|) |t| + 1e-36: u, the argument of the exponential, is rounded as well.
//   GELU        |error| <= 2.5e-7 |v|: erf is within 2e-7, and 1 + erf is rounded.
double True(Act act, double v) {
  if (act == Act::kSilu) return v / (1 + std::exp(-v));
  if (act == Act::kGelu) return 0.5 * v * std::erfc(-v * std::sqrt(0.5));
  const double u = std::sqrt(2 / std::acos(-1.0)) * (v + 0.044715 * v * v * v);
  return v / (1 + std::exp(-2 * u));
}
double Bound(Act act, double v) {
  const double t = std::fabs(True(act, v));
  if (act == Act::kGelu) return 2.5e-7 * std::fabs(v) + 1e-37;
  if (act == Act::kSilu) return t * 0x1p-21 + 1e-36;
  const double twice_u = 1.6 * std::fabs(v + 0.0447 * v * v * v);
  return t * (1 + std::min(twice_u, 104.0)) * 0x1p-21 + 1e-36;
}

TEST(Epilogue, SiluAndGeluAreWithinTheirBounds) {
  std::vector<float> values;
  for (int i = -4000; i <= 4000; ++i) values.push_back(static_cast<float>(i) * 0.031f);
  for (float v = 1e-38f; v < 1e38f; v *= 3.7f) {
    values.push_back(v);
    values.push_back(-v);
  }
  for (const float v : {87.3f, 88.0f, 88.7f, 88.8f, 89.0f, 103.9f, 104.0f, 104.1f, 105.0f, 150.0f, 200.0f, 1000.0f}) {
    values.push_back(v);
    values.push_back(-v);
  }
  const EpilogueOf p(values, 1, DType::kF32);
  for (const Act act : {Act::kSilu, Act::kGelu, Act::kGeluTanh}) {
    Epilogue e;
    e.act = act;
    const std::vector<unsigned char> scalar = p.Want(e);
    for (const std::string& target : TargetNames()) {
      const std::vector<unsigned char> y = p.Got(e, target);
      for (size_t i = 0; i < values.size(); ++i) {
        const auto v = static_cast<double>(values[i]);
        const float got = LoadFloat(y.data(), DType::kF32, static_cast<ptrdiff_t>(i));
        const double true_v = True(act, v);
        const double bound = std::min(Bound(act, v), 1e-6 * std::max(1.0, std::fabs(v)));  // the second is what is said
        ASSERT_NEAR(got, true_v, bound) << target << " act " << static_cast<int>(act) << " of " << v;
        // The definition in float is held to the same bound: it is what the kernels approximate.
        ASSERT_NEAR(LoadFloat(scalar.data(), DType::kF32, static_cast<ptrdiff_t>(i)), true_v, bound) << "of " << v;
      }
    }
  }
}

TEST(Epilogue, SiluAndGeluOfNaNInfinityAndZero) {
  const EpilogueOf p({kNaN, kInf, 0.0f, kMost, -kMost}, 1, DType::kF32);
  for (const Act act : {Act::kSilu, Act::kGelu, Act::kGeluTanh}) {
    Epilogue e;
    e.act = act;
    for (const std::string& target : TargetNames()) {
      const std::vector<unsigned char> y = p.Got(e, target);
      EXPECT_TRUE(std::isnan(LoadFloat(y.data(), DType::kF32, 0)));
      EXPECT_EQ(LoadFloat(y.data(), DType::kF32, 1), kInf) << target << static_cast<int>(act);
      EXPECT_EQ(LoadFloat(y.data(), DType::kF32, 2), 0.0f);
      EXPECT_EQ(LoadFloat(y.data(), DType::kF32, 3), kMost);
      EXPECT_EQ(LoadFloat(y.data(), DType::kF32, 4), 0.0f) << target << static_cast<int>(act);
    }
  }
}

}}}  // namespace lutra::testing
