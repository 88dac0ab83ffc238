// Lookups in tables of activations: planes of bits, cost linear in their number.
#include "bench/gemm/cases.h"

namespace bench { namespace {

[[maybe_unused]] const bool registered = [] {
  const auto add = [](const lutra::FormatInfo& format, Shape s, size_t m, bool cold, bool all) {
    GemmCase c{format, 0, s.n, s.k, m, cold};
    c.unit = lutra::Unit::kByteRow;
    RegisterGemm("shuffle_table", c, all);
  };
  for (const bool all : {false, true}) {
    for (const Shape s : {Shape{2560, 2560}, {6912, 2560}, {2560, 6912}, {4096, 4096}}) {
      for (const size_t m : {size_t{1}, size_t{2}, size_t{4}, size_t{8}}) add(lutra::Int1::info, s, m, false, all);
      add(lutra::Int1::info, s, 1, true, all);
    }
    for (const lutra::FormatInfo& f : {lutra::Int2::info, lutra::Int3::info, lutra::Int4::info}) {
      add(f, {2560, 2560}, 1, false, all);
      add(f, {2560, 2560}, 1, true, all);
    }
  }
  // The same weights in the unit of int_dot.
  for (const size_t m : {size_t{1}, size_t{4}}) RegisterGemm("int_dot", {lutra::Int1::info, 0, 2560, 2560, m}, false);
  RegisterGemm("int_dot", {lutra::Int1::info, 0, 2560, 2560, 1, true}, false);
  return true;
}();

}}  // namespace bench
