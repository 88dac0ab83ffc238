// The passes of sums tables (sums_table-inl.h): tables from lines of x, lines of x from its rows, when 16-bit sums
// overflow, and one pass over the rows of w, with dots beside it where the target has them.
//
// Lanes are rows of x: a line is 32 x 16 bits. A pass is 64 bits a row of w, two units, with 41 KB of tables.
//
//   64 bits of a row:  unit u, its 4 bytes     | byte 0 | byte 1 | byte 2 | byte 3 |, then unit u + 1
//   ternary            8 tables of 4 digits    a byte is an index; 81 of 256 slots are built
//   else               11 tables, 6 bits each  3 codes of 2 bits or 6 of 1; the last has 4 bits
#if defined(LUTRA_GEMM_SUMS_PASS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_GEMM_SUMS_PASS_INL_H_
#undef LUTRA_GEMM_SUMS_PASS_INL_H_
#else
#define LUTRA_GEMM_SUMS_PASS_INL_H_
#endif

#include <bit>

#include "hwy/cache_control.h"
#include "lutra/gemm/int_dot-inl.h"
#include "lutra/gemm/sums_table.h"

#if LUTRA_HAS_SUMS_TABLE
LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

using SumsTag = hn::CappedTag<int16_t, internal::kSumsRows>;
inline constexpr size_t kSumsVecs = internal::kSumsRows / hn::MaxLanes(SumsTag());  // vectors of a line

// --- Tables

// base + the value of digit kDigit. A digit is a code of 2 bits, value kDigit - 1, with a = x and c = 2 x; or two codes
// of 1 bit with a = x0, b = x1, c = x0 + x1.
template <int kBits, size_t kDigit, class V>
HWY_INLINE V AddDigit(V base, V a, [[maybe_unused]] V b, V c) {
  if constexpr (kDigit == 3) return hn::Add(base, c);
  if constexpr (kDigit == (kBits == 2 ? 1 : 0)) return base;
  if constexpr (kBits == 2) return kDigit == 0 ? hn::Sub(base, a) : hn::Add(base, a);
  return kDigit == 1 ? hn::Add(base, a) : hn::Add(base, b);
}

// All sums of 3 digits below `top` * 16, slot d0 + 4 d1 + 16 d2; x: the lines of their k.
template <int kBits>
HWY_NOINLINE void BuildSums6(const int16_t* HWY_RESTRICT x, size_t top, int16_t* HWY_RESTRICT table) {
  const SumsTag d;
  constexpr size_t kLine = internal::kSumsRows, kOdd = kBits == 2 ? 0 : kLine, kNext = kLine * 2 / kBits;
  for (size_t lane = 0; lane < kLine; lane += hn::Lanes(d)) {
    const int16_t* at = x + lane;
    const auto a0 = hn::Load(d, at), b0 = hn::Load(d, at + kOdd), c0 = hn::Add(a0, b0);
    const auto a1 = hn::Load(d, at + kNext), b1 = hn::Load(d, at + kNext + kOdd), c1 = hn::Add(a1, b1);
    const auto a2 = hn::Load(d, at + 2 * kNext), b2 = hn::Load(d, at + 2 * kNext + kOdd), c2 = hn::Add(a2, b2);
    Unrolled<4>([&](auto d2) LUTRA_TILE {
      constexpr size_t kD2 = decltype(d2)::value;
      if (kD2 >= top) return;
      const auto s2 = AddDigit<kBits, kD2>(hn::Zero(d), a2, b2, c2);
      Unrolled<4>([&](auto d1) LUTRA_TILE {
        constexpr size_t kD1 = decltype(d1)::value;
        const auto s1 = AddDigit<kBits, kD1>(s2, a1, b1, c1);
        Unrolled<4>([&](auto d0) LUTRA_TILE {
          constexpr size_t kD0 = decltype(d0)::value;
          hn::Store(AddDigit<kBits, kD0>(s1, a0, b0, c0), d, table + (16 * kD2 + 4 * kD1 + kD0) * kLine + lane);
        });
      });
    });
  }
}

