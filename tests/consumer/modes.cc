// Modes in both ways to build: a header-only unit has the kernels of the modes that its calls name.
#include <lutra/lutra.h>

#include <cstdint>
#include <cstdio>
#include <vector>

#include "lutra/weights/pack.h"

namespace {

// How many outputs of a call by a mode's algorithm differ from those without it, or choices are wrong.
template <class Format, class Mode>
int Wrong(lutra::Unit unit, const lutra::ActSpec& spec, lutra::GemmAlgo without) {
  constexpr size_t kM = 9, kN = 37, kK = 70;
  std::vector<uint8_t> codes(kN * kK);
  std::vector<float> x(kM * kK), y(kM * kN), with_mode(kM * kN);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>(i * 5 / 3 % Format::info.codes);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 7 % 255) - 127.0f;
  const float scale = 0.5f;
  lutra::CodedMatrix coded;
  coded.format = Format::info;
  coded.scales.per_tensor = true;
  coded.n = kN;
  coded.k = coded.code_stride = kK;
  coded.codes = codes.data();
  coded.scale = lutra::View(&scale, 1, 1);
  lutra::Context context;
  const lutra::PackedBuffer w = lutra::Pack(coded, context, 1, unit);
  lutra::ActivationBuffer xq;
  lutra::GemmCall call;
  call.w = w;
  call.y = lutra::View(y.data(), kM, kN);
  const bool bf16 = Mode::algo == lutra::GemmAlgo::kBf16Dot;
  if (bf16 || Mode::algo == lutra::GemmAlgo::kFloatTable) {  // small integers by half-integers: exact in any order
    call.x = lutra::View(static_cast<const float*>(x.data()), kM, kK);
  } else {
    call.xq = &xq.Quantize(lutra::View(x.data(), kM, kK), context, spec);
  }

  // The compiled mode has the exact ones, named or not.
#if defined(LUTRA_COMPILED)
  const bool always = !bf16 && Mode::algo != lutra::GemmAlgo::kFloatTable && Mode::algo != lutra::GemmAlgo::kByteTable;
#else
  const bool always = false;
#endif
  int bad = !always && lutra::Explain<Format>(call, context).algo != without;
  lutra::Gemm<Format>(std::span<const lutra::GemmCall>(&call, 1), context);
  if (Mode::algo == lutra::GemmAlgo::kPopcount) call.algo = Mode::algo;  // not the fastest here
  call.y = lutra::View(with_mode.data(), kM, kN);
  bad += !bf16 && lutra::Explain<Format, Mode>(call, context).algo != Mode::algo;  // not all CPUs have its dot
  lutra::Gemm<Mode, Format>(std::span<const lutra::GemmCall>(&call, 1), context);
  for (size_t i = 0; i < y.size(); ++i) bad += !(y[i] == with_mode[i]);
  return bad;
}

}  // namespace

int main() {
  using lutra::GemmAlgo, lutra::Unit;
  lutra::ActSpec planes;
  planes.bits = 2;
  planes.planes = true;
  lutra::ActSpec four_bits;  // sums that tables of one byte hold as they are
  four_bits.bits = 4;
#if defined(LUTRA_COMPILED)
  const GemmAlgo without_bytes = GemmAlgo::kShuffleTable;
#else
  const GemmAlgo without_bytes = GemmAlgo::kIntLanes;
#endif
  const int bad = Wrong<lutra::Int2, lutra::ShuffleTables>(Unit::kByteRow, {}, GemmAlgo::kIntLanes) +
                  Wrong<lutra::Int2, lutra::ByteTables>(Unit::kByteRow, four_bits, without_bytes) +
                  Wrong<lutra::Ternary, lutra::TripleTables>(Unit::kTriple, {}, GemmAlgo::kIntLanes) +
                  Wrong<lutra::Int2, lutra::Popcounts>(Unit::kLane32, planes, GemmAlgo::kIntDot) +
                  Wrong<lutra::Int2, lutra::FloatTables>(Unit::kByteRow, {}, GemmAlgo::kTile) +
                  Wrong<lutra::Int2, lutra::Bf16Dot>(Unit::kByteRow, {}, GemmAlgo::kTile);
  std::printf("%d outputs or choices wrong\n", bad);
  return bad != 0;
}
