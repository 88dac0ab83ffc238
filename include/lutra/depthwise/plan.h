// The taps of a depthwise convolution, and their plan for one image size: values that cross units.
#pragma once
#include <cstddef>
#include <cstdint>

#include "lutra/core/context.h"
#include "lutra/core/views.h"
#include "lutra/depthwise/geometry.h"
#include "lutra/depthwise/parts.h"
#include "lutra/depthwise/shared.h"

namespace lutra { inline namespace LUTRA_API_NS { namespace plans {

LUTRA_INLINE DepthwiseKernelParts BuildKernel(const ConstImageView& taps, const ConvGeometry& geometry,
                                              const ConvQuant& quant);
LUTRA_INLINE DepthwisePlanParts BuildPlan(const DepthwiseKernelParts& kernel, size_t h, size_t w, Layout layout,
                                          ConvAlgo algo, const Executor& executor, DType spectra,
                                          const DepthwisePlanParts* like);

}}}  // namespace lutra::LUTRA_API_NS::plans

namespace lutra { inline namespace v0 {

// The taps of every channel, copied. Immutable; copies share the memory.
class DepthwiseKernel {
 public:
  // taps: one "image" of KH x KW pixels, f32 and finite or i8, any strides: Nhwc(p, 1, KH, KW, C), or PyTorch's [C, 1,
  // KH, KW] as Nchw(p, 1, C, KH, KW).
  LUTRA_MEMBER explicit DepthwiseKernel(const ConstImageView& taps, const ConvGeometry& geometry = {})
      : parts_(LUTRA_API_NS::plans::BuildKernel(taps, geometry, {})) {}
  // taps of i8 for images of i8 or u8; quant is copied. 255 times the sum of a channel's |tap| and its |bias| must fit
  // into int32: 65,793 taps of any value and no bias do.
  LUTRA_MEMBER DepthwiseKernel(const ConstImageView& taps, const ConvGeometry& geometry, const ConvQuant& quant)
      : parts_(LUTRA_API_NS::plans::BuildKernel(taps, geometry, quant)) {}

  LUTRA_MEMBER size_t c() const { return parts_.c; }
  LUTRA_MEMBER size_t h() const { return parts_.h; }
  LUTRA_MEMBER size_t w() const { return parts_.w; }
  LUTRA_MEMBER const ConvGeometry& geometry() const { return parts_.geometry; }  // -1 replaced by what it stands for
  LUTRA_MEMBER bool integer() const { return parts_.integer; }                   // taps of i8, for images of i8 and u8
  LUTRA_MEMBER int32_t in_zero() const { return parts_.in_zero; }
  LUTRA_MEMBER size_t bytes() const { return parts_.memory.bytes() + parts_.factors.bytes(); }
  // Whether in each channel tap (y, x) is the product of a factor of y and one of x, up to 2^-21 of it, and neither KH
  // nor KW is 1.
  LUTRA_MEMBER bool separable() const { return parts_.factors.bytes() != 0; }

  // For this room, taps of f32: [ceil(c / kTapBlock)][h][w][kTapBlock], zero behind the last channel.
  LUTRA_MEMBER const float* blocks() const { return static_cast<const float*>(parts_.memory.data()); }
  LUTRA_MEMBER const float* factors() const { return static_cast<const float*>(parts_.factors.data()); }

  // Copies share.
  LUTRA_MEMBER DepthwiseKernel(const DepthwiseKernel&) = default;
  LUTRA_MEMBER DepthwiseKernel(DepthwiseKernel&&) noexcept = default;
  LUTRA_MEMBER DepthwiseKernel& operator=(const DepthwiseKernel&) = default;
  LUTRA_MEMBER DepthwiseKernel& operator=(DepthwiseKernel&&) noexcept = default;
  LUTRA_MEMBER ~DepthwiseKernel() = default;

