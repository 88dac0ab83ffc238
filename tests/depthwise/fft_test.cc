// Convolution by transforms on every target: inside its error bound of the definition, equal bits wherever they are
// promised, in guarded memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "depthwise/cases.h"
#include "depthwise/images.h"
#include "lutra/depthwise/choose.h"
#include "lutra/depthwise/reference.h"
#include "support/targets.h"

namespace lutra { namespace testing { namespace {

constexpr size_t kScratch = size_t{8} << 20;

struct FftCase {
  size_t n, h, w, c, kh, kw;
  ConvGeometry geometry;
  uint64_t seed;
  Layout layout = Layout::kNhwc;
  DType spectra = DType::kF32;
  bool reflected = false;  // taps are their own reflection
};
std::ostream& operator<<(std::ostream& os, const FftCase& t) {
  return os << ConvCase{t.n, t.h, t.w, t.c, t.kh, t.kw, t.geometry, t.layout, {}, {}, 0, t.seed} << ", spectra "
            << NameOf(t.spectra) << (t.reflected ? ", reflected" : "");
}

struct Problem {
  explicit Problem(const FftCase& t)
      : taps(t.kh * t.kw * t.c),
        kernel(MakeKernel(t)),
        plan(kernel, t.h, t.w, t.layout, ConvAlgo::kFft, Serial(), t.spectra),
        in(t.layout, t.n, t.h, t.w, t.c, gaps, t.seed % 2 ? Edge::kEnd : Edge::kBegin) {
    in.Randomize(t.seed);
  }
  ConstImageView Taps(const FftCase& t) const {
    return Nhwc(static_cast<const float*>(taps.data()), 1, t.kh, t.kw, t.c);
  }
  DepthwiseKernel MakeKernel(const FftCase& t) const {
    Random random(t.seed + 2);
    for (float& v : taps) v = random.Value();
    for (size_t i = 0; t.reflected && i < t.kh * t.kw; ++i) {
      for (size_t c = 0; c < t.c; ++c) taps[(t.kh * t.kw - 1 - i) * t.c + c] = taps[i * t.c + c];
    }
    return DepthwiseKernel(Taps(t), t.geometry);
  }
  ImageBuffer Out(const FftCase& t, Gaps out_gaps = {}) const {
    return ImageBuffer(t.layout, t.n, plan.out_h(), plan.out_w(), t.c, out_gaps);
  }

