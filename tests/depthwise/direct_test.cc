// The direct algorithm on every target against the definition, bit for bit, in guarded memory.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>

#include "depthwise/cases.h"
#include "lutra/depthwise/args.h"
#include "lutra/depthwise/reference.h"
#include "support/scratch.h"
#include "support/targets.h"

namespace lutra { namespace testing { namespace {

constexpr size_t kScratch = size_t{2} << 20;

struct Prepared {  // a case with its data, and what must come out with FMA and without
  explicit Prepared(const ConvCase& t, bool fused)
      : taps(t.kh * t.kw * t.c),
        scale(t.c),
        bias(t.c),
        mul(t.c),
        kernel(MakeKernel(t)),
        plan(kernel, t.h, t.w, t.layout, ConvAlgo::kDirect),
        in(t.layout, t.n, t.h, t.w, t.c, t.in_gaps, t.seed % 2 ? Edge::kEnd : Edge::kBegin),
        want(t.layout, t.n, plan.out_h(), plan.out_w(), t.c, t.out_gaps),
        residual(t.n * plan.out_h() * plan.out_w() * t.c) {
    in.Randomize(t.seed);
    Random random(t.seed + 1);
    for (const auto* buffer : {&scale, &bias, &mul, &residual}) {
      for (float& v : *buffer) v = random.Value();
    }
    if (t.epilogue >= 1) epilogue.bias = bias.data();
    if (t.epilogue == 2) epilogue.act = Act::kRelu;
    if (t.epilogue == 3) {
      epilogue.scale = scale.data();
      epilogue.clamp = true;
      epilogue.lo = -0.5f;
      epilogue.hi = 0.75f;
      epilogue.mul = View(static_cast<const float*>(mul.data()), 1, t.c, 0);
      if (t.layout == Layout::kNhwc) {
        epilogue.residual = View(static_cast<const float*>(residual.data()), residual.size() / t.c, t.c);
      }
    }
    if (fused) {
      reference::DepthwiseConv2d<float, true>(Taps(t), t.geometry, in.in(), want.view(), epilogue);
    } else {
      reference::DepthwiseConv2d<float, false>(Taps(t), t.geometry, in.in(), want.view(), epilogue);
    }
  }
  ConstImageView Taps(const ConvCase& t) const {
    return Nchw(static_cast<const float*>(taps.data()), 1, t.c, t.kh, t.kw);
  }
  DepthwiseKernel MakeKernel(const ConvCase& t) const {
    Random random(t.seed + 2);
    for (float& v : taps) v = random.Value();
    return DepthwiseKernel(Taps(t), t.geometry);
  }

