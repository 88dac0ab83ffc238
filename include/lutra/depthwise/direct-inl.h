// Direct depthwise convolution in f32: a register tile of 8 output pixels, taps ky ascending, then kx ascending.
// NHWC    lanes are channels, the tile is 8 columns of a row; reads the image itself.
// NCHW    lanes are columns, the tile is 8 rows; reads padded copies of the rows it needs (args.h draws them).
// Needs   checked arguments (job.h). Touches no element outside of the views.
// Bound   the FMA peak.
//
// Every sum begins at +0, takes one MulAdd per tap and ends with + 0, which turns -0 into +0: so it does not matter
// whether a tap over zero padding is left out or multiplied by a stored zero (taps are finite), and both layouts give
// the same bits.
#if defined(LUTRA_DEPTHWISE_DIRECT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_DEPTHWISE_DIRECT_INL_H_
#undef LUTRA_DEPTHWISE_DIRECT_INL_H_
#else
#define LUTRA_DEPTHWISE_DIRECT_INL_H_
#endif

#include <cstring>

#include "lutra/depthwise/args.h"
#include "lutra/depthwise/finish-inl.h"

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

using depthwise::DepthwiseArgs;
using depthwise::DepthwisePiece;
using depthwise::kDirectTile;

// Where the sums of a tile go. Sums beyond `pixels` and lanes beyond `lanes` are not stored.
struct TileOut {
  size_t pixels, lanes;
  size_t row, channel;  // of the epilogue's operands
  char* y;
  ptrdiff_t step;         // bytes from pixel to pixel
  size_t pixel_step = 1;  // of output pixels, from pixel to pixel of the tile; NCHW: the lanes are those that follow
};

// Taps that meet the image of the windows of output pixel `pixel` and of the columns after it.
struct WindowTaps {
  const float *row, *col;
  HWY_INLINE WindowTaps(const DepthwiseArgs& a, size_t pixel)
      : row(a.row_taps + pixel / a.out.w % a.out.h), col(a.row_taps + a.out.h + pixel % a.out.w) {}
  HWY_INLINE bool All(const DepthwiseArgs& a) const {
    return *row == static_cast<float>(a.kh) && *col == static_cast<float>(a.kw);
  }
};
// Whether re-weighting changes nothing: between two windows that miss no tap is none that does.
HWY_INLINE bool AllTapsInside(const DepthwiseArgs& a, const TileOut& t) {
  const size_t last_lane = a.layout == Layout::kNhwc ? 0 : t.lanes - 1;
  return WindowTaps(a, t.row).All(a) && WindowTaps(a, t.row + (t.pixels - 1) * t.pixel_step + last_lane).All(a);
}
template <class D>
HWY_NOINLINE void Reweight(D d, const DepthwiseArgs& a, size_t pixel, size_t lanes, float* sums) {
  const WindowTaps taps(a, pixel);
  const auto across = a.layout == Layout::kNhwc ? hn::Set(d, *taps.col) : LoadSome(d, taps.col, lanes);
  const auto window = hn::Set(d, static_cast<float>(a.kh) * static_cast<float>(a.kw));
  hn::Store(hn::Mul(hn::Load(d, sums), hn::Div(window, hn::Mul(hn::Set(d, *taps.row), across))), d, sums);
}

// Outputs of bf16 and f16 with nothing but a bias and ReLU, from sums in memory.
template <DType kType, class D>
HWY_NOINLINE void StoreTile16(D d, const Epilogue& e, const TileOut& t, const float* HWY_RESTRICT sums) {
  const auto zero = hn::Zero(d);
  const bool add = e.bias != nullptr, relu = e.act == Act::kRelu;
  const auto bias = add ? LoadSome(d, e.bias + t.channel, t.lanes) : zero;
  const size_t pixels = t.pixels, lanes = t.lanes;
  char* y = t.y;
  for (size_t i = 0; i < pixels; ++i, y += t.step) {
    auto v = hn::Load(d, sums + i * hn::Lanes(d));
    if (add) v = hn::Add(v, bias);
    if (relu) v = hn::IfThenZeroElse(hn::Lt(v, zero), v);
    StoreAsFloat(d, v, y, kType, lanes);
  }
}

