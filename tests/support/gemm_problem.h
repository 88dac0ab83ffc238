// A multiplication between guard pages, its answer by the reference, and the comparison with what the library does.
#pragma once
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "lutra/gemm.h"
#include "lutra/gemm/reference.h"
#include "support/formats.h"
#include "support/guarded.h"
#include "support/random.h"
#include "support/targets.h"

namespace lutra { namespace testing {

// What stands in weights and activations; 127 and -128 are the ends of the range where activations have fewer bits.
// Codes of all ones are the largest pattern of the field, whether the format
// uses it or not.
enum class Fill : uint8_t {
  kRandom,        // codes in use, any activation
  kAllMax,        // all ones, 127
  kAllMin,        // all ones, -128
  kAlternating,   // all ones, -128 and 127 in turn
  kZeroCodes,     // code 0, -128: the zero point alone
  kInvalidCodes,  // any byte, also in the padding of rows and k
};
inline constexpr Fill kFills[] = {Fill::kRandom,      Fill::kAllMax,    Fill::kAllMin,
                                  Fill::kAlternating, Fill::kZeroCodes, Fill::kInvalidCodes};

struct GemmSpec {
  FormatInfo format = Ternary::info;
  const float* table = nullptr;
  size_t m = 1, n = 1, k = 1, segments = 1;  // k of a segment
  Scales scales;
  Unit unit = Unit::kLane32;
  DType x_type = DType::kI8;  // i8: Activations, whose form is `act`; else a float view
  ActSpec act;
  DType y_type = DType::kF32;
  size_t x_pad = 0, y_pad = 0;  // columns between rows that must stay as they are
  bool accumulate = false, gather = false, scatter = false;
  Fill fill = Fill::kRandom;
  Edge edge = Edge::kEnd;
  uint64_t seed = 1;

  std::string ToString() const {
    char text[256];
    std::snprintf(text, sizeof(text),
                  "%s unit %d %zu x %zu x %zu*%zu scales(group %zu %s%s%s) act(%s group %zu%s %d bits%s) y "
                  "%s+%zu%s%s%s fill %d seed %llu",
                  format.name.data(), static_cast<int>(unit), m, n, segments, k, scales.group_k, NameOf(scales.type),
                  scales.per_tensor ? " tensor" : "", scales.has_offset ? " offset" : "", NameOf(x_type), act.group_k,
                  act.per_tensor ? " tensor" : "", act.bits, act.is_signed ? "" : "u", NameOf(y_type), y_pad,
                  accumulate ? " accumulate" : "", gather ? " gather" : "", scatter ? " scatter" : "",
                  static_cast<int>(fill), static_cast<unsigned long long>(seed));
    return text;
  }
};

inline void StoreAs(float v, void* data, DType type, size_t i) {
  if (type == DType::kF32) static_cast<float*>(data)[i] = v;
  if (type == DType::kBF16) static_cast<BF16*>(data)[i] = ToBF16(v);
  if (type == DType::kF16) static_cast<F16*>(data)[i] = ToF16(v);
}

class GemmProblem {
 public:
  explicit GemmProblem(const GemmSpec& spec) : spec_(spec), random_{spec.seed} {
    MakeWeights();
    const size_t x_rows = spec.gather ? spec.m + 3 : spec.m;
    if (spec.x_type == DType::kI8) {
      MakeActivations(x_rows);
    } else {
      MakeFloats(x_rows);
    }
    if (spec.gather) {
      map_.emplace(spec.m * spec.segments, spec.edge);
      for (int32_t& row : *map_) row = static_cast<int32_t>(random_.Below(x_rows + 2)) - 1;  // -1 ... x_rows
      for (int32_t& row : *map_) row = row == static_cast<int32_t>(x_rows) ? -1 : row;
    }
    const size_t y_rows = spec.scatter ? spec.m + 3 : spec.m;
    if (spec.scatter) {  // every third row is not stored, the others from the end
      scatter_.emplace(spec.m, spec.edge);
      for (size_t i = 0; i < spec.m; ++i) (*scatter_)[i] = i % 3 == 2 ? -1 : static_cast<int32_t>(y_rows - 1 - i);
    }
    y_view_.type = spec.y_type;
    y_view_.rows = y_rows;
    y_view_.cols = spec.n;
    y_view_.row_stride = static_cast<ptrdiff_t>(spec.n + spec.y_pad);
    const size_t elements = y_rows == 0 || spec.n == 0 ? 0 : (y_rows - 1) * (spec.n + spec.y_pad) + spec.n;
    y_.emplace(elements * SizeOf(spec.y_type), spec.edge);
    y_view_.data = y_->data();
    initial_.resize(y_->size());
    for (size_t i = 0; i < elements; ++i) {
      if (IsFloat(spec.y_type)) {
        StoreAs(random_.Float() * 8, initial_.data(), spec.y_type, i);
      } else {
        for (size_t b = 0; b < SizeOf(spec.y_type); ++b) {
          initial_[i * SizeOf(spec.y_type) + b] = static_cast<unsigned char>(random_.Next());
        }
      }
    }
    e.accumulate = spec.accumulate;
    e.y_row = spec.scatter ? scatter_->data() : nullptr;
  }

