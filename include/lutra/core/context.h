// Who runs the work (Executor) and with which memory and target (Context).
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <span>

#include "lutra/core/status.h"

namespace lutra { inline namespace v0 {

// Runs `tasks` independent tasks: task(job, i, worker) once for each i, worker < workers, two tasks of the same worker
// never at the same time. `run` returns when all tasks of this call are done. lutra starts no threads itself.
struct Executor {
  using Task = void (*)(const void* job, size_t i, size_t worker);
  void* self = nullptr;
  size_t workers = 1;
  size_t rank = 0;  // Share: which of the workers this is
  void (*run)(const Executor& executor, size_t tasks, Task task, const void* job) = nullptr;
};

// What an op needs beside its arguments: an executor, scratch memory, optionally a forced SIMD target. Belongs to one
// caller at a time; different contexts are independent. Constructors allocate, runs never do.
class Context {
 public:
  // Bytes per worker: enough for GEMM and direct convolution. What a call does not need stays untouched.
  static constexpr size_t kDefaultScratch = size_t{1} << 20;
  static constexpr size_t kJobBytes = size_t{32} << 10;  // for lists of calls: 64 and more of them
  static constexpr size_t kAlign = 64;

  // Bytes that a caller's own memory needs, its alignment not counted on.
  static constexpr size_t Bytes(size_t workers, size_t scratch_per_worker = kDefaultScratch) {
    return kAlign + kJobBytes + workers * ((scratch_per_worker + kAlign - 1) / kAlign * kAlign);
  }

  Context();  // one thread
  // scratch_per_worker: raised to kDefaultScratch where it is less, which every op may count on.
  explicit Context(Executor executor, size_t scratch_per_worker = kDefaultScratch);
  // Memory of the caller's, at least Bytes(executor.workers, ...), which must outlive the context.
  Context(Executor executor, std::span<std::byte> memory);
  ~Context() { std::free(owned_); }
  Context(Context&& other) noexcept { *this = static_cast<Context&&>(other); }
  Context& operator=(Context&& other) noexcept {
    executor_ = other.executor_;
    target_ = other.target_;
    last_target_ = other.last_target_;
    base_ = other.base_;
    per_worker_ = other.per_worker_;
    void* const mine = owned_;
    owned_ = other.owned_;
    other.owned_ = mine;
    return *this;
  }

  LUTRA_MEMBER const Executor& executor() const { return executor_; }
  LUTRA_MEMBER size_t workers() const { return executor_.workers; }
  LUTRA_MEMBER size_t scratch_per_worker() const { return per_worker_; }
  LUTRA_MEMBER std::byte* job_memory() const { return base_; }  // kJobBytes
  LUTRA_MEMBER std::byte* scratch(size_t worker) const { return base_ + kJobBytes + worker * per_worker_; }

  // Highway's bit of the forced target, 0 for the best one: see ForceTarget in lutra/targets.h.
  LUTRA_MEMBER int64_t target() const { return target_; }
  LUTRA_MEMBER void set_target(int64_t target) { target_ = target; }
  // The target on which the kernels of the last op ran, 0 before the first and after an empty one.
  LUTRA_MEMBER int64_t last_target() const { return last_target_; }
  LUTRA_MEMBER void set_last_target(int64_t target) { last_target_ = target; }

 private:
  LUTRA_MEMBER void Place(void* memory, size_t bytes);

  Executor executor_;
  int64_t target_ = 0, last_target_ = 0;
  std::byte* base_ = nullptr;
  size_t per_worker_ = 0;
  void* owned_ = nullptr;
};

}}  // namespace lutra::v0

namespace lutra {
inline namespace LUTRA_NS {
namespace internal {

inline void RunSerial(const Executor&, size_t tasks, Executor::Task task, const void* job) {
  for (size_t i = 0; i < tasks; ++i) task(job, i, 0);
}
inline void RunShare(const Executor& e, size_t tasks, Executor::Task task, const void* job) {
  for (size_t i = e.rank; i < tasks; i += e.workers) task(job, i, e.rank);
}

}  // namespace internal

// The calling thread does everything.
inline Executor Serial() { return {nullptr, 1, 0, &internal::RunSerial}; }

// For a team of `nth` threads of the caller's: every thread makes the same call on the same arguments with a Context
// of its own over Share(ith, nth) and does its part. An op's output is complete when all have returned: the team's
// barrier is the caller's, also between an op and the next that reads its output. Needs ith < nth.
inline Executor Share(size_t ith, size_t nth) {
  if (ith >= nth) Fail("Share: ith is %zu, must be below nth = %zu", ith, nth);
  return {nullptr, nth, ith, &internal::RunShare};
}

}  // namespace LUTRA_NS

inline namespace v0 {

LUTRA_MEMBER void Context::Place(void* memory, size_t bytes) {
  const size_t skip = (kAlign - reinterpret_cast<uintptr_t>(memory) % kAlign) % kAlign;
  base_ = static_cast<std::byte*>(memory) + skip;
  per_worker_ = (bytes - skip - kJobBytes) / executor_.workers / kAlign * kAlign;
}
LUTRA_MEMBER Context::Context(Executor executor, size_t scratch_per_worker) : executor_(executor) {
  if (executor.run == nullptr || executor.workers == 0) {
    Fail("Context: executor has %zu workers and %s run function", executor.workers, executor.run ? "a" : "no");
  }
  if (scratch_per_worker < kDefaultScratch) scratch_per_worker = kDefaultScratch;
  size_t bytes = 0;
  if (scratch_per_worker > PTRDIFF_MAX / 2 || __builtin_mul_overflow(executor.workers, scratch_per_worker, &bytes) ||
      bytes > PTRDIFF_MAX / 2) {
    Fail("Context: %zu workers with %zu bytes of scratch do not fit into memory", executor.workers, scratch_per_worker);
  }
  bytes = Bytes(executor.workers, scratch_per_worker);
  owned_ = std::malloc(bytes);
  if (owned_ == nullptr) Fail("Context: no memory for %zu bytes of scratch", bytes);
  Place(owned_, bytes);
}
LUTRA_MEMBER Context::Context() : Context(Serial()) {}
LUTRA_MEMBER Context::Context(Executor executor, std::span<std::byte> memory) : executor_(executor) {
  if (executor.run == nullptr || executor.workers == 0) {
    Fail("Context: executor has %zu workers and %s run function", executor.workers, executor.run ? "a" : "no");
  }
  if (memory.size() < Bytes(executor.workers)) {
    Fail("Context: memory has %zu bytes, %zu workers need %zu", memory.size(), executor.workers,
         Bytes(executor.workers));
  }
  Place(memory.data(), memory.size());
}

}  // namespace v0
}  // namespace lutra
