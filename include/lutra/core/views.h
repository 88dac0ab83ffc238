// Views: pointer, element type, shape and strides. They own nothing and are copied freely; strides count elements.
#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "lutra/core/dtype.h"
#include "lutra/core/status.h"

namespace lutra { inline namespace v0 {

// rows x cols, element (r, c) at data[r * row_stride + c]. data may be null where rows or cols is 0.
struct ConstMatrixView {
  const void* data = nullptr;
  DType type = DType::kF32;
  size_t rows = 0, cols = 0;
  ptrdiff_t row_stride = 0;  // 0: every row is the same (inputs only)
};
struct MatrixView {
  void* data = nullptr;
  DType type = DType::kF32;
  size_t rows = 0, cols = 0;
  ptrdiff_t row_stride = 0;
  LUTRA_MEMBER operator ConstMatrixView() const { return {data, type, rows, cols, row_stride}; }
};

// n images of h x w pixels of c channels, element (i, y, x, k) at data[i * sn + y * sh + x * sw + k * sc].
struct ConstImageView {
  const void* data = nullptr;
  DType type = DType::kF32;
  size_t n = 0, h = 0, w = 0, c = 0;
  ptrdiff_t sn = 0, sh = 0, sw = 0, sc = 0;
};
struct ImageView {
  void* data = nullptr;
  DType type = DType::kF32;
  size_t n = 0, h = 0, w = 0, c = 0;
  ptrdiff_t sn = 0, sh = 0, sw = 0, sc = 0;
  LUTRA_MEMBER operator ConstImageView() const { return {data, type, n, h, w, c, sn, sh, sw, sc}; }
};

}}  // namespace lutra::v0

