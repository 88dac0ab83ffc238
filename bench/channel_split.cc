// Channel ranges that go different ways in one pass: InceptionNeXt's mixer (identity, 3x3, 1x11 and 11x1, the branches
// an eighth each), MixConv (squares of 3, 5, 7, 9 and 11; equal and exponential splits; stride 1 and 2), SCNet's shifts
// (eight groups, each moved by a pixel). f32, NHWC, same padding. Bytes are those of the input: `copy` is its copy.
#include "lutra/channel_split.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <stdexcept>

#include "bench/harness.h"
#include "bench/peers/peer.h"
#include "lutra/depthwise/reference.h"

namespace bench { namespace {

// `channels` by kh x kw taps or, without taps, moved.
struct Part {
  size_t channels, kh = 0, kw = 0;
  int shift_h = 0, shift_w = 0;
};

struct SplitShape {
  size_t size, stride;
  std::vector<Part> parts;

  size_t c() const {
    size_t sum = 0;
    for (const Part& p : parts) sum += p.channels;
    return sum;
  }
};

class Split {
 public:
  Split(const SplitShape& s, lutra::Context& context)
      : s_(s), c_(s.c()), out_size_((s.size - 1) / s.stride + 1), context_(&context), taps_(s.parts.size()) {
    Random random(c_);
    in_.resize(s.size * s.size * c_);
    out_.resize(out_size_ * out_size_ * c_);
    for (float& v : in_) v = random.Normal();
    size_t begin = 0, scratch = size_t{1} << 16;
    for (size_t i = 0; i < taps_.size(); ++i) {
      const Part& p = s.parts[i];
      lutra::Branch branch{begin, begin + p.channels, nullptr, p.shift_h, p.shift_w};
      if (p.kh != 0) {
        taps_[i].resize(p.kh * p.kw * p.channels);
        for (float& v : taps_[i]) v = random.Normal();
        plans_.push_back(std::make_unique<lutra::DepthwisePlan>(lutra::DepthwiseKernel(Taps(i), Geometry()), s.size,
                                                                s.size, lutra::Layout::kNhwc));
        branch.plan = plans_.back().get();
        scratch = std::max(scratch, branch.plan->scratch_per_worker());
      }
      branches_.push_back(branch);
      begin = branch.end;
    }
    context = lutra::Context(context.executor(), scratch);
    context.set_target(Flags().target);
  }
  void operator()() { lutra::ChannelSplit(branches_, In(), Out(out_.data()), *context_); }
  void Check() {
    std::fill(out_.begin(), out_.end(), std::numeric_limits<float>::quiet_NaN());
    (*this)();
    if (!IsRight(out_)) throw std::runtime_error("WRONG: the output differs from the reference");
  }
  // Every element of y: exact where a range is moved; else in double, with one rounding (two without FMA) per tap.
  bool IsRight(std::span<const float> y) const {
    std::vector<float> want(out_.size()), bounds(c_);
    for (size_t i = 0; i < branches_.size(); ++i) {
      const lutra::Branch& b = branches_[i];
      const lutra::ConstImageView from = lutra::Channels(In(), b.begin, b.end);
      const lutra::ImageView to = lutra::Channels(Out(want.data()), b.begin, b.end);
      if (b.plan == nullptr) {
        Move(b.shift_h, b.shift_w, from, to);
        continue;
      }
      lutra::reference::DepthwiseConv2d<double>(Taps(i), Geometry(), from, to);
      const size_t channels = b.end - b.begin, count = taps_[i].size() / channels;
      for (size_t t = 0; t < taps_[i].size(); ++t) bounds[b.begin + t % channels] += std::fabs(taps_[i][t]);
      for (size_t c = b.begin; c < b.end; ++c)
        bounds[c] *= 8.0f * static_cast<float>(count + 1) * 0x1p-24f;  // |in| < 8
    }
    for (size_t i = 0; i < want.size(); ++i) {
      if (!(std::fabs(double{y[i]} - double{want[i]}) <= double{bounds[i % c_]})) return false;
    }
    return true;
  }
  double macs() const {
    double sum = 0;
    for (const std::vector<float>& taps : taps_) sum += static_cast<double>(out_size_ * out_size_ * taps.size());
    return sum;
  }
  const AlignedFloats& in() const { return in_; }
  const float* taps(size_t i) const { return taps_[i].data(); }

