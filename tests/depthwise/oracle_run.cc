// Convolves what oracle_test.py asks for. Standard input, for each case: a line of numbers
//   n h w c kh kw stride_h stride_w dil_h dil_w top left bottom right pad reweight layout algo
// then f32 as they are: taps [c, kh, kw], bias [c], the image [n, c, h, w], or [n, h, w, c] with layout 0. Standard
// output: a line "out_h out_w algo" and the outputs, in the layout of the image.
#include <array>
#include <cstdio>
#include <exception>
#include <vector>

#include "lutra/depthwise.h"

namespace {

using namespace lutra;

bool ReadFloats(std::vector<float>* values) {
  return std::fread(values->data(), sizeof(float), values->size(), stdin) == values->size();
}

// Whether there was a case.
bool RunCase() {
  std::array<int, 18> v{};
  for (int& number : v) {
    if (std::scanf("%d", &number) != 1) return false;
  }
  if (std::getchar() != '\n') return false;
  const auto size = [&](size_t i) { return static_cast<size_t>(v[i]); };
  const size_t n = size(0), h = size(1), w = size(2), c = size(3), kh = size(4), kw = size(5);
  ConvGeometry g;
  g.stride_h = size(6);
  g.stride_w = size(7);
  g.dil_h = size(8);
  g.dil_w = size(9);
  g.top = v[10];
  g.left = v[11];
  g.bottom = v[12];
  g.right = v[13];
  g.pad = static_cast<Pad>(v[14]);
  g.reweight = v[15] != 0;
  const auto layout = static_cast<Layout>(v[16]);
  const bool nhwc = layout == Layout::kNhwc;

  std::vector<float> taps(c * kh * kw), bias(c), image(n * h * w * c);
  if (!ReadFloats(&taps) || !ReadFloats(&bias) || !ReadFloats(&image)) return false;
  const DepthwisePlan plan(DepthwiseKernel(Nchw(static_cast<const float*>(taps.data()), 1, c, kh, kw), g), h, w, layout,
                           static_cast<ConvAlgo>(v[17]));
  const size_t out_h = plan.out_h(), out_w = plan.out_w();
  std::vector<float> out(n * out_h * out_w * c);
  Context context(Serial(), plan.scratch_per_worker());
  Epilogue e;
  e.bias = bias.data();
  DepthwiseConv2d(plan, nhwc ? Nhwc(image.data(), n, h, w, c) : Nchw(image.data(), n, c, h, w),
                  nhwc ? Nhwc(out.data(), n, out_h, out_w, c) : Nchw(out.data(), n, c, out_h, out_w), context, e);
  std::printf("%zu %zu %d\n", out_h, out_w, static_cast<int>(plan.algo()));
  std::fwrite(out.data(), sizeof(float), out.size(), stdout);
  return true;
}

}  // namespace

int main() {
  try {
    while (RunCase()) {}
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
  return 0;
}
