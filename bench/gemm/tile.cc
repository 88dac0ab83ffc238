// Float activations by low-bit weights.
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
  for (const lutra::DType x : {lutra::DType::kBF16, lutra::DType::kF16}) {
    for (const size_t m : {size_t{1}, size_t{16}, size_t{64}, size_t{512}}) {
      GemmCase c{lutra::Ternary::info, 0, 2560, 2560, m};
      c.float_x = true;
      c.x_type = x;
      RegisterGemm("tile_half", c, false);
    }
  }
  return true;
}();

}}  // namespace bench
