// Float activations by lookup: sums of x[m, k] * value(code[n, k]), for affine formats packed in Unit::kByteRow.
// Codes of b bits are b planes of +-1 and a multiple of sum x. For each 4 k, a quad, the 16 sums of +-x stand in a
// table; a nibble of a row's bits is an index, and one lookup of f32 lanes serves 16 rows (AVX-512) or 8 (AVX2).
// Needs   groups of scales of whole blocks. Tables are of a copy of x that is zero up to the end of its last block.
// Order   reference.h: sums, and products that round on their own, so that all targets give equal bits.
// Bound   vector operations. One row of x: 12 for 8 k of a panel (AVX-512, 6 at the two ports of lookups), 44 (AVX2).
//         Up to 4 rows of x share the indices, each more takes 8 and 16. AVX2 looks up 8 entries, those of a minus
//         before x[4 q + 3]. The others are their negatives: an index with bit 3 set is complemented, the bit becomes
//         a factor of -1.
#if defined(LUTRA_GEMM_FLOAT_TABLE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_GEMM_FLOAT_TABLE_INL_H_
#undef LUTRA_GEMM_FLOAT_TABLE_INL_H_
#else
#define LUTRA_GEMM_FLOAT_TABLE_INL_H_
#endif

#include "lutra/gemm/float_codes-inl.h"
#include "lutra/gemm/float_x-inl.h"

#ifndef LUTRA_GEMM_FLOAT_TABLE_ONCE_
#define LUTRA_GEMM_FLOAT_TABLE_ONCE_
namespace lutra { inline namespace LUTRA_NS { namespace internal {

inline constexpr size_t kPieceBlocks = 8, kPieceK = kPieceBlocks * kBlockK;  // the longest piece of a span
inline constexpr size_t kFloatTableRows = 4;                                 // of x that meet an index together
inline constexpr size_t kQuads = kBlockK / 4;                                // of a block
// Blocks of one row whose tables scratch holds (a segment of 32,768 k), and those that L1 keeps beside the weights.
inline constexpr size_t kWindowBlocks = 1024, kChunkBlocks = 32;

// A run of k inside one span, one that pieces of numerics.md 3.6 cut.
struct FloatPiece {
  size_t block;  // the first, in its segment
  size_t blocks;
  size_t group;                  // of weight scales
  bool ends;                     // its span
  float x_sum[kFloatTableRows];  // of the span up to here
};
struct FloatSlot {
  alignas(64) float t[kPanelRows];  // of the span up to here
  alignas(64) float acc[kPanelRows];
};
struct FloatTableScratch {
  alignas(64) float tables[kWindowBlocks * kQuads * 16];  // [quad][row of x][entry]
  alignas(64) float x[kFloatTableRows * kPieceK];
  FloatPiece pieces[kWindowBlocks];
};
inline constexpr size_t kFloatSlots = (Context::kDefaultScratch - sizeof(FloatTableScratch)) / sizeof(FloatSlot);
static_assert(kFloatSlots >= 32 * kFloatTableRows);

}}}  // namespace lutra::LUTRA_NS::internal
#endif

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

inline constexpr size_t kEntries = LUTRA_LOOKUP_BITS == 2 ? 8 : 16;  // of a table in memory

// Tables of `quads` quads of one row of x, `rows` tables apart.
HWY_INLINE void BuildFloatTables(const float* HWY_RESTRICT x, size_t quads, size_t rows, float* HWY_RESTRICT to) {
  const hn::CappedTag<float, kEntries> df;
  const hn::RebindToUnsigned<decltype(df)> du;
  const auto minus = hn::Set(du, 0x80000000u);
  for (size_t at = 0; at < kEntries; at += hn::Lanes(df)) {
    const auto entry = hn::Iota(du, static_cast<uint32_t>(at));
    const auto sign0 = hn::AndNot(hn::ShiftLeft<31>(entry), minus), sign1 = hn::AndNot(hn::ShiftLeft<30>(entry), minus);
    const auto sign2 = hn::AndNot(hn::ShiftLeft<29>(entry), minus), sign3 = hn::AndNot(hn::ShiftLeft<28>(entry), minus);
    for (size_t q = 0; q < quads; ++q) {
      const auto term = [&](size_t i, auto sign)
                            LUTRA_TILE { return hn::Xor(hn::Set(df, x[4 * q + i]), hn::BitCast(df, sign)); };
      const auto first = hn::Add(term(0, sign0), term(1, sign1)), second = hn::Add(term(2, sign2), term(3, sign3));
      hn::Store(hn::Add(first, second), df, to + q * rows * kEntries + at);
    }
  }
}

