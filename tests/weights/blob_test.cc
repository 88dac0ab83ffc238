// Untrusted bytes: whatever a blob says, reading it gives a Status or stays inside its bytes.
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "lutra/gemm.h"
#include "lutra/gemm/reference.h"
#include "support/targets.h"
#include "weights/coded.h"

namespace lutra { namespace {
using testing::Coded;
using testing::Edge;
using testing::GuardedBytes;
using testing::Of;
using testing::TestFormat;

struct Sample {
  TestFormat format;
  Scales scales;
  size_t n, k, segments;
  Unit unit = Unit::kLane32;
};
std::vector<Sample> Samples() {
  Scales groups, fine, tensor;
  groups.group_k = 32;
  groups.type = DType::kBF16;
  fine.group_k = 5;
  fine.has_offset = true;
  tensor.per_tensor = true;
  tensor.type = DType::kF16;
  return {{Of<Ternary>(), {}, 33, 65, 1},
          {Of<Int1>(), tensor, 5, 40, 1},
          {Of<Int3>(), fine, 40, 66, 2},
          {Of<Int4>(), groups, 64, 64, 1},
          {Of<Int8>(), fine, 2, 33, 3},
          {Of<testing::Nf4>(), groups, 34, 70, 1},
          {Of<testing::Five>(), fine, 1, 1, 1},
          {Of<Int7>(), fine, 3, 0, 1},
          {Of<Int2>(), {}, 0, 64, 2},
          {Of<testing::Uneven>(), {}, 31, 31, 1},
          {Of<Int1>(), groups, 33, 70, 1, Unit::kByteRow},
          {Of<testing::Five>(), fine, 5, 66, 2, Unit::kByteRow},
          {Of<Ternary>(), {}, 33, 100, 1, Unit::kTriple},
          {Of<Ternary>(), groups, 34, 192, 1, Unit::kTriple},
          {Of<Ternary>(), fine, 5, 198, 2, Unit::kTriple}};
}
PackedBuffer PackSample(const Sample& s) {
  Context context;
  const size_t k = s.k / s.segments * s.segments;
  return Pack(Coded(s.format, s.scales, s.n, k, s.segments, 11), context, s.segments, s.unit);
}

// A copy that faults on every read outside of it; aligned, since blobs are multiples of 64 bytes.
class Tight {
 public:
  explicit Tight(std::span<const std::byte> blob, Edge edge = Edge::kEnd) : bytes_(blob.size(), edge) {
    if (!blob.empty()) std::memcpy(bytes_.data(), blob.data(), blob.size());
  }
  std::span<std::byte> span() const { return {reinterpret_cast<std::byte*>(bytes_.data()), bytes_.size()}; }