  Gaps gaps{3, 5, 2};
  GuardedBuffer<float> taps;
  DepthwiseKernel kernel;
  DepthwisePlan plan;
  ImageBuffer in;
};

// Every size with every kernel, channels and layouts in turn; then steps and padding of all sorts, batches; then images
// of several tiles, and transforms of several parts; then some of all these with other spectra.
std::vector<FftCase> Cases() {
  static constexpr size_t kSizes[] = {1, 2, 7, 13, 29, 57, 100, 113}, kChannels[] = {1, 3, 7, 8, 17, 33};
  static constexpr size_t kKernels[][2] = {{1, 1}, {2, 2}, {4, 3}, {1, 21}, {21, 1}, {31, 31}, {9, 40}, {51, 51}};
  static constexpr Pad kPads[] = {Pad::kZero, Pad::kCircular, Pad::kReflect, Pad::kReplicate};
  std::vector<FftCase> cases;
  uint64_t seed = 0;
  for (const size_t size : kSizes) {
    for (const auto& k : kKernels) {
      const bool large = size * size * k[0] * k[1] > 500000;
      for (size_t i = 0; i < (large || size >= 100 ? 1 : 3); ++i, ++seed) {
        cases.push_back({1,
                         size,
                         i == 1 ? kSizes[seed % 8] : size,
                         large ? 3 : kChannels[seed % 6],
                         k[0],
                         k[1],
                         {},
                         seed,
                         seed % 5 < 3 ? Layout::kNhwc : Layout::kNchw});
      }
    }
  }
  Random random(9);
  for (size_t found = 0; found < 150;) {
    FftCase t{1 + random.Below(3),
              1 + random.Below(found % 3 == 0 ? 130 : 40),
              1 + random.Below(found % 5 == 0 ? 130 : 40),
              1 + random.Below(20),
              1 + random.Below(9),
              1 + random.Below(9),
              {},
              ++seed,
              random.Below(2) == 0 ? Layout::kNhwc : Layout::kNchw};
    if (t.h * t.w > 2000) t.c = 1 + random.Below(3);
    t.geometry.dil_h = 1 + random.Below(3);
    t.geometry.dil_w = 1 + random.Below(3);
    t.geometry.pad = random.Of(kPads);
    if (random.Below(2) == 0) {
      t.geometry.stride_h = 1 + random.Below(3);
      t.geometry.stride_w = 1 + random.Below(3);
    }
    if (found % 4 != 0) {
      t.geometry.top = static_cast<int>(random.Below(12));
      t.geometry.left = static_cast<int>(random.Below(30));
      t.geometry.bottom = static_cast<int>(random.Below(30));
      t.geometry.right = static_cast<int>(random.Below(12));
    }
    if (!Possible({t.n, t.h, t.w, t.c, t.kh, t.kw, t.geometry, t.layout, {}, {}, 0, 0})) continue;
    cases.push_back(t);
    ++found;
  }
  for (const Layout layout : {Layout::kNhwc, Layout::kNchw}) {
    for (const Pad pad : kPads) {
      ConvGeometry g;
      g.pad = pad;
      cases.push_back({1, 3, 200, 1, 1, 101, g, ++seed, layout});
      cases.push_back({2, 200, 3, 2, 95, 2, g, ++seed, layout});
      cases.push_back({1, 105, 120, 1, 8, 9, g, ++seed, layout});
    }
    ConvGeometry wide;
    wide.dil_h = 31;
    wide.dil_w = 70;
    cases.push_back({1, 40, 300, 1, 5, 5, wide, ++seed, layout});
  }
  for (size_t i = 0, count = cases.size(); i < count; ++i) {
    FftCase t = cases[i];
    t.reflected = i % 7 == 1 || i % 22 == 3;
    t.spectra = i % 11 == 3 ? DType::kBF16 : DType::kF32;
    if (t.reflected || t.spectra != DType::kF32) cases.push_back(t);
  }
  return cases;
}

// Error bound, of a channel. A codelet of R points is off by at most D u sum |x| at each of its outputs (D = 12, 24
// without FMA: tests/fft/fft_test.cc), so by D u sqrt(R) of its result in the 2-norm. Four stages forward and four back
// change the 2-norm only by factors that the spectrum takes out again; the product with the spectrum, rounded once
// itself, adds 4 u. So the error, in the 2-norm of the outputs and then of each, is at most
//   u (2 D (sqrt(A) + sqrt(B) + sqrt(C) + ...) + 4) |x|_2 max |spectrum|,  max |spectrum| <= |taps|_1,
// over the factors of both lengths, with x the image and its padding; a hundredth on top for u^2. A spectrum of bf16 is
// off by 2^-9 of itself besides. A second, empirical bound keeps the constant honest: 1e-6 of the largest output (2e-6
// without FMA, 2^-8 with spectra of bf16), where there are enough outputs for a large one.
struct ChannelNorms {
  double x2 = 0, taps1 = 0, largest = 0;
};
double Factor(const DepthwisePlan& plan, bool fma) {
  const auto roots = [](const FftAxis& axis) {
    const fft::Circle c = fft::CircleOf(axis.points);
    double sum = 0;
    for (const int n : {c.part.first, c.part.second, c.parts}) sum += n == 1 ? 0 : std::sqrt(double(n));
    return sum;
  };
  return 1.01 * ((fma ? 24 : 48) * (roots(plan.parts().fft_rows) + roots(plan.parts().fft_columns)) + 4) * 0x1p-24 +
         (plan.parts().spectra_type == DType::kBF16 ? 0x1p-9 : 0.0);
}

// Whether a target has transforms; the others run a plan of them by the direct algorithm.
bool HasTransforms(const std::string& target) {
  return target != "SSE2" && target != "SCALAR" && target.rfind("SVE", 0) != 0 && target != "RVV";
}

// On a CPU whose best target has no transforms no plan has them.
#define LUTRA_NEEDS_TRANSFORMS() \
  if (!HasTransforms(TargetNames().front())) GTEST_SKIP() << "no transforms on this CPU"

// Every kShards-th of the cases: one program's tests run beside each other.
class DepthwiseFftCases : public ::testing::TestWithParam<size_t> {};
constexpr size_t kShards = 8;
INSTANTIATE_TEST_SUITE_P(Shard, DepthwiseFftCases, ::testing::Range(size_t{0}, kShards));

TEST_P(DepthwiseFftCases, StayInsideTheErrorBoundAndGiveTheSameBitsOnAllTargetsWithFma) {
  LUTRA_NEEDS_TRANSFORMS();
  ThreeThreads threads;
  std::vector<std::unique_ptr<TargetContext>> serial, parallel;
  for (const std::string& name : TargetNames()) {
    serial.push_back(std::make_unique<TargetContext>(name, Serial(), kScratch));
    parallel.push_back(std::make_unique<TargetContext>(name, threads.AsExecutor(), kScratch));
  }
  size_t real = 0;
  const std::vector<FftCase> cases = Cases();
  for (size_t i = GetParam(); i < cases.size(); i += kShards) {
    const FftCase& t = cases[i];
    const auto p = std::make_unique<Problem>(t);
    real += t.reflected && p->plan.parts().spectra_real;
    const bool bf16 = t.spectra == DType::kBF16;
    const ImageBuffer exact = p->Out(t);
    reference::DepthwiseConv2d<double>(p->Taps(t), t.geometry, p->in.in(), exact.view());
    std::vector<ChannelNorms> norms(t.n * t.c);
    for (size_t plane = 0; plane < norms.size(); ++plane) {
      ChannelNorms& c = norms[plane];
      const size_t n = plane / t.c, channel = plane % t.c;
      const DepthwisePlanParts& parts = p->plan.parts();
      for (size_t y = 0; y < parts.rows; ++y) {
        for (size_t x = 0; x < parts.cols; ++x) {
          const int32_t row = p->plan.row_map()[y], column = p->plan.col_map()[x];
          if (row < 0 || column < 0) continue;
          c.x2 += std::pow(double{p->in.At(n, static_cast<size_t>(row), static_cast<size_t>(column), channel)}, 2);
        }
      }
      c.x2 = std::sqrt(c.x2);
      for (size_t k = 0; k < t.kh * t.kw; ++k) c.taps1 += std::fabs(double{p->taps[k * t.c + channel]});
      for (size_t y = 0; y < p->plan.out_h(); ++y) {
        for (size_t x = 0; x < p->plan.out_w(); ++x) {
          c.largest = std::max(c.largest, std::fabs(double{exact.At(n, y, x, channel)}));
        }
      }
    }
    std::unique_ptr<ImageBuffer> with_fma;
    size_t target = 0;
    for (const std::string& name : TargetNames()) {
      const bool fma = HasFma(name);
      const auto got = std::make_unique<ImageBuffer>(t.layout, t.n, p->plan.out_h(), p->plan.out_w(), t.c);
      DepthwiseConv2d(p->plan, p->in.in(), got->view(), *serial[target]);
      serial[target]->Check();
      ASSERT_TRUE(got->memory().CanariesIntact()) << t;
      if (!HasTransforms(name)) {
        const DepthwisePlan direct(p->kernel, t.h, t.w, t.layout, ConvAlgo::kDirect);
        const ImageBuffer want = p->Out(t);
        DepthwiseConv2d(direct, p->in.in(), want.view(), *serial[target++]);
        ASSERT_TRUE(got->SameAs(want)) << name << ' ' << t;
        continue;
      }
      for (size_t n = 0; n < t.n; ++n) {
        for (size_t y = 0; y < p->plan.out_h(); ++y) {
          for (size_t x = 0; x < p->plan.out_w(); ++x) {
            for (size_t c = 0; c < t.c; ++c) {
              const ChannelNorms& m = norms[n * t.c + c];
              const double error = std::fabs(double{got->At(n, y, x, c)} - double{exact.At(n, y, x, c)});
              ASSERT_LE(error, Factor(p->plan, fma) * m.x2 * m.taps1 + 0x1p-24 * m.largest)
                  << name << ' ' << t << " at " << y << ' ' << x << ' ' << c;
              if (p->plan.out_h() * p->plan.out_w() >= 49) {
                ASSERT_LE(error, (bf16  ? 0x1p-8
                                  : fma ? 1e-6
                                        : 2e-6) *
                                     m.largest)
                    << name << ' ' << t << " at " << y << ' ' << x << ' ' << c;
              }
            }
          }
        }
      }
      const ImageBuffer again = p->Out(t);
      DepthwiseConv2d(p->plan, p->in.in(), again.view(), *parallel[target]);
      ASSERT_TRUE(again.SameAs(*got)) << name << ' ' << t;
      if (fma && with_fma == nullptr) {
        with_fma = std::make_unique<ImageBuffer>(t.layout, t.n, p->plan.out_h(), p->plan.out_w(), t.c);
        with_fma->CopyFrom(*got);
      }
      if (fma) {
        ASSERT_TRUE(got->SameAs(*with_fma)) << name << ' ' << t;
      }
      ++target;
    }
  }
  EXPECT_GE(real, 24 / kShards);
}

class Fft : public ::testing::TestWithParam<std::string> {};

// A channel's bits depend on that channel of that image alone; NaN and loud neighbours, batches and gaps are nothing to
// it.
TEST_P(Fft, ALoudOrBrokenChannelDisturbsNoOther) {
  LUTRA_NEEDS_TRANSFORMS();
  Backwards backwards;
  TargetContext context(GetParam(), backwards.AsExecutor(), kScratch);
  for (const size_t channels : {5u, 16u, 40u}) {
    const FftCase t{2, 14, 11, channels, 9, 9, {}, channels};
    const Problem p(t);
    const ImageBuffer quiet = p.Out(t), got = p.Out(t);
    DepthwiseConv2d(p.plan, p.in.in(), quiet.view(), context);
    for (const float loud : {1e30f, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      const size_t c = channels / 2;
      p.in.Randomize(t.seed);
      for (size_t y = 0; y < t.h; ++y) {
        for (size_t x = 0; x < t.w; ++x) p.in.At(1, y, x, c) *= loud;
      }
      DepthwiseConv2d(p.plan, p.in.in(), got.view(), context);
      for (size_t n = 0; n < t.n; ++n) {
        for (size_t y = 0; y < t.h; ++y) {
          for (size_t x = 0; x < t.w; ++x) {
            for (size_t i = 0; i < channels; ++i) {
              if (n == 1 && i == c) continue;
              ASSERT_EQ(got.At(n, y, x, i), quiet.At(n, y, x, i))
                  << loud << ' ' << n << ' ' << y << ' ' << x << ' ' << i;
            }
          }
        }
      }
    }
    p.in.Randomize(t.seed);
    for (size_t n = 0; n < t.n; ++n) {  // images alone
      ConstImageView alone = p.in.in();
      alone.data = &p.in.At(n, 0, 0, 0);
      alone.n = 1;
      const ImageBuffer one(Layout::kNhwc, 1, t.h, t.w, channels, {1, 2, 3});
      DepthwiseConv2d(p.plan, alone, one.view(), context);
      for (size_t y = 0; y < t.h; ++y) {
        for (size_t x = 0; x < t.w; ++x) {
          for (size_t i = 0; i < channels; ++i) ASSERT_EQ(one.At(0, y, x, i), quiet.At(n, y, x, i));
        }
      }
    }
  }
}

TEST_P(Fft, InPlaceGivesTheSameBits) {
  LUTRA_NEEDS_TRANSFORMS();
  TargetContext context(GetParam(), Serial(), kScratch);
  for (const Layout layout : {Layout::kNhwc, Layout::kNchw}) {
    for (const size_t channels : {1u, 3u, 20u, 35u}) {
      for (const size_t w : {17u, 110u}) {  // one tile, several
        const FftCase t{2, 13, w, channels, 7, 10, {}, channels, layout};
        const Problem p(t);
        ASSERT_TRUE(p.plan.in_place_ok());
        const ImageBuffer want = p.Out(t), image(layout, t.n, t.h, t.w, channels);
        for (size_t n = 0; n < t.n; ++n) {
          for (size_t y = 0; y < t.h; ++y) {
            for (size_t x = 0; x < t.w; ++x) {
              for (size_t c = 0; c < channels; ++c) image.At(n, y, x, c) = p.in.At(n, y, x, c);
            }
          }
        }
        DepthwiseConv2d(p.plan, p.in.in(), want.view(), context);
        DepthwiseConv2d(p.plan, image.in(), image.view(), context);
        ASSERT_TRUE(image.SameAs(want)) << channels << ' ' << w;
      }
    }
  }
}

// An epilogue is the shared one, applied to the sum: that is, to the output without one, convolved by 1.
TEST_P(Fft, EpiloguesAndOutputTypes) {
  LUTRA_NEEDS_TRANSFORMS();
  TargetContext context(GetParam(), Serial(), kScratch);
  for (const size_t channels : {5u, 16u, 37u}) {
    const FftCase t{2, 9, 12, channels, 7, 7, {}, channels};
    const Problem p(t);
    const ImageBuffer sums = p.Out(t);
    DepthwiseConv2d(p.plan, p.in.in(), sums.view(), context);
    const std::vector<float> ones(channels, 1.0f);
    GuardedBuffer<float> bias(channels), mul(channels), residual(sums.memory().size());
    Random random(4);
    for (const auto* buffer : {&bias, &mul, &residual}) {
      for (float& v : *buffer) v = random.Value();
    }
    for (const int kind : {0, 1, 2, 3}) {
      for (const DType type : {DType::kF32, DType::kBF16, DType::kF16, DType::kI8, DType::kU8}) {
        Epilogue e;
        if (kind >= 1) e.bias = bias.data();
        if (kind == 2) e.act = Act::kRelu;
        if (kind == 3) {
          e.mul = View(static_cast<const float*>(mul.data()), 1, channels, 0);
          e.residual = View(static_cast<const float*>(residual.data()), residual.size() / channels, channels);
          e.accumulate = IsFloat(type);
        }
        e.out_scale = 20.0f;
        GuardedBytes got(sums.memory().size() * SizeOf(type)), want(got.size());
        std::memset(got.data(), 0x3A, got.size());
        std::memset(want.data(), 0x3A, want.size());
        ImageView out = sums.view();
        out.type = type;
        out.data = want.data();
        reference::DepthwiseConv2d(Nhwc(ones.data(), 1, 1, 1, channels), {}, sums.in(), out, e);
        out.data = got.data();
        DepthwiseConv2d(p.plan, p.in.in(), out, context, e);
        ASSERT_EQ(std::memcmp(got.data(), want.data(), got.size()), 0) << NameOf(type) << ' ' << kind;
        ASSERT_TRUE(got.CanariesIntact());
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Fft, ::testing::ValuesIn(TargetNames()), NameOfTarget);

// Spectra do not depend on who computes them, nor do plans on being copied.
TEST(DepthwiseFftPlan, SpectraAreTheSameFromAnyExecutor) {
  LUTRA_NEEDS_TRANSFORMS();
  ThreeThreads threads;
  const FftCase t{1, 20, 30, 70, 9, 7, {}, 3};
  const Problem p(t);
  const SharedBytes& want = p.plan.parts().spectra;
  ASSERT_GT(want.bytes(), 0u);
  EXPECT_EQ(p.plan.bytes(), want.bytes() + p.plan.parts().memory.bytes() + p.kernel.bytes());
  for (const Executor& executor : {Serial(), threads.AsExecutor(), Share(1, 3)}) {
    const DepthwisePlan plan(p.kernel, t.h, t.w, Layout::kNhwc, ConvAlgo::kFft, executor);
    ASSERT_EQ(plan.parts().spectra.bytes(), want.bytes());
    EXPECT_EQ(std::memcmp(plan.parts().spectra.data(), want.data(), want.bytes()), 0);
  }
  EXPECT_EQ(threads.runs, 1u);
}

// Plans of several sizes share spectra where they may, and compute what they would alone.
TEST(DepthwiseFftPlan, SizesShareSpectra) {
  LUTRA_NEEDS_TRANSFORMS();
  const FftCase t{1, 50, 40, 5, 13, 13, {}, 8};
  const Problem p(t);
  TargetContext context(TargetNames().front(), Serial(), kScratch);
  const auto* const spectra = p.plan.parts().spectra.data();
  size_t shared = 0;
  for (const size_t h : {50u, 47u, 41u, 53u, 100u, 12u, 200u}) {
    for (const size_t w : {40u, 35u, 83u}) {
      const DepthwisePlan plan(p.plan, h, w, ConvAlgo::kFft), alone(p.kernel, h, w, t.layout, ConvAlgo::kFft);
      const bool shares = plan.parts().spectra.data() == spectra;
      shared += shares;
      if (h == t.h && w == t.w) {
        EXPECT_TRUE(shares);
      }
      if (!shares) {
        EXPECT_EQ(plan.parts().fft_rows.points, alone.parts().fft_rows.points);
        EXPECT_EQ(plan.parts().fft_columns.points, alone.parts().fft_columns.points);
      }
      const ImageBuffer in(t.layout, 1, h, w, t.c), got(t.layout, 1, h, w, t.c), want(t.layout, 1, h, w, t.c);
      in.Randomize(h + w);
      DepthwiseConv2d(plan, in.in(), got.view(), context);
      DepthwiseConv2d(alone, in.in(), want.view(), context);
      for (size_t y = 0; y < h; ++y) {
        for (size_t x = 0; x < w; ++x) {
          for (size_t c = 0; c < t.c; ++c) ASSERT_NEAR(got.At(0, y, x, c), want.At(0, y, x, c), 1e-5) << h << ' ' << w;
        }
      }
    }
  }
  EXPECT_GE(shared, 3u);
  // Nothing to share: another plan's algorithm, taps that do not meet the smaller image.
  EXPECT_EQ(DepthwisePlan(p.plan, 20, 20, ConvAlgo::kDirect).parts().spectra.bytes(), 0u);
  EXPECT_NE(DepthwisePlan(p.plan, 3, 3, ConvAlgo::kFft).parts().spectra.data(), spectra);
}

// Half the memory for taps that are their own reflection, and half for bf16; sizes share those spectra as well.
TEST(DepthwiseFftPlan, SpectraOfReflectedTapsAndOfBf16AreSmaller) {
  LUTRA_NEEDS_TRANSFORMS();
  const auto plan_for = [](bool reflected, DType spectra, size_t k = 13) {
    const Problem p({1, 30, 40, 5, k, k, {}, 4, Layout::kNhwc, spectra, reflected});
    EXPECT_EQ(p.plan.parts().spectra_type, spectra);
    EXPECT_EQ(p.plan.parts().spectra_real, reflected && k % 2 == 1) << "no pixel is the middle of an even kernel";
    const DepthwisePlan other(p.plan, 29, 39, ConvAlgo::kFft);
    EXPECT_EQ(other.parts().spectra.data(), p.plan.parts().spectra.data());
    TargetContext context(TargetNames().front(), Serial(), kScratch);
    const ImageBuffer in(Layout::kNhwc, 1, 29, 39, 5), got(Layout::kNhwc, 1, 29, 39, 5),
        want(Layout::kNhwc, 1, 29, 39, 5);
    in.Randomize(1);
    DepthwiseConv2d(other, in.in(), got.view(), context);
    DepthwiseConv2d(DepthwisePlan(p.kernel, 29, 39, Layout::kNhwc, ConvAlgo::kDirect), in.in(), want.view(), context);
    for (size_t i = 0; i < 29 * 39 * 5; ++i) {
      const float g = got.At(0, i / 195, i / 5 % 39, i % 5), w = want.At(0, i / 195, i / 5 % 39, i % 5);
      EXPECT_NEAR(g, w, spectra == DType::kF32 ? 1e-4 : 0.2);
    }
    return p.plan;
  };
  const size_t whole = plan_for(false, DType::kF32).parts().spectra.bytes();
  EXPECT_EQ(plan_for(true, DType::kF32).parts().spectra.bytes(), whole / 2);
  EXPECT_EQ(plan_for(false, DType::kBF16).parts().spectra.bytes(), whole / 2);
  EXPECT_EQ(plan_for(true, DType::kBF16).parts().spectra.bytes(), whole / 4);
  (void)plan_for(true, DType::kF32, 12);
  EXPECT_NE(Explain(plan_for(true, DType::kBF16)).find("(bf16, real: the taps are symmetric)"), std::string::npos);
  EXPECT_EQ(FailureOf([&] { (void)plan_for(false, DType::kF16); }),
            "DepthwisePlan: spectra are f16, must be f32 or bf16");
}

TEST(DepthwiseFftPlan, IsChosenForLargeKernelsAndSaysWhy) {
  LUTRA_NEEDS_TRANSFORMS();
  const auto plan_for = [](size_t size, size_t k, ConvAlgo algo = ConvAlgo::kAuto, Layout layout = Layout::kNhwc,
                           ConvGeometry g = {}) {
    std::vector<float> taps(k * k * 16, 1.0f);
    taps[0] = 2;  // not of rank one
    return DepthwisePlan(DepthwiseKernel(Nhwc(taps.data(), 1, k, k, 16), g), size, size, layout, algo);
  };
  for (const size_t size : {14u, 28u, 56u}) {
    EXPECT_EQ(plan_for(size, 3).algo(), ConvAlgo::kDirect) << size;
    for (const size_t k : {9u, 13u, 31u}) EXPECT_EQ(plan_for(size, k).algo(), ConvAlgo::kFft) << size << ' ' << k;
  }
  const DepthwisePlan large = plan_for(56, 31);
  EXPECT_EQ(large.parts().fft_rows.points, 72);
  EXPECT_TRUE(large.in_place_ok());
  const std::string text = Explain(large);
  for (const char* part : {"fft: chosen, the kernel is large. Transforms of 72 x 72 points, 1 x 1 tiles",
                           "bytes of spectra", "direct: not chosen: the kernel is large"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " is not in\n" << text;
  }
  EXPECT_NE(Explain(plan_for(56, 3)).find("fft: not chosen: the kernel is small"), std::string::npos);
  const DepthwisePlan tiled = plan_for(200, 31);
  EXPECT_EQ(tiled.algo(), ConvAlgo::kFft);
  EXPECT_TRUE(tiled.in_place_ok());
  EXPECT_GE(tiled.scratch_per_worker(true), tiled.scratch_per_worker() + 200 * 200 * 16 * sizeof(float));
  const auto refusal = [&](size_t size, size_t k, ConvGeometry g) {
    return FailureOf([&] { (void)plan_for(size, k, ConvAlgo::kFft, Layout::kNhwc, g); });
  };
  const std::string cannot = "DepthwisePlan: algo is kFft, which can't run: ";
  EXPECT_EQ(refusal(0, 7, {}), cannot + "the image is empty");
  ConvGeometry g;
  g.top = g.left = 600;
  g.bottom = g.right = 0;
  EXPECT_EQ(refusal(10, 1, g), "");
  g.dil_h = 600;
  EXPECT_EQ(refusal(1500, 3, g), cannot + "the kernel is longer than any transform");
  EXPECT_EQ(refusal(600, 1, {}), "");
  // The longest plans run with a default context.
  EXPECT_LE(plan_for(90, 1, ConvAlgo::kFft).scratch_per_worker(), Context::kDefaultScratch);
}

}}}  // namespace lutra::testing
