// Parallel convolutions whose outputs are added, and the batch norms behind them, as one kernel and one bias: what a
// network was trained with becomes what it runs. Scalar; for the time of loading a model.
//
//   norm(v)      = gamma * (v - mean) / sqrt(var + eps) + beta                         per channel
//   MergeBranches: norm(sum over branches of norm_b(taps_b (*) in + bias_b))  =  taps (*) in + bias
//
// Every branch and the merged kernel run with padding "same" (the default of ConvGeometry) and the same stride and Pad;
// then the two sides are equal but for rounding: sums are in double, branches in their order, and each tap and each
// bias is rounded to f32 once. Not so with ConvGeometry::reweight, where each branch has borders of its own.
#pragma once
#include <cmath>
#include <span>

#include "lutra/core/views.h"
#include "lutra/depthwise/shared.h"

namespace lutra { inline namespace v0 {

// At inference. Null gamma is 1, null beta and mean are 0, and without var nothing is divided: {} does nothing.
struct BatchNorm {
  const float* gamma = nullptr;
  const float* beta = nullptr;
  const float* mean = nullptr;
  const float* var = nullptr;
  double eps = 1e-5;
};

struct MergeBranch {
  ConstImageView taps = {};  // as DepthwiseKernel takes them; {}: the identity
  const float* bias = nullptr;
  BatchNorm norm = {};
  size_t dil_h = 1, dil_w = 1;
};

// What MergeBranches makes. Immutable; copies share the memory.
class MergedKernel {
 public:
  LUTRA_MEMBER explicit MergedKernel(const SharedBytes& memory, size_t c, size_t h, size_t w)
      : memory_(memory), c_(c), h_(h), w_(w) {}

  LUTRA_MEMBER ConstImageView taps() const {  // for DepthwiseKernel: [c, 1, h, w]
    const auto plane = static_cast<ptrdiff_t>(h_ * w_);
    return {
        memory_.data(), DType::kF32, 1, h_, w_, c_, static_cast<ptrdiff_t>(c_) * plane, static_cast<ptrdiff_t>(w_), 1,
        plane};
  }
  LUTRA_MEMBER const float* bias() const {  // for Epilogue: [c]
    return static_cast<const float*>(memory_.data()) + c_ * h_ * w_;
  }

  // Copies share.
  LUTRA_MEMBER MergedKernel(const MergedKernel&) = default;
  LUTRA_MEMBER MergedKernel(MergedKernel&&) noexcept = default;
  LUTRA_MEMBER MergedKernel& operator=(const MergedKernel&) = default;
  LUTRA_MEMBER MergedKernel& operator=(MergedKernel&&) noexcept = default;
  LUTRA_MEMBER ~MergedKernel() = default;

 private:
  SharedBytes memory_;
  size_t c_, h_, w_;
};

struct DilatedBranch {
  size_t k, dil;
};

}}  // namespace lutra::v0