template <class D, class... V>
HWY_INLINE void StoreTile(D d, const DepthwiseArgs& a, const Epilogue& e, const TileOut& t, const V&... sum) {
  const auto zero = hn::Zero(d);
  if (HWY_LIKELY(a.plain && (a.row_taps == nullptr || AllTapsInside(a, t)))) {
    const auto bias = e.bias != nullptr ? LoadSome(d, e.bias + t.channel, t.lanes) : zero;
    const bool relu = e.act == Act::kRelu, add = e.bias != nullptr;
    Numbered(
        [&](auto i, const auto& s) LUTRA_TILE {
          if (i >= t.pixels) return;
          auto v = hn::Add(s, zero);
          if (add) v = hn::Add(v, bias);
          if (relu) v = hn::IfThenZeroElse(hn::Lt(v, zero), v);
          StoreSome(d, v, reinterpret_cast<float*>(t.y + At(i, t.step)), t.lanes);
        },
        sum...);
    return;
  }
  HWY_ALIGN float sums[kDirectTile * HWY_MAX_LANES_D(D)];
  Numbered([&](auto i, const auto& s) LUTRA_TILE { hn::Store(hn::Add(s, zero), d, sums + i * hn::Lanes(d)); }, sum...);
  if (a.plain_16 && a.row_taps == nullptr) {
    return a.out.type == DType::kBF16 ? StoreTile16<DType::kBF16>(d, e, t, sums)
                                      : StoreTile16<DType::kF16>(d, e, t, sums);
  }
  for (size_t i = 0; i < t.pixels; ++i) {
    if (a.row_taps != nullptr) Reweight(d, a, t.row + i * t.pixel_step, t.lanes, sums + i * hn::Lanes(d));
    FinishRun(e, sums + i * hn::Lanes(d), t.row + i, t.channel, t.lanes, t.y + At(i, t.step), a.out.type);
  }
}

// A cursor over the input pixels of one row.
struct Inside {  // all columns are in the image and all channels of the vector exist
  const float* pixel;
  ptrdiff_t sw;
  HWY_INLINE bool Has() const { return true; }
  template <class D>
  HWY_INLINE hn::Vec<D> Load(D d) const {
    return hn::LoadU(d, pixel);
  }
  HWY_INLINE Inside After(size_t columns) const { return {pixel + At(columns, sw), sw}; }
};
struct Mapped {  // anything else
  const float* row;
  ptrdiff_t sw;
  const int32_t* column;
  size_t lanes;
  HWY_INLINE bool Has() const { return *column >= 0; }
  template <class D>
  HWY_INLINE hn::Vec<D> Load(D d) const {
    return LoadSome(d, row + *column * sw, lanes);
  }
  HWY_INLINE Mapped After(size_t columns) const { return {row, sw, column + columns, lanes}; }
};

// A load that stays one: GCC otherwise repeats it in each MulAdd, 24 loads instead of 10.
template <class V>
HWY_INLINE V Once(V v) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  asm("" : "+v"(v.raw));
#elif HWY_ARCH_X86 && HWY_TARGET <= HWY_SSE2
  asm("" : "+x"(v.raw));
#endif
  return v;
}
template <class V, class... Rest>
HWY_INLINE void AddToFirst(V v, V tap, V& first, Rest&...) {
  first = hn::MulAdd(v, tap, first);
}
// Three neighbouring taps slide over neighbouring pixels: a has met two before this one, b one.
template <class D, class Pixels, class V, class... Rest>
HWY_INLINE void Slide(D d, Pixels pixels, V t0, V t1, V t2, V& a, V& b, Rest&... rest) {
  if (pixels.Has()) {
    const auto v = Once(pixels.Load(d));
    a = hn::MulAdd(v, t2, a);
    b = hn::MulAdd(v, t1, b);
    if constexpr (sizeof...(Rest) != 0) AddToFirst(v, t0, rest...);
  }
  pixels = pixels.After(1);
  if constexpr (sizeof...(Rest) != 0) {
    Slide(d, pixels, t0, t1, t2, b, rest...);
  } else if (pixels.Has()) {
    b = hn::MulAdd(pixels.Load(d), t2, b);
  }
}

