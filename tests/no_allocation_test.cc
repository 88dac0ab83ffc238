// Runs allocate nothing: every malloc and operator new of this program is counted.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <deque>

#include "lutra/channel_split.h"
#include "lutra/depthwise.h"
#include "support/gemm_problem.h"

// Sanitizers have an allocator of their own; elsewhere than in glibc malloc cannot be replaced this way.
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define COUNTS 0
#endif
#endif
#ifndef COUNTS
#define COUNTS 1
#endif
#else
#define COUNTS 0
#endif

#if COUNTS
namespace {
std::atomic<size_t> g_allocations{0};
}
extern "C" {  // operator new of libstdc++ calls malloc
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void* malloc(size_t size) noexcept {
  ++g_allocations;
  return __libc_malloc(size);
}
void* calloc(size_t n, size_t size) noexcept {
  ++g_allocations;
  return __libc_calloc(n, size);
}
void* realloc(void* p, size_t size) noexcept {
  ++g_allocations;
  return __libc_realloc(p, size);
}
void* aligned_alloc(size_t alignment, size_t size) noexcept {
  ++g_allocations;
  return __libc_memalign(alignment, size);
}
void* memalign(size_t alignment, size_t size) noexcept {
  ++g_allocations;
  return __libc_memalign(alignment, size);
}
}
#endif

namespace lutra { namespace testing { namespace {

class NoAllocation : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
#if !COUNTS
    GTEST_SKIP() << "malloc of this build cannot be counted";
#endif
  }
  // How often `run` allocates, from its first time on.
  template <class Run>
  static size_t AllocationsOf([[maybe_unused]] const Run& run) {
#if COUNTS
    const size_t before = g_allocations.load();
    run();
    return g_allocations.load() - before;
#else
    return 0;
#endif
  }
};
INSTANTIATE_TEST_SUITE_P(All, NoAllocation, ::testing::ValuesIn(TargetNames()), NameOfTarget);

TEST_P(NoAllocation, TheCounterCounts) {
  EXPECT_EQ(AllocationsOf([] { std::free(std::malloc(100)); }), 1u);
  EXPECT_EQ(AllocationsOf([] { std::vector<std::string> v(1, std::string(100, 'x')); }), 3u);
}

TEST_P(NoAllocation, Quantize) {
  TargetContext context(GetParam());
  const std::vector<float> x(70 * 100, 0.5f);
  const std::vector<int8_t> q(70 * 100);
  const float scale = 1;
  std::vector<std::byte> memory(ActivationBytes(70, 100));
  ActivationBuffer buffer;
  buffer.Quantize(View(x.data(), 70, 100), context);
  EXPECT_EQ(AllocationsOf([&] {
              (void)Quantize(View(x.data(), 70, 100), {}, memory, context);
              (void)Quantize(View(x.data(), 70, 100), {8, true, 0}, memory, context);
              (void)ImportInt8(View(q.data(), 70, 100), {&scale, 1}, memory, context);
              (void)buffer.Quantize(View(x.data(), 30, 100), context);
            }),
            0u);
}

TEST_P(NoAllocation, GemmOfEachAlgorithmAndLists) {
  Backwards three;
  TargetContext context(GetParam(), three.AsExecutor());
  std::deque<GemmProblem> problems;
  std::vector<GemmCall> calls;
  for (const GemmAlgo algo :
       {GemmAlgo::kIntDot, GemmAlgo::kIntLanes, GemmAlgo::kSumsTable, GemmAlgo::kTile, GemmAlgo::kBf16Dot,
        GemmAlgo::kFloatTable, GemmAlgo::kRegisterTable, GemmAlgo::kShuffleTable, GemmAlgo::kByteTable}) {
    if (algo == GemmAlgo::kSumsTable && !HasSumsTables(GetParam())) continue;
    GemmSpec spec;
    const bool one_bit = algo == GemmAlgo::kSumsTable || algo == GemmAlgo::kRegisterTable;
    spec.format = one_bit ? Int1::info : Int5::info;
    spec.m = 70;
    spec.n = 70;
    spec.k = 70;
    if (algo == GemmAlgo::kTile || algo == GemmAlgo::kBf16Dot || algo == GemmAlgo::kFloatTable)
      spec.x_type = DType::kF32;
    const bool byte_row =
        algo == GemmAlgo::kFloatTable || algo == GemmAlgo::kShuffleTable || algo == GemmAlgo::kByteTable;
    if (byte_row) spec.unit = Unit::kByteRow;
    problems.emplace_back(spec);
    if (!problems.back().Accepts(algo, context)) continue;  // the target has no such instruction
    calls.push_back(problems.back().Call(algo));
  }
  for (const GemmCall& call : calls) {
    EXPECT_EQ(AllocationsOf([&] { Gemm<>(std::span<const GemmCall>(&call, 1), context); }), 0u);
    context.Check();
    EXPECT_EQ(AllocationsOf([&] { (void)Explain<>(call, context); }), 0u);
  }
  EXPECT_EQ(AllocationsOf([&] { Gemm<>(std::span<const GemmCall>(calls), context); }), 0u);
}

TEST_P(NoAllocation, DepthwiseConv2dAndChannelSplit) {
  constexpr size_t kH = 17, kW = 19, kC = 24;
  const std::vector<float> taps(7 * 7 * kC, 0.25f), in(kH * kW * kC, 1.0f);
  std::vector<float> out(in.size());
  ConvGeometry geometry;
  const DepthwiseKernel kernel(Nhwc(taps.data(), 1, 7, 7, kC), geometry);
  const DepthwisePlan plan(kernel, kH, kW, Layout::kNhwc);
  TargetContext context(GetParam(), Serial(), std::max(Context::kDefaultScratch, plan.scratch_per_worker()));
  const auto x = Nhwc(in.data(), 1, kH, kW, kC);
  const auto y = Nhwc(out.data(), 1, kH, kW, kC);
  EXPECT_EQ(AllocationsOf([&] { DepthwiseConv2d(plan, x, y, context); }), 0u);
  context.Check();
  const DepthwiseKernel part(Channels(Nhwc(taps.data(), 1, 7, 7, kC), 0, 8), geometry);
  const DepthwisePlan narrow(part, kH, kW, Layout::kNhwc);
  Branch branches[3];
  branches[0] = {0, 8, &narrow};
  branches[1] = {8, 16, nullptr, 1, -1};
  branches[2] = {16, 24};
  EXPECT_EQ(AllocationsOf([&] { ChannelSplit(branches, x, y, context); }), 0u);
  // Narrow images and integer taps.
  const std::vector<BF16> in_16(in.size());
  const DepthwisePlan direct(kernel, kH, kW, Layout::kNhwc, ConvAlgo::kDirect);
  EXPECT_EQ(AllocationsOf([&] { DepthwiseConv2d(direct, Nhwc(in_16.data(), 1, kH, kW, kC), y, context); }), 0u);
  const std::vector<int8_t> int_taps(taps.size(), 1), int_in(in.size(), 1);
  const DepthwisePlan integer(DepthwiseKernel(Nhwc(int_taps.data(), 1, 7, 7, kC)), kH, kW, Layout::kNhwc);
  EXPECT_EQ(AllocationsOf([&] { DepthwiseConv2d(integer, Nhwc(int_in.data(), 1, kH, kW, kC), y, context); }), 0u);
  context.Check();
}

}}}  // namespace lutra::testing