 private:
  // out[y, x] = in[y - shift_h, x - shift_w], or 0.
  static void Move(int shift_h, int shift_w, const lutra::ConstImageView& in, const lutra::ImageView& out) {
    for (size_t y = 0; y < out.h; ++y) {
      for (size_t x = 0; x < out.w; ++x) {
        const ptrdiff_t from_y = static_cast<ptrdiff_t>(y) - shift_h, from_x = static_cast<ptrdiff_t>(x) - shift_w;
        if (from_y < 0 || from_x < 0 || from_y >= static_cast<ptrdiff_t>(in.h) ||
            from_x >= static_cast<ptrdiff_t>(in.w)) {
          continue;
        }
        const float* const from = static_cast<const float*>(in.data) + from_y * in.sh + from_x * in.sw;
        float* const to =
            static_cast<float*>(out.data) + static_cast<ptrdiff_t>(y) * out.sh + static_cast<ptrdiff_t>(x) * out.sw;
        std::copy_n(from, in.c, to);
      }
    }
  }
  lutra::ConvGeometry Geometry() const {
    lutra::ConvGeometry g;
    g.stride_h = g.stride_w = s_.stride;
    return g;
  }
  lutra::ConstImageView In() const { return lutra::Nhwc(in_.data(), 1, s_.size, s_.size, c_); }
  lutra::ImageView Out(float* data) const { return lutra::Nhwc(data, 1, out_size_, out_size_, c_); }
  lutra::ConstImageView Taps(size_t i) const {
    const Part& p = s_.parts[i];
    return lutra::Nhwc(taps_[i].data(), 1, p.kh, p.kw, p.channels);
  }

  SplitShape s_;
  size_t c_, out_size_;
  lutra::Context* context_;
  AlignedFloats in_, out_;
  std::vector<std::vector<float>> taps_;  // of each part
  std::vector<std::unique_ptr<lutra::DepthwisePlan>> plans_;
  std::vector<lutra::Branch> branches_;
};

using PeersOf = std::vector<std::unique_ptr<ConvPeer>>(const Split& split, const SplitShape& s, size_t workers);

void Add(const std::string& name, const SplitShape& s, PeersOf* peers_of = nullptr) {
  for (const bool all : {false, true}) {
    Register(name, all, [=](Bench& b) {
      Split split(s, b.context);
      split.Check();
      Row row;
      row.bytes = true;
      const double bytes = static_cast<double>(split.in().size() * sizeof(float));
      row.op = {"lutra", bytes, [&] { split(); }};
      row.note = Format("target=%s", lutra::TargetName(b.context.last_target()));
      AlignedFloats copy(split.in().size());
      row.bounds.push_back({CopyPiece(b.team, split.in().data(), copy.data(), copy.size() * sizeof(float)), bytes});
      if (split.macs() != 0) row.bounds.push_back(b.Against(Limit::kFma, split.macs()));
      std::vector<std::unique_ptr<ConvPeer>> peers;
      if (peers_of != nullptr) peers = peers_of(split, s, b.team.workers());
      std::vector<float> y(copy.size());
      for (const auto& peer : peers) {
        peer->Output(&y);
        if (!split.IsRight(y)) {
          row.note += Format(" %s=wrong", peer->name().c_str());
          continue;
        }
        row.rivals.push_back({peer->name(), bytes, [&peer] { peer->Run(); }});
      }
      b.Time(std::move(row));
    });
  }
}

void AddInception(size_t size, size_t c) {
  SplitShape s{size, 1, {{c - c / 8 * 3}}};
  for (const auto& [kh, kw] : InceptionShape::kSizes) s.parts.push_back({c / 8, kh, kw});
  Add(Format("inception/%zux%zux%zu/nhwc", size, size, c), s,
      [](const Split& split, const SplitShape& shape, size_t workers) {
        return InceptionPeers({shape.size,
                               shape.size,
                               shape.c(),
                               shape.parts[1].channels,
                               split.in().data(),
                               {split.taps(1), split.taps(2), split.taps(3)}},
                              workers);
      });
}

// Equal: a fifth each, the first with what is left over. Exponential: a half, a quarter, ..., the last two alike.
void AddMixConv(size_t size, size_t c, bool equal, size_t stride) {
  SplitShape s{size, stride, {}};
  size_t left = c;
  for (size_t k = 11; k > 3; k -= 2) {
    const size_t channels = equal ? c / 5 : c >> std::min<size_t>((k - 1) / 2, 4);
    s.parts.insert(s.parts.begin(), {channels, k, k});
    left -= channels;
  }
  s.parts.insert(s.parts.begin(), {left, 3, 3});
  Add(Format("mixconv/%zux%zux%zu/%s/stride:%zu/nhwc", size, size, c, equal ? "equal" : "exponential", stride), s);
}

void AddShifts(size_t size, size_t c) {
  SplitShape s{size, 1, {}};
  for (const int h : {-1, 0, 1}) {
    for (const int w : {-1, 0, 1}) {
      if (h != 0 || w != 0) s.parts.push_back({c / 8, 0, 0, h, w});
    }
  }
  Add(Format("shifts/%zux%zux%zu/nhwc", size, size, c), s);
}

[[maybe_unused]] const bool registered = [] {
  constexpr size_t kStages[][2] = {{56, 96}, {28, 192}, {14, 384}, {7, 768}};
  for (const auto& [size, c] : kStages) AddInception(size, c);
  for (const size_t stride : {size_t{1}, size_t{2}}) {
    for (const bool equal : {true, false}) {
      AddMixConv(56, 96, equal, stride);
      AddMixConv(14, 720, equal, stride);
    }
  }
  for (const auto& [size, c] : kStages) AddShifts(size, c);
  return true;
}();

}}  // namespace bench
