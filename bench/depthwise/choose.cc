// Whether choose.h chooses well: every algorithm that accepts a shape is a rival, forced, of the one that kAuto takes.
// vs_<algorithm> below 0.9: that one is faster by more than 10 %. bench/choose.py --program bench_depthwise lists those
// rows. f32, warm.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <stdexcept>
#include <type_traits>
#include <vector>

#include "bench/harness.h"
#include "lutra/depthwise.h"
#include "lutra/depthwise/reference.h"

namespace bench { namespace {

using lutra::ConvAlgo;
using lutra::Layout;

struct Shape {
  size_t h, w, c, kh, kw;
  Layout layout = Layout::kNhwc;
  size_t stride = 1, dil = 1;
  bool rank_one = false;
};

class Run {
 public:
  Run(const Shape& s, ConvAlgo algo)
      : s_(s),
        taps_(s.rank_one ? RankOne(s) : NormalFloats(s.kh * s.kw * s.c, 1)),
        in_(Aligned(NormalFloats(s.h * s.w * s.c, 2))),
        kernel_(lutra::Nhwc(static_cast<const float*>(taps_.data()), 1, s.kh, s.kw, s.c), GeometryOf(s)),
        plan_(kernel_, s.h, s.w, s.layout, algo),
        out_(plan_.out_h() * plan_.out_w() * s.c),
        context_(lutra::Serial(), plan_.scratch_per_worker()) {
    context_.set_target(Flags().target);
  }
  void operator()() {
    lutra::DepthwiseConv2d(plan_, View(static_cast<const float*>(in_.data()), s_.h, s_.w, s_.c),
                           View(out_.data(), plan_.out_h(), plan_.out_w(), s_.c), context_);
  }
  // The last channel against the definition in double: one rounding per tap (two without FMA).
  void Check() {
    std::fill(out_.begin(), out_.end(), std::numeric_limits<float>::quiet_NaN());
    (*this)();
    std::vector<float> want(plan_.out_h() * plan_.out_w());
    const auto taps = lutra::Nhwc(static_cast<const float*>(taps_.data()), 1, s_.kh, s_.kw, s_.c);
    lutra::reference::DepthwiseConv2d<double>(
        lutra::Channels(taps, s_.c - 1, s_.c), GeometryOf(s_),
        lutra::Channels(View(static_cast<const float*>(in_.data()), s_.h, s_.w, s_.c), s_.c - 1, s_.c),
        lutra::Nhwc(want.data(), 1, plan_.out_h(), plan_.out_w(), 1));
    const size_t last = s_.layout == Layout::kNhwc ? s_.c - 1 : (s_.c - 1) * want.size();
    const size_t step = s_.layout == Layout::kNhwc ? s_.c : 1;
    double size = 0;
    for (size_t i = 0; i < s_.kh * s_.kw; ++i) size += std::fabs(double{taps_[i * s_.c + s_.c - 1]});
    const double bound = 8.0 * size * static_cast<double>(s_.kh * s_.kw + 1) * 0x1p-24;  // |in| is below 8
    for (size_t i = 0; i < want.size(); ++i) {
      if (!(std::fabs(double{out_[last + i * step]} - double{want[i]}) <= bound)) {
        throw std::runtime_error(Format("WRONG: output %zu of the last channel", i));
      }
    }
    for (const float v : out_) {
      if (std::isnan(v)) throw std::runtime_error("WRONG: an output is NaN or not written");
    }
  }
  Piece AsPiece(const char* name) {
    return {name, static_cast<double>(out_.size() * s_.kh * s_.kw), [this] { (*this)(); }};
  }
  ConvAlgo algo() const { return plan_.algo(); }
  int64_t target() const { return context_.last_target(); }

