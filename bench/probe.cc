// The probe's kernels, once per target. Registers only, with enough independent chains to hide any latency; Opaque()
// keeps the compiler from seeing that nothing changes.
#include "bench/probe.h"

#ifndef HWY_DISABLED_TARGETS  // those of lutra/dispatch.h
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3 | HWY_AVX3_SPR | HWY_AVX3_ZEN4 | HWY_AVX10_2 | HWY_ALL_SVE)
#endif
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/probe.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "lutra/simd/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bench { namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using lutra::HWY_NAMESPACE::WithAccumulators;

template <class V>
HWY_INLINE V Opaque(V v) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_SSE2
  asm volatile("" : "+v"(v.raw));
#elif HWY_ARCH_ARM && HWY_TARGET <= HWY_NEON_WITHOUT_AES && HWY_TARGET >= HWY_NEON_BF16
  asm volatile("" : "+w"(v.raw));
#else
  asm volatile("" : "+m"(v));
#endif
  return v;
}

template <class D, class... V>
HWY_INLINE void Sink(D d, V... v) {
  auto all = hn::Zero(d);
  ((all = hn::Xor(all, v)), ...);
  auto lane = hn::GetLane(all);
  hwy::PreventElision(lane);
}

constexpr size_t kChains = 10;  // 2 a cycle of latency 4 need 8; 12 and the operands would not fit into 16 registers

// step(acc): the next value of one chain. Returns how often it ran.
template <class D, class Step>
HWY_INLINE double Chains(D d, size_t steps, const Step& step) {
  WithAccumulators<kChains>(d, [&](auto&... acc) LUTRA_TILE {
    for (size_t i = 0; i < steps; ++i) ((acc = Opaque(step(acc))), ...);
    Sink(d, acc...);
  });
  return static_cast<double>(steps * kChains);
}

// Sums of every byte; kPrefetch bytes ahead of the loads where it is not 0.
template <size_t kPrefetch>
HWY_INLINE void Read(const std::byte* bytes, size_t size) {
  const hn::ScalableTag<uint64_t> d;
  constexpr size_t kVectors = 8;
  const size_t step = hn::Lanes(d) * sizeof(uint64_t);
  WithAccumulators<kVectors>(d, [&](auto&... acc) LUTRA_TILE {
    for (const std::byte* end = bytes + size; bytes < end;) {
      if constexpr (kPrefetch != 0) {
        for (size_t i = 0; i < kVectors * step; i += 64) __builtin_prefetch(bytes + kPrefetch + i);
      }
      ((acc = hn::Xor(acc, hn::LoadU(d, reinterpret_cast<const uint64_t*>(bytes))), bytes += step), ...);
    }
    Sink(d, acc...);
  });
}

