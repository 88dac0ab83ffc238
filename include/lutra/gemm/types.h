// The values of the GEMM front doors (lutra/activations.h, lutra/gemm.h).
#pragma once
#include "lutra/core/epilogue.h"
#include "lutra/weights/packed.h"

namespace lutra { inline namespace v0 {

// How a scale follows from the values that share it. limit: the largest code.
enum class ActFit : uint8_t {
  kAbsMax,   // scale = max |x| / limit
  kAbsMean,  // scale = mean |x| / sqrt(limit): BitNet a4.8 and v2 at 4 bits, XNOR-Net and BiViT at 1 bit
};

// How activations become int8 codes of some bits: x is about code * scale. Scales are f32: one per row, one for all
// (per_tensor), or one per group of group_k along K (a multiple of 32).
//   code = clamp(round(x / scale)), ties to even, to -2^(bits - 1) ... limit, limit = 2^(bits - 1) - 1;
//   one signed bit: code = x < 0 ? -1 : 1, limit = 1, and no code is 0;
//   not is_signed: 0 ... limit, limit = 2^bits - 1, for x >= 0 (after ReLU, softmax): what is negative becomes 0.
// See docs/numerics.md for the formula to the letter, and for NaN, infinity and tiny rows.
struct ActSpec {
  int bits = 8;  // 1 ... 8, 1 ... 7 without sign
  bool per_tensor = false;
  size_t group_k = 0;
  bool is_signed = true;
  ActFit fit = ActFit::kAbsMax;
  bool planes = false;  // also keep the bits of the codes, which GemmAlgo::kPopcount reads

  constexpr bool operator==(const ActSpec&) const = default;
};

// A view of quantised rows: trivially copyable, valid as long as its memory. Besides the codes it holds the sum of the
// codes per 32 k, from which zero points of the weights are corrected, and one row of zeros for RowMap's -1.
class Activations {
 public:
  size_t m = 0, k = 0;
  ActSpec spec;
  const int8_t* codes = nullptr;  // row r at codes + r * stride, zero from k to stride; row m is the zero row
  size_t stride = 0;              // bytes, a multiple of 64
  const float* scales = nullptr;  // [m + 1][groups]
  size_t groups = 1;
  const int32_t* sums = nullptr;  // [m + 1][blocks], of 32 k each
  size_t blocks = 0;
  // With spec.planes: [m + 1][bits][blocks], bit i of the codes of 32 k as a word whose bit 8 kk + b is k = 4 b + kk:
  // the order of packed 1-bit weights. The top bit of signed codes weighs -2^(bits - 1); of one signed bit, 1 is +1 and
  // 0 is -1.
  const uint32_t* planes = nullptr;

  LUTRA_MEMBER const int8_t* Row(size_t r) const { return codes + r * stride; }
  LUTRA_MEMBER float Scale(size_t r, size_t group) const { return scales[r * groups + group]; }
  LUTRA_MEMBER const uint32_t* Plane(size_t r, size_t bit) const {
    return planes + (r * static_cast<size_t>(spec.bits) + bit) * blocks;
  }
};

enum class GemmAlgo : uint8_t {
  kAuto,
  kIntDot,         // integer dot products of whole blocks: affine formats, groups of a multiple of 32
  kIntLanes,       // the same sums for groups of any size
  kSumsTable,      // the same sums by tables, 32 rows of x at a time: affine formats of 1 and 2 bits, large M and N
  kPopcount,       // the same sums by bit planes: activations with ActSpec::planes, weights of planes of 1 or 2 bits
  kTile,           // weights as f32, in registers for few rows, else tile by tile: float activations, table formats
  kShuffleTable,   // the sums of kIntDot by lookups of bytes: weights packed in Unit::kByteRow
  kBf16Dot,        // float activations rounded to bf16, whose products the CPU sums in pairs: AVX-512 BF16
  kFloatTable,     // float activations by lookups of their sums, in an order of its own: Unit::kByteRow, affine formats
  kTripleTable,    // the sums of kIntDot by lookups of three ternary weights at a time, packed in Unit::kTriple
  kRegisterTable,  // the sums of kIntDot by lookups of five weights of 1 bit at a time: AVX-512, no groups
  kByteTable,      // those of kShuffleTable, their tables rounded to 7 bits
};

// Modes: algorithms that a call has to ask for, by a tag named beside its formats, Gemm<Int2, ShuffleTables>(...). A
// header-only unit compiles those that it names; a lossy one is never chosen without its tag or GemmCall::algo.
template <GemmAlgo kAlgo>
struct Mode {
  static constexpr GemmAlgo algo = kAlgo;
};
using ShuffleTables = Mode<GemmAlgo::kShuffleTable>;  // named by itself where a format of 1 bit is
using ByteTables = Mode<GemmAlgo::kByteTable>;        // lossy: docs/numerics.md, 2.8
using TripleTables = Mode<GemmAlgo::kTripleTable>;    // for ternary weights of 1.67 bits
using Popcounts = Mode<GemmAlgo::kPopcount>;          // for activations with ActSpec::planes
using Bf16Dot = Mode<GemmAlgo::kBf16Dot>;             // lossy: 8 significant bits of x; from 8 rows of x on
using FloatTables = Mode<GemmAlgo::kFloatTable>;

// Gathers rows of x: the row of output m is row[m * segments + s] of x for segment s of K, -1 is a row of zeros.
// Needs a weight packed with `segments`. row null: output m is row m of x (one segment).
struct RowMap {
  size_t m = 0, segments = 1;
  const int32_t* row = nullptr;
};

// One multiplication of a list. Either xq or x.
struct GemmCall {
  const Activations* xq = nullptr;
  ConstMatrixView x;  // f32, bf16 or f16; [rows, segment_k]
  PackedMatrix w;
  MatrixView y;  // [M, N]: f32, bf16, f16, i8, u8; i32: the integer sums themselves, without scales
  Epilogue e;
  RowMap rows;
  GemmAlgo algo = GemmAlgo::kAuto;
};

// What a call would do, and why.
struct Explanation {
  GemmAlgo algo = GemmAlgo::kAuto;
  char text[1024] = {};  // lines: algorithm, target, bound, and each rejected algorithm with its reason
};

}}  // namespace lutra::v0