 private:
  // Products of small integers, so exactly of rank one.
  static std::vector<float> RankOne(const Shape& s) {
    const auto value = [](size_t i) { return static_cast<float>(i * 7 % 13) - 6; };
    std::vector<float> v(s.kh * s.kw * s.c);
    for (size_t i = 0; i < v.size(); ++i) {
      v[i] = value(i / (s.kw * s.c)) * value(i / s.c % s.kw + 1) * value(i % s.c + 2);
    }
    return v;
  }
  static lutra::ConvGeometry GeometryOf(const Shape& s) {
    lutra::ConvGeometry g;
    g.stride_h = g.stride_w = s.stride;
    g.dil_h = g.dil_w = s.dil;
    return g;
  }
  template <class T>
  std::conditional_t<std::is_const_v<T>, lutra::ConstImageView, lutra::ImageView> View(T* data, size_t h, size_t w,
                                                                                       size_t c) const {
    return s_.layout == Layout::kNhwc ? lutra::Nhwc(data, 1, h, w, c) : lutra::Nchw(data, 1, c, h, w);
  }

  Shape s_;
  std::vector<float> taps_;
  AlignedFloats in_;
  lutra::DepthwiseKernel kernel_;
  lutra::DepthwisePlan plan_;
  AlignedFloats out_;
  lutra::Context context_;
};

constexpr const char* kNames[] = {"auto", "direct", "fft", "separable"};
const char* NameOf(ConvAlgo algo) { return kNames[static_cast<size_t>(algo)]; }

void Add(const Shape& s) {
  Register(Format("choose/%zux%zux%zu/K:%zux%zu/%s%s%s", s.h, s.w, s.c, s.kh, s.kw,
                  s.layout == Layout::kNhwc ? "nhwc" : "nchw", s.stride == 1 ? "" : "/stride:2",
                  s.rank_one   ? "/rank_one"
                  : s.dil == 1 ? ""
                               : "/dilation:2"),
           false, [=](Bench& b) {
             Run chosen(s, ConvAlgo::kAuto);
             chosen.Check();
             Row row;
             row.op = chosen.AsPiece("lutra");
             row.note = Format("target=%s chosen=%s", lutra::TargetName(chosen.target()), NameOf(chosen.algo()));
             const double least = Seconds(chosen);
             std::vector<std::unique_ptr<Run>> others;
             for (const ConvAlgo algo : {ConvAlgo::kDirect, ConvAlgo::kFft, ConvAlgo::kSeparable}) {
               if (algo == chosen.algo() || (algo == ConvAlgo::kSeparable && !s.rank_one)) continue;
               auto run = std::make_unique<Run>(s, algo);
               run->Check();
               if (Seconds(*run) > 4 * least) continue;  // nowhere near
               row.rivals.push_back(run->AsPiece(NameOf(algo)));
               others.push_back(std::move(run));
             }
             b.Time(std::move(row));
           });
}

[[maybe_unused]] const bool registered = [] {
  constexpr size_t kImages[][2] = {{7, 256}, {10, 256}, {14, 128}, {20, 128}, {28, 96}, {56, 96}, {112, 32}, {224, 16}};
  for (const auto& [side, c] : kImages) {
    for (const Layout layout : {Layout::kNhwc, Layout::kNchw}) {
      for (const size_t k : {size_t{3}, size_t{5}, size_t{7}, size_t{9}, size_t{13}, size_t{21}}) {
        Add({side, side, c, k, k, layout});
      }
      Add({side, side, c, 1, 11, layout});
      Add({side, side, c, 21, 1, layout});
      Add({side, side, c, 7, 7, layout, 2});
      Add({side, side, c, 7, 7, layout, 1, 2});
      for (const size_t k : {size_t{5}, size_t{9}, size_t{21}}) Add({side, side, c, k, k, layout, 1, 1, true});
    }
  }
  Add({56, 56, 3, 7, 7});
  Add({56, 56, 3, 15, 15});
  Add({200, 300, 1, 7, 7});
  Add({200, 300, 1, 31, 31});
  Add({200, 300, 3, 15, 15, Layout::kNchw});
  return true;
}();

}}  // namespace bench
