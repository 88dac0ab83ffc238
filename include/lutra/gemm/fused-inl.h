// Float activations, few rows: codes become floats in registers and meet x there, nothing is decoded to memory.
// Needs   one plane of codes (1, 2, 4 or 8 bits); groups of scales of whole blocks.
// Order   gemm.h: t = fma(x, value, t), k ascending in each span; scales multiply the sum of a span.
// Bound   decoding at one row (two operations a vector by table lookup, which leave two thirds of the FMA peak with
//         64-byte vectors), the FMA port from two rows on.
#if defined(LUTRA_GEMM_FUSED_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_GEMM_FUSED_INL_H_
#undef LUTRA_GEMM_FUSED_INL_H_
#else
#define LUTRA_GEMM_FUSED_INL_H_
#endif

#include "lutra/gemm/float_codes-inl.h"
#include "lutra/gemm/float_x-inl.h"

#ifndef LUTRA_GEMM_FUSED_ONCE_
#define LUTRA_GEMM_FUSED_ONCE_
namespace lutra { inline namespace LUTRA_NS { namespace internal {

inline constexpr size_t kFusedChunk = 2048;  // k that are copied of x at a time, where it is not f32 in place
// Scratch of a worker.
struct FusedScratch {
  float x[2 * kFusedChunk];
  float w[kBlockK * kPanelRows];  // values of a segment's last block
  uint8_t codes[kBlockK * kPanelRows];
};
static_assert(sizeof(FusedScratch) <= Context::kDefaultScratch);

}}}  // namespace lutra::LUTRA_NS::internal
#endif

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

// acc + *x * v, *x in all lanes. AVX-512 broadcasts inside the multiply-add; compilers take an instruction for it that
// keeps one of its ports busy (f32 x ternary, one row: 0.50 -> 0.55 of the FMA peak, Zen 4).
template <class D, class V>
HWY_INLINE V MulAddEach(D d, const float* x, V v, V acc) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3 && HWY_MAX_BYTES == 64
  (void)d;
  asm("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(acc.raw) : "v"(v.raw), "m"(*x));
  return acc;
#else
  return hn::MulAdd(hn::Set(d, *x), v, acc);
#endif
}

// A tile: up to 2 rows of x, 4 vectors of outputs.
inline constexpr size_t kFusedMR = 2, kFusedNV = 4;

// t[row][vector] += x * value, k in whole quads of a span. The first two vectors of outputs are at `low`, the others at
// `high`: the rows' bytes in a block, where k begins.
template <class Codes, size_t kMR>
HWY_NOINLINE void FusedTile(const uint8_t* HWY_RESTRICT low, const uint8_t* HWY_RESTRICT high,
                            const internal::CodeValues& values, const internal::FloatRows& x, size_t quads,
                            float* HWY_RESTRICT t) {
  const hn::CappedTag<float, 16> df;
  const hn::RebindToUnsigned<decltype(df)> du;
  const size_t lanes = hn::Lanes(df);
  const unsigned bits = values.bits;
  WithAccumulators<kMR * kFusedNV>(df, [&](auto&... sum) LUTRA_TILE {
    Numbered([&](auto i, auto& s) LUTRA_TILE { s = hn::Load(df, t + decltype(i)::value * lanes); }, sum...);
    const float* HWY_RESTRICT xk = x.at;
    const ptrdiff_t stride = x.stride;
    // One k, vector after vector: neighbouring multiply-adds do not wait for each other.
    const auto multiply = [&](const float* at, const auto&... value) LUTRA_TILE {
      Numbered(
          [&](auto i, auto& s) LUTRA_TILE {
            constexpr size_t kI = decltype(i)::value;
            s = MulAddEach(df, at + static_cast<ptrdiff_t>(kI / kFusedNV) * stride, Pick<kI % kFusedNV>(value...), s);
          },
          sum...);
    };
    const auto quad = [&](const auto&... word) LUTRA_TILE {
      multiply(xk, Codes::template Value<0>(df, values, word)...);
      multiply(xk + 1, Codes::template Value<1>(df, values, word)...);
      multiply(xk + 2, Codes::template Value<2>(df, values, word)...);
      multiply(xk + 3, Codes::template Value<3>(df, values, word)...);
    };
    for (size_t q = 0; q < quads; ++q, xk += 4) {
      const internal::QuadAt at = internal::QuadOf(q, bits);
      const auto word = [&](const uint8_t* from) LUTRA_TILE {
        return hn::ShiftRightSame(hn::LoadU(du, reinterpret_cast<const uint32_t*>(from + at.offset)), at.shift);
      };
      quad(word(low), word(low + 4 * lanes), word(high), word(high + 4 * lanes));
    }
    Numbered([&](auto i, auto& s) LUTRA_TILE { hn::Store(s, df, t + decltype(i)::value * lanes); }, sum...);
  });
}

