// Several branches in one pass, against one branch at a time.
#include "lutra/channel_split.h"

#include <gtest/gtest.h>

#include <vector>

#include "depthwise/images.h"
#include "lutra/depthwise/reference.h"
#include "support/targets.h"

namespace lutra { namespace testing { namespace {

constexpr size_t kScratch = size_t{1} << 20;

// InceptionNeXt's token mixer: identity, square kernel, two bands; shifted identities between them.
struct Inception {
  static constexpr size_t kC = 40, kN = 2, kH = 14, kW = 19;

  explicit Inception(Layout layout)
      : square_taps(9 * 7),
        row_taps(11 * 5),
        col_taps(11 * 8),
        bias(kC),
        square(Make(square_taps, 3, 3, 7)),
        row(Make(row_taps, 1, 11, 5)),
        col(Make(col_taps, 11, 1, 8)),
        square_plan(square, kH, kW, layout, ConvAlgo::kDirect),
        row_plan(row, kH, kW, layout, ConvAlgo::kDirect),
        col_plan(col, kH, kW, layout, ConvAlgo::kDirect) {
    Random random(9);
    for (float& v : bias) v = random.Value();
    branches = {{0, 12, nullptr, 0, 0, {}},          {12, 19, &square_plan, 0, 0, Bias(12)},
                {24, 32, &col_plan, 0, 0, Bias(24)}, {19, 24, &row_plan, 0, 0, Bias(19)},
                {32, 35, nullptr, 1, 0, {}},         {35, 38, nullptr, -2, 3, Bias(35)},
                {38, 40, nullptr, 0, -40, {}}};
  }
  static ConstImageView Taps(const GuardedBuffer<float>& taps, size_t kh, size_t kw, size_t c) {
    return Nchw(static_cast<const float*>(taps.data()), 1, c, kh, kw);
  }
  static DepthwiseKernel Make(const GuardedBuffer<float>& taps, size_t kh, size_t kw, size_t c) {
    Random random(kh * 100 + kw);
    for (float& v : taps) v = random.Value();
    return DepthwiseKernel(Taps(taps, kh, kw, c));
  }
  Epilogue Bias(size_t begin) const {
    Epilogue e;
    e.bias = bias.data() + begin;
    return e;
  }
  // One value at a time, into channels of `out`.
  void Reference(const ImageBuffer& in, const ImageBuffer& out, bool fused) const {
    for (const Branch& b : branches) {
      const ConstImageView from = Channels(in.in(), b.begin, b.end);
      const ImageView to = Channels(out.view(), b.begin, b.end);
      if (b.plan != nullptr) {
        const auto& taps = b.begin == 12 ? square_taps : b.begin == 19 ? row_taps : col_taps;
        const ConstImageView t = Taps(taps, b.plan->kernel().h(), b.plan->kernel().w(), b.end - b.begin);
        if (fused) {
          reference::DepthwiseConv2d<float, true>(t, {}, from, to, b.epilogue);
        } else {
          reference::DepthwiseConv2d<float, false>(t, {}, from, to, b.epilogue);
        }
        continue;
      }
      for (size_t n = 0; n < kN; ++n) {
        for (size_t y = 0; y < kH; ++y) {
          for (size_t x = 0; x < kW; ++x) {
            for (size_t c = b.begin; c < b.end; ++c) {
              const size_t sy = y - static_cast<size_t>(b.shift_h), sx = x - static_cast<size_t>(b.shift_w);
              const float v = sy < kH && sx < kW ? in.At(n, sy, sx, c) : 0.0f;
              out.At(n, y, x, c) = b.epilogue.bias == nullptr ? v : v + b.epilogue.bias[c - b.begin];
            }
          }
        }
      }
    }
  }

