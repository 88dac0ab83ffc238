// Whether choose.h chooses well: every algorithm that gives a call's bits is a rival, forced, of the one that kAuto
// takes. vs_<algorithm> below 0.95: that one is faster by more than 5 %. bench/choose.py lists those rows.
#include <algorithm>
#include <iterator>

#include "bench/gemm/cases.h"

namespace bench { namespace {

void Add(const GemmCase& c) {
  Register((c.unit == lutra::Unit::kByteRow ? "choose/byte_row/" : "choose/") + c.Name(), false, [=](Bench& b) {
    GemmRun chosen(c, b.context);
    chosen.Check();
    Row row;
    row.op = chosen.AsPiece("lutra");
    const lutra::GemmAlgo algo = chosen.Algo();
    row.note = Format("target=%s chosen=%s", chosen.target(), lutra::internal::kGemmAlgoNames[static_cast<int>(algo)]);
    const double least = Seconds(chosen);
    std::vector<std::unique_ptr<GemmRun>> others;
    for (size_t i = 1; i < std::size(lutra::internal::kGemmAlgoNames); ++i) {
      const auto other = static_cast<lutra::GemmAlgo>(i);
      // tile rounds x times its scale, byte_table its sums: other bits.
      if (other == algo || other == lutra::GemmAlgo::kTile || other == lutra::GemmAlgo::kByteTable) continue;
      auto run = std::make_unique<GemmRun>(c, b.context);
      run->Force(other);
      if (run->Algo() != other) continue;
      run->Check();
      if (Seconds(*run) > 4 * least) continue;  // nowhere near
      row.rivals.push_back(run->AsPiece(lutra::internal::kGemmAlgoNames[i]));
      others.push_back(std::move(run));
    }
    b.Time(std::move(row));
  });
}

constexpr GroupedFormat kWeights[] = {{lutra::Ternary::info, 0}, {lutra::Ternary::info, 128}, {lutra::Int1::info, 0},
                                      {lutra::Int1::info, 128},  {lutra::Int2::info, 0},      {lutra::Int2::info, 128},
                                      {lutra::Int3::info, 0},    {lutra::Int4::info, 0},      {lutra::Int4::info, 32},
                                      {lutra::Int4::info, 20},   {lutra::Ternary::info, 20},  {lutra::Int8::info, 0}};

// Every m beside every n: the thresholds of choose.h lie among them.
[[maybe_unused]] const bool registered = [] {
  for (const GroupedFormat& w : kWeights) {
    for (const size_t n : {size_t{128}, size_t{256}, size_t{512}, size_t{2560}}) {
      for (const size_t m : {size_t{1}, size_t{4}, size_t{8}, size_t{12}, size_t{16}, size_t{20}, size_t{24},
                             size_t{28}, size_t{32}, size_t{48}, size_t{64}, size_t{128}}) {
        GemmCase c{w.format, w.group, n, 2560, m};
        Add(c);
        if (n != 2560) continue;
        c.unit = lutra::Unit::kByteRow;
        Add(c);
      }
    }
  }
  // Bit planes of activations beside the same weights.
  for (const lutra::FormatInfo& format :
       {lutra::Int1::info, lutra::Ternary::info, lutra::Int2::info, lutra::Int3::info}) {
    for (const int bits : {1, 2, 3, 4}) {
      for (const size_t m : {size_t{1}, size_t{4}, size_t{8}, size_t{16}, size_t{24}, size_t{32}, size_t{128}}) {
        GemmCase c{format, 0, 2560, 2560, m};
        c.act = BitsOf(bits, /*is_signed=*/true, /*planes=*/true);
        Add(c);
      }
    }
  }
  return true;
}();

}}  // namespace bench