  // The rest of the epilogue is the test's.
  Epilogue e;

  GemmCall Call(GemmAlgo algo = GemmAlgo::kAuto) const {
    GemmCall call;
    if (spec_.x_type == DType::kI8) {
      call.xq = &xq_;
    } else {
      call.x = x_view_;
    }
    call.w = w_;
    call.y = y_view_;
    call.e = e;
    if (spec_.gather) call.rows = {spec_.m, spec_.segments, map_->data()};
    call.algo = algo;
    return call;
  }
  const GemmSpec& spec() const { return spec_; }
  const PackedMatrix& w() const { return w_; }
  const Activations& xq() const { return xq_; }
  const ConstMatrixView& x() const { return x_view_; }
  const MatrixView& y() const { return y_view_; }
  void ResetY() const { Copy(initial_); }
  std::vector<unsigned char> YBytes() const { return {y_->data(), y_->data() + y_->size()}; }

  // The answer, computed once: all of y's memory.
  const std::vector<unsigned char>& Want(GemmAlgo algo) {
    Answer& answer = AnswerOf(algo);
    if (!answer.known) {
      ResetY();
      reference::Gemm(Call(algo), algo);
      answer = {YBytes(), true};
    }
    return answer.bytes;
  }
  void SetWant(GemmAlgo algo, const std::vector<unsigned char>& bytes) { AnswerOf(algo) = {bytes, true}; }

  // Whether the algorithm takes the call on the context's target.
  bool Accepts(GemmAlgo algo, const Context& context) const {
    const GemmCall call = Call(algo);
    if (spec_.format.id < 0x8000) return Explain<>(call, context).algo == algo;
    return Explain<ThreeLevels, FiveBits, Skewed>(call, context).algo == algo;
  }

  // Runs on `context` and compares bit for bit; the difference in words, or nothing. A NaN equals any NaN.
  std::string Run(GemmAlgo algo, Context& context) {
    const std::vector<unsigned char>& want = Want(algo);
    ResetY();
    const GemmCall call = Call(algo);
    Gemm<ThreeLevels, FiveBits, Skewed, ZeroOne>(context, call);
    if (!y_->CanariesIntact()) return "wrote outside of y: " + spec_.ToString();
    if (want.empty() || std::memcmp(want.data(), y_->data(), want.size()) == 0) return {};
    for (size_t i = 0; i < want.size() / SizeOf(spec_.y_type); ++i) {
      const size_t at = i * SizeOf(spec_.y_type), size = SizeOf(spec_.y_type);
      const double expected = Value(want.data(), i), got = Value(y_->data(), i);
      if (std::memcmp(want.data() + at, y_->data() + at, size) == 0) continue;
      if (expected != expected && got != got) continue;
      char text[128];
      const size_t stride = spec_.n + spec_.y_pad;
      std::snprintf(text, sizeof(text), "y[%zu, %zu] is %.9g, must be %.9g: ", i / stride, i % stride, got, expected);
      return text + spec_.ToString();
    }
    return {};
  }
  // Element i of y's memory.
  double Value(const unsigned char* bytes, size_t i) const {
    if (spec_.y_type == DType::kI32) return reinterpret_cast<const int32_t*>(bytes)[i];
    return static_cast<double>(LoadFloat(bytes, spec_.y_type, static_cast<ptrdiff_t>(i)));
  }

