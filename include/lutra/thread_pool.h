// Bridge: Highway's thread pool as an Executor. The only header of lutra that knows threads; link lutra::thread_pool.
#pragma once
#include "lutra/simd/targets.h"  // before any header of Highway

#include "hwy/contrib/thread_pool/thread_pool.h"

#include "lutra/core/context.h"

namespace lutra { inline namespace LUTRA_NS {
namespace internal {

inline void RunInPool(const Executor& e, size_t tasks, Executor::Task task, const void* job) {
  static_cast<hwy::ThreadPool*>(e.self)->Run(
      0, tasks, [&](uint64_t i, size_t worker) { task(job, static_cast<size_t>(i), worker); });
}

}  // namespace internal

// An executor over `pool`, which must outlive it. The calling thread is one of its workers, pool.NumWorkers() in all.
// Its threads spin while they wait: give it no more of them than there are idle cores. Where a batch of independent
// inputs is at hand, a thread per input with a Context of its own scales better than many small regions.
// The pool runs one region at a time: contexts over the same pool must not be used at the same time.
inline Executor PoolExecutor(hwy::ThreadPool& pool) { return {&pool, pool.NumWorkers(), 0, &internal::RunInPool}; }

}}  // namespace lutra::LUTRA_NS