 private:
  GuardedBytes bytes_;
};

// Reads all of a matrix that Map accepted.
void ReadAll(const PackedMatrix& w) {
  (void)w.Verify().ok();
  if (w.n() == 0) return;
  ASSERT_LE(w.k(), size_t{1} << 20);
  std::vector<float> out(w.k());
  for (size_t row = 0; w.k() != 0 && row < w.n(); ++row) w.DecodeRow(row, out.data());
  if (w.k() != 0) (void)w.Code(w.n() - 1, w.k() - 1);
}
// Whether Map accepts the bytes; then reads all of them.
bool MapAndRead(std::span<const std::byte> blob) {
  PackedMatrix w;
  if (!PackedMatrix::Map(blob, &w).ok()) {
    EXPECT_EQ(w.segments(), 0u);  // untouched
    return false;
  }
  ReadAll(w);
  return true;
}

TEST(Blob, SamplesAreValid) {
  for (const Sample& s : Samples()) {
    const PackedBuffer packed = PackSample(s);
    for (const Edge edge : {Edge::kEnd, Edge::kBegin}) {
      const Tight blob(packed.bytes(), edge);
      PackedMatrix w;
      const Status status = PackedMatrix::Map(blob.span(), &w);
      ASSERT_TRUE(status.ok()) << status.message();
      EXPECT_TRUE(w.Verify().ok());
      ReadAll(w);
    }
  }
}

TEST(Blob, EveryCutIsAStatus) {
  for (const Sample& s : Samples()) {
    const PackedBuffer packed = PackSample(s);
    for (size_t size = 0; size < packed.bytes().size(); ++size) {
      if (size > 300 && size % 7 != 0 && size + 300 < packed.bytes().size()) continue;
      for (const Edge edge : {Edge::kEnd, Edge::kBegin}) {  // at the begin the rest is aligned
        EXPECT_FALSE(MapAndRead(Tight(packed.bytes().first(size), edge).span())) << size;
      }
    }
  }
}

TEST(Blob, UnalignedIsAStatus) {
  const PackedBuffer packed = PackSample(Samples()[0]);
  PackedBuffer moved = PackedBuffer::Allocate(packed.bytes().size() + 64);
  for (const size_t by : {1u, 4u, 32u}) {
    std::memcpy(moved.bytes().data() + by, packed.bytes().data(), packed.bytes().size());
    PackedMatrix w;
    EXPECT_STREQ(PackedMatrix::Map(moved.bytes().subspan(by), &w).message(),
                 "Map: the blob begins at an address that is not a multiple of 64");
  }
}

TEST(Blob, EveryHeaderByteWithEveryValueIsSafe) {
  for (const Sample& s : Samples()) {
    const Tight blob(PackSample(s).bytes());
    size_t accepted = 0;
    for (size_t at = 0; at < sizeof(PackedHeader); ++at) {
      const std::byte old = blob.span()[at];
      for (int value = 0; value < 256; ++value) {
        blob.span()[at] = static_cast<std::byte>(value);
        const bool ok = MapAndRead(blob.span());
        ASSERT_TRUE(ok || static_cast<std::byte>(value) != old);
        accepted += ok;
        // Reserved bytes and sizes may have one value only.
        const bool fixed = at < 12 ||
                           (at >= offsetof(PackedHeader, super_k) && at < offsetof(PackedHeader, scale_type)) ||
                           at >= offsetof(PackedHeader, transform) || at == offsetof(PackedHeader, super_type);
        if (fixed && static_cast<std::byte>(value) != old) {
          EXPECT_FALSE(ok) << "byte " << at << ", value " << value;
        }
      }
      blob.span()[at] = old;
    }
    EXPECT_GE(accepted, sizeof(PackedHeader));
  }
}

// Several fields at once, with the size that this library itself would compute: what a liar who knows the format
// writes.
TEST(Blob, ConsistentLiesAreSafe) {
  constexpr uint64_t kValues[] = {0,
                                  1,
                                  2,
                                  3,
                                  5,
                                  31,
                                  32,
                                  33,
                                  63,
                                  64,
                                  65,
                                  128,
                                  255,
                                  256,
                                  1 << 10,
                                  65793,
                                  1 << 16,
                                  1 << 20,
                                  1 << 24,
                                  (1 << 24) + 1,
                                  1 << 30,
                                  (1 << 30) + 1,
                                  uint64_t{1} << 31,
                                  uint64_t{1} << 32,
                                  uint64_t{1} << 33,
                                  uint64_t{1} << 40,
                                  (uint64_t{1} << 40) + 1,
                                  uint64_t{1} << 61,
                                  uint64_t{1} << 62,
                                  uint64_t{1} << 63,
                                  UINT64_MAX - 31,
                                  UINT64_MAX};
  std::minstd_rand random(9);
  const auto any = [&] { return kValues[random() % std::size(kValues)]; };
  size_t accepted = 0;
  for (const Sample& s : Samples()) {
    const Tight blob(PackSample(s).bytes());
    PackedHeader original;
    std::memcpy(&original, blob.span().data(), sizeof(original));
    for (int i = 0; i < 20000; ++i) {
      PackedHeader h = original;
      const auto which = static_cast<unsigned>(random() >> 8);
      if (which & 1) h.n = any();
      if (which & 2) h.segment_k = any();
      if (which & 4) h.segments = any();
      if (which & 8) h.group_k = any();
      if (which & 16) h.scale_type = static_cast<uint8_t>(random() % 3);
      if (which & 32) h.has_offset = static_cast<uint8_t>(random() % 2);
      if (which & 64) h.codes = static_cast<uint16_t>(any());
      const PackSpec spec{
          s.format.info, {h.group_k, static_cast<DType>(h.scale_type), h.per_tensor != 0, h.has_offset != 0},
          h.n,           h.segment_k,
          h.segments,    s.unit};
      if (internal::CheckSpec(spec).ok()) h.bytes = internal::LayoutOf(spec).bytes;
      if (which & 128) h.bytes = blob.span().size();
      std::memcpy(blob.span().data(), &h, sizeof(h));
      accepted += MapAndRead(blob.span());
    }
  }
  EXPECT_GT(accepted, 100u);
}

TEST(Blob, ShapesWhoseSizesOverflowAreAStatus) {
  const Sample s = Samples()[5];  // a table: no bound on k by the sums
  const Tight blob(PackSample(s).bytes());
  PackedHeader original;
  std::memcpy(&original, blob.span().data(), sizeof(original));
  const uint64_t one = 1;
  const uint64_t shapes[][4] = {
      // n, segment_k, segments, group_k: products that are 0 or small modulo 2^64
      {one << 40, one << 30, 1, 0},  {one << 63, 2, 1, 0},           {one << 35, one << 29, 1, 1},
      {32, one << 63, 2, 0},         {32, 2, one << 63, 0},          {32, one << 31, one << 33, 32},
      {32, 0, one << 63, 0},         {32, 64, 1, UINT64_MAX},        {UINT64_MAX, 64, 1, 0},
      {UINT64_MAX - 30, 64, 1, 0},   {34, UINT64_MAX, 1, 0},         {34, UINT64_MAX - 30, 1, 0},
      {one << 40, one << 20, 1, 1},  {one << 40, 16, one << 26, 16}, {one << 40, 1, one << 24, 1},
      {one << 37, one << 30, 1, 32},
  };
  for (const auto& shape : shapes) {
    for (const uint64_t bytes : {uint64_t{0}, uint64_t{128}, original.bytes, UINT64_MAX, uint64_t{SIZE_MAX / 8}}) {
      PackedHeader h = original;
      h.n = shape[0];
      h.segment_k = shape[1];
      h.segments = shape[2];
      h.group_k = shape[3];
      h.bytes = bytes;
      std::memcpy(blob.span().data(), &h, sizeof(h));
      EXPECT_FALSE(MapAndRead(blob.span())) << h.n << ' ' << h.segment_k << ' ' << h.segments << ' ' << h.group_k;
    }
  }
}

// 2^40 rows of no columns are 128 bytes; nothing may loop over them.
TEST(Blob, ShapesWithoutBytesTakeNoTime) {
  Scales groups;
  groups.group_k = 1;
  const PackSpec spec{Int4::info, groups, size_t{1} << 40, 0, size_t{1} << 24};
  ASSERT_EQ(PackedBytes(spec), sizeof(PackedHeader));
  PackedBuffer blob = PackedBuffer::Allocate(sizeof(PackedHeader));
  ASSERT_TRUE(BeginPack(spec, blob.bytes()).ok());
  PackedMatrix w = blob;
  EXPECT_TRUE(w.Verify().ok());
  w.DecodeRow(w.n() - 1, nullptr);
  EXPECT_EQ(w.Rows(size_t{1} << 39, size_t{1} << 40).n(), size_t{1} << 39);
}

TEST(Blob, VerifyFindsWhatMapMayNotLookAt) {
  const Sample s = Samples()[5];  // 34 x 70 nf4, groups of 32, bf16
  const PackedBuffer packed = PackSample(s);
  const PackedLayout l = internal::LayoutOf({s.format.info, s.scales, s.n, s.k, 1});
  const auto message = [&](size_t at, std::byte value) {
    const Tight blob(packed.bytes());
    blob.span()[at] = value;
    PackedMatrix w;
    EXPECT_TRUE(PackedMatrix::Map(blob.span(), &w).ok());
    return std::string(w.Verify().message());
  };
  const std::byte x{1};
  EXPECT_EQ(message(l.codes_at, x), "");
  EXPECT_EQ(message(l.codes_at + l.panel_bytes + 2 * 4, x), "Verify: padding at row 34, segment 0, k 0 holds code 1");
  EXPECT_EQ(message(l.codes_at + 2 * 512 + 2, std::byte{0x10}),
            "Verify: padding at row 0, segment 0, k 70 holds code 1");
  EXPECT_EQ(message(l.scales_at + 64 + 7, std::byte{0x7F}), "Verify: scale or offset of row 3, group 1 is not finite");
  EXPECT_EQ(message(l.scales_at + l.scale_panel_bytes + 2 * 2, x), "Verify: padding row 34 has a scale");
  EXPECT_EQ(message(l.table_at + 3, std::byte{0xFF}), "Verify: table[0] is not finite");
  EXPECT_EQ(message(l.table_at + 4 * 15, x), "");

  Context context;
  const PackedBuffer five = Pack(Coded(Of<testing::Five>(), {}, 1, 1), context);
  const PackedLayout lf = internal::LayoutOf({testing::Five::info, {}, 1, 1});
  const Tight blob(five.bytes());
  PackedMatrix w;
  ASSERT_TRUE(PackedMatrix::Map(blob.span(), &w).ok());
  blob.span()[lf.table_at + 32] = x;
  EXPECT_STREQ(w.Verify().message(), "Verify: the padding of the table is not zero");
  blob.span()[lf.table_at + 32] = std::byte{0};
  std::memset(blob.span().data() + lf.table_at + 4 * 7, 0xFF, 4);  // a value of no code
  EXPECT_STREQ(w.Verify().message(), "Verify: table[7] is not finite");

  const PackedBuffer tensor = PackSample(Samples()[1]);
  const PackedLayout lt = internal::LayoutOf({Int1::info, Samples()[1].scales, 5, 40});
  const Tight other(tensor.bytes());
  ASSERT_TRUE(PackedMatrix::Map(other.span(), &w).ok());
  other.span()[lt.scales_at + 2 * 4] ^= x;
  EXPECT_STREQ(w.Verify().message(),
               "Verify: scale or offset of row 4 differs from row 0, the format has one per tensor");
}

TEST(Blob, VerifyFindsBytesThatAreNoTriple) {
  const Sample s{Of<Ternary>(), {}, 33, 100, 1, Unit::kTriple};
  const PackedBuffer packed = PackSample(s);
  const PackedLayout l = internal::LayoutOf({s.format.info, s.scales, s.n, s.k, 1, s.unit});
  const auto message = [&](size_t at, int value) {
    const Tight blob(packed.bytes());
    blob.span()[l.codes_at + at] = static_cast<std::byte>(value);
    PackedMatrix w;
    EXPECT_TRUE(PackedMatrix::Map(blob.span(), &w).ok());
    ReadAll(w);
    return std::string(w.Verify().message());
  };
  const std::string allowed = ", allowed are 0 ... 13 and no sign at 0";
  EXPECT_EQ(message(160 + 64 + 5, 0x1E), "Verify: triple of row 5, segment 0, k 10 has index 14" + allowed);
  EXPECT_EQ(message(160 + 64 + 5, 0xF1), "Verify: triple of row 5, segment 0, k 11 has index 15" + allowed);
  // Padding of rows, and of k: the second block holds 4 of them.
  EXPECT_EQ(message(l.panel_bytes + 1, 0x20), "Verify: triple of row 33, segment 0, k 2 has index 0" + allowed);
  EXPECT_EQ(message(l.panel_bytes + 32 + 1, 0x01), "Verify: padding at row 33, segment 0, k 64 holds code 2");
  EXPECT_EQ(message(640 + 96 + 2, 0x09), "Verify: padding at row 2, segment 0, k 100 holds code 2");
  EXPECT_EQ(message(640 + 32 + 2, 0x33), "Verify: padding at row 2, segment 0, k 128 holds code 2");
}

void Multiply(const GemmCall& call, Context& context) {
  Gemm<Ternary, Int1, Int3, Int4, Int7, Int2, testing::Nf4, testing::Five, testing::Uneven>(
      std::span<const GemmCall>(&call, 1), context);
}

class HostileBlob : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, HostileBlob, ::testing::ValuesIn(testing::TargetNames()), testing::NameOfTarget);

// Any code bytes, padding too, in a blob without a spare byte: every kernel gives what the reference gives.
TEST_P(HostileBlob, GemmEqualsTheReferenceForAnyCodeBytes) {
  testing::TargetContext context(GetParam());
  std::minstd_rand random(13);
  for (const Sample& s : Samples()) {
    if (s.segments != 1 || s.n == 0 || s.k == 0) continue;
    const PackedLayout l = internal::LayoutOf({s.format.info, s.scales, s.n, s.k, 1, s.unit});
    const Tight blob(PackSample(s).bytes());
    const size_t m = 3;
    std::vector<float> x(m * s.k);
    for (float& v : x) v = (static_cast<float>(random() % 255) - 127) / 64;
    ActivationBuffer activations;
    const Activations& xq = activations.Quantize(View(x.data(), m, s.k), context);
    for (const int fill : {-1, -2, 0xFF, 0x00, 0xAA}) {  // -1: a few bytes, -2: all bytes
      for (size_t at = l.codes_at; at < l.scales_at; ++at) {
        if (fill == -1 && random() % 16 != 0) continue;
        blob.span()[at] = static_cast<std::byte>(fill < 0 ? random() >> 8 : static_cast<unsigned>(fill));
      }
      GemmCall call;
      const Status status = PackedMatrix::Map(blob.span(), &call.w);
      ASSERT_TRUE(status.ok()) << status.message();
      ReadAll(call.w);
      for (const bool quantised : {true, false}) {
        const bool integer = quantised && s.format.info.map == Map::kAffine;
        const testing::GuardedBuffer<float> got(m * s.n);
        std::vector<float> want(m * s.n);
        call.xq = quantised ? &xq : nullptr;
        call.x = quantised ? ConstMatrixView{} : View(static_cast<const float*>(x.data()), m, s.k);
        call.y = View(want.data(), m, s.n);
        reference::Gemm(call, integer ? GemmAlgo::kIntDot : GemmAlgo::kTile);
        call.y = View(got.data(), m, s.n);
        Multiply(call, context);
        context.Check();
        if (!integer && !testing::HasFma(GetParam())) continue;
        ASSERT_EQ(std::memcmp(got.data(), want.data(), want.size() * sizeof(float)), 0)
            << s.format.info.name.data() << ", fill " << fill << (integer ? ", integer" : ", float");
      }
    }
  }
}

// Any bytes behind the header: scales and tables that are NaN or huge too. Nothing is promised but memory safety.
TEST_P(HostileBlob, GemmIsSafeForAnyBytes) {
  testing::TargetContext context(GetParam());
  std::minstd_rand random(17);
  for (const Sample& s : Samples()) {
    if (s.segments != 1) continue;
    const Tight blob(PackSample(s).bytes());
    for (size_t at = sizeof(PackedHeader); at < blob.span().size(); ++at) {
      blob.span()[at] = static_cast<std::byte>(random() >> 8);
    }
    GemmCall call;
    ASSERT_TRUE(PackedMatrix::Map(blob.span(), &call.w).ok());
    ReadAll(call.w);
    const size_t m = 5;
    std::vector<float> x(m * s.k, 1.0f);
    ActivationBuffer activations;
    const Activations& xq = activations.Quantize(View(x.data(), m, s.k), context);
    const testing::GuardedBuffer<float> y(m * s.n);
    call.y = View(y.data(), m, s.n);
    for (const bool quantised : {true, false}) {
      call.xq = quantised ? &xq : nullptr;
      call.x = quantised ? ConstMatrixView{} : View(static_cast<const float*>(x.data()), m, s.k);
      Multiply(call, context);
    }
    EXPECT_TRUE(y.CanariesIntact());
  }
}

}}  // namespace lutra