// The 81 sums of 4 ternary digits, slot d0 + 4 d1 + 16 d2 + 64 d3. The other slots stay what they are.
HWY_NOINLINE inline void BuildSums8(const int16_t* HWY_RESTRICT x, int16_t* HWY_RESTRICT table) {
  const SumsTag d;
  constexpr size_t kLine = internal::kSumsRows;
  for (size_t lane = 0; lane < kLine; lane += hn::Lanes(d)) {
    const auto x0 = hn::Load(d, x + lane), x1 = hn::Load(d, x + kLine + lane);
    const auto x2 = hn::Load(d, x + 2 * kLine + lane), x3 = hn::Load(d, x + 3 * kLine + lane);
    auto s3 = hn::Neg(x3);
    for (size_t d3 = 0; d3 < 3; ++d3, s3 = hn::Add(s3, x3)) {
      auto s2 = hn::Sub(s3, x2);
      for (size_t d2 = 0; d2 < 3; ++d2, s2 = hn::Add(s2, x2)) {
        auto s1 = hn::Sub(s2, x1);
        int16_t* to = table + (64 * d3 + 16 * d2) * kLine + lane;
        for (size_t d1 = 0; d1 < 3; ++d1, s1 = hn::Add(s1, x1), to += 4 * kLine) {
          hn::Store(hn::Sub(s1, x0), d, to);
          hn::Store(s1, d, to + kLine);
          hn::Store(hn::Add(s1, x0), d, to + 2 * kLine);
        }
      }
    }
  }
}

// Four k of each row of x as one number, [8 fours of a block][row].
HWY_NOINLINE inline void GatherX(const int8_t* const* HWY_RESTRICT x, size_t k, int32_t* HWY_RESTRICT fours) {
  for (size_t row = 0; row < internal::kSumsRows; ++row) {
    const int8_t* from = x[row] + k;
    for (size_t q = 0; q < 8; ++q) std::memcpy(fours + q * internal::kSumsRows + row, from + 4 * q, 4);
  }
}

// A pass's lines of x, in the order of the weights' bits: k = 32 / kBits * unit + 4 field + byte of the packed layout.
// `blocks` of the pass's 2 / kBits are there, the others count as zeros.
template <int kBits>
HWY_NOINLINE void SpreadX(const int32_t* HWY_RESTRICT fours, size_t blocks, int16_t* HWY_RESTRICT lines) {
  constexpr size_t kRows = internal::kSumsRows, kFields = 8 / kBits;
  const hn::CappedTag<int32_t, 16> d32;
  const hn::Repartition<int16_t, decltype(d32)> d16;
  const size_t lanes = hn::Lanes(d32);
  for (size_t block = 0; block < 2 / kBits; ++block, lines += kBlockK * kRows, fours += 8 * kRows) {
    if (block >= blocks) {
      std::memset(lines, 0, kBlockK * kRows * sizeof(*lines));
      continue;
    }
    for (size_t q = 0; q < 8; ++q) {
      int16_t* to = lines + (q / kFields * 4 * kFields + q % kFields) * kRows;
      for (size_t row = 0; row < kRows; row += 2 * lanes) {
        const auto lo = hn::Load(d32, fours + q * kRows + row), hi = hn::Load(d32, fours + q * kRows + row + lanes);
        Unrolled<4>([&](auto byte) LUTRA_TILE {
          constexpr size_t kByte = decltype(byte)::value;
          constexpr int kUp = 24 - 8 * static_cast<int>(kByte);
          hn::Store(hn::OrderedDemote2To(d16, hn::ShiftRight<24>(hn::ShiftLeft<kUp>(lo)),
                                         hn::ShiftRight<24>(hn::ShiftLeft<kUp>(hi))),
                    d16, to + kByte * kFields * kRows + row);
        });
      }
    }
  }
}

// --- Overflow: 16 bits hold the sums of some passes, of small x of many more

// Adds the most that a pass can add to each row's sums; whether 16 bits may then be too few. worst: of a code's value.
HWY_NOINLINE inline bool Overflows(const int16_t* HWY_RESTRICT lines, size_t k, int worst,
                                   uint16_t* HWY_RESTRICT most) {
  const SumsTag d;
  const hn::RebindToUnsigned<SumsTag> du;
  bool overflows = false;
  for (size_t lane = 0; lane < internal::kSumsRows; lane += hn::Lanes(d)) {
    auto sum = hn::Zero(d);
    for (size_t i = 0; i < k; ++i) sum = hn::Add(sum, hn::Abs(hn::Load(d, lines + i * internal::kSumsRows + lane)));
    if (worst == 2) sum = hn::Add(sum, sum);
    const auto total = hn::Add(hn::Load(du, most + lane), hn::BitCast(du, sum));
    hn::Store(total, du, most + lane);
    overflows |= !hn::AllFalse(d, hn::Lt(hn::BitCast(d, total), hn::Zero(d)));
  }
  return overflows;
}

