#include <lutra/gemm.h>
#include <lutra/weights/quantize.h>
#include <vector>

int main() {
  const size_t M = 4, N = 256, K = 512;
  std::vector<float> x(M * K, 0.5f), w(N * K, -0.25f), bias(N, 1.0f), y(M * N);
  lutra::Context context;  // one thread; see thread_pool.h

  // Once per model: float weights to ternary codes, one scale per tensor, packed for the kernels.
  lutra::Scales per_tensor;
  per_tensor.per_tensor = true;
  const lutra::PackedBuffer packed =
      lutra::QuantizeWeights<lutra::Ternary>(lutra::View(w.data(), N, K), per_tensor, lutra::Fit::kAbsMean, context);

  // Once per layer input: int8 rows, which several multiplications may share.
  lutra::ActivationBuffer xq;
  xq.Quantize(lutra::View(x.data(), M, K), context);

  lutra::Epilogue epilogue;
  epilogue.bias = bias.data();
  epilogue.act = lutra::Act::kRelu;
  lutra::Gemm<lutra::Ternary>(xq, packed, lutra::View(y.data(), M, N), context, epilogue);
}