  GuardedBuffer<float> taps, scale, bias, mul;
  DepthwiseKernel kernel;
  DepthwisePlan plan;
  ImageBuffer in, want;
  GuardedBuffer<float> residual;
  Epilogue epilogue;
};

class Direct : public ::testing::TestWithParam<std::string> {};

TEST_P(Direct, EqualsReferenceBitForBit) {
  ThreeThreads threads;
  TargetContext serial(GetParam(), Serial(), kScratch), parallel(GetParam(), threads.AsExecutor(), kScratch);
  size_t planes = 0, turned = 0;  // NCHW: lanes are columns, or channels
  for (const ConvCase& t : ConvCases()) {
    const Prepared p(t, HasFma(GetParam()));
    planes += t.layout == Layout::kNchw && !p.plan.parts().turned;
    turned += p.plan.parts().turned;
    for (TargetContext* context : {&serial, &parallel}) {
      const ImageBuffer got(t.layout, t.n, p.plan.out_h(), p.plan.out_w(), t.c, t.out_gaps,
                            context == &serial ? Edge::kEnd : Edge::kBegin);
      const size_t runs = threads.runs;
      ConstImageView in = p.in.in();
      if (p.in.memory().size() == 0) in.data = nullptr;
      DepthwiseConv2d(p.plan, in, got.view(), *context, p.epilogue);
      ASSERT_EQ(threads.runs - runs, context == &parallel ? 1u : 0u) << t;
      ASSERT_TRUE(got.SameAs(p.want)) << t;
      ASSERT_TRUE(got.memory().CanariesIntact()) << t;
      if (got.memory().size() != 0) context->Check();
    }
  }
  EXPECT_GE(planes, 25u);
  EXPECT_GE(turned, 60u);
}

// NCHW of 3 x 3 at stride 1, which AVX-512 reads where it is: every width around its vectors, one, two and odd numbers
// of them, on all sides of the padding.
TEST_P(Direct, PlanesOf3x3OfAnyWidth) {
  TargetContext context(GetParam(), Serial(), kScratch);
  size_t planes = 0;
  for (const size_t w : {1u, 2u, 15u, 16u, 17u, 24u, 31u, 32u, 33u, 47u, 48u, 49u, 64u, 65u, 100u}) {
    for (const size_t h : {1u, 2u, 8u, 11u}) {
      for (const int pad : {-1, 0, 1, 2, 5}) {
        if (pad == 0 && (w < 3 || h < 3)) continue;
        ConvCase t{1, h, w, 2, 3, 3, {}, Layout::kNchw, {}, {}, static_cast<int>(w % 4), w * 8 + h};
        t.geometry.top = t.geometry.left = t.geometry.bottom = t.geometry.right = pad;
        if (pad == 5) t.geometry.left = t.geometry.bottom = 0;
        if (h % 2 == 0) t.in_gaps = t.out_gaps = {3, 1, 2};
        t.geometry.reweight = pad == 2;
        const Prepared p(t, HasFma(GetParam()));
        planes += !p.plan.parts().turned;
        const ImageBuffer got(t.layout, t.n, p.plan.out_h(), p.plan.out_w(), t.c, t.out_gaps, Edge::kBegin);
        DepthwiseConv2d(p.plan, p.in.in(), got.view(), context, p.epilogue);
        ASSERT_TRUE(got.SameAs(p.want)) << t;
        ASSERT_TRUE(got.memory().CanariesIntact()) << t;
      }
    }
  }
  EXPECT_GE(planes, 200u);
}

// NHWC whose pixels lie a large power of two apart: rows are copied first.
TEST_P(Direct, PixelsThatCrowdL1) {
  TargetContext context(GetParam(), Serial(), kScratch);
  for (const size_t pitch : {256u, 512u, 1024u}) {
    for (const size_t k : {2u, 3u, 5u, 7u}) {
      for (const size_t step : {1u, 2u}) {
        for (const size_t c : {20u, 48u}) {
          const Gaps gaps{pitch - c, 0, 0};
          ConvCase t{1, 18, 10, c, k, k, {}, Layout::kNhwc, gaps, gaps, static_cast<int>(k % 4), pitch + k};
          t.geometry.stride_h = t.geometry.stride_w = step;
          t.geometry.dil_h = t.geometry.dil_w = 3 - step;
          if (k == 5) t.geometry.pad = Pad::kCircular;
          const Prepared p(t, HasFma(GetParam()));
          const ImageBuffer got(t.layout, t.n, p.plan.out_h(), p.plan.out_w(), t.c, gaps);
          const OnlyScratch only(context, p.plan.scratch_per_worker(false, DType::kBF16));
          DepthwiseConv2d(p.plan, p.in.in(), got.view(), context, p.epilogue);
          ASSERT_TRUE(got.SameAs(p.want)) << t;
          ASSERT_TRUE(only.Kept()) << t;
        }
      }
    }
  }
}

// Kernels wider than the image, up to those that tiles walk column by column: columns of tiles whose first, last or
// all taps meet no column of the image.
TEST_P(Direct, TapsThatMeetNoColumn) {
  TargetContext context(GetParam(), Serial(), kScratch);
  for (const size_t w : {1u, 3u, 7u, 8u, 14u, 17u}) {
    for (const size_t kw : {2u, 8u, 21u, 57u, 58u, 59u, 61u, 62u}) {
      for (const size_t step : {1u, 2u}) {
        for (const int left : {0, 9, 70}) {
          ConvCase t{1, 3, w, 25, 3, kw, {}, Layout::kNhwc, {}, {}, static_cast<int>((w + kw) % 3), w * 100 + kw};
          t.geometry.stride_w = step;
          t.geometry.left = left;
          t.geometry.right = 70 - left;
          if (!Possible(t)) continue;
          const Prepared p(t, HasFma(GetParam()));
          const ImageBuffer got(t.layout, t.n, p.plan.out_h(), p.plan.out_w(), t.c, {}, Edge::kBegin);
          DepthwiseConv2d(p.plan, p.in.in(), got.view(), context, p.epilogue);
          ASSERT_TRUE(got.SameAs(p.want)) << t << ", left " << left;
          ASSERT_TRUE(got.memory().CanariesIntact()) << t;
        }
      }
    }
  }
}
TEST(CrowdsL1, WhereATilesPixelsShareFewSets) {
  const auto crowds = [](size_t channels, size_t k, size_t side, bool whole_lines, size_t from_in_to_out) {
    return depthwise::CrowdsL1(channels * sizeof(float), k, k, side, side, {}, whole_lines, from_in_to_out);
  };
  for (const size_t k : {3u, 5u, 7u}) {
    EXPECT_TRUE(crowds(1024, k, 7, true, 64)) << k;
    EXPECT_TRUE(crowds(1024, k, 7, false, 64)) << k;
    EXPECT_TRUE(crowds(512, k, 14, false, 64)) << k;
    EXPECT_TRUE(crowds(512, k, 14, true, 4096 - 63)) << k;
    EXPECT_TRUE(crowds(512, k, 14, true, 63)) << k;
    EXPECT_FALSE(crowds(512, k, 14, true, 64)) << k;
    EXPECT_FALSE(crowds(256, k, 28, true, 0)) << k;
    EXPECT_FALSE(crowds(96, k, 56, false, 0)) << k;
  }
  EXPECT_TRUE(crowds(256, 5, 28, false, 0));
  EXPECT_FALSE(crowds(768, 3, 7, false, 0));
  EXPECT_FALSE(crowds(0, 1, 7, false, 0));
}

TEST_P(Direct, NeedsNoMoreScratchThanItSays) {
  TargetContext context(GetParam(), Serial(), kScratch);
  for (const ConvCase& t : ConvCases()) {
    const Prepared p(t, HasFma(GetParam()));
    const ImageBuffer got(t.layout, t.n, p.plan.out_h(), p.plan.out_w(), t.c, t.out_gaps);
    const OnlyScratch only(context, p.plan.scratch_per_worker());
    DepthwiseConv2d(p.plan, p.in.in(), got.view(), context, p.epilogue);
    ASSERT_TRUE(got.SameAs(p.want)) << t;
    ASSERT_TRUE(only.Kept()) << t;
  }
}

TEST_P(Direct, InPlaceGivesTheSameBits) {
  ThreeThreads threads;
  TargetContext context(GetParam(), threads.AsExecutor(), kScratch);
  size_t ran = 0;
  for (const ConvCase& t : ConvCases()) {
    const Prepared p(t, HasFma(GetParam()));
    if (!p.plan.in_place_ok()) continue;
    const ImageBuffer image(t.layout, t.n, t.h, t.w, t.c, t.in_gaps);
    image.CopyFrom(p.in);
    DepthwiseConv2d(p.plan, image.in(), image.view(), context, p.epilogue);
    ImageBuffer want(t.layout, t.n, t.h, t.w, t.c, t.in_gaps);
    want.CopyFrom(p.in);  // gaps keep what they held
    for (size_t n = 0; n < t.n; ++n) {
      for (size_t y = 0; y < t.h; ++y) {
        for (size_t x = 0; x < t.w; ++x) {
          for (size_t c = 0; c < t.c; ++c) want.At(n, y, x, c) = p.want.At(n, y, x, c);
        }
      }
    }
    ASSERT_TRUE(image.SameAs(want)) << t;
    ran += image.memory().size() != 0;
  }
  EXPECT_GE(ran, 50u);
}

// Error bound. A sum of k taps takes k roundings with FMA and 2 k without, each at most u = 2^-24 of the value it
// rounds: |y - exact| <= (k + 1) u / (1 - (k + 1) u) * sum |tap * x| in both cases, since without FMA each product is
// rounded once and then takes part in at most k additions. Values here are far from under- and overflow.
TEST_P(Direct, StaysInsideTheErrorBound) {
  TargetContext context(GetParam(), Serial(), kScratch);
  for (ConvCase t : ConvCases()) {
    t.epilogue = 0;
    const Prepared p(t, true);
    const ImageBuffer got(t.layout, t.n, p.plan.out_h(), p.plan.out_w(), t.c, t.out_gaps);
    DepthwiseConv2d(p.plan, p.in.in(), got.view(), context);
    const ImageBuffer exact(t.layout, t.n, p.plan.out_h(), p.plan.out_w(), t.c, t.out_gaps);
    reference::DepthwiseConv2d<double>(p.Taps(t), t.geometry, p.in.in(), exact.view());
    for (const auto* absolute : {&p.taps, &p.in.memory()}) {
      for (float& v : *absolute) v = std::fabs(v);
    }
    const ImageBuffer size(t.layout, t.n, p.plan.out_h(), p.plan.out_w(), t.c, t.out_gaps);
    reference::DepthwiseConv2d<double>(p.Taps(t), t.geometry, p.in.in(), size.view());
    // + 1 for the rounding of `exact` to float, 2 for re-weighting, and half as much again of nothing: the (1 - ...) is
    // below 1.0002.
    const double k = static_cast<double>(t.kh * t.kw) + (t.geometry.reweight ? 4 : 2);
    for (size_t i = 0; i < got.memory().size(); ++i) {
      const double difference = std::fabs(double{got.memory()[i]} - double{exact.memory()[i]});
      if (std::isfinite(size.memory()[i]) && size.memory()[i] >= 0) {  // not a gap
        ASSERT_LE(difference, k * 0x1p-24 * 1.0002 * double{size.memory()[i]}) << t << " element " << i;
      }
    }
  }
}

// The same image alone, in a batch, and with threads in another order; NHWC and NCHW.
TEST_P(Direct, BatchThreadsAndLayoutDoNotMatter) {
  Backwards backwards;
  TargetContext serial(GetParam(), Serial(), kScratch), other(GetParam(), backwards.AsExecutor(), kScratch);
  constexpr size_t kN = 3, kH = 37, kW = 41, kC = 35;
  for (const size_t k : {3u, 7u, 10u}) {
    GuardedBuffer<float> taps(k * k * kC);
    Random random(k);
    for (float& v : taps) v = random.Value();
    const DepthwiseKernel kernel(Nhwc(static_cast<const float*>(taps.data()), 1, k, k, kC));
    const DepthwisePlan nhwc(kernel, kH, kW, Layout::kNhwc, ConvAlgo::kDirect),
        nchw(kernel, kH, kW, Layout::kNchw, ConvAlgo::kDirect);
    const ImageBuffer in(Layout::kNhwc, kN, kH, kW, kC), all(Layout::kNhwc, kN, kH, kW, kC);
    in.Randomize(k);
    DepthwiseConv2d(nhwc, in.in(), all.view(), other);
    const ImageBuffer planes(Layout::kNchw, kN, kH, kW, kC), planes_out(Layout::kNchw, kN, kH, kW, kC);
    for (size_t n = 0; n < kN; ++n) {
      for (size_t y = 0; y < kH; ++y) {
        for (size_t x = 0; x < kW; ++x) {
          for (size_t c = 0; c < kC; ++c) planes.At(n, y, x, c) = in.At(n, y, x, c);
        }
      }
    }
    DepthwiseConv2d(nchw, planes.in(), planes_out.view(), other);
    const ImageBuffer one(Layout::kNhwc, 1, kH, kW, kC);
    for (size_t n = 0; n < kN; ++n) {
      ConstImageView alone = in.in();
      alone.data = &in.At(n, 0, 0, 0);
      alone.n = 1;
      DepthwiseConv2d(nhwc, alone, one.view(), serial);
      for (size_t y = 0; y < kH; ++y) {
        for (size_t x = 0; x < kW; ++x) {
          for (size_t c = 0; c < kC; ++c) {
            ASSERT_EQ(one.At(0, y, x, c), all.At(n, y, x, c)) << n << ' ' << y << ' ' << x << ' ' << c;
            ASSERT_EQ(one.At(0, y, x, c), planes_out.At(n, y, x, c)) << n << ' ' << y << ' ' << x << ' ' << c;
          }
        }
      }
    }
  }
}

// One NaN and one infinity reach exactly the outputs whose window they are in; every other sum is zero, and that
// is +0.
TEST_P(Direct, NanAndInfinityStayLocal) {
  TargetContext context(GetParam(), Serial(), kScratch);
  constexpr size_t kH = 19, kW = 37, kC = 19, kK = 5;
  for (const Layout layout : {Layout::kNhwc, Layout::kNchw}) {
    GuardedBuffer<float> taps(kK * kK * kC);
    for (float& v : taps) v = -1e-30f;
    const DepthwiseKernel kernel(Nchw(static_cast<const float*>(taps.data()), 1, kC, kK, kK));
    const DepthwisePlan plan(kernel, kH, kW, layout, ConvAlgo::kDirect);
    const ImageBuffer in(layout, 1, kH, kW, kC), out(layout, 1, kH, kW, kC);
    for (float& v : in.memory()) v = 1e-30f;  // every product underflows to -0
    in.At(0, 1, 15, 17) = std::numeric_limits<float>::quiet_NaN();
    in.At(0, 18, 36, 3) = std::numeric_limits<float>::infinity();
    DepthwiseConv2d(plan, in.in(), out.view(), context);
    for (size_t y = 0; y < kH; ++y) {
      for (size_t x = 0; x < kW; ++x) {
        for (size_t c = 0; c < kC; ++c) {
          const float v = out.At(0, y, x, c);
          if (c == 17 && y <= 3 && x >= 13 && x <= 17) {
            ASSERT_TRUE(std::isnan(v)) << y << ' ' << x;
          } else if (c == 3 && y >= 16 && x >= 34) {
            ASSERT_EQ(v, -std::numeric_limits<float>::infinity()) << y << ' ' << x;
          } else {
            ASSERT_TRUE(v == 0.0f && !std::signbit(v)) << v << " at " << y << ' ' << x << ' ' << c;
          }
        }
      }
    }
  }
}

// An epilogue with any activation and output type is the shared epilogue's, applied to the sum.
TEST_P(Direct, OutputTypesAndAccumulate) {
  TargetContext context(GetParam(), Serial(), kScratch);
  constexpr size_t kH = 5, kW = 11, kC = 21, kSize = kH * kW * kC;
  GuardedBuffer<float> taps(9 * kC), bias(kC);
  Random random(3);
  for (const auto* buffer : {&taps, &bias}) {
    for (float& v : *buffer) v = random.Value();
  }
  const ConstImageView tap_view = Nhwc(static_cast<const float*>(taps.data()), 1, 3, 3, kC);
  for (const Layout layout : {Layout::kNhwc, Layout::kNchw}) {
    const DepthwisePlan plan(DepthwiseKernel(tap_view), kH, kW, layout, ConvAlgo::kDirect);
    const ImageBuffer in(layout, 1, kH, kW, kC);
    in.Randomize(5);
    for (const DType type : {DType::kF32, DType::kBF16, DType::kF16, DType::kI8, DType::kU8}) {
      for (const bool accumulate : {false, true}) {
        if (accumulate && !IsFloat(type)) continue;
        GuardedBytes got(kSize * SizeOf(type)), want(kSize * SizeOf(type));
        std::memset(got.data(), 0x3A, got.size());
        std::memset(want.data(), 0x3A, want.size());
        const ImageBuffer shape(layout, 1, kH, kW, kC);
        ImageView out = shape.view();
        out.type = type;
        Epilogue e;
        e.bias = bias.data();
        e.accumulate = accumulate;
        e.out_scale = 40.0f;
        e.out_zero = type == DType::kU8 ? 128 : -3;
        out.data = want.data();
        if (HasFma(GetParam())) {
          reference::DepthwiseConv2d<float, true>(tap_view, {}, in.in(), out, e);
        } else {
          reference::DepthwiseConv2d<float, false>(tap_view, {}, in.in(), out, e);
        }
        out.data = got.data();
        DepthwiseConv2d(plan, in.in(), out, context, e);
        ASSERT_EQ(std::memcmp(got.data(), want.data(), got.size()), 0) << NameOf(type) << ' ' << accumulate;
        ASSERT_TRUE(got.CanariesIntact());
      }
    }
  }
}

// One plane of taps for all channels, one channel of input for all outputs.
TEST_P(Direct, StridesOfZeroAreReadAsTheyAre) {
  TargetContext context(GetParam(), Serial(), kScratch);
  constexpr size_t kH = 6, kW = 9, kC = 5;
  GuardedBuffer<float> taps(9);
  Random random(3);
  for (float& v : taps) v = random.Value();
  ConstImageView shared = Nchw(static_cast<const float*>(taps.data()), 1, 1, 3, 3);
  shared.c = kC;
  shared.sc = 0;
  const DepthwisePlan plan(DepthwiseKernel(shared), kH, kW, Layout::kNchw, ConvAlgo::kDirect);
  const ImageBuffer in(Layout::kNchw, 1, kH, kW, 1), out(Layout::kNchw, 1, kH, kW, kC);
  in.Randomize(5);
  ConstImageView wide = in.in();
  wide.c = kC;
  wide.sc = 0;
  DepthwiseConv2d(plan, wide, out.view(), context);
  for (size_t y = 0; y < kH; ++y) {
    for (size_t x = 0; x < kW; ++x) {
      for (size_t c = 1; c < kC; ++c) ASSERT_EQ(out.At(0, y, x, 0), out.At(0, y, x, c));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Direct, ::testing::ValuesIn(TargetNames()), NameOfTarget);

}}}  // namespace lutra::testing
