// f32 activations by low-bit weights in bf16, beside the same in f32.
#include "bench/gemm/cases.h"

namespace bench { namespace {

[[maybe_unused]] const bool registered = [] {
  for (const GroupedFormat& w : {GroupedFormat{lutra::Ternary::info, 0}, GroupedFormat{lutra::Int4::info, 32},
                                 GroupedFormat{lutra::Int4::info, 128}, GroupedFormat{lutra::Int8::info, 0}}) {
    for (const bool all : {false, true}) {
      for (const size_t m : {size_t{8}, size_t{16}, size_t{64}, size_t{512}}) {
        GemmCase c{w.format, w.group, 2560, 2560, m};
        c.float_x = true;
        c.algo = lutra::GemmAlgo::kBf16Dot;
        RegisterGemm("bf16_dot", c, all);
      }
    }
  }
  return true;
}();

}}  // namespace bench
