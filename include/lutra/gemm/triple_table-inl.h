// Triples: sums of x[m, k] * v[n, k], v of -1, 0, 1, exact in int32, for ternary formats packed in Unit::kTriple.
// The 14 sums of three activations that differ by more than their sign stand in a table; a triple's index finds one of
// them, its sign is applied to what was found. One shuffle of bytes serves 16 or 32 rows.
// Needs   whole blocks of 96 k; groups of scales too. x: int8 rows that are zero up to a multiple of 32.
// Bound   the vector ports: 8 triples of 32 rows take 57 operations of 32 bytes where a shuffle has 32 entries
//         (AVX-512 VBMI), 75 elsewhere; DRAM where weights are cold.
//
// A sum lies in [-384, 384]. As low + 31 * high, low in [-15, 15], high in [-12, 12], it takes two signed bytes, whose
// signs change like its own: 8 of each add up in bytes (120), then low + 31 * high goes to 16 bits (at most 3072), ten
// of those to 32 bits. Tables of a block, [triple: 32]: 16 low bytes, 16 high ones; with 32 entries the negative ones
// follow the 16 each time.
#if defined(LUTRA_GEMM_TRIPLE_TABLE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_GEMM_TRIPLE_TABLE_INL_H_
#undef LUTRA_GEMM_TRIPLE_TABLE_INL_H_
#else
#define LUTRA_GEMM_TRIPLE_TABLE_INL_H_
#endif

#include "lutra/gemm/lookup-inl.h"

#ifndef LUTRA_GEMM_TRIPLE_TABLE_ONCE_
#define LUTRA_GEMM_TRIPLE_TABLE_ONCE_
namespace lutra { inline namespace LUTRA_NS { namespace internal {

// high = round(sum / 31), by a multiply that keeps the upper half.
inline constexpr int kTripleBase = 31, kTripleInverse = 1057;
constexpr bool TripleBytesFit() {
  for (int sum = -384; sum <= 384; ++sum) {
    const int high = (sum * kTripleInverse + (1 << 14)) >> 15, low = sum - kTripleBase * high;
    if (low < -15 || low > 15 || high < -12 || high > 12) return false;
  }
  return true;
}
static_assert(TripleBytesFit() && 8 * 15 <= 127);

// The values of index i as factors of bytes: [i] of the first two, [i] of the third beside none; and 128 times their
// sum, which x as unsigned bytes x + 128 brings in.
struct TripleFactors {
  alignas(32) int8_t first[32] = {};
  alignas(32) int8_t third[32] = {};
  alignas(32) int16_t bias[16] = {};
};
constexpr TripleFactors MakeTripleFactors() {
  TripleFactors f;
  for (size_t i = 0; i < 16; ++i) {
    const uint8_t* codes = kTripleCodes.of[i];
    f.first[2 * i] = static_cast<int8_t>(codes[0] - 1);
    f.first[2 * i + 1] = static_cast<int8_t>(codes[1] - 1);
    f.third[2 * i] = static_cast<int8_t>(codes[2] - 1);
    f.bias[i] = static_cast<int16_t>(128 * (codes[0] + codes[1] + codes[2] - 3));
  }
  return f;
}
inline constexpr TripleFactors kTripleFactors = MakeTripleFactors();

}}}  // namespace lutra::LUTRA_NS::internal
#endif

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

#if LUTRA_INT_LANES_ALONE
inline int64_t TripleTable(const internal::GemmTask& t, size_t task, std::byte* scratch) {
  return IntLanes(t, task, scratch);
}
#else

#undef LUTRA_TRIPLE_SIGNED
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3_DL
#define LUTRA_TRIPLE_SIGNED 1  // vpermb: tables of 32 entries, the sign is a bit of the index
#else
#define LUTRA_TRIPLE_SIGNED 0
#endif

// Bytes of a vector of lookups: at most the 32 rows of a triple, and a constant of the language.
constexpr size_t TripleLanes() { return HWY_HAVE_SCALABLE ? 16 : HWY_MIN(HWY_LANES(uint8_t), size_t{32}); }

