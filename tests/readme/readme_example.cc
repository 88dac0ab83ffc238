#include <lutra/gemm.h>
#include <lutra/weights/quantize.h>
#include <cstdio>
#include <vector>

int main() {
  const size_t M = 1, N = 2560, K = 2560;
  std::vector<float> x(M * K, 0.1f), w(N * K, 0.02f), y(M * N);
  lutra::Context context;
  const lutra::PackedBuffer packed = lutra::QuantizeWeights<lutra::Ternary>(  // once: 2 bits a weight
      lutra::View(w.data(), N, K), {}, lutra::Fit::kAbsMean, context);
  lutra::ActivationBuffer xq;
  xq.Quantize(lutra::View(x.data(), M, K), context);  // int8 rows, shared by Q, K and V
  lutra::Gemm<lutra::Ternary>(xq, packed, lutra::View(y.data(), M, N), context);
  std::printf("%g\n", static_cast<double>(y[0]));
}
