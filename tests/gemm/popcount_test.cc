// popcount equals the reference bit for bit on every target: the sums of int_dot from bit planes.
#include <gtest/gtest.h>

#include <algorithm>

#include "support/gemm_compare.h"

namespace lutra { namespace testing { namespace {

// Formats whose planes have 1 or 2 bits.
constexpr FormatInfo kPlaneFormats[] = {Int1::info, ZeroOne::info,   Ternary::info,
                                        Int2::info, Int<2, 3>::info, Int3::info};

ActSpec Planes(int bits, bool is_signed) {
  ActSpec spec;
  spec.bits = bits;
  spec.is_signed = is_signed;
  spec.planes = true;
  return spec;
}

class Popcount : public ::testing::TestWithParam<FormatInfo> {};
INSTANTIATE_TEST_SUITE_P(All, Popcount, ::testing::ValuesIn(kPlaneFormats), NameOfFormat);

// Every number of bits meets every fill and many K: about the words of a block, of a step of four, and of the 124 after
// which bytes are widened. The rest of the call is drawn.
TEST_P(Popcount, EqualsReferenceBitForBit) {
  const size_t ks[] = {0, 1, 31, 32, 33, 64, 95, 128, 257, 32 * 124 - 1, 32 * 124, 32 * 124 + 1, 32 * 248 + 32 * 3 + 7};
  const size_t ms[] = {0, 1, 2, 3, 5, 33, 65}, ns[] = {0, 1, 31, 32, 33, 65, 97};
  Random random{GetParam().id};
  size_t step = 0;
  for (int bits = 1; bits <= 8; ++bits) {
    for (const bool is_signed : {true, false}) {
      if (bits == 8 && !is_signed) continue;
      for (const Fill fill : kFills) {
        for (const size_t k : ks) {
          if (bits > 2 && k > 300 && random.Below(6) != 0) continue;
          GemmSpec spec;
          spec.format = GetParam();
          spec.m = k > 300 ? 1 + random.Below(2) : ms[step % std::size(ms)];
          spec.n = k > 300 ? 1 + random.Below(40) : ns[step / 3 % std::size(ns)];
          ++step;
          spec.k = k;
          spec.fill = fill;
          spec.act = Planes(bits, is_signed);
          DrawCall(random, /*most_segment_k=*/64, &spec);
          GemmProblem problem(spec);
          DrawOutput(random, &problem);
          Compare(problem, {GemmAlgo::kPopcount});
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

// Weights of two-bit planes are split piece by piece: more blocks than one piece holds.
TEST_P(Popcount, LongRowsEqualReference) {
  for (const Fill fill : {Fill::kRandom, Fill::kAllMax, Fill::kInvalidCodes}) {
    for (const bool is_signed : {true, false}) {
      GemmSpec spec;
      spec.format = GetParam();
      spec.m = 3;
      spec.n = 3;
      spec.k = 2 * (internal::kSplitBytes / 128) * 32 / spec.format.bits + 50;
      spec.fill = fill;
      spec.act = Planes(1, is_signed);
      GemmProblem problem(spec);
      Compare(problem, {GemmAlgo::kPopcount});
      if (HasFatalFailure()) return;
    }
  }
}

// All bits set, at the largest K that packing accepts: the answer is a product of three numbers.
TEST_P(Popcount, LargestKDoesNotOverflow) {
  const FormatInfo& f = GetParam();
  const auto k = LargestKOf(f);
  const PackSpec pack{f, {}, 1, k, 1};
  PackedBuffer blob = PackedBuffer::Allocate(PackedBytes(pack));
  ASSERT_TRUE(BeginPack(pack, blob.bytes()).ok());
  const PackedLayout layout = internal::LayoutOf(pack);
  const float one = 1.0f;
  std::memcpy(blob.bytes().data() + layout.scales_at, &one, 4);
  std::memset(blob.bytes().data() + layout.codes_at, 0xFF, layout.panels * layout.panel_bytes);
  Context serial;
  for (const auto& [code, spec] : {std::pair{1, Planes(1, true)}, {-1, Planes(1, true)}, {-128, Planes(8, true)}}) {
    const std::vector<int8_t> row(k, static_cast<int8_t>(code));
    std::vector<std::byte> memory(ActivationBytes(1, k, spec));
    const Activations xq = ImportInt8(View(row.data(), 1, k), {&one, 1}, spec, memory, serial);
    const double want = static_cast<double>(code) * static_cast<double>(k) * (f.MaxPattern() - f.zero_x2 * 0.5);
    for (const std::string& target : TargetNames()) {
      TargetContext context(target);
      float y = 0;
      GemmCall call;
      call.xq = &xq;
      call.w = blob;
      call.algo = GemmAlgo::kPopcount;
      call.y = View(&y, 1, 1);
      Gemm<ZeroOne, Int1, Ternary, Int2, Int<2, 3>, Int3>(std::span<const GemmCall>(&call, 1), context);
      context.Check();
      EXPECT_EQ(y, static_cast<float>(want)) << target << " code " << code;
    }
  }
}

// Quantised by the library: planes and codes are the same numbers, so int_dot and popcount agree to the bit.
TEST_P(Popcount, EqualsIntDotOnQuantisedRows) {
  Random random{GetParam().id};
  for (const int bits : {1, 2, 4}) {
    for (const bool is_signed : {true, false}) {
      for (const ActFit fit : {ActFit::kAbsMax, ActFit::kAbsMean}) {
        GemmSpec problem_spec;
        problem_spec.format = GetParam();
        problem_spec.m = 7;
        problem_spec.n = 50;
        problem_spec.k = 200;
        problem_spec.seed = random.Next();
        GemmProblem problem(problem_spec);
        std::vector<float> x(7 * 200);
        for (float& v : x) v = random.Float();
        ActSpec spec = Planes(bits, is_signed);
        spec.fit = fit;
        for (const std::string& target : TargetNames()) {
          TargetContext context(target);
          std::vector<std::byte> memory(ActivationBytes(7, 200, spec));
          const Activations xq = Quantize(View(x.data(), 7, 200), spec, memory, context);
          std::vector<float> y[2] = {std::vector<float>(350), std::vector<float>(350)};
          for (const int way : {0, 1}) {
            GemmCall call = problem.Call(way == 0 ? GemmAlgo::kIntDot : GemmAlgo::kPopcount);
            call.xq = &xq;
            call.y = View(y[way].data(), 7, 50);
            Gemm<ZeroOne, Int1, Ternary, Int2, Int<2, 3>, Int3>(std::span<const GemmCall>(&call, 1), context);
          }
          ASSERT_EQ(y[0], y[1]) << target << " bits " << bits << is_signed;
        }
      }
    }
  }
}

// By hand: XNOR, and a 0/1 map times -1/+1 values.
TEST(PopcountByHand, XnorAndMap) {
  const uint8_t codes[5] = {1, 0, 1, 1, 0};  // +1/2, -1/2, +1/2, +1/2, -1/2
  const float two = 2.0f, half = 0.5f;
  CodedMatrix coded;
  coded.format = Int1::info;
  coded.scales.per_tensor = true;
  coded.n = 1;
  coded.k = 5;
  coded.codes = codes;
  coded.code_stride = 5;
  coded.scale = View(&two, 1, 1);
  Context context;
  const PackedBuffer w = Pack(coded, context);
  const auto run = [&](const std::vector<int8_t>& x, const ActSpec& spec) {
    std::vector<std::byte> memory(ActivationBytes(1, 5, spec));
    const Activations xq = ImportInt8(View(x.data(), 1, 5), {&half, 1}, spec, memory, context);
    float y = 0;
    GemmCall call;
    call.xq = &xq;
    call.w = w;
    call.y = View(&y, 1, 1);
    EXPECT_EQ(Explain<>(call, context).algo, GemmAlgo::kPopcount);
    Gemm<>(std::span<const GemmCall>(&call, 1), context);
    return y;
  };
  EXPECT_EQ(run({1, -1, 1, 1, -1}, Planes(1, true)), 2.5f);  // all agree
  EXPECT_EQ(run({-1, 1, 1, 1, 1}, Planes(1, true)), -0.5f);  // -1 -1 +1 +1 -1
  EXPECT_EQ(run({1, 1, 0, 1, 0}, Planes(1, false)), 0.5f);   // +1 -1 +1
  EXPECT_EQ(run({3, 2, 0, 1, 1}, Planes(2, false)), 0.5f);   // 3 - 2 + 1 - 1
  EXPECT_EQ(run({-2, -2, 1, 0, 1}, Planes(2, true)), 0.0f);  // -2 + 2 + 1 - 1
}

TEST(PopcountChoice, SaysWhyNot) {
  GemmSpec spec;
  spec.format = Int1::info;
  spec.m = 2;
  spec.n = 40;
  spec.k = 64;
  const auto why = [](const GemmSpec& s) {
    GemmProblem problem(s);
    Context context;
    const GemmCall call = problem.Call(GemmAlgo::kPopcount);
    return FailureOf([&] { Gemm<>(std::span<const GemmCall>(&call, 1), context); });
  };
  const std::string cannot = "Gemm: algo is popcount, which cannot run here: ";
  EXPECT_EQ(why(spec), cannot + "x has no bit planes: quantise it with ActSpec::planes");
  spec.act = Planes(1, true);
  EXPECT_EQ(why(spec), "");
  spec.scales.group_k = 20;
  EXPECT_EQ(why(spec), cannot + "group_k is not a multiple of 32");
  spec.scales.group_k = 0;
  spec.format = Int4::info;
  EXPECT_EQ(why(spec), cannot + "w has planes of more than 2 bits");
  spec.format = Int1::info;
  EXPECT_EQ(Explain<>(GemmProblem(spec).Call(), Context()).algo, GemmAlgo::kPopcount);
  spec.act = Planes(8, true);
  EXPECT_EQ(Explain<>(GemmProblem(spec).Call(), Context()).algo, GemmAlgo::kIntDot) << "eight products are slower";
}

}}}  // namespace lutra::testing
