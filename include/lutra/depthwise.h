// Front door: depthwise convolution, each channel with its own KH x KW taps.
//
//   out[n, y, x, c] = finish(sum over ky, kx of taps[c, ky, kx] *
//                            in[n, y * stride_h + ky * dil_h - top, x * stride_w + kx * dil_w - left, c])
//
// and with ConvGeometry::reweight the sum times KH * KW over the taps that meet the image.
//
// A DepthwiseKernel holds the taps, a DepthwisePlan fits it to one image size; both may allocate and Fail. Running
// checks its arguments before it writes, and from then on neither allocates nor fails. docs/depthwise.md is the page.
#pragma once
#include <string>

#include "lutra/core/context.h"
#include "lutra/core/epilogue.h"
#include "lutra/core/views.h"
#include "lutra/depthwise/plan.h"

namespace lutra { inline namespace LUTRA_API_NS {

// Convolves in (the plan's h x w x c; f32, bf16 or f16, or, where the kernel's taps are i8, i8 or u8) to out (f32,
// bf16, f16, i8 or u8, out_h x out_w x c, as many images). The views have the plan's layout and share no element; in ==
// out, view for view, is allowed where plan.in_place_ok(). Epilogue: rows are output pixels in n, y, x order; kNchw
// refuses a residual and a mul of more than one row (row_stride 0); y_row is refused. Taps over zero padding contribute
// exactly nothing; a sum of exactly zero is +0.
LUTRA_INLINE void DepthwiseConv2d(const DepthwisePlan& plan, const ConstImageView& in, const ImageView& out,
                                  Context& context, const Epilogue& epilogue = {});

// The chosen algorithm, each rejected one with its reason, and the bound, for people.
LUTRA_INLINE std::string Explain(const DepthwisePlan& plan);

}}  // namespace lutra::LUTRA_API_NS

#if !defined(LUTRA_COMPILED) || defined(LUTRA_BUILDS)
#include "lutra/depthwise/build.h"
#include "lutra/depthwise/job.h"

namespace lutra { inline namespace LUTRA_API_NS {

LUTRA_INLINE void DepthwiseConv2d(const DepthwisePlan& plan, const ConstImageView& in, const ImageView& out,
                                  Context& context, const Epilogue& epilogue) {
  depthwise::DepthwiseBranch branch;
  depthwise::CheckIo("DepthwiseConv2d", in, out);
  depthwise::PrepareConv<HWY_TARGETS>("DepthwiseConv2d", plan, in, out, epilogue, context, &branch);
  depthwise::RunBranches({&branch, 1}, false, context);
}

LUTRA_INLINE std::string Explain(const DepthwisePlan& plan) { return depthwise::ExplainDepthwise(plan); }

}}  // namespace lutra::LUTRA_API_NS
#endif
