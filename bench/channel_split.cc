// InceptionNeXt's mixer: identity, 3x3, 1x11 and 11x1 over channel ranges, the branches an eighth each.
#include "lutra/channel_split.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <stdexcept>

#include "bench/harness.h"
#include "bench/peers/peer.h"
#include "lutra/depthwise/reference.h"

namespace bench { namespace {

class Mixer {
 public:
  Mixer(size_t size, size_t c, lutra::Context& context) : size_(size), c_(c), context_(&context) {
    Random random(c);
    in_.resize(size * size * c);
    out_.resize(in_.size());
    for (float& v : in_) v = random.Normal();
    size_t begin = c - 3 * branch();
    branches_.push_back({0, begin});
    for (size_t i = 0; i < 3; ++i, begin += branch()) {
      const size_t kh = InceptionShape::kSizes[i][0], kw = InceptionShape::kSizes[i][1];
      taps_[i].resize(kh * kw * branch());
      for (float& v : taps_[i]) v = random.Normal();
      plans_.push_back(
          std::make_unique<lutra::DepthwisePlan>(lutra::DepthwiseKernel(Taps(i)), size, size, lutra::Layout::kNhwc));
      branches_.push_back({begin, begin + branch(), plans_.back().get()});
    }
  }
  size_t branch() const { return c_ / 8; }
  void operator()() {
    lutra::ChannelSplit(branches_, Image(static_cast<const float*>(in_.data())), Image(out_.data()), *context_);
  }
  void Check() {
    std::fill(out_.begin(), out_.end(), std::numeric_limits<float>::quiet_NaN());
    (*this)();
    if (!IsRight(out_)) throw std::runtime_error("WRONG: the output differs from the reference");
  }
  bool IsRight(const std::vector<float>& y) const {
    std::vector<float> want = in_;
    for (size_t i = 0; i < 3; ++i) {
      const lutra::Branch& b = branches_[i + 1];
      lutra::reference::DepthwiseConv2d<double>(
          Taps(i), {}, lutra::Channels(Image(static_cast<const float*>(in_.data())), b.begin, b.end),
          lutra::Channels(Image(want.data()), b.begin, b.end));
    }
    for (size_t i = 0; i < want.size(); ++i) {  // 11 taps and values below 8 each
      if (!(std::fabs(double{y[i]} - double{want[i]}) <= 12 * 0x1p-24 * 11 * 64)) return false;
    }
    return true;
  }
  InceptionShape shape() const {
    return {size_, size_, c_, branch(), in_.data(), {taps_[0].data(), taps_[1].data(), taps_[2].data()}};
  }
  const std::vector<float>& in() const { return in_; }

 private:
  template <class T>
  std::conditional_t<std::is_const_v<T>, lutra::ConstImageView, lutra::ImageView> Image(T* data) const {
    return lutra::Nhwc(data, 1, size_, size_, c_);
  }
  lutra::ConstImageView Taps(size_t i) const {
    return lutra::Nhwc(taps_[i].data(), 1, InceptionShape::kSizes[i][0], InceptionShape::kSizes[i][1], branch());
  }

  size_t size_, c_;
  lutra::Context* context_;
  std::vector<float> in_, out_, taps_[3];
  std::vector<std::unique_ptr<lutra::DepthwisePlan>> plans_;
  std::vector<lutra::Branch> branches_;
};

void Add(size_t size, size_t c, bool all) {
  Register(
      Format("inception/%zux%zux%zu/nhwc", size, size, c), all,
      [=](Bench& b) {
        Mixer mixer(size, c, b.context);
        mixer.Check();
        Row row;
        row.bytes = true;
        const double bytes = static_cast<double>(mixer.in().size() * sizeof(float));
        row.op = {"lutra", bytes, [&] { mixer(); }};
        row.note = Format("target=%s", lutra::TargetName(b.context.last_target()));
        std::vector<float> copy(mixer.in().size());
        row.bounds.push_back({CopyPiece(b.team, mixer.in().data(), copy.data(), copy.size() * sizeof(float)), bytes});
        std::vector<float> y(copy.size());
        const std::vector<std::unique_ptr<ConvPeer>> peers = InceptionPeers(mixer.shape(), b.team.workers());
        for (const auto& peer : peers) {
          peer->Output(&y);
          if (!mixer.IsRight(y)) {
            row.note += Format(" %s=wrong", peer->name().c_str());
            continue;
          }
          row.rivals.push_back({peer->name(), bytes, [&peer] { peer->Run(); }});
        }
        b.Time(std::move(row));
      },
      size_t{1} << 20);
}

[[maybe_unused]] const bool registered = [] {
  for (const bool all : {false, true}) {
    Add(56, 96, all);
    Add(28, 192, all);
    Add(14, 384, all);
    Add(7, 768, all);
  }
  return true;
}();

}}  // namespace bench
