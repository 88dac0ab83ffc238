// Sums of ones: activations of p bits times weights of q bits as p * q products of bit planes, each an AND (of one
// signed bit: an XOR) and a population count. The sums are those of int_dot, bit for bit.
//
//   codes c of w: the sum of 2^j C_j, codes q of x: the sum of a_i A_i, a_i = 2^i, the top one of signed codes -2^i.
//     sum c q = sum of a_i 2^j ones(C_j & A_i)
//   One signed bit, q = 2 A - 1, over n codes:
//     sum c q = sum of 2^j (ones(A) - ones(C_j ^ A)),   ones(A) = (n + sum q) / 2
//
// Needs   planes in the activations; weights of planes of 1 bit, or of 2, which are split once for each panel and task.
// Bound   population counts: with an instruction for them 3 vector operations for a vector of bits; by byte shuffles
//         6.5, with carry-save adders in front, counts in bytes. A panel of one bit in L2 is read at L2's speed.
//
// A word is 32 k of a row. A vector of words of w is as many output rows (weights/packed.h), the word of x is broadcast
// to all of them, and nothing is summed across lanes.
#if defined(LUTRA_GEMM_POPCOUNT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_GEMM_POPCOUNT_INL_H_
#undef LUTRA_GEMM_POPCOUNT_INL_H_
#else
#define LUTRA_GEMM_POPCOUNT_INL_H_
#endif

#include "lutra/gemm/int_lanes-inl.h"

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

#if LUTRA_INT_LANES_ALONE
inline int64_t Popcount(const internal::GemmTask& t, size_t task, std::byte* scratch) {
  return IntLanes(t, task, scratch);
}
inline internal::PopcountKernel PopcountOf() { return {&Popcount, 0}; }
#else

// Whether an instruction counts the ones of 32-bit lanes. Else bytes are counted, which takes so many operations on x86
// that carry-save adders in front pay: they leave a quarter of it.
inline constexpr bool kCountsLanes = (HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3_DL) || HWY_HAVE_SCALABLE;
inline constexpr size_t kWordsAtOnce = HWY_ARCH_X86 ? 4 : 1;