// high += sums / 256; what is left of the sums is 0 ... 255.
HWY_NOINLINE inline void MoveToHigh(size_t count, int16_t* HWY_RESTRICT sums, int16_t* HWY_RESTRICT high) {
  const SumsTag d;
  for (size_t i = 0; i < count; i += hn::Lanes(d)) {
    const auto s = hn::Load(d, sums + i);
    hn::Store(hn::Add(hn::Load(d, high + i), hn::ShiftRight<8>(s)), d, high + i);
    hn::Store(hn::And(s, hn::Set(d, int16_t{0xFF})), d, sums + i);
  }
}

// --- Pass: registers only

struct SumsPass {
  const uint8_t* w;     // the pass's first unit of the first panel
  size_t panel_stride;  // bytes
  size_t second;        // bytes to the second unit
  size_t panels;
  const uint8_t* tables;
  int16_t* sums;  // [row of w][kSumsRows]
  bool* odd;      // ternary: set for panels that hold the pattern 3
};

// The offset of field kI of a row's 64 bits, a line being 64 bytes. A rotation, because it needs no move before it
// (BMI2).
template <int kField, size_t kI>
HWY_INLINE size_t SlotOffset(uint64_t bits) {
  // The last field of 6 has 4 bits: what rotates in above them is not its own.
  constexpr int kBits = HWY_MIN(kField, 64 - kField * static_cast<int>(kI));
  constexpr uint64_t kMask = ((uint64_t{1} << kBits) - 1) << 6;
  return static_cast<size_t>(std::rotr(bits, kField * static_cast<int>(kI) - 6) & kMask);
}

// Whether the 2-bit codes of two units hold the pattern 3, for which ternary tables have no slots.
HWY_INLINE bool HoldsThree(const uint8_t* HWY_RESTRICT units) {
  const hn::CappedTag<uint16_t, 32> d;
  auto found = hn::Zero(d);
  for (size_t i = 0; i < 256; i += hn::Lanes(d) * sizeof(uint16_t)) {
    const auto v = hn::LoadU(d, reinterpret_cast<const uint16_t*>(units + i));
    found = hn::Or(found, hn::And(v, hn::ShiftRight<1>(v)));
  }
  return !hn::AllTrue(d, hn::Eq(hn::And(found, hn::Set(d, uint16_t{0x5555})), hn::Zero(d)));
}

// sum + line; the order of the additions is kept, for GCC makes a tree of them that it spills.
template <class D, class V>
HWY_INLINE V AddLine(D d, V sum, const int16_t* line) {
  sum = hn::Add(sum, hn::Load(d, line));
#if HWY_COMPILER_GCC_ACTUAL && HWY_ARCH_X86
  asm("" : "+x"(sum.raw));
#endif
  return sum;
}

// A row's sums and its slots of all tables. units: of the row (kSecond: in their upper halves) and its neighbour.
template <int kField, bool kSecond>
HWY_INLINE void AddSlots(const uint8_t* tables, const uint8_t* tables1, const uint64_t (&units)[2], int16_t* sums) {
  using Shape = internal::SumsShape<kField>;
  const SumsTag d;
  constexpr size_t kLanes = hn::MaxLanes(d);
  constexpr uint64_t kHigh = 0xFFFFFFFF00000000u;
  const uint64_t bits = kSecond ? units[0] >> 32 | (units[1] & kHigh) : (units[0] & ~kHigh) | units[1] << 32;
  WithAccumulators<kSumsVecs>(d, [&](auto&... sum) LUTRA_TILE {
    Numbered([&](auto v, auto& s) LUTRA_TILE { s = hn::Load(d, sums + decltype(v)::value * kLanes); }, sum...);
    Unrolled<Shape::kTables>([&](auto i) LUTRA_TILE {
      constexpr size_t kI = decltype(i)::value;
      const size_t at =
          kField == 8 ? SlotOffset<8, kI % 4 + (kSecond ? 4 : 0)>(units[kI / 4]) : SlotOffset<kField, kI>(bits);
      Numbered(
          [&](auto v, auto& s) LUTRA_TILE {
            constexpr size_t kV = decltype(v)::value;
            const uint8_t* line = (kV == 0 ? tables : tables1) + kI * Shape::kPitch + at;
            s = AddLine(d, s, reinterpret_cast<const int16_t*>(line) + (kV == 0 ? 0 : kV - 1) * kLanes);
          },
          sum...);
    });
    Numbered([&](auto v, auto& s) LUTRA_TILE { hn::Store(s, d, sums + decltype(v)::value * kLanes); }, sum...);
  });
}

