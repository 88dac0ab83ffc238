// A caller's mistakes: each message names the argument, its value and what is allowed, and y stays as it was.
#include <gtest/gtest.h>

#include "support/gemm_problem.h"

namespace lutra { namespace testing { namespace {

class BadInput : public ::testing::Test {
 protected:
  static constexpr size_t kM = 3, kN = 40, kK = 50;

  static GemmSpec Spec(DType x_type = DType::kI8, DType y_type = DType::kF32) {
    GemmSpec spec;
    spec.m = kM;
    spec.n = kN;
    spec.k = kK;
    spec.x_type = x_type;
    spec.y_type = y_type;
    return spec;
  }
  // The message of a call on problem `p` after `spoil` has changed it; y must be untouched.
  template <class Spoil>
  static std::string Message(GemmProblem& p, const Spoil& spoil) {
    GemmCall call = p.Call();
    spoil(call);
    p.ResetY();
    const std::vector<unsigned char> before = p.YBytes();
    Context context;
    const std::string message = FailureOf([&] { Gemm<>(std::span<const GemmCall>(&call, 1), context); });
    EXPECT_EQ(p.YBytes(), before) << message;
    EXPECT_EQ(context.last_target(), 0) << "no kernel ran";
    return message;
  }
  GemmProblem quantised_{Spec()}, float_{Spec(DType::kF32)}, sums_{Spec(DType::kI8, DType::kI32)},
      bytes_{Spec(DType::kI8, DType::kU8)};
  std::vector<float> wide_ = std::vector<float>(kM * kN);
};

TEST_F(BadInput, Activations) {
  const ConstMatrixView x = float_.x();
  EXPECT_EQ(Message(quantised_, [&](GemmCall& c) { c.x = x; }), "Gemm: both xq and x are given, one must be empty");
  EXPECT_EQ(Message(float_, [](GemmCall& c) { c.x.type = DType::kI8; }),
            "Gemm: x.type is i8, allowed are f32, bf16, f16");
  EXPECT_EQ(Message(float_, [](GemmCall& c) { c.x.cols = 49; }), "Gemm: x.cols is 49, w was packed for k = 50");
  EXPECT_EQ(Message(float_, [](GemmCall& c) { c.x.data = nullptr; }), "Gemm: x: data is null, the shape is 3 x 50");
  Activations shorter = quantised_.xq(), empty = quantised_.xq();
  shorter.k = 49;
  empty.codes = nullptr;
  EXPECT_EQ(Message(quantised_, [&](GemmCall& c) { c.xq = &shorter; }), "Gemm: x.cols is 49, w was packed for k = 50");
  EXPECT_EQ(Message(quantised_, [&](GemmCall& c) { c.xq = &empty; }),
            "Gemm: x holds null pointers, it must come from Quantize or ImportInt8");
}

TEST_F(BadInput, Output) {
  EXPECT_EQ(Message(quantised_, [](GemmCall& c) { c.y.rows = 2; }), "Gemm: y is 2 x 40, must be 3 x 40");
  EXPECT_EQ(Message(quantised_, [](GemmCall& c) { c.y.cols = 39; }), "Gemm: y is 3 x 39, must be 3 x 40");
  EXPECT_EQ(Message(quantised_, [](GemmCall& c) { c.y.data = nullptr; }), "Gemm: y: data is null, the shape is 3 x 40");
  EXPECT_EQ(Message(quantised_, [](GemmCall& c) { c.y.row_stride = 39; }),
            "Gemm: y: row_stride is 39, rows of 40 columns would overlap");
  EXPECT_EQ(Message(quantised_, [](GemmCall& c) { c.y.type = DType::kI16; }),
            "Gemm: y.type is i16, allowed are f32, bf16, f16, i32, i8, u8");
  EXPECT_EQ(Message(quantised_, [](GemmCall& c) { c.y.type = DType::kE4M3; }),
            "Gemm: y.type is e4m3, allowed are f32, bf16, f16, i32, i8, u8");
  EXPECT_EQ(Message(float_, [](GemmCall& c) { c.y.type = DType::kI32; }),
            "Gemm: algo is auto, which cannot run here: integer sums (y.type i32) need an integer algorithm");
}

TEST_F(BadInput, OverlapOfOutputAndOperands) {
  EXPECT_EQ(Message(float_, [](GemmCall& c) { c.y.data = const_cast<void*>(c.x.data); }), "Gemm: y overlaps x");
  EXPECT_EQ(Message(quantised_, [](GemmCall& c) { c.y.data = const_cast<int8_t*>(c.xq->codes); }),
            "Gemm: y overlaps x");
  EXPECT_EQ(Message(quantised_, [](GemmCall& c) { c.y.data = const_cast<uint8_t*>(c.w.Codes(0)) + 128; }),
            "Gemm: y overlaps w");
}

TEST_F(BadInput, RowMaps) {
  const int32_t rows[3] = {0, 3, 1}, low[3] = {0, -2, 1}, good[3] = {2, -1, 0};
  EXPECT_EQ(Message(quantised_, [&](GemmCall& c) { c.rows = {3, 1, rows}; }), "Gemm: rows.row[1] is 3, x has 3 rows");
  EXPECT_EQ(Message(float_, [&](GemmCall& c) { c.rows = {3, 1, low}; }), "Gemm: rows.row[1] is -2, x has 3 rows");
  EXPECT_EQ(Message(quantised_,
                    [&](GemmCall& c) {
                      c.rows = {3, 3, good};
                    }),
            "Gemm: rows.segments is 3, w was packed with 1");
  GemmSpec spec = Spec();
  spec.segments = 2;
  spec.gather = true;
  GemmProblem segments(spec);
  EXPECT_EQ(Message(segments, [](GemmCall& c) { c.rows.row = nullptr; }), "Gemm: rows.row is null, w has 2 segments");
  EXPECT_EQ(Message(quantised_, [&](GemmCall& c) { c.e.y_row = rows; }), "Gemm: e.y_row[1] is 3, y has 3 rows");
  EXPECT_EQ(Message(quantised_, [&](GemmCall& c) { c.e.y_row = low; }), "Gemm: e.y_row[1] is -2, y has 3 rows");
}

TEST_F(BadInput, EpilogueOperands) {
  const auto wide = View(static_cast<const float*>(wide_.data()), kM, kN);
  const std::vector<int8_t> q(kN);
  EXPECT_EQ(Message(quantised_, [](GemmCall& c) { c.e.act = static_cast<Act>(9); }), "Gemm: e.act is 9, not an Act");
  EXPECT_EQ(Message(quantised_,
                    [](GemmCall& c) {
                      c.e.clamp = true;
                      c.e.lo = 2;
                      c.e.hi = 1;
                    }),
            "Gemm: e.lo is 2, must be at most e.hi = 1");
  EXPECT_EQ(Message(quantised_,
                    [](GemmCall& c) {
                      c.e.clamp = true;
                      c.e.hi = std::nanf("");
                    }),
            "Gemm: e.lo is 0, must be at most e.hi = nan");
  EXPECT_EQ(Message(quantised_, [&](GemmCall& c) { c.e.mul = View(q.data(), 1, kN); }),
            "Gemm: e.mul.type is i8, allowed are f32, bf16, f16");
  for (const bool mul : {true, false}) {
    const std::string name = mul ? "mul" : "residual";
    const auto set = [&](GemmCall& c, ConstMatrixView v) { (mul ? c.e.mul : c.e.residual) = v; };
    ConstMatrixView view = wide;
    view.rows = 2;
    EXPECT_EQ(Message(quantised_, [&](GemmCall& c) { set(c, view); }),
              "Gemm: e." + name + " is 2 x 40, must be 3 x 40 or 1 x 40");
    view.rows = 3;
    view.cols = 39;
    EXPECT_EQ(Message(quantised_, [&](GemmCall& c) { set(c, view); }),
              "Gemm: e." + name + " is 3 x 39, must be 3 x 40 or 1 x 40");
  }
}

TEST_F(BadInput, EpilogueOfIntegerOutputs) {
  const std::vector<float> bias(kN);
  for (const int field : {0, 1, 2, 3, 4, 5}) {
    EXPECT_EQ(Message(sums_,
                      [&](GemmCall& c) {
                        if (field == 0) c.e.scale = bias.data();
                        if (field == 1) c.e.bias = bias.data();
                        if (field == 2) c.e.act = Act::kRelu;
                        if (field == 3) c.e.clamp = true;
                        if (field == 4) c.e.mul = View(bias.data(), 1, kN);
                        if (field == 5) c.e.residual = View(bias.data(), 1, kN);
                      }),
              "Gemm: y.type is i32, the epilogue may only accumulate");
  }
  EXPECT_EQ(Message(bytes_, [](GemmCall& c) { c.e.accumulate = true; }),
            "Gemm: e.accumulate needs a y of f32, bf16, f16 or i32, y.type is u8");
  EXPECT_EQ(Message(bytes_, [](GemmCall& c) { c.e.out_zero = 256; }),
            "Gemm: e.out_zero is 256, allowed is -128 ... 255");
  EXPECT_EQ(Message(bytes_, [](GemmCall& c) { c.e.out_zero = -129; }),
            "Gemm: e.out_zero is -129, allowed is -128 ... 255");
}

TEST_F(BadInput, Weights) {
  EXPECT_EQ(Message(quantised_, [](GemmCall& c) { c.w = PackedMatrix(); }),
            "Gemm: w is empty, it must come from Pack or Map");
  Context context;
  const GemmCall call = quantised_.Call();
  EXPECT_EQ(FailureOf([&] { (Gemm<Int4, Int2>(std::span<const GemmCall>(&call, 1), context)); }),
            "Gemm: w.format is ternary, the formats named by this call are: int4 int2");
  GemmSpec spec = Spec();
  spec.format = Skewed::info;
  GemmProblem skewed(spec);
  const std::string message = Message(skewed, [](GemmCall&) {});
  EXPECT_EQ(message.find("Gemm: w.format is skewed, the formats named by this call are: ternary int1"), 0u) << message;
  for (const FormatInfo& f : kFormats) EXPECT_NE(message.find(std::string(" ") + f.name.data()), std::string::npos);
  EXPECT_EQ(FailureOf([&] { (void)Explain<Int4>(call, context); }),
            "Gemm: w.format is ternary, the formats named by this call are: int4");
}

TEST_F(BadInput, ForcedAlgorithmsThatCannotRunSayWhy) {
  const std::string dot = "Gemm: algo is int_dot, which cannot run here: ";
  EXPECT_EQ(Message(float_, [](GemmCall& c) { c.algo = GemmAlgo::kIntDot; }),
            dot + "x is float: pass Activations for the integer path");
  EXPECT_EQ(Message(float_, [](GemmCall& c) { c.algo = GemmAlgo::kIntLanes; }),
            "Gemm: algo is int_lanes, which cannot run here: x is float: pass Activations for the integer path");
  EXPECT_EQ(Message(sums_, [](GemmCall& c) { c.algo = GemmAlgo::kTile; }),
            "Gemm: algo is tile, which cannot run here: integer sums (y.type i32) need an integer algorithm");
  GemmSpec spec = Spec();
  spec.scales.group_k = 20;
  GemmProblem odd(spec);
  EXPECT_EQ(Message(odd, [](GemmCall& c) { c.algo = GemmAlgo::kIntDot; }), dot + "group_k is not a multiple of 32");
  spec = Spec(DType::kI8, DType::kI32);
  spec.format = Int1::info;
  GemmProblem half(spec);
  EXPECT_EQ(Message(half, [](GemmCall& c) { c.algo = GemmAlgo::kIntDot; }),
            dot + "a half-integer zero point has no i32 sums");
  static constexpr auto kTable = TableOf<ThreeLevels>();
  spec = Spec();
  spec.format = ThreeLevels::info;
  spec.table = kTable.data();
  GemmProblem table(spec);
  GemmCall call = table.Call(GemmAlgo::kIntLanes);
  Context context;
  EXPECT_EQ(FailureOf([&] { Gemm<ThreeLevels>(std::span<const GemmCall>(&call, 1), context); }),
            "Gemm: algo is int_lanes, which cannot run here: a table format has no integer codes");
  // Explain says the same without running anything.
  const Explanation e = Explain<ThreeLevels>(call, context);
  EXPECT_EQ(e.algo, GemmAlgo::kAuto);
  EXPECT_NE(std::string(e.text).find("not int_lanes: a table format has no integer codes"), std::string::npos)
      << e.text;
}

// The choice is a function of types, formats and groups; Explain names it, the target, the bound and the others'
// reasons.
TEST_F(BadInput, ExplainSaysWhatRunsAndWhyTheRestDoesNot) {
  for (const std::string& target : TargetNames()) {
    TargetContext context(target);
    const Explanation dot = Explain<>(quantised_.Call(), context);
    EXPECT_EQ(dot.algo, GemmAlgo::kIntDot);
    EXPECT_EQ(std::string(dot.text).find("int_dot on " + target + "\nbound: DRAM read of the weights"), 0u) << dot.text;
    EXPECT_NE(std::string(dot.text).find("\nnot int_lanes: slower here\n"), std::string::npos) << dot.text;
    EXPECT_NE(std::string(dot.text).find("\nnot tile: slower here\n"), std::string::npos) << dot.text;
    const Explanation tile = Explain<>(float_.Call(), context);
    EXPECT_EQ(tile.algo, GemmAlgo::kTile);
    EXPECT_NE(std::string(tile.text).find("not int_dot: x is float: pass Activations"), std::string::npos) << tile.text;
    const Explanation forced = Explain<>(quantised_.Call(GemmAlgo::kIntLanes), context);
    EXPECT_EQ(forced.algo, GemmAlgo::kIntLanes);
    EXPECT_NE(std::string(forced.text).find("not int_dot: another one is forced"), std::string::npos) << forced.text;
  }
}

TEST_F(BadInput, ListsThatAreTooLongAndCallsBehindAGoodOne) {
  Context context;
  const size_t most = Context::kJobBytes / sizeof(internal::GemmTask);
  const std::vector<GemmCall> many(most + 1, quantised_.Call());
  EXPECT_EQ(FailureOf([&] { Gemm<>(std::span<const GemmCall>(many), context); }),
            "Gemm: calls has " + std::to_string(most + 1) + " entries, at most " + std::to_string(most) +
                " fit into one region");
  GemmCall calls[2] = {quantised_.Call(), float_.Call()};  // the second is wrong: the first must not run either
  calls[1].x.cols = 1;
  quantised_.ResetY();
  const std::vector<unsigned char> before = quantised_.YBytes();
  EXPECT_EQ(FailureOf([&] { Gemm<>(std::span<const GemmCall>(calls), context); }),
            "Gemm: x.cols is 1, w was packed for k = 50");
  EXPECT_EQ(quantised_.YBytes(), before);
}

TEST_F(BadInput, ATargetThatIsNotThere) {
  Context context;
  const Status status = ForceTarget(context, "AVX9");
  EXPECT_EQ(std::string(status.message()).find("ForceTarget: name is \"AVX9\", this CPU and build have: "), 0u);
  context.set_target(int64_t{1} << 62);  // by hand
  quantised_.ResetY();
  const std::vector<unsigned char> before = quantised_.YBytes();
  const GemmCall call = quantised_.Call();
  const std::string message = FailureOf([&] { Gemm<>(std::span<const GemmCall>(&call, 1), context); });
  EXPECT_EQ(message.find("Context: the forced target "), 0u) << message;
  EXPECT_EQ(quantised_.YBytes(), before);
}

// What must work: it looks like a mistake and is none.
TEST_F(BadInput, ColumnRangesOfOneBufferDoNotOverlap) {
  std::vector<float> buffer(kM * 100, 1.0f);  // x in columns 0 ... 49, y in columns 50 ... 89
  Context context;
  GemmCall call = float_.Call();
  call.x = View(static_cast<const float*>(buffer.data()), kM, kK, 100);
  call.y = View(buffer.data() + 50, kM, kN, 100);
  Gemm<>(std::span<const GemmCall>(&call, 1), context);
  EXPECT_EQ(buffer[95], 1.0f);
  call.y = View(buffer.data() + 49, kM, kN, 100);
  EXPECT_EQ(FailureOf([&] { Gemm<>(std::span<const GemmCall>(&call, 1), context); }), "Gemm: y overlaps x");
}

// Overlaps() against a set of bytes.
TEST(Overlaps, EqualsBruteForceOrIsMoreCareful) {
  Random random{1};
  std::vector<float> memory(400);
  size_t apart = 0;
  for (int i = 0; i < 20000; ++i) {
    const auto draw = [&] {
      ConstMatrixView v;
      v.rows = random.Below(4);
      v.cols = random.Below(6);
      const ptrdiff_t strides[] = {0, 5, 8, 8, 8, 8, 11, -8, -5};
      v.row_stride = random.Of(strides);
      v.data = memory.data() + 100 + random.Below(60);
      return v;
    };
    const ConstMatrixView a = draw(), b = draw();
    std::vector<char> touched(memory.size());
    const auto each = [&](const ConstMatrixView& v, const auto& at) {
      for (size_t r = 0; r < v.rows; ++r) {
        for (size_t c = 0; c < v.cols; ++c) {
          at(static_cast<size_t>(static_cast<const float*>(v.data) - memory.data() +
                                 static_cast<ptrdiff_t>(r) * v.row_stride + static_cast<ptrdiff_t>(c)));
        }
      }
    };
    bool really = false;
    each(a, [&](size_t at) { touched[at] = 1; });
    each(b, [&](size_t at) { really = really || touched[at] != 0; });
    const bool said = internal::Overlaps(a, b);
    ASSERT_EQ(said, internal::Overlaps(b, a));
    ASSERT_TRUE(said || !really) << i;
    // Exact for column ranges of one matrix, and wherever the byte ranges lie apart.
    const bool columns = a.row_stride == 8 && b.row_stride == 8 && a.rows > 1 && a.rows == b.rows &&
                         (static_cast<const float*>(a.data) - memory.data()) / 8 ==
                             (static_cast<const float*>(b.data) - memory.data()) / 8;
    const size_t a_col = static_cast<size_t>(static_cast<const float*>(a.data) - memory.data()) % 8;
    const size_t b_col = static_cast<size_t>(static_cast<const float*>(b.data) - memory.data()) % 8;
    if (columns && a_col + a.cols <= 8 && b_col + b.cols <= 8) {
      ASSERT_EQ(said, really) << i;
      apart += !really;
    }
  }
  EXPECT_GT(apart, 20u);
}

}}}  // namespace lutra::testing