// All taps of a row. At stride and dilation 1 an input pixel is loaded once for three taps: 13 loads for 24 MulAdds
// instead of 27, which also hides loads that cross lines.
template <class D, class Pixels, class V, class... Rest>
HWY_INLINE void AddRow(D d, const DepthwiseArgs& a, Pixels pixels, const float* taps, V& s0, V& s1, Rest&... s) {
  size_t left = a.kw;
  if (a.g.stride_w == 1 && a.g.dil_w == 1) {
    for (; left >= 3; left -= 3, taps += 3 * kTapBlock, pixels = pixels.After(3)) {
      const auto t0 = hn::LoadU(d, taps), t1 = hn::LoadU(d, taps + kTapBlock), t2 = hn::LoadU(d, taps + 2 * kTapBlock);
      const Pixels second = pixels.After(1);
      if (pixels.Has()) s0 = hn::MulAdd(pixels.Load(d), t0, s0);
      if (second.Has()) {
        const auto v = Once(second.Load(d));
        s0 = hn::MulAdd(v, t1, s0);
        s1 = hn::MulAdd(v, t0, s1);
      }
      Slide(d, second.After(1), t0, t1, t2, s0, s1, s...);
    }
  }
  for (; left != 0; --left, taps += kTapBlock, pixels = pixels.After(a.g.dil_w)) {
    const auto tap = hn::LoadU(d, taps);
    Pixels p = pixels;
    Numbered(
        [&](auto, auto& sum) LUTRA_TILE {
          if (p.Has()) sum = hn::MulAdd(p.Load(d), tap, sum);
          p = p.After(a.g.stride_w);
        },
        s0, s1, s...);
  }
}

// Columns x0 ... x0 + 7 of an output row, one vector of channels.
template <class D>
HWY_INLINE void NhwcTile(D d, const DepthwiseArgs& a, const float* image, ptrdiff_t sh, ptrdiff_t sw,
                         const int32_t* rows, size_t x0, bool inside, const float* taps, const TileOut& t) {
  const size_t first = x0 * a.g.stride_w, step = a.kw * kTapBlock;
  WithAccumulators<kDirectTile>(d, [&](auto&... sum) LUTRA_TILE {
    if (HWY_LIKELY(inside)) {
      const float* const corner = image + At(first, sw) - a.g.left * sw;
      for (size_t ky = 0; ky < a.kh; ++ky) {
        const int32_t r = rows[ky * a.g.dil_h];
        if (r >= 0) AddRow(d, a, Inside{corner + r * sh, sw}, taps + ky * step, sum...);
      }
    } else {
      for (size_t ky = 0; ky < a.kh; ++ky) {
        const int32_t r = rows[ky * a.g.dil_h];
        if (r >= 0) AddRow(d, a, Mapped{image + r * sh, sw, a.cols + first, t.lanes}, taps + ky * step, sum...);
      }
    }
    StoreTile(d, a, a.epilogue, t, sum...);
  });
}

// Rows of the image of channels [c_begin, c_end), dense and as f32. kType: the image's.
template <DType kType>
HWY_NOINLINE void CopyRowsOf(const DepthwiseArgs& a, const DepthwisePiece& piece, depthwise::RowRange rows, float* to) {
  const hn::CappedTag<float, kTapBlock> d;
  const size_t channels = piece.c_end - piece.c_begin, lanes = hn::Lanes(d);
  for (size_t y = rows.begin; y < rows.end; ++y) {
    ptrdiff_t from = At(piece.n, a.in.sn) + At(y, a.in.sh) + At(piece.c_begin, a.in.sc);
    for (size_t x = 0; x < a.in.w; ++x, from += a.in.sw, to += channels) {
      size_t c = 0;
      for (; c + lanes <= channels; c += lanes) {
        hn::StoreU(LoadAsF32(d, a.in.data, kType, from + static_cast<ptrdiff_t>(c), lanes), d, to + c);
      }
      if (c == channels) continue;
      hn::StoreN(LoadAsF32(d, a.in.data, kType, from + static_cast<ptrdiff_t>(c), channels - c), d, to + c,
                 channels - c);
    }
  }
}
HWY_INLINE void CopyRows(const DepthwiseArgs& a, const DepthwisePiece& piece, depthwise::RowRange rows, float* to) {
  if (a.in.type == DType::kF32) return CopyRowsOf<DType::kF32>(a, piece, rows, to);
  if (a.in.type == DType::kBF16) return CopyRowsOf<DType::kBF16>(a, piece, rows, to);
  CopyRowsOf<DType::kF16>(a, piece, rows, to);
}

