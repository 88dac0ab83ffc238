// Three ternary weights in five bits, beside the same weights in two bits each (vs_int_dot).
#include "bench/gemm/cases.h"

namespace bench { namespace {

[[maybe_unused]] const bool registered = [] {
  const auto add = [](Shape s, size_t m, bool cold, bool all) {
    GemmCase c{lutra::Ternary::info, 0, s.n, s.k, m, cold};
    c.unit = lutra::Unit::kTriple;
    RegisterGemm("triple_table", c, all);
  };
  for (const bool all : {false, true}) {
    for (const Shape s : {Shape{2560, 2560}, {6912, 2560}, {2560, 6912}, {4096, 4096}}) {
      add(s, 1, false, all);
      add(s, 1, true, all);
    }
  }
  add({2560, 2560}, 4, false, false);
  return true;
}();

}}  // namespace bench