// What the rows of x bring to a span.
struct SumsX {
  HWY_ALIGN float scale[internal::kSumsRows];
  HWY_ALIGN int32_t sum[internal::kSumsRows];
};

// Asks for outputs that will be written: else each line is waited for (y of some MB).
HWY_INLINE void PrefetchOutputs(const GemmCall& c, size_t p, size_t m, size_t count) {
  const size_t size = SizeOf(c.y.type);
  for (size_t i = m; i < m + count; ++i) {
    const std::byte* y = internal::OutputRow(c, i);
    if (y == nullptr) continue;
    for (size_t at = 0; at < kPanelRows * size; at += 64) __builtin_prefetch(y + p * kPanelRows * size + at, 1);
  }
}

// Dots that run beside passes: other panels of w by the same rows of x, in tiles of 8 rows of x and chunks of 128 k,
// one for each panel of a pass. Behind them stands a panel of the passes, so the last chunk of a tile may read more
// codes than there are: they meet zeros.
struct DotsBeside {
  static constexpr size_t kRows = 8, kChunkBlocks = internal::kSumsChunkBlocks;
  const GemmCall* c;
  const int32_t* x_begin;  // [block][8 fours][kSumsRows], whole chunks
  const SumsX* x;
  size_t m, count;
  size_t chunks;      // of a tile
  size_t panel, row;  // of the tile
  int32_t* sums;      // its [kRows][kPanelRows]
  size_t tiles;       // to do, this one included
  // Of the next chunk.
  const uint8_t* w_at;
  const int32_t* x_at;
  size_t chunks_left;

  size_t Left() const { return tiles == 0 ? 0 : (tiles - 1) * chunks + chunks_left; }
  void Begin() {
    w_at = c->w.Codes(panel);
    x_at = x_begin + row;
    chunks_left = chunks;
    std::memset(sums, 0, kRows * kPanelRows * sizeof(*sums));
    PrefetchOutputs(*c, panel, m + row, HWY_MIN(kRows, count - row));
  }
};
// Ends a tile, begins the next.
HWY_NOINLINE inline void NextDots(DotsBeside& b) {
  const GemmCall& c = *b.c;
  HWY_ALIGN float buffer[2 * kPanelRows];
  const SpanScale s = ScaleOfGroup(c, b.panel, 0, buffer);
  const int32_t* sums = b.sums;
  for (size_t row = b.row; row < HWY_MIN(b.row + b.kRows, b.count); ++row, sums += kPanelRows) {
    FinishSpan(c, s, b.x->scale[row], b.x->sum[row], sums, b.m + row, b.panel);
  }
  b.row += b.kRows;
  if (b.row >= b.count) {
    b.row = 0;
    ++b.panel;
  }
  if (--b.tiles != 0) b.Begin();
}

// Dots of so many of `panels` panels from `begin` that they end with the passes over the others; how many. fours:
// memory for x.
HWY_NOINLINE inline size_t StartDots(const GemmCall& c, const int8_t* const* x_codes, const SumsX& x, size_t m,
                                     size_t count, size_t begin, size_t panels, size_t blocks, int32_t* fours,
                                     int32_t* sums, DotsBeside& b) {
  constexpr size_t kBlock = 8 * internal::kSumsRows;
  const size_t groups = (count + b.kRows - 1) / b.kRows, chunks = (blocks + b.kChunkBlocks - 1) / b.kChunkBlocks;
  const size_t taken = panels * blocks / (blocks + groups * chunks);
  if (taken == 0) return 0;
  for (size_t i = 0; i < blocks; ++i) GatherX(x_codes, i * kBlockK, fours + i * kBlock);
  std::memset(fours + blocks * kBlock, 0, (chunks * b.kChunkBlocks - blocks) * kBlock * sizeof(*fours));
  b = {&c, fours, &x, m, count, chunks, begin, 0, sums, taken * groups, nullptr, nullptr, 0};
  b.Begin();
  return taken;
}