 private:
  struct Answer {
    std::vector<unsigned char> bytes;
    bool known = false;
  };
  Answer& AnswerOf(GemmAlgo algo) {
    return algo == GemmAlgo::kTile         ? float_
           : algo == GemmAlgo::kBf16Dot    ? bf16_
           : algo == GemmAlgo::kFloatTable ? float_table_
           : algo == GemmAlgo::kByteTable  ? byte_table_
                                           : int_;
  }

  // Lutra's own formats by the empty list, the tests' by their names.
  template <class... Users>
  void Gemm(Context& context, const GemmCall& call) const {
    const std::span<const GemmCall> calls(&call, 1);
    if (spec_.format.id < 0x8000) {
      lutra::Gemm<>(calls, context);
    } else {
      lutra::Gemm<Users...>(calls, context);
    }
  }
  void Copy(const std::vector<unsigned char>& bytes) const {
    if (!bytes.empty()) std::memcpy(y_->data(), bytes.data(), bytes.size());
  }

  void MakeWeights() {
    const size_t k = spec_.k * spec_.segments;
    std::vector<uint8_t> codes(spec_.n * k);
    if (spec_.fill == Fill::kRandom) {
      for (uint8_t& c : codes) c = static_cast<uint8_t>(random_.Below(spec_.format.codes));
    }
    const bool triples = spec_.unit == Unit::kTriple;  // ones are no code there: the largest takes their place
    if (triples && spec_.fill != Fill::kZeroCodes && spec_.fill != Fill::kRandom) {
      std::fill(codes.begin(), codes.end(), uint8_t{2});
    }
    const PackSpec pack{spec_.format, spec_.scales, spec_.n, spec_.k, spec_.segments, spec_.unit};
    const PackedLayout layout = internal::LayoutOf(pack);
    const size_t rows = spec_.scales.per_tensor ? 1 : spec_.n, groups = layout.groups;
    const auto scales = [&] {
      std::vector<unsigned char> bytes(rows * groups * SizeOf(spec_.scales.type));
      for (size_t i = 0; i < rows * groups; ++i) StoreAs(random_.Float(), bytes.data(), spec_.scales.type, i);
      return bytes;
    };
    const std::vector<unsigned char> scale = scales(), offset = scales();
    const auto view = [&](const std::vector<unsigned char>& v) {
      return ConstMatrixView{v.data(), spec_.scales.type, rows, groups, static_cast<ptrdiff_t>(groups)};
    };
    const CodedMatrix coded{spec_.format, spec_.scales, spec_.n,    k, codes.data(), k,
                            view(scale),  view(offset), spec_.table};
    Context context;
    const PackedBuffer packed = Pack(coded, context, spec_.segments, spec_.unit);
    blob_.emplace(packed.bytes().size());  // a multiple of 64: aligned at the end of a page
    std::memcpy(blob_->data(), packed.bytes().data(), packed.bytes().size());
    unsigned char* stored = blob_->data() + layout.codes_at;
    for (size_t i = 0; i < layout.panels * layout.panel_bytes; ++i) {
      if (spec_.fill == Fill::kInvalidCodes) stored[i] = static_cast<unsigned char>(random_.Next());
      if (!triples && spec_.fill != Fill::kRandom && spec_.fill != Fill::kInvalidCodes) {
        stored[i] = spec_.fill == Fill::kZeroCodes ? 0 : 0xFF;
      }
    }
    const Status status = PackedMatrix::Map({reinterpret_cast<const std::byte*>(blob_->data()), blob_->size()}, &w_);
    if (!status.ok()) std::abort();
  }

