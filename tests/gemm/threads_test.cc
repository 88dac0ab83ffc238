// Real threads: the same bits, and nothing for ThreadSanitizer to find.
#include <gtest/gtest.h>

#include "support/gemm_problem.h"

namespace lutra { namespace testing { namespace {

TEST(GemmThreads, ThreeWorkersEqualOne) {
  for (const size_t m : Sizes{1, 5, 200}) {
    GemmSpec spec;
    spec.format = Int4::info;
    spec.m = m;
    spec.n = 500;
    spec.k = 256;
    GemmProblem problem(spec);
    for (const std::string& target : TargetNames()) {
      TargetContext one(target);
      problem.ResetY();
      GemmCall call = problem.Call();
      Gemm<>(std::span<const GemmCall>(&call, 1), one);
      problem.SetWant(GemmAlgo::kIntDot, problem.YBytes());
      ThreeThreads threads;
      TargetContext three(target, threads.AsExecutor());
      for (const GemmAlgo algo : {GemmAlgo::kIntDot, GemmAlgo::kIntLanes})
        EXPECT_EQ(problem.Run(algo, three), "") << target;
      three.Check();
    }
  }
}

// A team of the caller's own: every thread makes the same call with a context of its own over Share(ith, nth).
TEST(GemmThreads, ShareOfATeamEqualsOne) {
  GemmSpec spec;
  spec.format = Int3::info;
  spec.m = 70;
  spec.n = 200;
  spec.k = 96;
  GemmProblem problem(spec);
  const std::vector<unsigned char> want = problem.Want(GemmAlgo::kIntDot);
  for (const size_t nth : Sizes{1, 2, 5}) {
    for (const std::string& target : TargetNames()) {
      problem.ResetY();
      const GemmCall call = problem.Call();
      std::vector<std::thread> team;
      for (size_t ith = 0; ith < nth; ++ith) {
        team.emplace_back([&, ith] {
          TargetContext mine(target, Share(ith, nth));
          Gemm<>(std::span<const GemmCall>(&call, 1), mine);
        });
      }
      for (std::thread& t : team) t.join();
      EXPECT_EQ(problem.YBytes(), want) << target << ' ' << nth;
    }
  }
}

// Contexts of different callers share x and w.
TEST(GemmThreads, ContextsShareOperands) {
  GemmSpec spec;
  spec.m = 20;
  spec.n = 100;
  spec.k = 128;
  GemmProblem problem(spec);
  const std::vector<unsigned char> want = problem.Want(GemmAlgo::kIntDot);
  std::vector<std::vector<float>> ys(4, std::vector<float>(spec.m * spec.n));
  std::vector<std::thread> callers;
  for (std::vector<float>& y : ys) {
    callers.emplace_back([&] {
      Context context;
      for (int i = 0; i < 20; ++i) Gemm<>(problem.xq(), problem.w(), View(y.data(), spec.m, spec.n), context);
    });
  }
  for (std::thread& t : callers) t.join();
  for (const std::vector<float>& y : ys) EXPECT_EQ(std::memcmp(y.data(), want.data(), want.size()), 0);
}

}}}  // namespace lutra::testing
