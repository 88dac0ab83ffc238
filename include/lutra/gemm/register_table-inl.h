// Register tables: sums of x[m, k] * code[n, k] for codes of 1 bit, exact in int32. The 32 sums of five activations are
// the 16-bit lanes of one register; five bits of a row of w find one of them, for 32 rows of w in one instruction.
// Needs   one span (HasOneSpan); x: int8 rows that are zero up to a multiple of 32; a lookup among 32 lanes of 16 bits
//         (AVX-512).
// Bound   the ports of lookups and additions: one of each for 160 multiply-adds. Alone they take 1.2 cycles (Zen 4).
//
// A block (weights/packed.h) is 32 rows of 4 bytes. The low halves of all rows make one vector of 16-bit lanes, the
// high halves another: row r in lane 2 r, row 16 + r in lane 2 r + 1. A lookup takes the low five bits of each lane,
// whatever stands above them, so shifts are all that is needed:
//
//   a half:     bits 0-4   bits 5-9   bits 10-14   bit 15
//   lookup      0, 3       1, 4       2, 5         6: of both halves
#if defined(LUTRA_GEMM_REGISTER_TABLE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_GEMM_REGISTER_TABLE_INL_H_
#undef LUTRA_GEMM_REGISTER_TABLE_INL_H_
#else
#define LUTRA_GEMM_REGISTER_TABLE_INL_H_
#endif

#include "lutra/gemm/scale-inl.h"
#include "lutra/simd/tile-inl.h"

#ifndef LUTRA_GEMM_REGISTER_TABLE_ONCE_
#define LUTRA_GEMM_REGISTER_TABLE_ONCE_
namespace lutra { inline namespace LUTRA_NS { namespace internal {

inline constexpr size_t kRegisterLookups = 7;  // of a block
inline constexpr size_t kRegisterRows = 8;     // of x in a tile: 16 sums, two panels
inline constexpr size_t kRegisterBlocks = 7;   // whose sums 16 bits hold
inline constexpr size_t kRegisterPanels = 96;  // whose sums wait in scratch for the next blocks
static_assert(kRegisterBlocks * kBlockK * 128 <= 32767 && (kRegisterBlocks + 1) * kBlockK * 128 > 32767);

// Scratch of a worker.
struct RegisterScratch {
  alignas(64) int16_t tables[kRegisterBlocks * kRegisterLookups * kRegisterRows * 32];  // [block][lookup][row of x]
  alignas(64) int32_t sums[(kRegisterPanels + 1) * kRegisterRows * kPanelRows];         // [panel][row of x]
};
static_assert(sizeof(RegisterScratch) <= Context::kDefaultScratch);

// The five k of each lookup, [lookup][4]: twice the first two, twice the second two, the fifth; and entry i's bits as
// factors beside them. Lookup 6 has two k: its index is below four, where the others' factors are 0.
struct RegisterOrder {
  alignas(32) uint8_t k[3][32] = {};
  alignas(64) uint8_t factors[3][64] = {};
};
constexpr RegisterOrder MakeRegisterOrder() {
  RegisterOrder order;
  const auto k_of = [](size_t half, size_t bit) { return static_cast<uint8_t>(4 * (bit % 8) + 2 * half + bit / 8); };
  for (size_t lookup = 0; lookup < kRegisterLookups; ++lookup) {
    for (size_t i = 0; i < 5; ++i) {
      const uint8_t k = lookup < 6 ? k_of(lookup / 3, 5 * (lookup % 3) + i) : k_of(i % 2, 15);
      order.k[i / 2][4 * lookup + i % 2] = order.k[i / 2][4 * lookup + 2 + i % 2] = k;
    }
  }
  for (size_t entry = 0; entry < 32; ++entry) {
    for (size_t i = 0; i < 5; ++i) order.factors[i / 2][2 * entry + i % 2] = static_cast<uint8_t>(entry >> i & 1);
  }
  return order;
}
inline constexpr RegisterOrder kRegisterOrder = MakeRegisterOrder();

}}}  // namespace lutra::LUTRA_NS::internal
#endif

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

#if !LUTRA_HAS_REGISTER_TABLE
template <class Mode>
internal::GemmFn RegisterTableOf() {
  return nullptr;
}
#else

using RegisterTag = hn::FixedTag<int16_t, 32>;