// One task.
inline int64_t DirectNhwc(const DepthwiseArgs* args, size_t task, void* scratch) {
  if (args == nullptr) return HWY_TARGET;
  const DepthwiseArgs& a = *args;
  const hn::CappedTag<float, kTapBlock> d;  // a vector's taps lie in one block
  const DepthwisePiece piece = depthwise::PieceOf(a, task);
  const auto size = static_cast<ptrdiff_t>(SizeOf(a.out.type));
  const float* image = static_cast<const float*>(a.in.data) + (a.in.type == DType::kF32 ? At(piece.n, a.in.sn) : 0);
  ptrdiff_t sh = a.in.sh, sw = a.in.sw;
  size_t c_base = 0;
  if (a.staged || a.in.type != DType::kF32) {
    const depthwise::RowRange range =
        a.staged ? depthwise::RowRange{0, a.in.h} : depthwise::RowsOf(a.rows, a.g, a.kh, piece.y_begin, piece.y_end);
    CopyRows(a, piece, range, static_cast<float*>(scratch));
    sw = static_cast<ptrdiff_t>(piece.c_end - piece.c_begin);
    sh = At(a.in.w, sw);
    image = static_cast<const float*>(scratch) - At(range.begin, sh);
    c_base = piece.c_begin;
  }
  // Rows innermost: a vector's taps, and the rows that neighbouring output rows share, stay in L1. Not so where the
  // taps alone fill it.
  const size_t block_taps = a.kh * a.kw * kTapBlock;
  const size_t block_rows = block_taps * sizeof(float) <= 16384 ? piece.y_end - piece.y_begin : 1;
  const size_t last_column = (kDirectTile - 1) * a.g.stride_w + (a.kw - 1) * a.g.dil_w;
  char* const y_image = static_cast<char*>(a.out.data) + At(piece.n, a.out.sn) * size;
  TileOut t{};
  t.step = a.out.sw * size;
  for (size_t y_block = piece.y_begin; y_block < piece.y_end; y_block += block_rows) {
    for (size_t x = 0; x < a.out.w; x += kDirectTile) {
      const size_t first = x * a.g.stride_w;
      const ptrdiff_t in_image = static_cast<ptrdiff_t>(first) - a.g.left;
      const bool columns_inside =
          x + kDirectTile <= a.out.w && in_image >= 0 && static_cast<size_t>(in_image) + last_column < a.in.w;
      t.pixels = HWY_MIN(kDirectTile, a.out.w - x);
      for (size_t c = piece.c_begin; c < piece.c_end; c += hn::Lanes(d)) {
        t.lanes = HWY_MIN(hn::Lanes(d), piece.c_end - c);
        t.channel = c;
        const bool inside = columns_inside && t.lanes == hn::Lanes(d);
        const float* const taps = a.taps + c / kTapBlock * block_taps + c % kTapBlock;
        for (size_t y = y_block; y < y_block + block_rows; ++y) {
          t.row = (piece.n * a.out.h + y) * a.out.w + x;
          t.y = y_image + (At(y, a.out.sh) + At(x, a.out.sw) + static_cast<ptrdiff_t>(c)) * size;
          NhwcTile(d, a, image + (c - c_base), sh, sw, a.rows + y * a.g.stride_h, x, inside, taps, t);
        }
      }
    }
  }
  return HWY_TARGET;
}

