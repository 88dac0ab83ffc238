// How far outputs are from the convolution in double precision: per channel, over that channel's largest output; the
// worst channel counts. "normal": all channels alike. "loud": one channel a million times as large as it was, beside
// others a thousandth. Nothing is timed; bench/errors.py --program bench_depthwise prints the table.
#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "bench/harness.h"
#include "bench/peers/peer.h"
#include "lutra/depthwise.h"

namespace bench { namespace {

constexpr size_t kSide = 56, kChannels = 32;

class Case {
 public:
  Case(size_t k, bool loud)
      : k_(k), in_(NormalFloats(kSide * kSide * kChannels, 2)), taps_(NormalFloats(k * k * kChannels, 1)) {
    for (size_t i = 0; loud && i < in_.size(); ++i) in_[i] *= i % kChannels == 5 ? 1e6f : 1e-3f;
    want_.resize(in_.size());
    for (size_t y = 0; y < kSide; ++y) {
      for (size_t x = 0; x < kSide; ++x) {
        for (size_t c = 0; c < kChannels; ++c) want_[(y * kSide + x) * kChannels + c] = Sum(y, x, c);
      }
    }
  }
  double ErrorOf(lutra::ConvAlgo algo) const {
    const lutra::DepthwiseKernel kernel(lutra::Nhwc(taps_.data(), 1, k_, k_, kChannels));
    const lutra::DepthwisePlan plan(kernel, kSide, kSide, lutra::Layout::kNhwc, algo);
    lutra::Context context(lutra::Serial(), plan.scratch_per_worker());
    context.set_target(Flags().target);
    std::vector<float> y(in_.size());
    lutra::DepthwiseConv2d(plan, lutra::Nhwc(in_.data(), 1, kSide, kSide, kChannels),
                           lutra::Nhwc(y.data(), 1, kSide, kSide, kChannels), context);
    return ErrorOf(y);
  }
  double ErrorOf(std::span<const float> y) const {
    double worst = 0;
    for (size_t c = 0; c < kChannels; ++c) {
      double error = 0, largest = 0;
      for (size_t i = c; i < want_.size(); i += kChannels) {
        error = std::max(error, std::fabs(double{y[i]} - want_[i]));
        largest = std::max(largest, std::fabs(want_[i]));
      }
      worst = std::max(worst, error / largest);
    }
    return worst;
  }
  ConvShape AsShape() const { return {kSide, kSide, kChannels, k_, k_, in_.data(), taps_.data()}; }

 private:
  double Sum(size_t y, size_t x, size_t c) const {
    const size_t before = (k_ - 1) / 2;
    double sum = 0;
    for (size_t ky = 0; ky < k_; ++ky) {
      for (size_t kx = 0; kx < k_; ++kx) {
        const size_t iy = y + ky - before, ix = x + kx - before;  // wraps where it is negative
        if (iy >= kSide || ix >= kSide) continue;
        sum += double{taps_[(ky * k_ + kx) * kChannels + c]} * double{in_[(iy * kSide + ix) * kChannels + c]};
      }
    }
    return sum;
  }

  size_t k_;
  std::vector<float> in_, taps_;
  std::vector<double> want_;
};

[[maybe_unused]] const bool registered = [] {
  for (const bool loud : {false, true}) {
    for (const size_t k : {size_t{3}, size_t{7}, size_t{13}, size_t{31}, size_t{51}}) {
      Register(Format("errors/%s/%zu x %zu x %zu/%zux%zu", loud ? "loud" : "normal", kSide, kSide, kChannels, k, k),
               false, [=](Bench& b) {
                 const Case one(k, loud);
                 b.state.counters["error_lutra, direct"] = one.ErrorOf(lutra::ConvAlgo::kDirect);
                 b.state.counters["error_lutra, transforms"] = one.ErrorOf(lutra::ConvAlgo::kFft);
                 std::vector<float> y(kSide * kSide * kChannels);
                 for (const auto& peer : ConvPeers(one.AsShape(), 1)) {
                   peer->Run();
                   peer->Output(&y);
                   b.state.counters[Format("error_%s", peer->name().c_str())] = one.ErrorOf(y);
                 }
                 for (auto _ : b.state) b.state.SetIterationTime(0);
               });
    }
  }
  return true;
}();

}}  // namespace bench
