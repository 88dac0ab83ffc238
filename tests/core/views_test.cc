// Views are checked where they are made, and say what is wrong with them.
#include "lutra/core/views.h"

#include <gtest/gtest.h>

#include <vector>

#include "support/targets.h"

namespace lutra { namespace testing { namespace {

TEST(Views, ViewKeepsPointerTypeShapeAndStride) {
  float f[12] = {};
  const MatrixView m = View(f, 3, 4);
  EXPECT_EQ(m.data, f);
  EXPECT_EQ(m.type, DType::kF32);
  EXPECT_EQ(m.rows, 3u);
  EXPECT_EQ(m.cols, 4u);
  EXPECT_EQ(m.row_stride, 4);
  const ConstMatrixView c = View(static_cast<const float*>(f), 3, 2, 4);
  EXPECT_EQ(c.row_stride, 4);
  const ConstMatrixView from = m;
  EXPECT_EQ(from.cols, 4u);
  static_assert(std::is_same_v<decltype(View(f, 1, 1)), MatrixView>);
  static_assert(std::is_same_v<decltype(View(static_cast<const float*>(f), 1, 1)), ConstMatrixView>);
  BF16 b[1];
  F16 h[1];
  int32_t i32[1] = {};
  int16_t i16[1] = {};
  int8_t i8[1] = {};
  uint8_t u8[1] = {};
  EXPECT_EQ(View(b, 1, 1).type, DType::kBF16);
  EXPECT_EQ(View(h, 1, 1).type, DType::kF16);
  EXPECT_EQ(View(i32, 1, 1).type, DType::kI32);
  EXPECT_EQ(View(i16, 1, 1).type, DType::kI16);
  EXPECT_EQ(View(i8, 1, 1).type, DType::kI8);
  EXPECT_EQ(View(u8, 1, 1).type, DType::kU8);
}

TEST(Views, NullIsAllowedForEmptyShapesOnly) {
  float* const null = nullptr;
  EXPECT_EQ(View(null, 0, 5).data, nullptr);
  EXPECT_EQ(View(null, 5, 0).cols, 0u);
  EXPECT_EQ(Nhwc(null, 0, 3, 4, 5).h, 3u);
  EXPECT_EQ(FailureOf([&] { (void)View(null, 2, 3); }), "View: data is null, the shape is 2 x 3");
  EXPECT_EQ(FailureOf([&] { (void)Nhwc(null, 1, 2, 3, 4); }), "Nhwc: data is null, the shape is 1 x 2 x 3 x 4");
  EXPECT_EQ(FailureOf([&] { (void)Nchw(null, 1, 4, 2, 3); }), "Nchw: data is null, the shape is 1 x 2 x 3 x 4");
}

TEST(Views, RowsOfAnOutputMustNotOverlap) {
  float f[20] = {};
  const float* const in = f;
  EXPECT_EQ(FailureOf([&] { (void)View(f, 3, 4, 3); }), "View: row_stride is 3, rows of 4 columns would overlap");
  EXPECT_EQ(FailureOf([&] { (void)View(f, 3, 4, 0); }), "View: row_stride is 0, rows of 4 columns would overlap");
  EXPECT_EQ(FailureOf([&] { (void)View(f + 10, 3, 4, -3); }),
            "View: row_stride is -3, rows of 4 columns would overlap");
  EXPECT_EQ(View(f + 8, 3, 4, -4).row_stride, -4) << "backwards is fine";
  EXPECT_EQ(View(f, 1, 4, 0).row_stride, 0) << "one row overlaps nothing";
  EXPECT_EQ(View(in, 3, 4, 0).row_stride, 0) << "inputs may repeat a row";
  EXPECT_EQ(View(in, 3, 4, 1).row_stride, 1) << "or slide a window";
}

TEST(Views, ShapesThatDoNotFitIntoMemory) {
  float f[1] = {};
  const size_t big = size_t{1} << 32;
  EXPECT_EQ(FailureOf([&] { (void)View(f, big, big); }),
            "View: 4294967296 x 4294967296 x 1 x 1 elements do not fit into memory");
  EXPECT_EQ(FailureOf([&] { (void)View(f, 4, 1, static_cast<ptrdiff_t>(size_t{1} << 61)); }),
            "View: 4 x 2305843009213693952 x 1 x 1 elements do not fit into memory");
  EXPECT_EQ(FailureOf([&] { (void)View(f + 0, 2, 1, PTRDIFF_MIN); }),
            "View: 2 x 9223372036854775808 x 1 x 1 elements do not fit into memory");
  EXPECT_EQ(FailureOf([&] { (void)Nhwc(f, big, 1, big, 1); }),
            "Nhwc: 4294967296 x 1 x 4294967296 x 1 elements do not fit into memory");
  EXPECT_EQ(FailureOf([&] { (void)Nchw(f, 1, big, big, 1); }),
            "Nchw: 1 x 4294967296 x 4294967296 x 1 elements do not fit into memory");
  EXPECT_EQ(View(f, 0, SIZE_MAX).rows, 0u) << "empty is empty";
}

TEST(Views, HandMadeViewsAreCheckedByTheOps) {
  ConstImageView image;
  float f[1] = {};
  image.data = f;
  image.n = image.h = image.w = image.c = 2;
  image.sn = PTRDIFF_MAX;
  EXPECT_NE(FailureOf([&] { internal::CheckImage("Op: x", image); }).find("Op: x: 2 x 9223372036854775807"),
            std::string::npos);
  image.type = static_cast<DType>(9);
  EXPECT_EQ(FailureOf([&] { internal::CheckImage("Op: x", image); }), "Op: x: type is 9, not a DType");
  EXPECT_EQ(FailureOf([&] {
              internal::CheckMatrix("Op: x", {f, static_cast<DType>(200), 1, 1, 1}, false);
            }),
            "Op: x: type is 200, not a DType");
}

TEST(Views, NhwcNchwChannelsAndPixelsAddressTheSameElements) {
  std::vector<int32_t> data(2 * 3 * 4 * 5);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<int32_t>(i);
  const ImageView nhwc = Nhwc(data.data(), 2, 3, 4, 5), nchw = Nchw(data.data(), 2, 5, 3, 4);
  const auto at = [](const ImageView& v, size_t n, size_t y, size_t x, size_t c) {
    const auto s = [](size_t i, ptrdiff_t stride) { return static_cast<ptrdiff_t>(i) * stride; };
    return static_cast<const int32_t*>(v.data)[s(n, v.sn) + s(y, v.sh) + s(x, v.sw) + s(c, v.sc)];
  };
  const ImageView some = Channels(nhwc, 1, 4);
  EXPECT_EQ(some.c, 3u);
  EXPECT_EQ(at(nhwc, 1, 2, 3, 4), ((1 * 3 + 2) * 4 + 3) * 5 + 4);
  EXPECT_EQ(at(nchw, 1, 2, 3, 4), ((1 * 5 + 4) * 3 + 2) * 4 + 3);
  EXPECT_EQ(at(some, 1, 2, 3, 0), at(nhwc, 1, 2, 3, 1));
  EXPECT_EQ(at(Channels(nchw, 2, 5), 1, 2, 3, 0), at(nchw, 1, 2, 3, 2));
  const MatrixView pixels = Pixels(some);
  EXPECT_EQ(pixels.rows, 24u);
  EXPECT_EQ(pixels.cols, 3u);
  EXPECT_EQ(pixels.row_stride, 5);
  EXPECT_EQ(static_cast<const int32_t*>(pixels.data)[23 * 5 + 2], at(some, 1, 2, 3, 2));
  static_assert(std::is_same_v<decltype(Pixels(ConstImageView(nhwc))), ConstMatrixView>);
  EXPECT_EQ(Channels(nhwc, 5, 5).c, 0u);
}

TEST(Views, ChannelsAndPixelsRefuse) {
  std::vector<float> data(120);
  const ImageView nhwc = Nhwc(data.data(), 2, 3, 4, 5), nchw = Nchw(data.data(), 2, 5, 3, 4);
  EXPECT_EQ(FailureOf([&] { (void)Channels(nhwc, 2, 6); }), "Channels: [2, 6) is not inside 0 ... 5 channels");
  EXPECT_EQ(FailureOf([&] { (void)Channels(nhwc, 3, 2); }), "Channels: [3, 2) is not inside 0 ... 5 channels");
  EXPECT_EQ(FailureOf([&] { (void)Pixels(nchw); }),
            "Pixels: strides are n 60, h 4, w 1, c 12; needed are n 12, h 4, c 1");
  ImageView crop = nhwc;  // columns 0 ... 2 of each row
  crop.w = 3;
  EXPECT_EQ(FailureOf([&] { (void)Pixels(crop); }),
            "Pixels: strides are n 60, h 20, w 5, c 1; needed are n 45, h 15, c 1");
}

}}}  // namespace lutra::testing
