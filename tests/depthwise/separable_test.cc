// Kernels of rank one: found or not, and run as two bands on every target, bit for bit as two convolutions of the
// definition one after the other, in guarded memory.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "depthwise/cases.h"
#include "lutra/depthwise/reference.h"
#include "support/targets.h"

namespace lutra { namespace testing { namespace {

constexpr size_t kScratch = size_t{4} << 20;
using Floats = std::vector<float>;

// [c, kh, kw] of rank one in each channel, each tap rounded once.
Floats Products(size_t c, size_t kh, size_t kw, uint64_t seed) {
  Random random(seed);
  Floats taps(c * kh * kw), row(kw);
  for (size_t i = 0; i < c; ++i) {
    for (float& v : row) v = random.Value();
    for (size_t y = 0; y < kh; ++y) {
      const float column = random.Value();
      for (size_t x = 0; x < kw; ++x) taps[(i * kh + y) * kw + x] = column * row[x];
    }
  }
  return taps;
}
// What docs/numerics.md defines: row: that of the first largest tap; columns: the taps of its column over it.
struct Factors {
  Floats column, row;  // [c, kh], [c, kw]
};
Factors FactorsOf(const Floats& taps, size_t c, size_t kh, size_t kw) {
  Factors f{Floats(c * kh), Floats(c * kw)};
  for (size_t i = 0; i < c; ++i) {
    const float* const plane = &taps[i * kh * kw];
    size_t largest = 0;
    for (size_t k = 1; k < kh * kw; ++k) {
      if (std::fabs(plane[k]) > std::fabs(plane[largest])) largest = k;
    }
    for (size_t x = 0; x < kw; ++x) f.row[i * kw + x] = plane[largest / kw * kw + x];
    for (size_t y = 0; y < kh; ++y) {
      f.column[i * kh + y] = static_cast<float>(double{plane[y * kw + largest % kw]} / double{plane[largest]});
    }
  }
  return f;
}
template <bool kFused>
void TwoConvolutions(const Factors& f, const ConvCase& t, const ConvGeometry& g, const ConstImageView& in,
                     const ImageView& out, const Epilogue& e) {
  ConvGeometry rows = g, columns = g;
  rows.stride_h = rows.dil_h = columns.stride_w = columns.dil_w = 1;
  rows.top = rows.bottom = columns.left = columns.right = 0;
  const ImageBuffer between(Layout::kNhwc, t.n, t.h, out.w, t.c);
  reference::DepthwiseConv2d<float, kFused>(Nchw(f.row.data(), 1, t.c, 1, t.kw), rows, in, between.view());
  reference::DepthwiseConv2d<float, kFused>(Nchw(f.column.data(), 1, t.c, t.kh, 1), columns, between.in(), out, e);
}

std::vector<ConvCase> Cases() {
  std::vector<ConvCase> cases;
  for (ConvCase t : ConvCases()) {
    t.geometry.reweight = false;
    if (t.kh > 1 && t.kw > 1 && t.n * t.h * t.w != 0) cases.push_back(t);
  }
  for (const Layout layout : {Layout::kNhwc, Layout::kNchw}) {  // several tasks and blocks of columns
    ConvGeometry circular, strided;
    circular.pad = Pad::kCircular;
    strided.stride_h = strided.stride_w = 2;
    strided.dil_w = 3;
    cases.push_back({2, 80, 170, 3, 9, 5, {}, layout, {}, {}, 3, 3});
    cases.push_back({1, 70, 300, 1, 5, 7, circular, layout, {}, {2, 0, 1}, 3, 4});
    cases.push_back({1, 75, 300, 2, 7, 4, strided, layout, {1, 2, 3}, {}, 2, 5});
    cases.push_back({1, 20, 700, 1, 101, 2, {}, layout, {}, {}, 1, 6});
    cases.push_back({1, 20, 1300, 1, 101, 2, strided, layout, {}, {}, 0, 7});
  }
  return cases;
}

class Separable : public ::testing::TestWithParam<std::string> {};

TEST_P(Separable, EqualsTwoConvolutionsBitForBit) {
  ThreeThreads threads;
  TargetContext serial(GetParam(), Serial(), kScratch), parallel(GetParam(), threads.AsExecutor(), kScratch);
  size_t in_place = 0;
  for (const ConvCase& t : Cases()) {
    const Floats taps = Products(t.c, t.kh, t.kw, t.seed);
    const DepthwiseKernel kernel(Nchw(taps.data(), 1, t.c, t.kh, t.kw), t.geometry);
    ASSERT_TRUE(kernel.separable()) << t;
    const DepthwisePlan plan(kernel, t.h, t.w, t.layout, ConvAlgo::kSeparable);
    const size_t out_h = plan.out_h(), out_w = plan.out_w();
    const ImageBuffer in(t.layout, t.n, t.h, t.w, t.c, t.in_gaps, t.seed % 2 ? Edge::kEnd : Edge::kBegin),
        want(t.layout, t.n, out_h, out_w, t.c, t.out_gaps);
    in.Randomize(t.seed);
    Random random(t.seed + 1);
    Floats scale(t.c), bias(t.c), residual(t.n * out_h * out_w * t.c);
    for (auto* values : {&scale, &bias, &residual}) {
      for (float& v : *values) v = random.Value();
    }
    Epilogue e;
    if (t.epilogue >= 1) e.bias = bias.data();
    if (t.epilogue == 2) e.act = Act::kRelu;
    if (t.epilogue == 3) {
      e.scale = scale.data();
      e.mul = View(static_cast<const float*>(bias.data()), 1, t.c, 0);
      if (t.layout == Layout::kNhwc)
        e.residual = View(static_cast<const float*>(residual.data()), t.n * out_h * out_w, t.c);
    }
    const Factors f = FactorsOf(taps, t.c, t.kh, t.kw);
    const ConvGeometry& g = kernel.geometry();
    if (HasFma(GetParam())) {
      TwoConvolutions<true>(f, t, g, in.in(), want.view(), e);
    } else {
      TwoConvolutions<false>(f, t, g, in.in(), want.view(), e);
    }
    for (TargetContext* context : {&serial, &parallel}) {
      const ImageBuffer got(t.layout, t.n, out_h, out_w, t.c, t.out_gaps,
                            context == &serial ? Edge::kEnd : Edge::kBegin);
      const size_t runs = threads.runs;
      DepthwiseConv2d(plan, in.in(), got.view(), *context, e);
      ASSERT_EQ(threads.runs - runs, context == &parallel ? 1u : 0u) << t;
      ASSERT_TRUE(got.SameAs(want)) << t;
      ASSERT_TRUE(got.memory().CanariesIntact()) << t;
      context->Check();
    }
    if (!plan.in_place_ok() || t.in_gaps.inner + t.in_gaps.middle + t.in_gaps.outer != 0) continue;
    Context large(threads.AsExecutor(), plan.scratch_per_worker(true));
    ASSERT_TRUE(ForceTarget(large, GetParam()).ok());
    DepthwiseConv2d(plan, in.in(), in.view(), large, e);
    for (size_t n = 0; n < t.n; ++n) {
      for (size_t y = 0; y < t.h; ++y) {
        for (size_t x = 0; x < t.w; ++x) {
          for (size_t c = 0; c < t.c; ++c) ASSERT_EQ(in.At(n, y, x, c), want.At(n, y, x, c)) << t;
        }
      }
    }
    ++in_place;
  }
  EXPECT_GE(in_place, 20u);
}

// Error bound against the taps as they were given. Either pass of K taps is off by at most (K + 1) u of its sum of
// absolute values (tests/depthwise/direct_test.cc), a product of factors by 8 u of its tap; one u for the rounding of
// `exact`, and for what u^2 adds less than one more:
//   |y - exact| <= (KH + KW + 12) u sum |tap * x|, and (KH + KW + 10) u with FMA, where a pass has K roundings.
TEST_P(Separable, StaysInsideTheErrorBound) {
  TargetContext context(GetParam(), Serial(), kScratch);
  for (const ConvCase& t : Cases()) {
    if (t.w > 100) continue;  // how tasks are cut never changes a result
    const Floats taps = Products(t.c, t.kh, t.kw, t.seed);
    Floats sizes = taps;
    for (float& v : sizes) v = std::fabs(v);
    const DepthwisePlan plan(DepthwiseKernel(Nchw(taps.data(), 1, t.c, t.kh, t.kw), t.geometry), t.h, t.w, t.layout,
                             ConvAlgo::kSeparable);
    const ImageBuffer in(t.layout, t.n, t.h, t.w, t.c);
    in.Randomize(t.seed);
    const auto out = [&] { return ImageBuffer(t.layout, t.n, plan.out_h(), plan.out_w(), t.c); };
    const ImageBuffer got = out(), exact = out(), size = out();
    DepthwiseConv2d(plan, in.in(), got.view(), context);
    reference::DepthwiseConv2d<double>(Nchw(static_cast<const float*>(taps.data()), 1, t.c, t.kh, t.kw), t.geometry,
                                       in.in(), exact.view());
    for (float& v : in.memory()) v = std::fabs(v);
    reference::DepthwiseConv2d<double>(Nchw(static_cast<const float*>(sizes.data()), 1, t.c, t.kh, t.kw), t.geometry,
                                       in.in(), size.view());
    const double k = static_cast<double>(t.kh + t.kw) + (HasFma(GetParam()) ? 10 : 12);
    for (size_t i = 0; i < got.memory().size(); ++i) {
      const double difference = std::fabs(double{got.memory()[i]} - double{exact.memory()[i]});
      ASSERT_LE(difference, k * 0x1p-24 * double{size.memory()[i]}) << t << " element " << i;
    }
  }
}

// Images of bf16 and f16: the bits that their values give as f32, with no more scratch than is asked for.
template <class T>
void ExpectTheBitsOfF32(const std::string& target) {
  for (const Layout layout : {Layout::kNhwc, Layout::kNchw}) {
    for (const Pad pad : {Pad::kZero, Pad::kCircular}) {
      constexpr size_t kN = 2, kH = 45, kW = 230, kC = 19;
      ConvGeometry g;
      g.pad = pad;
      const Floats taps = Products(kC, 5, 6, 3), bias = Products(1, 1, kC, 4);
      const DepthwisePlan plan(DepthwiseKernel(Nchw(taps.data(), 1, kC, 5, 6), g), kH, kW, layout,
                               ConvAlgo::kSeparable);
      const ImageOf<T> in(layout, kN, kH, kW, kC), got(layout, kN, kH, kW, kC), want(layout, kN, kH, kW, kC);
      in.Randomize(7);
      const ImageBuffer wide(layout, kN, kH, kW, kC);
      for (size_t i = 0; i < wide.memory().size(); ++i) wide.memory()[i] = ToFloat(in.memory()[i]);
      Epilogue e;
      e.bias = bias.data();
      TargetContext context(target, Serial(), plan.scratch_per_worker(false, in.in().type)),
          in_place(target, Serial(), plan.scratch_per_worker(true, in.in().type));
      DepthwiseConv2d(plan, wide.in(), want.view(), context, e);
      DepthwiseConv2d(plan, in.in(), got.view(), context, e);
      ASSERT_TRUE(got.SameAs(want));
      DepthwiseConv2d(plan, in.in(), in.view(), in_place, e);
      ASSERT_TRUE(in.SameAs(want));
    }
  }
}
TEST_P(Separable, ImagesOf16BitsGiveTheBitsOfF32) {
  ExpectTheBitsOfF32<BF16>(GetParam());
  ExpectTheBitsOfF32<F16>(GetParam());
}

// As with the direct algorithm, a NaN and an infinity reach exactly the outputs whose window they are in.
TEST_P(Separable, NanAndInfinityStayLocal) {
  TargetContext context(GetParam(), Serial(), kScratch);
  constexpr size_t kH = 19, kW = 37, kC = 3, kK = 5;
  for (const Layout layout : {Layout::kNhwc, Layout::kNchw}) {
    const Floats taps(kK * kK * kC, 1.0f);
    const DepthwiseKernel kernel(Nchw(taps.data(), 1, kC, kK, kK));
    const DepthwisePlan plan(kernel, kH, kW, layout, ConvAlgo::kSeparable);
    const ImageBuffer in(layout, 1, kH, kW, kC), out(layout, 1, kH, kW, kC);
    for (float& v : in.memory()) v = 0;
    in.At(0, 1, 15, 2) = std::numeric_limits<float>::quiet_NaN();
    in.At(0, 18, 36, 0) = std::numeric_limits<float>::infinity();
    DepthwiseConv2d(plan, in.in(), out.view(), context);
    for (size_t y = 0; y < kH; ++y) {
      for (size_t x = 0; x < kW; ++x) {
        for (size_t c = 0; c < kC; ++c) {
          const float v = out.At(0, y, x, c);
          if (c == 2 && y <= 3 && x >= 13 && x <= 17) {
            ASSERT_TRUE(std::isnan(v)) << y << ' ' << x;
          } else if (c == 0 && y >= 16 && x >= 34) {
            ASSERT_EQ(v, std::numeric_limits<float>::infinity()) << y << ' ' << x;
          } else {
            ASSERT_TRUE(v == 0.0f && !std::signbit(v)) << v << " at " << y << ' ' << x << ' ' << c;
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Separable, ::testing::ValuesIn(TargetNames()), NameOfTarget);

bool IsSeparable(const Floats& taps, size_t c, size_t kh, size_t kw) {
  return DepthwiseKernel(Nchw(taps.data(), 1, c, kh, kw)).separable();
}

TEST(RankOne, IsFoundWhereRoundingIsAllThatDiffers) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Random random(seed);
    const size_t c = 1 + random.Below(40), kh = 2 + random.Below(30), kw = 2 + random.Below(30);
    Floats taps = Products(c, kh, kw, seed);
    ASSERT_TRUE(IsSeparable(taps, c, kh, kw)) << seed;
    float& tap = taps[random.Below(taps.size())];
    const float was = tap;
    tap = was * (1 + 0x1p-19f);
    ASSERT_EQ(IsSeparable(taps, c, kh, kw), was == 0) << seed;
    tap = was + 0.125f;
    ASSERT_FALSE(IsSeparable(taps, c, kh, kw)) << seed;
  }
  // A Gaussian, computed in double.
  Floats gaussian(51 * 51);
  size_t at = 0;
  for (int y = -25; y <= 25; ++y) {
    for (int x = -25; x <= 25; ++x) {
      const double square = x * x + y * y;
      gaussian[at++] = static_cast<float>(std::exp(-square / 128));
    }
  }
  EXPECT_TRUE(IsSeparable(gaussian, 1, 51, 51));
  EXPECT_TRUE(IsSeparable(Floats(2 * 9, 0.25f), 2, 3, 3));
  EXPECT_TRUE(IsSeparable(Floats(4, 0.0f), 1, 2, 2));
  EXPECT_TRUE(IsSeparable({1, 0, -1, 2, 0, -2, 1, 0, -1}, 1, 3, 3));  // Sobel
  EXPECT_FALSE(IsSeparable({0, 1, 0, 1, -4, 1, 0, 1, 0}, 1, 3, 3));   // Laplace
  EXPECT_FALSE(IsSeparable({1, 1, 1, 1, 1, 1, 1, 0}, 2, 2, 2));       // one channel of two is not
  EXPECT_FALSE(IsSeparable({1e-30f, 1, 1e-30f, 1e-30f}, 1, 2, 2));    // the product is 1e-60, a tap is not
  EXPECT_FALSE(IsSeparable(Floats(5, 1.0f), 1, 1, 5));                // a band already
}

TEST(RankOne, IsChosenWhereItIsFasterAndAsExact) {
  const auto plan_for = [](size_t k, size_t size, Layout layout, ConvAlgo algo = ConvAlgo::kAuto,
                           const ConvGeometry& g = {}) {
    const Floats taps(32 * k * k, 0.5f);
    return DepthwisePlan(DepthwiseKernel(Nchw(taps.data(), 1, 32, k, k), g), size, size, layout, algo);
  };
  for (const Layout layout : {Layout::kNhwc, Layout::kNchw}) {
    EXPECT_EQ(plan_for(3, 56, layout).algo(), ConvAlgo::kDirect);
    EXPECT_EQ(plan_for(9, 200, layout).algo(), ConvAlgo::kSeparable);
    EXPECT_LE(plan_for(201, 2000, layout, ConvAlgo::kSeparable).scratch_per_worker(), Context::kDefaultScratch);
  }
  EXPECT_NE(Explain(plan_for(9, 56, Layout::kNhwc)).find("separable: chosen, the taps are of rank one. Two bands."),
            std::string::npos);
  EXPECT_NE(Explain(plan_for(3, 56, Layout::kNhwc)).find("separable: not chosen: the kernel is small"),
            std::string::npos);
  const auto message = [&](size_t k, size_t size, const ConvGeometry& g) {
    return FailureOf([&] { (void)plan_for(k, size, Layout::kNhwc, ConvAlgo::kSeparable, g); });
  };
  const std::string cannot = "DepthwisePlan: algo is kSeparable, which can't run: ";
  EXPECT_EQ(message(3, 9, {}), "");
  EXPECT_EQ(message(1, 9, {}), cannot + "the kernel is one band");
  EXPECT_EQ(message(3, 0, {}), cannot + "the image is empty");
  ConvGeometry g;
  g.reweight = true;
  EXPECT_EQ(message(3, 9, g), cannot + "borders are re-weighted");
  const Floats corner{1, 1, 1, 0};
  EXPECT_EQ(FailureOf([&] {
              DepthwisePlan(DepthwiseKernel(Nchw(corner.data(), 1, 1, 2, 2)), 9, 9, Layout::kNhwc,
                            ConvAlgo::kSeparable);
            }),
            cannot + "not every channel's taps are of rank one");
}

}}}  // namespace lutra::testing