// Ones of each byte.
template <class D8, class V>
HWY_INLINE V OnesOfBytes([[maybe_unused]] D8 d8, V v) {
#if HWY_ARCH_X86
  const auto table = hn::Dup128VecFromValues(d8, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const auto nibble = hn::Set(d8, uint8_t{0x0F});
  const auto high = hn::BitCast(d8, hn::ShiftRight<4>(hn::BitCast(hn::Repartition<uint16_t, D8>(), v)));
  return hn::Add(hn::TableLookupBytes(table, hn::And(v, nibble)), hn::TableLookupBytes(table, hn::And(high, nibble)));
#else
  return hn::PopulationCount(v);
#endif
}

// ones + a + b: the sum stays in `ones`, the carry weighs twice.
template <class V>
HWY_INLINE V AddBits(V a, V b, V& ones) {
  const V u = hn::Xor(a, b), carry = hn::Xor(a, hn::And(u, hn::Xor(a, ones)));
  ones = hn::Xor(u, ones);
  return carry;
}

// Adds (or subtracts) 2^shift times the ones of w op x over `words` words to sums[32]; op is XOR or AND. w: the first
// word of 32 rows, the next ones `stride` bytes on.
template <bool kXor>
HWY_NOINLINE void AddOnes(const uint8_t* HWY_RESTRICT w, size_t stride, const uint32_t* HWY_RESTRICT x, size_t words,
                          int shift, bool subtract, int32_t* HWY_RESTRICT sums) {
  const hn::CappedTag<uint32_t, 16> d;
  const size_t lanes = hn::Lanes(d);
  for (size_t row = 0; row < kPanelRows; row += 2 * lanes) {
    const auto meet = [&](size_t s, size_t v) LUTRA_TILE {
      const auto bits = hn::LoadU(d, reinterpret_cast<const uint32_t*>(w + s * stride) + row + v * lanes);
      if constexpr (kXor) {
        return hn::Xor(bits, hn::Set(d, x[s]));
      } else {
        return hn::And(bits, hn::Set(d, x[s]));
      }
    };
    const auto add = [&](size_t v, auto count) LUTRA_TILE {
      const hn::RebindToSigned<decltype(d)> di;
      int32_t* HWY_RESTRICT to = sums + row + v * lanes;
      const auto weighed = hn::BitCast(di, hn::ShiftLeftSame(count, shift)), before = hn::Load(di, to);
      hn::Store(subtract ? hn::Sub(before, weighed) : hn::Add(before, weighed), di, to);
    };
    if constexpr (kCountsLanes) {
      auto count0 = hn::Zero(d), count1 = hn::Zero(d);
      for (size_t s = 0; s < words; ++s) {
        count0 = hn::Add(count0, hn::PopulationCount(meet(s, 0)));
        count1 = hn::Add(count1, hn::PopulationCount(meet(s, 1)));
      }
      add(0, count0);
      add(1, count1);
    } else {
      const hn::Repartition<uint8_t, decltype(d)> d8;
      const auto ones_of = [&](auto bits) LUTRA_TILE { return OnesOfBytes(d8, hn::BitCast(d8, bits)); };
      const auto widen = [&](auto bytes, int8_t weight) LUTRA_TILE {  // 255 * 4 * 2 fits into 16 bits
        const hn::Repartition<int16_t, decltype(d)> d16;
        const hn::Repartition<int8_t, decltype(d)> d8i;
        return hn::BitCast(d, hn::SumsOf2(hn::SatWidenMulPairwiseAdd(d16, bytes, hn::Set(d8i, weight))));
      };
      auto ones0 = hn::Zero(d), ones1 = hn::Zero(d), twos0 = hn::Zero(d), twos1 = hn::Zero(d);
      auto count0 = hn::Zero(d), count1 = hn::Zero(d);
      size_t s = 0;
      while (s + kWordsAtOnce <= words) {
        auto bytes0 = hn::Zero(d8), bytes1 = hn::Zero(d8);
        constexpr size_t kWiden = 255 / 8 * kWordsAtOnce;  // words until a byte is full: each count adds at most 8
        const size_t end = HWY_MIN(words / kWordsAtOnce * kWordsAtOnce, s + kWiden);
        for (; s < end; s += kWordsAtOnce) {
          const auto step = [&](size_t v, auto& ones, auto& twos, auto& bytes) LUTRA_TILE {
            if constexpr (kWordsAtOnce == 4) {
              const auto a = AddBits(meet(s, v), meet(s + 1, v), ones);
              const auto b = AddBits(meet(s + 2, v), meet(s + 3, v), ones);
              bytes = hn::Add(bytes, ones_of(AddBits(a, b, twos)));
            } else {
              bytes = hn::Add(bytes, ones_of(meet(s, v)));
            }
          };
          step(0, ones0, twos0, bytes0);
          step(1, ones1, twos1, bytes1);
        }
        count0 = hn::Add(count0, widen(bytes0, kWordsAtOnce));
        count1 = hn::Add(count1, widen(bytes1, kWordsAtOnce));
      }
      const auto finish = [&](size_t v, auto ones, auto twos, auto count) LUTRA_TILE {
        auto bytes = ones_of(twos);  // at most 8 + 8 + 8 + 3 * 8
        bytes = hn::Add(hn::Add(bytes, bytes), ones_of(ones));
        for (size_t rest = s; rest < words; ++rest) bytes = hn::Add(bytes, ones_of(meet(rest, v)));
        add(v, hn::Add(count, widen(bytes, 1)));
      };
      finish(0, ones0, twos0, count0);
      finish(1, ones1, twos1, count1);
    }
  }
}

// Splits a block into one-bit planes of 128 bytes; of a plane of 2 bits the units hold k 0 ... 15 and 16 ... 31. mask:
// a word of the k that are kept.
HWY_NOINLINE inline void SplitBlock(const uint8_t* HWY_RESTRICT block, const FormatInfo& format, uint32_t mask,
                                    uint8_t* HWY_RESTRICT planes) {
  const hn::CappedTag<uint32_t, 16> d;
  const size_t lanes = hn::Lanes(d);
  const auto kept = hn::Set(d, mask);
  for (const uint8_t width : format.planes) {
    for (size_t at = 0; width != 0 && at < 128; at += lanes * 4) {
      auto v0 = hn::LoadU(d, reinterpret_cast<const uint32_t*>(block + at));
      if (width == 2) {
        // Two units; bits j1 j0 t of a byte: field j, bit t of its code. Wanted: unit t, bits u j1 j0.
        auto v1 = hn::LoadU(d, reinterpret_cast<const uint32_t*>(block + 128 + at));
        const auto even = hn::Set(d, 0x55555555u);
        const auto t = hn::And(hn::Xor(hn::ShiftRight<1>(v0), v1), even);
        v0 = hn::Xor(v0, hn::ShiftLeft<1>(t));
        v1 = hn::Xor(v1, t);
        const auto ordered = [&](auto v) LUTRA_TILE {  // bits j1 j0 u to u j1 j0
          const auto a = hn::And(hn::Xor(hn::ShiftRight<3>(v), v), hn::Set(d, 0x0A0A0A0Au));
          v = hn::Xor(v, hn::Xor(a, hn::ShiftLeft<3>(a)));
          const auto b = hn::And(hn::Xor(hn::ShiftRight<1>(v), v), hn::Set(d, 0x22222222u));
          return hn::Xor(v, hn::Xor(b, hn::ShiftLeft<1>(b)));
        };
        v0 = ordered(v0);
        hn::StoreU(hn::And(ordered(v1), kept), d, reinterpret_cast<uint32_t*>(planes + 128 + at));
      }
      hn::StoreU(hn::And(v0, kept), d, reinterpret_cast<uint32_t*>(planes + at));
    }
    block += size_t{128} * width;
    planes += size_t{128} * width;
  }
}

// The planes of blocks [begin, end) of x's row and of w, whose first block is at `planes`: all p * q products.
HWY_INLINE void AddProducts(const Activations& x, size_t x_row, size_t begin, size_t end, const uint8_t* planes,
                            size_t weight_bits, int32_t* sums) {
  const bool bipolar = internal::IsBipolar(x.spec);
  for (int i = 0; i < x.spec.bits; ++i) {
    const uint32_t* words = x.Plane(x_row, static_cast<size_t>(i)) + begin;
    const bool subtract = bipolar || (x.spec.is_signed && i + 1 == x.spec.bits);
    for (size_t j = 0; j < weight_bits; ++j) {
      const int shift = i + static_cast<int>(j);
      if (bipolar) {
        AddOnes<true>(planes + j * 128, weight_bits * 128, words, end - begin, shift, subtract, sums);
      } else {
        AddOnes<false>(planes + j * 128, weight_bits * 128, words, end - begin, shift, subtract, sums);
      }
    }
  }
}

// Entry: one task. A panel, or as much of one as is split at a time, stays in L1 while all rows of the task pass it.
inline int64_t Popcount(const internal::GemmTask& t, size_t task, std::byte* scratch) {
  constexpr size_t kRows = internal::kPopcountRows;
  const GemmCall& c = t.call;
  const internal::GemmTile tile = internal::TileOf(t, task);
  const hn::CappedTag<float, 16> df;
  const hn::RebindToSigned<decltype(df)> d32;
  const size_t lanes = hn::Lanes(df), segment_k = c.w.segment_k();
  const bool bipolar = internal::IsBipolar(c.xq->spec);
  const size_t rows = tile.row_end - tile.row_begin, bits = c.w.format().bits, bytes = c.w.block_bytes();
  const int32_t all_planes = (1 << bits) - 1;
  const bool split = internal::WidestPlane(c.w.format()) > 1;
  float* acc = reinterpret_cast<float*>(scratch);
  float* run = acc + kRows * kPanelRows;
  int32_t* sums = reinterpret_cast<int32_t*>(run + kRows * kPanelRows);
  uint8_t* planes = reinterpret_cast<uint8_t*>(sums + kRows * kPanelRows);
  HWY_ALIGN float buffer[2 * kPanelRows];
  size_t x_row[kRows];
  int32_t x_sum[kRows];
  for (size_t p = tile.panel_begin; p < tile.panel_end; ++p) {
    std::memset(acc, 0, rows * kPanelRows * sizeof(float));
    std::memset(run, 0, rows * kPanelRows * sizeof(float));
    for (size_t segment = 0; segment < c.w.segments(); ++segment) {
      const uint8_t* codes = c.w.Codes(p) + segment * c.w.blocks_per_segment() * bytes;
      for (size_t k = 0; k < segment_k;) {
        const internal::Span s = internal::SpanAt(c.w, c.xq->spec, segment, k);
        k = s.k1;
        const size_t first = s.k0 / kBlockK, end = (s.k1 + kBlockK - 1) / kBlockK;
        const bool is_all = s.k0 == 0 && s.k1 == segment_k && c.w.segments() == 1;  // the same for each panel
        for (size_t r = 0; r < rows; ++r) {
          if (!is_all || p == tile.panel_begin) {
            x_row[r] = XRow(c, tile.row_begin + r, segment);
            x_sum[r] = SumOf(c.xq->sums + x_row[r] * c.xq->blocks + first, end - first);
          }
          int32_t begin = ZeroCorrection(c, x_sum[r]);
          if (bipolar && x_row[r] != c.xq->m) begin += (static_cast<int32_t>(s.k1 - s.k0) + x_sum[r]) / 2 * all_planes;
          for (size_t row = 0; row < kPanelRows; row += lanes) {
            hn::Store(hn::Set(d32, begin), d32, sums + r * kPanelRows + row);
          }
        }
        // Codes that are zero bits need no mask; behind the end of K, -1 and +1 do.
        const size_t whole = bipolar ? s.k1 / kBlockK : end;
        for (size_t begin = first; begin < end;) {
          const bool copied = split || begin >= whole;
          const size_t most = split ? internal::kSplitBytes / bytes : end;
          const size_t next = begin >= whole ? end : HWY_MIN(whole, begin + most);
          const uint8_t* from = copied ? planes : codes + begin * bytes;
          for (size_t b = begin; copied && b < next; ++b) {
            uint32_t mask = ~0u;
            for (size_t i = s.k1; b >= whole && i < (b + 1) * kBlockK; ++i) mask &= ~(1u << (i % 4 * 8 + i % 32 / 4));
            SplitBlock(codes + b * bytes, c.w.format(), mask, planes + (b - begin) * bytes);
          }
          for (size_t r = 0; r < rows; ++r) {
            if (bipolar && x_row[r] == c.xq->m) continue;  // its codes are 0, which its planes cannot say
            AddProducts(*c.xq, x_row[r], begin, next, from, bits, sums + r * kPanelRows);
          }
          begin = next;
        }
        const SpanScale scale = ScaleOfGroup(c, p, s.weight_group, buffer);
        const bool ends = internal::EndsRun(c, s);
        for (size_t r = 0; r < rows; ++r) {
          const size_t at = r * kPanelRows;
          ScaleRow(scale, x_sum[r], sums + at, run + at);
          if (!ends) continue;
          EndRun(scale.raw, c.xq->Scale(x_row[r], s.x_group), run + at, acc + at);
          for (size_t row = 0; row < kPanelRows; row += lanes) hn::Store(hn::Zero(df), df, run + at + row);
        }
      }
    }
    for (size_t r = 0; r < rows; ++r) {
      WriteRow(c, tile.row_begin + r, p * kPanelRows, HWY_MIN(kPanelRows, c.w.n() - p * kPanelRows),
               acc + r * kPanelRows);
    }
  }
  return HWY_TARGET;
}

// The kernel, and up to how many products of planes it is faster than int_dot.
inline internal::PopcountKernel PopcountOf() { return {&Popcount, kCountsLanes ? size_t{4} : size_t{2}}; }
#endif  // LUTRA_INT_LANES_ALONE

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
