// Merged kernels: by hand, and against their branches, run one by one on the same input.
#include "lutra/depthwise/merge.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "depthwise/images.h"
#include "lutra/depthwise/reference.h"
#include "support/targets.h"

namespace lutra { namespace testing { namespace {

using Floats = std::vector<float>;

Floats TapsOf(const MergedKernel& m) {
  const ConstImageView v = m.taps();
  const auto* const p = static_cast<const float*>(v.data);
  return Floats(p, p + v.c * v.h * v.w);
}

TEST(Merge, ByHand) {
  const Floats gamma{2, 3}, beta{1, -1}, mean{4, 5}, var{3, 8};
  const BatchNorm norm{gamma.data(), beta.data(), mean.data(), var.data(), 1.0};  // v - 3, v - 6
  const Floats small{1, 10}, bias{100, 200}, wide{1, 2, 3, 4, 5, 6};              // 1 x 1 and 1 x 3 of two channels
  MergeBranch branches[3];
  branches[0].taps = Nchw(wide.data(), 1, 2, 1, 3);
  branches[0].dil_w = 2;
  branches[1].taps = Nchw(small.data(), 1, 2, 1, 1);
  branches[1].bias = bias.data();
  branches[1].norm = norm;
  const MergedKernel two = MergeBranches({branches, 2}, 2, 1, 5);
  EXPECT_EQ(TapsOf(two), (Floats{1, 0, 2 + 1, 0, 3, 4, 0, 5 + 10, 0, 6}));
  EXPECT_EQ(two.bias()[0], 97);
  EXPECT_EQ(two.bias()[1], 194);
  const MergedKernel three = MergeBranches(branches, 2, 3, 5, norm);  // and the identity, and a norm of the sum
  EXPECT_EQ(TapsOf(three),
            (Floats{0, 0, 0, 0, 0, 1, 0, 4, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 16, 0, 6, 0, 0, 0, 0, 0}));
  EXPECT_EQ(three.bias()[0], 94);
  EXPECT_EQ(three.bias()[1], 188);
  // Even sizes in even ones; none at all; absent parts of a norm.
  MergeBranch even;
  even.taps = Nchw(wide.data(), 1, 1, 1, 2);
  even.norm.gamma = gamma.data();
  EXPECT_EQ(TapsOf(MergeBranches({&even, 1}, 1, 1, 4)), (Floats{0, 2, 4, 0}));
  EXPECT_EQ(TapsOf(MergeBranches({}, 1, 1, 2)), (Floats{0, 0}));
  even.norm = {nullptr, beta.data(), mean.data(), nullptr};
  const MergedKernel moved = MergeBranches({&even, 1}, 1, 1, 2);
  EXPECT_EQ(TapsOf(moved), (Floats{1, 2}));
  EXPECT_EQ(moved.bias()[0], -3);
}

// A block of `c` channels as it was trained: branches with norms of their own.
class Block {
 public:
  explicit Block(size_t c) : c_(c) {}
  void Add(size_t k, size_t dil) {
    MergeBranch b;
    b.taps = Nchw(static_cast<const float*>(Values(c_ * k * k, -1, 1)), 1, c_, k, k);
    b.dil_h = b.dil_w = dil;
    AddNorm(&b);
  }
  void AddIdentity() {
    MergeBranch b;
    AddNorm(&b);
  }
  const std::vector<MergeBranch>& branches() const { return branches_; }
  BatchNorm Norm() { return {Values(c_, 0.5f, 1.5f), Values(c_, -1, 1), Values(c_, -1, 1), Values(c_, 0.2f, 2), 1e-5}; }

 private:
  void AddNorm(MergeBranch* b) {
    if (branches_.size() % 2 == 1) b->bias = Values(c_, -1, 1);
    b->norm = Norm();
    branches_.push_back(*b);
  }
  const float* Values(size_t count, float lo, float hi) {
    memory_.emplace_back(count);
    for (float& v : memory_.back()) v = lo + (hi - lo) * (0.5f + 0.5f * random_.Value());
    return memory_.back().data();
  }

