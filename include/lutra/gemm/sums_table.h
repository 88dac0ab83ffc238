// Shapes and scratch memory of sums tables (gemm/sums_table-inl.h), the same for every target.
#pragma once
#include <cstring>

#include "lutra/gemm/kernels.h"

namespace lutra { inline namespace LUTRA_NS { namespace internal {

// Tables indexed by kField bits of a row's 64. Slots are lines of 64 bytes.
template <int kField>
struct SumsShape {
  static constexpr size_t kTables = (64 + kField - 1) / kField;
  // Without the 7 lines between tables of 256 slots a fifth of the speed is lost to set conflicts in L1.
  static constexpr size_t kPitch = ((size_t{1} << kField) + (kField == 8 ? 7 : 0)) * 64;
  static constexpr size_t kBytes = kTables * kPitch;
};

// Which tables a format takes, and the bounds of their sums.
struct SumsFormat {
  int field;      // bits of an index
  int low, high;  // the values that tables sum: code + low
  int pass_k;     // k of a pass: 64 bits of a row

  constexpr int Worst() const { return high > -low ? high : -low; }
  // Passes whose 16-bit sums may follow each other, whatever x is. Before they overflow, all but their last 8 bits move
  // to a second 16-bit lane.
  constexpr size_t PassesPerSplit() const { return static_cast<size_t>((32767 - 255) / (Worst() * 128) / pass_k); }
  // In k: the second lane holds 255 moves of at most 128.
  constexpr size_t LongestSpan() const { return 255 * PassesPerSplit() * static_cast<size_t>(pass_k); }
};
constexpr SumsFormat SumsOf(int bits, bool three_codes) {
  return {three_codes ? 8 : 6, bits == 2 ? -1 : 0, bits == 1 || three_codes ? 1 : 2, 64 / bits};
}
constexpr SumsFormat SumsOf(const FormatInfo& f) { return SumsOf(f.bits, f.bits == 2 && f.codes <= 3); }
// The kernel of one width of codes and of indices.
template <class Width, int kFieldBits>
struct SumsConfig {
  using Planes = Width;
  static constexpr int kField = kFieldBits;
};
// The field of a format's tables, 0 where it takes none: they are for one plane of 1 or 2 bits.
constexpr int SumsFieldOf(const FormatInfo& f) {
  return f.bits <= 2 && f.planes[0] == f.bits && f.map == Map::kAffine ? SumsOf(f).field : 0;
}
static_assert(SumsOf(2, true).PassesPerSplit() == 7 && SumsOf(2, false).PassesPerSplit() == 3 &&
              SumsOf(1, false).PassesPerSplit() == 3);

// Whether `run` (docs/numerics.md, 2.2) begins once.
LUTRA_MEMBER bool SumsHasOneRun(const GemmCall& c) {
  const size_t xg = c.xq->spec.group_k;
  return c.w.segments() == 1 && c.w.segment_k() != 0 && (xg == 0 || xg >= c.w.segment_k());
}

// Panels of a block, with one run and with more: all that belongs to them is one worker's scratch, and what a pass
// touches stays in L2.
inline constexpr size_t kSumsPanels = 96, kSumsPanelsOfRuns = 64;

// K, in blocks of 32, for which `run` has room for all of x: dots beside passes read it there.
inline constexpr size_t kSumsMixedBlocks = kSumsPanels * kPanelRows / 8;
inline constexpr size_t kSumsChunkBlocks = 4;  // what dots do of their k for each panel of a pass

// Whether dots may run beside passes: of one span, which is at least a chunk.
LUTRA_MEMBER bool SumsMayMix(const GemmCall& c) {
  if (!HasOneSpan(c)) return false;
  const size_t blocks = (c.w.segment_k() + kBlockK - 1) / kBlockK;
  return blocks >= kSumsChunkBlocks && blocks <= kSumsMixedBlocks;
}

struct SumsScratch {
  uint8_t* tables;
  int16_t* lines;              // of x: at most 64 of a pass, and 2 of zeros behind them
  float *zeros, *tile, *rows;  // a panel each
  int16_t* sums;               // [panels of the block * 32][32]
  int16_t* high;               // the sums' multiples of 256
  float* run;
  float* acc;  // with more than one run
  bool* odd;   // [kSumsPanels]
};
inline constexpr size_t kSumsPanelLanes = kPanelRows * kSumsRows;
inline constexpr size_t kSumsScratch =
    SumsShape<8>::kBytes + 66 * 64 + 3 * kSumsPanelLanes * 4 + 128 + kSumsPanels * kSumsPanelLanes * (2 + 2 + 4);
static_assert(kSumsPanels * (2 + 2 + 4) >= kSumsPanelsOfRuns * (2 + 2 + 4 + 4) && kSumsPanels <= 128);
static_assert(SumsShape<6>::kBytes <= SumsShape<8>::kBytes && kSumsScratch <= Context::kDefaultScratch);

inline SumsScratch LayOutSums(std::byte* memory, bool one_run) {
  SumsScratch s;
  s.tables = reinterpret_cast<uint8_t*>(memory);
  s.lines = reinterpret_cast<int16_t*>(s.tables + SumsShape<8>::kBytes);
  s.zeros = reinterpret_cast<float*>(s.lines + 66 * kSumsRows);
  s.tile = s.zeros + kSumsPanelLanes;
  s.rows = s.tile + kSumsPanelLanes;
  s.odd = reinterpret_cast<bool*>(s.rows + kSumsPanelLanes);
  const size_t lanes = (one_run ? kSumsPanels : kSumsPanelsOfRuns) * kSumsPanelLanes;
  s.run = s.rows + kSumsPanelLanes + 32;
  s.sums = reinterpret_cast<int16_t*>(s.run + lanes);
  s.high = s.sums + lanes;
  s.acc = reinterpret_cast<float*>(s.high + lanes);
  std::memset(s.zeros, 0, kSumsPanelLanes * sizeof(float));
  return s;
}

}}}  // namespace lutra::LUTRA_NS::internal
