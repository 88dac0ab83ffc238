// Modes in both ways to build: a header-only unit has the kernels of the modes that its calls name.
#include <lutra/lutra.h>

#include <cstdint>
#include <cstdio>
#include <vector>

#include "lutra/weights/pack.h"

int main() {
  constexpr size_t kM = 9, kN = 37, kK = 70;
  std::vector<uint8_t> codes(kN * kK);
  std::vector<float> x(kM * kK), y(kM * kN), with_mode(kM * kN);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>(i * 5 / 3 % 4);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 7 % 255) - 127.0f;
  const float scale = 0.5f;
  lutra::CodedMatrix coded;
  coded.format = lutra::Int2::info;
  coded.scales.per_tensor = true;
  coded.n = kN;
  coded.k = coded.code_stride = kK;
  coded.codes = codes.data();
  coded.scale = lutra::View(&scale, 1, 1);
  lutra::Context context;
  const lutra::PackedBuffer w = lutra::Pack(coded, context, 1, lutra::Unit::kByteRow);
  lutra::ActivationBuffer xq;
  lutra::GemmCall call;
  call.xq = &xq.Quantize(lutra::View(x.data(), kM, kK), context);
  call.w = w;
  call.y = lutra::View(y.data(), kM, kN);

  int bad = 0;
#if !defined(LUTRA_COMPILED)
  bad += lutra::Explain<lutra::Int2>(call, context).algo != lutra::GemmAlgo::kIntLanes;
#endif
  bad += lutra::Explain<lutra::Int2, lutra::ShuffleTables>(call, context).algo != lutra::GemmAlgo::kShuffleTable;
  lutra::Gemm<lutra::Int2>(xq, w, lutra::View(y.data(), kM, kN), context);
  lutra::Gemm<lutra::ShuffleTables, lutra::Int2>(xq, w, lutra::View(with_mode.data(), kM, kN), context);
  for (size_t i = 0; i < y.size(); ++i) bad += !(y[i] == with_mode[i]);

  lutra::ActSpec planes;
  planes.bits = 2;
  planes.planes = true;
  const lutra::PackedBuffer lanes = lutra::Pack(coded, context);
  call.xq = &xq.Quantize(lutra::View(x.data(), kM, kK), context, planes);
  call.w = lanes;
#if !defined(LUTRA_COMPILED)
  bad += lutra::Explain<lutra::Int2>(call, context).algo != lutra::GemmAlgo::kIntDot;
#endif
  lutra::Gemm<lutra::Int2>(xq, lanes, lutra::View(y.data(), kM, kN), context);
  call.algo = lutra::GemmAlgo::kPopcount;
  call.y = lutra::View(with_mode.data(), kM, kN);
  lutra::Gemm<lutra::Int2, lutra::Popcounts>(std::span<const lutra::GemmCall>(&call, 1), context);
  for (size_t i = 0; i < y.size(); ++i) bad += !(y[i] == with_mode[i]);

  // Small integers and weights of half-integers: any order of the float sums is exact.
  const lutra::ConstMatrixView floats = lutra::View(static_cast<const float*>(x.data()), kM, kK);
  call = {};
  call.x = floats;
  call.w = w;
  call.y = lutra::View(y.data(), kM, kN);
  bad += lutra::Explain<lutra::Int2>(call, context).algo != lutra::GemmAlgo::kTile;
  bad += lutra::Explain<lutra::Int2, lutra::FloatTables>(call, context).algo != lutra::GemmAlgo::kFloatTable;
  lutra::Gemm<lutra::Int2>(floats, w, lutra::View(y.data(), kM, kN), context);
  lutra::Gemm<lutra::Int2, lutra::FloatTables>(floats, w, lutra::View(with_mode.data(), kM, kN), context);
  for (size_t i = 0; i < y.size(); ++i) bad += !(y[i] == with_mode[i]);

  // bf16 holds them too: the mode changes nothing, whether the CPU has it or not.
  lutra::Gemm<lutra::Int2, lutra::Bf16Dot>(floats, w, lutra::View(with_mode.data(), kM, kN), context);
  for (size_t i = 0; i < y.size(); ++i) bad += !(y[i] == with_mode[i]);
  std::printf("%d of %zu outputs or choices wrong\n", bad, 4 * y.size());
  return bad != 0;
}
