// What a pass of a transform is told, and which passes there are: plain values, for all targets.
//
// A 2-D convolution of an image by kernels, of L channels at once (a lane each), goes through
//   rows     first factor: image row -> work[0 ... first / 2][second]        real to complex
//            second factor: work -> column order (Length::ForHalf)           complex; real where first's frequency is
//   columns  first factor: column -> work[first][second]                     its own conjugate
//            middle: second factor, times the kernel's spectrum, second factor back, in place
//            first factor back: work -> column
//   rows     second factor back, first factor back: column order -> work -> image row
// An axis of several parts (Circle) does so part by part; `across`, in place, meets columns of all parts before their
// columns pass and after it, and `work` of all parts before the middle and after it.
// A slot is one point: L floats re, then L floats im. `work` has a pitch known at compile time (kWorkPitch slots from
// one first-index to the next), so its addresses are a base and constants. Backward transforms run forward with re and
// im exchanged: the middle leaves them so, the last pass puts them back.
#pragma once
#include <cstddef>
#include <cstdint>

#include "lutra/fft/ladder.h"

// Targets with this room (a condition of each): vectors of a known size, of more than one lane. SSE2 is for CPUs older
// than 2008, which should get right answers and no seconds of anybody's compiler.
#define LUTRA_HAS_FFT (!HWY_HAVE_SCALABLE && HWY_TARGET != HWY_SCALAR && !(HWY_ARCH_X86 && HWY_TARGET == HWY_SSE2))

namespace lutra { inline namespace LUTRA_NS { namespace fft {

inline constexpr size_t kMostSlotLanes = 16;  // a slot has the lanes of the target's vectors, at most so many
// Spectra are the same for all vector lengths: [frequency]{16 re, 16 im}; a slot of fewer lanes takes its part of both.
inline constexpr size_t kSpectrumLanes = 16;
inline constexpr size_t kWorkPitch = 9;  // slots, odd: rows of `work` don't meet in the same sets of L1

struct Pass {
  const char* in;
  char* out;
  const int32_t* index;     // bytes to the time points, group by group; -1: known to be zero, or an output nobody wants
                            // (column_back: see ColumnBackSkips)
  const float* spectrum;    // middle: of the first transform of the batch
  ptrdiff_t point_step;     // bytes, in column order and across: between points of a transform
  ptrdiff_t group_step;     // bytes, the same: between groups
  ptrdiff_t in_step;        // bytes, between members of the batch
  ptrdiff_t out_step;       //
  ptrdiff_t spectrum_step;  // floats, between members of the batch
  size_t groups, batch;     // transforms of a member, members
};
using PassFn = void (*)(const Pass&);

struct FirstPasses {  // of a first factor
  PassFn row_forward, row_back, column_forward, column_back;
};
struct SecondPasses {  // of a second factor
  PassFn row_forward, row_forward_real, row_back, row_back_real, column_middle;
};

struct AcrossPasses {  // of a number of parts: in place in `out`, groups of the batch side by side
  PassFn forward, back;
};

// Bytes of `work` for one row (real) or one column of length l.
constexpr size_t WorkBytes(const Length& l, bool real, size_t lanes) {
  const size_t firsts = static_cast<size_t>(real ? l.first / 2 + 1 : l.first);
  return firsts * kWorkPitch * 2 * lanes * sizeof(float);
}

}}}  // namespace lutra::LUTRA_NS::fft