// The tables of a block for `k` activations, 32, 64 or 96 and more; what is not there counts as 0.
HWY_INLINE void BuildTripleTables(const int8_t* HWY_RESTRICT x, size_t k, uint8_t* HWY_RESTRICT to) {
  const hn::FixedTag<uint8_t, 16> d8u;
  const hn::CappedTag<int16_t, 16> d16;
  const hn::Repartition<uint8_t, decltype(d16)> d8x;
  const hn::Repartition<int8_t, decltype(d16)> d8f;
  const hn::Repartition<uint16_t, decltype(d16)> d16u;
  const hn::Rebind<int8_t, decltype(d16)> d8;
  const auto to_unsigned = hn::Set(d8u, uint8_t{128});
  HWY_ALIGN uint8_t pairs[2][64];  // of the first two, of the third twice
  for (size_t t = 0; t < 32; t += 16) {
    const auto load = [&](size_t at) LUTRA_TILE {
      if (at >= k) return to_unsigned;
      return hn::Xor(hn::LoadU(d8u, reinterpret_cast<const uint8_t*>(x) + at + t), to_unsigned);
    };
    const auto first = load(0), second = load(32), third = load(64);
    hn::Store(hn::InterleaveLower(d8u, first, second), d8u, pairs[0] + 2 * t);
    hn::Store(hn::InterleaveUpper(d8u, first, second), d8u, pairs[0] + 2 * t + 16);
    hn::Store(hn::InterleaveLower(d8u, third, third), d8u, pairs[1] + 2 * t);
    hn::Store(hn::InterleaveUpper(d8u, third, third), d8u, pairs[1] + 2 * t + 16);
  }
  const auto base = hn::Set(d16, int16_t{internal::kTripleBase});
  const auto inverse = hn::Set(d16, int16_t{internal::kTripleInverse});
  for (size_t t = 0; t < 32; ++t) {
    uint16_t pair[2];
    std::memcpy(&pair[0], pairs[0] + 2 * t, 2);
    std::memcpy(&pair[1], pairs[1] + 2 * t, 2);
    for (size_t i = 0; i < 16; i += hn::Lanes(d16)) {
      const auto multiply = [&](uint16_t two, const int8_t* factors) LUTRA_TILE {
        return hn::SatWidenMulPairwiseAdd(d16, hn::BitCast(d8x, hn::Set(d16u, two)), hn::Load(d8f, factors + 2 * i));
      };
      const auto both =
          hn::Add(multiply(pair[0], internal::kTripleFactors.first), multiply(pair[1], internal::kTripleFactors.third));
      const auto sum = hn::Sub(both, hn::Load(d16, internal::kTripleFactors.bias + i));
      const auto high = hn::MulFixedPoint15(sum, inverse), low = hn::Sub(sum, hn::Mul(high, base));
      const auto store = [&](auto v, uint8_t* at) LUTRA_TILE {
        hn::StoreU(hn::DemoteTo(d8, v), d8, reinterpret_cast<int8_t*>(at) + i);
        if (LUTRA_TRIPLE_SIGNED) hn::StoreU(hn::DemoteTo(d8, hn::Neg(v)), d8, reinterpret_cast<int8_t*>(at) + 16 + i);
      };
      store(low, to);
      store(high, to + (LUTRA_TRIPLE_SIGNED ? 32 : 16));
    }
    to += LUTRA_TRIPLE_SIGNED ? 64 : 32;
  }
}