 private:
  friend class DepthwisePlan;
  DepthwiseKernelParts parts_;
};

// A kernel made ready for images of h x w. Immutable, may be used by many threads at once, shares the kernel's taps.
class DepthwisePlan {
 public:
  LUTRA_MEMBER DepthwisePlan(const DepthwiseKernel& kernel, size_t h, size_t w, Layout layout,
                             ConvAlgo algo = ConvAlgo::kAuto)
      : DepthwisePlan(kernel, h, w, layout, algo, Executor{nullptr, 1, 0, nullptr}) {}
  // The same plan, its spectra computed by the executor's workers. kFft alone has any: milliseconds for some 100
  // channels and large kernels. spectra: f32, or bf16, which halves them and is LOSSY: outputs are off by up to some
  // 2^-9 of the largest of their channel.
  LUTRA_MEMBER DepthwisePlan(const DepthwiseKernel& kernel, size_t h, size_t w, Layout layout, ConvAlgo algo,
                             const Executor& executor, DType spectra = DType::kF32)
      : kernel_(kernel),
        parts_(LUTRA_API_NS::plans::BuildPlan(kernel.parts_, h, w, layout, algo, executor, spectra, nullptr)) {}
  // The kernel and layout of another plan for images of another size. Shares its spectra where the same transforms
  // serve both: neither time nor memory for new ones, at most a quarter more time to run.
  LUTRA_MEMBER DepthwisePlan(const DepthwisePlan& like, size_t h, size_t w, ConvAlgo algo = ConvAlgo::kAuto,
                             const Executor& executor = Executor{nullptr, 1, 0, nullptr})
      : kernel_(like.kernel_),
        parts_(LUTRA_API_NS::plans::BuildPlan(like.kernel_.parts_, h, w, like.layout(), algo, executor,
                                              like.parts_.spectra_type, &like.parts_)) {}

  LUTRA_MEMBER const DepthwiseKernel& kernel() const { return kernel_; }
  LUTRA_MEMBER size_t c() const { return kernel_.c(); }
  LUTRA_MEMBER size_t h() const { return parts_.h; }
  LUTRA_MEMBER size_t w() const { return parts_.w; }
  LUTRA_MEMBER size_t out_h() const { return parts_.out_h; }
  LUTRA_MEMBER size_t out_w() const { return parts_.out_w; }
  LUTRA_MEMBER Layout layout() const { return parts_.layout; }
  LUTRA_MEMBER ConvAlgo algo() const { return parts_.algo; }  // never kAuto
  // Whether in and out may be the same view: where the output has the size of the input.
  LUTRA_MEMBER bool in_place_ok() const { return parts_.in_place_ok; }
  // Scratch that running needs from the Context. kDirect in place holds the input of one channel (kNchw) or of up to 16
  // channels (kNhwc, integer taps) of an image; kFft always holds the transform of as many of a tile, and, in place
  // in several tiles, their input.
  // Images of bf16 and f16, kNhwc: the rows that a task reads, some 16 and their surroundings, of up to 16 channels.
  LUTRA_MEMBER size_t scratch_per_worker(bool in_place = false, DType in = DType::kF32) const {
    const size_t size = in_place ? parts_.scratch_in_place : parts_.scratch;
    return (in == DType::kBF16 || in == DType::kF16) && size < parts_.scratch_16 ? parts_.scratch_16 : size;
  }
  // Memory of the plan and of what it shares: the kernel, another plan's spectra.
  LUTRA_MEMBER size_t bytes() const { return parts_.memory.bytes() + parts_.spectra.bytes() + kernel_.bytes(); }

  // For this room. Maps: padded row (column) -> row (column) of the image, -1 where it is zero.
  LUTRA_MEMBER const int32_t* row_map() const { return static_cast<const int32_t*>(parts_.memory.data()); }
  LUTRA_MEMBER const int32_t* col_map() const { return row_map() + parts_.rows; }
  // ConvGeometry::reweight: taps that meet the image, of output rows (columns); infinity where there are none.
  LUTRA_MEMBER const float* row_taps() const {
    return reinterpret_cast<const float*>(col_map() + parts_.cols + parts_.fft_columns.points + parts_.fft_rows.points);
  }
  LUTRA_MEMBER const float* col_taps() const { return row_taps() + parts_.out_h; }
  LUTRA_MEMBER const DepthwisePlanParts& parts() const { return parts_; }

  // Copies share.
  LUTRA_MEMBER DepthwisePlan(const DepthwisePlan&) = default;
  LUTRA_MEMBER DepthwisePlan(DepthwisePlan&&) noexcept = default;
  LUTRA_MEMBER DepthwisePlan& operator=(const DepthwisePlan&) = default;
  LUTRA_MEMBER DepthwisePlan& operator=(DepthwisePlan&&) noexcept = default;
  LUTRA_MEMBER ~DepthwisePlan() = default;

 private:
  DepthwiseKernel kernel_;
  DepthwisePlanParts parts_;
};

}}  // namespace lutra::v0
