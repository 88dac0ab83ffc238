// The passes of pass.h over codelets: one function per pass and radix, any length, any count.
#if defined(LUTRA_FFT_PASSES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_FFT_PASSES_INL_H_
#undef LUTRA_FFT_PASSES_INL_H_
#else
#define LUTRA_FFT_PASSES_INL_H_
#endif

#include <iterator>
#include <utility>

#include "lutra/fft/codelets-inl.h"
#include "lutra/fft/pass.h"

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {
#if LUTRA_HAS_FFT

using FftTag = hn::CappedTag<float, fft::kMostSlotLanes>;
using FftVec = hn::Vec<FftTag>;
using FftPoint = Complex<FftVec>;
inline constexpr size_t kFftLanes = HWY_MAX_LANES_D(FftTag);
inline constexpr ptrdiff_t kSlot = 2 * kFftLanes * sizeof(float), kWorkRow = fft::kWorkPitch * kSlot;

HWY_INLINE FftVec LoadReal(const char* p) { return hn::Load(FftTag(), reinterpret_cast<const float*>(p)); }
HWY_INLINE void StoreReal(FftVec v, char* p) { hn::Store(v, FftTag(), reinterpret_cast<float*>(p)); }
HWY_INLINE FftPoint LoadPoint(const char* p) { return {LoadReal(p), LoadReal(p + kSlot / 2)}; }
HWY_INLINE void StorePoint(FftPoint v, char* p) {
  StoreReal(v.re, p);
  StoreReal(v.im, p + kSlot / 2);
}

// Each pass: one transform, group q of member m. kIndexed: by the index table. kGroupsOutside: better where the batch
// is contiguous in column order. Elsewhere groups are inside: the other order makes GCC keep all offsets of a group, in
// vector registers.
struct RowForward1 {  // image row -> work[0 ... R / 2][q]
  static constexpr bool kGroupsOutside = false, kIndexed = true;
  template <int kR>
  static HWY_INLINE void Group(const fft::Pass&, const int32_t* index, size_t q, size_t, const char* in, char* out) {
    const FftTag d;
    FftVec x[kR];
    FftPoint y[kR / 2 + 1];
    HWY_UNROLL(16) for (int r = 0; r < kR; ++r) {
      const int32_t at = index[r];
      x[r] = at < 0 ? hn::Zero(d) : hn::LoadU(d, reinterpret_cast<const float*>(in + at));
    }
    RealDft<kR>(d, x, y);
    char* const o = out + static_cast<ptrdiff_t>(q) * kSlot;
    StoreReal(y[0].re, o);
    HWY_UNROLL(16) for (int r = 1; r <= (kR - 1) / 2; ++r) StorePoint(y[r], o + r * kWorkRow);
    if constexpr (kR % 2 == 0) StoreReal(y[kR / 2].re, o + kR / 2 * kWorkRow);
  }
};
struct RowForward2 {  // work[b = q][.] -> columns
  static constexpr bool kGroupsOutside = true;
  template <int kR>
  static HWY_INLINE void Group(const fft::Pass& p, const int32_t*, size_t q, size_t, const char* in, char* out) {
    FftPoint x[kR];
    const char* const i = in + static_cast<ptrdiff_t>(q) * kWorkRow;
    char* const o = out + static_cast<ptrdiff_t>(q) * p.group_step;
    HWY_UNROLL(16) for (int r = 0; r < kR; ++r) x[r] = LoadPoint(i + r * kSlot);
    Dft<kR>(FftTag(), x);
    HWY_UNROLL(16) for (int r = 0; r < kR; ++r) StorePoint(x[r], o + r * p.point_step);
  }
};
struct RowForward2Real {  // work[0 or R / 2][.], real -> half of the columns
  static constexpr bool kGroupsOutside = true;
  template <int kR>
  static HWY_INLINE void Group(const fft::Pass& p, const int32_t*, size_t, size_t, const char* in, char* out) {
    const FftTag d;
    FftVec x[kR];
    FftPoint y[kR / 2 + 1];
    HWY_UNROLL(16) for (int r = 0; r < kR; ++r) x[r] = LoadReal(in + r * kSlot);
    RealDft<kR>(d, x, y);
    y[0].im = hn::Zero(d);
    if constexpr (kR % 2 == 0) y[kR / 2].im = hn::Zero(d);
    HWY_UNROLL(16) for (int r = 0; r <= kR / 2; ++r) StorePoint(y[r], out + r * p.point_step);
  }
};
struct ColumnForward {  // column -> work[.][q]
  static constexpr bool kGroupsOutside = false, kIndexed = true;
  template <int kR>
  static HWY_INLINE void Group(const fft::Pass&, const int32_t* index, size_t q, size_t, const char* in, char* out) {
    const FftTag d;
    FftPoint x[kR];
    HWY_UNROLL(16) for (int r = 0; r < kR; ++r) {
      const int32_t at = index[r];
      x[r] = at < 0 ? FftPoint{hn::Zero(d), hn::Zero(d)} : LoadPoint(in + at);
    }
    Dft<kR>(d, x);
    char* const o = out + static_cast<ptrdiff_t>(q) * kSlot;
    HWY_UNROLL(16) for (int r = 0; r < kR; ++r) StorePoint(x[r], o + r * kWorkRow);
  }
};
struct ColumnMiddle {  // work[q][.]: forward, times the spectrum with re and im exchanged, forward again: that is back
  static constexpr bool kGroupsOutside = false, kIndexed = false;
  template <int kR>
  static HWY_INLINE void Group(const fft::Pass& p, const int32_t*, size_t q, size_t m, const char*, char* out) {
    const FftTag d;
    constexpr size_t kStep = 2 * fft::kSpectrumLanes;
    FftPoint x[kR];
    char* const o = out + static_cast<ptrdiff_t>(q) * kWorkRow;
    const float* const s = p.spectrum + static_cast<ptrdiff_t>(m) * p.spectrum_step + q * kR * kStep;
    HWY_UNROLL(16) for (int r = 0; r < kR; ++r) x[r] = LoadPoint(o + r * kSlot);
    Dft<kR>(d, x);
    HWY_UNROLL(16) for (size_t r = 0; r < kR; ++r) {
      const FftVec re = hn::Load(d, s + r * kStep), im = hn::Load(d, s + r * kStep + fft::kSpectrumLanes);
      x[r] = {hn::MulAdd(x[r].re, im, hn::Mul(x[r].im, re)), hn::NegMulAdd(x[r].im, im, hn::Mul(x[r].re, re))};
    }
    Dft<kR>(d, x);
    HWY_UNROLL(16) for (int r = 0; r < kR; ++r) StorePoint(x[r], o + r * kSlot);
  }
};
// Whether column_back of a radix skips outputs with index -1. Clang lets all values of a group wait for the first
// branch, which 9 points don't in registers: there the index of an unwanted output is that of a slot which nobody
// reads.
constexpr bool ColumnBackSkips([[maybe_unused]] int r) {
#if defined(__clang__)
  return r < 9;
#else
  return true;
#endif
}
struct ColumnBack {  // work[.][q] -> column, exchanged back
  static constexpr bool kGroupsOutside = false, kIndexed = true;
  template <int kR>
  static HWY_INLINE void Group(const fft::Pass&, const int32_t* index, size_t q, size_t, const char* in, char* out) {
    FftPoint x[kR];
    const char* const i = in + static_cast<ptrdiff_t>(q) * kSlot;
    HWY_UNROLL(16) for (int r = 0; r < kR; ++r) x[r] = LoadPoint(i + r * kWorkRow);
    Dft<kR>(FftTag(), x);
    HWY_UNROLL(16) for (int r = 0; r < kR; ++r) {
      const int32_t at = index[r];
      if (!ColumnBackSkips(kR) || at >= 0) StorePoint(Exchanged(x[r]), out + at);
    }
  }
};
struct RowBack2 {  // columns -> work[b = q][.]
  static constexpr bool kGroupsOutside = true;
  template <int kR>
  static HWY_INLINE void Group(const fft::Pass& p, const int32_t*, size_t q, size_t, const char* in, char* out) {
    FftPoint x[kR];
    const char* const i = in + static_cast<ptrdiff_t>(q) * p.group_step;
    char* const o = out + static_cast<ptrdiff_t>(q) * kWorkRow;
    HWY_UNROLL(16) for (int r = 0; r < kR; ++r) x[r] = Exchanged(LoadPoint(i + r * p.point_step));
    Dft<kR>(FftTag(), x);
    HWY_UNROLL(16) for (int r = 0; r < kR; ++r) StorePoint(Exchanged(x[r]), o + r * kSlot);
  }
};
struct RowBack2Real {  // half of the columns -> work[0 or R / 2][.], real
  static constexpr bool kGroupsOutside = true;
  template <int kR>
  static HWY_INLINE void Group(const fft::Pass& p, const int32_t*, size_t, size_t, const char* in, char* out) {
    FftPoint y[kR / 2 + 1];
    FftVec x[kR];
    HWY_UNROLL(16) for (int r = 0; r <= kR / 2; ++r) y[r] = LoadPoint(in + r * p.point_step);
    HalfToReal<kR>(FftTag(), y, x);
    HWY_UNROLL(16) for (int r = 0; r < kR; ++r) StoreReal(x[r], out + r * kSlot);
  }
};
struct RowBack1 {  // work[0 ... R / 2][q] -> image row
  static constexpr bool kGroupsOutside = false, kIndexed = true;
  template <int kR>
  static HWY_INLINE void Group(const fft::Pass&, const int32_t* index, size_t q, size_t, const char* in, char* out) {
    const FftTag d;
    FftPoint y[kR / 2 + 1];
    FftVec x[kR];
    const char* const i = in + static_cast<ptrdiff_t>(q) * kSlot;
    y[0].re = LoadReal(i);
    HWY_UNROLL(16) for (int r = 1; r <= (kR - 1) / 2; ++r) y[r] = LoadPoint(i + r * kWorkRow);
    if constexpr (kR % 2 == 0) y[kR / 2].re = LoadReal(i + kR / 2 * kWorkRow);
    HalfToReal<kR>(d, y, x);
    HWY_UNROLL(16) for (int r = 0; r < kR; ++r) {
      const int32_t at = index[r];
      if (at >= 0) hn::StoreU(x[r], d, reinterpret_cast<float*>(out + at));
    }
  }
};

template <bool kBack>
struct Across {  // out[.], in place
  static constexpr bool kGroupsOutside = false, kIndexed = false;
  template <int kR>
  static HWY_INLINE void Group(const fft::Pass& p, const int32_t*, size_t q, size_t, const char*, char* out) {
    FftPoint x[kR];
    char* const o = out + static_cast<ptrdiff_t>(q) * p.group_step;
    HWY_UNROLL(16) for (int r = 0; r < kR; ++r) {
      x[r] = LoadPoint(o + r * p.point_step);
      if constexpr (kBack) x[r] = Exchanged(x[r]);
    }
    Dft<kR>(FftTag(), x);
    HWY_UNROLL(16) for (int r = 0; r < kR; ++r) { StorePoint(kBack ? Exchanged(x[r]) : x[r], o + r * p.point_step); }
  }
};

template <class Kind, int kR>
HWY_NOINLINE void RunPass(const fft::Pass& pass) {
  const fft::Pass p = pass;  // a copy: stores through p.out can't change it
  if constexpr (Kind::kGroupsOutside) {
    for (size_t q = 0; q < p.groups; ++q) {
      const char* in = p.in;
      char* out = p.out;
      for (size_t m = 0; m < p.batch; ++m, in += p.in_step, out += p.out_step) {
        Kind::template Group<kR>(p, nullptr, q, m, in, out);
      }
    }
  } else {
    const char* in = p.in;
    char* out = p.out;
    for (size_t m = 0; m < p.batch; ++m, in += p.in_step, out += p.out_step) {
      const int32_t* index = p.index;
      for (size_t q = 0; q < p.groups; ++q) {
        Kind::template Group<kR>(p, index, q, m, in, out);
        if constexpr (Kind::kIndexed) index += kR;
      }
    }
  }
}

template <int kR>
constexpr fft::FirstPasses FirstPassesOf() {
  return {RunPass<RowForward1, kR>, RunPass<RowBack1, kR>, RunPass<ColumnForward, kR>, RunPass<ColumnBack, kR>};
}
template <int kR>
constexpr fft::SecondPasses SecondPassesOf() {
  return {RunPass<RowForward2, kR>, RunPass<RowForward2Real, kR>, RunPass<RowBack2, kR>, RunPass<RowBack2Real, kR>,
          RunPass<ColumnMiddle, kR>};
}
// Of a factor that the ladder has; null where it does not, and on targets without this room. Templates: who does not
// call them does not compile hundreds of passes.
template <class = void>
fft::FirstPasses FirstPassesFor(int r) {
  fft::FirstPasses found{};
  [&]<size_t... kI>(std::index_sequence<kI...>) {
    ((r == fft::kFirstFactors[kI] ? void(found = FirstPassesOf<fft::kFirstFactors[kI]>()) : void()), ...);
  }
  (std::make_index_sequence<std::size(fft::kFirstFactors)>());
  return found;
}
template <class = void>
fft::SecondPasses SecondPassesFor(int r) {
  fft::SecondPasses found{};
  [&]<size_t... kI>(std::index_sequence<kI...>) {
    ((r == fft::kSecondFactors[kI] ? void(found = SecondPassesOf<fft::kSecondFactors[kI]>()) : void()), ...);
  }
  (std::make_index_sequence<std::size(fft::kSecondFactors)>());
  return found;
}
template <class = void>
fft::AcrossPasses AcrossPassesFor(int r) {
  fft::AcrossPasses found{};
  [&]<size_t... kI>(std::index_sequence<kI...>) {
    ((r == fft::kAcrossFactors[kI] ? void(found = {RunPass<Across<false>, fft::kAcrossFactors[kI]>,
                                                   RunPass<Across<true>, fft::kAcrossFactors[kI]>})
                                   : void()),
     ...);
  }
  (std::make_index_sequence<std::size(fft::kAcrossFactors)>());
  return found;
}
// Lanes of a slot.
inline size_t FftLanes() { return kFftLanes; }

#else

template <class = void>
fft::FirstPasses FirstPassesFor(int) {
  return {};
}
template <class = void>
fft::SecondPasses SecondPassesFor(int) {
  return {};
}
template <class = void>
fft::AcrossPasses AcrossPassesFor(int) {
  return {};
}
inline size_t FftLanes() { return 0; }

#endif
}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