// Work done by `steps` steps; bytes: what the reading limits read, a multiple of 4 KiB.
inline double RunLimit(Limit limit, size_t steps, const std::byte* bytes, size_t size) {
#if HWY_TARGET != HWY_SCALAR
  const hn::ScalableTag<uint8_t> d8;
  const hn::Repartition<int8_t, decltype(d8)> d8i;
  const hn::Repartition<int16_t, decltype(d8)> d16;
  const double lanes8 = static_cast<double>(hn::Lanes(d8));
#endif
  switch (limit) {
#if HWY_TARGET != HWY_SCALAR
    case Limit::kPair: {
      const auto codes = Opaque(hn::Set(d8, 1));
      auto x = hn::Set(d8i, 1);
      return lanes8 * Chains(d16, steps, [&](auto acc) LUTRA_TILE {
               x = Opaque(x);
               return hn::Add(acc, hn::SatWidenMulPairwiseAdd(d16, codes, x));
             });
    }
    case Limit::kDot: {
#if (HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3_DL) || HWY_TARGET == HWY_NEON_BF16
      const hn::Repartition<int32_t, decltype(d8)> d32;
      const auto x = Opaque(hn::Set(d8i, 1));
#if HWY_ARCH_X86
      const auto codes = Opaque(hn::Set(d8, 1));
#else
      const auto codes = Opaque(hn::Set(d8i, 1));
#endif
      return lanes8 *
             Chains(d32, steps, [&](auto acc) LUTRA_TILE { return hn::SumOfMulQuadAccumulate(d32, codes, x, acc); });
#else
      return 0;
#endif
    }
    case Limit::kShuffle: {
      const auto table = Opaque(hn::Set(d8, 1));
      return lanes8 * Chains(d8, steps, [&](auto acc) LUTRA_TILE { return hn::TableLookupBytes(table, acc); });
    }
#endif
    case Limit::kBf16: {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3_DL && HWY_MAX_BYTES == 64
      if (!__builtin_cpu_supports("avx512bf16")) return 0;
      const hn::ScalableTag<float> df;
      const auto x = Opaque(hn::BitCast(hn::RebindToUnsigned<decltype(df)>(), hn::Set(df, 0.5f)));
      return 2 * static_cast<double>(hn::Lanes(df)) * Chains(df, steps, [&](auto acc) LUTRA_TILE {
               asm("vdpbf16ps {%1, %1, %0|%0, %1, %1}" : "+v"(acc.raw) : "v"(x.raw));
               return acc;
             });
#else
      return 0;
#endif
    }
    case Limit::kFma: {
      const hn::ScalableTag<float> df;
      const auto a = Opaque(hn::Set(df, 0.5f)), b = Opaque(hn::Set(df, 1.0f));
      return static_cast<double>(hn::Lanes(df)) *
             Chains(df, steps, [&](auto acc) LUTRA_TILE { return hn::MulAdd(a, acc, b); });
    }
    case Limit::kDram:
      Read<4096>(bytes, size);
      return static_cast<double>(size);
    case Limit::kL3:
    case Limit::kL2:
    case Limit::kL1:
      for (size_t i = 0; i < steps; ++i) Read<0>(bytes, size);
      return static_cast<double>(steps * size);
    default:
      return 0;
  }
}

}}  // namespace bench::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>

namespace bench {
namespace {

HWY_EXPORT(RunLimit);

using Kernel = double (*)(Limit, size_t, const std::byte*, size_t);
Kernel KernelFor(int64_t target) {
  hwy::ChosenTarget chosen;
  chosen.Update(target != 0 ? target : hwy::SupportedTargets() & HWY_TARGETS);
  return HWY_DISPATCH_TABLE(RunLimit)[chosen.GetIndex()];
}

constexpr size_t kHugePage = size_t{2} << 20;

// size: a multiple of kHugePage. One huge page more is mapped and cut off, so that all lie where huge pages do.
std::span<std::byte> MapMemory(size_t size) {
  void* mapped = mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) lutra::Fail("probe: no memory for %zu bytes", size);
  std::byte* at = static_cast<std::byte*>(mapped);
  const size_t skip = (kHugePage - reinterpret_cast<uintptr_t>(at) % kHugePage) % kHugePage;
  if (skip != 0) munmap(at, skip);
  if (skip != kHugePage) munmap(at + skip + size, kHugePage - skip);
  at += skip;
  madvise(at, size, MADV_HUGEPAGE);
  std::memset(at, 1, size);  // untouched pages would all be the one page of zeros, in L1
  return {at, size};
}

// Half of a level: the other half is for what else runs. L3: well above L2, well below what is shared with others.
size_t CacheBytes(Limit limit) {
  const auto level = [](int name, long fallback) {
    const long size = sysconf(name);
    return static_cast<size_t>(size > 0 ? size : fallback);
  };
  const size_t l2 = level(_SC_LEVEL2_CACHE_SIZE, 512 << 10);
  if (limit == Limit::kL1) return level(_SC_LEVEL1_DCACHE_SIZE, 32 << 10) / 2 / 4096 * 4096;
  if (limit == Limit::kL2) return l2 / 2 / 4096 * 4096;
  return std::max(4 * l2, level(_SC_LEVEL3_CACHE_SIZE, 16 << 20) / 8) / 4096 * 4096;
}

constexpr size_t kDramChunk = size_t{8} << 20, kCopyBytes = size_t{1} << 20;

}  // namespace

const char* NameOf(Limit limit) {
  static constexpr const char* kNames[] = {"pair", "dot", "bf16", "fma", "shuffle", "dram", "l3", "l2", "l1", "copy"};
  return kNames[static_cast<size_t>(limit)];
}
const char* UnitOf(Limit limit) { return limit <= Limit::kFma ? "GMAC/s" : limit == Limit::kShuffle ? "G/s" : "GB/s"; }

std::span<std::byte> ColdMemory() {
  static const std::span<std::byte> memory = MapMemory(size_t{512} << 20);
  return memory;
}

