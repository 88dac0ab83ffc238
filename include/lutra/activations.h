// Front door: activations, quantised once and used by many multiplications.
#pragma once
#include <span>
#include <utility>

#include "lutra/gemm/activation_layout.h"
#include "lutra/gemm/types.h"

namespace lutra { inline namespace LUTRA_NS {

// Bytes that Quantize needs for m rows of k, whatever the alignment of the memory. Fails on a bad spec.
inline size_t ActivationBytes(size_t m, size_t k, const ActSpec& spec = {}) {
  internal::CheckActSpec("ActivationBytes", spec);
  return internal::LayOutActivations("ActivationBytes", m, k, spec, nullptr, nullptr);
}

}}  // namespace lutra::LUTRA_NS

namespace lutra { inline namespace LUTRA_API_NS {

// Quantises x [m, k] of f32, bf16 or f16 into `memory`, which the result points into. `memory` must not overlap x.
// Runs over the rows in parallel; equal bits on every target. With Share the result is complete after the barrier.
LUTRA_INLINE Activations Quantize(ConstMatrixView x, const ActSpec& spec, std::span<std::byte> memory,
                                  Context& context);

// Activations that are int8 already: copies x [m, k] of i8 (any value, -128 too) and sums it. scale: [m] per row, or
// one value for all with per_tensor (the only forms; spec.group_k must be 0).
LUTRA_INLINE Activations ImportInt8(ConstMatrixView x, std::span<const float> scale, std::span<std::byte> memory,
                                    Context& context);
// The same for codes of fewer bits, or bit planes of them: `codes` says bits, is_signed and planes, the rest of it does
// not count. Fails on a code that is not in the range of ActSpec, before anything is written.
LUTRA_INLINE Activations ImportInt8(ConstMatrixView x, std::span<const float> scale, const ActSpec& codes,
                                    std::span<std::byte> memory, Context& context);

}}  // namespace lutra::LUTRA_API_NS

namespace lutra { inline namespace LUTRA_NS {

// Quantised rows in memory of their own, for programs that need no arena. Allocates where a batch is larger than any
// before, otherwise not.
class ActivationBuffer {
 public:
  ActivationBuffer() = default;
  ActivationBuffer(ActivationBuffer&& other) noexcept : memory_(other.memory_), size_(other.size_) {
    other.memory_ = nullptr;
    other.size_ = 0;
  }
  ActivationBuffer& operator=(ActivationBuffer&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~ActivationBuffer() { std::free(memory_); }

  LUTRA_MEMBER const Activations& Quantize(ConstMatrixView x, Context& context, const ActSpec& spec = {}) {
    const size_t need = ActivationBytes(x.rows, x.cols, spec);
    if (need > size_) {
      std::free(memory_);
      size_ = 0;
      memory_ = std::malloc(need);
      if (memory_ == nullptr) Fail("ActivationBuffer: no memory for %zu bytes", need);
      size_ = need;
    }
    activations_ = LUTRA_API_NS::Quantize(x, spec, {static_cast<std::byte*>(memory_), size_}, context);
    return activations_;
  }
  operator const Activations&() const { return activations_; }

 private:
  void* memory_ = nullptr;
  size_t size_ = 0;
  Activations activations_;
};

}}  // namespace lutra::LUTRA_NS

#if !defined(LUTRA_COMPILED) || defined(LUTRA_BUILDS_ACTIVATIONS)
#include "lutra/dispatch.h"
#include "lutra/gemm/quantize.h"
#endif
