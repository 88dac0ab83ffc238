// What this machine can do, measured now: the limits that benches compare an op with.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "bench/team.h"

namespace bench {

enum class Limit : uint8_t {
  kPair,     // u8 x s8 pair-multiply and 16-bit add, from registers
  kDot,      // 4-way u8 x s8 dot into 32 bits, where the target has an instruction for it
  kBf16,     // products of bf16 summed in pairs into f32, where the CPU has an instruction for it
  kFma,      // f32 multiply-add, from registers
  kShuffle,  // table lookups of bytes, from registers
  kDram,     // streaming read of 512 MiB
  kL3,
  kL2,
  kL1,
  kCopy,  // memcpy of kCopyBytes; bytes read count once
};
inline constexpr Limit kAllLimits[] = {Limit::kPair, Limit::kDot, Limit::kBf16, Limit::kFma, Limit::kShuffle,
                                       Limit::kDram, Limit::kL3,  Limit::kL2,   Limit::kL1,  Limit::kCopy};
const char* NameOf(Limit limit);  // "pair", ...
const char* UnitOf(Limit limit);  // "GMAC/s", "G/s" or "GB/s"

// Something that is timed: `work` operations or bytes each time it runs.
struct Piece {
  std::string name;
  double work = 0;
  std::function<void()> run;
  bool warm = true;  // one untimed run before the timed ones, so that other pieces don't cool its caches
};

// One short run (some 100 us; 8 MiB from DRAM) of a limit on all workers of a team. target: Highway's bit, 0 for the
// best. Its work is 0 where the target does not have it.
Piece LimitPiece(Limit limit, Team& team, int64_t target);
// memcpy of an op's own input to its output.
Piece CopyPiece(Team& team, const void* from, void* to, size_t bytes);

// The median rate of a limit, in units of 1e9 a second.
double Measure(Limit limit, Team& team, int64_t target);

// Memory for things that must not be in any cache: 512 MiB, made at first use.
std::span<std::byte> ColdMemory();

// "pair 178.9 (357.1) GMAC/s, ..." : one worker, and in brackets all of them.
std::string ProbeText(int64_t target);

}  // namespace bench
