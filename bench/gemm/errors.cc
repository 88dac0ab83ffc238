// How far answers are from x w in double precision, lutra's and those of the peers that are linked in, on random
// activations and on such that sums of 16 bits or one scale for many do not survive. Nothing is timed; bench/errors.py
// prints the table.
#include "bench/gemm/cases.h"
#include "bench/peers/peer.h"

namespace bench { namespace {

struct NamedInput {
  Input input;
  const char* name;
};
constexpr NamedInput kInputs[] = {
    {Input::kNormal, "normal"}, {Input::kConstant, "constant"}, {Input::kOutlier, "outlier"}};
constexpr GroupedFormat kWeights[] = {{lutra::Ternary::info, 0}, {lutra::Int4::info, 32}};

// Tables of one byte beside those of two, whose answers are int_dot's.
void AddBytes(const GemmCase& c, const char* input) {
  Register(Format("errors/%s/%s", input, c.Name().c_str()), false, [=](Bench& b) {
    GemmRun run(c, b.context);
    b.state.counters["error_lutra"] = run.Error();
    run.Force(lutra::GemmAlgo::kByteTable);
    if (run.Algo() != lutra::GemmAlgo::kByteTable) return b.state.SkipWithError("no byte tables here");
    run.Check();
    b.state.counters["error_lutra, ByteTables"] = run.Error();
    for (auto _ : b.state) b.state.SetIterationTime(0);
  });
}

void Add(const GemmCase& c, const char* input) {
  Register(Format("errors/%s/%s", input, c.Name().c_str()), false, [=](Bench& b) {
    GemmRun run(c, b.context);
    run.Check();
    b.state.counters["error_lutra"] = run.Error();
    GemmCase grouped = c;
    grouped.act.group_k = 32;
    b.state.counters["error_lutra, x in groups of 32"] = GemmRun(grouped, b.context).Error();
    for (const auto& peer : GemmPeers(run, 1)) {
      b.state.counters[Format("error_%s", peer->name().c_str())] = run.ErrorOf(peer->Run());
    }
    for (auto _ : b.state) b.state.SetIterationTime(0);
  });
}

[[maybe_unused]] const bool registered = [] {
  for (const GroupedFormat& w : kWeights) {
    for (const size_t k : {size_t{4096}, size_t{6912}}) {
      for (const NamedInput& input : kInputs) {
        GemmCase c{w.format, w.group, 256, k, 8};
        c.input = input.input;
        Add(c, input.name);
      }
    }
  }
  for (const lutra::FormatInfo& format : {lutra::Int1::info, lutra::Ternary::info, lutra::Int4::info}) {
    for (const NamedInput& input : kInputs) {
      GemmCase c{format, 0, 256, 4096, 8};
      c.unit = lutra::Unit::kByteRow;
      c.input = input.input;
      AddBytes(c, input.name);
    }
  }
  return true;
}();

}}  // namespace bench
