// Integer dot products: all shapes of the goals, and of common models.
#include "bench/gemm/cases.h"

namespace bench { namespace {

constexpr size_t kRows[] = {1, 2, 4, 8, 16, 32, 128, 512};

constexpr GroupedFormat kWeights[] = {{lutra::Ternary::info, 0},
                                      {lutra::Int2::info, 64},
                                      {lutra::Int2::info, 128},
                                      {lutra::Int4::info, 32},
                                      {lutra::Int4::info, 128}};

[[maybe_unused]] const bool registered = [] {
  for (const GroupedFormat& w : kWeights) {
    for (const Shape& s : kModelShapes) {
      for (const bool all : {false, true}) {
        for (const size_t m : kRows) RegisterGemm("int_dot", {w.format, w.group, s.n, s.k, m}, all);
        RegisterGemm("int_dot", {w.format, w.group, s.n, s.k, 1, true}, all);
      }
    }
  }
  // M = 3, 5 ... 7 pass the tile in pieces; odd shapes beside the whole panels and blocks that hold them.
  for (const size_t m : {size_t{3}, size_t{5}, size_t{6}, size_t{7}})
    RegisterGemm("int_dot", {lutra::Ternary::info, 0, 2560, 2560, m}, false);
  for (const size_t m : {size_t{1}, size_t{8}}) {
    for (const Shape& s : {Shape{1001, 2560}, {7, 8640}, {1, 8640}, {2560, 1000}, {1001, 257}}) {
      const GemmCase odd{lutra::Ternary::info, 0, s.n, s.k, m};
      const GemmCase rounded{lutra::Ternary::info, 0, (s.n + 31) / 32 * 32, (s.k + 31) / 32 * 32, m};
      RegisterGemm("int_dot", odd, false, &rounded);
    }
  }
  return true;
}();

}}  // namespace bench