  size_t c_;
  Random random_{5};
  std::vector<Floats> memory_;
  std::vector<MergeBranch> branches_;
};

struct Setting {
  Layout layout;
  Pad pad;
  size_t stride;
};

// Both sides by the library, in f32, and both inside their error bound: with S = |in| (*) |taps| + |bias| of all
// branches, an output passes at most T + 2 roundings a branch of T taps, one for each branch added, two for the norm of
// the sum, and in the merged kernel one for each tap and k^2 + 1 for the sum. Each is at most 2^-24 of S.
void ExpectMerges(Block& block, size_t c, size_t k, const Setting& s) {
  const size_t h = s.pad == Pad::kReflect ? k : 11, w = 13;
  const BatchNorm after = block.Norm();
  const MergedKernel merged = MergeBranches(block.branches(), c, k, k, after);
  ConvGeometry g;
  g.pad = s.pad;
  g.stride_h = g.stride_w = s.stride;
  const ImageBuffer in(s.layout, 1, h, w, c), absolute(s.layout, 1, h, w, c);
  in.Randomize(k);
  for (size_t i = 0; i < in.memory().size(); ++i) absolute.memory()[i] = std::fabs(in.memory()[i]);
  Context context(Serial(), size_t{1} << 21);

  const DepthwisePlan plan(DepthwiseKernel(merged.taps(), g), h, w, s.layout, ConvAlgo::kDirect);
  const size_t out_h = plan.out_h(), out_w = plan.out_w();
  const ImageBuffer got(s.layout, 1, out_h, out_w, c), sum(s.layout, 1, out_h, out_w, c),
      size(s.layout, 1, out_h, out_w, c), one(s.layout, 1, out_h, out_w, c);
  Epilogue e;
  e.bias = merged.bias();
  DepthwiseConv2d(plan, in.in(), got.view(), context, e);

  for (float& v : sum.memory()) v = 0;
  for (float& v : size.memory()) v = 0;
  size_t roundings = 0;
  for (const MergeBranch& b : block.branches()) {
    const Floats ones(c, 1.0f);
    const ConstImageView taps = b.taps.data == nullptr ? Nchw(ones.data(), 1, c, 1, 1) : b.taps;
    roundings += taps.h * taps.w + 3;
    Floats scale(c), bias(c), scale_size(c), bias_size(c);
    for (size_t i = 0; i < c; ++i) {
      const double a = double{b.norm.gamma[i]} / std::sqrt(double{b.norm.var[i]} + b.norm.eps);
      const double own = b.bias == nullptr ? 0 : double{b.bias[i]};
      scale[i] = static_cast<float>(a);
      bias[i] = static_cast<float>(a * (own - double{b.norm.mean[i]}) + double{b.norm.beta[i]});
      scale_size[i] = std::fabs(scale[i]);
      bias_size[i] = std::fabs(bias[i]);
    }
    ConvGeometry dilated = g;
    dilated.dil_h = b.dil_h;
    dilated.dil_w = b.dil_w;
    Epilogue add;
    add.scale = scale.data();
    add.bias = bias.data();
    add.accumulate = true;
    const DepthwisePlan branch(DepthwiseKernel(taps, dilated), h, w, s.layout, ConvAlgo::kDirect);
    ASSERT_EQ(branch.out_h(), out_h);
    DepthwiseConv2d(branch, in.in(), sum.view(), context, add);
    Floats tap_size(c * taps.h * taps.w);
    for (size_t i = 0; i < tap_size.size(); ++i) tap_size[i] = std::fabs(static_cast<const float*>(taps.data)[i]);
    add.scale = scale_size.data();
    add.bias = bias_size.data();
    reference::DepthwiseConv2d<double>(Nchw(static_cast<const float*>(tap_size.data()), 1, c, taps.h, taps.w), dilated,
                                       absolute.in(), size.view(), add);
  }
  roundings += k * k + 4;
  double largest = 0;
  for (size_t y = 0; y < out_h; ++y) {
    for (size_t x = 0; x < out_w; ++x) {
      for (size_t i = 0; i < c; ++i) {
        const double a = double{after.gamma[i]} / std::sqrt(double{after.var[i]} + after.eps);
        const double shift = double{after.beta[i]} - a * double{after.mean[i]};
        const double want = a * double{sum.At(0, y, x, i)} + shift, v = double{got.At(0, y, x, i)};
        const double bound = a * double{size.At(0, y, x, i)} + std::fabs(shift);
        ASSERT_LE(std::fabs(v - want), static_cast<double>(roundings) * 0x1p-24 * 1.01 * bound)
            << "K " << k << " at " << y << ' ' << x << ' ' << i;
        largest = std::max(largest, std::fabs(v));
      }
    }
  }
  EXPECT_GT(largest, 0.5);
}

constexpr Setting kSettings[] = {{Layout::kNhwc, Pad::kZero, 1},
                                 {Layout::kNchw, Pad::kZero, 2},
                                 {Layout::kNhwc, Pad::kCircular, 2},
                                 {Layout::kNchw, Pad::kReplicate, 1}};

TEST(Merge, RepLkNet) {
  for (const size_t k : {31u, 13u}) {
    for (const Setting& s : kSettings) {
      Block block(5);
      block.Add(k, 1);
      block.Add(5, 1);
      ExpectMerges(block, 5, k, s);
    }
  }
}

TEST(Merge, UniRepLkNet) {
  for (const size_t k : {5u, 7u, 9u, 11u, 13u, 15u, 17u}) {
    for (const Setting& s : kSettings) {
      Block block(3);
      block.Add(k, 1);
      for (const DilatedBranch& b : UniRepLkBranches(k)) {
        EXPECT_LE(b.dil * (b.k - 1) + 1, k);
        block.Add(b.k, b.dil);
      }
      ExpectMerges(block, 3, k, s);
    }
  }
}

TEST(Merge, IdentityReflectAndEvenSizes) {
  Block block(17);
  block.Add(3, 1);
  block.AddIdentity();
  block.Add(1, 1);
  for (const Setting& s : kSettings) ExpectMerges(block, 17, 3, s);
  ExpectMerges(block, 17, 3, {Layout::kNhwc, Pad::kReflect, 1});
  Block even(3);
  even.Add(6, 1);
  even.Add(4, 1);
  even.Add(2, 3);
  for (const Setting& s : kSettings) ExpectMerges(even, 3, 6, s);
}

TEST(Merge, RefusesWhatCannotBeMerged) {
  Floats taps(2 * 5 * 5, 1.0f), gamma{1, 1}, var{1, 1}, bias{0, 0};
  MergeBranch b;
  const auto message = [&](size_t c, size_t h, size_t w, const BatchNorm& norm = {}) {
    return FailureOf([&] { (void)MergeBranches({&b, 1}, c, h, w, norm); });
  };
  b.taps = Nchw(static_cast<const float*>(taps.data()), 1, 2, 5, 5);
  EXPECT_EQ(message(2, 5, 5), "");
  EXPECT_EQ(message(2, 0, 5), "MergeBranches: the merged kernel is 0 x 5 for 2 channels, must be at least 1 x 1 for 1");
  EXPECT_EQ(message(3, 5, 5), "MergeBranches: branch 0 has 2 channels, the merged kernel has 3");
  EXPECT_EQ(message(2, 7, 3), "MergeBranches: branch 0 spans w 5 (5 taps, dilation 1), the merged kernel has 3");
  EXPECT_EQ(message(2, 6, 7),
            "MergeBranches: branch 0 spans h 5, which has no middle in 6: both must be odd, or both even");
  b.dil_w = 2;
  EXPECT_EQ(message(2, 5, 7), "MergeBranches: branch 0 spans w 9 (5 taps, dilation 2), the merged kernel has 7");
  EXPECT_EQ(message(2, 5, 9), "");
  b.dil_w = 0;
  EXPECT_EQ(message(2, 5, 5), "MergeBranches: dil_w of branch 0 is 0, must be at least 1");
  b.dil_w = 1;
  b.taps.n = 2;
  EXPECT_EQ(message(2, 5, 5), "MergeBranches: taps.n of branch 0 is 2, must be 1");
  b.taps.n = 1;
  b.taps.type = DType::kF16;
  EXPECT_EQ(message(2, 5, 5), "MergeBranches: taps.type of branch 0 is f16, must be f32");
  b.taps.type = DType::kF32;
  b.taps.h = 0;
  EXPECT_EQ(message(2, 5, 5), "MergeBranches: taps of branch 0 are 0 x 5, must be at least 1 x 1");
  b.taps.h = 5;
  b.taps.data = nullptr;
  EXPECT_NE(message(2, 5, 5).find("MergeBranches: taps: data is null"), std::string::npos) << message(2, 5, 5);
  b.taps.data = taps.data();

  b.norm.gamma = gamma.data();
  b.norm.var = var.data();
  b.bias = bias.data();
  EXPECT_EQ(message(2, 5, 5), "");
  taps[25 + 7] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(message(2, 5, 5), "MergeBranches: tap y 1, x 2 of channel 1, branch 0 is inf, must be finite");
  taps[25 + 7] = 3e38f;
  gamma[1] = 2;
  EXPECT_NE(message(2, 5, 5).find("MergeBranches: channel 1 becomes 5.99997e+38, too large for f32"), std::string::npos)
      << message(2, 5, 5);
  taps[25 + 7] = 1;
  bias[0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(message(2, 5, 5), "MergeBranches: bias of channel 0, branch 0 is nan, must be finite");
  bias[0] = 0;
  gamma[0] = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(message(2, 5, 5), "MergeBranches: norm.gamma of channel 0, branch 0 is -inf, must be finite");
  gamma[0] = 1;
  var[1] = -1e-5f;
  b.norm.eps = 0;
  EXPECT_EQ(message(2, 5, 5),
            "MergeBranches: norm.var of channel 1, branch 0 is -1e-05, with eps 0 it must be above 0");
  var[1] = 1;
  b.norm.eps = std::numeric_limits<double>::quiet_NaN();
  EXPECT_NE(message(2, 5, 5).find("with eps nan it must be above 0"), std::string::npos);
  b.norm = {};
  BatchNorm of_sum;
  gamma[1] = std::numeric_limits<float>::infinity();
  of_sum.gamma = gamma.data();
  EXPECT_EQ(message(2, 5, 5, of_sum), "MergeBranches: norm.gamma of channel 1, branch -1 is inf, must be finite");
  EXPECT_EQ(FailureOf([] { (void)UniRepLkBranches(6); }),
            "UniRepLkBranches: k is 6, must be 5, 7, 9, 11, 13, 15 or 17");
}

}}}  // namespace lutra::testing