// The tile's rows of the padded image to scratch, from padded column `column` on, by phases. Writes up to a vector
// behind the last row.
template <class D>
HWY_INLINE void StageRows(D d, const DepthwiseArgs& a, ptrdiff_t plane, const depthwise::NchwScratchSizes& s,
                          const int32_t* rows, size_t column, float* to) {
  const size_t stride = a.g.stride_w, lanes = hn::Lanes(d);
  const ptrdiff_t left = a.g.left, right = left + static_cast<ptrdiff_t>(a.in.w);
  const size_t mapped = a.mapped_cols - column;  // what lies behind the map is never used
  const int32_t* const cols = a.cols + column;
  const auto load = [&](ptrdiff_t i) {
    if (HWY_LIKELY(a.in.type == DType::kF32)) return static_cast<const float*>(a.in.data)[i];
    return LoadFloat(a.in.data, a.in.type, i);
  };
  const auto fill_zero = [&](float* line, size_t begin, size_t end) LUTRA_TILE {
    for (size_t i = begin; i < end; i += lanes) hn::StoreU(hn::Zero(d), d, line + i);
  };
  for (size_t r = 0; r < s.rows; ++r, to += s.row_floats) {
    if (rows[r] < 0) {
      fill_zero(to, 0, s.row_floats);
      continue;
    }
    const ptrdiff_t row = plane + rows[r] * a.in.sh;
    for (size_t phase = 0; phase < stride; ++phase) {
      float* const line = to + phase * s.phase_floats;
      // Elements [begin, end) are in the image, at from[0], from[stride], ...
      const auto skipped = static_cast<ptrdiff_t>(column + phase);
      const auto first_at = [&](ptrdiff_t padded) {
        const size_t columns = padded > skipped ? static_cast<size_t>(padded - skipped) : 0;
        return HWY_MIN(s.phase_used, (columns + stride - 1) / stride);
      };
      const size_t begin = first_at(left), end = HWY_MAX(first_at(right), begin);
      const ptrdiff_t from = row + (begin == end ? 0 : skipped + static_cast<ptrdiff_t>(begin * stride) - left);
      const auto pad = [&](size_t i) {
        const size_t x = i * stride + phase;
        return x < mapped && cols[x] >= 0 ? load(row + cols[x] * a.in.sw) : 0.0f;
      };
      const bool zero = a.g.pad == Pad::kZero;
      if (zero) fill_zero(line, 0, begin);  // all stores of vectors may go too far: what follows comes later
      if (stride == 1) {
        for (size_t i = begin; i < end; i += lanes) {
          hn::StoreU(LoadAsF32(d, a.in.data, a.in.type, from + static_cast<ptrdiff_t>(i - begin), end - i), d,
                     line + i);
        }
      } else {
        for (size_t i = begin; i < end; ++i) line[i] = load(from + static_cast<ptrdiff_t>((i - begin) * stride));
      }
      if (zero) {
        fill_zero(line, end, s.phase_used);
      } else {
        for (size_t i = 0; i < begin; ++i) line[i] = pad(i);
        for (size_t i = end; i < s.phase_used; ++i) line[i] = pad(i);
      }
    }
  }
}

// visit(kx, floats of the first output column's input) for all taps of a staged row.
template <class Visit>
HWY_INLINE void ForColumns(const DepthwiseArgs& a, const depthwise::NchwScratchSizes& s, const float* p,
                           const Visit& visit) {
  const size_t phase_step = a.g.dil_w % a.g.stride_w;
  const size_t step = a.g.dil_w / a.g.stride_w + phase_step * s.phase_floats, back = s.row_floats - 1;
  size_t phase = 0;
  for (size_t kx = 0; kx < a.kw; ++kx) {
    visit(kx, p);
    p += step;
    phase += phase_step;
    if (phase >= a.g.stride_w) {
      phase -= a.g.stride_w;
      p -= back;
    }
  }
}