namespace lutra { inline namespace LUTRA_NS {
namespace internal {

// a * b * c * d, or Fail where it does not fit into ptrdiff_t.
inline size_t CheckedSize(const char* what, size_t a, size_t b, size_t c = 1, size_t d = 1) {
  size_t product = 0;
  if (__builtin_mul_overflow(a, b, &product) || __builtin_mul_overflow(product, c, &product) ||
      __builtin_mul_overflow(product, d, &product) || product > static_cast<size_t>(PTRDIFF_MAX) / 8) {
    if (a == 0 || b == 0 || c == 0 || d == 0) return 0;
    Fail("%s: %zu x %zu x %zu x %zu elements do not fit into memory", what, a, b, c, d);
  }
  return product;
}
inline void CheckMatrix(const char* what, const ConstMatrixView& v, bool writable) {
  const size_t stride =
      v.row_stride < 0 ? size_t{0} - static_cast<size_t>(v.row_stride) : static_cast<size_t>(v.row_stride);
  if (v.type > DType::kE4M3) Fail("%s: type is %d, not a DType", what, static_cast<int>(v.type));
  if (v.rows == 0 || v.cols == 0) return;
  CheckedSize(what, v.rows, v.cols);
  CheckedSize(what, v.rows, stride);
  if (v.data == nullptr) Fail("%s: data is null, the shape is %zu x %zu", what, v.rows, v.cols);
  if (writable && v.rows > 1 && stride < v.cols) {
    Fail("%s: row_stride is %td, rows of %zu columns would overlap", what, v.row_stride, v.cols);
  }
}
inline void CheckImage(const char* what, const ConstImageView& v) {
  if (v.type > DType::kE4M3) Fail("%s: type is %d, not a DType", what, static_cast<int>(v.type));
  if (v.n == 0 || v.h == 0 || v.w == 0 || v.c == 0) return;
  CheckedSize(what, v.n, v.h, v.w, v.c);
  const ptrdiff_t strides[4] = {v.sn, v.sh, v.sw, v.sc};
  const size_t sizes[4] = {v.n, v.h, v.w, v.c};
  for (int i = 0; i < 4; ++i) {
    const ptrdiff_t s = strides[i];
    CheckedSize(what, sizes[i], s < 0 ? size_t{0} - static_cast<size_t>(s) : static_cast<size_t>(s));
  }
  if (v.data == nullptr) Fail("%s: data is null, the shape is %zu x %zu x %zu x %zu", what, v.n, v.h, v.w, v.c);
}

template <class T>
using ConstOr = std::conditional_t<std::is_const_v<T>, ConstMatrixView, MatrixView>;
template <class T>
using ConstOrImage = std::conditional_t<std::is_const_v<T>, ConstImageView, ImageView>;

}  // namespace internal

// A checked view of a row-major matrix. T: float, BF16, F16, int32_t, int16_t, int8_t or uint8_t, const or not.
// row_stride: elements from row to row, -1 for cols. Fails on null data of a non-empty shape, on overlapping rows of a
// mutable view and on shapes that do not fit into memory.
template <class T>
auto View(T* data, size_t rows, size_t cols, ptrdiff_t row_stride = -1) {
  static_assert(kHasDType<std::remove_const_t<T>>, "no DType for this element type");
  internal::ConstOr<T> v;
  v.data = data;
  v.type = kDTypeOf<std::remove_const_t<T>>;
  v.rows = rows;
  v.cols = cols;
  v.row_stride = row_stride == -1 ? static_cast<ptrdiff_t>(cols) : row_stride;
  internal::CheckMatrix("View", v, !std::is_const_v<T>);
  return v;
}

// Dense images, channels innermost.
template <class T>
auto Nhwc(T* data, size_t n, size_t h, size_t w, size_t c) {
  static_assert(kHasDType<std::remove_const_t<T>>, "no DType for this element type");
  internal::CheckedSize("Nhwc", n, h, w, c);
  const auto s = [](size_t v) { return static_cast<ptrdiff_t>(v); };
  const internal::ConstOrImage<T> v{data, kDTypeOf<std::remove_const_t<T>>, n, h, w, c, s(h * w * c), s(w * c), s(c),
                                    1};
  internal::CheckImage("Nhwc", v);
  return v;
}

// Dense images, columns innermost.
template <class T>
auto Nchw(T* data, size_t n, size_t c, size_t h, size_t w) {
  static_assert(kHasDType<std::remove_const_t<T>>, "no DType for this element type");
  internal::CheckedSize("Nchw", n, c, h, w);
  const auto s = [](size_t v) { return static_cast<ptrdiff_t>(v); };
  const internal::ConstOrImage<T> v{data,    kDTypeOf<std::remove_const_t<T>>, n, h, w, c, s(c * h * w), s(w), 1,
                                    s(h * w)};
  internal::CheckImage("Nchw", v);
  return v;
}

// Channels [begin, end) of an image, as a view of the same memory.
template <class Image>
Image Channels(Image image, size_t begin, size_t end) {
  if (begin > end || end > image.c) Fail("Channels: [%zu, %zu) is not inside 0 ... %zu channels", begin, end, image.c);
  using Byte = std::conditional_t<std::is_same_v<Image, ImageView>, char, const char>;
  if (image.data != nullptr) {
    image.data = static_cast<Byte*>(image.data) +
                 static_cast<ptrdiff_t>(begin) * image.sc * static_cast<ptrdiff_t>(SizeOf(image.type));
  }
  image.c = end - begin;
  return image;
}

// An image of one channel as c equal ones, in the same memory: one kernel for all channels, NCHW inputs.
inline ConstImageView RepeatChannel(ConstImageView image, size_t c) {
  if (image.c != 1) Fail("RepeatChannel: the image has %zu channels, must have 1", image.c);
  image.c = c;
  image.sc = 0;
  return image;
}

// An image whose pixels lie at one distance (NHWC, also a channel range of one) as the matrix [n * h * w, c].
template <class Image>
auto Pixels(const Image& v) {
  const auto sh = static_cast<ptrdiff_t>(v.w) * v.sw, sn = static_cast<ptrdiff_t>(v.h) * sh;
  if ((v.c > 1 && v.sc != 1) || (v.h > 1 && v.sh != sh) || (v.n > 1 && v.sn != sn)) {
    Fail("Pixels: strides are n %td, h %td, w %td, c %td; needed are n %td, h %td, c 1", v.sn, v.sh, v.sw, v.sc, sn,
         sh);
  }
  std::conditional_t<std::is_same_v<Image, ImageView>, MatrixView, ConstMatrixView> m;
  m.data = v.data;
  m.type = v.type;
  m.rows = v.n * v.h * v.w;
  m.cols = v.c;
  m.row_stride = v.sw;
  return m;
}

}}  // namespace lutra::LUTRA_NS
