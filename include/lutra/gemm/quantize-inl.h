// Rows of activations to int8: one pass for the largest or mean magnitude, one for the codes and their sums per 32 k,
// one for the bit planes where they are asked for.
// Bound   the first pass reads from DRAM or L2, the second from L1 or L2; equal to the scalar definition bit for bit.
#if defined(LUTRA_GEMM_QUANTIZE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_GEMM_QUANTIZE_INL_H_
#undef LUTRA_GEMM_QUANTIZE_INL_H_
#else
#define LUTRA_GEMM_QUANTIZE_INL_H_
#endif

#include <cmath>

#include "lutra/gemm/kernels.h"
#include "lutra/simd/convert-inl.h"

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

// Lanes of x from element `at`, `n` of them left. kWhole: f32, and no fewer than a vector.
template <bool kWhole, class D>
HWY_INLINE hn::Vec<D> LoadX(D d, const void* data, DType type, size_t at, size_t n) {
  if constexpr (kWhole) {
    return hn::LoadU(d, static_cast<const float*>(data) + at);
  } else {
    return LoadAsF32(d, data, type, static_cast<ptrdiff_t>(at), n);
  }
}
// Calls body(whole, i, count) for each 32 of n elements; whole: LoadX's kWhole.
template <class Body>
HWY_INLINE void ForBlocks(DType type, size_t n, const Body& body) {
  size_t i = 0;
  if (HWY_LIKELY(type == DType::kF32)) {
    for (; i + 32 <= n; i += 32) body(std::true_type(), i, size_t{32});
  }
  for (; i < n; i += 32) body(std::false_type(), i, HWY_MIN(size_t{32}, n - i));
}

// Vectors that a block of 32 fills: their number is a constant, so on targets without a size of vectors they are small.
inline constexpr size_t kBlockLanes = HWY_HAVE_SCALABLE ? 4 : HWY_MIN(size_t{16}, HWY_LANES(float));

// fold(v, |x|) for n elements, in as many vectors v... as a block of 32 fills.
template <class Fold, class... V>
HWY_INLINE void FoldMagnitudes(const void* data, DType type, size_t n, const Fold& fold, V&... all) {
  const hn::CappedTag<float, kBlockLanes> d;
  ForBlocks(type, n, [&](auto whole, size_t i, size_t count) LUTRA_TILE {
    Numbered(
        [&](auto number, auto& v) LUTRA_TILE {
          const size_t skip = decltype(number)::value * kBlockLanes;
          if (skip >= count) return;
          fold(v, hn::Abs(LoadX<decltype(whole)::value>(d, data, type, i + skip, count - skip)));
        },
        all...);
  });
}

// The largest |x| of n elements as the bits of a float without sign, in which NaN is above infinity.
HWY_INLINE float AbsMax(const void* data, DType type, size_t n) {
  const hn::CappedTag<int32_t, kBlockLanes> di;
  float most = 0.0f;
  WithAccumulators<32 / kBlockLanes>(di, [&](auto&... all) LUTRA_TILE {
    const auto fold = [&](auto& m, auto x) LUTRA_TILE { m = hn::Max(m, hn::BitCast(di, x)); };
    FoldMagnitudes(data, type, n, fold, all...);
    auto most_of_all = hn::Zero(di);
    ((most_of_all = hn::Max(most_of_all, all)), ...);
    most = std::bit_cast<float>(hn::ReduceMax(di, most_of_all));
  });
  return most;
}

