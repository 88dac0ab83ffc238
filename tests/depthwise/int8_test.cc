// Integer taps on every target against the definition, bit for bit, in guarded memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "depthwise/cases.h"
#include "lutra/channel_split.h"
#include "lutra/depthwise/reference.h"
#include "support/targets.h"

namespace lutra { namespace testing { namespace {

constexpr size_t kScratch = size_t{4} << 20;
constexpr DType kOutTypes[] = {DType::kI8, DType::kU8, DType::kF32, DType::kBF16, DType::kF16};

// The cases of f32 taps without what integer taps have not.
std::vector<ConvCase> IntCases() {
  std::vector<ConvCase> cases = ConvCases();
  for (ConvCase& t : cases) t.geometry.reweight = false;
  return cases;
}

// A case with its data: taps, zero points and what the epilogue does follow from its seed.
template <class T>
struct IntCase {
  explicit IntCase(const ConvCase& t)
      : random(t.seed),
        taps(t.kh * t.kw * t.c),
        bias(t.c),
        scale(t.c),
        scales(t.c),
        biases(t.c),
        mul(t.c),
        kernel(Make(t)),
        plan(kernel, t.h, t.w, t.layout),
        in(t.layout, t.n, t.h, t.w, t.c, t.in_gaps, t.seed % 2 ? Edge::kEnd : Edge::kBegin),
        residual(t.n * plan.out_h() * plan.out_w() * t.c) {
    in.Randomize(t.seed + 1);
    for (const auto* buffer : {&scales, &biases, &mul, &residual}) {
      for (float& v : *buffer) v = random.Value();
    }
    epilogue.out_scale = t.epilogue % 2 ? 0.75f : 1.0f;
    epilogue.out_zero = static_cast<int32_t>(random.Below(256)) - 128;
    if (t.epilogue >= 1) epilogue.bias = biases.data();
    if (t.epilogue == 2) epilogue.act = Act::kRelu;
    if (t.epilogue == 3) {
      epilogue.scale = scales.data();
      epilogue.clamp = true;
      epilogue.lo = -20.0f;
      epilogue.hi = 35.0f;
      epilogue.mul = View(static_cast<const float*>(mul.data()), 1, t.c, 0);
      if (t.layout == Layout::kNhwc) {
        epilogue.residual = View(static_cast<const float*>(residual.data()), residual.size() / t.c, t.c);
      }
    }
  }
  ConstImageView Taps(const ConvCase& t) const {
    return Nchw(static_cast<const int8_t*>(taps.data()), 1, t.c, t.kh, t.kw);
  }
  DepthwiseKernel Make(const ConvCase& t) {
    static constexpr int32_t kZeros[] = {0, 127, std::is_signed_v<T> ? -128 : 255, 3};
    for (int8_t& v : taps) v = static_cast<int8_t>(random.Next() >> 32);
    for (int32_t& v : bias) v = static_cast<int32_t>(random.Below(1 << 16)) - (1 << 15);
    // So that outputs are spread over the codes.
    for (float& v : scale) v = (1.5f + random.Value()) / (73.0f * std::sqrt(static_cast<float>(t.kh * t.kw)));
    quant.in_zero = random.Of(kZeros);
    if (random.Below(4) != 0) quant.bias = bias.data();
    if (random.Below(4) != 0) quant.scale = scale.data();
    return DepthwiseKernel(Taps(t), t.geometry, quant);
  }

