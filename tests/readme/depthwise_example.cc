#include <lutra/channel_split.h>
#include <cstdio>
#include <vector>

// InceptionNeXt's token mixer: three branches of 12 channels, the other 60 stay as they are.
int main() {
  using namespace lutra;
  const size_t H = 56, W = 56, C = 96, band = 12, rest = C - 3 * band;
  std::vector<float> image(H * W * C, 1.0f), bias(C, 0.5f);
  const std::vector<float> square(band * 3 * 3, 0.1f), wide(band * 1 * 11, 0.1f), high(band * 11 * 1, 0.1f);

  // Once per model: the taps as PyTorch stores them, [C, 1, KH, KW]. Once per image size: the plans.
  const DepthwiseKernel k3(Nchw(square.data(), 1, band, 3, 3)), kw(Nchw(wide.data(), 1, band, 1, 11)),
      kh(Nchw(high.data(), 1, band, 11, 1));
  const DepthwisePlan p3(k3, H, W, Layout::kNhwc), pw(kw, H, W, Layout::kNhwc), ph(kh, H, W, Layout::kNhwc);
  std::fputs(Explain(pw).c_str(), stdout);

  Branch branches[] = {{0, rest, nullptr},  // identity
                       {rest, rest + band, &p3},
                       {rest + band, rest + 2 * band, &pw},
                       {rest + 2 * band, C, &ph}};
  for (Branch& b : branches) {
    if (b.plan != nullptr) b.epilogue.bias = &bias[b.begin];
  }

  // Per image: one pass, here in place.
  Context context(Serial(), pw.scratch_per_worker(/*in_place=*/true));
  const ImageView x = Nhwc(image.data(), 1, H, W, C);
  ChannelSplit(branches, x, x, context);

  const float* middle = &image[(28 * W + 28) * C];
  std::printf("%.2f %.2f %.2f %.2f\n", middle[0], middle[rest], middle[rest + band], middle[C - 1]);  // 1 1.4 1.6 1.6
}