// sum |x| of n elements in the order of reference::AbsSum: 32 sums in as many vectors as they fill.
HWY_INLINE float AbsSum(const void* data, DType type, size_t n) {
  const hn::CappedTag<float, kBlockLanes> d;
  HWY_ALIGN float sums[32];
  WithAccumulators<32 / kBlockLanes>(d, [&](auto&... sum) LUTRA_TILE {
    const auto fold = [&](auto& s, auto x) LUTRA_TILE { s = hn::Add(s, x); };
    FoldMagnitudes(data, type, n, fold, sum...);
    Numbered([&](auto v, auto& s) LUTRA_TILE { hn::Store(s, d, sums + decltype(v)::value * kBlockLanes); }, sum...);
  });
  for (size_t half = 16; half != 0; half /= 2) {
    for (size_t i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  return sums[0];
}

// max |x| or mean |x|, as reference::MostOf.
HWY_INLINE float MostOf(const void* data, DType type, size_t n, ActFit fit) {
  if (fit == ActFit::kAbsMax) return AbsMax(data, type, n);
  return n == 0 ? 0.0f : AbsSum(data, type, n) / static_cast<float>(n);
}

// What codes are made with.
struct Coder {
  float factor, low, high;
};

// 1.5 * 2^23: a small number that is added to it is rounded to an integer, which ends up in the lowest bits.
inline constexpr int32_t kMagic = 0x4B400000, kMagicOf32 = 0x68000000;  // 32 of them, in 32 bits

#if HWY_TARGET != HWY_SCALAR
// The sums of the lanes that have the same place in their 128 bits.
template <class D, class V>
HWY_INLINE auto SumOf128([[maybe_unused]] D d, V v) {
  if constexpr (HWY_MAX_LANES_D(D) <= 4) {
    return v;
  } else {
    const hn::Half<D> half;
    return SumOf128(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
}
#endif

// Codes of n elements, in blocks of 32 up to the last one's end, and the sums of the blocks. Codes behind n become
// zero.
template <bool kBipolar>
HWY_INLINE void QuantizeBlocks(const void* data, DType type, size_t n, const Coder& coder, int8_t* HWY_RESTRICT codes,
                               int32_t* HWY_RESTRICT sums) {
  const hn::CappedTag<float, kBlockLanes> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::RebindToUnsigned<decltype(d)> du;
  const hn::Rebind<uint8_t, decltype(d)> d8;
  const auto magic = hn::BitCast(d, hn::Set(di, kMagic));
  const auto low = hn::Set(d, coder.low), high = hn::Set(d, coder.high), factor = hn::Set(d, coder.factor);
  const auto block = [&](auto whole, size_t i, size_t count) LUTRA_TILE {  // returns the sums of its lanes
    auto sum = hn::Zero(di);
    Unrolled<32 / kBlockLanes>([&](auto number) LUTRA_TILE {
      const size_t skip = decltype(number)::value * kBlockLanes;
      auto q = hn::BitCast(di, magic);
      if (skip < count) {
        const auto v = LoadX<decltype(whole)::value>(d, data, type, i + skip, count - skip);
        if constexpr (kBipolar) {
          const auto plus = hn::Set(di, kMagic + 1), minus = hn::Set(di, kMagic - 1);
          q = hn::IfThenElse(hn::RebindMask(di, hn::Lt(v, hn::Zero(d))), minus, plus);
        } else {
          q = hn::BitCast(di, hn::Add(hn::Min(hn::Max(hn::Mul(v, factor), low), high), magic));
        }
      }
      sum = hn::Add(sum, q);
      hn::StoreU(hn::TruncateTo(d8, hn::BitCast(du, q)), d8, reinterpret_cast<uint8_t*>(codes + i + skip));
    });
    return sum;
  };
  size_t done = 0;
#if HWY_TARGET != HWY_SCALAR
  if (HWY_LIKELY(type == DType::kF32)) {
    const hn::CappedTag<int32_t, 4> d4;
    for (; done + 128 <= n; done += 128) {  // four blocks at once: their sums end up in four lanes
      const auto a = block(std::true_type(), done, size_t{32}), b = block(std::true_type(), done + 32, size_t{32});
      const auto c = block(std::true_type(), done + 64, size_t{32}), e = block(std::true_type(), done + 96, size_t{32});
      const hn::Repartition<int64_t, decltype(di)> d64;
      const auto pairs = [&](auto d_any, auto p, auto q) LUTRA_TILE {
        return hn::BitCast(di, hn::InterleaveLower(d_any, hn::BitCast(d_any, p), hn::BitCast(d_any, q)));
      };
      const auto others = [&](auto d_any, auto p, auto q) LUTRA_TILE {
        return hn::BitCast(di, hn::InterleaveUpper(d_any, hn::BitCast(d_any, p), hn::BitCast(d_any, q)));
      };
      const auto ab = hn::Add(pairs(di, a, b), others(di, a, b)), ce = hn::Add(pairs(di, c, e), others(di, c, e));
      const auto all = SumOf128(di, hn::Add(pairs(d64, ab, ce), others(d64, ab, ce)));
      hn::StoreU(hn::Sub(all, hn::Set(d4, kMagicOf32)), d4, sums + done / 32);
    }
  }
#endif
  ForBlocks(type, n - done, [&](auto whole, size_t at, size_t count) LUTRA_TILE {
    const size_t i = done + at;
    int32_t total = hn::ReduceSum(di, block(whole, i, count)) - kMagicOf32;
    if constexpr (kBipolar) {
      for (size_t k = count; k < 32; ++k) {  // zeros behind the end have signs too
        total -= codes[i + k];
        codes[i + k] = 0;
      }
    }
    sums[i / 32] = total;
  });
}

// Bit planes of a row of codes, as reference::PlaneWord: masks of bytes, in the order of k, then the bits of each word
// in the order of packed weights. blocks is even.
HWY_INLINE void StorePlanes(const int8_t* codes, const ActSpec& spec, size_t blocks, uint32_t* planes) {
  for (int bit = 0; bit < spec.bits; ++bit, planes += blocks) {
#if HWY_TARGET == HWY_SCALAR
    for (size_t b = 0; b < blocks; ++b) {
      planes[b] = 0;
      for (uint32_t k = 0; k < 32; ++k) {
        const int8_t code = codes[b * 32 + k];
        const bool is_set = internal::IsBipolar(spec) ? code > 0 : (code >> bit & 1) != 0;
        planes[b] |= uint32_t{is_set} << (k % 4 * 8 + k / 4);
      }
    }
#else
    const hn::CappedTag<int8_t, 64> d8;
    uint8_t* bytes = reinterpret_cast<uint8_t*>(planes);
    const auto one = hn::Set(d8, static_cast<int8_t>(1 << bit));
    for (size_t k = 0; k < blocks * 32; k += hn::Lanes(d8)) {
      const auto v = hn::LoadU(d8, codes + k);
      hn::StoreMaskBits(d8, internal::IsBipolar(spec) ? hn::Gt(v, hn::Zero(d8)) : hn::TestBit(v, one), bytes + k / 8);
    }
    const hn::CappedTag<uint32_t, 16> d32;
    for (size_t b = 0; b < blocks; b += hn::Lanes(d32)) {
      // Bit 4 b + kk goes to 8 kk + b: the five bits of its number rotate by two, in four exchanges of two of them.
      auto v = LoadSome(d32, planes + b, blocks - b);
      const auto exchange = [&](auto shift, uint32_t mask) LUTRA_TILE {
        constexpr int kShift = static_cast<int>(decltype(shift)::value);
        const auto t = hn::And(hn::Xor(hn::ShiftRight<kShift>(v), v), hn::Set(d32, mask));
        v = hn::Xor(v, hn::Xor(t, hn::ShiftLeft<kShift>(t)));
      };
      exchange(Index<14>{}, 0x0000CCCC);
      exchange(Index<7>{}, 0x00AA00AA);
      exchange(Index<2>{}, 0x0C0C0C0C);
      exchange(Index<1>{}, 0x22222222);
      StoreSome(d32, v, planes + b, blocks - b);
    }
#endif
  }
}

inline int64_t QuantizeRows(const internal::QuantizeArgs& a, size_t task) {
  const Activations& out = a.out.view;
  const size_t begin = task * a.rows_per_task, end = HWY_MIN(out.m, begin + a.rows_per_task);
  const internal::CodeRange range = internal::CodesOf(out.spec);
  const size_t group_k = out.spec.group_k == 0 ? out.stride : out.spec.group_k;
  const size_t padded = (out.k + 31) / 32 * 32;
  for (size_t row = begin; row < end; ++row) {
    const auto* x = static_cast<const std::byte*>(a.x.data) +
                    static_cast<ptrdiff_t>(row) * a.x.row_stride * static_cast<ptrdiff_t>(SizeOf(a.x.type));
    int8_t* codes = a.out.codes + row * out.stride;
    int32_t* sums = a.out.sums + row * out.blocks;
    for (size_t k0 = 0, group = 0; group < out.groups; k0 += group_k, ++group) {
      const size_t n = HWY_MIN(out.k - k0, group_k);
      float& scale = a.out.scales[row * out.groups + group];
      const void* from = x + k0 * SizeOf(a.x.type);
      if (a.x.type == DType::kI8) {
        scale = a.given[out.spec.per_tensor ? 0 : row];
        if (n != 0) std::memcpy(codes + k0, from, n);
        std::memset(codes + k0 + n, 0, (n + 31) / 32 * 32 - n);
        for (size_t k = k0; k < k0 + n; k += 32) {
          int32_t sum = 0;
          for (size_t i = 0; i < 32; ++i) sum += codes[k + i];
          sums[k / 32] = sum;
        }
        continue;
      }
      const float most = out.spec.per_tensor ? a.tensor : MostOf(from, a.x.type, n, out.spec.fit);
      const internal::ScaleAndFactor s = internal::ScaleOf(out.spec, most);
      scale = s.scale;
      const Coder coder{s.factor, static_cast<float>(range.low), static_cast<float>(range.high)};
      if (internal::IsBipolar(out.spec)) {
        QuantizeBlocks<true>(from, a.x.type, n, coder, codes + k0, sums + k0 / 32);
      } else if (s.factor != 0.0f) {
        QuantizeBlocks<false>(from, a.x.type, n, coder, codes + k0, sums + k0 / 32);
      } else {  // all is zero, or there is a NaN or an infinity, whose products are not numbers
        std::memset(codes + k0, 0, (n + 31) / 32 * 32);
        std::memset(sums + k0 / 32, 0, (n + 31) / 32 * sizeof(int32_t));
      }
    }
    std::memset(codes + padded, 0, out.stride - padded);
    for (size_t b = padded / 32; b < out.blocks; ++b) sums[b] = 0;
    if (out.spec.planes) {
      StorePlanes(codes, out.spec, out.blocks, a.out.planes + row * static_cast<size_t>(out.spec.bits) * out.blocks);
    }
  }
  if (task == 0) {  // the row of zeros
    const size_t words = out.blocks * static_cast<size_t>(out.spec.bits);
    std::memset(a.out.codes + out.m * out.stride, 0, out.stride);
    std::memset(a.out.sums + out.m * out.blocks, 0, out.blocks * sizeof(int32_t));
    std::memset(a.out.scales + out.m * out.groups, 0, out.groups * sizeof(float));
    if (out.spec.planes) std::memset(a.out.planes + out.m * words, 0, words * sizeof(uint32_t));
  }
  return HWY_TARGET;
}

// max |x| or mean |x| of a tensor; the sums of its rows are added in double.
inline float MostOfTensor(const ConstMatrixView& x, ActFit fit) {
  float most = 0.0f;
  double sum = 0;
  for (size_t row = 0; row < x.rows; ++row) {
    const void* at = static_cast<const std::byte*>(x.data) +
                     static_cast<ptrdiff_t>(row) * x.row_stride * static_cast<ptrdiff_t>(SizeOf(x.type));
    if (fit == ActFit::kAbsMean) {
      sum += static_cast<double>(AbsSum(at, x.type, x.cols));
      continue;
    }
    const float v = AbsMax(at, x.type, x.cols);
    if (!(v <= most)) most = v;
    if (std::isnan(most)) break;
  }
  if (fit == ActFit::kAbsMax || x.rows == 0 || x.cols == 0) return most;
  return static_cast<float>(sum / (static_cast<double>(x.rows) * static_cast<double>(x.cols)));
}

// Whether a row of n codes has one outside the range, or of one signed bit a zero.
inline bool HasCodeOutside(const int8_t* codes, size_t n, const internal::CodeRange& range, bool bipolar) {
  const hn::CappedTag<int8_t, 64> d;
  auto low = hn::Set(d, static_cast<int8_t>(range.low)), high = low, odd = hn::Set(d, int8_t{1});
  for (size_t i = 0; i < n; i += hn::Lanes(d)) {
    const auto v = n - i >= hn::Lanes(d) ? hn::LoadU(d, codes + i) : hn::LoadNOr(high, d, codes + i, n - i);
    low = hn::Min(low, v);
    high = hn::Max(high, v);
    odd = hn::And(odd, v);
  }
  return hn::ReduceMin(d, low) < range.low || hn::ReduceMax(d, high) > range.high ||
         (bipolar && hn::ReduceMin(d, odd) == 0);
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
