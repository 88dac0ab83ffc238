// Threads pinned to cores, one executor for all benches. Worker 0 is the caller.
#pragma once
#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "lutra/core/context.h"

namespace bench {

// The cores this process may use, and pinning of the calling thread: to one of them, or (-1) to all.
size_t CoreCount();
void PinTo(int core);

// The caller is pinned to its core as long as the team lives.
class Team {
 public:
  explicit Team(size_t workers);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  size_t workers() const { return threads_.size() + 1; }
  // task(i) for each i below `tasks`, whoever is free takes the next.
  void Run(size_t tasks, const std::function<void(size_t task, size_t worker)>& task);
  lutra::Executor executor();

 private:
  void Work(size_t worker);
  void Loop(size_t worker);

  std::vector<std::thread> threads_;
  const std::function<void(size_t, size_t)>* task_ = nullptr;
  size_t tasks_ = 0;
  std::atomic<size_t> next_{0}, busy_{0};
  std::atomic<uint32_t> round_{0};
  std::atomic<bool> stop_{false};
};

// Peers start threads of their own: while one of these lives, a thread that is created may run on any core.
class Unpinned {
 public:
  Unpinned() { PinTo(-1); }
  ~Unpinned() { PinTo(0); }
};

}  // namespace bench
