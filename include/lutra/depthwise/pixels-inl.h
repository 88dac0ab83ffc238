// Cursors over the input pixels that the taps of one row meet: direct depthwise convolution in f32, NHWC.
#if defined(LUTRA_DEPTHWISE_PIXELS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_DEPTHWISE_PIXELS_INL_H_
#undef LUTRA_DEPTHWISE_PIXELS_INL_H_
#else
#define LUTRA_DEPTHWISE_PIXELS_INL_H_
#endif

#include <bit>

#include "lutra/depthwise/args.h"
#include "lutra/simd/convert-inl.h"

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

using depthwise::At;

// The first n lanes; n is at most all of them. One instruction whatever n is, where the target has it.
template <class D>
HWY_INLINE hn::Vec<D> LoadLanes(D d, const float* p, size_t n) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
  return hn::LoadN(d, p, n);
#else
  return LoadSome(d, p, n);
#endif
}

struct Inside {  // all columns are in the image and all channels of the vector exist
  const float* pixel;
  ptrdiff_t step;
  HWY_INLINE bool Has() const { return true; }
  template <class D>
  HWY_INLINE hn::Vec<D> Load(D d) const {
    return hn::LoadU(d, pixel);
  }
  HWY_INLINE Inside Row(ptrdiff_t floats) const { return {pixel + floats, step}; }
  HWY_INLINE Inside After(size_t steps) const { return {pixel + At(steps, step), step}; }
};
struct Edge {  // some columns lie in zero padding, or some channels behind the last
  const float* row;
  ptrdiff_t at, step;
  uint64_t present;  // bit i: the column i steps from here is in the image
  size_t lanes;
  HWY_INLINE bool Has() const { return (present & 1) != 0; }
  template <class D>
  HWY_INLINE hn::Vec<D> Load(D d) const {
    return LoadLanes(d, row + at, lanes);
  }
  HWY_INLINE Edge Row(ptrdiff_t floats) const { return {row + floats, at, step, present, lanes}; }
  HWY_INLINE Edge After(size_t steps) const { return {row, at + At(steps, step), step, present >> steps, lanes}; }
};
// An Edge with all lanes that takes no vector but those of sums and taps: each multiply-add loads its pixel. A tile of
// two rows then fits into 16 registers, and they share each look at `present`.
struct EdgeInMemory {
  uintptr_t at, again;          // of both rows, equal: the compiler would load once what has one name, and keep it
  size_t step, step_3, step_5;  // bytes from column to column, 3 and 5 times that: scaled in addresses
  uint64_t present;

  HWY_INLINE explicit EdgeInMemory(const Edge& e)
      : at(reinterpret_cast<uintptr_t>(e.row) + Bytes(e.at)),
        again(at),
        step(Bytes(e.step)),
        step_3(3 * step),
        step_5(5 * step),
        present(e.present) {
    Hide(step_3);
    Hide(step_5);
  }
  HWY_INLINE EdgeInMemory Row(ptrdiff_t floats) const {
    EdgeInMemory p = *this;
    p.at += Bytes(floats);
    p.again = p.at;
    Hide(p.again);
    return p;
  }
  HWY_INLINE void Next() {
    at += step;
    again += step;
    present >>= 1;
  }
  // Of the column kSteps from here.
  template <size_t kSteps>
  HWY_INLINE bool Has() const {
    return (present & uint64_t{1} << kSteps) != 0;
  }
  template <size_t kSteps, class D>
  HWY_INLINE hn::Vec<D> Load(D d, uintptr_t from) const {
    constexpr size_t kOdd = kSteps == 0 ? 1 : kSteps >> std::countr_zero(kSteps);
    static_assert(kOdd <= 5);
    const size_t odd = kOdd == 1 ? step : kOdd == 3 ? step_3 : step_5;
    return hn::LoadU(d, reinterpret_cast<const float*>(from + odd * (kSteps / kOdd)));
  }

 private:
  static HWY_INLINE size_t Bytes(ptrdiff_t floats) { return static_cast<size_t>(floats) * sizeof(float); }
  static HWY_INLINE void Hide(size_t& v) { asm("" : "+r"(v)); }  // where it came from
};
struct Mapped {  // anything else
  const float* row;
  ptrdiff_t column_floats;
  const int32_t* column;
  size_t step, lanes;
  HWY_INLINE bool Has() const { return *column >= 0; }
  template <class D>
  HWY_INLINE hn::Vec<D> Load(D d) const {
    return LoadLanes(d, row + *column * column_floats, lanes);
  }
  HWY_INLINE Mapped Row(ptrdiff_t floats) const { return {row + floats, column_floats, column, step, lanes}; }
  HWY_INLINE Mapped After(size_t steps) const { return {row, column_floats, column + steps * step, step, lanes}; }
};

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