// The same for `count` < 4 k that end a segment, of outputs whose values are in w: [k][32].
HWY_NOINLINE inline void FusedTail(const float* HWY_RESTRICT w, const internal::FloatRows& x, size_t rows,
                                   size_t outputs, size_t count, size_t pitch, float* HWY_RESTRICT t) {
  const hn::CappedTag<float, 16> df;
  for (size_t r = 0; r < rows; ++r) {
    for (size_t i = 0; i < outputs; i += hn::Lanes(df)) {
      auto sum = hn::Load(df, t + r * pitch + i);
      for (size_t k = 0; k < count; ++k) {
        const auto xk = hn::Set(df, x.at[static_cast<ptrdiff_t>(r) * x.stride + static_cast<ptrdiff_t>(k)]);
        sum = hn::MulAdd(xk, hn::Load(df, w + k * kPanelRows + i), sum);
      }
      hn::Store(sum, df, t + r * pitch + i);
    }
  }
}

// acc += t * scale, then + sum of x * offset, for `rows` rows and `count` outputs; clears t.
HWY_INLINE void FoldSpan(const std::byte* scale, const std::byte* offset, DType type, size_t rows, size_t count,
                         size_t pitch, const float* sums, float* HWY_RESTRICT t, float* HWY_RESTRICT acc) {
  const hn::CappedTag<float, 16> df;
  for (size_t i = 0; i < count; i += hn::Lanes(df)) {
    const auto at = static_cast<ptrdiff_t>(i);
    const auto factor = LoadAsF32(df, scale, type, at, hn::Lanes(df));
    const auto shift = offset == nullptr ? factor : LoadAsF32(df, offset, type, at, hn::Lanes(df));
    for (size_t r = 0; r < rows; ++r) {
      auto total = hn::MulAdd(hn::Load(df, t + r * pitch + i), factor, hn::Load(df, acc + r * pitch + i));
      if (offset != nullptr) total = hn::MulAdd(hn::Set(df, sums[r]), shift, total);
      hn::Store(total, df, acc + r * pitch + i);
      hn::Store(hn::Zero(df), df, t + r * pitch + i);
    }
  }
}

using FusedFn = void (*)(const uint8_t* low, const uint8_t* high, const internal::CodeValues& values,
                         const internal::FloatRows& x, size_t quads, float* t);

