// Direct depthwise convolution in f32, NCHW through lanes: 16 planes turn into pixels of 16 channels in scratch, are
// convolved as NHWC (direct-inl.h) and turned back. For rows that leave lanes of a vector of columns idle, and for
// steps, which direct_nchw-inl.h gathers column by column. Bits are those of NHWC.
// Needs   checked arguments (job.h). Touches no element outside of the views.
// Bound   the FMA peak, and turning: some 14 cycles for 16 elements there and back with AVX-512.
#if defined(LUTRA_DEPTHWISE_DIRECT_TURNED_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_DEPTHWISE_DIRECT_TURNED_INL_H_
#undef LUTRA_DEPTHWISE_DIRECT_TURNED_INL_H_
#else
#define LUTRA_DEPTHWISE_DIRECT_TURNED_INL_H_
#endif

#include "lutra/depthwise/direct-inl.h"
#include "lutra/depthwise/planes-inl.h"

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

// The planes of a task.
struct Planes {
  size_t n, c, channels;
};

// Rows [rows.begin, rows.end) of the image -> pixels. `lines`: a row of each channel.
inline HWY_NOINLINE void TurnIn(const DepthwiseArgs& a, const Planes& planes, depthwise::RowRange rows, float* lines,
                                float* to) {
  const hn::CappedTag<float, kTapBlock> d;
  const float* line[kTapBlock];
  const bool f32 = a.in.type == DType::kF32, run = f32 && a.in.sh == static_cast<ptrdiff_t>(a.in.w);
  const size_t height = run ? rows.end - rows.begin : 1;  // rows that are one behind the other
  for (size_t y = rows.begin; y < rows.end; y += height, to += height * a.in.w * kTapBlock) {
    for (size_t lane = 0; lane < kTapBlock; ++lane) {
      if (lane >= planes.channels) {
        line[lane] = line[0];  // idle
        continue;
      }
      const ptrdiff_t at = At(planes.n, a.in.sn) + At(planes.c + lane, a.in.sc) + At(y, a.in.sh);
      line[lane] = f32 ? static_cast<const float*>(a.in.data) + at : lines + lane * a.in.w;
      if (f32) continue;
      for (size_t x = 0; x < a.in.w; x += hn::Lanes(d)) {
        const size_t count = HWY_MIN(hn::Lanes(d), a.in.w - x);
        StoreSome(d, LoadAsF32(d, a.in.data, a.in.type, at + static_cast<ptrdiff_t>(x), count),
                  lines + lane * a.in.w + x, count);
      }
    }
    for (size_t i = 0; i < kTapBlock; i += kPlaneLanes) FromLines(line + i, height * a.in.w, to + i, kTapBlock);
  }
}

// Sums of output rows [y_begin, y_end), pixels -> planes, through the epilogue. `lines`: room for these rows of each
// channel.
inline HWY_NOINLINE void TurnOut(const DepthwiseArgs& a, const Planes& planes, const float* from, size_t y_begin,
                                 size_t y_end, float* lines) {
  const auto size = static_cast<ptrdiff_t>(SizeOf(a.out.type));
  const size_t rows = y_end - y_begin, width = a.out.w;
  const bool run = !a.plain || a.out.sh == static_cast<ptrdiff_t>(width), add = a.plain && a.epilogue.bias != nullptr;
  const auto plane = [&](size_t lane, size_t y) {
    return static_cast<char*>(a.out.data) +
           (At(planes.n, a.out.sn) + At(planes.c + lane, a.out.sc) + At(y, a.out.sh)) * size;
  };
  HWY_ALIGN float bias[kTapBlock] = {};
  for (size_t lane = 0; add && lane < planes.channels; ++lane) bias[lane] = a.epilogue.bias[planes.c + lane];
  float* line[kTapBlock];
  const size_t height = run ? rows : 1;
  for (size_t y = 0; y < rows; y += height) {
    for (size_t lane = 0; lane < kTapBlock; ++lane) {
      line[lane] = !a.plain                 ? lines + lane * rows * width
                   : lane < planes.channels ? reinterpret_cast<float*>(plane(lane, y_begin + y))
                                            : lines;  // idle
    }
    for (size_t i = 0; i < planes.channels; i += kPlaneLanes) {
      ToLines(from + y * width * kTapBlock + i, kTapBlock, height * width, add ? bias + i : nullptr,
              a.plain && a.epilogue.act == Act::kRelu, line + i);
    }
  }
  if (a.plain) return;
  SpreadEpilogue spread;
  for (size_t lane = 0; lane < planes.channels; ++lane) {
    spread.Set(a.epilogue, planes.c + lane);
    const float* sums = lines + lane * rows * width;
    for (size_t y = y_begin; y < y_end; ++y, sums += width) {
      for (size_t x = 0; x < width; x += depthwise::kMostLanes) {
        FinishRun(spread.epilogue, sums + x, 0, 0, HWY_MIN(depthwise::kMostLanes, width - x),
                  plane(lane, y) + static_cast<ptrdiff_t>(x) * size, a.out.type);
      }
    }
  }
}

// One task: 16 channels of rows of an image.
inline int64_t DirectTurned(const DepthwiseArgs* args, size_t task, void* scratch) {
  if (args == nullptr) return HWY_TARGET;
  const DepthwiseArgs& a = *args;
  const DepthwisePiece piece = depthwise::PieceOf(a, task);
  const Planes planes{piece.n, piece.c_begin, piece.c_end - piece.c_begin};
  const depthwise::RowRange range = depthwise::RowsOf(a.rows, a.g, a.kh, piece.y_begin, piece.y_end);
  const depthwise::TurnedTask sizes = depthwise::TurnedTaskOf(a.kh, a.g, a.in.h, a.in.w, a.out.h, a.out.w, a.staged);
  auto* const in = static_cast<float*>(scratch);
  float* const out = in + sizes.in_pixels * kTapBlock;
  TurnIn(a, planes, range, out, in);

  const ptrdiff_t sh = At(a.in.w, kTapBlock);
  DepthwiseArgs walk = a;
  walk.layout = Layout::kNhwc;
  walk.epilogue = Epilogue();
  walk.plain = true;
  walk.plain_16 = false;
  walk.taps = a.taps + planes.c * a.kh * a.kw;
  walk.out.type = DType::kF32;
  walk.out.sw = kTapBlock;
  walk.out.sh = At(a.out.w, kTapBlock);
  walk.out.sn = 0;
  walk.out.data = out - At(piece.y_begin, walk.out.sh);
  const size_t channels =
      depthwise::RoundUp(planes.channels, HWY_MIN(kTapBlock, hn::Lanes(hn::CappedTag<float, kTapBlock>())));
  const size_t step = depthwise::NhwcTaskRows(piece.y_end - piece.y_begin, a.g);
  for (size_t y = piece.y_begin; y < piece.y_end; y += step) {
    WalkPiece(walk, {0, y, HWY_MIN(y + step, piece.y_end), 0, channels}, in - At(range.begin, sh), sh, kTapBlock, 0,
              range.begin == 0 && range.end == a.in.h);
  }
  TurnOut(a, planes, out, piece.y_begin, piece.y_end, in);
  return HWY_TARGET;
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
