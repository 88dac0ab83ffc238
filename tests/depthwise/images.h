// Images in guarded memory, with gaps between their rows and pixels, for the tests of this room.
#pragma once
#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "lutra/depthwise.h"
#include "support/guarded.h"

namespace lutra { namespace testing {

class Random {  // the same numbers everywhere
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u + 1) {}
  uint64_t Next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_;
  }
  size_t Below(size_t n) { return static_cast<size_t>(Next() >> 33) % n; }
  template <class T, size_t kSize>
  const T& Of(const T (&list)[kSize]) {
    return list[Below(kSize)];
  }
  float Value() { return static_cast<float>(static_cast<int64_t>(Next() >> 40) - (1 << 23)) * 0x1p-23f; }  // [-1, 1)

 private:
  uint64_t state_;
};

struct Gaps {  // unused elements behind each pixel (NHWC) or row (NCHW), row or plane, and image
  size_t inner = 0, middle = 0, outer = 0;
};

// T: float, BF16, F16, int8_t or uint8_t.
template <class T>
class ImageOf {
 public:
  ImageOf(Layout layout, size_t n, size_t h, size_t w, size_t c, Gaps gaps = {}, Edge edge = Edge::kEnd)
      : memory_(Elements(layout, n, h, w, c, gaps), edge) {
    const auto s = [](size_t v) { return static_cast<ptrdiff_t>(v); };
    view_ = ImageView{memory_.data(), kDTypeOf<T>, n, h, w, c, 0, 0, 0, 0};
    if (layout == Layout::kNhwc) {
      view_.sc = 1;
      view_.sw = s(c + gaps.inner);
      view_.sh = s(w) * view_.sw + s(gaps.middle);
      view_.sn = s(h) * view_.sh + s(gaps.outer);
    } else {
      view_.sw = 1;
      view_.sh = s(w + gaps.inner);
      view_.sc = s(h) * view_.sh + s(gaps.middle);
      view_.sn = s(c) * view_.sc + s(gaps.outer);
    }
  }
  ImageView view() const { return view_; }
  ConstImageView in() const { return view_; }
  const GuardedBuffer<T>& memory() const { return memory_; }
  T& At(size_t n, size_t y, size_t x, size_t c) const {
    const auto s = [](size_t v) { return static_cast<ptrdiff_t>(v); };
    return memory_.data()[s(n) * view_.sn + s(y) * view_.sh + s(x) * view_.sw + s(c) * view_.sc];
  }
  void Randomize(uint64_t seed) const {
    Random random(seed);
    for (T& v : memory_) {
      if constexpr (std::is_same_v<T, float>) {
        v = random.Value();
      } else if constexpr (std::is_same_v<T, BF16>) {
        v = ToBF16(random.Value());
      } else if constexpr (std::is_same_v<T, F16>) {
        v = ToF16(random.Value());
      } else {
        v = static_cast<T>(random.Next() >> 32);
      }
    }
  }
  void CopyFrom(const ImageOf& other) const { std::copy(other.memory_.begin(), other.memory_.end(), memory_.begin()); }
  // Bit for bit, gaps included.
  bool SameAs(const ImageOf& other) const {
    return memory_.size() == other.memory_.size() &&
           (memory_.size() == 0 || std::memcmp(memory_.data(), other.memory_.data(), memory_.size() * sizeof(T)) == 0);
  }

 private:
  // Up to the last element, not further.
  static size_t Elements(Layout layout, size_t n, size_t h, size_t w, size_t c, Gaps g) {
    if (n * h * w * c == 0) return 0;
    const size_t lines = layout == Layout::kNhwc ? w : h, blocks = layout == Layout::kNhwc ? h : c;
    const size_t run = layout == Layout::kNhwc ? c : w;
    const size_t middle = lines * (run + g.inner) + g.middle, outer = blocks * middle + g.outer;
    return (n - 1) * outer + (blocks - 1) * middle + (lines - 1) * (run + g.inner) + run;
  }

  GuardedBuffer<T> memory_;
  ImageView view_;
};
using ImageBuffer = ImageOf<float>;

}}  // namespace lutra::testing
