// Timing: an op, the limits that bound it and its rivals run in turn, A B C A B C, each for some 150 us at a time, and
// what is reported are medians over rounds of times and of the ratios inside a round.
#pragma once
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <new>
#include <string>
#include <vector>

#include "bench/probe.h"
#include "lutra/targets.h"

namespace bench {

struct Options {
  bool smoke = false;  // check answers, hardly any timing
  int rounds = 21;     // of a row; fewer for slow ones
  int64_t target = 0;  // forced target
};
const Options& Flags();

// A limit of an op: the op's own work in the limit's terms, and what measures it.
struct Bound {
  Piece piece;
  double work = 0;
};

struct Row {
  Piece op;                   // `work`: multiply-adds, or bytes with `bytes` set
  bool bytes = false;         // the rate is gbs instead of gmacs
  double traffic = 0;         // where not 0: also reports gbs of so many bytes
  std::vector<Bound> bounds;  // the first is `limit`, with `share`; each gives of_<name>. Without work: left out
  std::vector<Piece> rivals;  // vs_<name> = the rival's time for one unit of work / ours
  std::string note;
};

// Registers `body` under a name, with threads:1 or threads:all appended. The body gets a context on a pinned team, on
// the forced target.
struct Bench {
  benchmark::State& state;
  Team& team;
  lutra::Context& context;
  Bound Against(Limit limit, double work) const { return {LimitPiece(limit, team, Flags().target), work}; }
  void Time(Row row);  // times a row and reports it
};
void Register(const std::string& name, bool all_threads, std::function<void(Bench&)> body,
              size_t scratch = lutra::Context::kDefaultScratch);

// snprintf to a string, for names.
__attribute__((format(printf, 1, 2))) std::string Format(const char* format, ...);

// Memory as engines and the peers hold tensors: from the beginning of a cache line.
template <class T>
struct LineAllocator {
  using value_type = T;
  LineAllocator() = default;
  template <class U>
  LineAllocator(const LineAllocator<U>&) {}
  T* allocate(size_t count) { return static_cast<T*>(::operator new (count * sizeof(T), std::align_val_t{64})); }
  void deallocate(T* p, size_t) { ::operator delete (p, std::align_val_t{64}); }
  bool operator==(const LineAllocator&) const = default;
};
using AlignedFloats = std::vector<float, LineAllocator<float>>;
inline AlignedFloats Aligned(const std::vector<float>& v) { return AlignedFloats(v.begin(), v.end()); }

// Random numbers for inputs, the same in every run.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u + 1) {}
  uint64_t Next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_;
  }
  uint64_t Below(uint64_t n) { return (Next() >> 32) * n >> 32; }
  float Normal();  // mean 0, standard deviation 1, near enough

 private:
  uint64_t state_;
};
inline std::vector<float> NormalFloats(size_t count, uint64_t seed) {
  Random random(seed);
  std::vector<float> v(count);
  for (float& x : v) x = random.Normal();
  return v;
}

// The fastest of three, for what is only compared roughly.
template <class Run>
double Seconds(Run& run) {
  double least = 1e9;
  for (int i = 0; i < 3; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    run();
    least = std::min(least, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return least;
}

}  // namespace bench