// 8 output rows, a vector of their columns: one broadcast tap for 8 loads, most of which cross a line on AVX-512. (To
// load a row once for all sums it belongs to takes a branch per sum, slower below kernels of 9 rows, 3 times on AVX2.)
template <class D>
HWY_INLINE void NchwTile(D d, const DepthwiseArgs& a, const depthwise::NchwScratchSizes& s, const float* taps,
                         const float* staged, size_t ky_begin, size_t ky_end, const Epilogue& e, const TileOut& t) {
  const size_t row_step = a.g.stride_h * s.row_floats, phase_step = a.g.dil_w % a.g.stride_w;
  const size_t step = a.g.dil_w / a.g.stride_w + phase_step * s.phase_floats, back = s.row_floats - 1;
  WithAccumulators<kDirectTile>(d, [&](auto&... sum) LUTRA_TILE {
    const float* tap = taps + ky_begin * a.kw;
    for (size_t ky = ky_begin; ky < ky_end; ++ky) {
      const float* p = staged + ky * a.g.dil_h * s.row_floats;
      size_t phase = 0;
      for (size_t kx = 0; kx < a.kw; ++kx) {
        const auto w = hn::Set(d, *tap++);
        const float* row = p;
        Numbered(
            [&](auto, auto& v) LUTRA_TILE {
              v = hn::MulAdd(hn::LoadU(d, row), w, v);
              row += row_step;
            },
            sum...);
        p += step;
        phase += phase_step;
        if (phase >= a.g.stride_w) {
          phase -= a.g.stride_w;
          p -= back;
        }
      }
    }
    StoreTile(d, a, e, t, sum...);
  });
}

// One task.
inline int64_t DirectNchw(const DepthwiseArgs* args, size_t task, void* scratch) {
  if (args == nullptr) return HWY_TARGET;
  const DepthwiseArgs& a = *args;
  const hn::ScalableTag<float> d;
  const DepthwisePiece piece = depthwise::PieceOf(a, task);
  const auto size = static_cast<ptrdiff_t>(SizeOf(a.out.type));
  const depthwise::NchwScratchSizes s =
      depthwise::NchwScratch(a.kh, a.kw, a.g, a.out.h, a.out.w, a.staged, hn::Lanes(d));
  auto* const taps = static_cast<float*>(scratch);
  float* const staged = taps + s.tap_floats;
  SpreadEpilogue spread;
  for (size_t c = piece.c_begin; c < piece.c_end; ++c) {
    const ptrdiff_t plane = At(piece.n, a.in.sn) + At(c, a.in.sc);
    const float* const block = a.taps + c / kTapBlock * a.kh * a.kw * kTapBlock + c % kTapBlock;
    for (size_t i = 0; i < a.kh * a.kw; ++i) taps[i] = block[i * kTapBlock];
    char* const out = static_cast<char*>(a.out.data) + (At(piece.n, a.out.sn) + At(c, a.out.sc)) * size;
    spread.Set(a.epilogue, c);
    for (size_t x0 = 0; x0 < a.out.w; x0 += s.block) {
      const size_t columns = HWY_MIN(s.block, a.out.w - x0);
      if (a.staged) StageRows(d, a, plane, s, a.rows, x0 * a.g.stride_w, staged);
      for (size_t y = piece.y_begin; y < piece.y_end; y += kDirectTile) {
        const int32_t* const rows = a.rows + y * a.g.stride_h;
        if (!a.staged) StageRows(d, a, plane, s, rows, x0 * a.g.stride_w, staged);
        // Taps that no row of the tile needs.
        const auto unused = [&](size_t ky) {
          for (size_t i = 0; i < kDirectTile; ++i) {
            if (rows[ky * a.g.dil_h + i * a.g.stride_h] >= 0) return false;
          }
          return true;
        };
        size_t ky_begin = 0, ky_end = a.kh;
        while (ky_begin < ky_end && unused(ky_begin)) ++ky_begin;
        while (ky_begin < ky_end && unused(ky_end - 1)) --ky_end;
        TileOut t{};
        t.pixels = HWY_MIN(kDirectTile, a.out.h - y);
        t.step = a.out.sh * size;
        t.pixel_step = a.out.w;
        const float* const first = staged + (a.staged ? y * a.g.stride_h * s.row_floats : 0);
        for (size_t x = 0; x < columns; x += hn::Lanes(d)) {
          t.lanes = HWY_MIN(hn::Lanes(d), columns - x);
          t.row = y * a.out.w + x0 + x;
          t.y = out + (At(y, a.out.sh) + At(x0 + x, a.out.sw)) * size;
          NchwTile(d, a, s, taps, first + x, ky_begin, ky_end, spread.epilogue, t);
        }
      }
    }
  }
  return HWY_TARGET;
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
