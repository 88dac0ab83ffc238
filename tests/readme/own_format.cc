#include <lutra/gemm.h>
#include <lutra/weights/quantize.h>
#include <cstdio>
#include <vector>

// Ids from 0x8000 are yours. Two bits, of whose four patterns three are in use.
struct ThreeLevels {
  static constexpr lutra::FormatInfo info = lutra::TableFormat(0x8000, "three_levels", /*bits=*/2, /*codes=*/3);
  static constexpr float Decode(unsigned code) { return code == 0 ? -1.0f : code == 1 ? 0.0f : 2.0f; }
};

int main() {
  const size_t M = 2, N = 3, K = 40;
  std::vector<float> x(M * K, 1.0f), w(N * K), y(M * N);
  for (size_t i = 0; i < w.size(); ++i) w[i] = ThreeLevels::Decode(static_cast<unsigned>(i % 3)) * 0.5f;
  lutra::Context context;
  const lutra::PackedBuffer packed =
      lutra::QuantizeWeights<ThreeLevels>(lutra::View(w.data(), N, K), lutra::Scales{}, lutra::Fit::kAbsMax, context);
  lutra::Gemm<ThreeLevels>(lutra::View(x.data(), M, K), packed, lutra::View(y.data(), M, N), context);
  std::printf("%g\n", static_cast<double>(y[0]));  // the sum of row 0 of w
}
