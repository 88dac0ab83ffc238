// Every target of this CPU, forced, with proof that it ran; and executors for tests.
#pragma once
#include <gtest/gtest.h>

#include <atomic>
#include <initializer_list>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "lutra/core/context.h"
#include "lutra/targets.h"

namespace lutra { namespace testing {

using Sizes = std::initializer_list<size_t>;  // for (const size_t m : Sizes{0, 1, 33})

inline std::vector<std::string> TargetNames() {
  std::vector<std::string> names;
  for (const Target& t : Targets()) names.emplace_back(t.name);
  return names;
}
// For INSTANTIATE_TEST_SUITE_P(All, Suite, ::testing::ValuesIn(TargetNames()), NameOfTarget).
inline std::string NameOfTarget(const ::testing::TestParamInfo<std::string>& info) { return info.param; }

// Whether a target's MulAdd rounds once.
inline bool HasFma(const std::string& target) { return target.rfind("SSE", 0) != 0 && target != "SSSE3"; }

// Whether a target has tables of sums: vectors of a known size, of x86 from AVX2 on.
inline bool HasSumsTables(const std::string& target) {
  return target.rfind("AVX", 0) == 0 || target.rfind("NEON", 0) == 0 || target == "EMU128";
}

// Whether a target has tables in registers: AVX-512 with lookups of bytes.
inline bool HasRegisterTables(const std::string& target) { return target.rfind("AVX3_", 0) == 0; }
inline bool HasByteTables(const std::string& target) { return target != "SSE2" && target != "SCALAR"; }

// A Context on `target`; Check() after each op that had work fails if its kernels ran elsewhere.
class TargetContext {
 public:
  explicit TargetContext(const std::string& target, Executor executor = Serial(),
                         size_t scratch = Context::kDefaultScratch)
      : context_(executor, scratch) {
    const Status status = ForceTarget(context_, target);
    EXPECT_TRUE(status.ok()) << status.message();
  }
  operator Context&() { return context_; }
  Context& get() { return context_; }
  void Check() {
    EXPECT_NE(context_.last_target(), 0);
    EXPECT_EQ(context_.last_target(), context_.target())
        << "ran on " << TargetName(context_.last_target()) << ", forced was " << TargetName(context_.target());
  }

 private:
  Context context_;
};

// Three threads that take tasks from a counter; counts the calls of run.
struct ThreeThreads {
  size_t runs = 0;

  Executor AsExecutor() { return {this, 3, 0, &Run}; }

 private:
  static void Run(const Executor& e, size_t tasks, Executor::Task task, const void* job) {
    ++static_cast<ThreeThreads*>(e.self)->runs;
    std::atomic<size_t> next{0};
    const auto work = [&](size_t worker) {
      for (size_t i = next++; i < tasks; i = next++) task(job, i, worker);
    };
    std::thread first(work, size_t{1}), second(work, size_t{2});
    work(0);
    first.join();
    second.join();
  }
};

// One thread that plays three workers (or as many as the executor is set to) and takes the tasks backwards.
struct Backwards {
  size_t runs = 0;

  Executor AsExecutor() { return {this, 3, 0, &Run}; }

 private:
  static void Run(const Executor& e, size_t tasks, Executor::Task task, const void* job) {
    ++static_cast<Backwards*>(e.self)->runs;
    for (size_t i = tasks; i-- != 0;) task(job, i, i % e.workers);
  }
};

// One worker, and three that take tasks backwards, on one target.
struct ContextPair {
  explicit ContextPair(const std::string& target) : one(target), other(target, three.AsExecutor()) {}

  Backwards three;
  TargetContext one, other;
};
// Those of a target, made once: scratch is most of what a small problem costs.
inline ContextPair& ContextsOn(const std::string& target) {
  static std::map<std::string, ContextPair> all;
  return all.try_emplace(target, target).first->second;
}

// The message with which `call` Fails; empty where it does not.
template <class Call>
std::string FailureOf(const Call& call) {
  try {
    call();
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
  return {};
}

}}  // namespace lutra::testing
