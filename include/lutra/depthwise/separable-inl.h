// Kernels of rank one as two bands: a pass along rows into scratch, and a pass along columns out of it. Both are direct
// convolutions (direct-inl.h), so bits are those of two of them, one after the other.
// Needs   checked arguments (job.h); taps are the factors (separable.h).
// Bound   the FMA peak, of KH + KW taps instead of KH * KW.
//
// In place a task is a whole image of its channels: the first pass has read it all before the second one writes.
#if defined(LUTRA_DEPTHWISE_SEPARABLE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_DEPTHWISE_SEPARABLE_INL_H_
#undef LUTRA_DEPTHWISE_SEPARABLE_INL_H_
#else
#define LUTRA_DEPTHWISE_SEPARABLE_INL_H_
#endif

#include "lutra/depthwise/direct_nchw-inl.h"
#include "lutra/depthwise/separable.h"

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

// The epilogue of what begins at a channel and an output pixel.
inline Epilogue EpilogueFrom(Epilogue e, size_t pixel, size_t channel) {
  const auto move = [&](ConstMatrixView& m) {
    if (m.data == nullptr) return;
    const ptrdiff_t elements = At(pixel, m.row_stride) + static_cast<ptrdiff_t>(channel);
    m.data = static_cast<const char*>(m.data) + elements * static_cast<ptrdiff_t>(SizeOf(m.type));
  };
  if (e.scale != nullptr) e.scale += channel;
  if (e.bias != nullptr) e.bias += channel;
  move(e.mul);
  move(e.residual);
  return e;
}

// Output rows [y_begin, y_end) and columns [x, x + cols), channels [c, c + channels) of image n.
inline void SeparableBlock(const DepthwiseArgs& a, const depthwise::SeparableTask& s, const DepthwisePiece& piece,
                           size_t x, size_t cols, size_t c, size_t channels, char* scratch) {
  const bool nhwc = a.layout == Layout::kNhwc;
  const size_t rows = piece.y_end - piece.y_begin, first = piece.y_begin * a.g.stride_h;
  const size_t between = (rows - 1) * a.g.stride_h + a.g.dil_h * (a.kh - 1) + 1;
  auto* const source_map = reinterpret_cast<int32_t*>(scratch + s.map);  // of the first pass, then of the second
  const size_t sources = depthwise::MappedSize(between, 1, 1, 1);
  int32_t* const row_map = source_map + sources;
  const size_t mapped_rows = depthwise::MappedSize(rows, a.kh, a.g.stride_h, a.g.dil_h),
               mapped_cols = depthwise::MappedSize(cols, 1, 1, 1);
  int32_t* const col_map = row_map + mapped_rows;
  for (size_t i = 0; i < sources; ++i) source_map[i] = i < between ? a.rows[first + i] : -1;
  for (size_t i = 0; i < mapped_rows; ++i) {
    row_map[i] = i < between && a.rows[first + i] >= 0 ? static_cast<int32_t>(i) : -1;
  }
  for (size_t i = 0; i < mapped_cols; ++i) col_map[i] = i < cols ? static_cast<int32_t>(i) : -1;
  const size_t block = c / kTapBlock, lane = c % kTapBlock;

  DepthwiseArgs pass = a;
  pass.staged = false;
  pass.task_channels = channels;
  const char* const from = static_cast<const char*>(a.in.data) +
                           (At(piece.n, a.in.sn) + At(c, a.in.sc)) * static_cast<ptrdiff_t>(SizeOf(a.in.type));
  pass.in = ConstImageView{from, a.in.type, 1, a.in.h, a.in.w, channels, 0, a.in.sh, a.in.sw, a.in.sc};
  const auto pitch = static_cast<ptrdiff_t>(s.pitch);
  const ptrdiff_t sw = nhwc ? static_cast<ptrdiff_t>(kTapBlock) : 1;
  pass.out = ImageView{scratch + s.sums, DType::kF32, 1, between, cols, channels, 0, pitch, sw, 1};
  pass.epilogue = Epilogue();
  pass.plain = true;
  pass.plain_16 = false;
  pass.taps = a.taps + block * a.kw * kTapBlock + lane;
  pass.kh = 1;
  pass.g.stride_h = pass.g.dil_h = 1;
  pass.g.top = 0;
  pass.g.left = a.g.left - static_cast<int>(x * a.g.stride_w);
  pass.rows = source_map;
  pass.cols = a.cols + x * a.g.stride_w;
  pass.mapped_cols = a.mapped_cols - x * a.g.stride_w;
  const auto run = nhwc ? &DirectNhwc : &DirectNchw;
  pass.copied = nhwc && a.in.type != DType::kF32;  // converted to scratch, which has space for one row
  pass.task_rows = pass.copied ? 1 : between;
  for (size_t i = 0; i * pass.task_rows < between; ++i) run(&pass, i, scratch + s.work);

  pass.in = pass.out;
  pass.copied = false;
  pass.g = a.g;
  pass.g.stride_w = pass.g.dil_w = 1;
  pass.g.top = pass.g.left = 0;
  pass.g.pad = Pad::kZero;
  pass.kh = a.kh;
  pass.kw = 1;
  pass.taps = a.taps + ((a.out.c + kTapBlock - 1) / kTapBlock * a.kw + block * a.kh) * kTapBlock + lane;
  pass.cols = col_map;
  pass.mapped_cols = mapped_cols;
  pass.plain = a.plain;
  pass.plain_16 = a.plain_16;
  // Operands of each pixel: the rows of a block do not follow each other.
  const bool by_rows = cols != a.out.w && (a.epilogue.mul.row_stride != 0 || a.epilogue.residual.row_stride != 0);
  pass.task_rows = by_rows ? 1 : rows;
  const auto size = static_cast<ptrdiff_t>(SizeOf(a.out.type));
  for (size_t y = 0; y < rows; y += pass.task_rows) {
    char* const to =
        static_cast<char*>(a.out.data) +
        (At(piece.n, a.out.sn) + At(piece.y_begin + y, a.out.sh) + At(x, a.out.sw) + At(c, a.out.sc)) * size;
    pass.out = ImageView{to, a.out.type, 1, pass.task_rows, cols, channels, 0, a.out.sh, a.out.sw, a.out.sc};
    pass.epilogue = EpilogueFrom(a.epilogue, (piece.n * a.out.h + piece.y_begin + y) * a.out.w + x, c);
    pass.rows = row_map + y * a.g.stride_h;
    pass.g.top = -static_cast<int>(y * a.g.stride_h);
    run(&pass, 0, scratch + s.work);
  }
}

// One task.
inline int64_t Separable(const DepthwiseArgs* args, size_t task, void* scratch) {
  if (args == nullptr) return HWY_TARGET;
  const DepthwiseArgs& a = *args;
  const DepthwisePiece piece = depthwise::PieceOf(a, task);
  const depthwise::SeparableTask s = depthwise::SeparableTaskOf(a.kh, a.kw, a.g, a.in.w, a.out.h, a.out.w, a.layout,
                                                                a.staged, hn::Lanes(hn::ScalableTag<float>()));
  const size_t channels = a.layout == Layout::kNhwc ? piece.c_end - piece.c_begin : 1;
  for (size_t c = piece.c_begin; c < piece.c_end; c += channels) {
    for (size_t x = 0; x < a.out.w; x += s.cols) {
      SeparableBlock(a, s, piece, x, HWY_MIN(s.cols, a.out.w - x), c, channels, static_cast<char*>(scratch));
    }
  }
  return HWY_TARGET;
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