// The tables of a block, `pitch` numbers apart.
HWY_INLINE void BuildRegisterTables(const int8_t* HWY_RESTRICT x, size_t pitch, int16_t* HWY_RESTRICT to) {
  const RegisterTag d16;
  const hn::Repartition<uint8_t, RegisterTag> d8;
  const hn::Repartition<int8_t, RegisterTag> d8i;
  const hn::Repartition<int32_t, RegisterTag> d32;
  const hn::FixedTag<int8_t, 32> d_block;
  const hn::RebindToUnsigned<decltype(d_block)> d_order;
  HWY_ALIGN int32_t four[3][8];
  const auto codes = hn::LoadU(d_block, x);
  for (size_t i = 0; i < 3; ++i) {
    const auto order = hn::Load(d_order, internal::kRegisterOrder.k[i]);
    const hn::Vec<decltype(d_block)> moved{_mm256_permutexvar_epi8(order.raw, codes.raw)};
    hn::Store(moved, d_block, reinterpret_cast<int8_t*>(four[i]));
  }
  for (size_t lookup = 0; lookup < internal::kRegisterLookups; ++lookup, to += pitch) {
    const auto part = [&](size_t i) LUTRA_TILE {
      const auto factors = hn::Load(d8, internal::kRegisterOrder.factors[i]);
      return hn::SatWidenMulPairwiseAdd(d16, factors, hn::BitCast(d8i, hn::Set(d32, four[i][lookup])));
    };
    hn::Store(hn::Add(hn::Add(part(0), part(1)), part(2)), d16, to);
  }
}

// Half kHalf of all rows of a block.
template <size_t kHalf>
HWY_INLINE hn::Vec<RegisterTag> HalvesOf(const uint8_t* HWY_RESTRICT block) {
  const RegisterTag d16;
  const hn::Repartition<uint32_t, RegisterTag> d32;
  const auto low = hn::LoadU(d32, reinterpret_cast<const uint32_t*>(block));
  const auto high = hn::LoadU(d32, reinterpret_cast<const uint32_t*>(block + 64));
  if constexpr (kHalf == 0) return hn::OddEven(hn::BitCast(d16, hn::ShiftLeft<16>(high)), hn::BitCast(d16, low));
  return hn::OddEven(hn::BitCast(d16, high), hn::BitCast(d16, hn::ShiftRight<16>(low)));
}

// sums[panel][row of x] (+)= the sums of kMR rows of x over `blocks` blocks of two panels, `second` bytes apart.
template <size_t kMR>
HWY_NOINLINE void LookUpBits(const uint8_t* HWY_RESTRICT w, size_t second, size_t ahead,
                             const int16_t* HWY_RESTRICT tables, size_t blocks, bool first,
                             int32_t* HWY_RESTRICT sums) {
  const RegisterTag d16;
  const hn::Repartition<int32_t, RegisterTag> d32;
  const hn::RebindToUnsigned<RegisterTag> d16u;
  constexpr size_t kLine = hn::MaxLanes(d16);
  WithAccumulators<2 * kMR>(d16, [&](auto&... sum) LUTRA_TILE {
    const auto look_up = [&](const auto& index0, const auto& index1) LUTRA_TILE {
      Unrolled<kMR>([&](auto row) LUTRA_TILE {
        constexpr size_t kRow = decltype(row)::value;
        auto table = hn::Load(d16, tables + kRow * kLine);
        asm("" : "+v"(table.raw));  // compilers load it twice, and loads bound it (195 -> 217 GMAC/s, 12 rows)
        const auto add = [&](auto& s, const auto& index) LUTRA_TILE {
          s = hn::Add(s, hn::Vec<RegisterTag>{_mm512_permutexvar_epi16(index.raw, table.raw)});
          asm("" : "+v"(s.raw));
        };
        add(Pick<2 * kRow>(sum...), index0);
        add(Pick<2 * kRow + 1>(sum...), index1);
      });
      tables += kMR * kLine;
    };
    for (size_t b = 0; b < blocks; ++b, w += 128) {
      __builtin_prefetch(w + ahead);
      __builtin_prefetch(w + ahead + 64);
      __builtin_prefetch(w + second + ahead);
      __builtin_prefetch(w + second + ahead + 64);
      const auto low0 = hn::BitCast(d16u, HalvesOf<0>(w)), low1 = hn::BitCast(d16u, HalvesOf<0>(w + second));
      look_up(low0, low1);
      look_up(hn::ShiftRight<5>(low0), hn::ShiftRight<5>(low1));
      look_up(hn::ShiftRight<10>(low0), hn::ShiftRight<10>(low1));
      const auto high0 = hn::BitCast(d16u, HalvesOf<1>(w)), high1 = hn::BitCast(d16u, HalvesOf<1>(w + second));
      look_up(high0, high1);
      look_up(hn::ShiftRight<5>(high0), hn::ShiftRight<5>(high1));
      look_up(hn::ShiftRight<10>(high0), hn::ShiftRight<10>(high1));
      const auto last = [&](auto low, auto high) LUTRA_TILE {
        const auto two = hn::Set(d16u, uint16_t{2});
        return hn::OrAnd(hn::ShiftRight<15>(low), hn::ShiftRight<14>(high), two);
      };
      look_up(last(low0, high0), last(low1, high1));
    }
    const auto keep = [&](auto number, auto& s) LUTRA_TILE {
      constexpr size_t kI = decltype(number)::value;
      int32_t* to = sums + (kI % 2 * internal::kRegisterRows + kI / 2) * kPanelRows;
      const auto pairs = hn::BitCast(d32, s);
      auto low = hn::ShiftRight<16>(hn::ShiftLeft<16>(pairs)), high = hn::ShiftRight<16>(pairs);
      if (!first) {
        low = hn::Add(low, hn::Load(d32, to));
        high = hn::Add(high, hn::Load(d32, to + 16));
      }
      hn::Store(low, d32, to);
      hn::Store(high, d32, to + 16);
    };
    Numbered(keep, sum...);
  });
}

