// What happens to a sum on its way to memory: one closed struct for GEMM and convolution, applied in one order.
#pragma once
#include "lutra/core/views.h"

namespace lutra { inline namespace v0 {

enum class Act : uint8_t { kNone, kRelu, kSquaredRelu, kSilu, kGelu, kGeluTanh };

// v = acc * scale + bias;  v = min(max(act(v), lo), hi);  v = v * mul + residual;  then, with accumulate, v = y + v.
// f32, bf16 and f16 outputs round v once; i8 and u8 outputs are clamp(round(v * out_scale) + out_zero).
// Each step rounds on its own (never fused); a step whose operand is absent is left out. `acc` holds the weights' and
// activations' scales already. Channels are the columns of y (GEMM) or the channels of the image (convolution).
// No pointer may overlap y, except residual where it is y itself, element for element.
struct Epilogue {
  const float* scale = nullptr;  // [channels]
  const float* bias = nullptr;   // [channels]
  Act act = Act::kNone;
  bool clamp = false;  // apply lo and hi
  float lo = 0.0f, hi = 0.0f;
  ConstMatrixView mul = {};       // [rows, channels] of f32, bf16 or f16; row_stride 0: one row for all (layer scale)
  ConstMatrixView residual = {};  // [rows, channels], the same types; rows are pixels in n, y, x order for convolution
  bool accumulate = false;        // add to what y holds; without it y is never read
  float out_scale = 1.0f;         // i8 and u8 outputs only
  int32_t out_zero = 0;
  const int32_t* y_row = nullptr;  // GEMM: output row m is stored to row y_row[m], each at most once; -1: not stored
};

}}  // namespace lutra::v0
