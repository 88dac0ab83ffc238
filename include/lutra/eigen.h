// Bridge: Eigen matrices, maps and references as views, without a copy. Eigen >= 3.4.
#pragma once
#include <Eigen/Core>

#include "lutra/core/views.h"

namespace lutra { inline namespace LUTRA_NS {
namespace internal {

// Rows must be contiguous: row-major with an inner stride of 1, or a single column or row that is.
template <class Derived>
ptrdiff_t EigenRowStride(const Eigen::DenseBase<Derived>& m) {
  const Derived& d = m.derived();
  const bool unit = d.cols() <= 1 || d.colStride() == 1;
  if (!unit) {
    Fail(
        "View: the columns of this Eigen expression are %td apart, must be 1: use row-major storage, or "
        "View(m.transpose()) "
        "and exchange the operands",
        static_cast<ptrdiff_t>(d.colStride()));
  }
  return static_cast<ptrdiff_t>(d.rowStride());
}

}  // namespace internal

// A view of an Eigen matrix, Map or Ref with direct access and rows whose elements are neighbours: row-major ones, and
// the transpose of column-major ones. Others are an error: nothing is copied behind your back. The scalar type is
// float, int32_t, int16_t, int8_t or uint8_t. A const expression gives a ConstMatrixView. The view lives as long as the
// matrix.
template <class Derived>
ConstMatrixView View(const Eigen::DenseBase<Derived>& m) {
  static_assert(kHasDType<typename Derived::Scalar>, "no DType for this scalar");
  static_assert((Derived::Flags & Eigen::DirectAccessBit) != 0,
                "an expression without storage of its own: evaluate it first");
  return View(static_cast<const typename Derived::Scalar*>(m.derived().data()), static_cast<size_t>(m.rows()),
              static_cast<size_t>(m.cols()), internal::EigenRowStride(m));
}
template <class Derived>
requires((Derived::Flags & Eigen::LvalueBit) != 0) MatrixView View(Eigen::DenseBase<Derived>& m) {
  static_assert(kHasDType<typename Derived::Scalar>, "no DType for this scalar");
  static_assert((Derived::Flags & Eigen::DirectAccessBit) != 0,
                "an expression without storage of its own: evaluate it first");
  return View(m.derived().data(), static_cast<size_t>(m.rows()), static_cast<size_t>(m.cols()),
              internal::EigenRowStride(m));
}
// Temporaries that are views themselves: Eigen::Map<...>(...), m.block(...), m.transpose().
template <class Derived>
requires((Derived::Flags & Eigen::LvalueBit) != 0) MatrixView View(Eigen::DenseBase<Derived>&& m) {
  static_assert((Derived::Flags & Eigen::NestByRefBit) == 0, "a view of a temporary matrix would dangle");
  return View(static_cast<Eigen::DenseBase<Derived>&>(m));
}

// The other way: a view as an Eigen map, row-major with an outer stride. T must be the view's element type.
template <class T>
using EigenMap = Eigen::Map<Eigen::Matrix<std::remove_const_t<T>, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>,
                            Eigen::Unaligned, Eigen::OuterStride<>>;
template <class T>
using ConstEigenMap = Eigen::Map<const Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>,
                                 Eigen::Unaligned, Eigen::OuterStride<>>;
template <class T>
EigenMap<T> AsEigen(const MatrixView& v) {
  if (v.type != kDTypeOf<T>) Fail("AsEigen: the view holds %s, asked for %s", NameOf(v.type), NameOf(kDTypeOf<T>));
  return {static_cast<T*>(v.data), static_cast<Eigen::Index>(v.rows), static_cast<Eigen::Index>(v.cols),
          Eigen::OuterStride<>(v.row_stride)};
}
template <class T>
ConstEigenMap<T> AsEigen(const ConstMatrixView& v) {
  if (v.type != kDTypeOf<T>) Fail("AsEigen: the view holds %s, asked for %s", NameOf(v.type), NameOf(kDTypeOf<T>));
  return {static_cast<const T*>(v.data), static_cast<Eigen::Index>(v.rows), static_cast<Eigen::Index>(v.cols),
          Eigen::OuterStride<>(v.row_stride)};
}

}}  // namespace lutra::LUTRA_NS
