// f32 activations by low-bit weights.
#include "bench/gemm/cases.h"

namespace bench { namespace {

constexpr size_t kRows[] = {1, 2, 4, 8, 16, 64, 512};

[[maybe_unused]] const bool registered = [] {
  const auto add = [](const lutra::FormatInfo& format, size_t group) {
    for (const bool all : {false, true}) {
      for (const size_t m : kRows) {
        GemmCase c{format, group, 2560, 2560, m};
        c.float_x = true;
        RegisterGemm("tile", c, all);
      }
    }
  };
  add(lutra::Ternary::info, 0);
  add(lutra::Int4::info, 32);
  add(lutra::Int4::info, 128);
  add(Codebook4::info, 64);
  return true;
}();

}}  // namespace bench
