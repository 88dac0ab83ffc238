// Byte-shuffle lookup in tables of one byte: sums of x[m, k] * code[n, k], rounded, for affine formats packed in
// Unit::kByteRow. Where shuffle_table keeps exact sums of four activations in two bytes, their sums with signs,
// +-x0 +- x1 +- x2 +- x3, are rounded to 7 bits here, in steps that each output row has of its own; the sum of x, which
// makes sums over set bits of them, is exact. docs/numerics.md 2.8 has the definition and the bound.
// Needs   whole blocks of 32 k; x: int8 rows that are zero up to the end of their last block.
// Bound   the vector ports: 4.5 operations for 4 k of a vector of rows, of them 1 shuffle and 1 shift.
//
// A rounded sum lies in [-63, 63]. Biased by 64, two lookups add up in a byte (254); bytes add up in 16 bits (258 of
// them fit): those of odd rows shifted down, and those of all rows, of which the former are taken off again in the end.
// Tables of a block, the order of its bytes: [nibble][k / 8][16 entries].
#if defined(LUTRA_GEMM_BYTE_TABLE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_GEMM_BYTE_TABLE_INL_H_
#undef LUTRA_GEMM_BYTE_TABLE_INL_H_
#else
#define LUTRA_GEMM_BYTE_TABLE_INL_H_
#endif

#include "lutra/gemm/lookup-inl.h"

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

#if LUTRA_INT_LANES_ALONE
template <class Config>
internal::ModeKernel ByteTableOf() {
  return {nullptr, "the target has no lookups of bytes"};
}
#else

inline constexpr size_t kByteTableBytes = 128;  // of a block

// The largest sum of the magnitudes of four neighbours of x[count], count a multiple of 32.
HWY_INLINE int LargestQuad(const int8_t* HWY_RESTRICT x, size_t count) {
  const hn::CappedTag<int8_t, 32> d8;
  const hn::Repartition<uint16_t, decltype(d8)> d16;
  const hn::Repartition<uint32_t, decltype(d8)> d32;
  auto most = hn::Zero(d32);
  for (size_t i = 0; i < count; i += hn::Lanes(d8)) {
    const auto magnitudes = hn::BitCast(d16, hn::Abs(hn::LoadU(d8, x + i)));  // 128 of -128, as an unsigned byte
    const auto pairs = hn::Add(hn::And(magnitudes, hn::Set(d16, uint16_t{255})), hn::ShiftRight<8>(magnitudes));
    const auto two = hn::BitCast(d32, pairs);
    most = hn::Max(most, hn::Add(hn::And(two, hn::Set(d32, 0xFFFFu)), hn::ShiftRight<16>(two)));
  }
  return static_cast<int>(hn::ReduceMax(d32, most));
}

// The tables of 32 k of x. Each 16-byte block of a vector is a table: entry 2 j + bit is lane j of `even` or `odd`.
template <size_t kLanes>
HWY_INLINE void BuildByteTables(const int8_t* HWY_RESTRICT x, int factor, uint8_t* HWY_RESTRICT to) {
  const hn::CappedTag<int16_t, kLanes / 2> d16;
  const hn::Rebind<int8_t, decltype(d16)> d8;
  const hn::Repartition<uint8_t, decltype(d16)> d8u;
  const auto bias = hn::Set(d16, int16_t{64}), by = hn::Set(d16, static_cast<int16_t>(factor));
  const auto lane = hn::And(hn::Iota(d16, 0), hn::Set(d16, int16_t{7}));
  const auto bit = [&](int16_t mask) LUTRA_TILE { return hn::VecFromMask(d16, hn::TestBit(lane, hn::Set(d16, mask))); };
  const auto bit1 = bit(1), bit2 = bit(2), bit3 = bit(4);
  for (size_t at = 0; at < 64; at += kLanes) {
    const auto x4 = hn::ShiftLeft<2>(hn::PromoteTo(d16, hn::LoadU(d8, x + at / 2)));
    Unrolled<2>([&](auto nibble) LUTRA_TILE {
      constexpr int kNibble = decltype(nibble)::value;
      const auto x0 = hn::Broadcast<4 * kNibble>(x4), x1 = hn::Broadcast<4 * kNibble + 1>(x4);
      const auto x2 = hn::Broadcast<4 * kNibble + 2>(x4), x3 = hn::Broadcast<4 * kNibble + 3>(x4);
      // Twice the sums: four times the set bits' x, without twice all x.
      const auto all = hn::ShiftRight<1>(hn::Add(hn::Add(x0, x1), hn::Add(x2, x3)));
      const auto set = hn::Add(hn::Add(hn::And(x1, bit1), hn::And(x2, bit2)), hn::And(x3, bit3));
      const auto even = hn::Sub(set, all), odd = hn::Add(even, x0);
      const auto rounded = [&](auto t) LUTRA_TILE { return hn::Add(hn::MulFixedPoint15(t, by), bias); };
      const auto both = hn::Or(rounded(even), hn::ShiftLeft<8>(rounded(odd)));
      hn::Store(hn::BitCast(d8u, both), d8u, to + 64 * kNibble + at);
    });
  }
}

