#include <lutra/gemm.h>
#include <lutra/weights/bcq.h>
#include <vector>

int main() {
  const size_t M = 1, N = 256, K = 512;
  std::vector<float> x(M * K, 0.5f), w(N * K, -0.25f), y(M * N);
  lutra::Context context;

  // Once: three planes of +-1, each with a scale for every 128 k. They are the segments of a matrix of 1-bit weights.
  lutra::BcqSpec spec;
  spec.planes = 3;
  spec.group_k = 128;
  const lutra::PackedBuffer packed = lutra::QuantizeBcq(lutra::View(w.data(), N, K), spec, context);

  // All segments take the same row of x; its tables are made once.
  std::vector<int32_t> memory(M * spec.planes);
  lutra::GemmCall call;
  call.x = lutra::View(x.data(), M, K);
  call.w = packed;
  call.y = lutra::View(y.data(), M, N);
  call.rows = lutra::RepeatRows(M, spec.planes, memory);
  lutra::Gemm<lutra::Int1, lutra::FloatTables>({&call, 1}, context);
}
