// Prefill of 1 and 2 bits: calls for which sums tables are chosen, and those just beside.
#include "bench/gemm/cases.h"

namespace bench { namespace {

constexpr GroupedFormat kWeights[] = {{lutra::Ternary::info, 0}, {lutra::Ternary::info, 128}, {lutra::Int1::info, 0},
                                      {lutra::Int1::info, 64},   {lutra::Int2::info, 0},      {lutra::Int2::info, 128}};

[[maybe_unused]] const bool registered = [] {
  for (const GroupedFormat& w : kWeights) {
    for (const auto& [n, k] : {Shape{2560, 2560}, {6912, 2560}, {2560, 6912}}) {
      for (const size_t m : {size_t{32}, size_t{33}, size_t{64}, size_t{128}, size_t{512}}) {
        RegisterGemm("sums_table", {w.format, w.group, n, k, m}, false);
      }
      RegisterGemm("sums_table", {w.format, w.group, n, k, 128}, true);
    }
  }
  // Rows that do not fill a table, and few rows of w.
  for (const size_t m : {size_t{24}, size_t{40}, size_t{48}, size_t{63}, size_t{100}}) {
    RegisterGemm("sums_table", {lutra::Ternary::info, 0, 2560, 2560, m}, false);
  }
  for (const size_t n : {size_t{256}, size_t{512}, size_t{1920}}) {
    RegisterGemm("sums_table", {lutra::Ternary::info, 0, n, 2560, 32}, false);
  }
  return true;
}();

}}  // namespace bench