// The sum of x over a piece: minus the sums of entries 0, all of whose signs are minus.
HWY_INLINE float SumOfPiece(const float* tables, size_t quads, size_t rows) {
  float parts[2] = {};
  for (size_t q = 0; q < quads; ++q) parts[q % 2] -= tables[q * rows * kEntries];
  return parts[0] + parts[1];
}

// GCC looks up a whole block first and spills what it found (105 -> 127 GMAC/s, 4 rows, AVX-512, GCC 12).
template <class V>
HWY_INLINE V InPlace(V v) {
#if HWY_COMPILER_GCC_ACTUAL && LUTRA_LOOKUP_BITS != 0
  asm("" : "+v"(v.raw));
#endif
  return v;
}

// The end of a span in panel p: acc = acc + t * scale, and what multiplies the sum of x.
HWY_NOINLINE inline void EndFloatSpan(const GemmCall& c, size_t p, size_t segment, const internal::FloatPiece& piece,
                                      size_t rows, internal::FloatSlot* HWY_RESTRICT slots) {
  const hn::CappedTag<float, 16> df;
  HWY_ALIGN float buffer[2 * kPanelRows];
  const float extra = static_cast<float>(c.w.format().MaxPattern() - c.w.format().zero_x2) * 0.5f;
  const size_t groups = c.w.scales().group_k == 0 ? 0 : segment * c.w.groups_per_segment();
  const SpanScale s = ScaleOfGroup(c, p, groups + piece.group, buffer);
  for (size_t m = 0; m < rows; ++m) {
    const auto x_sum = hn::Set(df, piece.x_sum[m]), more = hn::Mul(x_sum, hn::Set(df, extra));
    for (size_t i = 0; i < kPanelRows; i += hn::Lanes(df)) {
      auto t = hn::Load(df, slots[m].t + i);
      if (extra != 0.0f) t = hn::Add(t, more);
      auto acc = hn::Add(hn::Load(df, slots[m].acc + i), hn::Mul(t, hn::LoadU(df, s.scale + i)));
      if (s.offset != nullptr) acc = hn::Add(acc, hn::Mul(x_sum, hn::LoadU(df, s.offset + i)));
      hn::Store(acc, df, slots[m].acc + i);
      hn::Store(hn::Zero(df), df, slots[m].t + i);
    }
  }
}

