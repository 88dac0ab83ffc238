// The whole grid, by name alone (--benchmark_filter=^shapes/): common models' shapes and odd ones, each number of rows,
// weights in cache and in DRAM, one thread and all.
#include "bench/gemm/cases.h"

namespace bench { namespace {

constexpr Shape kOdd[] = {{1, 2560},    {7, 2560},    {1001, 2560}, {2560, 257},
                          {2560, 1000}, {2560, 8640}, {1001, 257},  {7, 8640}};

constexpr GroupedFormat kWeights[] = {{lutra::Ternary::info, 0}, {lutra::Int1::info, 0},  {lutra::Int2::info, 64},
                                      {lutra::Int2::info, 128},  {lutra::Int4::info, 32}, {lutra::Int4::info, 128}};

[[maybe_unused]] const bool registered = [] {
  for (const GroupedFormat& w : kWeights) {
    const auto add = [&](const Shape& s, bool odd) {
      for (const bool all : {false, true}) {
        for (const bool cold : {false, true}) {
          for (const size_t m : {size_t{1}, size_t{2}, size_t{4}, size_t{8}, size_t{16}, size_t{32}, size_t{64},
                                 size_t{128}, size_t{512}}) {
            const GemmCase c{w.format, w.group, s.n, s.k, m, cold};
            GemmCase rounded = c;  // whole panels and blocks
            rounded.n = (s.n + 31) / 32 * 32;
            rounded.k = (s.k + 31) / 32 * 32;
            RegisterGemm("shapes", c, all, odd ? &rounded : nullptr);
          }
        }
      }
    };
    for (const Shape& s : kModelShapes) add(s, false);
    for (const Shape& s : kOdd) add(s, true);
  }
  return true;
}();

}}  // namespace bench
