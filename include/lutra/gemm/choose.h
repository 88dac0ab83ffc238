// Which algorithm runs: a pure function of types, formats and group sizes, never of the machine's load.
#pragma once
#include "lutra/gemm/sums_table.h"

namespace lutra { inline namespace LUTRA_NS { namespace internal {

inline constexpr const char* kGemmAlgoNames[] = {"auto",        "int_dot",      "int_lanes",      "sums_table",
                                                 "popcount",    "tile",         "shuffle_table",  "bf16_dot",
                                                 "float_table", "triple_table", "register_table", "byte_table"};

// In order of preference; byte_table and shuffle_table, triple_table and those before them read different units.
inline constexpr GemmAlgo kGemmAlgos[] = {GemmAlgo::kPopcount,    GemmAlgo::kRegisterTable, GemmAlgo::kSumsTable,
                                          GemmAlgo::kIntDot,      GemmAlgo::kByteTable,     GemmAlgo::kShuffleTable,
                                          GemmAlgo::kTripleTable, GemmAlgo::kIntLanes,      GemmAlgo::kFloatTable,
                                          GemmAlgo::kBf16Dot,     GemmAlgo::kTile};

// Why an algorithm that reads the unit `wanted` cannot read a matrix of unit `is`, another one.
inline const char* NotInUnit(Unit wanted, Unit is) {
  constexpr const char* kTexts[3][3] = {
      {nullptr, "w is packed in Unit::kByteRow, not in kLane32", "w is packed in Unit::kTriple, not in kLane32"},
      {"w is packed in Unit::kLane32, not in kByteRow", nullptr, "w is packed in Unit::kTriple, not in kByteRow"},
      {"w is packed in Unit::kLane32, not in kTriple", "w is packed in Unit::kByteRow, not in kTriple", nullptr}};
  return kTexts[static_cast<size_t>(wanted)][static_cast<size_t>(is)];
}

// Why `algo` cannot run this call, nullptr where it can. kernels: those that the unit compiled for the format.
inline const char* WhyNot(GemmAlgo algo, const GemmCall& c, const FormatKernels& kernels) {
  const bool affine = c.w.format().map == Map::kAffine;
  if (algo == GemmAlgo::kBf16Dot) {
    if (c.xq != nullptr) return "x is int8: pass floats";
    if (c.algo != algo && (kernels.modes & ModeBit(algo)) == 0) return "lossy: name the mode Bf16Dot";
    if (kernels.bf16_dot.run == nullptr) return kernels.bf16_dot.why_not;
    if (c.w.scales().group_k % 2 != 0) return "group_k is odd";
  }
  if (algo == GemmAlgo::kTile || algo == GemmAlgo::kBf16Dot) {
    if (c.y.type == DType::kI32) return "integer sums (y.type i32) need an integer algorithm";
    return nullptr;
  }
  if (algo == GemmAlgo::kFloatTable) {
    if (c.xq != nullptr) return "x is int8, tables are of floats";
    if (!affine) return "a table format is no sum of bit planes";
    if (c.y.type == DType::kI32) return "integer sums (y.type i32) need an integer algorithm";
    if (c.w.unit() != Unit::kByteRow) return NotInUnit(Unit::kByteRow, c.w.unit());
    const bool asked = c.algo == algo || (kernels.modes & ModeBit(algo)) != 0;  // its bits are not those of tile
    if (kernels.float_table == nullptr || !asked) return "runs only where the mode FloatTables is named";
    if (c.w.scales().group_k % kBlockK != 0) return "group_k is not a multiple of 32";
    return nullptr;
  }
  if (c.xq == nullptr) return "x is float: pass Activations for the integer path";
  if (!affine) return "a table format has no integer codes";
  if (c.y.type == DType::kI32 && c.w.format().zero_x2 % 2 != 0) return "a half-integer zero point has no i32 sums";
  const bool bytes = algo == GemmAlgo::kShuffleTable || algo == GemmAlgo::kByteTable;
  const Unit wanted = bytes ? Unit::kByteRow : algo == GemmAlgo::kTripleTable ? Unit::kTriple : Unit::kLane32;
  if (algo != GemmAlgo::kIntLanes && c.w.unit() != wanted) return NotInUnit(wanted, c.w.unit());
  if (algo == GemmAlgo::kTripleTable) {
    if (kernels.triple_table == nullptr) return "compiled only where the mode TripleTables is named";
    if (c.w.scales().group_k % kTripleBlockK != 0) return "group_k is not a multiple of 96";
    if (c.xq->spec.group_k % kTripleBlockK != 0) return "group_k of x is not a multiple of 96";
    return nullptr;
  }
  if (bytes) {
    if (algo == GemmAlgo::kShuffleTable && kernels.shuffle_table == nullptr) {
      return "compiled only where a format of 1 bit or the mode ShuffleTables is named";
    }
    if (algo == GemmAlgo::kByteTable) {
      if (c.algo != algo && (kernels.modes & ModeBit(algo)) == 0) return "lossy: name the mode ByteTables";
      if (kernels.byte_table.run == nullptr) return kernels.byte_table.why_not;
    }
    if (c.w.scales().group_k % kBlockK != 0) return "group_k is not a multiple of 32";
    return nullptr;
  }
  if (algo == GemmAlgo::kRegisterTable && kernels.int_dot != nullptr) {
    if (kernels.register_table == nullptr) return "tables in registers are for 1 bit, and AVX-512";
    if (!HasOneSpan(c)) return "scales in groups, or K in segments";
  }
  if (algo == GemmAlgo::kSumsTable) {
    if (kernels.int_dot != nullptr && kernels.sums_table.run == nullptr) {
      return "tables are for one plane of 1 or 2 bits, and targets with vectors of a fixed size, of x86 from AVX2 on";
    }
    const Span longest = SpanAt(c.w, c.xq->spec, 0, 0);
    if (longest.k1 - longest.k0 > SumsOf(c.w.format()).LongestSpan()) return "K is too long for 16-bit sums";
  }
  if (algo == GemmAlgo::kPopcount) {
    if (c.xq->planes == nullptr) return "x has no bit planes: quantise it with ActSpec::planes";
    if (WidestPlane(c.w.format()) > 2) return "w has planes of more than 2 bits";
    if (kernels.int_dot != nullptr && kernels.popcount.run == nullptr) {
      return "compiled only where the mode Popcounts is named";
    }
  }
  if (algo != GemmAlgo::kIntLanes) {
    if (kernels.int_dot == nullptr) return "the format has no kernel of its own in this build";
    if (c.w.scales().group_k % kBlockK != 0) return "group_k is not a multiple of 32";
  }
  return nullptr;
}

inline size_t RowsOf(const GemmCall& c) {
  return c.rows.row != nullptr ? c.rows.m : c.xq != nullptr ? c.xq->m : c.x.rows;
}

// Rows of x from which on tables are faster than int_dot, SIZE_MAX where they never are: fewer leave lanes of the
// tables empty, and the fewer rows w has, the more its share in building them. Both numbers fit what bench/choose.py
// measured on Zen 4 with each target, at N = 256, 512 and 2560.
inline size_t TablesPayFrom(const GemmCall& c, const SumsKernel& k) {
  const FormatInfo& f = c.w.format();
  const size_t n = c.w.n();
  struct Cost {
    size_t rows, build;
  };
  const auto from = [&](Cost cost) {
    const size_t m = n == 0 ? SIZE_MAX : cost.rows + (cost.build + n - 1) / n;
    return m <= 32 ? m : SIZE_MAX;  // 32 fill the lanes
  };
  const bool ternary = SumsOf(f).field == 8;
  if (k.vector_bytes == 0) return SIZE_MAX;
  if (k.vector_bytes < 32) {
    if (k.dot) return SIZE_MAX;
    return from(f.bits == 1 ? Cost{10, 1280} : ternary ? Cost{14, 1900} : Cost{19, 1900});
  }
  if (f.bits == 1) return from(k.dot ? Cost{16, 1920} : Cost{13, 1700});
  if (ternary && k.dot) return from(SumsMayMix(c) && k.vector_bytes == 64 ? Cost{12, 6600} : Cost{23, 5200});
  if (ternary) return from({17, 3700});
  return k.dot ? SIZE_MAX : from({22, 4096});
}
inline bool TablesPay(const GemmCall& c, const FormatKernels& kernels) {
  return RowsOf(c) >= TablesPayFrom(c, kernels.sums_table);
}

// Whether tables in registers are faster than int_dot, and than sums tables, whose lanes 32 rows of x fill. At N = 256
// building them is half of their work; with two rows of x they are slower where weights come from DRAM (0.8; 1.36 times
// as fast in cache).
inline bool RegisterTablesPay(const GemmCall& c) {
  const size_t m = RowsOf(c);
  return m >= 3 && c.w.n() >= 256 && (m < 32 || (m < 96 && m % 32 != 0));
}

// Whether bit planes, where they can run, are faster than int_dot, and than tables where those pay. Weights of 2-bit
// planes are split for each task, which pays from some rows of x on (1.0 to 1.2 times int_dot there, AVX2 and AVX-512).
inline bool PlanesPay(const GemmCall& c, const FormatKernels& kernels) {
  const size_t products = static_cast<size_t>(c.xq->spec.bits) * c.w.format().bits;
  const bool tables =
      TablesPay(c, kernels) || (WhyNot(GemmAlgo::kRegisterTable, c, kernels) == nullptr && RegisterTablesPay(c));
  const size_t most = kernels.popcount.most / (tables ? 2 : 1);
  const size_t from = kernels.popcount.most > 2 ? 4 : 8;
  return products <= most && (WidestPlane(c.w.format()) == 1 || RowsOf(c) >= from * (products - 1));
}

// Rows of x from which on bf16_dot is chosen: fewer meet the weights in registers (fused-inl.h), as fast and in f32.
inline constexpr size_t kBf16Rows = 8;

// The chosen algorithm, kAuto where none can run.
inline GemmAlgo Choose(const GemmCall& c, const FormatKernels& kernels) {
  if (c.algo != GemmAlgo::kAuto) return WhyNot(c.algo, c, kernels) == nullptr ? c.algo : GemmAlgo::kAuto;
  for (const GemmAlgo algo : kGemmAlgos) {
    if (WhyNot(algo, c, kernels) != nullptr) continue;
    if (algo == GemmAlgo::kPopcount && !PlanesPay(c, kernels)) continue;
    if (algo == GemmAlgo::kRegisterTable && !RegisterTablesPay(c)) continue;
    if (algo == GemmAlgo::kSumsTable && !TablesPay(c, kernels)) continue;
    if (algo == GemmAlgo::kBf16Dot && RowsOf(c) < kBf16Rows) continue;
    return algo;
  }
  return GemmAlgo::kAuto;
}

}}}  // namespace lutra::LUTRA_NS::internal