// sums[32] += (sum of rounded sums of x, with the bits of a plane as signs) << shift, over `blocks` blocks.
// ahead: how far to prefetch.
template <size_t kLanes>
HWY_NOINLINE void AddBytePlane(const uint8_t* HWY_RESTRICT w, size_t stride, size_t ahead,
                               const uint8_t* HWY_RESTRICT tables, size_t blocks, int shift,
                               int32_t* HWY_RESTRICT sums) {
  constexpr size_t kFull = 64;  // blocks until 16 bits are full, with all blocks of vectors added up
  static_assert(kFull * 4 * 254 <= 65535 && kFull * 8 * 63 <= 32767);
  const hn::CappedTag<uint8_t, kLanes> d8;
  const hn::Repartition<uint16_t, decltype(d8)> d16;
  const auto nibble = hn::Set(d8, uint8_t{15});
  while (blocks != 0) {
    const size_t pass = HWY_MIN(blocks, kFull);
    blocks -= pass;
    WithAccumulators<4>(d16, [&](auto& all0, auto& odd0, auto& all1, auto& odd1) LUTRA_TILE {
      for (size_t i = 0; i < pass; ++i) {
        __builtin_prefetch(w + ahead, 0, 2);
        __builtin_prefetch(w + ahead + 64, 0, 2);
        Unrolled<64 / kLanes>([&](auto number) LUTRA_TILE {
          constexpr size_t kAt = decltype(number)::value * kLanes;
          const auto first = Pinned(hn::Load(d8, tables + kAt)), second = Pinned(hn::Load(d8, tables + 64 + kAt));
          const auto look_up = [&](const uint8_t* from, auto& all, auto& odd) LUTRA_TILE {
            const auto rows = Pinned(hn::LoadU(d8, from));
            const auto upper = hn::And(hn::BitCast(d8, hn::ShiftRight<4>(hn::BitCast(d16, rows))), nibble);
            const auto two = hn::BitCast(
                d16, hn::Add(hn::TableLookupBytes(first, hn::And(rows, nibble)), hn::TableLookupBytes(second, upper)));
            all = Pinned(hn::Add(all, two));
            odd = Pinned(hn::Add(odd, hn::ShiftRight<8>(two)));
          };
          look_up(w + kAt, all0, odd0);
          look_up(w + 64 + kAt, all1, odd1);
        });
        w += stride;
        tables += kByteTableBytes;
      }
      const hn::FixedTag<uint16_t, 8> d8x16;
      const auto bias = static_cast<uint16_t>(pass * 8 * 64);
      const auto flush = [&](auto all, auto odds, int32_t* HWY_RESTRICT to) LUTRA_TILE {
        const auto odd = SumOfBlocks(d16, odds), even = hn::Sub(SumOfBlocks(d16, all), hn::ShiftLeft<8>(odd));
        AddEight(hn::InterleaveLower(d8x16, even, odd), bias, shift, to);
        AddEight(hn::InterleaveUpper(d8x16, even, odd), bias, shift, to + 8);
      };
      flush(all0, odd0, sums);
      flush(all1, odd1, sums + 16);
    });
  }
}

// The lookup tables of byte_table, see lookup-inl.h.
template <class Config>
struct ByteLookups {
  static constexpr size_t kBlockK = lutra::kBlockK, kBytes = kByteTableBytes;
  static constexpr size_t kBlocks = 192;  // 24 KiB
  static constexpr size_t kRound = 1;

  using Step = internal::ByteStep;
  static HWY_INLINE Step StepOf(const GemmCall& c, size_t m) {
    int most = 0;
    const size_t padded_k = (c.w.segment_k() + kBlockK - 1) / kBlockK * kBlockK;
    for (size_t segment = 0; segment < c.w.segments(); ++segment) {
      most = HWY_MAX(most, LargestQuad(c.xq->Row(XRow(c, m, segment)), padded_k));
    }
    return internal::ByteStepOf(most);
  }
  static HWY_INLINE void Build(const int8_t* x, size_t, const Step& step, uint8_t* to) {
    BuildByteTables<LookupLanes()>(x, step.factor, to);
  }
  static HWY_INLINE size_t Ahead(const PackedMatrix& w) { return 4096 * size_t{w.format().bits}; }
  static HWY_INLINE void Sum(const PackedMatrix& w, const uint8_t* codes, size_t ahead, const uint8_t* tables,
                             size_t blocks, int32_t* sums) {
    for (size_t plane = 0; plane < w.format().bits; ++plane) {
      AddBytePlane<LookupLanes()>(codes + plane * 128, w.block_bytes(), ahead, tables, blocks, static_cast<int>(plane),
                                  sums);
    }
  }
  // With X the sum of x and q the sum of rounded sums, planes weighted: X * 2^(bits - 1) + (q * step - X) / 2.
  static HWY_INLINE void ToCodes(const GemmCall& c, const Step& step, int32_t x_sum, int32_t* sums) {
    const hn::CappedTag<int32_t, 16> d32;
    const hn::RebindToFloat<decltype(d32)> df;
    const auto whole = hn::Set(d32, static_cast<int32_t>(static_cast<uint32_t>(x_sum) << (c.w.format().bits - 1)));
    const auto half_step = hn::Set(df, step.half_step), half_x = hn::Set(df, static_cast<float>(x_sum) * 0.5f);
    const auto most = hn::Set(df, internal::kMostByteSum);
    for (size_t i = 0; i < kPanelRows; i += hn::Lanes(d32)) {
      const auto q = hn::Load(d32, sums + i);
      auto part = hn::ShiftRight<1>(hn::Sub(q, hn::Set(d32, x_sum)));
      if (!step.exact()) {
        part = hn::NearestInt(hn::Min(hn::Sub(hn::Mul(hn::ConvertTo(df, q), half_step), half_x), most));
      }
      hn::Store(hn::Add(part, whole), d32, sums + i);
    }
  }
};

template <class Config>
internal::ModeKernel ByteTableOf() {
  return {&LookUpTask<ByteLookups<Config> >, nullptr};
}
#endif  // LUTRA_INT_LANES_ALONE

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