  Random random;
  GuardedBuffer<int8_t> taps;
  GuardedBuffer<int32_t> bias;
  GuardedBuffer<float> scale, scales, biases, mul;
  ConvQuant quant;
  DepthwiseKernel kernel;
  DepthwisePlan plan;
  ImageOf<T> in;
  GuardedBuffer<float> residual;
  Epilogue epilogue;
};

template <class Out, class In>
void ExpectReference(const ConvCase& t, const IntCase<In>& p, TargetContext& context) {
  const size_t h = p.plan.out_h(), w = p.plan.out_w();
  const ImageOf<Out> want(t.layout, t.n, h, w, t.c, t.out_gaps), got(t.layout, t.n, h, w, t.c, t.out_gaps);
  Epilogue e = p.epilogue;
  e.accumulate = IsFloat(kDTypeOf<Out>) && t.seed % 3 == 0;  // onto the canary
  reference::DepthwiseConv2d(p.Taps(t), t.geometry, p.quant, p.in.in(), want.view(), e);
  ConstImageView in = p.in.in();
  if (p.in.memory().size() == 0) in.data = nullptr;
  DepthwiseConv2d(p.plan, in, got.view(), context, e);
  ASSERT_TRUE(got.SameAs(want)) << t << ", out " << NameOf(kDTypeOf<Out>);
  ASSERT_TRUE(got.memory().CanariesIntact()) << t;
  if (got.memory().size() != 0) context.Check();
}
template <class In>
void ExpectReference(const ConvCase& t, DType type, TargetContext& context) {
  const IntCase<In> p(t);
  switch (type) {
    case DType::kI8:
      return ExpectReference<int8_t>(t, p, context);
    case DType::kU8:
      return ExpectReference<uint8_t>(t, p, context);
    case DType::kBF16:
      return ExpectReference<BF16>(t, p, context);
    case DType::kF16:
      return ExpectReference<F16>(t, p, context);
    default:
      return ExpectReference<float>(t, p, context);
  }
}

class Int8 : public ::testing::TestWithParam<std::string> {};

TEST_P(Int8, EqualsReferenceBitForBit) {
  ThreeThreads threads;
  TargetContext serial(GetParam(), Serial(), kScratch), parallel(GetParam(), threads.AsExecutor(), kScratch);
  size_t number = 0;
  for (const ConvCase& t : IntCases()) {
    const DType type = kOutTypes[number % 5];
    TargetContext& context = number / 5 % 2 == 0 ? serial : parallel;
    if (number++ / 10 % 2 == 0) {
      ExpectReference<int8_t>(t, type, context);
    } else {
      ExpectReference<uint8_t>(t, type, context);
    }
    if (HasFatalFailure()) return;
  }
}

// Strips of columns, pieces of rows, dilations longer than the image.
TEST_P(Int8, LargeImagesAndDilations) {
  ThreeThreads threads;
  TargetContext context(GetParam(), threads.AsExecutor(), kScratch);
  std::vector<ConvCase> cases;
  for (const Layout layout : {Layout::kNhwc, Layout::kNchw}) {
    cases.push_back({1, 70, 300, 20, 5, 5, {}, layout, {}, {}, 0, 11});
    cases.push_back({2, 100, 3, 33, 31, 3, {}, layout, {}, {}, 2, 12});
    cases.push_back({1, 9, 11, 17, 3, 3, {.dil_h = 30, .dil_w = 25}, layout, {}, {}, 1, 13});
    cases.push_back({1, 40, 41, 5, 3, 2, {.stride_h = 7, .stride_w = 5}, layout, {}, {}, 3, 14});
    cases.push_back({1, 12, 150, 16, 2, 9, {.stride_w = 2, .pad = Pad::kReflect}, layout, {}, {}, 2, 15});
  }
  for (const ConvCase& t : cases) {
    ExpectReference<int8_t>(t, DType::kI8, context);
    ExpectReference<uint8_t>(t, DType::kF32, context);
    if (HasFatalFailure()) return;
  }
}

TEST_P(Int8, InPlaceGivesTheSameBits) {
  ThreeThreads threads;
  TargetContext context(GetParam(), threads.AsExecutor(), kScratch);
  size_t ran = 0;
  for (const ConvCase& t : IntCases()) {
    const IntCase<uint8_t> p(t);
    if (!p.plan.in_place_ok()) continue;
    const ImageOf<uint8_t> image(t.layout, t.n, t.h, t.w, t.c, t.in_gaps),
        want(t.layout, t.n, t.h, t.w, t.c, t.in_gaps);
    image.CopyFrom(p.in);
    want.CopyFrom(p.in);
    reference::DepthwiseConv2d(p.Taps(t), t.geometry, p.quant, p.in.in(), want.view(), p.epilogue);
    DepthwiseConv2d(p.plan, image.in(), image.view(), context, p.epilogue);
    ASSERT_TRUE(image.SameAs(want)) << t;
    ran += image.memory().size() != 0;
  }
  EXPECT_GE(ran, 50u);
}

// As many taps as fit, all of them and all pixels at an end of their range.
TEST_P(Int8, LargestSumsDoNotOverflow) {
  TargetContext context(GetParam(), Serial(), size_t{48} << 20);
  constexpr size_t kH = 273, kW = 241;
  static_assert(kH * kW == 65793);
  ConvGeometry g;
  g.top = g.bottom = g.left = g.right = 0;
  GuardedBuffer<int8_t> taps(kH * kW);
  GuardedBuffer<uint8_t> pixels(kH * kW);
  const ConstImageView tap_view = Nchw(static_cast<const int8_t*>(taps.data()), 1, 1, kH, kW);
  for (const int tap : {-128, 127}) {
    for (const int pixel : {0, 255}) {
      for (const bool is_signed : {false, true}) {
        std::fill(taps.begin(), taps.end(), static_cast<int8_t>(tap));
        std::fill(pixels.begin(), pixels.end(), static_cast<uint8_t>(pixel ^ (is_signed ? 0x80 : 0)));
        ConvQuant q;
        q.in_zero = (pixel == 0 ? 255 : 0) - (is_signed ? 128 : 0);
        const int32_t sum = static_cast<int32_t>(kH * kW) * tap * (pixel == 0 ? -255 : 255);
        const int32_t bias = sum < 0 ? -127 : 127;
        q.bias = &bias;
        const DepthwisePlan plan(DepthwiseKernel(tap_view, g, q), kH, kW, Layout::kNhwc);
        ConstImageView in = Nhwc(static_cast<const uint8_t*>(pixels.data()), 1, kH, kW, 1);
        if (is_signed) in.type = DType::kI8;
        float y = 0;
        DepthwiseConv2d(plan, in, Nhwc(&y, 1, 1, 1, 1), context);
        ASSERT_EQ(y, static_cast<float>(sum + bias)) << tap << ' ' << pixel << ' ' << is_signed;
      }
    }
  }
}

// Taps, pixels and zero points at their ends, alternating and alone.
TEST_P(Int8, ExtremesOfTapsPixelsAndZeroPoints) {
  TargetContext context(GetParam(), Serial(), kScratch);
  constexpr size_t kSize = 9, kC = 19;
  for (const size_t k : {3u, 4u, 7u}) {
    for (const Layout layout : {Layout::kNhwc, Layout::kNchw}) {
      for (int fill = 0; fill < 16; ++fill) {
        const bool is_signed = fill % 2 != 0;
        GuardedBuffer<int8_t> taps(k * k * kC);
        for (size_t i = 0; i < taps.size(); ++i) {
          taps[i] = fill / 2 % 4 == 0 || (fill / 2 % 4 == 1 && i % 2 == 0) ? int8_t{-128} : int8_t{127};
        }
        const ImageOf<uint8_t> in(layout, 1, kSize, kSize, kC);
        for (size_t i = 0; i < in.memory().size(); ++i) {
          const int code = fill / 2 % 4 == 2 ? 255 : fill / 2 % 4 == 3 ? 0 : static_cast<int>(i % 3 % 2) * 255;
          in.memory()[i] = static_cast<uint8_t>(code ^ (is_signed ? 0x80 : 0));
        }
        ConvQuant q;
        q.in_zero = (fill / 8 == 0 ? 0 : 255) - (is_signed ? 128 : 0);
        const ConstImageView tap_view = Nhwc(static_cast<const int8_t*>(taps.data()), 1, k, k, kC);
        const DepthwisePlan plan(DepthwiseKernel(tap_view, {}, q), kSize, kSize, layout);
        ConstImageView from = in.in();
        if (is_signed) from.type = DType::kI8;
        const ImageBuffer got(layout, 1, kSize, kSize, kC), want(layout, 1, kSize, kSize, kC);
        DepthwiseConv2d(plan, from, got.view(), context);
        reference::DepthwiseConv2d(tap_view, {}, q, from, want.view());
        ASSERT_TRUE(got.SameAs(want)) << k << ' ' << fill;
      }
    }
  }
}

// Scales and epilogues whose results leave the range of f32, or are no numbers.
TEST_P(Int8, ScalesAtTheEndsOfFloats) {
  TargetContext context(GetParam(), Serial(), kScratch);
  constexpr size_t kSize = 6, kC = 21;
  constexpr float kMost = std::numeric_limits<float>::max(), kInf = std::numeric_limits<float>::infinity();
  GuardedBuffer<int8_t> taps(9 * kC);
  GuardedBuffer<float> scale(kC), bias(kC);
  Random random(1);
  for (int8_t& v : taps) v = static_cast<int8_t>(random.Next() >> 32);
  const ConstImageView tap_view = Nhwc(static_cast<const int8_t*>(taps.data()), 1, 3, 3, kC);
  const ImageOf<int8_t> in(Layout::kNhwc, 1, kSize, kSize, kC);
  in.Randomize(2);
  for (const float s : {0.0f, 1e-45f, 1e-4f, 1e6f, 1e30f, kMost}) {
    for (const float b : {0.0f, -0.0f, 1e9f, -kInf, std::nanf("")}) {
      for (const float o : {1.0f, 0.3f, -2e9f, 0.0f, kInf}) {
        for (float& v : scale) v = s;
        for (float& v : bias) v = b;
        ConvQuant q;
        q.scale = scale.data();
        const DepthwisePlan plan(DepthwiseKernel(tap_view, {}, q), kSize, kSize, Layout::kNhwc);
        Epilogue e;
        e.bias = bias.data();
        e.out_scale = o;
        e.out_zero = 5;
        const ImageOf<int8_t> got(Layout::kNhwc, 1, kSize, kSize, kC), want(Layout::kNhwc, 1, kSize, kSize, kC);
        DepthwiseConv2d(plan, in.in(), got.view(), context, e);
        reference::DepthwiseConv2d(tap_view, {}, q, in.in(), want.view(), e);
        ASSERT_TRUE(got.SameAs(want)) << s << ' ' << b << ' ' << o;
      }
    }
  }
}

// Integer branches beside identities of bytes, which are copied whatever they hold.
TEST_P(Int8, ChannelSplitCopiesIdentities) {
  ThreeThreads threads;
  TargetContext context(GetParam(), threads.AsExecutor(), kScratch);
  constexpr size_t kH = 13, kW = 14, kC = 50;
  const std::vector<int8_t> taps(9 * 18, int8_t{3});
  const ConstImageView tap_view = Nhwc(taps.data(), 1, 3, 3, 18);
  ConvQuant q;
  q.in_zero = -4;
  for (const Layout layout : {Layout::kNhwc, Layout::kNchw}) {
    const DepthwisePlan plan(DepthwiseKernel(tap_view, {}, q), kH, kW, layout);
    Branch branches[] = {{0, 7}, {7, 25, &plan}, {25, kC}};
    branches[1].epilogue.out_scale = 0.01f;
    const ImageOf<int8_t> in(layout, 2, kH, kW, kC), got(layout, 2, kH, kW, kC), want(layout, 2, kH, kW, kC);
    in.Randomize(4);
    want.CopyFrom(in);
    reference::DepthwiseConv2d(tap_view, {}, q, Channels(in.in(), 7, 25), Channels(want.view(), 7, 25),
                               branches[1].epilogue);
    ChannelSplit(branches, in.in(), got.view(), context);
    ASSERT_TRUE(got.SameAs(want));
    ChannelSplit(branches, in.in(), in.view(), context);
    ASSERT_TRUE(in.SameAs(want));
  }
}

INSTANTIATE_TEST_SUITE_P(All, Int8, ::testing::ValuesIn(TargetNames()), NameOfTarget);

TEST(Int8ByHand, ZeroPointsBiasAndScale) {
  Context context;
  const int8_t taps[] = {1, -2, 3};
  const uint8_t in[] = {10, 11, 15, 9};
  const int32_t bias[] = {100};
  const float scale[] = {0.5f};
  const DepthwiseKernel kernel(Nhwc(taps, 1, 1, 3, 1), {}, {.in_zero = 10, .scale = scale, .bias = bias});
  const DepthwisePlan plan(kernel, 1, 4, Layout::kNhwc);
  float y[4];
  DepthwiseConv2d(plan, Nhwc(in, 1, 1, 4, 1), Nhwc(y, 1, 1, 4, 1), context);
  // Pixels stand for 0, 1, 5, -1, and for 0 around them.
  EXPECT_EQ(y[0], 0.5f * (100 + 3));
  EXPECT_EQ(y[1], 0.5f * (100 - 2 + 15));
  EXPECT_EQ(y[2], 0.5f * (100 + 1 - 10 - 3));
  EXPECT_EQ(y[3], 0.5f * (100 + 5 + 2));
  uint8_t code[4];
  Epilogue e;
  e.out_scale = 0.1f;
  e.out_zero = 3;
  DepthwiseConv2d(plan, Nhwc(in, 1, 1, 4, 1), Nhwc(code, 1, 1, 4, 1), context, e);
  EXPECT_EQ(code[0], 8);  // 5.15
  EXPECT_EQ(code[1], 9);  // 5.65
  EXPECT_EQ(code[2], 7);  // 4.4
  EXPECT_EQ(code[3], 8);  // 5.35
}

TEST(Int8Kernel, SaysWhatItIsAndRefusesBadTaps) {
  std::vector<int8_t> taps(20 * 9, int8_t{-128});
  const ConstImageView view = Nhwc(static_cast<const int8_t*>(taps.data()), 1, 3, 3, 20);
  const auto message = [&](const ConstImageView& v, const ConvQuant& q) {
    return FailureOf([&] { DepthwiseKernel kernel(v, {}, q); });
  };
  const DepthwiseKernel kernel(view, {}, {.in_zero = -7});
  EXPECT_TRUE(kernel.integer());
  EXPECT_EQ(kernel.in_zero(), -7);
  EXPECT_EQ(kernel.bytes(), 32u * 9 + 32 * 12);
  EXPECT_EQ(message(view, {.in_zero = -129}), "DepthwiseKernel: quant.in_zero is -129, must be inside -128 ... 255");
  EXPECT_EQ(message(view, {.in_zero = 256}), "DepthwiseKernel: quant.in_zero is 256, must be inside -128 ... 255");
  std::vector<float> scale(20, 1.0f);
  scale[19] = std::nanf("");
  EXPECT_EQ(message(view, {.scale = scale.data()}),
            "DepthwiseKernel: quant.scale of channel 19 is nan, must be finite");
  std::vector<int32_t> bias(20, std::numeric_limits<int32_t>::max() - 9 * 128 * 255);
  EXPECT_EQ(message(view, {.bias = bias.data()}), "");
  bias[3] = -bias[3] - 1;
  EXPECT_EQ(message(view, {.bias = bias.data()}),
            "DepthwiseKernel: 255 * (sum of |tap|) + |bias| of channel 3 is 2147483648, must be at most 2147483647");
  EXPECT_EQ(FailureOf([&] { DepthwiseKernel bad(view, {.reweight = true}, {}); }),
            "DepthwiseKernel: geometry.reweight needs taps of f32, they are i8");
  const std::vector<float> floats(20 * 9, 1.0f);
  EXPECT_EQ(message(Nhwc(floats.data(), 1, 3, 3, 20), {.in_zero = 1}),
            "DepthwiseKernel: quant is for taps of i8, they are f32");
}

TEST(Int8Plan, RefusesTransformsAndOtherImages) {
  Context context;
  const std::vector<int8_t> taps(20 * 9, int8_t{1});
  const DepthwiseKernel kernel(Nhwc(taps.data(), 1, 3, 3, 20), {}, {.in_zero = -1});
  EXPECT_EQ(FailureOf([&] { DepthwisePlan plan(kernel, 14, 14, Layout::kNhwc, ConvAlgo::kFft); }),
            "DepthwisePlan: algo is kFft, which can't run: the taps are integers");
  EXPECT_EQ(FailureOf([&] { DepthwisePlan plan(kernel, 14, 14, Layout::kNhwc, ConvAlgo::kSeparable); }),
            "DepthwisePlan: algo is kSeparable, which can't run: the taps are integers");
  const DepthwisePlan plan(kernel, 14, 14, Layout::kNhwc);
  EXPECT_EQ(plan.algo(), ConvAlgo::kDirect);
  EXPECT_NE(Explain(plan).find("the taps are integers"), std::string::npos) << Explain(plan);
  EXPECT_GT(plan.scratch_per_worker(true), plan.scratch_per_worker());
  const ImageOf<uint8_t> in(Layout::kNhwc, 1, 14, 14, 20), out(Layout::kNhwc, 1, 14, 14, 20);
  const ImageBuffer floats(Layout::kNhwc, 1, 14, 14, 20);
  const auto message = [&](const ConstImageView& from, const ImageView& to, const Epilogue& e = {}) {
    return FailureOf([&] { DepthwiseConv2d(plan, from, to, context, e); });
  };
  EXPECT_EQ(message(floats.in(), out.view()), "DepthwiseConv2d: in.type is f32, must be i8 or u8 (the taps are i8)");
  EXPECT_EQ(message(in.in(), out.view()),
            "DepthwiseConv2d: in.type is u8, the kernel's quant.in_zero is -1, must be inside 0 ... 255");
  ConstImageView from = in.in();
  from.type = DType::kI8;
  EXPECT_EQ(message(from, out.view()), "");
  ImageView to = in.view();  // u8 over i8
  EXPECT_EQ(message(from, to), "DepthwiseConv2d: in and out overlap, they must be apart or the same view");
  const DepthwisePlan of_floats(DepthwiseKernel(Channels(floats.in(), 0, 20)), 14, 14, Layout::kNhwc);
  EXPECT_EQ(FailureOf([&] { DepthwiseConv2d(of_floats, in.in(), out.view(), context); }),
            "DepthwiseConv2d: in.type is u8, must be f32, bf16 or f16");
  const Branch moved[] = {{0, 20, nullptr, 1, 0, {}}};
  EXPECT_EQ(FailureOf([&] { ChannelSplit(moved, in.in(), out.view(), context); }),
            "ChannelSplit: in.type is u8, a shift of 1, 0 needs f32, bf16 or f16");
  const Branch same[] = {{0, 20}};
  EXPECT_EQ(
      FailureOf([&] { ChannelSplit(same, in.in(), floats.view(), context); }),
      "ChannelSplit: in.type is u8, a branch without a plan needs f32, bf16 or f16, or an out of that type (it is "
      "f32) and no epilogue");
}

}}}  // namespace lutra::testing