// The lookups of eight triples for kLanes rows: low += and high += their bytes. w: the rows' bytes of signs.
template <class D8, class V>
HWY_INLINE void LookUpTriples(D8 d8, const uint8_t* HWY_RESTRICT w, const uint8_t* HWY_RESTRICT tables, V& low,
                              V& high) {
  const hn::RebindToSigned<D8> d8i;
  const hn::Repartition<uint16_t, D8> d16;
  const auto nibble = hn::Set(d8, uint8_t{15});
  const auto signs = hn::Load(d8, w);
  const auto shift_right = [&](auto v, auto bits) LUTRA_TILE {
    return hn::BitCast(d8, hn::ShiftRight<decltype(bits)::value>(hn::BitCast(d16, v)));
  };
#if LUTRA_TRIPLE_SIGNED
  auto sign = shift_right(signs, Index<3>{});
#else
  const auto one = hn::Set(d8, uint8_t{1});
  auto sign = hn::Or(signs, one);  // no byte is zero, which "negate where negative" leaves open
#endif
  Unrolled<8>([&](auto number) LUTRA_TILE {
    constexpr size_t kI = decltype(number)::value;
    const auto pair = hn::Load(d8, w + 32 + kI / 2 * 32);
    auto index = pair;
    if constexpr (kI % 2 == 1) index = shift_right(pair, Index<4>{});
#if LUTRA_TRIPLE_SIGNED
    // The sign comes to bit 4; what stands above it is not looked at. The operand that the select overwrites is one
    // that nobody needs again: a mask there is copied each time (159 -> 151 GMAC/s, GCC 12).
    const auto here = sign;
    if constexpr (kI < 2) sign = shift_right(signs, Index<2 - kI>{});
    if constexpr (kI == 2) sign = signs;
    if constexpr (kI > 2) sign = hn::Add(sign, sign);
    index = hn::Vec<D8>{_mm256_ternarylogic_epi64(here.raw, nibble.raw, index.raw, 0xB8)};  // nibble ? index : here
    const auto look_up = [&](const uint8_t* table) LUTRA_TILE {
      return hn::Vec<decltype(d8i)>{
          _mm256_permutexvar_epi8(index.raw, hn::Load(d8i, reinterpret_cast<const int8_t*>(table)).raw)};
    };
    low = Pinned(hn::Add(low, look_up(tables + 64 * kI)));
    high = Pinned(hn::Add(high, look_up(tables + 64 * kI + 32)));
#else
    // The sign comes to the top of its byte; below it stands the one.
    if constexpr (kI > 0 && kI < 7) sign = hn::Add(sign, sign);
    if constexpr (kI == 7) sign = hn::Or(hn::BitCast(d8, hn::ShiftLeft<7>(hn::BitCast(d16, signs))), one);
    index = hn::And(index, nibble);
    const auto look_up = [&](const uint8_t* table) LUTRA_TILE {
      const auto entries = hn::LoadDup128(d8i, reinterpret_cast<const int8_t*>(table));
      const auto found = hn::TableLookupBytes(entries, hn::BitCast(d8i, index));
      return hn::IfNegativeThenNegOrUndefIfZero(hn::BitCast(d8i, sign), found);
    };
    low = Pinned(hn::Add(low, look_up(tables + 32 * kI)));
    high = Pinned(hn::Add(high, look_up(tables + 32 * kI + 16)));
#endif
  });
}

