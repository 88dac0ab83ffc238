#include "lutra/eigen.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

#include "lutra/gemm.h"
#include "lutra/gemm/reference.h"

namespace lutra { namespace {

using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

TEST(Eigen, RowMajorMatricesAndBlocksAreViewsOfTheSameMemory) {
  RowMajor m = RowMajor::Random(5, 7);
  const MatrixView whole = View(m);
  EXPECT_EQ(whole.data, m.data());
  EXPECT_EQ(whole.rows, 5u);
  EXPECT_EQ(whole.cols, 7u);
  EXPECT_EQ(whole.row_stride, 7);
  const MatrixView block = View(m.block(1, 2, 3, 4));
  EXPECT_EQ(block.data, &m(1, 2));
  EXPECT_EQ(block.rows, 3u);
  EXPECT_EQ(block.cols, 4u);
  EXPECT_EQ(block.row_stride, 7);
  const RowMajor& constant = m;
  static_assert(std::is_same_v<decltype(View(constant)), ConstMatrixView>);
  EXPECT_EQ(View(constant).data, m.data());
}

TEST(Eigen, TransposedColumnMajorIsAViewAndPlainColumnMajorIsRefused) {
  Eigen::MatrixXf m = Eigen::MatrixXf::Random(4, 6);
  const MatrixView t = View(m.transpose());
  EXPECT_EQ(t.rows, 6u);
  EXPECT_EQ(t.cols, 4u);
  EXPECT_EQ(t.row_stride, 4);
  EXPECT_EQ(static_cast<const float*>(t.data)[2 * t.row_stride + 1], m(1, 2));
  try {
    (void)View(m);
    FAIL() << "a column-major matrix has no contiguous rows";
  } catch (const std::invalid_argument& e) {
    EXPECT_NE(std::string(e.what()).find("columns of this Eigen expression are 4 apart"), std::string::npos)
        << e.what();
  }
}

TEST(Eigen, MapsRefsAndVectors) {
  float memory[24] = {};
  const Eigen::Map<RowMajor, 0, Eigen::OuterStride<>> map(memory, 3, 4, Eigen::OuterStride<>(8));
  EXPECT_EQ(View(map).row_stride, 8);
  const Eigen::Ref<const RowMajor> ref(map);
  EXPECT_EQ(View(ref).row_stride, 8);
  Eigen::VectorXf column = Eigen::VectorXf::Random(5);
  EXPECT_EQ(View(column).cols, 1u);
  EXPECT_EQ(View(column).row_stride, 1);
}

TEST(Eigen, AsEigenIsTheWayBack) {
  float memory[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  const MatrixView v = View(memory, 2, 3, 6);
  AsEigen<float>(v)(1, 2) = 50;
  EXPECT_EQ(memory[8], 50);
  EXPECT_EQ(AsEigen<float>(ConstMatrixView(v))(0, 1), 1);
  EXPECT_THROW((void)AsEigen<int8_t>(v), std::invalid_argument);
}

TEST(Eigen, GemmOnEigenMatrices) {
  Context context;
  const RowMajor x = RowMajor::Random(3, 40);
  uint8_t codes[5 * 40];
  for (size_t i = 0; i < sizeof(codes); ++i) codes[i] = static_cast<uint8_t>(i * 7 % 3);
  const float scale = 0.5f;
  CodedMatrix coded;
  coded.format = Ternary::info;
  coded.scales.per_tensor = true;
  coded.n = 5;
  coded.k = coded.code_stride = 40;
  coded.codes = codes;
  coded.scale = View(&scale, 1, 1);
  const PackedBuffer w = Pack(coded, context);
  RowMajor y(3, 5), dequantised(5, 40);
  for (int n = 0; n < 5; ++n) w.matrix().DecodeRow(static_cast<size_t>(n), dequantised.row(n).data());
  Gemm<Ternary>(View(x), w, View(y), context);
  // Both sum 40 products of magnitude at most 0.5: 40 * 2^-24 * 20.
  EXPECT_LT((y - x * dequantised.transpose()).cwiseAbs().maxCoeff(), 5e-5f);
}

}}  // namespace lutra
