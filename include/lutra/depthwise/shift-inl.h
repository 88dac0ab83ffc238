// A branch without taps: the image, shifted, zero where nothing is. Rows are copied where there is no epilogue.
#if defined(LUTRA_DEPTHWISE_SHIFT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_DEPTHWISE_SHIFT_INL_H_
#undef LUTRA_DEPTHWISE_SHIFT_INL_H_
#else
#define LUTRA_DEPTHWISE_SHIFT_INL_H_
#endif

#include <cstring>

#include "lutra/depthwise/finish-inl.h"

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

// memcpy of the channels of a pixel: too few to be worth a call. The last vector overlaps the one before it.
HWY_INLINE void CopyRun(const char* from, char* to, size_t bytes) {
  const hn::ScalableTag<uint8_t> d;
  const size_t lanes = hn::Lanes(d);
  if (bytes < lanes || bytes > 4096) {
    std::memcpy(to, from, bytes);
    return;
  }
  const auto copy = [&](size_t at) LUTRA_TILE {
    hn::StoreU(hn::LoadU(d, reinterpret_cast<const uint8_t*>(from + at)), d, reinterpret_cast<uint8_t*>(to + at));
  };
  for (size_t i = 0; i + lanes < bytes; i += lanes) copy(i);
  copy(bytes - lanes);
}

// `count` neighbouring elements (channels of a pixel, columns of a channel) from `from`, or zeros where it is null.
inline void ShiftRun(const depthwise::DepthwiseArgs& a, const Epilogue& e, const char* from, size_t row, size_t channel,
                     size_t count, char* y) {
  if (!a.plain && from != nullptr && a.in.type != DType::kF32) {
    const hn::ScalableTag<float> d;
    HWY_ALIGN float lanes[HWY_MAX_LANES_D(decltype(d))];
    for (size_t i = 0; i < count; i += hn::Lanes(d)) {
      const size_t n = HWY_MIN(hn::Lanes(d), count - i);
      hn::Store(LoadAsF32(d, from, a.in.type, static_cast<ptrdiff_t>(i), n), d, lanes);
      FinishRun(e, lanes, row, channel + i, n, y + i * SizeOf(a.out.type), a.out.type);
    }
  } else if (!a.plain) {
    FinishRun(e, reinterpret_cast<const float*>(from), row, channel, count, y, a.out.type);
  } else if (from == nullptr) {
    std::memset(y, 0, count * SizeOf(a.out.type));
  } else {
    CopyRun(from, y, count * SizeOf(a.out.type));
  }
}

// One task.
inline int64_t Shift(const depthwise::DepthwiseArgs* args, size_t task, void*) {
  if (args == nullptr) return HWY_TARGET;
  const depthwise::DepthwiseArgs& a = *args;
  const depthwise::DepthwisePiece piece = depthwise::PieceOf(a, task);
  const auto size = static_cast<ptrdiff_t>(SizeOf(a.out.type)), in_size = static_cast<ptrdiff_t>(SizeOf(a.in.type));
  const auto h = static_cast<int64_t>(a.in.h), w = static_cast<int64_t>(a.in.w);
  // Output columns [begin, end) have a source.
  const int64_t begin = HWY_MIN(HWY_MAX(int64_t{a.shift_w}, 0), w);
  const int64_t end = HWY_MAX(HWY_MIN(w + a.shift_w, w), begin);
  const auto source_row = [&](size_t y) -> const char* {
    const int64_t source = static_cast<int64_t>(y) - a.shift_h;
    if (source < 0 || source >= h) return nullptr;
    return static_cast<const char*>(a.in.data) + (At(piece.n, a.in.sn) + source * a.in.sh) * in_size;
  };
  const auto out_row = [&](size_t y) {
    return static_cast<char*>(a.out.data) + (At(piece.n, a.out.sn) + At(y, a.out.sh)) * size;
  };

  if (a.layout == Layout::kNhwc) {
    const size_t channels = piece.c_end - piece.c_begin;
    for (size_t y = piece.y_begin; y < piece.y_end; ++y) {
      const char* const in = source_row(y);
      char* const out = out_row(y) + static_cast<ptrdiff_t>(piece.c_begin) * size;
      for (int64_t x = 0; x < w; ++x) {
        const bool inside = in != nullptr && x >= begin && x < end;
        const auto first = (x - a.shift_w) * a.in.sw + static_cast<ptrdiff_t>(piece.c_begin);
        const char* const from = inside ? in + first * in_size : nullptr;
        const size_t pixel = (piece.n * a.out.h + y) * a.out.w + static_cast<size_t>(x);
        ShiftRun(a, a.epilogue, from, pixel, piece.c_begin, channels, out + x * a.out.sw * size);
      }
    }
    return HWY_TARGET;
  }
  SpreadEpilogue spread;
  for (size_t c = piece.c_begin; c < piece.c_end; ++c) {
    spread.Set(a.epilogue, c);
    for (size_t y = piece.y_begin; y < piece.y_end; ++y) {
      const char* const in = source_row(y);
      char* const out = out_row(y) + At(c, a.out.sc) * size;
      const auto run = [&](const char* from, int64_t first, int64_t last) {
        const int64_t most = a.plain ? w : int64_t{depthwise::kMostLanes};  // as far as `spread` goes
        for (int64_t x = first; x < last; x += most) {
          const auto count = static_cast<size_t>(HWY_MIN(most, last - x));
          ShiftRun(a, spread.epilogue, from == nullptr ? from : from + (x - first) * in_size, 0, 0, count,
                   out + x * size);
        }
      };
      if (in == nullptr || begin == end) {
        run(nullptr, 0, w);
        continue;
      }
      run(nullptr, 0, begin);
      run(in + (At(c, a.in.sc) + begin - a.shift_w) * in_size, begin, end);
      run(nullptr, end, w);
    }
  }
  return HWY_TARGET;
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
