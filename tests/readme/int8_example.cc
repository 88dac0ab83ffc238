#include <lutra/depthwise.h>
#include <cstdio>
#include <vector>

// A depthwise layer of an integer network: u8 in, u8 out, i8 taps with a scale for each channel.
int main() {
  using namespace lutra;
  const size_t H = 56, W = 56, C = 96;
  const std::vector<int8_t> taps(C * 3 * 3, 10);
  const std::vector<int32_t> bias(C, 500);
  const std::vector<float> scale(C, 0.02f * 0.01f);  // of the image times that of the channel's taps
  std::vector<uint8_t> in(H * W * C, 140), out(H * W * C);

  const ConvQuant quant{.in_zero = 128, .scale = scale.data(), .bias = bias.data()};
  const DepthwiseKernel kernel(Nchw(taps.data(), 1, C, 3, 3), {}, quant);
  const DepthwisePlan plan(kernel, H, W, Layout::kNhwc);

  Context context;
  Epilogue epilogue;
  epilogue.act = Act::kRelu;
  epilogue.out_scale = 1 / 0.005f;  // one over the output's scale
  epilogue.out_zero = 3;
  DepthwiseConv2d(plan, Nhwc(in.data(), 1, H, W, C), Nhwc(out.data(), 1, H, W, C), context, epilogue);
  std::printf("%d %d\n", out[0], out[(28 * W + 28) * C]);  // 42 66
}
