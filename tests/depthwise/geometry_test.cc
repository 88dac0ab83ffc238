// Paddings and shapes of published networks, through the front door: causal, re-weighted (partial convolution), kernels
// longer than the image, one kernel for all channels.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "depthwise/images.h"
#include "lutra/depthwise/reference.h"
#include "support/targets.h"

namespace lutra { namespace testing { namespace {

constexpr size_t kScratch = size_t{2} << 20;
using Floats = std::vector<float>;

Floats RandomFloats(size_t count, uint64_t seed) {
  Random random(seed);
  Floats values(count);
  for (float& v : values) v = random.Value();
  return values;
}
ConstImageView Taps(const Floats& taps, size_t c, size_t kh, size_t kw) { return Nchw(taps.data(), 1, c, kh, kw); }

class Geometry : public ::testing::TestWithParam<std::string> {};

TEST_P(Geometry, CausalOutputsSeeNothingThatComesLater) {
  TargetContext context(GetParam(), Serial(), kScratch);
  constexpr size_t kC = 3, kK = 4, kT = 19;
  const Floats taps = RandomFloats(kC * kK, 1);
  ConvGeometry dilated;
  dilated.dil_w = 2;
  dilated.dil_h = 3;
  for (const bool columns : {true, false}) {
    const DepthwiseKernel kernel(columns ? Taps(taps, kC, 1, kK) : Taps(taps, kC, kK, 1),
                                 columns ? CausalColumns(kK, dilated) : CausalRows(kK, dilated));
    EXPECT_EQ(kernel.geometry().left, columns ? 6 : 0);
    EXPECT_EQ(kernel.geometry().top, columns ? 0 : 9);
    EXPECT_EQ(kernel.geometry().right + kernel.geometry().bottom, 0);
    const size_t h = columns ? 1 : kT, w = columns ? kT : 1;
    for (const ConvAlgo algo : {ConvAlgo::kDirect, ConvAlgo::kAuto}) {
      const DepthwisePlan plan(kernel, h, w, Layout::kNhwc, algo);
      ASSERT_EQ(plan.out_h() * plan.out_w(), kT);
      const ImageBuffer in(Layout::kNhwc, 1, h, w, kC), before(Layout::kNhwc, 1, h, w, kC),
          after(Layout::kNhwc, 1, h, w, kC);
      in.Randomize(2);
      DepthwiseConv2d(plan, in.in(), before.view(), context);
      constexpr size_t kChanged = 7;
      float* const pixel = columns ? &in.At(0, 0, kChanged, 1) : &in.At(0, kChanged, 0, 1);
      *pixel += 1;
      DepthwiseConv2d(plan, in.in(), after.view(), context);
      const size_t dil = columns ? 2 : 3;
      for (size_t t = 0; t < kT; ++t) {
        for (size_t c = 0; c < kC; ++c) {
          const float change =
              columns ? after.At(0, 0, t, c) - before.At(0, 0, t, c) : after.At(0, t, 0, c) - before.At(0, t, 0, c);
          const bool sees = c == 1 && t >= kChanged && (t - kChanged) % dil == 0 && (t - kChanged) / dil < kK;
          const float want = sees ? taps[kK + kK - 1 - (t - kChanged) / dil] : 0.0f;
          ASSERT_NEAR(change, want, 1e-6f) << t << ' ' << c;
        }
      }
    }
  }
}

TEST(GeometryHelpers, RefuseWhatIsTooLong) {
  ConvGeometry g;
  g.dil_w = g.dil_h = size_t{1} << 40;
  EXPECT_EQ(FailureOf([&] { (void)CausalColumns(3, g); }),
            "CausalColumns: 3 taps, dilated by 1099511627776, must be at least 1 and span at most 536870911");
  EXPECT_EQ(FailureOf([&] { (void)CausalRows(0); }),
            "CausalRows: 0 taps, dilated by 1, must be at least 1 and span at most 536870911");
  const Floats taps(18, 1.0f);
  EXPECT_EQ(FailureOf([&] { (void)RepeatChannel(Taps(taps, 2, 3, 3), 5); }),
            "RepeatChannel: the image has 2 channels, must have 1");
}

// The taps of a window that meet the image, by looking at each.
size_t TapsInside(size_t o, size_t size, size_t k, size_t stride, size_t dil, int before) {
  size_t inside = 0;
  for (size_t i = 0; i < k; ++i) {
    const auto at = static_cast<int64_t>(o * stride + i * dil) - before;
    inside += at >= 0 && at < static_cast<int64_t>(size);
  }
  return inside;
}

// A sum of any algorithm and layout, re-weighted, is the plain sum times the rounded factor, bit for bit, and comes
// before the epilogue; a window without a tap on the image is its bias.
TEST_P(Geometry, ReweightedSumsAreThePlainOnesTimesTheirFactor) {
  ThreeThreads threads;
  TargetContext context(GetParam(), threads.AsExecutor(), kScratch);
  struct Case {
    size_t h, w, c, kh, kw, stride, dil;
    int top, left, bottom, right;
    ConvAlgo algo;
    Layout layout;
  };
  const Case cases[] = {{13, 21, 19, 7, 7, 1, 1, -1, -1, -1, -1, ConvAlgo::kDirect, Layout::kNhwc},
                        {13, 41, 3, 5, 3, 1, 2, -1, -1, -1, -1, ConvAlgo::kDirect, Layout::kNchw},
                        {9, 9, 5, 3, 9, 2, 3, 4, 26, 5, 30, ConvAlgo::kDirect, Layout::kNhwc},
                        {9, 70, 2, 3, 9, 2, 3, 4, 26, 5, 30, ConvAlgo::kDirect, Layout::kNchw},
                        {14, 12, 33, 9, 9, 1, 1, -1, -1, -1, -1, ConvAlgo::kFft, Layout::kNhwc},
                        {10, 12, 5, 5, 4, 1, 2, 9, 3, 20, 8, ConvAlgo::kFft, Layout::kNhwc}};
  for (const Case& t : cases) {
    const Floats taps = RandomFloats(t.c * t.kh * t.kw, t.h), bias = RandomFloats(t.c, t.w),
                 scale = RandomFloats(t.c, 9);
    ConvGeometry g;
    g.stride_h = g.stride_w = t.stride;
    g.dil_h = g.dil_w = t.dil;
    g.top = t.top;
    g.left = t.left;
    g.bottom = t.bottom;
    g.right = t.right;
    const DepthwiseKernel plain_kernel(Taps(taps, t.c, t.kh, t.kw), g);
    const bool possible = FailureOf([&] { DepthwisePlan any(plain_kernel, t.h, t.w, t.layout, t.algo); }).empty();
    const ConvAlgo algo = possible ? t.algo : ConvAlgo::kDirect;  // a CPU without transforms
    const DepthwisePlan plain(plain_kernel, t.h, t.w, t.layout, algo);
    g.reweight = true;
    const DepthwisePlan plan(DepthwiseKernel(Taps(taps, t.c, t.kh, t.kw), g), t.h, t.w, t.layout, algo);
    EXPECT_NE(Explain(plan).find(", re-weighted"), std::string::npos);
    g = plan.kernel().geometry();
    const size_t out_h = plan.out_h(), out_w = plan.out_w();
    const ImageBuffer in(t.layout, 2, t.h, t.w, t.c), sums(t.layout, 2, out_h, out_w, t.c);
    in.Randomize(t.c);
    DepthwiseConv2d(plain, in.in(), sums.view(), context);
    for (const int epilogue : {0, 1, 2}) {
      Epilogue e;
      if (epilogue >= 1) e.bias = bias.data();
      if (epilogue == 1) e.act = Act::kRelu;
      if (epilogue == 2) e.scale = scale.data();
      const ImageBuffer got(t.layout, 2, out_h, out_w, t.c, {1, 2, 3});
      DepthwiseConv2d(plan, in.in(), got.view(), context, e);
      ASSERT_TRUE(got.memory().CanariesIntact());
      size_t empty = 0;
      for (size_t n = 0; n < 2; ++n) {
        for (size_t y = 0; y < out_h; ++y) {
          for (size_t x = 0; x < out_w; ++x) {
            const size_t inside =
                TapsInside(y, t.h, t.kh, t.stride, t.dil, g.top) * TapsInside(x, t.w, t.kw, t.stride, t.dil, g.left);
            const float factor = inside == 0 ? 0.0f : static_cast<float>(t.kh * t.kw) / static_cast<float>(inside);
            empty += inside == 0;
            for (size_t c = 0; c < t.c; ++c) {
              float want = 0;
              reference::Finish(sums.At(n, y, x, c) * factor, e, 0, c, &want, DType::kF32);
              ASSERT_EQ(got.At(n, y, x, c), want) << t.kh << " x " << t.kw << ", " << epilogue << ": " << y << ' ' << x;
              if (inside == 0 && epilogue == 2) {
                ASSERT_EQ(want, bias[c]);
              }
            }
          }
        }
      }
      if (t.right > 25 || t.bottom > 15) {
        ASSERT_GT(empty, 0u);
      }
    }
  }
}

// A constant image stays constant at its borders: what re-weighting is for.
TEST_P(Geometry, ReweightedAveragesKeepAConstantImage) {
  TargetContext context(GetParam(), Serial(), kScratch);
  const Floats taps(5 * 5, 0.04f);
  ConvGeometry g;
  g.reweight = true;
  for (const Layout layout : {Layout::kNhwc, Layout::kNchw}) {
    const DepthwisePlan plan(DepthwiseKernel(Taps(taps, 1, 5, 5), g), 30, 9, layout);
    const ImageBuffer in(layout, 1, 30, 9, 1), out(layout, 1, 30, 9, 1);
    for (float& v : in.memory()) v = 2;
    DepthwiseConv2d(plan, in.in(), out.view(), context);
    for (const float v : out.memory()) ASSERT_NEAR(v, 2, 2e-6f);
    DepthwiseConv2d(plan, in.in(), in.view(), context);  // in place
    ASSERT_TRUE(in.SameAs(out));
  }
}

// Against the definition; the error of an algorithm is its own tests' business, so 1e-5 is enough here.
void ExpectDefinition(const Floats& taps, const ConvGeometry& g, size_t c, size_t kh, size_t kw, size_t h, size_t w,
                      Layout layout, ConvAlgo algo, Context& context) {
  const DepthwisePlan plan(DepthwiseKernel(Taps(taps, c, kh, kw), g), h, w, layout, algo);
  const ImageBuffer in(layout, 2, h, w, c), got(layout, 2, plan.out_h(), plan.out_w(), c),
      want(layout, 2, plan.out_h(), plan.out_w(), c);
  in.Randomize(kh + kw);
  DepthwiseConv2d(plan, in.in(), got.view(), context);
  reference::DepthwiseConv2d<double>(Taps(taps, c, kh, kw), g, in.in(), want.view());
  for (size_t i = 0; i < got.memory().size(); ++i) ASSERT_NEAR(got.memory()[i], want.memory()[i], 1e-5f) << i;
}

// ParCNetV2: (2 H - 1) x 1, then 1 x (2 W - 1), zero padding: every output sees its whole column (row). ParC: kernels
// of the image's height (width) going round it; and far longer ones, which go round several times.
TEST_P(Geometry, KernelsLongerThanTheImage) {
  TargetContext context(GetParam(), Serial(), kScratch);
  constexpr size_t kH = 14, kW = 11, kC = 20;
  const Floats taps = RandomFloats(kC * 60, 4);
  for (const Layout layout : {Layout::kNhwc, Layout::kNchw}) {
    for (const ConvAlgo algo : {ConvAlgo::kDirect, ConvAlgo::kAuto}) {
      ExpectDefinition(taps, {}, kC, 2 * kH - 1, 1, kH, kW, layout, algo, context);
      ExpectDefinition(taps, {}, kC, 1, 2 * kW - 1, kH, kW, layout, algo, context);
      ConvGeometry g;
      g.pad = Pad::kCircular;
      g.top = 0;
      g.bottom = kH - 1;
      ExpectDefinition(taps, g, kC, kH, 1, kH, kW, layout, algo, context);
      g = {};
      g.pad = Pad::kCircular;
      g.left = 0;
      g.right = kW - 1;
      ExpectDefinition(taps, g, kC, 1, kW, kH, kW, layout, algo, context);
      g = {};
      g.pad = Pad::kCircular;
      ExpectDefinition(taps, g, kC, 59, 1, kH, kW, layout, algo, context);
      ExpectDefinition(taps, g, kC, 1, 60, kH, kW, layout, algo, context);
      ExpectDefinition(taps, g, 1, 15, 12, 5, 4, layout, algo, context);
    }
  }
}

// One plane of taps for all channels (LKCA), as the product with the doubly block Toeplitz matrix that it stands for:
// out[p] = sum over q of in[q] taps[q - p + middle].
TEST_P(Geometry, OneKernelForAllChannelsIsAToeplitzMatrix) {
  TargetContext context(GetParam(), Serial(), kScratch);
  constexpr size_t kH = 6, kW = 9, kC = 19, kKh = 2 * kH - 1, kKw = 2 * kW - 1;
  const Floats taps = RandomFloats(kKh * kKw, 8);
  for (const Layout layout : {Layout::kNhwc, Layout::kNchw}) {
    for (const ConvAlgo algo : {ConvAlgo::kDirect, ConvAlgo::kAuto}) {
      const DepthwiseKernel kernel(RepeatChannel(Taps(taps, 1, kKh, kKw), kC));
      const DepthwisePlan plan(kernel, kH, kW, layout, algo);
      const ImageBuffer in(layout, 1, kH, kW, kC), out(layout, 1, kH, kW, kC);
      in.Randomize(2);
      DepthwiseConv2d(plan, in.in(), out.view(), context);
      for (size_t p = 0; p < kH * kW; ++p) {
        for (size_t c = 0; c < kC; ++c) {
          double sum = 0;
          for (size_t q = 0; q < kH * kW; ++q) {
            const size_t ky = q / kW + kH - 1 - p / kW, kx = q % kW + kW - 1 - p % kW;
            sum += double{taps[ky * kKw + kx]} * double{in.At(0, q / kW, q % kW, c)};
          }
          ASSERT_NEAR(out.At(0, p / kW, p % kW, c), sum, 1e-5) << p << ' ' << c;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Geometry, ::testing::ValuesIn(TargetNames()), NameOfTarget);

}}}  // namespace lutra::testing