// slots[row].t += sums of +-x, times 2^(p - 1) for plane p; even quads and odd ones add up apart. panel: of the piece's
// first block; ahead: how far to prefetch. MulAdd by 1 or -1 adds, at other ports (127 -> 142 GMAC/s, 4 rows, AVX-512).
template <size_t kRows>
HWY_INLINE void AddFloatPiece(const uint8_t* HWY_RESTRICT panel, size_t planes, [[maybe_unused]] size_t ahead,
                              const float* HWY_RESTRICT of_piece, size_t blocks,
                              internal::FloatSlot* HWY_RESTRICT slots) {
  const size_t stride = 128 * planes;
  float weight = 0.5f;
  for (size_t p = 0; p < planes; ++p, weight += weight) {
    const uint8_t* HWY_RESTRICT w = panel + 128 * p;
    const float* HWY_RESTRICT tables = of_piece;
#if LUTRA_LOOKUP_BITS == 4
    const hn::FixedTag<float, 16> df;
    const hn::RebindToUnsigned<decltype(df)> du;
    const hn::Repartition<uint16_t, decltype(df)> d16;
    const hn::Rebind<uint8_t, decltype(df)> d8;
    const auto upper = hn::Set(d16, uint16_t{1 << 12});
    auto one = hn::Set(df, 1.0f);
    asm("" : "+v"(one.raw));  // Clang adds where it knows that the factor is 1 (127 -> 146 GMAC/s, 4 rows, Clang 19)
    WithAccumulators<4 * kRows>(df, [&](auto&... sum) LUTRA_TILE {  // [row of x][odd][half]
      for (size_t b = 0; b < blocks; ++b, w += stride) {
        __builtin_prefetch(w + ahead, 0, 2);
        __builtin_prefetch(w + ahead + 64, 0, 2);
        Unrolled<4>([&](auto i) LUTRA_TILE {
          const auto low0 = hn::PromoteTo(du, hn::LoadU(d8, w + 16 * decltype(i)::value));
          const auto low1 = hn::PromoteTo(du, hn::LoadU(d8, w + 64 + 16 * decltype(i)::value));
          // A product shifts at another port than lookups and widening take.
          const auto high0 = hn::BitCast(du, hn::MulHigh(hn::BitCast(d16, low0), upper));
          const auto high1 = hn::BitCast(du, hn::MulHigh(hn::BitCast(d16, low1), upper));
          Unrolled<2 * kRows>([&](auto n) LUTRA_TILE {
            constexpr size_t kOdd = decltype(n)::value / kRows, kRow = decltype(n)::value % kRows;
            const auto table = hn::Load(df, tables + decltype(n)::value * kEntries);
            const auto add = [&](auto& s, auto index) LUTRA_TILE {
              const auto found = hn::Vec<decltype(df)>{_mm512_permutexvar_ps(index.raw, table.raw)};
              s = InPlace(kOdd != 0 ? hn::MulAdd(found, one, s) : hn::Add(s, found));
            };
            add(Pick<4 * kRow + 2 * kOdd>(sum...), kOdd != 0 ? high0 : low0);
            add(Pick<4 * kRow + 2 * kOdd + 1>(sum...), kOdd != 0 ? high1 : low1);
          });
          tables += 2 * kRows * kEntries;
        });
      }
      Unrolled<2 * kRows>([&](auto n) LUTRA_TILE {
        constexpr size_t kRow = decltype(n)::value / 2, kHalf = decltype(n)::value % 2;
        float* t = slots[kRow].t + 16 * kHalf;
        const auto both = hn::Add(Pick<4 * kRow + kHalf>(sum...), Pick<4 * kRow + 2 + kHalf>(sum...));
        hn::Store(hn::Add(hn::Load(df, t), hn::Mul(both, hn::Set(df, weight))), df, t);
      });
    });
#elif LUTRA_LOOKUP_BITS == 2
    const hn::FixedTag<float, 8> df;
    const hn::RebindToSigned<decltype(df)> d32;
    const hn::Rebind<int8_t, decltype(df)> d8;
    const hn::FixedTag<uint8_t, 32> dw;
    const hn::Repartition<uint16_t, decltype(dw)> d16;
    // Indices complemented where their bit 3 is set: 8 - 1 in such a nibble, 0 in others.
    HWY_ALIGN uint8_t indices[internal::kPieceBlocks * 128];
    for (size_t b = 0; b < blocks; ++b) {
      __builtin_prefetch(w + b * stride + ahead, 0, 2);
      __builtin_prefetch(w + b * stride + ahead + 64, 0, 2);
      for (size_t at = 0; at < 128; at += 32) {
        const auto bits = hn::LoadU(dw, w + b * stride + at), signs = hn::And(bits, hn::Set(dw, uint8_t{0x88}));
        const auto ones = hn::BitCast(dw, hn::ShiftRight<3>(hn::BitCast(d16, signs)));
        hn::Store(hn::Xor(bits, hn::Sub(signs, ones)), dw, indices + b * 128 + at);
      }
    }
    constexpr size_t kVectors = kRows == 1 ? 4 : kRows == 2 ? 2 : 1;  // of the panel's four, at a time
    const auto minus = hn::Set(d32, INT32_MIN), one = hn::Set(d32, 0x3F800000);
    for (size_t v0 = 0; v0 < 4; v0 += kVectors) {
      const uint8_t* HWY_RESTRICT from = indices + v0 / 2 * 64 + v0 % 2 * 8;
      tables = of_piece;
      WithAccumulators<2 * kVectors * kRows>(df, [&](auto&... sum) LUTRA_TILE {  // [row of x][vector][odd]
        for (size_t b = 0; b < blocks; ++b, from += 128) {
          Unrolled<4>([&](auto i) LUTRA_TILE {
            Unrolled<kVectors>([&](auto v) LUTRA_TILE {
              constexpr size_t kVector = decltype(v)::value;
              const uint8_t* at = from + kVector / 2 * 64 + kVector % 2 * 8 + 16 * decltype(i)::value;
              const auto low = hn::PromoteTo(d32, hn::LoadU(d8, reinterpret_cast<const int8_t*>(at)));
              const auto high = hn::ShiftRight<4>(low);
              const auto sign_high = hn::BitCast(df, hn::Or(hn::And(low, minus), one));
              const auto sign_low = hn::BitCast(df, hn::Or(hn::And(hn::ShiftLeft<28>(low), minus), one));
              Numbered(
                  [&](auto n, auto& s) LUTRA_TILE {
                    constexpr size_t kOdd = decltype(n)::value % 2, kOf = decltype(n)::value / 2 % kVectors;
                    if constexpr (kOf == kVector) {
                      constexpr size_t kRow = decltype(n)::value / (2 * kVectors);
                      const auto table = hn::Load(df, tables + (kOdd * kRows + kRow) * kEntries);
                      const auto index = kOdd != 0 ? high : low;
                      const auto found = hn::Vec<decltype(df)>{_mm256_permutevar8x32_ps(table.raw, index.raw)};
                      s = InPlace(hn::MulAdd(found, kOdd != 0 ? sign_high : sign_low, s));
                    }
                  },
                  sum...);
            });
            tables += 2 * kRows * kEntries;
          });
        }
        Unrolled<kVectors * kRows>([&](auto n) LUTRA_TILE {
          constexpr size_t kRow = decltype(n)::value / kVectors, kVector = decltype(n)::value % kVectors;
          float* t = slots[kRow].t + 8 * (v0 + kVector);
          const auto both = hn::Add(Pick<2 * decltype(n)::value>(sum...), Pick<2 * decltype(n)::value + 1>(sum...));
          hn::Store(hn::Add(hn::Load(df, t), hn::Mul(both, hn::Set(df, weight))), df, t);
        });
      });
    }
#else
    for (size_t m = 0; m < kRows; ++m) {
      for (size_t row = 0; row < kPanelRows; ++row) {
        const uint8_t* from = w + row / 16 * 64 + row % 16;
        const float* table = tables + m * kEntries;
        float even = 0.0f, odd = 0.0f;
        for (size_t i = 0; i < 4 * blocks; ++i, table += 2 * kRows * kEntries) {
          const unsigned bits = from[i / 4 * stride + i % 4 * 16];
          even += table[bits & 15];
          odd += table[kRows * kEntries + (bits >> 4)];
        }
        slots[m].t[row] += (even + odd) * weight;
      }
    }
#endif
  }
}

