// The packed layout: every code, scale and offset is found again, the bytes are as drawn, mistakes are named.
#include "lutra/weights/packed.h"

#include <gtest/gtest.h>

#include "support/targets.h"
#include "weights/coded.h"

LUTRA_EXACT_BEGIN
namespace lutra { namespace {
using testing::Coded;
using testing::FailureOf;
using testing::Of;
using testing::TestFormat;

uint64_t Fnv(std::span<const std::byte> bytes) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (const std::byte b : bytes) hash = (hash ^ static_cast<uint64_t>(b)) * 0x100000001B3u;
  return hash;
}

std::vector<Unit> UnitsOf(const TestFormat& f) {
  if (internal::IsTernary(f.info)) return {Unit::kLane32, Unit::kByteRow, Unit::kTriple};
  return {Unit::kLane32, Unit::kByteRow};
}

// The code of (row, k) as the drawing in packed.h says: plane by plane, unit u, byte kk, field j.
unsigned DrawnCode(const PackedMatrix& w, size_t row, size_t k) {
  const size_t segment = k / w.segment_k(), in_segment = k % w.segment_k();
  if (w.unit() == Unit::kTriple) {
    const size_t blocks = (w.segment_k() + 95) / 96, t = in_segment % 32, digit = in_segment % 96 / 32;
    const uint8_t* at = w.Codes(row / 32) + (segment * blocks + in_segment / 96) * 640 + t / 8 * 160 + row % 32;
    const int index = at[32 + t % 8 / 2 * 32] >> (t % 2 * 4) & 15, sign = at[0] >> (7 - t % 8) & 1;
    int number = 13 + (sign != 0 ? -index : index);  // of three digits to the base of 3, each a value + 1
    for (size_t i = digit; i < 2; ++i) number /= 3;
    return static_cast<unsigned>(number % 3);
  }
  const size_t block = segment * ((w.segment_k() + 31) / 32) + in_segment / 32;
  const uint8_t* at = w.Codes(row / 32) + block * 128 * w.format().bits;
  unsigned code = 0, low = 0;
  if (w.unit() == Unit::kByteRow) {
    for (size_t p = 0; p < w.format().bits; ++p, at += 128) {
      const size_t in_block = in_segment % 32, r = row % 32;
      code |= (unsigned{at[r / 16 * 64 + in_block / 8 * 16 + r % 16]} >> (in_block % 8) & 1u) << p;
    }
    return code;
  }
  for (const size_t b : w.format().planes) {
    if (b == 0) continue;
    const size_t in_block = in_segment % 32, u = in_block / (32 / b), j = in_block % (32 / b) / 4, kk = in_block % 4;
    const unsigned byte = at[u * 128 + row % 32 * 4 + kk];
    code |= (byte >> (b * j) & ((1u << b) - 1)) << low;
    low += static_cast<unsigned>(b);
    at += b * 128;
  }
  return code;
}

void ExpectSame(const PackedMatrix& w, const Coded& c) {
  ASSERT_EQ(w.n(), c.matrix().n);
  ASSERT_EQ(w.k(), c.matrix().k);
  ASSERT_EQ(w.groups(), c.matrix().scale.cols);
  const Status status = w.Verify();
  EXPECT_TRUE(status.ok()) << status.message();
  const testing::GuardedBuffer<float> out(w.k());
  for (size_t row = 0; row < w.n(); ++row) {
    w.DecodeRow(row, out.data());
    for (size_t k = 0; k < w.k(); ++k) {
      ASSERT_EQ(w.Code(row, k), c.Code(row, k)) << "row " << row << ", k " << k;
      ASSERT_EQ(DrawnCode(w, row, k), c.Code(row, k)) << "row " << row << ", k " << k;
      ASSERT_EQ(out[k], c.Value(row, k)) << "row " << row << ", k " << k;
    }
    for (size_t g = 0; g < w.groups(); ++g) {
      ASSERT_EQ(w.ScaleOf(row, g), c.Scale(row, g));
      ASSERT_EQ(w.OffsetOf(row, g), c.Offset(row, g));
    }
  }
}

constexpr size_t kSizes[] = {0, 1, 31, 32, 33, 63, 64, 65, 97};

// Scale structures, one after another.
Scales ScalesNumber(size_t i) {
  constexpr size_t kGroups[] = {0, 1, 7, 32, 40, 64, 1000};
  Scales s;
  s.group_k = kGroups[i % 7];
  s.type = static_cast<DType>(i % 3);
  s.has_offset = i % 2 == 1;
  s.per_tensor = s.group_k == 0 && i % 4 < 2;
  return s;
}

class Packed : public ::testing::TestWithParam<TestFormat> {};
INSTANTIATE_TEST_SUITE_P(All, Packed, ::testing::ValuesIn(testing::AllFormats()),
                         [](const auto& test) { return testing::NameOfFormat(test.param); });

TEST_P(Packed, EqualsTheCodesForAllShapes) {
  Context context;
  size_t i = 0;
  for (const size_t n : kSizes) {
    for (const size_t k : kSizes) {
      const Scales scales = ScalesNumber(++i);
      const Coded coded(GetParam(), scales, n, k, 1, static_cast<unsigned>(i));
      for (const Unit unit : UnitsOf(GetParam())) {
        const PackedBuffer packed = Pack(coded, context, 1, unit);
        ASSERT_EQ(packed.matrix().unit(), unit);
        ASSERT_NO_FATAL_FAILURE(ExpectSame(packed, coded)) << n << " x " << k << ", scales " << i;
      }
    }
  }
}

TEST_P(Packed, EqualsTheCodesForSegments) {
  Context context;
  unsigned i = 0;
  for (const size_t segments : {2u, 3u, 9u}) {
    for (const size_t segment_k : {0u, 1u, 31u, 33u, 64u, 65u}) {
      for (const size_t n : {1u, 33u}) {
        const Coded coded(GetParam(), ScalesNumber(++i), n, segments * segment_k, segments);
        for (const Unit unit : UnitsOf(GetParam())) {
          const PackedBuffer packed = Pack(coded, context, segments, unit);
          EXPECT_EQ(packed.matrix().segments(), segments);
          EXPECT_EQ(packed.matrix().segment_k(), segment_k);
          ASSERT_NO_FATAL_FAILURE(ExpectSame(packed, coded)) << n << " x " << segments << " x " << segment_k;
        }
      }
    }
  }
}

TEST_P(Packed, RowRangesInAnyOrderAndThreadsGiveTheSameBytes) {
  Context context;
  Scales scales;
  scales.group_k = 20;
  scales.has_offset = true;
  const size_t n = 161, k = 70;
  const Coded coded(GetParam(), scales, n, k);
  const Unit unit = internal::IsTernary(GetParam().info) ? Unit::kTriple
                    : GetParam().info.bits % 2 == 0      ? Unit::kLane32
                                                         : Unit::kByteRow;
  const PackedBuffer whole = Pack(coded, context, 1, unit);
  const PackSpec spec{GetParam().info, scales, n, k, 1, unit};
  ASSERT_EQ(PackedBytes(spec), whole.bytes().size());

  const testing::GuardedBuffer<std::byte> blob(whole.bytes().size());
  ASSERT_TRUE(BeginPack(spec, {blob.data(), blob.size()}, GetParam().TableData()).ok());
  for (const auto& [begin, end] : {std::pair<size_t, size_t>{128, 161}, {0, 32}, {96, 128}, {96, 96}, {32, 96}}) {
    PackRows({blob.data(), blob.size()}, begin, coded.Rows(begin, end), context);
  }
  EXPECT_TRUE(std::equal(blob.begin(), blob.end(), whole.bytes().begin()));
  // Packing rows again replaces them.
  const Coded other(GetParam(), scales, n, k, 1, 2);
  PackRows({blob.data(), blob.size()}, 32, other.Rows(32, 64), context);
  PackRows({blob.data(), blob.size()}, 32, coded.Rows(32, 64), context);
  EXPECT_TRUE(std::equal(blob.begin(), blob.end(), whole.bytes().begin()));
  EXPECT_TRUE(blob.CanariesIntact());

  testing::ThreeThreads threads;
  Context parallel(threads.AsExecutor());
  const PackedBuffer same = Pack(coded, parallel, 1, unit);
  EXPECT_EQ(threads.runs, 1u);
  EXPECT_TRUE(std::equal(same.bytes().begin(), same.bytes().end(), whole.bytes().begin()));
}

TEST_P(Packed, RowsAndKsAreThoseOfTheWhole) {
  Context context;
  const size_t n = 97, k = 130;
  Scales scales;
  scales.group_k = 32;
  scales.has_offset = true;
  const Coded coded(GetParam(), scales, n, k);
  for (const Unit unit : {Unit::kLane32, Unit::kByteRow}) {  // kTriple: below
    const PackedBuffer buffer = Pack(coded, context, 1, unit);
    const PackedMatrix w = buffer;
    for (const auto& [begin, end] :
         {std::pair<size_t, size_t>{0, 97}, {0, 0}, {32, 32}, {0, 32}, {32, 96}, {64, 97}, {96, 97}}) {
      const PackedMatrix part = w.Rows(begin, end);
      ASSERT_EQ(part.n(), end - begin);
      EXPECT_EQ(part.panels(), (end - begin + 31) / 32);
      EXPECT_TRUE(part.Verify().ok());
      std::vector<float> out(k);
      for (size_t row = 0; row < part.n(); ++row) {
        part.DecodeRow(row, out.data());
        for (size_t i = 0; i < k; ++i) ASSERT_EQ(out[i], coded.Value(begin + row, i));
      }
    }
    for (const auto& [begin, end] :
         {std::pair<size_t, size_t>{0, 130}, {0, 0}, {64, 64}, {0, 32}, {32, 128}, {64, 130}, {128, 130}}) {
      const PackedMatrix part = w.Rows(32, 97).Ks(begin, end);
      ASSERT_EQ(part.k(), end - begin);
      EXPECT_EQ(part.groups(), (end - begin + 31) / 32);
      EXPECT_TRUE(part.Verify().ok());
      std::vector<float> out(part.k());
      for (size_t row = 0; row < part.n(); ++row) {
        part.DecodeRow(row, out.data());
        for (size_t i = 0; i < part.k(); ++i) ASSERT_EQ(out[i], coded.Value(32 + row, begin + i));
      }
    }
    // Rows of rows, Ks of Ks.
    EXPECT_EQ(w.Rows(32, 97).Rows(32, 65).Code(0, 3), coded.Code(64, 3));
    EXPECT_EQ(w.Ks(32, 130).Ks(64, 98).Code(5, 1), coded.Code(5, 97));
  }
}

TEST(PackedTriples, RowsAndKsAreThoseOfTheWhole) {
  Context context;
  const size_t n = 97, k = 300;
  Scales scales;
  scales.group_k = 48;
  scales.has_offset = true;
  const Coded coded(Of<Ternary>(), scales, n, k);
  const PackedBuffer buffer = Pack(coded, context, 1, Unit::kTriple);
  const PackedMatrix w = buffer;
  EXPECT_EQ(w.block_k(), 96u);
  EXPECT_EQ(w.block_bytes(), 640u);
  for (const auto& [begin, end] :
       {std::pair<size_t, size_t>{0, 300}, {0, 0}, {96, 96}, {0, 96}, {96, 288}, {192, 300}, {288, 300}}) {
    for (const auto& [first, last] : {std::pair<size_t, size_t>{0, 97}, {32, 96}, {64, 97}, {96, 97}}) {
      const PackedMatrix part = w.Rows(first, last).Ks(begin, end);
      ASSERT_EQ(part.k(), end - begin);
      ASSERT_EQ(part.n(), last - first);
      EXPECT_TRUE(part.Verify().ok());
      std::vector<float> out(part.k());
      for (size_t row = 0; row < part.n(); ++row) {
        part.DecodeRow(row, out.data());
        for (size_t i = 0; i < part.k(); ++i) ASSERT_EQ(out[i], coded.Value(first + row, begin + i));
      }
    }
  }
  EXPECT_EQ(w.Ks(96, 300).Ks(96, 204).Code(5, 1), coded.Code(5, 193));
  for (const auto& [begin, end] : {std::pair<size_t, size_t>{32, 96}, {0, 64}, {96, 0}, {0, 384}, {300, 300}}) {
    EXPECT_EQ(FailureOf([&, b = begin, e = end] { (void)w.Ks(b, e); }),
              "Ks: [" + std::to_string(begin) + ", " + std::to_string(end) +
                  ") must begin and end at multiples of 96 and of group_k (or at k = 300)");
  }
}

TEST_P(Packed, KsOfSegmentsAreWholeSegments) {
  Context context;
  for (const size_t group_k : {0u, 8u}) {
    Scales scales;
    scales.group_k = group_k;
    const Coded coded(GetParam(), scales, 33, 4 * 35, 4);
    const PackedBuffer buffer = Pack(coded, context, 4, group_k == 0 ? Unit::kLane32 : UnitsOf(GetParam()).back());
    const PackedMatrix w = buffer;
    for (const auto& [begin, end] : {std::pair<size_t, size_t>{0, 4}, {1, 3}, {3, 4}, {0, 1}, {2, 2}}) {
      const PackedMatrix part = w.Ks(begin * 35, end * 35);
      ASSERT_EQ(part.k(), (end - begin) * 35);
      EXPECT_EQ(part.segments(), end - begin);
      std::vector<float> out(part.k());
      part.DecodeRow(32, out.data());
      for (size_t i = 0; i < part.k(); ++i) ASSERT_EQ(out[i], coded.Value(32, begin * 35 + i));
    }
  }
  const Coded empty(GetParam(), {}, 5, 0, 3);
  EXPECT_EQ(Pack(empty, context, 3).matrix().Ks(0, 0).k(), 0u);
}

TEST(PackedLayout, AsDrawn) {
  // One row of ternary codes 0 1 2 0 | 1 2 0 1 | 2 0 1 2 | 0 1 2 0, then zeros: byte kk is field j of k = 4 j + kk.
  std::vector<uint8_t> codes = {0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0};
  const float one = 1.0f;
  CodedMatrix m;
  m.format = Ternary::info;
  m.n = 1;
  m.k = m.code_stride = 16;
  m.codes = codes.data();
  m.scale = View(&one, 1, 1);
  Context context;
  const PackedBuffer packed = Pack(m, context);
  const uint8_t* bytes = packed.matrix().Codes(0);
  EXPECT_EQ(bytes[0], 0 | 1 << 2 | 2 << 4 | 0 << 6);
  EXPECT_EQ(bytes[1], 1 | 2 << 2 | 0 << 4 | 1 << 6);
  EXPECT_EQ(bytes[2], 2 | 0 << 2 | 1 << 4 | 2 << 6);
  EXPECT_EQ(bytes[3], 0 | 1 << 2 | 2 << 4 | 0 << 6);
  for (size_t i = 4; i < 256; ++i) EXPECT_EQ(bytes[i], 0) << i;
  EXPECT_EQ(packed.bytes().size(), 128u + 256 + 128);
}

TEST(PackedLayout, TriplesAsDrawn) {
  // One row of 97 k: triple t is k = t, 32 + t, 64 + t, and the last k alone in the second block.
  std::vector<uint8_t> codes(97, 1);
  const auto set = [&](size_t t, uint8_t a, uint8_t b, uint8_t c) {
    codes[t] = a;
    codes[32 + t] = b;
    codes[64 + t] = c;
  };
  set(0, 2, 2, 2);   // 9 + 3 + 1 = 13
  set(1, 0, 0, 0);   // -13
  set(2, 1, 1, 2);   // 1
  set(7, 1, 0, 2);   // -3 + 1 = -2
  set(31, 0, 2, 1);  // -9 + 3 = -6
  codes[96] = 2;     // 9
  const float one = 1.0f;
  CodedMatrix m;
  m.format = Ternary::info;
  m.n = 1;
  m.k = m.code_stride = 97;
  m.codes = codes.data();
  m.scale = View(&one, 1, 1);
  Context context;
  const PackedBuffer packed = Pack(m, context, 1, Unit::kTriple);
  std::vector<uint8_t> want(2 * 640);
  want[0] = 0x41;  // signs of triples 1 and 7
  want[32] = 13 | 13 << 4;
  want[64] = 1;
  want[128] = 2 << 4;
  want[480] = 0x01;
  want[480 + 128] = 6 << 4;
  want[640 + 32] = 9;
  const uint8_t* bytes = packed.matrix().Codes(0);
  for (size_t i = 0; i < want.size(); ++i) EXPECT_EQ(bytes[i], want[i]) << i;
  EXPECT_EQ(packed.bytes().size(), 128u + 1280 + 128);
}

// Files that exist must stay readable: a change of these is a change of PackedHeader::kVersion.
TEST(PackedLayout, GoldenHashes) {
  Context context;
  const auto hash = [&](const TestFormat& f, const Scales& s, size_t n, size_t k, size_t segments,
                        Unit unit = Unit::kLane32) {
    const Coded coded(f, s, n, k, segments, 7);
    return Fnv(Pack(coded, context, segments, unit).bytes());
  };
  Scales groups;
  groups.group_k = 40;
  groups.type = DType::kBF16;
  groups.has_offset = true;
  Scales tensor;
  tensor.per_tensor = true;
  tensor.type = DType::kF16;
  EXPECT_EQ(hash(Of<Ternary>(), {}, 33, 65, 1), 0x37F98DDE77A84B63u);
  EXPECT_EQ(hash(Of<Int1>(), tensor, 64, 128, 1), 0x84C3EA5F42536763u);
  EXPECT_EQ(hash(Of<Int3>(), groups, 31, 97, 1), 0xB874A0D33E61198Fu);
  EXPECT_EQ(hash(Of<Int4>(), groups, 40, 3 * 45, 3), 0x7078A82545C768FAu);
  EXPECT_EQ(hash(Of<Int7>(), {}, 1, 1, 1), 0x80A58A9870899DC8u);
  EXPECT_EQ(hash(Of<Int8>(), groups, 65, 64, 2), 0x7C55C33F49839CA4u);
  EXPECT_EQ(hash(Of<testing::Nf4>(), groups, 32, 80, 1), 0x40D8F9F98AEF0526u);
  EXPECT_EQ(hash(Of<testing::Five>(), {}, 2, 33, 1), 0xAF71856D5C685C99u);
  EXPECT_EQ(hash(Of<Int2>(), {}, 0, 0, 1), 0xFD0C20B87F0962D9u);
  EXPECT_EQ(hash(Of<Int1>(), tensor, 64, 128, 1, Unit::kByteRow), 0x9676D0B4CFA7C749u);
  EXPECT_EQ(hash(Of<Int3>(), groups, 31, 97, 1, Unit::kByteRow), 0x5D9A4F0B93FD7900u);
  EXPECT_EQ(hash(Of<testing::Five>(), {}, 40, 3 * 45, 3, Unit::kByteRow), 0x1C047B645EA764A2u);
  EXPECT_EQ(hash(Of<Ternary>(), groups, 33, 2 * 130, 2, Unit::kTriple), 0x4E4A8DA464993BB5u);
}

TEST(PackedErrors, Spec) {
  const auto message = [](const PackSpec& spec) { return FailureOf([&] { PackedBytes(spec); }); };
  const PackSpec good{Int4::info, {}, 8, 64, 1};
  EXPECT_EQ(message(good), "");
  PackSpec s = good;
  const auto expect = [&](const char* text) {
    EXPECT_EQ(message(s), std::string("PackedBytes: ") + text);
    s = good;
  };
  s.format.planes = {3, 1, 0};
  expect("format: a plane has 3 bits, allowed are 1, 2, 4, 8");
  s.format.planes = {2, 0, 2};
  expect("format: a plane of 0 bits comes before one of 2, it must be last");
  s.format.planes = {4, 4, 0};
  expect("format: bits is 4 and the planes hold 8, allowed are 1 ... 8 and equal");
  s.format.planes = {8, 2, 0};
  s.format.bits = 10;
  expect("format: bits is 10 and the planes hold 10, allowed are 1 ... 8 and equal");
  s.format.name[2] = '\n';
  expect("format: name is not at most 15 printable characters, then zeros");
  s.format.name[12] = 'x';
  expect("format: name is not at most 15 printable characters, then zeros");
  s.format.name.fill('x');
  expect("format: name is not at most 15 printable characters, then zeros");
  s.format.map = static_cast<Map>(2);
  expect("format: map is 2, allowed are 0 and 1");
  s.format.zero_x2 = -1;
  expect("format: zero_x2 is -1, allowed is 0 ... 30");
  s.format.zero_x2 = 31;
  expect("format: zero_x2 is 31, allowed is 0 ... 30");
  s.format.codes = 0;
  expect("format: codes is 0, allowed is 1 ... 16");
  s.format.codes = 17;
  expect("format: codes is 17, allowed is 1 ... 16");
  s.format.codes = 15;  // Int4 has 16
  expect("format: id is 0x2104, which is lutra's and not this format; a format of yours begins at 0x8000");
  s.format.id = 7;
  expect("format: id is 0x7, which is lutra's and not this format; a format of yours begins at 0x8000");
  s.format = TableFormat(1, "mine", 2, 4);
  expect("format: id is 0x1, which is lutra's and not this format; a format of yours begins at 0x8000");
  s.format = TableFormat(0x8000, "mine", 2, 4);
  s.format.zero_x2 = 1;
  expect("format: zero_x2 is 1, must be 0 with a table");
  s.unit = static_cast<Unit>(3);
  expect("unit is 3, allowed are 0 ... 2");
  s.unit = Unit::kTriple;
  expect("unit is kTriple, which takes ternary formats (affine, bits 2, zero_x2 2, codes 3), format is int4");
  s.unit = Unit::kTriple;
  s.format = IntFormat(2, 2);  // the same values and one more
  expect("unit is kTriple, which takes ternary formats (affine, bits 2, zero_x2 2, codes 3), format is int2_z002");
  s.scales.type = DType::kI8;
  expect("scales: type is i8, allowed are f32, bf16, f16");
  s.scales.per_tensor = true;
  s.scales.group_k = 32;
  expect("scales: group_k is 32, must be 0 with per_tensor");
  s.scales.super_k = 256;
  expect("scales: super_k is 256, this version allows 0");
  s.scales.group_k = (size_t{1} << 30) + 1;
  expect("scales: group_k is 1073741825, allowed is 0 ... 2^30");
  s.n = (size_t{1} << 40) + 1;
  expect("n is 1099511627777, allowed is 0 ... 2^40");
  s.segments = 0;
  expect("segments is 0 of segment_k 64, allowed is k = 0 ... 2^30");
  s.segments = SIZE_MAX / 2;
  expect("segments is 9223372036854775807 of segment_k 64, allowed is k = 0 ... 2^30");
  s.segment_k = 0;
  s.segments = (size_t{1} << 24) + 1;
  expect("segments is 16777217 of segment_k 0, allowed is k = 0 ... 2^30");
  // 15 * 128 * k reaches 2^31.
  s.segment_k = 1118481;
  EXPECT_EQ(message(s), "");
  s.segment_k = 1118482;
  expect("k is 1118482, the int32 sums of int4 allow at most 1118481");
  s.format = Int8::info;
  s.segment_k = 65794;
  expect("k is 65794, the int32 sums of int8 allow at most 65793");
  s.n = size_t{1} << 36;
  s.segment_k = 1 << 20;
  s.scales.group_k = 1;
  EXPECT_EQ(message(s), "");  // 10^17 bytes: the caller's business
  s.format = testing::Nf4::info;
  s.n = size_t{1} << 40;
  s.segment_k = 1 << 30;
  s.scales.group_k = 1;
  expect("n = 1099511627776 rows of k = 1073741824 do not fit into memory");
}

TEST(PackedErrors, BeginPackWritesNothing) {
  const TestFormat f = Of<testing::Nf4>();
  const PackSpec spec{f.info, {}, 8, 64, 1};
  const size_t bytes = PackedBytes(spec);
  const testing::GuardedBuffer<std::byte> blob(bytes);
  const auto message = [&](const PackSpec& s, std::span<std::byte> to, const float* table) {
    const Status status = BeginPack(s, to, table);
    blob.FillCanary();
    return std::string(status.message());
  };
  PackSpec bad = spec;
  bad.segments = 0;
  EXPECT_EQ(message(bad, {blob.data(), bytes}, f.TableData()),
            "BeginPack: segments is 0 of segment_k 64, allowed is k = 0 ... 2^30");
  EXPECT_EQ(message(spec, {blob.data(), bytes - 1}, f.TableData()),
            "BeginPack: blob has " + std::to_string(bytes - 1) + " bytes, the spec needs " + std::to_string(bytes));
  const testing::GuardedBuffer<std::byte> odd(bytes + 1);
  EXPECT_EQ(message(spec, {odd.data(), bytes + 1}, f.TableData()),
            "BeginPack: blob begins at an address that is not a multiple of 64");
  EXPECT_EQ(message(spec, {blob.data(), bytes}, nullptr), "BeginPack: table is null, format nf4 needs 16 values");
  std::vector<float> table = f.table;
  table[3] = HUGE_VALF;
  EXPECT_EQ(message(spec, {blob.data(), bytes}, table.data()), "BeginPack: table[3] is inf, must be finite");
  for (const std::byte b : blob) ASSERT_EQ(b, std::byte{testing::GuardedBytes::kCanary});
  EXPECT_EQ(message(spec, {blob.data(), bytes}, f.TableData()), "");
}

TEST(PackedErrors, PackRowsNamesTheMistakeAndWritesNothing) {
  Context context;
  const TestFormat f = Of<Ternary>();
  Scales scales;
  scales.group_k = 16;
  scales.type = DType::kF16;
  scales.has_offset = true;
  const PackSpec spec{f.info, scales, 70, 64, 1};
  const size_t bytes = PackedBytes(spec);
  const testing::GuardedBuffer<std::byte> blob(bytes);
  ASSERT_TRUE(BeginPack(spec, {blob.data(), bytes}).ok());
  const std::vector<std::byte> before(blob.begin(), blob.end());
  const Coded coded(f, scales, 70, 64);
  CodedMatrix m = coded;
  const auto expect = [&](size_t n0, const std::string& text) {
    EXPECT_EQ(FailureOf([&] { PackRows({blob.data(), bytes}, n0, m, context); }), "PackRows: " + text);
    m = coded;
  };
  const char* range = "n0 must be a multiple of 32, the rows too or end at n = 70";
  expect(32, std::string("n0 is 32 with 70 rows; ") + range);
  m.n = 64;
  expect(6, std::string("n0 is 6 with 64 rows; ") + range);
  m.n = 33;
  expect(0, std::string("n0 is 0 with 33 rows; ") + range);
  m.n = 0;
  expect(96, std::string("n0 is 96 with 0 rows; ") + range);
  m.format = Int2::info;
  expect(0, "rows.format is int2, the blob holds ternary");
  m.scales.has_offset = false;
  expect(0, "rows.scales differ from those of the blob");
  m.k = 63;
  expect(0, "rows.k is 63, the blob holds k = 64");
  m.codes = nullptr;
  expect(0, "rows.codes is null");
  m.code_stride = 63;
  expect(0, "rows.code_stride is 63, must be at least k = 64");
  m.scale.type = DType::kI32;
  expect(0, "rows.scale.type is i32, allowed are f32, bf16, f16");
  m.scale.cols = 3;
  expect(0, "rows.scale is 70 x 3, must be 70 x 4");
  m.offset = {};
  expect(0, "rows.offset is 0 x 0, must be 70 x 4");
  m.offset.data = nullptr;
  expect(0, "rows.offset: data is null, the shape is 70 x 4");
  std::vector<float> values(70 * 4, 1.0f);
  values[4 * 5 + 2] = 65520.0f;  // f16 ends at 65504
  m.scale = View(static_cast<const float*>(values.data()), 70, 4);
  expect(0, "rows.scale at row 5, group 2 is 65520, which f16 does not hold");
  values[4 * 5 + 2] = NAN;
  m.offset = View(static_cast<const float*>(values.data()), 70, 4);
  expect(0, "rows.offset at row 5, group 2 is nan, which f16 does not hold");
  std::vector<uint8_t> codes(70 * 64, 2);
  codes[69 * 64 + 63] = 3;
  m.codes = codes.data();
  m.code_stride = 64;
  expect(0, "rows.codes of row 69 hold 3, ternary allows 0 ... 2");
  EXPECT_TRUE(std::equal(before.begin(), before.end(), blob.begin()));

  blob[0] = std::byte{0};
  expect(0, "blob: Map: these bytes are not packed weights of lutra");
}

TEST(PackedErrors, TablesMustAgree) {
  Context context;
  const TestFormat f = Of<testing::Five>();
  const Coded coded(f, {}, 3, 9);
  PackedBuffer packed = Pack(coded, context);
  CodedMatrix m = coded;
  std::vector<float> table = f.table;
  table[1] += 1;
  m.table = table.data();
  EXPECT_EQ(FailureOf([&] { PackRows(packed.bytes(), 0, m, context); }),
            "PackRows: rows.table differs from the blob's");
  m.table = nullptr;
  EXPECT_EQ(FailureOf([&] { PackRows(packed.bytes(), 0, m, context); }), "");
  EXPECT_EQ(FailureOf([&] { Pack(m, context); }), "Pack: BeginPack: table is null, format five needs 8 values");
}

TEST(PackedErrors, PackRowsKsDecodeRow) {
  Context context;
  const Coded coded(Of<Int4>(), {}, 70, 70);
  EXPECT_EQ(FailureOf([&] { Pack(coded, context, 0); }), "Pack: segments is 0, must divide rows.k = 70");
  EXPECT_EQ(FailureOf([&] { Pack(coded, context, 3); }), "Pack: segments is 3, must divide rows.k = 70");
  Context share(Share(1, 2));
  EXPECT_EQ(FailureOf([&] { Pack(coded, share); }),
            "Pack: context ran 1 of 3 tasks; with Share every thread would get a part of its own");

  const PackedBuffer buffer = Pack(coded, context);
  const PackedMatrix w = buffer;
  std::vector<float> out(70);
  EXPECT_EQ(FailureOf([&] { w.DecodeRow(70, out.data()); }), "DecodeRow: row is 70, the matrix has 70");
  for (const auto& [begin, end] : {std::pair<size_t, size_t>{1, 32}, {0, 31}, {32, 0}, {0, 96}, {70, 70}}) {
    EXPECT_EQ(FailureOf([&, b = begin, e = end] { (void)w.Rows(b, e); }),
              "Rows: [" + std::to_string(begin) + ", " + std::to_string(end) +
                  ") must begin and end at multiples of 32 (or at n = 70)");
    EXPECT_EQ(FailureOf([&, b = begin, e = end] { (void)w.Ks(b, e); }),
              "Ks: [" + std::to_string(begin) + ", " + std::to_string(end) +
                  ") must begin and end at multiples of 32 and of group_k (or at k = 70)");
  }
  const PackedBuffer parts = Pack(coded, context, 2);
  EXPECT_EQ(FailureOf([&] { (void)parts.matrix().Ks(0, 32); }),
            "Ks: [0, 32) must begin and end at multiples of segment_k (or at k = 70)");
  Scales groups;
  groups.group_k = 48;
  const Coded grouped(Of<Int4>(), groups, 70, 140);
  EXPECT_NE(FailureOf([&] { (void)Pack(grouped, context).matrix().Ks(32, 140); }), "");
  EXPECT_EQ(FailureOf([&] { (void)Pack(grouped, context).matrix().Ks(96, 140); }), "");
}

TEST(PackedErrors, EmptyBuffersAndMemory) {
  const PackedBuffer empty;
  EXPECT_EQ(empty.matrix().n(), 0u);
  EXPECT_EQ(empty.matrix().k(), 0u);
  EXPECT_EQ(empty.bytes().size(), 0u);
  EXPECT_EQ(FailureOf([] { (void)PackedBuffer::Allocate(SIZE_MAX); }),
            "PackedBuffer: no memory for 18446744073709551615 bytes");
  PackedBuffer a = PackedBuffer::Allocate(100), b = std::move(a);
  EXPECT_EQ(b.bytes().size(), 100u);
  EXPECT_EQ(a.bytes().size(), 0u);
  a = std::move(b);
  EXPECT_EQ(a.bytes().size(), 100u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(a.bytes().data()) % 64, 0u);
}

}}  // namespace lutra
LUTRA_EXACT_END
