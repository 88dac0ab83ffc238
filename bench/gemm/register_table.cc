// Weights of 1 bit and some rows of x: tables in registers beside dots.
#include "bench/gemm/cases.h"

namespace bench { namespace {

[[maybe_unused]] const bool registered = [] {
  const auto add = [](Shape s, size_t m, bool cold, bool all) {
    GemmCase c{lutra::Int1::info, 0, s.n, s.k, m, cold};
    c.algo = lutra::GemmAlgo::kRegisterTable;
    RegisterGemm("register_table", c, all);
  };
  for (const bool all : {false, true}) {
    for (const Shape s : {Shape{2560, 2560}, {640, 2560}, {6912, 2560}, {2560, 6912}, {4096, 4096}}) {
      for (const size_t m : {size_t{2}, size_t{4}, size_t{8}, size_t{16}, size_t{31}}) add(s, m, false, all);
      for (const size_t m : {size_t{2}, size_t{4}, size_t{8}}) add(s, m, true, all);
    }
    add({2560, 2560}, 1, false, all);
    add({2560, 2560}, 1, true, all);
  }
  for (const size_t m : {size_t{8}, size_t{16}}) add({256, 2560}, m, false, false);
  return true;
}();

}}  // namespace bench
