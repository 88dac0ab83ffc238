// Images of bf16 and f16: the bits that the same values give as f32, on every target, in guarded memory.
#include <gtest/gtest.h>

#include <vector>

#include "depthwise/cases.h"
#include "lutra/channel_split.h"
#include "support/targets.h"

namespace lutra { namespace testing { namespace {

// The same values as f32, in the same layout.
template <class T>
void Widen(const ImageOf<T>& from, const ImageBuffer& to) {
  const ImageView v = from.view();
  for (size_t n = 0; n < v.n; ++n) {
    for (size_t y = 0; y < v.h; ++y) {
      for (size_t x = 0; x < v.w; ++x) {
        for (size_t c = 0; c < v.c; ++c) to.At(n, y, x, c) = ToFloat(from.At(n, y, x, c));
      }
    }
  }
}

template <class T>
class Problem {
 public:
  explicit Problem(const ConvCase& t, ConvAlgo algo = ConvAlgo::kDirect)
      : t_(t),
        taps_(t.kh * t.kw * t.c),
        bias_(t.c),
        kernel_(Make(t)),
        plan_(kernel_, t.h, t.w, t.layout, algo),
        in_(t.layout, t.n, t.h, t.w, t.c, t.in_gaps, t.seed % 2 ? Edge::kEnd : Edge::kBegin) {
    in_.Randomize(t.seed);
    if (t.epilogue >= 1) epilogue_.bias = bias_.data();
    if (t.epilogue >= 2) epilogue_.act = Act::kRelu;
  }
  template <class Out>
  void ExpectTheBitsOfF32(TargetContext& context) const {
    const ConvCase& t = t_;
    const ImageBuffer wide(t.layout, t.n, t.h, t.w, t.c);
    Widen(in_, wide);
    const ImageOf<Out> want(t.layout, t.n, plan_.out_h(), plan_.out_w(), t.c, t.out_gaps),
        got(t.layout, t.n, plan_.out_h(), plan_.out_w(), t.c, t.out_gaps);
    ConstImageView in = in_.in(), wide_in = wide.in();
    if (in_.memory().size() == 0) in.data = wide_in.data = nullptr;
    DepthwiseConv2d(plan_, wide_in, want.view(), context, epilogue_);
    DepthwiseConv2d(plan_, in, got.view(), context, epilogue_);
    ASSERT_TRUE(got.SameAs(want)) << t;
    ASSERT_TRUE(got.memory().CanariesIntact()) << t;
    if (got.memory().size() != 0) context.Check();
  }
  // Whether it can run in place.
  bool ExpectTheBitsOfF32InPlace(TargetContext& context) const {
    const ConvCase& t = t_;
    if (!plan_.in_place_ok() || in_.memory().size() == 0) return false;
    const ImageBuffer wide(t.layout, t.n, t.h, t.w, t.c);
    Widen(in_, wide);
    const ImageOf<T> want(t.layout, t.n, t.h, t.w, t.c, t.in_gaps);
    want.CopyFrom(in_);  // gaps keep what they held
    DepthwiseConv2d(plan_, wide.in(), want.view(), context, epilogue_);
    DepthwiseConv2d(plan_, in_.in(), in_.view(), context, epilogue_);
    EXPECT_TRUE(in_.SameAs(want)) << t;
    return true;
  }

 private:
  DepthwiseKernel Make(const ConvCase& t) const {
    Random random(t.seed + 2);
    for (float& v : taps_) v = random.Value();
    for (float& v : bias_) v = random.Value();
    return DepthwiseKernel(Nchw(static_cast<const float*>(taps_.data()), 1, t.c, t.kh, t.kw), t.geometry);
  }

