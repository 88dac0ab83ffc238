// Float activations by any format: weights decoded to f32 block by block in L1, then one dense micro-kernel.
// Order   acc = fma(x, w, acc), k ascending, lanes are output rows: one summation order for every format and shape.
// Bound   decoding at M <= 4, the FMA port from M = 16 on.
#if defined(LUTRA_GEMM_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_GEMM_TILE_INL_H_
#undef LUTRA_GEMM_TILE_INL_H_
#else
#define LUTRA_GEMM_TILE_INL_H_
#endif

#include "lutra/gemm/scale-inl.h"

#ifndef LUTRA_GEMM_TILE_SCRATCH_
#define LUTRA_GEMM_TILE_SCRATCH_
namespace lutra { inline namespace LUTRA_NS { namespace internal {
inline constexpr size_t kTileRows = 64;  // rows of x per task
// Scratch of a worker: w f32 [32 k][32 rows], acc f32 [64][32], x f32 [64][32], codes [32][32].
inline constexpr size_t kTileScratch = kBlockK * kPanelRows * 5 + kTileRows * (kPanelRows + kBlockK) * 4;
static_assert(kTileScratch <= Context::kDefaultScratch);
}}}  // namespace lutra::LUTRA_NS::internal
#endif

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

// Values of a block, k in [k0, k1) of its segment: value(code) * scale, then + offset.
HWY_INLINE void DecodeBlock(const internal::GemmTask& t, size_t p, size_t segment, size_t k0, size_t k1,
                            uint8_t* HWY_RESTRICT codes, float* HWY_RESTRICT w) {
  const PackedMatrix& m = t.call.w;
  const hn::CappedTag<float, 16> df;
  const hn::RebindToSigned<decltype(df)> d32;
  const hn::Rebind<uint8_t, decltype(df)> d8;
  const size_t block = segment * m.blocks_per_segment() + k0 / kBlockK, group_k = m.scales().group_k;
  t.unpack(m.Codes(p) + block * m.block_bytes(), m.format(), codes);
  const auto zero = hn::Set(df, static_cast<float>(m.format().zero_x2) * 0.5f);
  const float* table = m.table();
  const bool has_offset = m.scales().has_offset;
  HWY_ALIGN float scale[kPanelRows];  // of the group that k is in, as f32
  HWY_ALIGN float offset[kPanelRows];
  for (size_t k = k0; k < k1; ++k) {
    if (k == k0 || (group_k != 0 && k % group_k == 0)) {
      const size_t group = group_k == 0 ? 0 : segment * m.groups_per_segment() + k / group_k;
      const size_t skip = group * kPanelRows * SizeOf(m.scales().type);
      for (size_t row = 0; row < kPanelRows; row += hn::Lanes(df)) {
        const auto at = static_cast<ptrdiff_t>(row);
        const auto load = [&](const std::byte* from)
                              LUTRA_TILE { return LoadAsF32(df, from + skip, m.scales().type, at, hn::Lanes(df)); };
        hn::Store(load(m.PanelScales(p)), df, scale + row);
        if (has_offset) hn::Store(load(m.PanelOffsets(p)), df, offset + row);
      }
    }
    const uint8_t* from = codes + (k - k0) * kPanelRows;
    float* to = w + (k - k0) * kPanelRows;
    if (table != nullptr) {
      for (size_t row = 0; row < kPanelRows; ++row) to[row] = table[from[row]];
    }
    for (size_t row = 0; row < kPanelRows; row += hn::Lanes(df)) {
      auto v = table != nullptr ? hn::LoadU(df, to + row)
                                : hn::Sub(hn::ConvertTo(df, hn::PromoteTo(d32, hn::LoadU(d8, from + row))), zero);
      v = hn::Mul(v, hn::Load(df, scale + row));
      if (has_offset) v = hn::Add(v, hn::Load(df, offset + row));
      hn::StoreU(v, df, to + row);
    }
  }
}

