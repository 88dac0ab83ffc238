// Codes of one plane as floats, in registers: what the float kernels decode with.
// A 32-bit lane is one row (weights/packed.h): a quad, four neighbouring k, sits in its four bytes at the same field.
#if defined(LUTRA_GEMM_FLOAT_CODES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_GEMM_FLOAT_CODES_INL_H_
#undef LUTRA_GEMM_FLOAT_CODES_INL_H_
#else
#define LUTRA_GEMM_FLOAT_CODES_INL_H_
#endif

#include "lutra/gemm/kernels.h"
#include "lutra/simd/tile-inl.h"

#ifndef LUTRA_GEMM_FLOAT_CODES_ONCE_
#define LUTRA_GEMM_FLOAT_CODES_ONCE_
namespace lutra { inline namespace LUTRA_NS { namespace internal {

// What decoding needs of a format: the values of the codes, again and again up to 16; and for codes at bit p = 0 or 8
// of a word, whose exponent is made so that bit p counts 1: the field, that exponent, and what the zero point adds.
struct CodeValues {
  alignas(64) float of[16];
  uint32_t mask[2], exponent[2];
  float minus[2];
  unsigned bits;
};
LUTRA_MEMBER void FillCodeValues(const PackedMatrix& w, CodeValues* values) {
  const FormatInfo& f = w.format();
  values->bits = f.bits;
  const float zero = static_cast<float>(f.zero_x2) * 0.5f;
  const unsigned most = static_cast<unsigned>(f.MaxPattern()), most16 = most & 15;
  for (unsigned i = 0; i < 16; ++i) {
    values->of[i] = w.table() != nullptr ? w.table()[i & most16] : static_cast<float>(i & most16) - zero;
  }
  for (unsigned i = 0; i < 2; ++i) {
    values->mask[i] = most << (8 * i);
    values->exponent[i] = (150 - 8 * i) << 23;  // 2^23, 2^15
    values->minus[i] = (i == 0 ? 0x1p23f : 0x1p15f) + zero;
  }
}

// Where quad q (k = 4 q ... 4 q + 3) of codes of `bits` bits is: byte offset of its 32 rows, and field shift.
struct QuadAt {
  size_t offset;
  int shift;
};
LUTRA_MEMBER QuadAt QuadOf(size_t q, unsigned bits) { return {q * bits / 8 * 128, static_cast<int>(q * bits % 8)}; }

}}}  // namespace lutra::LUTRA_NS::internal
#endif

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

// Two ways from a code to its float, given words whose bytes hold the codes of a quad at bit 0, and other bits above:
// Value<kByte> is the float of k = 4 q + kByte.

// Affine formats whose zero point is an integer. The field or-ed into the mantissa of a power of two, minus that power
// and the zero point: exact, and no shift for every second byte.
struct MantissaCodes {
  template <int kByte, class D, class V>
  static HWY_INLINE hn::Vec<D> Value(D d, const internal::CodeValues& values, V words) {
    const hn::RebindToUnsigned<D> du;
    constexpr int kAt = kByte % 2;
    const auto half = hn::ShiftRight<kByte / 2 * 16>(words);
    const auto field = hn::OrAnd(hn::Set(du, values.exponent[kAt]), half, hn::Set(du, values.mask[kAt]));
    return hn::Sub(hn::BitCast(d, field), hn::Set(d, values.minus[kAt]));
  }
};

HWY_INLINE bool HasMantissaCodes(const FormatInfo& f) {
  return f.map == Map::kAffine && f.planes[1] == 0 && f.zero_x2 % 2 == 0;
}

#undef LUTRA_LOOKUP_BITS
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3 && HWY_MAX_BYTES == 64
#define LUTRA_LOOKUP_BITS 4  // vpermps: 16 entries, index bits above are ignored
#elif HWY_TARGET == HWY_AVX2
#define LUTRA_LOOKUP_BITS 2  // vpermilps: 4 entries
#else
#define LUTRA_LOOKUP_BITS 0
#endif

#if LUTRA_LOOKUP_BITS != 0
// A table in a register, indexed by the words as they stand: any map.
struct LookupCodes {
  template <int kByte, class D, class V>
  static HWY_INLINE hn::Vec<D> Value(D d, const internal::CodeValues& values, V words) {
    const auto table = hn::Load(d, values.of);
#if LUTRA_LOOKUP_BITS == 4
    return hn::Vec<D>{_mm512_permutexvar_ps(hn::ShiftRight<8 * kByte>(words).raw, table.raw)};
#else
    return hn::Vec<D>{_mm256_permutevar_ps(table.raw, hn::ShiftRight<8 * kByte>(words).raw)};
#endif
  }
};
#endif