LUTRA_EXACT_BEGIN
namespace lutra { inline namespace LUTRA_NS {
namespace internal {

struct Affine {  // of a channel: scale * v + offset
  double scale, offset;
};
// branch -1: the norm of the sum.
inline Affine FoldNorm(const BatchNorm& norm, size_t channel, ptrdiff_t branch) {
  const auto value = [&](const float* of, const char* name, double absent) {
    if (of == nullptr) return absent;
    if (!std::isfinite(of[channel])) {
      Fail("MergeBranches: norm.%s of channel %zu, branch %td is %f, must be finite", name, channel, branch,
           double{of[channel]});
    }
    return double{of[channel]};
  };
  const double gamma = value(norm.gamma, "gamma", 1), beta = value(norm.beta, "beta", 0),
               mean = value(norm.mean, "mean", 0), var = value(norm.var, "var", 0);
  if (norm.var == nullptr) return {gamma, beta - gamma * mean};
  if (!(var + norm.eps > 0) || !std::isfinite(norm.eps)) {
    Fail("MergeBranches: norm.var of channel %zu, branch %td is %g, with eps %g it must be above 0", channel, branch,
         var, norm.eps);
  }
  const double scale = gamma / std::sqrt(var + norm.eps);
  return {scale, beta - scale * mean};
}

inline bool IsIdentity(const MergeBranch& b) { return b.taps.data == nullptr && b.taps.c == 0; }

// Where a branch lies in the merged kernel.
struct MergePlace {
  size_t k_h, k_w, top, left;  // taps, place of the first
};
inline MergePlace PlaceBranch(const MergeBranch& b, size_t index, size_t c, size_t h, size_t w) {
  const char* const what = "MergeBranches";
  const bool identity = IsIdentity(b);
  if (!identity) {
    if (b.taps.type != DType::kF32)
      Fail("%s: taps.type of branch %zu is %s, must be f32", what, index, NameOf(b.taps.type));
    if (b.taps.n != 1) Fail("%s: taps.n of branch %zu is %zu, must be 1", what, index, b.taps.n);
    if (b.taps.c != c) Fail("%s: branch %zu has %zu channels, the merged kernel has %zu", what, index, b.taps.c, c);
    if (b.taps.h == 0 || b.taps.w == 0) {
      Fail("%s: taps of branch %zu are %zu x %zu, must be at least 1 x 1", what, index, b.taps.h, b.taps.w);
    }
    CheckImage("MergeBranches: taps", b.taps);
  }
  MergePlace p{identity ? 1 : b.taps.h, identity ? 1 : b.taps.w, 0, 0};
  const auto place = [&](const char* name, size_t k, size_t dil, size_t size) {
    if (dil == 0) Fail("%s: dil_%s of branch %zu is 0, must be at least 1", what, name, index);
    const size_t reach = k == 1 ? 0 : CheckedSize(what, k - 1, dil);
    if (reach >= size) {
      Fail("%s: branch %zu spans %s %zu (%zu taps, dilation %zu), the merged kernel has %zu", what, index, name,
           reach + 1, k, dil, size);
    }
    if ((size - 1 - reach) % 2 != 0) {
      Fail("%s: branch %zu spans %s %zu, which has no middle in %zu: both must be odd, or both even", what, index, name,
           reach + 1, size);
    }
    return (size - 1 - reach) / 2;
  };
  p.top = place("h", p.k_h, b.dil_h, h);
  p.left = place("w", p.k_w, b.dil_w, w);
  return p;
}

}  // namespace internal

// One h x w kernel and bias for c channels that do what `branches`, added, and `norm` behind their sum do. A branch
// covers the middle of the kernel: its dil * (K - 1) + 1 must be at most h (w), and both even or both odd. Fails on
// that, on taps or norms that are not finite, and on results too large for f32.
inline MergedKernel MergeBranches(std::span<const MergeBranch> branches, size_t c, size_t h, size_t w,
                                  const BatchNorm& norm = {}) {
  const char* const what = "MergeBranches";
  if (c == 0 || h == 0 || w == 0) {
    Fail("%s: the merged kernel is %zu x %zu for %zu channels, must be at least 1 x 1 for 1", what, h, w, c);
  }
  for (size_t i = 0; i < branches.size(); ++i) internal::PlaceBranch(branches[i], i, c, h, w);
  const size_t plane = internal::CheckedSize(what, h, w), taps = internal::CheckedSize(what, c, plane);
  const SharedBytes memory((taps + c) * sizeof(float)), sums_memory(plane * sizeof(double));
  auto* const to = static_cast<float*>(memory.data());
  auto* const sums = static_cast<double*>(sums_memory.data());
  for (size_t channel = 0; channel < c; ++channel) {
    for (size_t i = 0; i < plane; ++i) sums[i] = 0;
    double bias = 0;
    for (size_t i = 0; i < branches.size(); ++i) {
      const MergeBranch& b = branches[i];
      const internal::MergePlace p = internal::PlaceBranch(b, i, c, h, w);
      const internal::Affine fold = internal::FoldNorm(b.norm, channel, static_cast<ptrdiff_t>(i));
      for (size_t y = 0; y < p.k_h; ++y) {
        for (size_t x = 0; x < p.k_w; ++x) {
          const ptrdiff_t at = static_cast<ptrdiff_t>(y) * b.taps.sh + static_cast<ptrdiff_t>(x) * b.taps.sw +
                               static_cast<ptrdiff_t>(channel) * b.taps.sc;
          const double tap = internal::IsIdentity(b) ? 1.0 : double{static_cast<const float*>(b.taps.data)[at]};
          if (!std::isfinite(tap)) {
            Fail("%s: tap y %zu, x %zu of channel %zu, branch %zu is %f, must be finite", what, y, x, channel, i, tap);
          }
          sums[(p.top + y * b.dil_h) * w + p.left + x * b.dil_w] += fold.scale * tap;
        }
      }
      if (b.bias != nullptr && !std::isfinite(b.bias[channel])) {
        Fail("%s: bias of channel %zu, branch %zu is %f, must be finite", what, channel, i, double{b.bias[channel]});
      }
      bias += (b.bias == nullptr ? 0.0 : fold.scale * double{b.bias[channel]}) + fold.offset;
    }
    const internal::Affine fold = internal::FoldNorm(norm, channel, -1);
    const auto round = [&](double v) {
      const auto rounded = static_cast<float>(v);
      if (!std::isfinite(rounded)) Fail("%s: channel %zu becomes %g, too large for f32", what, channel, v);
      return rounded;
    };
    for (size_t i = 0; i < plane; ++i) to[channel * plane + i] = round(fold.scale * sums[i]);
    to[taps + channel] = round(fold.scale * bias + fold.offset);
  }
  return MergedKernel(memory, c, h, w);
}

// The dilated branches that UniRepLKNet trains beside a k x k kernel.
inline std::span<const DilatedBranch> UniRepLkBranches(size_t k) {
  static constexpr DilatedBranch k17[] = {{5, 1}, {9, 2}, {3, 4}, {3, 5}, {3, 7}},
                                 k15[] = {{5, 1}, {7, 2}, {3, 3}, {3, 5}, {3, 7}},
                                 k13[] = {{5, 1}, {7, 2}, {3, 3}, {3, 4}, {3, 5}},
                                 k11[] = {{5, 1}, {5, 2}, {3, 3}, {3, 4}, {3, 5}},
                                 k9[] = {{5, 1}, {5, 2}, {3, 3}, {3, 4}}, k7[] = {{5, 1}, {3, 2}, {3, 3}},
                                 k5[] = {{3, 1}, {3, 2}};
  switch (k) {
    case 17:
      return k17;
    case 15:
      return k15;
    case 13:
      return k13;
    case 11:
      return k11;
    case 9:
      return k9;
    case 7:
      return k7;
    case 5:
      return k5;
  }
  Fail("UniRepLkBranches: k is %zu, must be 5, 7, 9, 11, 13, 15 or 17", k);
}

}}  // namespace lutra::LUTRA_NS
LUTRA_EXACT_END