// One pass over all rows of w in the block. kMixed: 16 dots before each row (8 are 1.12 times a pass alone, 16
// are 1.20, 32 are slower). Out of line: GCC spills the counters otherwise.
template <int kField, bool kMixed>
HWY_NOINLINE void RunSumsPass(const SumsPass& args, [[maybe_unused]] DotsBeside* dots) {
  const SumsTag d16;
  const hn::CappedTag<int32_t, 16> d32;
  [[maybe_unused]] const hn::Repartition<uint8_t, decltype(d32)> d8;
  constexpr size_t kLine = internal::kSumsRows, kLanes = hn::MaxLanes(d16), kStep = kMixed ? 4 : 2;
  constexpr size_t kDots = kMixed ? 2 * DotsBeside::kRows : 0;
  const SumsPass a = args;  // stores could change what is behind a reference
  const uint8_t* HWY_RESTRICT w = a.w;
  const uint8_t* const tables = a.tables;
  // Lines of several vectors have a base for the second and on: both then take the offset as it is, without an
  // addition.
  const uint8_t* tables1 = a.tables + kLanes * sizeof(int16_t);
  asm("" : "+r"(tables1));
  int16_t* sums = a.sums;
  for (size_t p = 0; p < a.panels; ++p, w += a.panel_stride) {
    const uint8_t* ahead = p + 4 < a.panels ? w + 4 * a.panel_stride : w;
    hwy::Prefetch(ahead);
    hwy::Prefetch(ahead + 64);
    hwy::Prefetch(ahead + a.second);
    hwy::Prefetch(ahead + a.second + 64);
    if constexpr (kField == 8) a.odd[p] |= HoldsThree(w);
    const uint8_t* first = w;
    const uint8_t* second = w + a.second;
    WithAccumulators<kDots>(d32, [&](auto&... dot) LUTRA_TILE {
      [[maybe_unused]] const uint8_t* dot_w = nullptr;
      [[maybe_unused]] const int32_t* dot_x = nullptr;
      if constexpr (kMixed) {
        dot_w = dots->w_at;
        dot_x = dots->x_at;
        Numbered([&](auto i, auto& sum) LUTRA_TILE { sum = hn::Load(d32, dots->sums + decltype(i)::value * 16); },
                 dot...);
      }
      for (size_t row = 0; row < kPanelRows; row += kStep) {
        [[maybe_unused]] auto unit0 = hn::Zero(d8), unit1 = hn::Zero(d8);
        if constexpr (kMixed) {
          unit0 = hn::LoadU(d8, dot_w);
          unit1 = hn::LoadU(d8, dot_w + 64);
          dot_w += 128;
        }
        Unrolled<kStep / 2>([&](auto pair) LUTRA_TILE {
          uint64_t units[2];  // of two rows
          std::memcpy(&units[0], first, 8);
          std::memcpy(&units[1], second, 8);
          first += 8;
          second += 8;
          Unrolled<2>([&](auto r) LUTRA_TILE {
            constexpr bool kSecond = decltype(r)::value == 1;
            if constexpr (kMixed) {
              constexpr size_t kFour = 2 * decltype(pair)::value + decltype(r)::value;
              const hn::Repartition<uint16_t, decltype(d32)> du16;
              const hn::Repartition<int8_t, decltype(d32)> d8i;
              const auto codes = [&](auto unit) LUTRA_TILE {
                const auto moved = ShiftBits<2 * static_cast<int>(kFour)>(hn::BitCast(du16, unit));
                return hn::And(hn::BitCast(d8, moved), hn::Set(d8, uint8_t{3}));
              };
              const auto codes0 = codes(unit0), codes1 = codes(unit1);
              Numbered(
                  [&](auto i, auto& sum) LUTRA_TILE {
                    constexpr size_t kI = decltype(i)::value;
                    const auto x = hn::BitCast(d8i, hn::Set(d32, dot_x[kFour * kLine + kI / 2]));
                    sum = QuadStep(d32, kI % 2 == 0 ? codes0 : codes1, x, sum);
                  },
                  dot...);
            }
            AddSlots<kField, kSecond>(tables, tables1, units, sums);
            sums += kLine;
          });
        });
        if constexpr (kMixed) dot_x += 4 * kLine;
      }
      if constexpr (kMixed) {
        Numbered([&](auto i, auto& sum) LUTRA_TILE { hn::Store(sum, d32, dots->sums + decltype(i)::value * 16); },
                 dot...);
        dots->w_at = dot_w;
        dots->x_at = dot_x;
        if (HWY_UNLIKELY(--dots->chunks_left == 0)) NextDots(*dots);
      }
    });
  }
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif  // LUTRA_HAS_SUMS_TABLE
#endif