// `rows` rows of x from m by `panels` panels from p, two at most.
template <class Mode = void>
HWY_NOINLINE void FusedRows(const internal::GemmTask& task, const internal::CodeValues& values, FusedFn tile, size_t p,
                            size_t panels, size_t m, size_t rows, internal::FusedScratch& s) {
  const GemmCall& c = task.call;
  const hn::CappedTag<float, 16> df;
  const size_t width = kFusedNV * hn::Lanes(df), half = width / 2;  // outputs of a tile
  HWY_ALIGN float acc[kFusedMR * 2 * kPanelRows];
  HWY_ALIGN float t[kFusedMR * 2 * kPanelRows];
  HWY_ALIGN float parts[kFusedMR][internal::kSumParts] = {};
  float sums[kFusedMR];
  const PackedMatrix& w = c.w;
  const DType type = w.scales().type;
  const size_t segment_k = w.segment_k(), chunk = internal::XIsInPlace(c) ? segment_k : internal::kFusedChunk;
  const size_t group_k = w.scales().group_k == 0 ? segment_k : w.scales().group_k, scale_bytes = SizeOf(type);
  for (size_t row = 0; row < panels * kPanelRows; row += width) {
    std::memset(acc, 0, sizeof(acc));
    std::memset(t, 0, sizeof(t));
    const size_t high_panel = width > kPanelRows ? p + panels - 1 : p + row / kPanelRows;
    const size_t low_panel = p + row / kPanelRows, low_row = row % kPanelRows;
    const size_t high_row = width > kPanelRows ? 0 : low_row + half;
    for (size_t segment = 0; segment < w.segments(); ++segment) {
      const size_t skip = segment * w.blocks_per_segment() * w.block_bytes();
      const uint8_t* low = w.Codes(low_panel) + skip + low_row * 4;
      const uint8_t* high = w.Codes(high_panel) + skip + high_row * 4;
      for (size_t k0 = 0; k0 < segment_k; k0 += chunk) {
        const size_t k1 = HWY_MIN(segment_k, k0 + chunk);
        const internal::FloatRows x = RowsFrom(c, m, rows, segment, k0, k1, s.x, internal::kFusedChunk);
        for (size_t k = k0; k < k1;) {
          const size_t group = k / group_k, end = HWY_MIN(k1, (group + 1) * group_k);
          const internal::FloatRows here = {x.at + (k - k0), x.stride};
          const size_t block = k / kBlockK * w.block_bytes();
          const size_t quads = (end - k) / 4, rest = (end - k) % 4;
          tile(low + block, high + block, values, here, quads, t);
          if (rest != 0) {
            const size_t at = (end - rest) / kBlockK * kBlockK, row_k = end - rest - at;
            const internal::FloatRows last = {here.at + 4 * quads, here.stride};
            const auto tail = [&](size_t panel, size_t first, size_t to) LUTRA_TILE {
              DecodeValues(task, values, panel, segment, at, end, s.codes, s.w);
              FusedTail(s.w + row_k * kPanelRows + first, last, rows, half, rest, width, t + to);
            };
            tail(low_panel, low_row, 0);
            tail(high_panel, high_row, half);
          }
          if (w.scales().has_offset) {
            for (size_t r = 0; r < rows; ++r) {
              AddToSum(here.at + static_cast<ptrdiff_t>(r) * here.stride, k, end, parts[r]);
            }
          }
          if (end == segment_k || end == (group + 1) * group_k) {
            if (w.scales().has_offset) {
              for (size_t r = 0; r < rows; ++r) sums[r] = TakeSum(parts[r]);
            }
            const size_t at = w.scales().group_k == 0 ? 0 : segment * w.groups_per_segment() + group;
            const auto fold = [&](size_t panel, size_t first, size_t to) LUTRA_TILE {
              const size_t bytes = (at * kPanelRows + first) * scale_bytes;
              const std::byte* offsets = w.PanelOffsets(panel);
              FoldSpan(w.PanelScales(panel) + bytes, offsets == nullptr ? nullptr : offsets + bytes, type, rows, half,
                       width, sums, t + to, acc + to);
            };
            fold(low_panel, low_row, 0);
            fold(high_panel, high_row, half);
          }
          k = end;
        }
      }
    }
    for (size_t r = 0; r < rows; ++r) {
      const auto write = [&](size_t panel, size_t first, size_t count, const float* from) {
        const size_t n0 = panel * kPanelRows + first;
        if (n0 < w.n()) WriteRow(c, m + r, n0, HWY_MIN(count, w.n() - n0), from);
      };
      if (width <= kPanelRows) {
        write(low_panel, low_row, width, acc + r * width);
      } else {
        write(low_panel, 0, half, acc + r * width);
        if (high_panel != low_panel) write(high_panel, 0, half, acc + r * width + half);
      }
    }
  }
}

// All rows of a task, a tile's rows at a time; false where the format or its groups have to be decoded first.
template <class Mode = void>
HWY_INLINE bool Fused(const internal::GemmTask& t, const internal::GemmTile& task, const internal::CodeValues& values,
                      std::byte* scratch) {
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128 || (HWY_ARCH_X86 && HWY_TARGET > HWY_AVX2)
  (void)t, (void)task, (void)values, (void)scratch;
  return false;  // SSE's 16 registers of 4 lanes gain nothing
#else
  const FormatInfo& f = t.call.w.format();
  if (t.call.w.unit() != Unit::kLane32 || f.planes[1] != 0 || t.call.w.scales().group_k % kBlockK != 0) return false;
  FusedFn tiles[kFusedMR];
  if (HasMantissaCodes(f) && f.bits > LUTRA_LOOKUP_BITS) {
    tiles[0] = &FusedTile<MantissaCodes, 1>;
    tiles[1] = &FusedTile<MantissaCodes, 2>;
#if LUTRA_LOOKUP_BITS != 0
  } else if (f.bits <= LUTRA_LOOKUP_BITS) {
    tiles[0] = &FusedTile<LookupCodes, 1>;
    tiles[1] = &FusedTile<LookupCodes, 2>;
#endif
  } else {
    return false;
  }
  for (size_t p = task.panel_begin; p < task.panel_end; p += 2) {
    const size_t panels = HWY_MIN(size_t{2}, task.panel_end - p);
    for (size_t m = task.row_begin; m < task.row_end; m += kFusedMR) {
      const size_t rows = HWY_MIN(kFusedMR, task.row_end - m);
      FusedRows(t, values, tiles[rows - 1], p, panels, m, rows, *reinterpret_cast<internal::FusedScratch*>(scratch));
    }
  }
  return true;
#endif
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
