// The front door: hand-computed cases of the definition, plans, messages.
#include "lutra/depthwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "depthwise/images.h"
#include "lutra/depthwise/reference.h"
#include "support/targets.h"

namespace lutra { namespace testing { namespace {

using Floats = std::vector<float>;

// Both the definition and the library; taps [kh, kw] and the image [h, w] of one channel.
Floats Convolve(size_t kh, size_t kw, const Floats& taps, size_t h, size_t w, const Floats& image,
                const ConvGeometry& geometry) {
  const ConstImageView tap_view = Nchw(taps.data(), 1, 1, kh, kw), in = Nchw(image.data(), 1, 1, h, w);
  const DepthwisePlan plan(DepthwiseKernel(tap_view, geometry), h, w, Layout::kNchw);
  Floats want(plan.out_h() * plan.out_w()), got(want.size());
  reference::DepthwiseConv2d(tap_view, geometry, in, Nchw(want.data(), 1, 1, plan.out_h(), plan.out_w()));
  Context context;
  DepthwiseConv2d(plan, in, Nchw(got.data(), 1, 1, plan.out_h(), plan.out_w()), context);
  EXPECT_EQ(got, want);
  return want;
}

TEST(DepthwiseReference, ByHand) {
  const Floats row{1, 2, 3, 4};
  ConvGeometry g;
  EXPECT_EQ(Convolve(1, 3, {1, 10, 100}, 1, 4, row, g), (Floats{210, 321, 432, 43}));
  EXPECT_EQ(Convolve(3, 1, {1, 10, 100}, 4, 1, row, g), (Floats{210, 321, 432, 43}));
  EXPECT_EQ(Convolve(1, 2, {1, 10}, 1, 4, row, g), (Floats{21, 32, 43, 4}));  // even: the extra column is on the right
  EXPECT_EQ(Convolve(1, 4, {1, 10, 100, 1000}, 1, 4, row, g), (Floats{3210, 4321, 432, 43}));
  g.pad = Pad::kCircular;
  EXPECT_EQ(Convolve(1, 3, {1, 10, 100}, 1, 4, row, g), (Floats{214, 321, 432, 143}));
  g.pad = Pad::kReflect;
  EXPECT_EQ(Convolve(1, 3, {1, 10, 100}, 1, 4, row, g), (Floats{212, 321, 432, 343}));
  g.pad = Pad::kReplicate;
  EXPECT_EQ(Convolve(1, 3, {1, 10, 100}, 1, 4, row, g), (Floats{211, 321, 432, 443}));
  g = {};
  g.left = 0;
  g.right = 2;
  EXPECT_EQ(Convolve(1, 3, {1, 10, 100}, 1, 4, row, g), (Floats{321, 432, 43, 4}));
  g = {};
  g.dil_w = 2;
  EXPECT_EQ(Convolve(1, 3, {1, 10, 100}, 1, 4, row, g), (Floats{310, 420, 31, 42}));
  g = {};
  g.stride_w = 2;
  EXPECT_EQ(Convolve(1, 3, {1, 10, 100}, 1, 4, row, g), (Floats{210, 432}));
  g = {};
  g.left = g.right = 0;
  EXPECT_EQ(Convolve(1, 4, {1, 10, 100, 1000}, 1, 4, row, g), (Floats{4321}));
  g = {};
  EXPECT_EQ(Convolve(3, 3, {1, 2, 3, 4, 5, 6, 7, 8, 9}, 2, 2, {1, 10, 100, 1000}, g), (Floats{9865, 8754, 6532, 5421}));
  g.left = 5;
  g.right = 0;
  EXPECT_EQ(Convolve(1, 1, {7}, 1, 2, {1, 2}, g), (Floats{0, 0, 0, 0, 0, 7, 14}));
  g = {};
  g.reweight = true;
  EXPECT_EQ(Convolve(1, 3, {1, 10, 100}, 1, 4, row, g), (Floats{315, 321, 432, 64.5}));
  EXPECT_EQ(Convolve(3, 3, {1, 1, 1, 1, 1, 1, 1, 1, 1}, 2, 3, {1, 2, 3, 4, 5, 6}, g),
            (Floats{27, 31.5, 36, 27, 31.5, 36}));
  g.dil_w = 2;
  g.stride_w = 3;
  g.left = g.right = 5;  // columns -5 -3 -1, -2 0 2, 1 3 5, 4 6 8
  EXPECT_EQ(Convolve(1, 3, {1, 10, 100}, 1, 4, row, g), (Floats{0, 465, 63, 0}));
}

TEST(DepthwisePlan, SaysWhatItIs) {
  const Floats taps(5 * 4 * 20, 0.5f);
  ConvGeometry g;
  g.stride_h = 2;
  g.dil_w = 3;
  const DepthwiseKernel kernel(Nhwc(taps.data(), 1, 5, 4, 20), g);
  EXPECT_EQ(kernel.c(), 20u);
  EXPECT_EQ(kernel.h(), 5u);
  EXPECT_EQ(kernel.w(), 4u);
  EXPECT_EQ(kernel.geometry().top, 2);
  EXPECT_EQ(kernel.geometry().bottom, 2);
  EXPECT_EQ(kernel.geometry().left, 4);
  EXPECT_EQ(kernel.geometry().right, 5);
  EXPECT_TRUE(kernel.separable());
  EXPECT_EQ(kernel.bytes(), 2 * (5 * 4 + 5 + 4) * 16 * sizeof(float));
  const DepthwisePlan plan(kernel, 11, 30, Layout::kNhwc, ConvAlgo::kDirect);
  EXPECT_EQ(plan.out_h(), 6u);
  EXPECT_EQ(plan.out_w(), 30u);
  EXPECT_EQ(plan.algo(), ConvAlgo::kDirect);
  EXPECT_FALSE(plan.in_place_ok());
  EXPECT_GT(plan.bytes(), kernel.bytes());
  EXPECT_EQ(plan.scratch_per_worker(), 0u);
  const std::string text = Explain(plan);
  for (const char* part : {"5 x 4", "direct: chosen, forced", "FMA peak", "11 x 30 -> 6 x 30", "not possible"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " is not in\n" << text;
  }
  const DepthwisePlan copy = plan;  // shares its memory
  EXPECT_EQ(copy.row_map(), plan.row_map());
  // 1 x 1 needs no copy in place.
  const DepthwisePlan point(DepthwiseKernel(Nhwc(taps.data(), 1, 1, 1, 20)), 100, 100, Layout::kNhwc);
  EXPECT_TRUE(point.in_place_ok());
  EXPECT_EQ(point.scratch_per_worker(true), 0u);
}

TEST(DepthwiseKernel, RefusesBadTaps) {
  Floats taps(3 * 3 * 2, 1.0f);
  const auto message = [](const ConstImageView& view, const ConvGeometry& g = {}) {
    return FailureOf([&] { DepthwiseKernel kernel(view, g); });
  };
  const ConstImageView good = Nchw(static_cast<const float*>(taps.data()), 1, 2, 3, 3);
  EXPECT_EQ(message(good), "");
  ConstImageView bad = good;
  bad.data = nullptr;
  EXPECT_NE(message(bad).find("DepthwiseKernel: taps: data is null"), std::string::npos) << message(bad);
  bad = good;
  bad.type = DType::kBF16;
  EXPECT_EQ(message(bad), "DepthwiseKernel: taps.type is bf16, must be f32 or i8");
  bad = good;
  bad.n = 2;
  EXPECT_EQ(message(bad), "DepthwiseKernel: taps.n is 2, must be 1 (channels are c: Nchw(p, 1, C, KH, KW))");
  bad = good;
  bad.w = 0;
  EXPECT_EQ(message(bad), "DepthwiseKernel: taps are 3 x 0 for 2 channels, must be at least 1 x 1 for 1");
  ConvGeometry g;
  g.stride_w = 0;
  EXPECT_EQ(message(good, g), "DepthwiseKernel: stride is 1 x 0, must be at least 1");
  g = {};
  g.dil_h = 0;
  EXPECT_EQ(message(good, g), "DepthwiseKernel: dilation is 0 x 1, must be at least 1");
  g = {};
  g.bottom = -2;
  EXPECT_EQ(message(good, g), "DepthwiseKernel: padding bottom is -2, must be -1 (same) or at least 0");
  g = {};
  g.dil_w = size_t{1} << 40;
  EXPECT_NE(message(good, g).find("DepthwiseKernel: taps of 3 x 3, dilated by 1 x 1099511627776, span more than"),
            std::string::npos);
  g = {};
  g.pad = static_cast<Pad>(9);
  EXPECT_EQ(message(good, g), "DepthwiseKernel: pad is 9, not a Pad");
  g.pad = Pad::kReflect;
  g.reweight = true;
  EXPECT_EQ(message(good, g), "DepthwiseKernel: pad is reflect, reweight needs zero padding");
  taps[9 + 5] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(message(good), "DepthwiseKernel: tap y 1, x 2 of channel 1 is inf, must be finite");
}

TEST(DepthwisePlan, RefusesBadSizes) {
  const Floats taps(7 * 7, 1.0f);
  const ConstImageView view = Nchw(taps.data(), 1, 1, 7, 7);
  const auto message = [&](const ConvGeometry& g, size_t h, size_t w) {
    const DepthwiseKernel kernel(view, g);
    return FailureOf([&] { DepthwisePlan plan(kernel, h, w, Layout::kNhwc); });
  };
  ConvGeometry g;
  g.pad = Pad::kReflect;
  EXPECT_EQ(message(g, 4, 4), "");
  EXPECT_EQ(message(g, 4, 3), "DepthwisePlan: w is 3, reflect padding is 3 and 3 there, must be smaller");
  g.pad = Pad::kCircular;
  EXPECT_EQ(message(g, 1, 1), "");
  EXPECT_EQ(message(g, 0, 1), "DepthwisePlan: h is 0, circular padding needs at least 1");
  g = {};
  g.top = g.bottom = 0;
  EXPECT_EQ(message(g, 6, 9), "DepthwisePlan: h is 6 with padding, the kernel spans 7");
  EXPECT_EQ(message(g, 0, 9), "");
  EXPECT_NE(message(g, size_t{1} << 40, 9).find("DepthwisePlan: h is 1099511627776, must be at most"),
            std::string::npos);
  const DepthwiseKernel kernel(view);
  EXPECT_EQ(FailureOf([&] { DepthwisePlan plan(kernel, 9, 9, static_cast<Layout>(7)); }),
            "DepthwisePlan: layout is 7, not a Layout");
  EXPECT_EQ(FailureOf([&] { DepthwisePlan plan(kernel, 9, 9, Layout::kNhwc, static_cast<ConvAlgo>(7)); }),
            "DepthwisePlan: algo is 7, not a ConvAlgo");
}

TEST(DepthwiseConv2d, RefusesBadCallsAndWritesNothing) {
  Context context;
  constexpr size_t kH = 60, kW = 50, kC = 18;
  const Floats taps(9 * kC, 1.0f);
  const DepthwiseKernel kernel(Nchw(taps.data(), 1, kC, 3, 3));
  const DepthwisePlan nhwc(kernel, kH, kW, Layout::kNhwc), nchw(kernel, kH, kW, Layout::kNchw);
  const ImageBuffer in(Layout::kNhwc, 2, kH, kW, kC), out(Layout::kNhwc, 2, kH, kW, kC);
  const ImageBuffer untouched(Layout::kNhwc, 2, kH, kW, kC);
  const ImageBuffer planes(Layout::kNchw, 2, kH, kW, kC), out_planes(Layout::kNchw, 2, kH, kW, kC);
  const auto message = [&](const DepthwisePlan& plan, const ConstImageView& from, const ImageView& to,
                           const Epilogue& e = {}) {
    return FailureOf([&] { DepthwiseConv2d(plan, from, to, context, e); });
  };
  ConstImageView from = in.in();
  ImageView to = out.view();
  from.data = nullptr;
  EXPECT_EQ(message(nhwc, from, to), "DepthwiseConv2d: in: data is null, the shape is 2 x 60 x 50 x 18");
  from = in.in();
  to.data = nullptr;
  EXPECT_EQ(message(nhwc, from, to), "DepthwiseConv2d: out: data is null, the shape is 2 x 60 x 50 x 18");
  to = out.view();
  from.type = DType::kI16;
  EXPECT_EQ(message(nhwc, from, to), "DepthwiseConv2d: in.type is i16, must be f32, bf16, f16, i8 or u8");
  from = in.in();
  to.type = DType::kI32;
  EXPECT_EQ(message(nhwc, from, to), "DepthwiseConv2d: out.type is i32, must be f32, bf16, f16, i8 or u8");
  to = out.view();
  from.n = 1;
  EXPECT_EQ(message(nhwc, from, to), "DepthwiseConv2d: in.n is 1, out.n is 2, they must be equal");
  from = in.in();
  from.h = 59;
  EXPECT_EQ(message(nhwc, from, to), "DepthwiseConv2d: in is 59 x 50, the plan is for 60 x 50");
  from = in.in();
  to.w = 49;
  EXPECT_EQ(message(nhwc, from, to), "DepthwiseConv2d: out is 60 x 49, the plan makes 60 x 50");
  to = out.view();
  EXPECT_EQ(message(nhwc, Channels(from, 1, 18), to), "DepthwiseConv2d: in has 17 channels, the plan has 18");
  EXPECT_EQ(message(nhwc, from, Channels(to, 1, 18)), "DepthwiseConv2d: out has 17 channels, the plan has 18");
  EXPECT_EQ(message(nhwc, planes.in(), to), "DepthwiseConv2d: in has strides w 1, c 3000, the plan's NHWC needs sc 1");
  EXPECT_EQ(message(nchw, planes.in(), to), "DepthwiseConv2d: out has strides w 18, c 1, the plan's NCHW needs sw 1");
  to.sh = 0;
  EXPECT_EQ(message(nhwc, from, to),
            "DepthwiseConv2d: out has strides n 54000, h 0, w 18, c 1, some of its elements are the same");
  // Overlap: another row, another channel, another type of the same memory.
  to = in.view();
  to.n = from.n = 1;
  to.data = &in.At(0, 1, 0, 0);
  const char* const overlap = "DepthwiseConv2d: in and out overlap, they must be apart or the same view";
  EXPECT_EQ(message(nhwc, from, to), overlap);
  to.data = &in.At(0, 0, 0, 1);
  EXPECT_EQ(message(nhwc, from, to), overlap);
  to.data = in.view().data;
  to.type = DType::kBF16;
  EXPECT_EQ(message(nhwc, from, to), overlap);
  // In place needs 16 channels of an image as scratch, here more than the default context has.
  const DepthwisePlan large(kernel, 130, 140, Layout::kNhwc);
  const ImageBuffer big(Layout::kNhwc, 1, 130, 140, kC);
  ASSERT_LT(context.scratch_per_worker(), 1164800u);
  EXPECT_EQ(message(large, big.in(), big.view()),
            "DepthwiseConv2d: the plan needs 1164800 bytes of scratch per worker in place, the context has " +
                std::to_string(context.scratch_per_worker()));
  ConvGeometry g;
  g.top = 0;
  const DepthwisePlan shorter(DepthwiseKernel(Nchw(taps.data(), 1, kC, 3, 3), g), kH, kW, Layout::kNhwc);
  ImageView same = in.view();
  EXPECT_EQ(message(shorter, in.in(), same), "DepthwiseConv2d: out is 60 x 50, the plan makes 59 x 50");
  EXPECT_FALSE(shorter.in_place_ok());

  from = in.in();
  to = out.view();
  const int32_t rows[] = {0};
  const Floats operand(2 * kH * kW * kC);
  Epilogue e;
  e.y_row = rows;
  EXPECT_EQ(message(nhwc, from, to, e), "DepthwiseConv2d: epilogue.y_row is for GEMM, must be null");
  e = {};
  e.residual = View(operand.data(), 10, kC);
  EXPECT_EQ(message(nhwc, from, to, e),
            "DepthwiseConv2d: epilogue.residual.rows is 10, out has 6000 pixels (or row_stride 0: one row for all)");
  e.residual = View(operand.data(), 2 * kH * kW, kC - 1);
  EXPECT_EQ(message(nhwc, from, to, e), "DepthwiseConv2d: epilogue.residual.cols is 17, out has 18 channels");
  e.residual = View(operand.data(), 2 * kH * kW, kC);
  EXPECT_EQ(message(nchw, planes.in(), out_planes.view(), e),
            "DepthwiseConv2d: epilogue.residual is per pixel and channel, NCHW takes none (use accumulate)");
  e = {};
  e.mul = View(operand.data(), 2 * kH * kW, kC);
  EXPECT_EQ(message(nchw, planes.in(), out_planes.view(), e),
            "DepthwiseConv2d: epilogue.mul has row_stride 18, NCHW takes one row for all pixels (row_stride 0)");
  e.mul.type = DType::kI8;
  EXPECT_EQ(message(nhwc, from, to, e), "DepthwiseConv2d: epilogue.mul.type is i8, must be f32, bf16 or f16");
  e = {};
  e.act = static_cast<Act>(77);
  EXPECT_EQ(message(nhwc, from, to, e), "DepthwiseConv2d: epilogue.act is 77, not an Act");
  e = {};
  e.accumulate = true;
  to.type = DType::kI8;
  EXPECT_EQ(message(nhwc, from, to, e),
            "DepthwiseConv2d: epilogue.accumulate needs an out of f32, bf16 or f16, it is i8");

  EXPECT_TRUE(out.SameAs(untouched));
  EXPECT_EQ(message(nhwc, in.in(), out.view()), "");
  EXPECT_FALSE(out.SameAs(untouched));
}

}}}  // namespace lutra::testing
