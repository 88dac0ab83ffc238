// A depthwise convolution with same padding: its data, its check, its peers. What the benches of this room share.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/harness.h"
#include "bench/peers/peer.h"
#include "lutra/depthwise.h"
#include "lutra/depthwise/reference.h"

namespace bench {

// n images of h x h and c channels, k x kw taps.
struct ConvRunShape {
  size_t h, c, k;
  size_t kw = k;
  size_t stride = 1, dil = 1;
  size_t n = 1;
  lutra::DType spectra = lutra::DType::kF32;

  size_t taps() const { return k * kw; }
  lutra::ConvGeometry geometry() const {
    lutra::ConvGeometry g;
    g.stride_h = g.stride_w = stride;
    g.dil_h = g.dil_w = dil;
    return g;
  }
};

// An image, its taps and the plan, for one layout.
class ConvRun {
 public:
  ConvRun(const ConvRunShape& s, lutra::Layout layout, lutra::ConvAlgo algo, lutra::Context& context)
      : s_(s),
        layout_(layout),
        context_(&context),
        taps_(NormalFloats(s.taps() * s.c, 1)),
        in_(Aligned(NormalFloats(s.n * s.h * s.h * s.c, 2))),
        kernel_(lutra::Nhwc(static_cast<const float*>(taps_.data()), 1, s.k, s.kw, s.c), s.geometry()),
        plan_(kernel_, s.h, s.h, layout, algo, lutra::Serial(), s.spectra),
        out_(s.n * plan_.out_h() * plan_.out_w() * s.c) {
    context = lutra::Context(context.executor(), std::max(plan_.scratch_per_worker(), size_t{1} << 16));
    context.set_target(Flags().target);
  }

  void operator()() { lutra::DepthwiseConv2d(plan_, In(), View(out_.data(), plan_.out_h()), *context_); }
  void Check() {
    std::fill(out_.begin(), out_.end(), std::numeric_limits<float>::quiet_NaN());
    (*this)();
    for (const float v : out_) {
      if (std::isnan(v)) throw std::runtime_error("WRONG: an output is NaN or not written");
    }
    Compare(View(static_cast<const float*>(out_.data()), plan_.out_h()), In(), "lutra");
  }
  // Channels first, middle and last of y, first and last image, against the definition in double precision; the bound
  // is that of one rounding (two without FMA) per tap, and of a spectrum of bf16.
  void Compare(const lutra::ConstImageView& y, const lutra::ConstImageView& in, const char* who) const {
    const size_t out_h = plan_.out_h(), out_w = plan_.out_w();
    std::vector<float> want(out_h * out_w);
    for (const size_t i : {size_t{0}, size_t{1}, size_t{2}, size_t{3}, size_t{4}, size_t{5}}) {
      const size_t c = i % 3 * (s_.c - 1) / 2, image = i / 3 * (s_.n - 1);
      const auto taps = lutra::Channels(lutra::Nhwc(taps_.data(), 1, s_.k, s_.kw, s_.c), c, c + 1);
      lutra::ConstImageView one = lutra::Channels(in, c, c + 1);
      one.data = static_cast<const float*>(one.data) + static_cast<ptrdiff_t>(image) * one.sn;
      one.n = 1;
      lutra::reference::DepthwiseConv2d<double>(taps, s_.geometry(), one, lutra::Nhwc(want.data(), 1, out_h, out_w, 1));
      double size = 0;
      for (size_t tap = 0; tap < s_.taps(); ++tap) size += std::fabs(double{taps_[tap * s_.c + c]});
      const double roundings = static_cast<double>(s_.taps() + 1) * 0x1p-24;
      const double bound = 8.0 * size * (roundings + (s_.spectra == lutra::DType::kBF16 ? 0x1p-9 : 0));  // |in| < 8
      for (size_t pixel = 0; pixel < want.size(); ++pixel) {
        const ptrdiff_t at = static_cast<ptrdiff_t>(image) * y.sn + static_cast<ptrdiff_t>(pixel / out_w) * y.sh +
                             static_cast<ptrdiff_t>(pixel % out_w) * y.sw + static_cast<ptrdiff_t>(c) * y.sc;
        const float got = static_cast<const float*>(y.data)[at];
        if (!(std::fabs(double{got} - double{want[pixel]}) <= bound)) {
          throw std::runtime_error(Format("WRONG: %s, channel %zu of image %zu", who, c, image));
        }
      }
    }
  }
  Piece AsPiece(const std::string& name) {
    return {name, macs(), [this] { (*this)(); }};
  }
  // Every peer that gets it right, as rivals that must outlive the row; the others are named in the note. Peers take
  // one image, stride 1 without dilation.
  std::vector<std::unique_ptr<ConvPeer>> Peers(size_t workers, Row* row) const {
    if (s_.stride != 1 || s_.dil != 1 || s_.n != 1) return {};
    std::vector<std::unique_ptr<ConvPeer>> peers =
        ConvPeers(ConvShape{s_.h, s_.h, s_.c, s_.k, s_.kw, in_.data(), taps_.data()}, workers);
    std::vector<float> y(in_.size());
    for (const auto& peer : peers) {
      peer->Output(&y);
      try {
        Compare(lutra::Nhwc(static_cast<const float*>(y.data()), 1, s_.h, s_.h, s_.c),
                lutra::Nhwc(in_.data(), 1, s_.h, s_.h, s_.c), peer->name().c_str());
      } catch (const std::runtime_error&) {
        row->note += Format(" %s=wrong", peer->name().c_str());
        continue;
      }
      ConvPeer* const p = peer.get();
      row->rivals.push_back({p->name(), macs(), [p] { p->Run(); }});
    }
    return peers;
  }
  double macs() const { return static_cast<double>(out_.size() * s_.taps()); }
  const lutra::DepthwisePlan& plan() const { return plan_; }
  // What a run touches: images and, of transforms, spectra.
  size_t bytes() const { return (in_.size() + out_.size()) * sizeof(float) + plan_.parts().spectra.bytes(); }

 private:
  lutra::ConstImageView In() const { return View(in_.data(), s_.h); }
  template <class T>
  std::conditional_t<std::is_const_v<T>, lutra::ConstImageView, lutra::ImageView> View(T* data, size_t h) const {
    return layout_ == lutra::Layout::kNhwc ? lutra::Nhwc(data, s_.n, h, h, s_.c) : lutra::Nchw(data, s_.n, s_.c, h, h);
  }

  ConvRunShape s_;
  lutra::Layout layout_;
  lutra::Context* context_;
  std::vector<float> taps_;
  AlignedFloats in_;
  lutra::DepthwiseKernel kernel_;
  lutra::DepthwisePlan plan_;
  AlignedFloats out_;
};

// A checked run with a context of its own, on one thread: what a row compares with.
struct OwnRun {
  lutra::Context context;
  ConvRun run;
  OwnRun(const ConvRunShape& s, lutra::Layout layout, lutra::ConvAlgo algo) : run(s, layout, algo, context) {
    run.Check();
  }
};

}  // namespace bench
