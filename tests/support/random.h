// Pseudo-random numbers that are the same everywhere: golden hashes depend on them.
#pragma once
#include <cstddef>
#include <cstdint>

namespace lutra { namespace testing {

struct Random {  // SplitMix64
  uint64_t state = 0;
  uint64_t Next() {
    uint64_t z = state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
  }
  // 0 ... n - 1.
  size_t Below(size_t n) { return static_cast<size_t>((Next() >> 32) * n >> 32); }
  // In [-1, 1), a multiple of 2^-20.
  float Float() { return static_cast<float>(static_cast<int32_t>(Below(1u << 21)) - (1 << 20)) * 0x1p-20f; }
  template <class T, size_t kN>
  const T& Of(const T (&choices)[kN]) {
    return choices[Below(kN)];
  }
};

// FNV-1a over bytes.
inline uint64_t Hash(const void* data, size_t size, uint64_t hash = 0xCBF29CE484222325u) {
  for (size_t i = 0; i < size; ++i) hash = (hash ^ static_cast<const uint8_t*>(data)[i]) * 0x100000001B3u;
  return hash;
}

}}  // namespace lutra::testing