template <class Codes>
HWY_INLINE void DecodePlane(const uint8_t* HWY_RESTRICT from, const internal::CodeValues& values, size_t blocks,
                            float* HWY_RESTRICT w) {
  const hn::CappedTag<float, 16> df;
  const hn::RebindToUnsigned<decltype(df)> du;
  for (size_t q = 0; q < blocks * (kBlockK / 4); ++q) {
    const internal::QuadAt quad = internal::QuadOf(q, values.bits);
    for (size_t row = 0; row < kPanelRows; row += hn::Lanes(df)) {
      const auto raw = hn::LoadU(du, reinterpret_cast<const uint32_t*>(from + quad.offset + row * 4));
      const auto words = hn::ShiftRightSame(raw, quad.shift);
      float* to = w + 4 * q * kPanelRows + row;
      hn::Store(Codes::template Value<0>(df, values, words), df, to);
      hn::Store(Codes::template Value<1>(df, values, words), df, to + kPanelRows);
      hn::Store(Codes::template Value<2>(df, values, words), df, to + 2 * kPanelRows);
      hn::Store(Codes::template Value<3>(df, values, words), df, to + 3 * kPanelRows);
    }
  }
}

// Values of k in [k0, k1) of a segment, k0 a multiple of 32, in whole blocks: [k][32 outputs].
template <class Mode = void>
HWY_NOINLINE void DecodeValues(const internal::GemmTask& t, const internal::CodeValues& values, size_t p,
                               size_t segment, size_t k0, size_t k1, uint8_t* HWY_RESTRICT codes,
                               float* HWY_RESTRICT w) {
  const PackedMatrix& m = t.call.w;
  const FormatInfo& f = m.format();
  const hn::CappedTag<float, 16> df;
  const size_t part = k0 % m.block_k() / kBlockK, parts = m.block_k() / kBlockK;  // of 32 k, of a block
  const uint8_t* at = m.Codes(p) + (segment * m.blocks_per_segment() + k0 / m.block_k()) * m.block_bytes();
  const size_t blocks = (k1 - k0 + kBlockK - 1) / kBlockK;
  const bool lanes = m.unit() == Unit::kLane32;
#if LUTRA_LOOKUP_BITS != 0
  if (lanes && f.bits <= LUTRA_LOOKUP_BITS && f.planes[1] == 0) return DecodePlane<LookupCodes>(at, values, blocks, w);
#endif
#if LUTRA_LOOKUP_BITS != 4
  if (lanes && HasMantissaCodes(f)) return DecodePlane<MantissaCodes>(at, values, blocks, w);
#endif
  const hn::RebindToSigned<decltype(df)> d32;
  const hn::Rebind<uint8_t, decltype(df)> d8;
  const auto zero = hn::Set(df, static_cast<float>(f.zero_x2) * 0.5f);
  for (size_t b = 0; b < blocks; ++b, w += kBlockK * kPanelRows) {
    const size_t here = (part + b) % parts;
    if (b == 0 || here == 0) t.unpack(at + (part + b) / parts * m.block_bytes(), f, codes);
    const uint8_t* from = codes + here * kBlockK * kPanelRows;
    const auto store = [&](const auto& value_of) LUTRA_TILE {
      for (size_t i = 0; i < kBlockK * kPanelRows; i += hn::Lanes(df)) {
        hn::Store(value_of(hn::PromoteTo(d32, hn::LoadU(d8, from + i))), df, w + i);
      }
    };
    if (f.map == Map::kAffine) {
      store([&](auto code) LUTRA_TILE { return hn::Sub(hn::ConvertTo(df, code), zero); });
#if LUTRA_LOOKUP_BITS != 0
    } else if (size_t{1} << f.bits == 2 * hn::Lanes(df)) {
      const auto low = hn::LoadU(df, m.table()), high = hn::LoadU(df, m.table() + hn::Lanes(df));
      store([&](auto code)
                LUTRA_TILE { return hn::TwoTablesLookupLanes(df, low, high, hn::IndicesFromVec(df, code)); });
#endif
    } else {
      for (size_t i = 0; i < kBlockK * kPanelRows; ++i) w[i] = m.table()[from[i]];
    }
  }
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