Piece CopyPiece(Team& team, const void* from, void* to, size_t bytes) {
  return {"copy", static_cast<double>(bytes), [=, &team] {
            const size_t workers = team.workers(), each = bytes / workers / 64 * 64;
            team.Run(workers, [&](size_t i, size_t) {
              std::memcpy(static_cast<char*>(to) + i * each, static_cast<const char*>(from) + i * each,
                          i + 1 == workers ? bytes - i * each : each);
            });
            asm volatile("" ::: "memory");
          }};
}

Piece LimitPiece(Limit limit, Team& team, int64_t target) {
  const size_t workers = team.workers();
  const Kernel kernel = KernelFor(target);
  Piece piece;
  piece.name = NameOf(limit);
  if (limit == Limit::kDram) {
    piece.warm = false;
    piece.work = static_cast<double>(kDramChunk);
    auto at = std::make_shared<size_t>(0);
    piece.run = [=, &team, memory = ColdMemory()] {
      const size_t each = kDramChunk / workers / 4096 * 4096;
      const std::byte* begin = memory.data() + *at;
      *at = (*at + kDramChunk) % memory.size();
      team.Run(workers, [&](size_t i, size_t) {
        kernel(limit, 1, begin + i * each, i + 1 == workers ? kDramChunk - each * (workers - 1) : each);
      });
    };
    return piece;
  }
  if (limit == Limit::kCopy) {
    auto memory = std::make_shared<std::vector<std::byte>>(2 * kCopyBytes * workers, std::byte{1});
    piece.work = static_cast<double>(kCopyBytes * workers);
    piece.run = [=, &team] {
      team.Run(workers, [&](size_t i, size_t) {
        std::byte* from = memory->data() + i * 2 * kCopyBytes;
        std::memcpy(from + kCopyBytes, from, kCopyBytes);
      });
    };
    return piece;
  }
  const bool reads = limit == Limit::kL1 || limit == Limit::kL2 || limit == Limit::kL3;
  const size_t each = reads ? CacheBytes(limit) : 0;
  const size_t steps = reads ? std::max<size_t>(1, (size_t{8} << 20) / each) : 10000;
  std::shared_ptr<std::byte> memory;  // in large pages: L3 reads through small ones are TLB misses, not reads
  if (reads) {
    const std::span<std::byte> mapped = MapMemory((each * workers + kHugePage - 1) / kHugePage * kHugePage);
    memory = {mapped.data(), [mapped](std::byte* at) { munmap(at, mapped.size()); }};
  }
  piece.work = kernel(limit, reads ? 0 : 1, nullptr, 0) * static_cast<double>(steps * workers);
  if (reads) piece.work = static_cast<double>(steps * each * workers);
  if (piece.work == 0) return piece;
  piece.run = [=, &team] {
    team.Run(workers, [&](size_t i, size_t) { kernel(limit, steps, reads ? memory.get() + i * each : nullptr, each); });
  };
  return piece;
}

double Measure(Limit limit, Team& team, int64_t target) {
  using Clock = std::chrono::steady_clock;
  const Piece piece = LimitPiece(limit, team, target);
  if (piece.work == 0) return 0;
  std::vector<double> rates;
  for (int i = 0; i < 33; ++i) {
    const auto begin = Clock::now();
    piece.run();
    const std::chrono::duration<double> time = Clock::now() - begin;
    if (i > 1) rates.push_back(piece.work / time.count() * 1e-9);
  }
  std::nth_element(rates.begin(), rates.begin() + 15, rates.end());
  return rates[15];
}

std::string ProbeText(int64_t target) {
  std::string text;
  const size_t all = CoreCount();
  std::vector<double> one;
  {
    Team team(1);
    for (const Limit limit : kAllLimits) one.push_back(Measure(limit, team, target));
  }
  Team team(all);
  for (const Limit limit : kAllLimits) {
    const double rate = one[static_cast<size_t>(limit)];
    if (rate == 0) continue;
    char line[80];
    std::snprintf(line, sizeof(line), "%s%s %.1f", text.empty() ? "" : ", ", NameOf(limit), rate);
    text += line;
    if (all > 1) {
      std::snprintf(line, sizeof(line), " (%.1f)", Measure(limit, team, target));
      text += line;
    }
    text.append(" ").append(UnitOf(limit));
  }
  return text;
}

}  // namespace bench
#endif