// Rows of x whose tables are in scratch, and where: up to kFloatTableRows rows of y, one window of a segment.
struct FloatWindow {
  size_t m = 0, rows = 0, segment = 0;
  size_t begin = 0, end = 0;  // blocks of the segment
  size_t pieces = 0;
  float x_sum[internal::kFloatTableRows] = {};  // of the span that the window ends in
};

// Whether the tables of `window` are those of another segment of the same rows of y: its rows of x are the same, too.
HWY_INLINE bool SameTables(const GemmCall& c, const FloatWindow& window, size_t segment) {
  for (size_t i = 0; i < window.rows; ++i) {
    if (internal::RowOf(c, window.m + i, window.segment) != internal::RowOf(c, window.m + i, segment)) return false;
  }
  return window.begin == 0 && window.end == c.w.blocks_per_segment();
}

// Cuts the window's blocks into pieces, and makes their tables.
HWY_NOINLINE inline void FillWindow(const GemmCall& c, FloatWindow& window, internal::FloatTableScratch* scratch) {
  const PackedMatrix& w = c.w;
  const bool has_sum = w.scales().has_offset || w.format().MaxPattern() != w.format().zero_x2;
  window.pieces = 0;
  for (size_t block = window.begin; block < window.end;) {
    const size_t k0 = block * kBlockK;
    const internal::Span span = internal::SpanAt(w, ActSpec(), 0, k0);
    const size_t k1 = HWY_MIN(span.k1, (k0 / internal::kPieceK + 1) * internal::kPieceK);
    internal::FloatPiece& piece = scratch->pieces[window.pieces++];
    piece.block = block;
    piece.blocks = (k1 - k0 + kBlockK - 1) / kBlockK;
    piece.group = span.weight_group;
    piece.ends = k1 == span.k1;
    float* x = scratch->x;
    CopyRows(c, window.m, window.rows, window.segment, k0, k1, x, internal::kPieceK);
    const size_t quads = piece.blocks * internal::kQuads;
    float* tables = scratch->tables + (block - window.begin) * internal::kQuads * window.rows * kEntries;
    for (size_t m = 0; m < window.rows; ++m, x += internal::kPieceK) {
      std::memset(x + (k1 - k0), 0, (piece.blocks * kBlockK - (k1 - k0)) * sizeof(float));
      BuildFloatTables(x, quads, window.rows, tables + m * kEntries);
      if (has_sum) window.x_sum[m] += SumOfPiece(tables + m * kEntries, quads, window.rows);
      piece.x_sum[m] = window.x_sum[m];
      if (piece.ends) window.x_sum[m] = 0.0f;
    }
    block += piece.blocks;
  }
}

