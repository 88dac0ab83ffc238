// The whole grid, by name alone (--benchmark_filter=^shapes/): common models' shapes and odd ones, each number of rows,
// weights in cache and in DRAM, one thread and all.
#include "bench/gemm/cases.h"

namespace bench { namespace {

struct Shape {
  size_t n, k;
};
// BitNet 2B and an 8B model.
constexpr Shape kModels[] = {{2560, 2560}, {640, 2560},   {6912, 2560}, {2560, 6912},
                             {4096, 4096}, {14336, 4096}, {4096, 14336}};
constexpr Shape kOdd[] = {{1, 2560},    {7, 2560},    {1001, 2560}, {2560, 257},
                          {2560, 1000}, {2560, 8640}, {1001, 257},  {7, 8640}};

struct Weights {
  lutra::FormatInfo format;
  size_t group;
};
constexpr Weights kWeights[] = {{lutra::Ternary::info, 0}, {lutra::Int1::info, 0},  {lutra::Int2::info, 64},
                                {lutra::Int2::info, 128},  {lutra::Int4::info, 32}, {lutra::Int4::info, 128}};

[[maybe_unused]] const bool registered = [] {
  for (const Weights& w : kWeights) {
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
    for (const Shape& s : kModels) add(s, false);
    for (const Shape& s : kOdd) add(s, true);
  }
  return true;
}();

}}  // namespace bench