  int8_t Activation(size_t k) {
    const internal::CodeRange range = internal::CodesOf(spec_.act);
    const int8_t low = static_cast<int8_t>(range.low), high = static_cast<int8_t>(range.high);
    switch (spec_.fill) {
      case Fill::kAllMax:
        return high;
      case Fill::kAllMin:
      case Fill::kZeroCodes:
        return low;
      case Fill::kAlternating:
        return k % 2 == 0 ? low : high;
      case Fill::kRandom:
      case Fill::kInvalidCodes:
        break;
    }
    if (range.low == -128) return static_cast<int8_t>(random_.Next());
    if (internal::IsBipolar(spec_.act)) return random_.Next() % 2 == 0 ? low : high;
    const int codes = range.high - range.low + 1;
    return static_cast<int8_t>(range.low + static_cast<int>(random_.Next() % static_cast<uint64_t>(codes)));
  }

  // By hand, as activations.h describes them: any code, any scale, and no byte more than it says.
  void MakeActivations(size_t rows) {
    xq_.m = rows;
    xq_.k = spec_.k;
    xq_.spec = spec_.act;
    xq_.stride = (spec_.k + 63) / 64 * 64;
    xq_.blocks = xq_.stride / 32;
    xq_.groups = spec_.act.group_k == 0 || spec_.k == 0 ? 1 : (spec_.k + spec_.act.group_k - 1) / spec_.act.group_k;
    codes_.emplace((rows + 1) * xq_.stride, spec_.edge);
    sums_.emplace((rows + 1) * xq_.blocks, spec_.edge);
    x_scales_.emplace((rows + 1) * xq_.groups, spec_.edge);
    for (int8_t& c : *codes_) c = 0;
    for (int32_t& s : *sums_) s = 0;
    for (float& s : *x_scales_) s = 0.0f;
    const float tensor = random_.Float() * 0.25f;
    for (size_t r = 0; r < rows; ++r) {
      for (size_t i = 0; i < spec_.k; ++i) {
        const int8_t code = Activation(i);
        (*codes_)[r * xq_.stride + i] = code;
        (*sums_)[r * xq_.blocks + i / 32] += code;
      }
      for (size_t g = 0; g < xq_.groups; ++g) {
        (*x_scales_)[r * xq_.groups + g] = spec_.act.per_tensor ? tensor : random_.Float() * 0.25f;
      }
    }
    if (spec_.act.planes) {
      const size_t bits = static_cast<size_t>(spec_.act.bits);
      planes_.emplace((rows + 1) * bits * xq_.blocks, spec_.edge);
      for (size_t i = 0; i < planes_->size(); ++i) {
        const int8_t* from = codes_->data() + i / xq_.blocks / bits * xq_.stride + i % xq_.blocks * 32;
        (*planes_)[i] = reference::PlaneWord(from, spec_.act, static_cast<int>(i / xq_.blocks % bits));
      }
      xq_.planes = planes_->data();
    }
    xq_.codes = codes_->data();
    xq_.sums = sums_->data();
    xq_.scales = x_scales_->data();
  }

  void MakeFloats(size_t rows) {
    const size_t stride = spec_.k + spec_.x_pad, size = SizeOf(spec_.x_type);
    x_.emplace(rows == 0 || spec_.k == 0 ? 0 : ((rows - 1) * stride + spec_.k) * size, spec_.edge);
    for (size_t i = 0; i < x_->size() / size; ++i) StoreAs(random_.Float(), x_->data(), spec_.x_type, i);
    x_view_ = {x_->data(), spec_.x_type, rows, spec_.k, static_cast<ptrdiff_t>(stride)};
  }

  GemmSpec spec_;
  Random random_;
  std::optional<GuardedBytes> blob_, x_, y_;
  std::optional<GuardedBuffer<int8_t>> codes_;
  std::optional<GuardedBuffer<int32_t>> sums_, map_, scatter_;
  std::optional<GuardedBuffer<float>> x_scales_;
  std::optional<GuardedBuffer<uint32_t>> planes_;
  PackedMatrix w_;
  Activations xq_;
  ConstMatrixView x_view_;
  MatrixView y_view_;
  std::vector<unsigned char> initial_;
  Answer int_, float_, bf16_, float_table_, byte_table_;
};

}}  // namespace lutra::testing
