// From checked arguments to tasks: what DepthwiseConv2d and ChannelSplit share. Nothing here allocates.
#pragma once
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <utility>

#include "lutra/depthwise/args.h"
#include "lutra/depthwise/plan.h"
#include "lutra/depthwise/separable.h"
#include "lutra/dispatch.h"

namespace lutra { inline namespace LUTRA_NS { namespace depthwise {

struct DepthwiseBranch {
  DepthwiseArgs args;
  DepthwiseKernelFn kernel = nullptr;
  size_t tasks = 0;
  bool any_rows = false;  // args.task_rows may be any number
};

using internal::TableIndex;  // for the dispatch macros
LUTRA_DISPATCHED(FftLanesOf, FftLanes)
LUTRA_DISPATCHED(DirectNhwcFor, DirectNhwc)
LUTRA_DISPATCHED(DirectNchwFor, DirectNchw)
LUTRA_DISPATCHED(DirectTurnedFor, DirectTurned)
LUTRA_DISPATCHED_T(FftFor, Fft)
LUTRA_DISPATCHED_T(DirectInt8For, DirectInt8)
LUTRA_DISPATCHED(SeparableFor, Separable)
LUTRA_DISPATCHED(ShiftFor, Shift)

inline bool Empty(const ConstImageView& v) { return v.n == 0 || v.h == 0 || v.w == 0 || v.c == 0; }

inline bool SameView(const ConstImageView& a, const ConstImageView& b) {
  const auto same = [](size_t size, ptrdiff_t s, ptrdiff_t t) { return size <= 1 || s == t; };
  return a.data == b.data && a.type == b.type && a.n == b.n && a.h == b.h && a.w == b.w && a.c == b.c &&
         same(a.n, a.sn, b.sn) && same(a.h, a.sh, b.sh) && same(a.w, a.sw, b.sw) && same(a.c, a.sc, b.sc);
}

// A view as a number in mixed radix: its dimensions by stride, innermost first, each with the span of all inner ones.
struct Nest {
  size_t size[4];
  ptrdiff_t stride[4];
  int channels;  // which of the four is c
};
inline Nest NestOf(const ConstImageView& v) {
  Nest nest{{v.c, v.w, v.h, v.n}, {v.sc, v.sw, v.sh, v.sn}, 0};
  for (ptrdiff_t& s : nest.stride) s = s < 0 ? -s : s;
  for (int i = 0; i < 4; ++i) {
    for (int k = 3; k > i; --k) {
      if (nest.size[k] <= 1 || (nest.size[k - 1] > 1 && nest.stride[k] >= nest.stride[k - 1])) continue;
      std::swap(nest.size[k], nest.size[k - 1]);
      std::swap(nest.stride[k], nest.stride[k - 1]);
      nest.channels = nest.channels == k ? k - 1 : nest.channels == k - 1 ? k : nest.channels;
    }
  }
  return nest;
}
// Whether different indices surely are different elements.
inline bool Distinct(const Nest& nest) {
  ptrdiff_t span = 1;
  for (int i = 0; i < 4; ++i) {
    if (nest.size[i] <= 1) continue;
    if (nest.stride[i] < span) return false;
    span += At(nest.size[i] - 1, nest.stride[i]);
  }
  return true;
}
struct ByteRange {
  uintptr_t begin, end;
};
inline ByteRange BytesOf(const ConstImageView& v) {
  ptrdiff_t low = 0, high = 1;
  for (const auto& [size, stride] : {std::pair{v.n, v.sn}, {v.h, v.sh}, {v.w, v.sw}, {v.c, v.sc}}) {
    const ptrdiff_t last = At(size - 1, stride);
    low += std::min<ptrdiff_t>(last, 0);
    high += std::max<ptrdiff_t>(last, 0);
  }
  const auto base = reinterpret_cast<intptr_t>(v.data), bytes = static_cast<intptr_t>(SizeOf(v.type));
  return {static_cast<uintptr_t>(base + low * bytes), static_cast<uintptr_t>(base + high * bytes)};
}
// Whether no element is in both: other memory, or other channels of one image.
inline bool Apart(const ConstImageView& a, const ConstImageView& b) {
  const ByteRange ra = BytesOf(a), rb = BytesOf(b);
  if (ra.end <= rb.begin || rb.end <= ra.begin) return true;
  if (a.type != b.type || a.sn != b.sn || a.sh != b.sh || a.sw != b.sw || a.sc != b.sc || a.sc <= 0) return false;
  const auto bytes = static_cast<ptrdiff_t>(SizeOf(a.type));
  const ptrdiff_t apart = reinterpret_cast<intptr_t>(b.data) - reinterpret_cast<intptr_t>(a.data);
  if (apart % (bytes * a.sc) != 0) return false;
  const ptrdiff_t first = apart / (bytes * a.sc), ac = static_cast<ptrdiff_t>(a.c), bc = static_cast<ptrdiff_t>(b.c);
  if (first < ac && first + bc > 0) return false;
  ConstImageView both = a;  // the image that both are channels of
  both.h = std::max(a.h, b.h);
  both.w = std::max(a.w, b.w);
  both.c = static_cast<size_t>(std::max(ac, first + bc) - std::min<ptrdiff_t>(0, first));
  return Distinct(NestOf(both));
}

inline void CheckIo(const char* what, const ConstImageView& in, const ImageView& out) {
  if (!IsFloat(in.type) && in.type != DType::kI8 && in.type != DType::kU8) {
    Fail("%s: in.type is %s, must be f32, bf16, f16, i8 or u8", what, NameOf(in.type));
  }
  if (!IsFloat(out.type) && out.type != DType::kI8 && out.type != DType::kU8) {
    Fail("%s: out.type is %s, must be f32, bf16, f16, i8 or u8", what, NameOf(out.type));
  }
  char name[64];
  std::snprintf(name, sizeof(name), "%s: in", what);
  internal::CheckImage(name, in);
  std::snprintf(name, sizeof(name), "%s: out", what);
  internal::CheckImage(name, out);
  if (in.n != out.n) Fail("%s: in.n is %zu, out.n is %zu, they must be equal", what, in.n, out.n);
  if (Empty(out)) return;
  if (!Distinct(NestOf(out))) {
    Fail("%s: out has strides n %td, h %td, w %td, c %td, some of its elements are the same", what, out.sn, out.sh,
         out.sw, out.sc);
  }
  if (!Empty(in) && !SameView(in, out) && !Apart(in, out)) {
    Fail("%s: in and out overlap, they must be apart or the same view", what);
  }
}

inline bool HasLayout(const ConstImageView& v, Layout layout) {
  return layout == Layout::kNhwc ? v.c <= 1 || v.sc == 1 : v.w <= 1 || v.sw == 1;
}
inline void CheckOperand(const char* what, const char* name, const ConstMatrixView& m, const ImageView& out,
                         Layout layout) {
  if (m.data == nullptr) return;
  if (!IsFloat(m.type)) Fail("%s: epilogue.%s.type is %s, must be f32, bf16 or f16", what, name, NameOf(m.type));
  const size_t pixels = out.n * out.h * out.w;
  if (m.cols != out.c) Fail("%s: epilogue.%s.cols is %zu, out has %zu channels", what, name, m.cols, out.c);
  if (m.row_stride == 0 ? m.rows == 0 : m.rows != pixels) {
    Fail("%s: epilogue.%s.rows is %zu, out has %zu pixels (or row_stride 0: one row for all)", what, name, m.rows,
         pixels);
  }
  if (layout == Layout::kNchw && m.row_stride != 0) {
    Fail("%s: epilogue.%s has row_stride %td, NCHW takes one row for all pixels (row_stride 0)", what, name,
         m.row_stride);
  }
}
inline void CheckEpilogue(const char* what, const Epilogue& e, const ImageView& out, Layout layout) {
  if (e.y_row != nullptr) Fail("%s: epilogue.y_row is for GEMM, must be null", what);
  if (e.act > Act::kGeluTanh) Fail("%s: epilogue.act is %d, not an Act", what, static_cast<int>(e.act));
  if (e.accumulate && !IsFloat(out.type)) {
    Fail("%s: epilogue.accumulate needs an out of f32, bf16 or f16, it is %s", what, NameOf(out.type));
  }
  if (!IsFloat(out.type) && (e.out_zero < -255 || e.out_zero > 255)) {
    Fail("%s: epilogue.out_zero is %d, must be inside -255 ... 255", what, e.out_zero);
  }
  if (layout == Layout::kNchw && e.residual.data != nullptr) {
    Fail("%s: epilogue.residual is per pixel and channel, NCHW takes none (use accumulate)", what);
  }
  CheckOperand(what, "mul", e.mul, out, layout);
  CheckOperand(what, "residual", e.residual, out, layout);
}
inline bool NoEpilogue(const Epilogue& e) {
  return e.scale == nullptr && e.bias == nullptr && e.act == Act::kNone && !e.clamp && e.mul.data == nullptr &&
         e.residual.data == nullptr && !e.accumulate;
}
// Nothing but a bias and ReLU.
inline bool PlainEpilogue(const Epilogue& e) {
  Epilogue rest = e;
  rest.bias = nullptr;
  if (rest.act == Act::kRelu) rest.act = Act::kNone;
  return NoEpilogue(rest);
}

// How many of `size` make a task of about a quarter of a million multiply-adds (some 5 us), each costing `work`.
inline size_t PerTask(size_t size, size_t work, size_t unit) {
  return PieceSize(size, std::max<size_t>(1, (size_t{1} << 18) / std::max<size_t>(work, 1)), unit);
}

inline void CheckInType(const char* what, const DepthwiseKernel& kernel, DType type) {
  if (!kernel.integer()) {
    if (!IsFloat(type)) Fail("%s: in.type is %s, must be f32, bf16 or f16", what, NameOf(type));
    return;
  }
  if (type != DType::kI8 && type != DType::kU8) {
    Fail("%s: in.type is %s, must be i8 or u8 (the taps are i8)", what, NameOf(type));
  }
  const int low = type == DType::kI8 ? -128 : 0, zero = kernel.in_zero();
  if (zero < low || zero > low + 255) {
    Fail("%s: in.type is %s, the kernel's quant.in_zero is %d, must be inside %d ... %d", what, NameOf(type), zero, low,
         low + 255);
  }
}
// Integer taps: what their kernel is told, and tasks of rows that share most of their staged input.
template <int64_t kTargets>
void PrepareInt8(const DepthwiseKernel& kernel, const Context& context, DepthwiseBranch* branch) {
  DepthwiseArgs& a = branch->args;
  const bool is_signed = a.in.type == DType::kI8;
  a.zero = kernel.in_zero() + (is_signed ? 128 : 0);
  a.flip = is_signed ? 0x80 : 0;
  a.task_rows = a.staged ? a.out.h : PieceSize(a.out.h, 32, 1);
  a.task_channels =
      a.staged ? kTapBlock : PerTask(a.out.c, a.out.w * a.kh * a.kw * std::min(a.out.h, a.task_rows), kTapBlock);
  branch->kernel = DirectInt8For<void, kTargets>(context.target());
  branch->tasks = DepthwiseTasks(a);
}

// Checks everything that depends on the plan and fills *branch. in and out have passed CheckIo, or are channel ranges
// of images that have.
template <int64_t kTargets>
void PrepareConv(const char* what, const DepthwisePlan& plan, const ConstImageView& in, const ImageView& out,
                 const Epilogue& epilogue, const Context& context, DepthwiseBranch* branch) {
  CheckInType(what, plan.kernel(), in.type);
  if (in.c != plan.c()) Fail("%s: in has %zu channels, the plan has %zu", what, in.c, plan.c());
  if (out.c != plan.c()) Fail("%s: out has %zu channels, the plan has %zu", what, out.c, plan.c());
  if (in.h != plan.h() || in.w != plan.w()) {
    Fail("%s: in is %zu x %zu, the plan is for %zu x %zu", what, in.h, in.w, plan.h(), plan.w());
  }
  if (out.h != plan.out_h() || out.w != plan.out_w()) {
    Fail("%s: out is %zu x %zu, the plan makes %zu x %zu", what, out.h, out.w, plan.out_h(), plan.out_w());
  }
  const Layout layout = plan.layout();
  CheckEpilogue(what, epilogue, out, layout);
  if (Empty(out)) return;
  const char* const needs = layout == Layout::kNhwc ? "NHWC needs sc 1" : "NCHW needs sw 1";
  if (!HasLayout(in, layout)) Fail("%s: in has strides w %td, c %td, the plan's %s", what, in.sw, in.sc, needs);
  if (!HasLayout(out, layout)) Fail("%s: out has strides w %td, c %td, the plan's %s", what, out.sw, out.sc, needs);
  const bool in_place = in.data == out.data && !Empty(in);
  if (in_place && !plan.in_place_ok()) {
    Fail("%s: in and out are the same view, the plan turns %zu x %zu into %zu x %zu and can't run in place", what, in.h,
         in.w, out.h, out.w);
  }
  const size_t scratch = plan.scratch_per_worker(in_place, in.type);
  if (scratch > context.scratch_per_worker()) {
    Fail("%s: the plan needs %zu bytes of scratch per worker%s, the context has %zu", what, scratch,
         in_place ? " in place" : "", context.scratch_per_worker());
  }

  const DepthwiseKernel& kernel = plan.kernel();
  DepthwiseArgs& a = branch->args;
  a.in = in;
  if (Empty(in)) a.in.data = kernel.blocks();  // not read: all is padding; but pointers into null are undefined
  a.out = out;
  a.layout = layout;
  a.epilogue = epilogue;
  a.plain = out.type == DType::kF32 && PlainEpilogue(epilogue);
  a.plain_16 = IsFloat(out.type) && !a.plain && PlainEpilogue(epilogue);
  a.taps = kernel.blocks();
  a.kh = kernel.h();
  a.kw = kernel.w();
  a.g = plan.parts().run;
  a.rows = plan.row_map();
  a.cols = plan.col_map();
  a.mapped_cols = plan.parts().cols;
  a.staged = in_place && !plan.parts().pointwise;
  if (kernel.integer()) return PrepareInt8<kTargets>(kernel, context, branch);
  if (a.g.reweight) a.row_taps = plan.row_taps();
  if (plan.algo() == ConvAlgo::kFft && FftLanesOf<kTargets>(context.target())() != 0) {
    a.plan = &plan.parts();
    branch->kernel = FftFor<void, kTargets>(context.target());
    branch->tasks = FftTasks(a);
    return;
  }
  if (plan.algo() == ConvAlgo::kSeparable) {
    a.taps = kernel.factors();
    a.staged = in_place;
    a.task_rows = SeparableTaskOf(a.kh, a.kw, a.g, in.w, out.h, out.w, layout, in_place, kMostLanes).rows;
    a.task_channels = layout == Layout::kNhwc ? kTapBlock : PerTask(out.c, a.task_rows * out.w * (a.kh + a.kw), 1);
    branch->kernel = SeparableFor<kTargets>(context.target());
    branch->tasks = DepthwiseTasks(a);
    return;
  }
  if (a.staged ? plan.parts().turned_in_place : plan.parts().turned) {
    a.task_rows = TurnedTaskOf(a.kh, a.g, in.h, in.w, out.h, out.w, a.staged).rows;
    a.task_channels = kTapBlock;
    branch->kernel = DirectTurnedFor<kTargets>(context.target());
    branch->tasks = DepthwiseTasks(a);
    return;
  }
  // Blocks of some 16 rows share most of their input rows, see the kernels.
  const size_t row_work = out.w * a.kh * a.kw;  // of a channel
  a.task_rows = a.staged                  ? out.h
                : layout == Layout::kNhwc ? NhwcTaskRows(out.h, a.g)
                                          : PieceSize(out.h, 32, kDirectTile);
  a.task_channels = layout == Layout::kNhwc ? PerTask(out.c, row_work * std::min(out.h, a.task_rows), kTapBlock)
                                            : PerTask(out.c, row_work * out.h, 1);
  if (layout == Layout::kNhwc) {
    const auto step = static_cast<size_t>(std::abs(in.sw)) * sizeof(float);
    // Copies of f32 take what widened rows of bf16 do: no call asks for them, they are made where there is room.
    const bool has_scratch = plan.scratch_per_worker(false, DType::kBF16) <= context.scratch_per_worker();
    const bool whole_lines = FftLanesOf<kTargets>(context.target())() == kTapBlock;
    const size_t apart = reinterpret_cast<uintptr_t>(out.data) - reinterpret_cast<uintptr_t>(in.data);
    a.copied = !a.staged && (in.type != DType::kF32 ||
                             (has_scratch && CrowdsL1(step, a.kh, a.kw, in.h, in.w, a.g, whole_lines, apart)));
    branch->any_rows = !a.staged && !a.copied;
  }
  branch->kernel =
      layout == Layout::kNhwc ? DirectNhwcFor<kTargets>(context.target()) : DirectNchwFor<kTargets>(context.target());
  branch->tasks = DepthwiseTasks(a);
}

template <int64_t kTargets>
void PrepareShift(const char* what, const ConstImageView& in, const ImageView& out, int shift_h, int shift_w,
                  const Epilogue& epilogue, const Context& context, DepthwiseBranch* branch) {
  if (in.h != out.h || in.w != out.w) {
    Fail("%s: in is %zu x %zu, out is %zu x %zu, a branch without a plan needs them equal", what, in.h, in.w, out.h,
         out.w);
  }
  const auto both = [&](Layout l) { return HasLayout(in, l) && HasLayout(out, l); };
  const bool nhwc = both(Layout::kNhwc) && !(out.c <= 1 && both(Layout::kNchw));
  const Layout layout = nhwc ? Layout::kNhwc : Layout::kNchw;
  CheckEpilogue(what, epilogue, out, layout);
  if (Empty(out)) return;
  if (!both(layout)) {
    Fail("%s: in has strides w %td, c %td and out w %td, c %td, both must be NHWC (sc 1) or NCHW (sw 1)", what, in.sw,
         in.sc, out.sw, out.sc);
  }
  const bool copies = NoEpilogue(epilogue) && out.type == in.type;
  if (!copies && !IsFloat(in.type)) {
    Fail(
        "%s: in.type is %s, a branch without a plan needs f32, bf16 or f16, or an out of that type (it is %s) and no "
        "epilogue",
        what, NameOf(in.type), NameOf(out.type));
  }
  if (!IsFloat(in.type) && (shift_h != 0 || shift_w != 0)) {
    Fail("%s: in.type is %s, a shift of %d, %d needs f32, bf16 or f16", what, NameOf(in.type), shift_h, shift_w);
  }
  if (in.data == out.data) {
    if (shift_h != 0 || shift_w != 0) {
      Fail("%s: in and out are the same view, a shift of %d, %d can't run in place", what, shift_h, shift_w);
    }
    if (copies) return;  // it is there already
  }
  DepthwiseArgs& a = branch->args;
  a.in = in;
  a.out = out;
  a.layout = layout;
  a.epilogue = epilogue;
  a.plain = copies;
  a.shift_h = shift_h;
  a.shift_w = shift_w;
  a.task_channels = nhwc ? out.c : PerTask(out.c, 8 * out.h * out.w, 1);
  a.task_rows = nhwc ? PerTask(out.h, 8 * out.w * out.c, 1) : out.h;
  branch->any_rows = nhwc;
  branch->kernel = ShiftFor<kTargets>(context.target());
  branch->tasks = DepthwiseTasks(a);
}

// NHWC branches of one image that leaves L2, each cut into the same pieces of rows, which are then taken in turn: a
// line of memory holds channels of several branches, and a piece stays in L2 from one branch to the next. False where
// nothing is cut: the image is small, or a branch has tasks of its own.
inline bool CutTogether(std::span<DepthwiseBranch> branches) {
  constexpr size_t kPiece = size_t{3} << 17, kLarge = size_t{3} << 19;  // bytes in and out
  size_t row = 0;
  for (const DepthwiseBranch& b : branches) {
    const DepthwiseArgs& a = b.args;
    if (!b.any_rows) return false;
    row += (a.in.w * a.g.stride_h * SizeOf(a.in.type) + a.out.w * SizeOf(a.out.type)) * a.out.c;
  }
  if (branches.size() < 2) return false;
  const size_t h = branches[0].args.out.h;
  if (row * h < kLarge) return false;
  const size_t rows = PieceSize(h, kPiece / row, 4);
  for (DepthwiseBranch& b : branches) {
    b.args.task_rows = rows;
    b.args.task_channels = b.args.out.c;
    b.tasks = DepthwiseTasks(b.args);
  }
  return true;
}

struct DepthwiseJob {
  std::span<const DepthwiseBranch> branches;
  bool in_turn;  // CutTogether
  const Context* context;
};
inline void RunDepthwiseTask(const void* job, size_t task, size_t worker) {
  const auto& j = *static_cast<const DepthwiseJob*>(job);
  const DepthwiseBranch* b = j.branches.data();
  if (j.in_turn) {
    b += task % j.branches.size();
    task /= j.branches.size();
  } else {
    for (; task >= b->tasks; ++b) task -= b->tasks;
  }
  b->kernel(&b->args, task, j.context->scratch(worker));
}

// One parallel region for all branches; nothing is run, and no target reported, where there is nothing to do.
inline void RunBranches(std::span<const DepthwiseBranch> branches, bool in_turn, Context& context) {
  size_t tasks = 0;
  int64_t target = 0;
  for (const DepthwiseBranch& b : branches) {
    tasks += b.tasks;
    if (b.tasks != 0) target = b.kernel(nullptr, 0, nullptr);
  }
  context.set_last_target(target);
  const DepthwiseJob job{branches, in_turn, &context};
  const Executor& executor = context.executor();
  executor.run(executor, tasks, &RunDepthwiseTask, &job);
}

}}}  // namespace lutra::LUTRA_NS::depthwise
