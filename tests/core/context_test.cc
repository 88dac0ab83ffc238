// Executors and contexts.
#include "lutra/core/context.h"

#include <gtest/gtest.h>

#include <vector>

#include "support/guarded.h"
#include "support/targets.h"

// The address sanitizer otherwise ends the program where malloc would return null.
extern "C" const char* __asan_default_options() {  // NOLINT(bugprone-reserved-identifier)
  return "allocator_may_return_null=1";
}

namespace lutra { namespace testing { namespace {

// Which worker ran which task, in order.
struct Log {
  std::vector<std::pair<size_t, size_t>> entries;
  static void Task(const void* job, size_t i, size_t worker) {
    const_cast<Log*>(static_cast<const Log*>(job))->entries.emplace_back(i, worker);
  }
};
std::vector<std::pair<size_t, size_t>> RunOn(const Executor& e, size_t tasks) {
  Log log;
  e.run(e, tasks, &Log::Task, &log);
  return log.entries;
}
using Pairs = std::vector<std::pair<size_t, size_t>>;

TEST(Executor, SerialRunsEveryTaskInOrder) {
  EXPECT_EQ(Serial().workers, 1u);
  EXPECT_EQ(RunOn(Serial(), 3), (Pairs{{0, 0}, {1, 0}, {2, 0}}));
  EXPECT_EQ(RunOn(Serial(), 0), Pairs{});
}

TEST(Executor, SharesOfATeamCoverEveryTaskOnce) {
  for (const size_t nth : Sizes{1, 2, 3, 7}) {
    for (const size_t tasks : Sizes{0, 1, 2, 6, 7, 20}) {
      std::vector<int> seen(tasks);
      for (size_t ith = 0; ith < nth; ++ith) {
        const Executor e = Share(ith, nth);
        EXPECT_EQ(e.workers, nth);
        for (const auto& [task, worker] : RunOn(e, tasks)) {
          ++seen[task];
          EXPECT_EQ(worker, ith);
        }
      }
      EXPECT_EQ(seen, std::vector<int>(tasks, 1));
    }
  }
  EXPECT_EQ(FailureOf([] { (void)Share(2, 2); }), "Share: ith is 2, must be below nth = 2");
  EXPECT_EQ(FailureOf([] { (void)Share(0, 0); }), "Share: ith is 0, must be below nth = 0");
}

// Every worker's scratch is aligned, as large as said, inside of the memory, and nobody else's.
void CheckScratch(const Context& context, size_t at_least) {
  EXPECT_GE(context.scratch_per_worker(), at_least);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(context.job_memory()) % Context::kAlign, 0u);
  std::memset(context.job_memory(), 0xEE, Context::kJobBytes);
  for (size_t w = 0; w < context.workers(); ++w) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(context.scratch(w)) % Context::kAlign, 0u);
    std::memset(context.scratch(w), static_cast<int>(w), context.scratch_per_worker());
  }
  for (size_t w = 0; w < context.workers(); ++w) {
    for (size_t i = 0; i < context.scratch_per_worker(); i += 63) EXPECT_EQ(context.scratch(w)[i], std::byte(w));
  }
  EXPECT_EQ(context.job_memory()[Context::kJobBytes - 1], std::byte{0xEE});
}

TEST(Context, OwnsAlignedScratchForEachWorker) {
  Backwards three;
  CheckScratch(Context(), Context::kDefaultScratch);
  CheckScratch(Context(three.AsExecutor()), Context::kDefaultScratch);
  CheckScratch(Context(three.AsExecutor(), 100001), 100001);
  CheckScratch(Context(three.AsExecutor(), 1), Context::kDefaultScratch);  // what every op may count on
  CheckScratch(Context(three.AsExecutor(), 0), Context::kDefaultScratch);
}

TEST(Context, TakesTheCallersMemoryAtAnyAlignment) {
  Backwards three;
  for (const size_t offset : Sizes{0, 1, 17, 63}) {
    GuardedBytes memory(Context::Bytes(3) + offset);
    const Context context(three.AsExecutor(),
                          {reinterpret_cast<std::byte*>(memory.data()) + offset, Context::Bytes(3)});
    CheckScratch(context, Context::kDefaultScratch);
    EXPECT_TRUE(memory.CanariesIntact());
  }
  std::vector<std::byte> large(Context::Bytes(2, 1 << 20));
  Executor two = three.AsExecutor();
  two.workers = 2;
  EXPECT_GE(Context(two, large).scratch_per_worker(), size_t{1} << 20) << "more memory is more scratch";
}

TEST(Context, RefusesMemoryThatIsTooSmallOrTooLarge) {
  std::vector<std::byte> memory(Context::Bytes(1) - 1);
  EXPECT_EQ(FailureOf([&] { const Context c(Serial(), memory); }),
            "Context: memory has " + std::to_string(memory.size()) + " bytes, 1 workers need " +
                std::to_string(memory.size() + 1));
  EXPECT_EQ(FailureOf([] { const Context c(Serial(), SIZE_MAX); }),
            "Context: 1 workers with 18446744073709551615 bytes of scratch do not fit into memory");
  Executor many = Serial();
  many.workers = size_t{1} << 50;
  EXPECT_EQ(FailureOf([&] { const Context c(many, size_t{1} << 20); }),
            "Context: 1125899906842624 workers with 1048576 bytes of scratch do not fit into memory");
  EXPECT_EQ(FailureOf([&] { const Context c(Serial(), size_t{1} << 60); }).find("Context: no memory for "), 0u);
  EXPECT_EQ(FailureOf([] { const Context c(Executor{}); }), "Context: executor has 1 workers and no run function");
  Executor none = Serial();
  none.workers = 0;
  EXPECT_EQ(FailureOf([&] { const Context c(none); }), "Context: executor has 0 workers and a run function");
  EXPECT_EQ(FailureOf([&] { const Context c(none, memory); }), "Context: executor has 0 workers and a run function");
}

TEST(Context, MovesItsMemoryAndItsTarget) {
  Context first;
  first.set_target(1);
  first.set_last_target(2);
  std::byte* const scratch = first.scratch(0);
  Context second(std::move(first));
  EXPECT_EQ(second.scratch(0), scratch);
  EXPECT_EQ(second.target(), 1);
  EXPECT_EQ(second.last_target(), 2);
  Context third;
  third = std::move(second);
  EXPECT_EQ(third.scratch(0), scratch);
  CheckScratch(third, Context::kDefaultScratch);
}

}}}  // namespace lutra::testing
