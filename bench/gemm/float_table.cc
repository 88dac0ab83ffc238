// f32 activations by planes of bits in tables; the rival is tile on the same weights.
#include <initializer_list>

#include "bench/gemm/cases.h"

namespace bench { namespace {

using Sizes = std::initializer_list<size_t>;

[[maybe_unused]] const bool registered = [] {
  const auto add = [](const lutra::FormatInfo& format, size_t group, Shape s, size_t m, bool cold) {
    GemmCase c{format, group, s.n, s.k, m, cold};
    c.float_x = true;
    c.unit = lutra::Unit::kByteRow;
    c.algo = lutra::GemmAlgo::kFloatTable;
    for (const bool all : {false, true}) RegisterGemm("float_table", c, all);
  };
  for (const lutra::FormatInfo& f : {lutra::Int1::info, lutra::Ternary::info}) {
    for (const size_t m : Sizes{1, 2, 3, 4, 8, 16, 64}) add(f, 0, {2560, 2560}, m, false);
    for (const Shape s : {Shape{256, 2560}, {6912, 2560}, {2560, 6912}}) {
      for (const size_t m : Sizes{1, 4}) add(f, 0, s, m, false);
    }
    add(f, 0, {2560, 2560}, 1, true);
    for (const size_t m : Sizes{1, 64}) add(f, 128, {2560, 2560}, m, false);
  }
  for (const lutra::FormatInfo& f : {lutra::Int3::info, lutra::Int4::info}) {
    for (const size_t m : Sizes{1, 4}) add(f, 0, {2560, 2560}, m, false);
  }
  return true;
}();

}}  // namespace bench
