// Any multiplication, drawn from the bytes: every algorithm that accepts it gives on every target what the reference
// gives, bit for bit, and so what every other one gives; and touches nothing outside of its operands, which lie between
// guard pages.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>

#include "support/gemm_problem.h"

namespace lutra { namespace testing { namespace {

// The bytes in turn, zeros behind them.
struct Bytes {
  const uint8_t* at;
  size_t left;
  size_t Next() {
    if (left == 0) return 0;
    --left;
    return *at++;
  }
  size_t Below(size_t n) { return (Next() << 8 | Next()) % n; }
  template <class T, size_t kN>
  const T& Of(const T (&choices)[kN]) {
    return choices[Next() % kN];
  }
};

void Require(const std::string& difference, const std::string& where) {
  if (difference.empty()) return;
  std::fprintf(stderr, "%s: %s\n", where.c_str(), difference.c_str());
  std::abort();
}

void Try(Bytes bytes) {
  static constexpr auto kThree = TableOf<ThreeLevels>();
  static constexpr auto kFive = TableOf<FiveBits>();
  constexpr DType kFloats[] = {DType::kF32, DType::kBF16, DType::kF16};
  constexpr DType kXs[] = {DType::kI8, DType::kI8, DType::kF32, DType::kBF16, DType::kF16};
  constexpr DType kYs[] = {DType::kF32, DType::kBF16, DType::kF16, DType::kI32, DType::kI8, DType::kU8};
  constexpr size_t kGroups[] = {0, 32, 64, 96, 128, 1, 3, 20, 48};
  GemmSpec spec;
  const size_t format = bytes.Next() % (kFormats.size() + 3);
  spec.format = format < kFormats.size()        ? kFormats[format]
                : format == kFormats.size()     ? ThreeLevels::info
                : format == kFormats.size() + 1 ? FiveBits::info
                                                : Skewed::info;
  if (spec.format == ThreeLevels::info) spec.table = kThree.data();
  if (spec.format == FiveBits::info) spec.table = kFive.data();
  spec.m = bytes.Below(70);  // more than one block of rows
  spec.n = bytes.Below(100);
  spec.k = bytes.Below(spec.m < 8 ? 600 : 100);
  spec.fill = bytes.Of(kFills);
  spec.scales.group_k = bytes.Of(kGroups);
  spec.scales.type = bytes.Of(kFloats);
  spec.scales.has_offset = bytes.Next() % 2 != 0;
  spec.scales.per_tensor = spec.scales.group_k == 0 && bytes.Next() % 2 != 0;
  spec.x_type = bytes.Of(kXs);
  spec.x_pad = bytes.Next() % 4;
  spec.act.group_k = 32 * (bytes.Next() % 4);
  spec.act.per_tensor = spec.act.group_k == 0 && bytes.Next() % 2 != 0;
  spec.y_type = bytes.Of(kYs);
  const bool integer = spec.x_type == DType::kI8 && spec.format.map == Map::kAffine;
  if (spec.y_type == DType::kI32 && (!integer || spec.format.zero_x2 % 2 != 0)) spec.y_type = DType::kF32;
  spec.y_pad = bytes.Next() % 4;
  spec.accumulate = (IsFloat(spec.y_type) || spec.y_type == DType::kI32) && bytes.Next() % 2 != 0;
  spec.gather = bytes.Next() % 2 != 0;
  if (spec.gather) spec.segments = 1 + bytes.Next() % 3;
  spec.scatter = bytes.Next() % 2 != 0;
  spec.edge = bytes.Next() % 2 != 0 ? Edge::kBegin : Edge::kEnd;
  spec.seed = bytes.Below(65536);
  constexpr Unit kUnits[] = {Unit::kLane32, Unit::kByteRow, Unit::kTriple};
  spec.unit = bytes.Of(kUnits);
  if (!internal::IsTernary(spec.format) && spec.unit == Unit::kTriple) spec.unit = Unit::kByteRow;

  GemmProblem problem(spec);
  std::vector<float> channels(spec.n);
  Random random{spec.seed};
  for (float& v : channels) v = random.Float();
  const size_t steps = bytes.Next();
  if (spec.y_type != DType::kI32) {
    Epilogue& e = problem.e;
    if ((steps & 1) != 0) e.scale = channels.data();
    if ((steps & 2) != 0) e.bias = channels.data();
    if ((steps & 4) != 0) e.act = (steps & 8) != 0 ? Act::kRelu : Act::kSquaredRelu;
    e.clamp = (steps & 16) != 0;
    e.lo = -1.0f;
    e.hi = 2.0f;
    if ((steps & 32) != 0) e.mul = View(static_cast<const float*>(channels.data()), 1, spec.n);
    if ((steps & 64) != 0) e.residual = View(static_cast<const float*>(channels.data()), 1, spec.n);
    e.out_scale = (steps & 128) != 0 ? 20.0f : 1.0f;
    e.out_zero = static_cast<int32_t>(bytes.Below(384)) - 128;
  }
  static const std::vector<std::string> targets = TargetNames();
  for (const std::string& target : targets) {
    std::vector<unsigned char> alone;
    for (const size_t workers : Sizes{1, 3}) {
      TargetContext& context = workers == 1 ? ContextsOn(target).one : ContextsOn(target).other;
      for (size_t i = 1; i < std::size(internal::kGemmAlgoNames); ++i) {
        const auto algo = static_cast<GemmAlgo>(i);
        if (!problem.Accepts(algo, context)) continue;
        const std::string where = target + ' ' + internal::kGemmAlgoNames[i];
        const std::string difference = problem.Run(algo, context);
        if (algo != GemmAlgo::kTile || HasFma(target)) {
          Require(difference, where);
        } else if (workers == 1) {
          // Without FMA the float path rounds otherwise (tests/gemm/tile_test.cc holds its bound), but on any number of
          // workers alike.
          alone = problem.YBytes();
        } else {
          Require(problem.YBytes() == alone ? "" : "differs from one worker: " + spec.ToString(), where);
        }
      }
    }
  }
}

}}}  // namespace lutra::testing

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  lutra::testing::Try({data, size});
  return 0;
}
