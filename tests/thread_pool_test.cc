#include "lutra/thread_pool.h"

#include <gtest/gtest.h>

#include <vector>

#include "lutra/gemm.h"

namespace lutra { namespace {

TEST(ThreadPoolThreads, EveryTaskRunsOnceOnAWorkerOfItsOwn) {
  hwy::ThreadPool pool(3);
  const Executor executor = PoolExecutor(pool);
  EXPECT_EQ(executor.workers, pool.NumWorkers());
  struct Job {
    std::vector<int> ran;
    std::vector<int> busy;
    size_t workers;
  } job{std::vector<int>(1000), std::vector<int>(executor.workers * 64), executor.workers};
  executor.run(
      executor, job.ran.size(),
      [](const void* p, size_t i, size_t worker) {
        Job& j = *const_cast<Job*>(static_cast<const Job*>(p));
        ASSERT_LT(worker, j.workers);
        EXPECT_EQ(j.busy[worker * 64]++, 0);  // a data race here is what the thread sanitizer looks for
        ++j.ran[i];
        --j.busy[worker * 64];
      },
      &job);
  for (const int count : job.ran) EXPECT_EQ(count, 1);
  executor.run(
      executor, 0, [](const void*, size_t, size_t) { FAIL(); }, &job);
}

TEST(ThreadPoolThreads, GemmGivesTheBitsOfOneThread) {
  const size_t m = 9, n = 200, k = 96;
  std::vector<uint8_t> codes(n * k);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>(i * i % 3);
  std::vector<float> scale(n, 0.25f), x(m * k), one(m * n), many(m * n);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 17) - 8.0f;
  CodedMatrix coded;
  coded.format = Ternary::info;
  coded.n = n;
  coded.k = coded.code_stride = k;
  coded.codes = codes.data();
  coded.scale = View(scale.data(), n, 1);
  hwy::ThreadPool pool(3);
  Context serial, parallel(PoolExecutor(pool));
  const PackedBuffer w = Pack(coded, parallel);
  ActivationBuffer a, b;
  Gemm<Ternary>(a.Quantize(View(x.data(), m, k), serial), w, View(one.data(), m, n), serial);
  Gemm<Ternary>(b.Quantize(View(x.data(), m, k), parallel), w, View(many.data(), m, n), parallel);
  EXPECT_EQ(one, many);
}

}}  // namespace lutra