// sums[32] += sums of x * value over `blocks` blocks. ahead: how far to prefetch.
HWY_NOINLINE inline void AddTriples(const uint8_t* HWY_RESTRICT w, size_t ahead, const uint8_t* HWY_RESTRICT tables,
                                    size_t blocks, int32_t* HWY_RESTRICT sums) {
  constexpr size_t kLanes = TripleLanes(), kParts = kPanelRows / kLanes;
  constexpr size_t kEights = 4, kEvery = 2;  // of a block; blocks until 16 bits are full
  static_assert(kEvery * kEights * 8 * 384 <= 32767);
  const hn::CappedTag<uint8_t, kLanes> d8;
  const hn::RebindToSigned<decltype(d8)> d8i;
  const hn::Repartition<int16_t, decltype(d8)> d16;
  const hn::Repartition<int32_t, decltype(d8)> d32;
  constexpr uint16_t kWeights = 1 | internal::kTripleBase << 8;
  const auto weights = hn::BitCast(d8, hn::Set(hn::RebindToUnsigned<decltype(d16)>(), kWeights));
  while (blocks != 0) {
    const size_t pass = HWY_MIN(blocks, kEvery);
    blocks -= pass;
    WithAccumulators<2 * kParts>(d16, [&](auto&... sum) LUTRA_TILE {
      for (size_t i = 0; i < kEights * pass; ++i) {
        Unrolled<kParts>([&](auto part) LUTRA_TILE {
          constexpr size_t kPart = decltype(part)::value;
          auto low = hn::Zero(d8i), high = hn::Zero(d8i);
          LookUpTriples(d8, w + kPart * kLanes, tables, low, high);
          const auto widen = [&](auto& s, auto both)
                                 LUTRA_TILE { s = Pinned(hn::Add(s, hn::SatWidenMulPairwiseAdd(d16, weights, both))); };
          widen(Pick<2 * kPart>(sum...), hn::InterleaveLower(d8i, low, high));
          widen(Pick<2 * kPart + 1>(sum...), hn::InterleaveUpper(d8i, low, high));
        });
        __builtin_prefetch(w + ahead, 0, 2);
        __builtin_prefetch(w + ahead + 64, 0, 2);
        __builtin_prefetch(w + ahead + 128, 0, 2);
        w += 160;
        tables += LUTRA_TRIPLE_SIGNED ? 512 : 256;
      }
      // Interleaved in blocks of 16 bytes: the lower half of sum 2 p is rows 16 p..., or, of two blocks, rows 0 ... 7.
      const auto flush = [&](auto number, auto& s) LUTRA_TILE {
        constexpr size_t kRow = decltype(number)::value / 2 * kLanes + decltype(number)::value % 2 * 8;
        const auto add = [&](auto v, size_t row)
                             LUTRA_TILE { hn::Store(hn::Add(hn::Load(d32, sums + row), v), d32, sums + row); };
        add(hn::PromoteLowerTo(d32, s), kRow);
        add(hn::PromoteUpperTo(d32, s), kRow + (kLanes == 32 ? 16 : 4));
      };
      Numbered(flush, sum...);
    });
  }
}

// The lookup tables of triple_table, see lookup-inl.h.
struct TripleLookups {
  static constexpr size_t kBlockK = kTripleBlockK, kBytes = LUTRA_TRIPLE_SIGNED ? 2048 : 1024;
  static constexpr size_t kBlocks = (24 << 10) / kBytes;  // 28 KiB: 0.9 times as fast
  static constexpr size_t kRound = 1;

  struct Step {};
  static HWY_INLINE Step StepOf(const GemmCall&, size_t) { return {}; }
  static HWY_INLINE void Build(const int8_t* x, size_t k, Step, uint8_t* to) { BuildTripleTables(x, k, to); }
  static HWY_INLINE size_t Ahead(const PackedMatrix&) { return 16384; }
  static HWY_INLINE void Sum(const PackedMatrix&, const uint8_t* codes, size_t ahead, const uint8_t* tables,
                             size_t blocks, int32_t* sums) {
    AddTriples(codes, ahead, tables, blocks, sums);
  }
  static HWY_INLINE void ToCodes(const GemmCall& c, Step, int32_t x_sum, int32_t* sums) {
    const hn::CappedTag<int32_t, 16> d32;
    const auto zero = hn::Set(d32, -ZeroCorrection(c, x_sum));  // sums are of values; AddSpan takes it off again
    for (size_t i = 0; i < kPanelRows; i += hn::Lanes(d32)) {
      hn::Store(hn::Add(hn::Load(d32, sums + i), zero), d32, sums + i);
    }
  }
};

// Entry: one task.
inline int64_t TripleTable(const internal::GemmTask& t, size_t task, std::byte* scratch) {
  return LookUpTask<TripleLookups>(t, task, scratch);
}
#endif  // LUTRA_INT_LANES_ALONE

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
