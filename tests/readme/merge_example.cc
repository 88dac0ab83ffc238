#include <lutra/depthwise.h>
#include <lutra/depthwise/merge.h>
#include <cstdio>
#include <vector>

// A block of UniRepLKNet: 13 x 13 and five dilated branches, a batch norm behind each, as one 13 x 13 kernel.
int main() {
  using namespace lutra;
  const size_t C = 32, K = 13, H = 28, W = 28;
  const std::vector<float> ones(C, 1.0f), taps(C * K * K, 0.01f);  // a model has norms and taps of each branch

  std::vector<MergeBranch> branches(1);
  branches[0].taps = Nchw(taps.data(), 1, C, K, K);
  for (const DilatedBranch& b : UniRepLkBranches(K)) {
    branches.push_back({Nchw(taps.data(), 1, C, b.k, b.k), nullptr, {}, b.dil, b.dil});
  }
  for (MergeBranch& b : branches) b.norm = {ones.data(), nullptr, nullptr, ones.data(), 1e-5};
  const MergedKernel merged = MergeBranches(branches, C, K, K);

  const DepthwisePlan plan(DepthwiseKernel(merged.taps()), H, W, Layout::kNhwc);
  std::vector<float> in(H * W * C, 1.0f), out(H * W * C);
  Context context;
  Epilogue epilogue;
  epilogue.bias = merged.bias();
  DepthwiseConv2d(plan, Nhwc(in.data(), 1, H, W, C), Nhwc(out.data(), 1, H, W, C), context, epilogue);
  std::printf("%.2f\n", out[(14 * W + 14) * C]);  // 2.70
}
