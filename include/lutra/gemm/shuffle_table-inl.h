// Byte-shuffle lookup: sums of x[m, k] * code[n, k], exact in int32, for affine formats packed in Unit::kByteRow.
// For each 4 k the 16 sums of subsets of the activations stand in a table; a nibble of a row's bits is an index, and
// one byte shuffle looks up 16 to 64 rows. Codes of b bits are b planes: cost is linear in bits. Needs   whole blocks
// of 32 k; x: int8 rows that are zero up to the end of their last block. Bound   the vector ports: 6.1 operations for 4
// k of a vector of rows, of them 2 shuffles. Loads are no bound: a table
//         vector serves both halves of a panel.
//
// A sum lies in [-512, 508]. Biased by 512 it has 10 bits; tables hold 5 in one byte and 5 in another, so that eight
// lookups add up in bytes (8 * 31 = 248). Then low + 32 * high goes to 16 bits (at most 8 * 1020), and eight of those
// (65280) to 32 bits. Tables of a block, the order of its bytes: [nibble][low, high][k / 8][16 entries].
#if defined(LUTRA_GEMM_SHUFFLE_TABLE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_GEMM_SHUFFLE_TABLE_INL_H_
#undef LUTRA_GEMM_SHUFFLE_TABLE_INL_H_
#else
#define LUTRA_GEMM_SHUFFLE_TABLE_INL_H_
#endif

#include "lutra/gemm/lookup-inl.h"

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

#if LUTRA_INT_LANES_ALONE
inline int64_t ShuffleTable(const internal::GemmTask& t, size_t task, std::byte* scratch) {
  return IntLanes(t, task, scratch);
}
#else

inline constexpr size_t kNibbleTableBytes = 256;  // of a block

// The tables of 32 k of x. Each 16-byte block of a vector is a table: entry 2 j + bit is lane j of `even` or `odd`.
HWY_INLINE void BuildTables(const int8_t* HWY_RESTRICT x, uint8_t* HWY_RESTRICT to) {
  constexpr size_t kLanes = LookupLanes();
  const hn::CappedTag<int16_t, kLanes / 2> d16;
  const hn::Rebind<int8_t, decltype(d16)> d8;
  const hn::Repartition<uint8_t, decltype(d16)> d8u;
  const auto bias = hn::Set(d16, int16_t{512}), five = hn::Set(d16, int16_t{31});
  const auto upper = hn::Set(d16, int16_t{31 << 8});
  const auto lane = hn::And(hn::Iota(d16, 0), hn::Set(d16, int16_t{7}));
  const auto bit = [&](int16_t mask) LUTRA_TILE { return hn::VecFromMask(d16, hn::TestBit(lane, hn::Set(d16, mask))); };
  const auto bit1 = bit(1), bit2 = bit(2), bit3 = bit(4);
  for (size_t at = 0; at < 64; at += kLanes) {
    const auto x16 = hn::PromoteTo(d16, hn::LoadU(d8, x + at / 2));
    Unrolled<2>([&](auto nibble) LUTRA_TILE {
      constexpr int kNibble = decltype(nibble)::value;
      const auto sum12 = hn::Add(hn::And(hn::Broadcast<4 * kNibble + 1>(x16), bit1),
                                 hn::And(hn::Broadcast<4 * kNibble + 2>(x16), bit2));
      const auto even = hn::Add(hn::Add(bias, hn::And(hn::Broadcast<4 * kNibble + 3>(x16), bit3)), sum12);
      const auto odd = hn::Add(even, hn::Broadcast<4 * kNibble>(x16));
      const auto low = hn::Or(hn::And(even, five), hn::And(hn::ShiftLeft<8>(odd), upper));
      const auto high = hn::Or(hn::ShiftRight<5>(even), hn::And(hn::ShiftLeft<3>(odd), upper));
      hn::Store(hn::BitCast(d8u, low), d8u, to + 128 * kNibble + at);
      hn::Store(hn::BitCast(d8u, high), d8u, to + 128 * kNibble + 64 + at);
    });
  }
}