// Pieces [piece, last) of a window whose blocks begin at `begin` of the segment, in panel p. w: the segment's codes.
template <size_t kRows>
HWY_NOINLINE void AddFloatPieces(const GemmCall& c, size_t p, size_t segment, size_t ahead, size_t begin,
                                 const internal::FloatPiece* piece, const internal::FloatPiece* last,
                                 const float* tables, internal::FloatSlot* HWY_RESTRICT slots) {
  const PackedMatrix& w = c.w;
  const uint8_t* codes = w.Codes(p) + segment * w.blocks_per_segment() * w.block_bytes();
  for (; piece != last; ++piece) {
    AddFloatPiece<kRows>(codes + piece->block * w.block_bytes(), w.format().bits, ahead,
                         tables + (piece->block - begin) * internal::kQuads * kRows * kEntries, piece->blocks, slots);
    if (piece->ends) EndFloatSpan(c, p, segment, *piece, kRows, slots);
  }
}

// All pieces of a window meet the panels [p0, p1). Those whose tables L1 holds pass all panels before the next ones.
// (Mode: templates cost nothing where their mode is not named.)
template <class Mode>
HWY_NOINLINE void MultiplyWindow(const GemmCall& c, const FloatWindow& window, size_t segment, size_t p0, size_t p1,
                                 const internal::FloatTableScratch& scratch, internal::FloatSlot* slots) {
  const auto add = window.rows == 1   ? &AddFloatPieces<1>
                   : window.rows == 2 ? &AddFloatPieces<2>
                   : window.rows == 3 ? &AddFloatPieces<3>
                                      : &AddFloatPieces<4>;
  static_assert(internal::kFloatTableRows == 4);
  const size_t most = internal::kChunkBlocks / window.rows, per_segment = c.w.blocks_per_segment();
  const size_t ahead = per_segment <= most ? 4096 * size_t{c.w.format().bits} : per_segment * c.w.block_bytes();
  const internal::FloatPiece* const end = scratch.pieces + window.pieces;
  for (const internal::FloatPiece *first = scratch.pieces, *last = first; first != end; first = last) {
    while (last != end && (last == first || last->block + last->blocks - first->block <= most)) ++last;
    for (size_t p = p0; p < p1; ++p) {
      add(c, p, segment, ahead, window.begin, first, last, scratch.tables, slots + (p - p0) * window.rows);
    }
  }
}

// Entry: one task. Tables of a few rows of x serve all panels of the task, and all segments that gather the same rows.
template <class Mode>
int64_t FloatTable(const internal::GemmTask& t, size_t task, std::byte* memory) {
  const GemmCall& c = t.call;
  const internal::GemmTile tile = internal::TileOf(t, task);
  auto* scratch = reinterpret_cast<internal::FloatTableScratch*>(memory);
  auto* slots = reinterpret_cast<internal::FloatSlot*>(memory + sizeof(internal::FloatTableScratch));
  const size_t rows_left = tile.row_end - tile.row_begin;
  const size_t strips = (rows_left + internal::kFloatTableRows - 1) / internal::kFloatTableRows;
  for (size_t strip = 0; strip < strips; ++strip) {  // leftovers split evenly
    FloatWindow window;
    window.m = tile.row_begin + strip * rows_left / strips;
    window.rows = tile.row_begin + (strip + 1) * rows_left / strips - window.m;
    const size_t most_panels = internal::kFloatSlots / window.rows, per_segment = c.w.blocks_per_segment();
    const size_t most_blocks = internal::kWindowBlocks / window.rows / internal::kPieceBlocks * internal::kPieceBlocks;
    for (size_t p0 = tile.panel_begin, p1 = p0; p0 < tile.panel_end; p0 = p1) {
      p1 = HWY_MIN(tile.panel_end, p0 + most_panels);
      std::memset(slots, 0, (p1 - p0) * window.rows * sizeof(internal::FloatSlot));
      for (size_t segment = 0; segment < c.w.segments(); ++segment) {
        const bool same = window.pieces != 0 && SameTables(c, window, segment);
        for (size_t begin = 0; begin < per_segment; begin += most_blocks) {
          if (!same) {
            window.segment = segment;
            window.begin = begin;
            window.end = HWY_MIN(per_segment, begin + most_blocks);
            FillWindow(c, window, scratch);
          }
          MultiplyWindow<Mode>(c, window, segment, p0, p1, *scratch, slots);
        }
      }
      for (size_t p = p0; p < p1; ++p) {
        const size_t count = HWY_MIN(kPanelRows, c.w.n() - p * kPanelRows);
        for (size_t m = 0; m < window.rows; ++m) {
          WriteRow(c, window.m + m, p * kPanelRows, count, slots[(p - p0) * window.rows + m].acc);
        }
      }
    }
  }
  return HWY_TARGET;
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
