// What the benches of GEMM share: shapes, random matrices, copies that no cache holds, and the check of an answer.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "bench/harness.h"
#include "lutra/gemm.h"

namespace bench {

// A format that has only a table: 16 levels of a normal distribution, as NF4 has.
struct Codebook4 {
  static constexpr lutra::FormatInfo info = lutra::TableFormat(0x8001, "codebook4", 4, 16);
  static constexpr float Decode(unsigned code) {
    constexpr float kLevels[] = {-1.0f,    -0.69619f, -0.52507f, -0.39492f, -0.28444f, -0.18477f, -0.09105f, 0.0f,
                                 0.07958f, 0.1609f,   0.24611f,  0.33792f,  0.44071f,  0.56262f,  0.72296f,  1.0f};
    return kLevels[code];
  }
};

// What the lists of cases are made of.
struct Shape {
  size_t n, k;
};
inline constexpr Shape kModelShapes[] = {{2560, 2560}, {640, 2560},   {6912, 2560}, {2560, 6912},  // BitNet 2B
                                         {4096, 4096}, {14336, 4096}, {4096, 14336}};              // a model of 8B
struct GroupedFormat {
  lutra::FormatInfo format;
  size_t group;  // group_k, 0: one scale for the tensor
};

// What x holds.
enum class Input {
  kNormal,    // random numbers
  kConstant,  // ones: int8 codes of 127, the largest sums that there are
  kOutlier,   // random numbers, one of each row 100 times as large as it was
};

struct GemmCase {
  lutra::FormatInfo format;  // one of lutra's own, or Codebook4
  size_t group = 0;          // group_k: 0 is one scale for the tensor
  size_t n = 0, k = 0, m = 0;
  bool cold = false;     // weights from DRAM, else one matrix again and again
  bool float_x = false;  // f32 activations, else quantised inside the timed call
  lutra::Unit unit = lutra::Unit::kLane32;
  lutra::ActSpec act = {};
  lutra::GemmAlgo algo = lutra::GemmAlgo::kAuto;
  Input input = Input::kNormal;
  lutra::DType x_type = lutra::DType::kF32;  // of float_x
  size_t groups() const { return group == 0 ? 1 : (k + group - 1) / group; }
  double macs() const { return static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k); }
  // What a call has to read of the weights: codes and scales of the asked shape.
  double weight_bytes() const;
  std::string Name() const;  // "ternary/2560x2560/M:1/cache", "int4_g32/...", "int1_a2u/...", "ternary_bf16x/..."
};

// Random weights, packed. The last ones are kept: rows of one matrix follow each other.
struct GemmWeights {
  std::vector<uint8_t> codes;  // [n][k]
  std::vector<float> scales;   // [n][groups], or the one
  lutra::PackedBuffer packed;
};
std::shared_ptr<const GemmWeights> WeightsOf(const GemmCase& c);

// A multiplication with everything it needs, ready to run.
class GemmRun {
 public:
  // cold: where copies of the weights of a cold case are, all of ColdMemory() where it is empty.
  GemmRun(const GemmCase& c, lutra::Context& context, std::span<std::byte> cold = {});

  // The algorithm of all calls from now on, in place of the case's.
  void Force(lutra::GemmAlgo algo) { algo_ = algo; }
  // The algorithm that a call runs by; kAuto where the forced one cannot.
  lutra::GemmAlgo Algo();

  // Quantises x (unless float_x) and multiplies by the next copy of the weights.
  void operator()();
  // Compares sampled outputs with the reference: equal bits on the integer path and of bf16_dot, the documented bound
  // on the float path. Throws std::runtime_error.
  void Check();
  // Checked already; `context` must live as long.
  Piece AsPiece(const std::string& name);

  const GemmCase& shape() const { return case_; }
  const GemmWeights& weights() const { return *weights_; }
  const std::vector<float>& x() const { return x_; }  // [m][k], as its type holds it
  float Weight(size_t n, size_t k) const {
    const float scale = weights_->scales[case_.group == 0 ? 0 : n * case_.groups() + k / case_.group];
    const unsigned code = weights_->codes[n * case_.k + k];
    if (case_.format.map == lutra::Map::kTable) return Codebook4::Decode(code) * scale;
    return static_cast<float>(2 * static_cast<int>(code) - case_.format.zero_x2) * 0.5f * scale;
  }
  // |got - x w| / |x w| over sampled outputs, in double precision: for peers that round activations on their own.
  double ErrorOf(const float* got) const;
  double Error();  // of its own, after one more run
  const char* target() const { return lutra::TargetName(context_->last_target()); }

 private:
  lutra::GemmCall Call();
  void Run(const lutra::GemmCall& call);

  GemmCase case_;
  lutra::Context* context_;
  lutra::GemmAlgo algo_;
  std::shared_ptr<const GemmWeights> weights_;
  std::vector<float> x_, y_;
  std::vector<uint16_t> x16_;  // the same where x_type is of 16 bits
  std::vector<lutra::PackedMatrix> copies_;
  size_t next_ = 0;
  lutra::ActivationBuffer activations_;
};

// Activations of few bits as popcount wants them: one signed bit and four by the mean, the others by the maximum.
lutra::ActSpec BitsOf(int bits, bool is_signed, bool planes);

// Registers a case with the limits that bound it; `rounded` also runs a second shape as the rival vs_rounded, at the
// rate of its own work.
void RegisterGemm(const std::string& op, const GemmCase& c, bool all_threads, const GemmCase* rounded = nullptr);

}  // namespace bench
