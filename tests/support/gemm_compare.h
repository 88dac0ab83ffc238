// What the tests of algorithms share: a drawn call, its comparison with the reference on every target, and what bounds
// are parts of.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <string>
#include <vector>

#include "support/gemm_problem.h"

namespace lutra { namespace testing {

inline std::string NameOfFormat(const ::testing::TestParamInfo<FormatInfo>& info) { return info.param.name.data(); }
// The largest K that packing accepts of an affine format. Half-integer zero points have their sums doubled.
inline size_t LargestKOf(const FormatInfo& f) {
  const int worst = f.zero_x2 % 2 == 0 ? f.MaxPattern() : std::max<int>(f.zero_x2, 2 * f.MaxPattern() - f.zero_x2);
  return static_cast<size_t>(LargestK(worst));
}
inline const char* NameOfAlgo(GemmAlgo algo) { return internal::kGemmAlgoNames[static_cast<int>(algo)]; }

// Runs a problem by the algorithms on every target, with 1 worker and with 3 that take tasks backwards. A fatal failure
// where a byte of y's memory is not the reference's.
inline void Compare(GemmProblem& problem, std::initializer_list<GemmAlgo> algos) {
  static const std::vector<std::string> targets = TargetNames();
  const bool empty = problem.spec().m == 0 || problem.spec().n == 0;
  for (const std::string& target : targets) {
    ContextPair& contexts = ContextsOn(target);
    for (const GemmAlgo algo : algos) {
      if (algo == GemmAlgo::kSumsTable && !HasSumsTables(target)) continue;
      if (algo == GemmAlgo::kRegisterTable && !HasRegisterTables(target)) continue;
      if (algo == GemmAlgo::kByteTable && !HasByteTables(target)) continue;
      for (TargetContext* context : {&contexts.one, &contexts.other}) {
        ASSERT_EQ(problem.Run(algo, *context), "") << target << ' ' << NameOfAlgo(algo);
        if (!empty) context->Check();
      }
    }
  }
}

// The magnitude that bounds of the float path are parts of: sum |x| (|value * scale| + |offset|) of output (m, n), in
// double.
inline double SumOfMagnitudes(const GemmCall& c, size_t m, size_t n) {
  double sum = 0;
  for (size_t k = 0; k < c.w.k(); ++k) {
    const double x = reference::XAt(c, m, k / c.w.segment_k(), k % c.w.segment_k());
    const double value = internal::ValueOf(c.w.format(), c.w.table(), c.w.Code(n, k));
    const size_t group = internal::GroupOf(c.w, k);
    sum += std::fabs(x) * (std::fabs(value * static_cast<double>(c.w.ScaleOf(n, group))) +
                           std::fabs(static_cast<double>(c.w.OffsetOf(n, group))));
  }
  return sum;
}

// Draws what a call of int8 activations has beside format, shape and fill. Sums as integers need an integer zero point.
// Rows are gathered from segments up to a k of `most_segment_k`.
inline void DrawCall(Random& random, size_t most_segment_k, GemmSpec* spec) {
  constexpr size_t kGroups[] = {0, 0, 32, 64, 96, 128}, kActGroups[] = {0, 0, 32, 64, 96}, kPads[] = {0, 0, 1, 5};
  constexpr DType kScales[] = {DType::kF32, DType::kBF16, DType::kF16};
  constexpr DType kYs[] = {DType::kF32, DType::kI32, DType::kBF16, DType::kF16, DType::kI8, DType::kU8};
  spec->scales = {random.Of(kGroups), random.Of(kScales), false, random.Below(3) == 0};
  spec->scales.per_tensor = spec->scales.group_k == 0 && random.Below(2) == 0;
  spec->act.group_k = random.Of(kActGroups);
  spec->act.per_tensor = spec->act.group_k == 0 && random.Below(2) == 0;
  spec->y_type = random.Of(kYs);
  if (spec->y_type == DType::kI32 && spec->format.zero_x2 % 2 != 0) spec->y_type = DType::kF32;
  spec->y_pad = random.Of(kPads);
  spec->accumulate = (IsFloat(spec->y_type) || spec->y_type == DType::kI32) && random.Below(3) == 0;
  spec->gather = random.Below(3) == 0;
  if (spec->gather && spec->k <= most_segment_k) spec->segments = 1 + random.Below(3);
  spec->scatter = random.Below(4) == 0;
  spec->edge = random.Below(2) == 0 ? Edge::kEnd : Edge::kBegin;
  spec->seed = random.Next();
}
// The same for x of floats, with groups of `group_k`.
inline void DrawFloatCall(Random& random, size_t group_k, GemmSpec* spec) {
  constexpr DType kYs[] = {DType::kF32, DType::kF32, DType::kBF16, DType::kF16, DType::kI8, DType::kU8};
  constexpr DType kScales[] = {DType::kF32, DType::kBF16, DType::kF16};
  spec->x_pad = random.Below(3);
  spec->scales = {group_k, random.Of(kScales), false, random.Below(3) == 0};
  spec->y_type = random.Of(kYs);
  spec->y_pad = random.Below(3);
  spec->accumulate = IsFloat(spec->y_type) && random.Below(3) == 0;
  spec->gather = random.Below(4) == 0;
  if (spec->gather) spec->segments = 1 + random.Below(3);
  spec->scatter = random.Below(4) == 0;
  spec->fill = random.Below(3) == 0 ? Fill::kInvalidCodes : Fill::kRandom;
  spec->edge = random.Below(2) == 0 ? Edge::kEnd : Edge::kBegin;
  spec->seed = random.Next();
}
// A problem whose small outputs keep some of their bits.
inline void DrawOutput(Random& random, GemmProblem* problem) {
  problem->e.out_scale = 0.25f;
  problem->e.out_zero = static_cast<int32_t>(random.Below(384)) - 128;
}

}}  // namespace lutra::testing