// sums[32] += (sum of x over the set bits of a plane) << shift, over `blocks` blocks.
// ahead: how far to prefetch. kShort: so few blocks (kShortBlocks) that 16 bits hold the sums of all their tables, less
// what they are biased by.
inline constexpr size_t kShortBlocks = 8;
template <bool kShort>
HWY_NOINLINE void AddPlane(const uint8_t* HWY_RESTRICT w, size_t stride, size_t ahead,
                           const uint8_t* HWY_RESTRICT tables, size_t blocks, int shift, int32_t* HWY_RESTRICT sums) {
  constexpr size_t kLanes = LookupLanes(), kEvery = kLanes / 16;  // blocks until bytes are full
  const hn::CappedTag<uint8_t, kLanes> d8;
  const hn::Repartition<uint16_t, decltype(d8)> d16;
  const hn::Repartition<int16_t, decltype(d8)> d16i;
  const hn::Repartition<int8_t, decltype(d8)> d8i;
  const hn::Repartition<uint32_t, decltype(d8)> d32;
  const auto nibble = hn::Set(d8, uint8_t{15});
  const auto weights = hn::BitCast(d8i, hn::Set(d16, uint16_t{0x2001}));  // 1 for low, 32 for high
  HWY_ALIGN uint32_t wide[8][kLanes / 4];                                 // [half of rows, of those, parity]
  if constexpr (!kShort) {
    for (auto& part : wide) hn::Store(hn::Zero(d32), d32, part);
  }
  const uint32_t bias = static_cast<uint32_t>(blocks) * 4096;

  // Both halves of the rows and both nibbles at byte `at` of a block.
  const auto look_up = [&](size_t at, auto& low0, auto& high0, auto& low1, auto& high1) LUTRA_TILE {
    const auto rows0 = Pinned(hn::LoadU(d8, w + at)), rows1 = Pinned(hn::LoadU(d8, w + 64 + at));
    const auto add = [&](size_t table, auto index0, auto index1) LUTRA_TILE {
      const auto low = Pinned(hn::Load(d8, tables + table + at)), high = Pinned(hn::Load(d8, tables + table + 64 + at));
      low0 = Pinned(hn::Add(low0, hn::TableLookupBytes(low, index0)));
      high0 = Pinned(hn::Add(high0, hn::TableLookupBytes(high, index0)));
      low1 = Pinned(hn::Add(low1, hn::TableLookupBytes(low, index1)));
      high1 = Pinned(hn::Add(high1, hn::TableLookupBytes(high, index1)));
    };
    const auto upper = [&](auto rows) LUTRA_TILE {
      return hn::And(hn::BitCast(d8, hn::ShiftRight<4>(hn::BitCast(d16, rows))), nibble);
    };
    add(0, hn::And(rows0, nibble), hn::And(rows1, nibble));
    add(128, upper(rows0), upper(rows1));
  };
  const auto next = [&]() LUTRA_TILE {
    w += stride;
    tables += kNibbleTableBytes;
  };

  while (blocks != 0) {
    WithAccumulators<4>(d16, [&](auto& sum0, auto& sum1, auto& sum2, auto& sum3) LUTRA_TILE {
      for (size_t pass = 0; pass < 8 && blocks != 0; ++pass) {
        WithAccumulators<4>(d8, [&](auto&... bytes) LUTRA_TILE {
          if (HWY_LIKELY(blocks >= kEvery)) {
            blocks -= kEvery;
            Unrolled<kEvery>([&](auto) LUTRA_TILE {
              __builtin_prefetch(w + ahead, 0, 2);  // to L2: into L1 it costs a tenth where weights are cached
              __builtin_prefetch(w + ahead + 64, 0, 2);
              Unrolled<64 / kLanes>([&](auto i) LUTRA_TILE { look_up(decltype(i)::value * kLanes, bytes...); });
              next();
            });
          } else {
            for (; blocks != 0; --blocks, next()) {
              for (size_t at = 0; at < 64; at += kLanes) look_up(at, bytes...);
            }
          }
          const auto widen = [&](auto low0, auto high0, auto low1, auto high1) LUTRA_TILE {
            const auto add16 = [&](auto& s, auto both) LUTRA_TILE {
              s = hn::Add(s, hn::BitCast(d16, hn::SatWidenMulPairwiseAdd(d16i, both, weights)));
            };
            add16(sum0, hn::InterleaveLower(d8, low0, high0));
            add16(sum1, hn::InterleaveUpper(d8, low0, high0));
            add16(sum2, hn::InterleaveLower(d8, low1, high1));
            add16(sum3, hn::InterleaveUpper(d8, low1, high1));
          };
          widen(bytes...);
        });
      }
      if constexpr (kShort) {
        AddEight(SumOfBlocks(d16, sum0), static_cast<uint16_t>(bias), shift, sums);
        AddEight(SumOfBlocks(d16, sum1), static_cast<uint16_t>(bias), shift, sums + 8);
        AddEight(SumOfBlocks(d16, sum2), static_cast<uint16_t>(bias), shift, sums + 16);
        AddEight(SumOfBlocks(d16, sum3), static_cast<uint16_t>(bias), shift, sums + 24);
        return;
      }
      const auto flush = [&](auto s, uint32_t* even, uint32_t* odd) LUTRA_TILE {
        const auto pairs = hn::BitCast(d32, s);
        hn::Store(hn::Add(hn::Load(d32, even), hn::And(pairs, hn::Set(d32, 0xFFFFu))), d32, even);
        hn::Store(hn::Add(hn::Load(d32, odd), hn::ShiftRight<16>(pairs)), d32, odd);
      };
      flush(sum0, wide[0], wide[1]);
      flush(sum1, wide[2], wide[3]);
      flush(sum2, wide[4], wide[5]);
      flush(sum3, wide[6], wide[7]);
    });
  }
  if constexpr (kShort) return;
  const hn::FixedTag<uint32_t, 4> d4;
  const hn::FixedTag<int32_t, 4> d4i;
  for (size_t i = 0; i < 4; ++i) {
    auto even = hn::Load(d4, wide[2 * i]), odd = hn::Load(d4, wide[2 * i + 1]);
    for (size_t at = 4; at < kLanes / 4; at += 4) {
      even = hn::Add(even, hn::Load(d4, wide[2 * i] + at));
      odd = hn::Add(odd, hn::Load(d4, wide[2 * i + 1] + at));
    }
    const auto add = [&](auto v, int32_t* to) LUTRA_TILE {
      const auto plane = hn::ShiftLeftSame(hn::Sub(v, hn::Set(d4, bias)), shift);
      hn::StoreU(hn::Add(hn::LoadU(d4i, to), hn::BitCast(d4i, plane)), d4i, to);
    };
    add(hn::InterleaveLower(d4, even, odd), sums + 8 * i);
    add(hn::InterleaveUpper(d4, even, odd), sums + 8 * i + 4);
  }
}

