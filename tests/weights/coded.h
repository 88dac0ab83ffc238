// Formats, random codes, and decoding by the definition: what tests of the weights share.
#pragma once
#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "lutra/weights/packed.h"
#include "support/guarded.h"

namespace lutra { namespace testing {

// Formats of a user's: tables, unused codes, planes in an order of their own.
struct Nf4 {
  static constexpr FormatInfo info = TableFormat(0x8000, "nf4", 4, 16);
  static constexpr float kValues[16] = {-1.0f,   -0.6962f, -0.5251f, -0.3949f, -0.2844f, -0.1848f, -0.0911f, 0.0f,
                                        0.0796f, 0.1609f,  0.2461f,  0.3379f,  0.4407f,  0.5626f,  0.723f,   1.0f};
  static constexpr float Decode(unsigned code) { return kValues[code]; }
};
struct E3M2 {
  static constexpr FormatInfo info = TableFormat(0x8001, "e3m2", 6, 64);
  static float Decode(unsigned code) {
    const int exponent = code >> 2 & 7;
    const float mantissa = static_cast<float>(code & 3) * 0.25f + (exponent == 0 ? 0.0f : 1.0f);
    return (code >= 32 ? -1.0f : 1.0f) * std::ldexp(mantissa, exponent == 0 ? -2 : exponent - 3);
  }
};
struct Five {  // five values in three bits; the patterns 5, 6, 7 are not used
  static constexpr FormatInfo info = TableFormat(0x8002, "five", 3, 5);
  static constexpr float Decode(unsigned code) { return static_cast<float>(code * code) - 3.0f; }
};
struct Uneven {  // affine, the narrow plane first
  static constexpr FormatInfo info = [] {
    FormatInfo f = AffineFormat(0xFFFF, "uneven", 7, 81, 100);
    f.planes = {1, 4, 2};
    return f;
  }();
  static constexpr float Decode(unsigned code) { return static_cast<float>(code) - 40.5f; }
};

struct TestFormat {
  FormatInfo info;
  std::vector<float> table;   // empty for affine formats
  std::vector<float> values;  // of all bit patterns, by Format::Decode
  const float* TableData() const { return table.empty() ? nullptr : table.data(); }
};
template <class Format>
TestFormat Of() {
  TestFormat f{Format::info, {}, {}};
  for (unsigned c = 0; c < 1u << Format::info.bits; ++c) f.values.push_back(Format::Decode(c));
  if (Format::info.map == Map::kTable) f.table = f.values;
  return f;
}
inline std::vector<TestFormat> AllFormats() {
  return {Of<Ternary>(), Of<Int1>(), Of<Int2>(), Of<Int3>(),      Of<Int4>(),      Of<Int5>(),
          Of<Int6>(),    Of<Int7>(), Of<Int8>(), Of<Int<2, 3>>(), Of<Int<4, 0>>(), Of<Int<8, 509>>(),
          Of<Nf4>(),     Of<E3M2>(), Of<Five>(), Of<Uneven>()};
}
inline std::string NameOfFormat(const TestFormat& f) { return f.info.name.data(); }

// Random codes and scales in memory that faults on each read past it. Scales are exact in all scale types.
class Coded {
 public:
  Coded(const TestFormat& f, const Scales& scales, size_t n, size_t k, size_t segments = 1, unsigned seed = 1)
      : format_(f), segment_k_(k / segments) {
    const size_t stride = k + seed % 3;
    const size_t per_segment = scales.group_k == 0 ? 1 : (segment_k_ + scales.group_k - 1) / scales.group_k;
    const size_t groups = scales.group_k == 0 ? 1 : per_segment * segments, rows = scales.per_tensor ? 1 : n;
    codes_ = std::make_unique<GuardedBuffer<uint8_t>>(n == 0 ? 0 : (n - 1) * stride + k);
    scale_ = std::make_unique<GuardedBuffer<float>>(rows * groups);
    offset_ = std::make_unique<GuardedBuffer<float>>(scales.has_offset ? rows * groups : 0);
    std::minstd_rand random(seed);
    for (uint8_t& c : *codes_) c = static_cast<uint8_t>(random() % f.info.codes);
    for (float& s : *scale_) s = static_cast<float>(1 + random() % 127) / 64;
    for (float& o : *offset_) o = (static_cast<float>(random() % 255) - 127) / 16;
    m_.format = f.info;
    m_.scales = scales;
    m_.n = n;
    m_.k = k;
    m_.codes = codes_->data();
    m_.code_stride = stride;
    m_.scale = View(static_cast<const float*>(scale_->data()), rows, groups);
    if (scales.has_offset) m_.offset = View(static_cast<const float*>(offset_->data()), rows, groups);
    m_.table = f.TableData();
  }

  const CodedMatrix& matrix() const { return m_; }
  operator const CodedMatrix&() const { return m_; }
  // Rows [begin, end) of it.
  CodedMatrix Rows(size_t begin, size_t end) const {
    CodedMatrix part = m_;
    part.n = end - begin;
    part.codes += begin * m_.code_stride;
    if (m_.scales.per_tensor) return part;
    part.scale = View(scale_->data() + begin * m_.scale.cols, part.n, m_.scale.cols);
    if (m_.scales.has_offset) part.offset = View(offset_->data() + begin * m_.scale.cols, part.n, m_.scale.cols);
    return part;
  }

  unsigned Code(size_t row, size_t k) const { return m_.codes[row * m_.code_stride + k]; }
  size_t GroupOf(size_t k) const {
    const size_t g = m_.scales.group_k;
    return g == 0 ? 0 : k / segment_k_ * ((segment_k_ + g - 1) / g) + k % segment_k_ / g;
  }
  float Scale(size_t row, size_t group) const {
    return (*scale_)[(m_.scales.per_tensor ? 0 : row) * m_.scale.cols + group];
  }
  float Offset(size_t row, size_t group) const {
    return m_.scales.has_offset ? (*offset_)[(m_.scales.per_tensor ? 0 : row) * m_.scale.cols + group] : 0.0f;
  }
  // w[row, k] by the definition.
  float Value(size_t row, size_t k) const {
    const volatile float scaled = format_.values[Code(row, k)] * Scale(row, GroupOf(k));  // volatile: rounded here
    return m_.scales.has_offset ? scaled + Offset(row, GroupOf(k)) : scaled;
  }

 private:
  TestFormat format_;
  size_t segment_k_;
  std::unique_ptr<GuardedBuffer<uint8_t>> codes_;
  std::unique_ptr<GuardedBuffer<float>> scale_, offset_;
  CodedMatrix m_;
};

}}  // namespace lutra::testing