// kRows rows of x from m by panels [begin, end).
template <size_t kRows>
HWY_NOINLINE void RegisterRows(const GemmCall& c, size_t m, size_t begin, size_t end, internal::RegisterScratch& s) {
  constexpr size_t kLine = hn::MaxLanes(RegisterTag()), kSlot = internal::kRegisterRows * kPanelRows;
  const size_t blocks = c.w.blocks_per_segment(), block_bytes = c.w.block_bytes();
  const size_t chunks = (blocks + internal::kRegisterBlocks - 1) / internal::kRegisterBlocks;
  const size_t chunk = (blocks + chunks - 1) / chunks, panel_bytes = blocks * block_bytes;
  size_t x_row[kRows];
  for (size_t r = 0; r < kRows; ++r) x_row[r] = XRow(c, m + r, 0);
  for (size_t b = 0; b < blocks; b += chunk) {
    const size_t here = HWY_MIN(chunk, blocks - b);
    for (size_t r = 0; r < kRows; ++r) {
      const int8_t* x = c.xq->Row(x_row[r]) + b * kBlockK;
      int16_t* to = s.tables + r * kLine;
      for (size_t i = 0; i < here; ++i, x += kBlockK, to += internal::kRegisterLookups * kRows * kLine) {
        BuildRegisterTables(x, kRows * kLine, to);
      }
    }
    for (size_t p = begin; p < end; p += 2) {  // a last panel without a neighbour is its own: its slot has one
      LookUpBits<kRows>(c.w.Codes(p) + b * block_bytes, p + 1 < end ? panel_bytes : 0, 2 * panel_bytes, s.tables, here,
                        b == 0, s.sums + (p - begin) * kSlot);
    }
  }
  int32_t x_sum[kRows];
  for (size_t r = 0; r < kRows; ++r) x_sum[r] = SumOf(c.xq->sums + x_row[r] * c.xq->blocks, blocks);
  HWY_ALIGN float buffer[2 * kPanelRows];
  for (size_t p = begin; p < end; ++p) {
    const SpanScale scale = ScaleOfGroup(c, p, 0, buffer);
    for (size_t r = 0; r < kRows; ++r) {
      FinishSpan(c, scale, c.xq->Scale(x_row[r], 0), x_sum[r], s.sums + (p - begin) * kSlot + r * kPanelRows, m + r, p);
    }
  }
}

// Entry: one task.
template <class Mode>
int64_t RegisterTable(const internal::GemmTask& t, size_t task, std::byte* scratch) {
  const internal::GemmTile tile = internal::TileOf(t, task);
  auto& s = *reinterpret_cast<internal::RegisterScratch*>(scratch);
  for (size_t m = tile.row_begin; m < tile.row_end;) {
    const size_t left = tile.row_end - m, tiles = (left + internal::kRegisterRows - 1) / internal::kRegisterRows;
    const size_t rows = (left + tiles - 1) / tiles;
    for (size_t p = tile.panel_begin; p < tile.panel_end; p += internal::kRegisterPanels) {
      const size_t end = HWY_MIN(p + internal::kRegisterPanels, tile.panel_end);
      Unrolled<internal::kRegisterRows>([&](auto count) LUTRA_TILE {
        constexpr size_t kRows = decltype(count)::value + 1;
        if (rows == kRows) RegisterRows<kRows>(t.call, m, p, end, s);
      });
    }
    m += rows;
  }
  return HWY_TARGET;
}
template <class Mode>
internal::GemmFn RegisterTableOf() {
  return &RegisterTable<Mode>;
}
#endif  // LUTRA_HAS_REGISTER_TABLE

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