// The lookup tables of shuffle_table, see lookup-inl.h.
struct NibbleLookups {
  static constexpr size_t kBlockK = lutra::kBlockK, kBytes = kNibbleTableBytes;
  static constexpr size_t kBlocks = 96;  // 24 KiB
  static constexpr size_t kRound = 4;    // byte sums are full after up to so many blocks

  struct Step {};
  static HWY_INLINE Step StepOf(const GemmCall&, size_t) { return {}; }
  static HWY_INLINE void Build(const int8_t* x, size_t, Step, uint8_t* to) { BuildTables(x, to); }
  static HWY_INLINE size_t Ahead(const PackedMatrix& w) { return 4096 * size_t{w.format().bits}; }
  static HWY_INLINE void Sum(const PackedMatrix& w, const uint8_t* codes, size_t ahead, const uint8_t* tables,
                             size_t blocks, int32_t* sums) {
    for (size_t plane = 0; plane < w.format().bits; ++plane) {
      const auto add = blocks <= kShortBlocks ? &AddPlane<true> : &AddPlane<false>;
      add(codes + plane * 128, w.block_bytes(), ahead, tables, blocks, static_cast<int>(plane), sums);
    }
  }
  static HWY_INLINE void ToCodes(const GemmCall&, Step, int32_t, int32_t*) {}
};

// Entry: one task.
inline int64_t ShuffleTable(const internal::GemmTask& t, size_t task, std::byte* scratch) {
  return LookUpTask<NibbleLookups>(t, task, scratch);
}
#endif  // LUTRA_INT_LANES_ALONE

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
