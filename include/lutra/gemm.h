// Front door: y[M, N] = x[M, K] * w[N, K]^T with low-bit weights.
//
// Integer path, x quantised (Activations): int32 sums, bit-equal on every target, thread count and tiling.
//   K is cut into runs (one segment, one group of activation scales), runs into spans (one group of weight scales).
//   For each span i = sum q * (2 c - zero_x2) in int32, t = float(i) / 2;   run = run + t * scale_w, spans ascending,
//   and, with offsets, run = run + float(sum q) * offset_w. After each run acc = acc + run * scale_x. Every operation
//   rounds once; acc and each run begin at 0.
// Float path (x of f32, bf16, f16, or a table format): in each span of weight scales t = fma(x, value(c), t), k
//   ascending; acc = fma(t, scale, acc), then, with offsets, acc = fma(sum x, offset, acc). docs/numerics.md says how
//   sum x is made, and bounds the error and what targets without FMA may differ by. FloatTables has an order of its
//   own.
// The epilogue (core/epilogue.h) then makes y. Row m of y depends on row m of x alone, never on M or its neighbours.
#pragma once
#include <span>

#include "lutra/activations.h"
#include "lutra/gemm/types.h"

namespace lutra { inline namespace LUTRA_NS {

// y = epilogue(x * w^T). Formats: the formats that w may have, each compiled into this unit; in the compiled mode the
// list may be empty (all of lutra's own), and a format of the user's runs by its table. Modes (gemm/types.h) are named
// beside them.
//
// Fails, before anything is written, on: a format not in the list; x.cols != w.segment_k; y not [M, N]; a y.type that
// the path does not have; null data; row maps or epilogue operands that do not fit; y overlapping x or w.
// Otherwise allocates nothing, cannot fail, and calls the executor once. Different contexts may share x and w.
template <class... Formats>
void Gemm(const Activations& x, const PackedMatrix& w, MatrixView y, Context& context, const Epilogue& e = {});
template <class... Formats>
void Gemm(ConstMatrixView x, const PackedMatrix& w, MatrixView y, Context& context, const Epilogue& e = {});

// The map of m rows each of which all segments gather, for weights whose segments are terms of one sum
// (weights/bcq.h): row m * segments + s is m. `memory` holds it, m * segments numbers.
RowMap RepeatRows(size_t m, size_t segments, std::span<int32_t> memory);

// Independent multiplications in one parallel region (Q, K and V; experts). Their outputs must not overlap each other.
template <class... Formats>
void Gemm(std::span<const GemmCall> calls, Context& context);

template <class... Formats>
Explanation Explain(const GemmCall& call, const Context& context);

}}  // namespace lutra::LUTRA_NS

#include "lutra/gemm/driver.h"