  const ConvCase& t_;
  GuardedBuffer<float> taps_, bias_;
  DepthwiseKernel kernel_;
  DepthwisePlan plan_;
  ImageOf<T> in_;
  Epilogue epilogue_;
};

class Storage : public ::testing::TestWithParam<std::string> {};

TEST_P(Storage, GivesTheBitsOfF32) {
  ThreeThreads threads;
  TargetContext serial(GetParam(), Serial(), size_t{2} << 20), parallel(GetParam(), threads.AsExecutor());
  size_t number = 0;
  for (const ConvCase& t : ConvCases()) {
    TargetContext& context = number % 2 == 0 ? serial : parallel;
    if (number / 2 % 2 == 0) {
      const Problem<BF16> p(t);
      number / 4 % 2 == 0 ? p.ExpectTheBitsOfF32<BF16>(context) : p.ExpectTheBitsOfF32<float>(context);
    } else {
      const Problem<F16> p(t);
      number / 4 % 2 == 0 ? p.ExpectTheBitsOfF32<F16>(context) : p.ExpectTheBitsOfF32<float>(context);
    }
    if (HasFatalFailure()) return;
    ++number;
  }
}

TEST_P(Storage, InPlaceToo) {
  ThreeThreads threads;
  TargetContext context(GetParam(), threads.AsExecutor(), size_t{2} << 20);
  size_t ran = 0;
  for (const ConvCase& t : ConvCases()) {
    ran += t.seed % 2 == 0 ? Problem<BF16>(t).ExpectTheBitsOfF32InPlace(context)
                           : Problem<F16>(t).ExpectTheBitsOfF32InPlace(context);
    if (HasFailure()) return;
  }
  EXPECT_GE(ran, 50u);
}

// Where transforms are chosen, too.
TEST_P(Storage, GivesTheBitsOfF32ByTransforms) {
  ThreeThreads threads;
  TargetContext context(GetParam(), threads.AsExecutor(), size_t{2} << 20);
  for (const Layout layout : {Layout::kNhwc, Layout::kNchw}) {
    for (const size_t c : {16u, 21u, 3u}) {
      const ConvCase t{2, 29, 31, c, 13, 11, {}, layout, {1, 2, 3}, {}, 2, c};
      Problem<BF16>(t, ConvAlgo::kAuto).ExpectTheBitsOfF32<BF16>(context);
      Problem<F16>(t, ConvAlgo::kAuto).ExpectTheBitsOfF32<float>(context);
      if (HasFatalFailure()) return;
      EXPECT_TRUE(Problem<F16>(t, ConvAlgo::kAuto).ExpectTheBitsOfF32InPlace(context));
    }
  }
}

// Identities and shifts copy the bits, NaN's too, where nothing changes them; else they pass through f32.
TEST_P(Storage, ChannelSplit) {
  ThreeThreads threads;
  TargetContext context(GetParam(), threads.AsExecutor());
  constexpr size_t kH = 13, kW = 21, kC = 45;
  const std::vector<float> taps(25 * 10, 0.125f), bias(kC, 0.75f);
  const DepthwiseKernel kernel(Nhwc(taps.data(), 1, 5, 5, 10));
  for (const Layout layout : {Layout::kNhwc, Layout::kNchw}) {
    const DepthwisePlan plan(kernel, kH, kW, layout, ConvAlgo::kDirect);
    Branch branches[] = {{0, 9}, {9, 19, &plan}, {19, 30, nullptr, 2, -1, {}}, {30, 37}, {37, kC, nullptr, -1, 3, {}}};
    branches[1].epilogue.bias = branches[3].epilogue.bias = branches[4].epilogue.bias = bias.data();
    const ImageOf<BF16> in(layout, 2, kH, kW, kC), got(layout, 2, kH, kW, kC), want(layout, 2, kH, kW, kC);
    const ImageBuffer wide(layout, 2, kH, kW, kC);
    in.Randomize(3);
    in.At(0, 2, 2, 3).bits = 0x7F81;  // a signalling NaN
    in.At(1, 5, 7, 20).bits = 0xFFBF;
    Widen(in, wide);
    ChannelSplit(branches, wide.in(), want.view(), context);
    want.At(0, 2, 2, 3).bits = 0x7F81;
    want.At(1, 7, 6, 20).bits = 0xFFBF;
    ChannelSplit(branches, in.in(), got.view(), context);
    ASSERT_TRUE(got.SameAs(want));
    for (const size_t i : {2u, 4u}) branches[i].shift_h = branches[i].shift_w = 0;
    ChannelSplit(branches, wide.in(), want.view(), context);
    want.At(0, 2, 2, 3).bits = 0x7F81;
    want.At(1, 5, 7, 20).bits = 0xFFBF;
    ChannelSplit(branches, in.in(), in.view(), context);
    ASSERT_TRUE(in.SameAs(want));
  }
}

INSTANTIATE_TEST_SUITE_P(All, Storage, ::testing::ValuesIn(TargetNames()), NameOfTarget);

TEST(StoragePlan, SaysWhatItNeeds) {
  Context context;
  const std::vector<float> taps(49 * 20, 1.0f);
  const DepthwiseKernel kernel(Nhwc(taps.data(), 1, 7, 7, 20));
  const DepthwisePlan small(kernel, 20, 30, Layout::kNhwc, ConvAlgo::kDirect);
  EXPECT_EQ(small.scratch_per_worker(), 0u);
  EXPECT_EQ(small.scratch_per_worker(false, DType::kF16), 20u * 30 * 16 * 4);
  EXPECT_EQ(small.scratch_per_worker(true, DType::kF16), small.scratch_per_worker(true));
  const DepthwisePlan large(kernel, 100, 3000, Layout::kNhwc, ConvAlgo::kDirect);
  const size_t needed = large.scratch_per_worker(false, DType::kBF16);
  EXPECT_GE(needed, (16 + 6) * 3000u * 16 * 4);
  EXPECT_LE(needed, (32 + 6) * 3000u * 16 * 4);
  const ImageOf<BF16> in(Layout::kNhwc, 1, 100, 3000, 20), out(Layout::kNhwc, 1, 100, 3000, 20);
  EXPECT_EQ(FailureOf([&] { DepthwiseConv2d(large, in.in(), out.view(), context); }),
            "DepthwiseConv2d: the plan needs " + std::to_string(needed) +
                " bytes of scratch per worker, the context has " + std::to_string(context.scratch_per_worker()));
}

}}}  // namespace lutra::testing
