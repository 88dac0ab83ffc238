// Direct depthwise convolution, f32, stride 1, same padding. Multiply-adds count every tap of every output, also those
// in the padding.
#include "lutra/depthwise.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <stdexcept>

#include "bench/harness.h"
#include "bench/peers/peer.h"
#include "lutra/depthwise/reference.h"

namespace bench { namespace {

struct Shape {
  size_t h, c, k;
};

// An image, its taps and the plan, for one layout.
class ConvRun {
 public:
  ConvRun(const Shape& s, lutra::Layout layout, lutra::Context& context)
      : s_(s),
        layout_(layout),
        context_(&context),
        taps_(Fill(s.k * s.k * s.c, 1)),
        in_(Fill(s.h * s.h * s.c, 2)),
        out_(in_.size()),
        kernel_(lutra::Nhwc(static_cast<const float*>(taps_.data()), 1, s.k, s.k, s.c)),
        plan_(kernel_, s.h, s.h, layout, lutra::ConvAlgo::kDirect) {
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
  double macs() const { return static_cast<double>(s_.h * s_.h * s_.c * s_.k * s_.k); }
  const std::vector<float>& in() const { return in_; }
  const std::vector<float>& taps() const { return taps_; }

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

  Shape s_;
  lutra::Layout layout_;
  lutra::Context* context_;
  std::vector<float> taps_, in_, out_;
  lutra::DepthwiseKernel kernel_;
  lutra::DepthwisePlan plan_;
};

void Add(const Shape& s, lutra::Layout layout, bool all) {
  const bool nhwc = layout == lutra::Layout::kNhwc;
  const std::string name = Format("direct/%zux%zux%zu/K:%zu/%s", s.h, s.h, s.c, s.k, nhwc ? "nhwc" : "nchw");
  Register(name, all, [=](Bench& b) {
    ConvRun run(s, layout, b.context);
    run.Check();
    Row row;
    row.op = run.AsPiece("lutra");
    row.bounds.push_back(b.Against(Limit::kFma, run.macs()));
    row.note = Format("target=%s", lutra::TargetName(b.context.last_target()));
    std::unique_ptr<ConvRun> other;
    lutra::Context alone;
    if (all || !nhwc) {
      other = std::make_unique<ConvRun>(s, all ? layout : lutra::Layout::kNhwc, alone);
      other->Check();
      row.rivals.push_back(other->AsPiece(all ? "1thread" : "nhwc"));
    }
    const ConvShape shape{s.h, s.h, s.c, s.k, s.k, run.in().data(), run.taps().data()};
    std::vector<std::unique_ptr<ConvPeer>> peers;
    if (nhwc) peers = ConvPeers(shape, b.team.workers());
    std::vector<float> y(run.in().size());
    for (const auto& peer : peers) {
      peer->Output(&y);
      try {
        run.Compare(lutra::Nhwc(static_cast<const float*>(y.data()), 1, s.h, s.h, s.c),
                    lutra::Nhwc(run.in().data(), 1, s.h, s.h, s.c), peer->name().c_str());
      } catch (const std::runtime_error&) {
        row.note += Format(" %s=wrong", peer->name().c_str());
        continue;
      }
      row.rivals.push_back({peer->name(), run.macs(), [&peer] { peer->Run(); }});
    }
    b.Time(std::move(row));
  });
}

[[maybe_unused]] const bool registered = [] {
  constexpr Shape kShapes[] = {{56, 96, 3},   {56, 96, 5},   {56, 96, 7},   {28, 192, 7},  {14, 384, 7},
                               {7, 768, 7},   {56, 96, 9},   {56, 128, 13}, {7, 1024, 13}, {14, 512, 27},
                               {28, 256, 29}, {56, 128, 31}, {56, 96, 51}};
  for (const Shape& s : kShapes) {
    Add(s, lutra::Layout::kNhwc, false);
    Add(s, lutra::Layout::kNhwc, true);
    Add(s, lutra::Layout::kNchw, false);
  }
  return true;
}();

}}  // namespace bench