// x of rows [row_begin, row_end), k in [k0, k1) of a segment as f32 [row][32].
HWY_INLINE void LoadRows(const GemmCall& c, size_t row_begin, size_t row_end, size_t segment, size_t k0, size_t k1,
                         float* HWY_RESTRICT x) {
  const hn::CappedTag<float, 16> df;
  const hn::RebindToSigned<decltype(df)> d32;
  const hn::Rebind<int8_t, decltype(df)> d8;
  for (size_t m = row_begin; m < row_end; ++m) {
    float* to = x + (m - row_begin) * kBlockK;
    const ptrdiff_t row = internal::RowOf(c, m, segment);
    for (size_t k = k0; k < k1; k += hn::Lanes(df)) {
      auto v = hn::Zero(df);
      if (row >= 0 && c.xq == nullptr) {
        v = LoadAsF32(df, c.x.data, c.x.type, row * c.x.row_stride + static_cast<ptrdiff_t>(k), k1 - k);
      } else if (row >= 0) {
        const size_t r = static_cast<size_t>(row), group = c.xq->spec.group_k == 0 ? 0 : k0 / c.xq->spec.group_k;
        const auto q = hn::PromoteTo(d32, hn::LoadU(d8, c.xq->Row(r) + k));
        v = hn::Mul(hn::ConvertTo(df, q), hn::Set(df, c.xq->Scale(r, group)));
      }
      hn::StoreU(v, df, to + (k - k0));
    }
  }
}

// acc [kMR][2 vectors] += x [kMR][count] * w [count][2 vectors], k ascending.
template <size_t kMR, class D>
HWY_INLINE void DenseTile(D df, const float* HWY_RESTRICT x, const float* HWY_RESTRICT w, size_t count,
                          float* HWY_RESTRICT acc) {
  const size_t lanes = hn::Lanes(df);
  WithAccumulators<2 * kMR>(df, [&](auto&... sum) LUTRA_TILE {
    Numbered(
        [&](auto i, auto& s) LUTRA_TILE {
          s = hn::LoadU(df, acc + decltype(i)::value / 2 * kPanelRows + decltype(i)::value % 2 * lanes);
        },
        sum...);
    for (size_t k = 0; k < count; ++k) {
      const auto w0 = hn::LoadU(df, w + k * kPanelRows), w1 = hn::LoadU(df, w + k * kPanelRows + lanes);
      Numbered(
          [&](auto i, auto& s) LUTRA_TILE {
            const auto xk = hn::Set(df, x[decltype(i)::value / 2 * kBlockK + k]);
            s = hn::MulAdd(xk, decltype(i)::value % 2 == 0 ? w0 : w1, s);
          },
          sum...);
    }
    Numbered(
        [&](auto i, auto& s) LUTRA_TILE {
          hn::StoreU(s, df, acc + decltype(i)::value / 2 * kPanelRows + decltype(i)::value % 2 * lanes);
        },
        sum...);
  });
}

inline int64_t Tile(const internal::GemmTask& t, size_t task, std::byte* scratch) {
  const GemmCall& c = t.call;
  const internal::GemmTile tile = internal::TileOf(t, task);
  const hn::CappedTag<float, 16> df;
  const size_t rows = tile.row_end - tile.row_begin;
  float* w = reinterpret_cast<float*>(scratch);
  float* acc = w + kBlockK * kPanelRows;
  float* x = acc + internal::kTileRows * kPanelRows;
  uint8_t* codes = reinterpret_cast<uint8_t*>(x + internal::kTileRows * kBlockK);
  for (size_t p = tile.panel_begin; p < tile.panel_end; ++p) {
    std::memset(acc, 0, rows * kPanelRows * sizeof(float));
    for (size_t segment = 0; segment < c.w.segments(); ++segment) {
      for (size_t k0 = 0; k0 < c.w.segment_k(); k0 += kBlockK) {
        const size_t k1 = HWY_MIN(c.w.segment_k(), k0 + kBlockK);
        DecodeBlock(t, p, segment, k0, k1, codes, w);
        LoadRows(c, tile.row_begin, tile.row_end, segment, k0, k1, x);
        for (size_t row = 0; row < kPanelRows; row += HWY_MIN(kPanelRows, 2 * hn::Lanes(df))) {
          size_t m = 0;
          for (; m + 4 <= rows; m += 4) {
            DenseTile<4>(df, x + m * kBlockK, w + row, k1 - k0, acc + m * kPanelRows + row);
          }
          for (; m < rows; ++m) DenseTile<1>(df, x + m * kBlockK, w + row, k1 - k0, acc + m * kPanelRows + row);
        }
      }
    }
    for (size_t m = 0; m < rows; ++m) {
      WriteRow(c, tile.row_begin + m, p * kPanelRows, HWY_MIN(kPanelRows, c.w.n() - p * kPanelRows),
               acc + m * kPanelRows);
    }
  }
  return HWY_TARGET;
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
