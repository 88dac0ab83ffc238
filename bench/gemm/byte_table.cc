// Lookups in tables of one byte, rounded, beside those of the exact tables on the same weights (vs_shuffle_table).
#include "bench/gemm/cases.h"

namespace bench { namespace {

[[maybe_unused]] const bool registered = [] {
  const auto add = [](const lutra::FormatInfo& format, size_t group, Shape s, size_t m, bool cold, bool all) {
    GemmCase c{format, group, s.n, s.k, m, cold};
    c.unit = lutra::Unit::kByteRow;
    c.algo = lutra::GemmAlgo::kByteTable;
    RegisterGemm("byte_table", c, all);
  };
  for (const bool all : {false, true}) {
    for (const Shape s : {Shape{2560, 2560}, {6912, 2560}, {2560, 6912}, {256, 2560}}) {
      add(lutra::Int1::info, 0, s, 1, false, all);
    }
    for (const size_t m : {size_t{4}, size_t{64}}) add(lutra::Int1::info, 0, {2560, 2560}, m, false, all);
    add(lutra::Int1::info, 128, {2560, 2560}, 1, false, all);
    add(lutra::Int1::info, 0, {2560, 2560}, 1, true, all);
    for (const lutra::FormatInfo& f : {lutra::Ternary::info, lutra::Int3::info, lutra::Int4::info}) {
      add(f, 0, {2560, 2560}, 1, false, all);
      add(f, 0, {2560, 2560}, 1, true, all);
    }
  }
  return true;
}();

}}  // namespace bench
