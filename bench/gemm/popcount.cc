// Bit planes: weights of 1 and 2 bits times activations of 1, 2 and 4; vs_int_dot is the same sums by multiplication.
#include "bench/gemm/cases.h"

namespace bench { namespace {

void Add(const lutra::FormatInfo& format, int bits, bool is_signed, size_t n, size_t k, size_t m, bool cold, bool all) {
  GemmCase c{format, 0, n, k, m, cold};
  c.act = BitsOf(bits, is_signed, true);
  c.algo = lutra::GemmAlgo::kPopcount;
  RegisterGemm("popcount", c, all);
}

[[maybe_unused]] const bool registered = [] {
  struct Pair {
    lutra::FormatInfo format;
    int bits;
    bool is_signed;
  };
  constexpr Pair kPairs[] = {{lutra::Int1::info, 1, true},     {lutra::Int1::info, 1, false},
                             {lutra::Int1::info, 2, false},    {lutra::Int1::info, 4, true},
                             {lutra::Int2::info, 1, true},     {lutra::Ternary::info, 1, true},
                             {lutra::Ternary::info, 2, false}, {lutra::Int3::info, 1, true}};
  for (const bool all : {false, true}) {
    for (const Pair& p : kPairs) {
      for (const size_t m : {size_t{1}, size_t{4}, size_t{8}, size_t{16}, size_t{32}, size_t{128}}) {
        Add(p.format, p.bits, p.is_signed, 2560, 2560, m, false, all);
      }
    }
    for (const size_t m : {size_t{1}, size_t{8}, size_t{128}}) {
      Add(lutra::Int1::info, 1, true, 4096, 4096, m, false, all);
      Add(lutra::Int1::info, 1, true, 640, 2560, m, false, all);
    }
    Add(lutra::Int1::info, 1, true, 4096, 4096, 1, true, all);
  }
  return true;
}();

}}  // namespace bench
