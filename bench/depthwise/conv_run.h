// A depthwise convolution with stride 1 and same padding: its data, its check, its peers. What the benches of this room
// share.
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

struct ConvRunShape {
  size_t h, c, k;
};

// An image, its taps and the plan, for one layout.
class ConvRun {
 public:
  ConvRun(const ConvRunShape& s, lutra::Layout layout, lutra::ConvAlgo algo, lutra::Context& context)
      : s_(s),
        layout_(layout),
        context_(&context),
        taps_(Fill(s.k * s.k * s.c, 1)),
        in_(Fill(s.h * s.h * s.c, 2)),
        out_(in_.size()),
        kernel_(lutra::Nhwc(static_cast<const float*>(taps_.data()), 1, s.k, s.k, s.c)),
        plan_(kernel_, s.h, s.h, layout, algo) {
    context = lutra::Context(context.executor(), std::max(plan_.scratch_per_worker(), size_t{1} << 16));
    context.set_target(Flags().target);
  }

  void operator()() { lutra::DepthwiseConv2d(plan_, View(in_.data()), View(out_.data()), *context_); }
  void Check() {
    std::fill(out_.begin(), out_.end(), std::numeric_limits<float>::quiet_NaN());
    (*this)();
    for (const float v : out_) {
      if (std::isnan(v)) throw std::runtime_error("WRONG: an output is NaN or not written");
    }
    Compare(View(static_cast<const float*>(out_.data())), View(static_cast<const float*>(in_.data())), "lutra");
  }
  // Channels first, middle and last of y against the definition in double precision; the bound is that of one rounding
  // (two without FMA) per tap.
  void Compare(const lutra::ConstImageView& y, const lutra::ConstImageView& in, const char* who) const {
    std::vector<float> want(s_.h * s_.h);
    for (const size_t c : {size_t{0}, s_.c / 2, s_.c - 1}) {
      const auto taps = lutra::Channels(lutra::Nhwc(taps_.data(), 1, s_.k, s_.k, s_.c), c, c + 1);
      lutra::reference::DepthwiseConv2d<double>(taps, {}, lutra::Channels(in, c, c + 1),
                                                lutra::Nhwc(want.data(), 1, s_.h, s_.h, 1));
      double size = 0;
      for (size_t i = 0; i < s_.k * s_.k; ++i) size += std::fabs(double{taps_[i * s_.c + c]});
      const double bound = 8.0 * size * static_cast<double>(s_.k * s_.k + 1) * 0x1p-24;  // |in| is below 8
      for (size_t i = 0; i < want.size(); ++i) {
        const ptrdiff_t at = static_cast<ptrdiff_t>(i / s_.h) * y.sh + static_cast<ptrdiff_t>(i % s_.h) * y.sw +
                             static_cast<ptrdiff_t>(c) * y.sc;
        const float got = static_cast<const float*>(y.data)[at];
        if (!(std::fabs(double{got} - double{want[i]}) <= bound)) {
          throw std::runtime_error(Format("WRONG: %s, channel %zu", who, c));
        }
      }
    }
  }
  Piece AsPiece(const std::string& name) {
    return {name, macs(), [this] { (*this)(); }};
  }
  // Every peer that gets it right, as rivals that must outlive the row; the others are named in the note.
  std::vector<std::unique_ptr<ConvPeer>> Peers(size_t workers, Row* row) const {
    std::vector<std::unique_ptr<ConvPeer>> peers =
        ConvPeers(ConvShape{s_.h, s_.h, s_.c, s_.k, s_.k, in_.data(), taps_.data()}, workers);
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
  double macs() const { return static_cast<double>(s_.h * s_.h * s_.c * s_.k * s_.k); }
  const lutra::DepthwisePlan& plan() const { return plan_; }
  // What a run touches: images and, of transforms, spectra.
  size_t bytes() const { return 2 * in_.size() * sizeof(float) + plan_.parts().spectra.bytes(); }

 private:
  static std::vector<float> Fill(size_t count, uint64_t seed) {
    Random random(seed);
    std::vector<float> v(count);
    for (float& x : v) x = random.Normal();
    return v;
  }
  template <class T>
  std::conditional_t<std::is_const_v<T>, lutra::ConstImageView, lutra::ImageView> View(T* data) const {
    return layout_ == lutra::Layout::kNhwc ? lutra::Nhwc(data, 1, s_.h, s_.h, s_.c)
                                           : lutra::Nchw(data, 1, s_.c, s_.h, s_.h);
  }

  ConvRunShape s_;
  lutra::Layout layout_;
  lutra::Context* context_;
  std::vector<float> taps_, in_, out_;
  lutra::DepthwiseKernel kernel_;
  lutra::DepthwisePlan plan_;
};

}  // namespace bench
