// The epilogue of this room's kernels: out of line, once for both layouts.
#if defined(LUTRA_DEPTHWISE_FINISH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_DEPTHWISE_FINISH_INL_H_
#undef LUTRA_DEPTHWISE_FINISH_INL_H_
#else
#define LUTRA_DEPTHWISE_FINISH_INL_H_
#endif

#include "lutra/depthwise/args.h"
#include "lutra/simd/epilogue-inl.h"

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

using depthwise::At;

// Finishes `count` sums (null: zeros), channels from `channel` of pixel `row`, into y.
inline HWY_NOINLINE void FinishRun(const Epilogue& e, const float* sums, size_t row, size_t channel, size_t count,
                                   char* y, DType type) {
  const hn::ScalableTag<float> d;
  for (size_t i = 0; i < count; i += hn::Lanes(d)) {
    const size_t n = HWY_MIN(hn::Lanes(d), count - i);
    const auto v = sums == nullptr ? hn::Zero(d) : LoadSome(d, sums + i, n);
    Finish(d, v, e, row, channel + i, n, y + i * SizeOf(type), type);
  }
}

// NCHW: an epilogue whose operands of one channel stand side by side for kMostLanes columns, as if they were channels.
struct SpreadEpilogue {
  Epilogue epilogue;
  float scale[depthwise::kMostLanes], bias[depthwise::kMostLanes], mul[depthwise::kMostLanes];

  HWY_INLINE void Set(const Epilogue& e, size_t channel) {
    epilogue = e;
    if (e.scale != nullptr) epilogue.scale = Spread(e.scale[channel], scale);
    if (e.bias != nullptr) epilogue.bias = Spread(e.bias[channel], bias);
    if (e.mul.data != nullptr) {
      epilogue.mul.data = Spread(LoadFloat(e.mul.data, e.mul.type, static_cast<ptrdiff_t>(channel)), mul);
      epilogue.mul.type = DType::kF32;
    }
  }
  static HWY_INLINE const float* Spread(float v, float* to) {
    for (size_t i = 0; i < depthwise::kMostLanes; ++i) to[i] = v;
    return to;
  }
};

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
