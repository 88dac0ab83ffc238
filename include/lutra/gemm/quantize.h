// Definitions of lutra/activations.h: checks, then rows in parallel.
#pragma once
#include <atomic>

#include "lutra/activations.h"
#include "lutra/dispatch.h"

namespace lutra { inline namespace LUTRA_NS { namespace internal {

LUTRA_DISPATCHED(PickQuantizeRows, QuantizeRows)
LUTRA_DISPATCHED(PickMostOfTensor, MostOfTensor)
LUTRA_DISPATCHED(PickHasCodeOutside, HasCodeOutside)

struct QuantizeJob {
  int64_t (*kernel)(const QuantizeArgs&, size_t);
  QuantizeArgs args;
  mutable std::atomic<int64_t> ran{0};
};
inline void QuantizeTask(const void* p, size_t i, size_t) {
  const QuantizeJob& job = *static_cast<const QuantizeJob*>(p);
  job.ran.store(job.kernel(job.args, i), std::memory_order_relaxed);
}

template <int64_t kTargets>
Activations RunQuantize(const char* what, ConstMatrixView x, const ActSpec& spec, std::span<const float> given,
                        std::span<std::byte> memory, Context& context) {
  CheckActSpec(what, spec);
  CheckMatrix(what, x, false);
  const size_t need = ActivationBytes(x.rows, x.cols, spec);
  if (memory.size() < need)
    Fail("%s: memory has %zu bytes, %zu x %zu need %zu", what, memory.size(), x.rows, x.cols, need);
  QuantizeJob job;
  job.kernel = PickQuantizeRows<kTargets>(context.target());
  job.args.x = x;
  LayOutActivations(what, x.rows, x.cols, spec, memory.data(), &job.args.out);
  const bool of_tensor = spec.per_tensor && x.type != DType::kI8;
  job.args.tensor = of_tensor ? PickMostOfTensor<kTargets>(context.target())(x, spec.fit) : 0.0f;
  job.args.given = given;
  // Some 16 thousand elements a task: below that a thread pool costs more than it gains.
  job.args.rows_per_task = x.cols >= 16384 ? 1 : 16384 / (x.cols + 1) + 1;
  const size_t tasks = (x.rows + job.args.rows_per_task - 1) / job.args.rows_per_task;
  context.executor().run(context.executor(), tasks == 0 ? 1 : tasks, &QuantizeTask, &job);
  context.set_last_target(job.ran.load());
  return job.args.out.view;
}

// Fails on a code that spec does not have.
template <int64_t kTargets>
void CheckCodes(const char* what, const ConstMatrixView& x, const ActSpec& spec, const Context& context) {
  CheckActSpec(what, spec);
  CheckMatrix(what, x, false);
  const CodeRange range = CodesOf(spec);
  if (range.low == -128) return;
  const auto has_code_outside = PickHasCodeOutside<kTargets>(context.target());
  for (size_t r = 0; r < x.rows; ++r) {
    const int8_t* row = static_cast<const int8_t*>(x.data) + static_cast<ptrdiff_t>(r) * x.row_stride;
    if (!has_code_outside(row, x.cols, range, IsBipolar(spec))) continue;
    for (size_t k = 0; k < x.cols; ++k) {
      if (row[k] >= range.low && row[k] <= range.high && !(IsBipolar(spec) && row[k] == 0)) continue;
      Fail("%s: x[%zu, %zu] is %d, codes of %d bits%s are %d %s %d", what, r, k, row[k], spec.bits,
           spec.is_signed ? "" : " without sign", range.low, IsBipolar(spec) ? "and" : "...", range.high);
    }
  }
}

}}}  // namespace lutra::LUTRA_NS::internal

namespace lutra { inline namespace LUTRA_API_NS {

LUTRA_INLINE Activations Quantize(ConstMatrixView x, const ActSpec& spec, std::span<std::byte> memory,
                                  Context& context) {
  if (!IsFloat(x.type)) Fail("Quantize: x.type is %s, allowed are f32, bf16, f16 (i8: ImportInt8)", NameOf(x.type));
  return internal::RunQuantize<HWY_TARGETS>("Quantize", x, spec, {}, memory, context);
}

LUTRA_INLINE Activations ImportInt8(ConstMatrixView x, std::span<const float> scale, const ActSpec& codes,
                                    std::span<std::byte> memory, Context& context) {
  if (x.type != DType::kI8) Fail("ImportInt8: x.type is %s, must be i8", NameOf(x.type));
  if (scale.size() != 1 && scale.size() != x.rows) {
    Fail("ImportInt8: scale has %zu values, must be 1 or x.rows = %zu", scale.size(), x.rows);
  }
  ActSpec spec;
  spec.per_tensor = scale.size() == 1;
  spec.bits = codes.bits;
  spec.is_signed = codes.is_signed;
  spec.planes = codes.planes;
  internal::CheckCodes<HWY_TARGETS>("ImportInt8", x, spec, context);
  return internal::RunQuantize<HWY_TARGETS>("ImportInt8", x, spec, scale, memory, context);
}

LUTRA_INLINE Activations ImportInt8(ConstMatrixView x, std::span<const float> scale, std::span<std::byte> memory,
                                    Context& context) {
  return ImportInt8(x, scale, ActSpec(), memory, context);
}

}}  // namespace lutra::LUTRA_API_NS
