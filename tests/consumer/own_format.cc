// A user's own low-bit format: one struct in the user's own file, in both modes.
#include <lutra/lutra.h>

#include <cstdint>
#include <cstdio>
#include <vector>

#include "lutra/weights/pack.h"

namespace {

struct Squares {
  static constexpr lutra::FormatInfo info = lutra::TableFormat(0x8001, "squares", 3, 8);
  static constexpr float Decode(unsigned code) { return static_cast<float>(code * code); }
};
constexpr size_t kM = 5, kN = 37, kK = 70;

}  // namespace

int main() {
  std::vector<uint8_t> codes(kN * kK);
  std::vector<float> x(kM * kK), y(kM * kN);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>(i * 5 / 3 % 8);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 7 % 11) - 5.0f;
  const auto table = lutra::TableOf<Squares>();
  const float scale = 0.5f;
  lutra::CodedMatrix coded;
  coded.format = Squares::info;
  coded.scales.per_tensor = true;
  coded.n = kN;
  coded.k = coded.code_stride = kK;
  coded.codes = codes.data();
  coded.scale = lutra::View(&scale, 1, 1);
  coded.table = table.data();
  lutra::Context context;
  const lutra::PackedBuffer w = lutra::Pack(coded, context);
  const float* input = x.data();
  lutra::Gemm<Squares>(lutra::View(input, kM, kK), w, lutra::View(y.data(), kM, kN), context);
  int bad = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    float want = 0.0f;
    for (size_t k = 0; k < kK; ++k) want += x[i / kN * kK + k] * Squares::Decode(codes[i % kN * kK + k]) * scale;
    bad += y[i] != want;  // small integers and halves: exact in any order
  }
  std::printf("%d of %zu outputs wrong\n", bad, y.size());
  return bad != 0;
}
