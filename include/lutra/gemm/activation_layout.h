// Where the parts of quantised activations lie in memory.
#pragma once
#include "lutra/gemm/kernels.h"

namespace lutra { inline namespace LUTRA_NS { namespace internal {

inline void CheckActSpec(const char* what, const ActSpec& spec) {
  const int most = spec.is_signed ? 8 : 7;
  if (spec.bits < 1 || spec.bits > most) {
    Fail("%s: spec.bits is %d, allowed is 1 ... %d%s", what, spec.bits, most, spec.is_signed ? "" : " without sign");
  }
  if (spec.fit > ActFit::kAbsMean) Fail("%s: spec.fit is %d, not an ActFit", what, static_cast<int>(spec.fit));
  if (spec.group_k % 32 != 0) Fail("%s: spec.group_k is %zu, must be a multiple of 32", what, spec.group_k);
  if (spec.per_tensor && spec.group_k != 0)
    Fail("%s: spec.group_k is %zu, must be 0 with per_tensor", what, spec.group_k);
}

inline size_t LayOutActivations(const char* what, size_t m, size_t k, const ActSpec& spec, std::byte* memory,
                                ActivationParts* parts) {
  CheckedSize(what, m < SIZE_MAX ? m + 1 : m, k < SIZE_MAX - 128 ? k + 128 : k, 8);
  const size_t rows = m + 1, stride = (k + 63) / 64 * 64, blocks = stride / 32;
  const size_t groups = spec.group_k == 0 || k == 0 ? 1 : (k + spec.group_k - 1) / spec.group_k;
  const size_t codes_at = 0, sums_at = rows * stride, scales_at = sums_at + (rows * blocks * 4 + 63) / 64 * 64;
  const size_t planes_at = scales_at + (rows * groups * 4 + 63) / 64 * 64;
  const size_t words = spec.planes ? rows * blocks * static_cast<size_t>(spec.bits) : 0;
  const size_t bytes = 63 + planes_at + (words * 4 + 63) / 64 * 64;
  if (parts != nullptr) {
    std::byte* at = memory + (64 - reinterpret_cast<uintptr_t>(memory) % 64) % 64;
    parts->codes = reinterpret_cast<int8_t*>(at + codes_at);
    parts->sums = reinterpret_cast<int32_t*>(at + sums_at);
    parts->scales = reinterpret_cast<float*>(at + scales_at);
    parts->planes = spec.planes ? reinterpret_cast<uint32_t*>(at + planes_at) : nullptr;
    parts->view.m = m;
    parts->view.k = k;
    parts->view.spec = spec;
    parts->view.codes = parts->codes;
    parts->view.stride = stride;
    parts->view.scales = parts->scales;
    parts->view.groups = groups;
    parts->view.sums = parts->sums;
    parts->view.blocks = blocks;
    parts->view.planes = parts->planes;
  }
  return bytes;
}

}}}  // namespace lutra::LUTRA_NS::internal
