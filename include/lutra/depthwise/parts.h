// What a kernel and a plan hold, as kernels see it: values that cross units.
#pragma once
#include <cstddef>
#include <cstdint>

#include "lutra/core/dtype.h"
#include "lutra/core/version.h"
#include "lutra/depthwise/geometry.h"
#include "lutra/depthwise/shared.h"

namespace lutra { inline namespace v0 {

// What a kernel and a plan hold.
struct DepthwiseKernelParts {
  SharedBytes memory;
  SharedBytes factors;  // see separable.h; empty where a channel is not of rank one, or all are bands
  size_t c = 0, h = 0, w = 0;
  ConvGeometry geometry;
  bool integer = false;  // memory is that of int8.h
  int32_t in_zero = 0;

  // Not left to the compiler, whose copies may be merged with those of a unit built for another CPU.
  LUTRA_MEMBER DepthwiseKernelParts() = default;
  LUTRA_MEMBER DepthwiseKernelParts(const DepthwiseKernelParts&) = default;
  LUTRA_MEMBER DepthwiseKernelParts(DepthwiseKernelParts&&) noexcept = default;
  LUTRA_MEMBER DepthwiseKernelParts& operator=(const DepthwiseKernelParts&) = default;
  LUTRA_MEMBER DepthwiseKernelParts& operator=(DepthwiseKernelParts&&) noexcept = default;
  LUTRA_MEMBER ~DepthwiseKernelParts() = default;
};
// An axis cut into tiles for transforms (fft.h).
struct FftAxis {
  int points = 0;          // of the transform; 0: it can't be
  size_t tile = 0;         // outputs from one tile to the next, those left out as well: a multiple of the stride
  size_t tiles = 0;        //
  int64_t lo = 0, hi = 0;  // input pixels of a tile, from its first output: [lo, hi), at most `points`
  int64_t turn = 0;        // output i is time i + turn
};
struct DepthwisePlanParts {
  SharedBytes memory;   // row map, column map; kFft: the times of its points, of columns, of rows; with reweight, taps
                        // of output rows and columns
  SharedBytes spectra;  // kFft: see fft.h
  size_t h = 0, w = 0, out_h = 0, out_w = 0, rows = 0, cols = 0;
  size_t scratch = 0, scratch_in_place = 0;
  size_t scratch_16 = 0;             // kNhwc: of images whose rows are copied, not in place
  FftAxis fft_rows, fft_columns;     // kFft
  DType spectra_type = DType::kF32;  // or bf16
  bool spectra_real = false;         // of kernels that are their own reflection, whose centre is time 0
  ConvGeometry run;                  // steps that are never taken are 1
  Layout layout = Layout::kNhwc;
  ConvAlgo algo = ConvAlgo::kDirect;
  const char* reason = nullptr;     // why this algorithm
  const char* against = nullptr;    // why not direct or kFft
  const char* separable = nullptr;  // why not kSeparable
  bool in_place_ok = false, pointwise = false;
  bool turned = false, turned_in_place = false;  // kDirect, NCHW: through lanes

  LUTRA_MEMBER DepthwisePlanParts() = default;
  LUTRA_MEMBER DepthwisePlanParts(const DepthwisePlanParts&) = default;
  LUTRA_MEMBER DepthwisePlanParts(DepthwisePlanParts&&) noexcept = default;
  LUTRA_MEMBER DepthwisePlanParts& operator=(const DepthwisePlanParts&) = default;
  LUTRA_MEMBER DepthwisePlanParts& operator=(DepthwisePlanParts&&) noexcept = default;
  LUTRA_MEMBER ~DepthwisePlanParts() = default;
};

}}  // namespace lutra::v0
