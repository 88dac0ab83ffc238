#include "bench/team.h"

#include <pthread.h>
#include <sched.h>

namespace bench {
namespace {

const std::vector<int>& Cores() {
  static const std::vector<int> cores = [] {
    std::vector<int> all;
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) == 0) {
      for (int i = CPU_SETSIZE - 1; i >= 0; --i) {  // the last first: interrupts like the first
        if (CPU_ISSET(static_cast<size_t>(i), &set)) all.push_back(i);
      }
    }
    if (all.empty()) all.push_back(0);
    return all;
  }();
  return cores;
}

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

size_t CoreCount() { return Cores().size(); }

void PinTo(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (size_t i = 0; i < Cores().size(); ++i) {
    if (core < 0 || i == static_cast<size_t>(core) % Cores().size()) CPU_SET(static_cast<size_t>(Cores()[i]), &set);
  }
  pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

Team::Team(size_t workers) {
  PinTo(0);
  for (size_t i = 1; i < workers; ++i) threads_.emplace_back([this, i] { Loop(i); });
}

Team::~Team() {
  stop_ = true;
  round_.fetch_add(1);
  round_.notify_all();
  for (std::thread& t : threads_) t.join();
  PinTo(-1);
}

void Team::Work(size_t worker) {
  for (size_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < tasks_;) (*task_)(i, worker);
}

void Team::Loop(size_t worker) {
  PinTo(static_cast<int>(worker));
  for (uint32_t seen = 0;;) {
    for (int spins = 0; round_.load(std::memory_order_acquire) == seen;) {
      // Spin through the pauses between repetitions, then let others have the core.
      if (++spins < 20000) {
        Pause();
      } else {
        round_.wait(seen);
      }
    }
    seen = round_.load(std::memory_order_acquire);
    if (stop_) return;
    Work(worker);
    busy_.fetch_sub(1, std::memory_order_release);
  }
}

void Team::Run(size_t tasks, const std::function<void(size_t, size_t)>& task) {
  task_ = &task;
  tasks_ = tasks;
  next_.store(0, std::memory_order_relaxed);
  busy_.store(threads_.size(), std::memory_order_relaxed);
  round_.fetch_add(1, std::memory_order_release);
  if (!threads_.empty()) round_.notify_all();
  Work(0);
  while (busy_.load(std::memory_order_acquire) != 0) Pause();
}

lutra::Executor Team::executor() {
  return {this, workers(), 0, [](const lutra::Executor& e, size_t tasks, lutra::Executor::Task task, const void* job) {
            static_cast<Team*>(e.self)->Run(tasks, [&](size_t i, size_t worker) { task(job, i, worker); });
          }};
}

}  // namespace bench