  GuardedBuffer<float> square_taps, row_taps, col_taps, bias;
  DepthwiseKernel square, row, col;
  DepthwisePlan square_plan, row_plan, col_plan;
  std::vector<Branch> branches;
};

class ChannelSplitOn : public ::testing::TestWithParam<std::string> {};

TEST_P(ChannelSplitOn, EqualsItsBranchesOneByOne) {
  ThreeThreads threads;
  Backwards backwards;
  TargetContext contexts[] = {TargetContext(GetParam(), Serial(), kScratch),
                              TargetContext(GetParam(), threads.AsExecutor(), kScratch),
                              TargetContext(GetParam(), backwards.AsExecutor(), kScratch)};
  for (const Layout layout : {Layout::kNhwc, Layout::kNchw}) {
    const Inception net(layout);
    const Gaps in_gaps{3, 1, 2}, out_gaps{5, 0, 7};  // different strides for in and out
    const ImageBuffer in(layout, net.kN, net.kH, net.kW, net.kC, in_gaps, Edge::kBegin);
    in.Randomize(3);
    const ImageBuffer want(layout, net.kN, net.kH, net.kW, net.kC, out_gaps);
    net.Reference(in, want, HasFma(GetParam()));
    for (TargetContext& context : contexts) {
      const ImageBuffer got(layout, net.kN, net.kH, net.kW, net.kC, out_gaps);
      ChannelSplit(net.branches, in.in(), got.view(), context);
      ASSERT_TRUE(got.SameAs(want));
      ASSERT_TRUE(got.memory().CanariesIntact());
      context.Check();
    }
    EXPECT_EQ(threads.runs, layout == Layout::kNhwc ? 1u : 2u);  // one parallel region per call
  }
}

TEST_P(ChannelSplitOn, InPlaceLeavesIdentitiesAlone) {
  ThreeThreads threads;
  TargetContext context(GetParam(), threads.AsExecutor(), kScratch);
  for (const Layout layout : {Layout::kNhwc, Layout::kNchw}) {
    Inception net(layout);
    for (size_t i = 4; i < 7; ++i) net.branches[i].shift_h = net.branches[i].shift_w = 0;
    const ImageBuffer image(layout, net.kN, net.kH, net.kW, net.kC), want(layout, net.kN, net.kH, net.kW, net.kC);
    image.Randomize(3);
    net.Reference(image, want, HasFma(GetParam()));
    ChannelSplit(net.branches, image.in(), image.view(), context);
    ASSERT_TRUE(image.SameAs(want));
    context.Check();
  }
}

TEST_P(ChannelSplitOn, CopiesBetweenOtherTypesAndShapes) {
  TargetContext context(GetParam());
  const ImageBuffer in(Layout::kNchw, 1, 3, 70, 1);
  in.Randomize(1);
  GuardedBuffer<BF16> got(3 * 70);
  const Branch all{0, 1, nullptr, 0, 0, {}};
  ChannelSplit({&all, 1}, in.in(), Nchw(got.data(), 1, 1, 3, 70), context);
  for (size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i].bits, ToBF16(in.memory()[i]).bits);
  // Channel ranges of one image as in and out.
  const ImageBuffer image(Layout::kNhwc, 2, 4, 5, 11);
  image.Randomize(2);
  const Branch three{0, 3, nullptr, 0, 0, {}};
  ChannelSplit({&three, 1}, Channels(image.in(), 1, 4), Channels(image.view(), 8, 11), context);
  for (size_t y = 0; y < 4; ++y) {
    for (size_t c = 0; c < 3; ++c) ASSERT_EQ(image.At(1, y, 3, 8 + c), image.At(1, y, 3, 1 + c));
  }
}

// Images that leave L2 are cut into pieces of rows, all branches of one after the other.
TEST_P(ChannelSplitOn, LargeImagesEqualTheirBranchesOneByOne) {
  ThreeThreads threads;
  Backwards backwards;
  TargetContext contexts[] = {TargetContext(GetParam(), Serial(), kScratch),
                              TargetContext(GetParam(), threads.AsExecutor(), kScratch),
                              TargetContext(GetParam(), backwards.AsExecutor(), kScratch)};
  for (const size_t stride : {size_t{1}, size_t{2}}) {
    const size_t n = 2, h = stride == 1 ? 50 : 100, w = 61, c = 72;
    ConvGeometry g;
    g.stride_h = g.stride_w = stride;
    const GuardedBuffer<float> taps(16 * 25);
    Random random(4);
    for (float& v : taps) v = random.Value();
    const auto plan = [&](size_t channels, size_t kh, size_t kw) {
      const ConstImageView t = Nchw(static_cast<const float*>(taps.data()), 1, channels, kh, kw);
      return DepthwisePlan(DepthwiseKernel(t, g), h, w, Layout::kNhwc, ConvAlgo::kDirect);
    };
    const DepthwisePlan square = plan(16, 3, 3), across = plan(13, 1, 11), down = plan(16, 11, 1),
                        large = plan(16, 5, 5), few = plan(11, 3, 1);
    Epilogue bias;
    bias.bias = taps.data();
    std::vector<Branch> branches = {{0, 16, &square, 0, 0, bias},
                                    {16, 29, &across, 0, 0, {}},
                                    {29, 45, &down, 0, 0, {}},
                                    {45, 61, &large, 0, 0, {}},
                                    {61, 72, &few, 0, 0, {}}};
    if (stride == 1) {
      branches[3] = {45, 61, nullptr, 0, 0, {}};
      branches[4] = {61, 72, nullptr, 1, -2, bias};
    }
    const ImageBuffer in(Layout::kNhwc, n, h, w, c, {3, 1, 2}, Edge::kBegin),
        want(Layout::kNhwc, n, square.out_h(), square.out_w(), c, {5, 0, 7});
    in.Randomize(3);
    for (const Branch& b : branches) {
      Branch alone = b;
      alone.begin = 0;
      alone.end = b.end - b.begin;
      ChannelSplit({&alone, 1}, Channels(in.in(), b.begin, b.end), Channels(want.view(), b.begin, b.end), contexts[0]);
    }
    for (TargetContext& context : contexts) {
      const ImageBuffer got(Layout::kNhwc, n, square.out_h(), square.out_w(), c, {5, 0, 7});
      ChannelSplit(branches, in.in(), got.view(), context);
      ASSERT_TRUE(got.SameAs(want)) << stride;
      ASSERT_TRUE(got.memory().CanariesIntact());
      context.Check();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, ChannelSplitOn, ::testing::ValuesIn(TargetNames()), NameOfTarget);

TEST(ChannelSplit, NothingToDo) {
  Context context;
  const ImageBuffer image(Layout::kNhwc, 1, 3, 4, 5);
  const Branch all{0, 5, nullptr, 0, 0, {}};
  ChannelSplit({&all, 1}, image.in(), image.view(), context);  // in place, identity
  EXPECT_EQ(context.last_target(), 0);
  const ImageBuffer none(Layout::kNhwc, 0, 3, 4, 5);
  ChannelSplit({&all, 1}, none.in(), none.view(), context);
  const ImageBuffer no_channels(Layout::kNhwc, 1, 3, 4, 0);
  ChannelSplit({}, no_channels.in(), no_channels.view(), context);
}

TEST(ChannelSplit, RefusesBadCalls) {
  Context context(Serial(), kScratch);
  constexpr size_t kH = 6, kW = 7, kC = 8;
  const ImageBuffer in(Layout::kNhwc, 1, kH, kW, kC), out(Layout::kNhwc, 1, kH, kW, kC);
  in.Randomize(1);
  const GuardedBuffer<float> taps(9 * 4);
  for (float& v : taps) v = 1.0f;
  const ConstImageView tap_view = Nchw(static_cast<const float*>(taps.data()), 1, 4, 3, 3);
  const DepthwiseKernel kernel(tap_view);
  ConvGeometry two;
  two.stride_h = two.stride_w = 2;
  const DepthwiseKernel strided(tap_view, two);
  const DepthwisePlan plan(kernel, kH, kW, Layout::kNhwc), half(strided, kH, kW, Layout::kNhwc);
  const auto message = [&](std::vector<Branch> branches, const ConstImageView& from, const ImageView& to) {
    return FailureOf([&] { ChannelSplit(branches, from, to, context); });
  };
  const Branch first{0, 4, &plan, 0, 0, {}}, second{4, 8, nullptr, 0, 0, {}};
  EXPECT_EQ(message({first, second}, in.in(), out.view()), "");
  EXPECT_EQ(message({first}, in.in(), out.view()), "ChannelSplit: the branches have 4 channels, out.c is 8");
  EXPECT_EQ(message({first, {3, 8, nullptr, 0, 0, {}}}, in.in(), out.view()),
            "ChannelSplit: branches 0 and 1 both have channel 3");
  EXPECT_EQ(message({first, {4, 9, nullptr, 0, 0, {}}}, in.in(), out.view()),
            "ChannelSplit: branch 1 has channels [4, 9), they must lie inside 0 ... 8");
  EXPECT_EQ(message({first, {5, 4, nullptr, 0, 0, {}}}, in.in(), out.view()),
            "ChannelSplit: branch 1 has channels [5, 4), they must lie inside 0 ... 8");
  EXPECT_EQ(message({{0, 8, &plan, 0, 0, {}}}, in.in(), out.view()), "ChannelSplit: in has 8 channels, the plan has 4");
  EXPECT_EQ(message({first, {4, 8, &plan, 1, 2, {}}}, in.in(), out.view()),
            "ChannelSplit: branch with channels [4, 8) has a plan and a shift of 1, 2; one of them is possible");
  EXPECT_EQ(message({{0, 4, &half, 0, 0, {}}, second}, in.in(), out.view()),
            "ChannelSplit: out is 6 x 7, the plan makes 3 x 4");
  EXPECT_EQ(message({first, {4, 8, nullptr, 0, 1, {}}}, in.in(), in.view()),
            "ChannelSplit: in and out are the same view, a shift of 0, 1 can't run in place");
  EXPECT_EQ(message({first, second}, in.in(), Channels(out.view(), 0, 7)),
            "ChannelSplit: in.c is 8, out.c is 7, they must be equal");
  EXPECT_EQ(message({first, second}, Channels(in.in(), 0, 4), Channels(in.view(), 1, 5)),
            "ChannelSplit: in and out overlap, they must be apart or the same view");
  const ImageBuffer small(Layout::kNhwc, 1, 3, 4, kC);
  EXPECT_EQ(message({{0, 4, &half, 0, 0, {}}, second}, in.in(), small.view()),
            "ChannelSplit: in is 6 x 7, out is 3 x 4, a branch without a plan needs them equal");
  const ImageBuffer planes(Layout::kNchw, 1, kH, kW, kC);
  EXPECT_EQ(message({first, second}, in.in(), planes.view()),
            "ChannelSplit: out has strides w 1, c 42, the plan's NHWC needs sc 1");
  EXPECT_EQ(message({{0, 8, nullptr, 0, 0, {}}}, in.in(), planes.view()),
            "ChannelSplit: in has strides w 8, c 1 and out w 1, c 42, both must be NHWC (sc 1) or NCHW (sw 1)");
  // A strided plan in place: the shape says so first, in whatever place.
  EXPECT_EQ(message({{0, 4, &half, 0, 0, {}}, second}, in.in(), in.view()),
            "ChannelSplit: out is 6 x 7, the plan makes 3 x 4");
  const std::vector<Branch> many(1000, Branch{0, 0, nullptr, 0, 0, {}});
  EXPECT_NE(message(many, in.in(), out.view()).find("ChannelSplit: 1000 branches, at most "), std::string::npos);
  // Nothing was written by any of them, the good call aside.
  const ImageBuffer untouched(Layout::kNchw, 1, kH, kW, kC);
  EXPECT_TRUE(planes.SameAs(untouched));
}

}}}  // namespace lutra::testing
