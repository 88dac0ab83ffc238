// Packed low-bit matrices: the layout that kernels read, which is also the file.
//
// A blob is a 128-byte header, then codes, scales, offsets and a table, each from a multiple of 64 bytes. Rows form
// panels of 32, the packed K of a panel is cut into blocks of 32; a block holds its 32 x 32 codes plane by plane, and a
// plane of b bits has b units of 128 bytes:
//
//   unit u of a plane: 32 rows x 4 bytes, one 32-bit lane per row. Byte kk of a row, field j (bits b j ... b j + b - 1)
//   belongs to k = u * 32 / b + 4 j + kk. For b = 2:
//                byte 0   byte 1   byte 2   byte 3
//     bits 1:0      0        1        2        3       field 0
//     bits 3:2      4        5        6        7       field 1
//     bits 5:4      8        9       10       11       field 2
//     bits 7:6     12       13       14       15       field 3
//
// That is Unit::kLane32. Unit::kByteRow holds the same blocks as planes of single bits, whatever the format's planes
// are; plane p, of bit p of the codes, has 128 bytes:
//
//   [row / 16: 2][k / 8: 4][row % 16: 16], bit k % 8. 16 neighbouring bytes are 16 rows at the same 8 k: both nibbles
//   index a table of 16 sums of four activations, and 16 lookups are one byte shuffle.
//
// Unit::kTriple takes ternary codes alone, three in five bits: blocks of 96 k x 32 rows, 640 bytes each. Triple t of a
// row is k = t, 32 + t and 64 + t of the block; its number 9 v0 + 3 v1 + v2 of the values -1, 0, 1 lies in -13 ... 13
// and is kept as a sign and an index of 4 bits, the magnitude. Eight triples from t = 8 g have 160 bytes at 160 g:
//
//   [row: 32], the sign of triple 8 g + i in bit 7 - i, then [i / 2: 4][row: 32], the index of triple 8 g + i in the
//   low nibble for even i, in the high one for odd i. An index finds one of 14 sums of three activations in a table,
//   the sign is applied to what was found. Indices 14 and 15, and a sign beside index 0, belong to no triple: they
//   count as three values of 0, and Verify refuses them.
//
// Each segment of K is padded to whole blocks, the rows to whole panels; padding is zero bits (code 0, in kTriple code
// 1) and zero scales, and activations are zero there. Scales: [panel][group][32 rows]. The layout depends on no target
// and no vector length.
#pragma once
#include <bit>
#include <cstdlib>
#include <cstring>
#include <span>

#include "lutra/core/context.h"
#include "lutra/core/views.h"
#include "lutra/weights/format.h"

namespace lutra { inline namespace v0 {

inline constexpr size_t kPanelRows = 32, kBlockK = 32;

// Which bytes neighbour each other, drawn above; each unit has its kernels.
enum class Unit : uint8_t {
  kLane32,   // all algorithms but those of the other units
  kByteRow,  // shuffle_table, byte_table, float_table; int_lanes and tile through the codes
  kTriple,   // triple_table; int_lanes and tile through the codes. Ternary formats only
};

// k of a block of each unit, a multiple of kBlockK.
inline constexpr size_t kTripleBlockK = 96, kMostBlockK = 96;
constexpr size_t BlockKOf(Unit unit) { return unit == Unit::kTriple ? kTripleBlockK : kBlockK; }
constexpr size_t BlockBytesOf(Unit unit, const FormatInfo& f) {
  return unit == Unit::kTriple ? kTripleBlockK / 3 * kPanelRows * 5 / 8 : size_t{128} * f.bits;
}
// The code that padding of k has: its bits are zero.
constexpr uint8_t PaddingCode(Unit unit) { return unit == Unit::kTriple ? 1 : 0; }

// What to pack: w[n, segments * segment_k]. Segments are the pieces of K that RowMap gathers (convolution taps);
// a plain matrix has one.
struct PackSpec {
  FormatInfo format;
  Scales scales;
  size_t n = 0, segment_k = 0, segments = 1;
  Unit unit = Unit::kLane32;
};

// Weights as codes, the form that quantisers and importers produce and the packer takes. It owns nothing.
struct CodedMatrix {
  FormatInfo format;
  Scales scales;
  size_t n = 0, k = 0;
  const uint8_t* codes = nullptr;  // code of (row, k) at codes[row * code_stride + k]
  size_t code_stride = 0;
  ConstMatrixView scale;         // f32, bf16 or f16: [n, groups], [1, 1] per tensor
  ConstMatrixView offset;        // the same shape; only with Scales::has_offset
  const float* table = nullptr;  // Map::kTable: 2^bits values
};

// The first bytes of a blob, little-endian.
struct PackedHeader {
  static constexpr uint32_t kVersion = 1;
  char magic[8];
  uint32_t version;
  uint16_t format_id;
  uint8_t bits, map;
  uint8_t planes[3], unit;
  int16_t zero_x2;
  uint16_t codes;
  char name[16];
  uint64_t n, segment_k, segments, group_k, super_k;
  uint8_t scale_type, super_type, per_tensor, has_offset;
  uint8_t transform[28];  // of the activations; zero: none
  uint64_t bytes;         // of the whole blob
  uint64_t reserved;
};
static_assert(sizeof(PackedHeader) == 128);
static_assert(std::endian::native == std::endian::little, "packed files are little-endian");

// Where things are in a blob of a PackSpec.
struct PackedLayout {
  size_t panels = 0, blocks_per_segment = 0, blocks = 0, groups_per_segment = 0, groups = 0;
  size_t panel_bytes = 0, scale_panel_bytes = 0;
  size_t codes_at = 0, scales_at = 0, offsets_at = 0, table_at = 0, bytes = 0;
};

// A view of packed weights: trivially copyable, immutable, shared by threads, valid as long as its blob.
class PackedMatrix {
 public:
  // Checks a blob in O(1) and trusts nothing of it. Needs data aligned to 64 bytes; bytes behind the blob are ignored.
  static Status Map(std::span<const std::byte> blob, PackedMatrix* out);
  // Reads every byte that Map did not: codes in use, zero padding, finite scales and table, one scale per tensor.
  Status Verify() const;

  // Output rows [begin, end) as a matrix of the same blob. begin is a multiple of 32; end too, or n().
  PackedMatrix Rows(size_t begin, size_t end) const;
  // Columns [begin, end) of K. begin is a multiple of block_k() and of group_k, end too or k(); of whole segments where
  // there are several.
  PackedMatrix Ks(size_t begin, size_t end) const;

  LUTRA_MEMBER size_t n() const { return n_; }
  LUTRA_MEMBER size_t k() const { return segment_k_ * segments_; }
  LUTRA_MEMBER size_t segment_k() const { return segment_k_; }
  LUTRA_MEMBER size_t segments() const { return segments_; }
  LUTRA_MEMBER const FormatInfo& format() const { return format_; }
  LUTRA_MEMBER Unit unit() const { return unit_; }
  LUTRA_MEMBER const Scales& scales() const { return scales_; }
  LUTRA_MEMBER size_t groups() const { return scales_.group_k == 0 ? 1 : groups_per_segment_ * segments_; }
  LUTRA_MEMBER size_t groups_per_segment() const { return groups_per_segment_; }
  LUTRA_MEMBER size_t block_k() const { return BlockKOf(unit_); }
  LUTRA_MEMBER size_t blocks_per_segment() const { return (segment_k_ + block_k() - 1) / block_k(); }
  LUTRA_MEMBER size_t panels() const { return (n_ + kPanelRows - 1) / kPanelRows; }
  LUTRA_MEMBER size_t block_bytes() const { return BlockBytesOf(unit_, format_); }

  // The stored code of (row, k), its scale and offset. Row and k are not checked.
  unsigned Code(size_t row, size_t k) const;
  float ScaleOf(size_t row, size_t group) const;
  float OffsetOf(size_t row, size_t group) const;  // 0 without offsets
  // The values of a row as f32 to out[0 ... k): value(code) * scale, then + offset, each rounded. Fails on row >= n().
  void DecodeRow(size_t row, float* out) const;

  // For kernels: the parts of panel p, and of format Map::kTable the table.
  LUTRA_MEMBER const uint8_t* Codes(size_t p) const { return codes_ + p * panel_bytes_; }
  LUTRA_MEMBER const std::byte* PanelScales(size_t p) const { return scale_ + p * scale_panel_bytes_; }
  LUTRA_MEMBER const std::byte* PanelOffsets(size_t p) const {
    return offset_ == nullptr ? nullptr : offset_ + p * scale_panel_bytes_;
  }
  LUTRA_MEMBER const float* table() const { return table_; }

 private:
  FormatInfo format_;
  Scales scales_;
  Unit unit_ = Unit::kLane32;
  size_t n_ = 0, segment_k_ = 0, segments_ = 0, groups_per_segment_ = 0;
  size_t panel_bytes_ = 0, scale_panel_bytes_ = 0;
  const uint8_t* codes_ = nullptr;
  const std::byte* scale_ = nullptr;
  const std::byte* offset_ = nullptr;
  const float* table_ = nullptr;
};

// A blob in memory of its own.
class PackedBuffer {
 public:
  PackedBuffer() = default;
  LUTRA_MEMBER PackedBuffer(PackedBuffer&& other) noexcept : data_(other.data_), size_(other.size_) {
    other.data_ = nullptr;
    other.size_ = 0;
  }
  LUTRA_MEMBER PackedBuffer& operator=(PackedBuffer&& other) noexcept {
    std::byte* const data = data_;
    const size_t size = size_;
    data_ = other.data_;
    size_ = other.size_;
    other.data_ = data;
    other.size_ = size;
    return *this;
  }
  LUTRA_MEMBER ~PackedBuffer() { std::free(data_); }

  LUTRA_MEMBER std::span<const std::byte> bytes() const { return {data_, size_}; }
  LUTRA_MEMBER std::span<std::byte> bytes() { return {data_, size_}; }
  // The whole matrix; an empty one for an empty buffer.
  PackedMatrix matrix() const;
  LUTRA_MEMBER operator PackedMatrix() const { return matrix(); }

  // Uninitialised memory for a blob of `size` bytes, 64-byte aligned. Fails where there is none.
  static PackedBuffer Allocate(size_t size);

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}}  // namespace lutra::v0

namespace lutra { inline namespace LUTRA_NS {
namespace internal {

constexpr size_t RoundUp(size_t v, size_t to) { return (v + to - 1) / to * to; }

// Whether the values are -1, 0, 1 as codes 0, 1, 2 of two bits.
constexpr bool IsTernary(const FormatInfo& f) {
  return f.map == Map::kAffine && f.bits == 2 && f.zero_x2 == 2 && f.codes == 3;
}

// Everything that is wrong with a spec, whether it comes from a caller or from a file.
inline Status CheckSpec(const PackSpec& s) {
  const FormatInfo& f = s.format;
  int bits = 0;
  bool ended = false;
  for (const uint8_t plane : f.planes) {
    if (plane != 0 && plane != 1 && plane != 2 && plane != 4 && plane != 8) {
      return Error("format: a plane has %d bits, allowed are 1, 2, 4, 8", plane);
    }
    if (plane != 0 && ended) return Error("format: a plane of 0 bits comes before one of %d, it must be last", plane);
    ended = plane == 0;
    bits += plane;
  }
  if (f.bits < 1 || f.bits > 8 || bits != f.bits) {
    return Error("format: bits is %d and the planes hold %d, allowed are 1 ... 8 and equal", f.bits, bits);
  }
  size_t length = 0;
  while (length < f.name.size() && f.name[length] >= ' ' && f.name[length] <= '~') ++length;
  for (size_t i = length; i < f.name.size(); ++i) length = f.name[i] != '\0' ? f.name.size() : length;
  if (length == f.name.size()) return Error("format: name is not at most 15 printable characters, then zeros");
  if (f.map > Map::kTable) return Error("format: map is %d, allowed are 0 and 1", static_cast<int>(f.map));
  if (f.zero_x2 < 0 || f.zero_x2 > 2 * f.MaxPattern()) {
    return Error("format: zero_x2 is %d, allowed is 0 ... %d", f.zero_x2, 2 * f.MaxPattern());
  }
  if (f.codes < 1 || f.codes > f.MaxPattern() + 1) {
    return Error("format: codes is %d, allowed is 1 ... %d", f.codes, f.MaxPattern() + 1);
  }
  if (f.map == Map::kTable && f.zero_x2 != 0) return Error("format: zero_x2 is %d, must be 0 with a table", f.zero_x2);
  // Tables are in the blob; an affine format of lutra's must be what its id says.
  const bool own = f.id == Ternary::info.id || (f.id >= 0x2000 && f.id < 0x4000) || f.map == Map::kAffine;
  if (f.id < 0x8000 && own && f != Ternary::info && (f.map == Map::kTable || f != IntFormat(f.bits, f.zero_x2))) {
    return Error("format: id is 0x%x, which is lutra's and not this format; a format of yours begins at 0x8000", f.id);
  }
  if (s.unit > Unit::kTriple) return Error("unit is %d, allowed are 0 ... 2", static_cast<int>(s.unit));
  if (s.unit == Unit::kTriple && !IsTernary(f)) {
    return Error("unit is kTriple, which takes ternary formats (affine, bits 2, zero_x2 2, codes 3), format is %s",
                 f.name.data());
  }
  if (!IsFloat(s.scales.type)) {
    return Error("scales: type is %s, allowed are f32, bf16, f16", NameOf(s.scales.type));
  }
  if (s.scales.per_tensor && s.scales.group_k != 0) {
    return Error("scales: group_k is %zu, must be 0 with per_tensor", s.scales.group_k);
  }
  if (s.scales.super_k != 0) return Error("scales: super_k is %zu, this version allows 0", s.scales.super_k);
  constexpr size_t kMost = size_t{1} << 40;  // with k up to 2^30: the bytes of a panel and their sums cannot overflow
  if (s.n > kMost) return Error("n is %zu, allowed is 0 ... 2^40", s.n);
  size_t k = 0;
  if (s.segments < 1 || __builtin_mul_overflow(s.segment_k, s.segments, &k) || k > size_t{1} << 30 ||
      s.segments > size_t{1} << 24) {
    return Error("segments is %zu of segment_k %zu, allowed is k = 0 ... 2^30", s.segments, s.segment_k);
  }
  // Kernels sum code * x for integer zero points, (2 code - zero_x2) * x for half-integer ones.
  const int above = 2 * f.MaxPattern() - f.zero_x2;
  const int worst = f.zero_x2 % 2 == 0 ? f.MaxPattern() : f.zero_x2 > above ? f.zero_x2 : above;
  if (f.map == Map::kAffine && static_cast<int64_t>(k) > LargestK(worst)) {
    return Error("k is %zu, the int32 sums of %s allow at most %lld", k, f.name.data(),
                 static_cast<long long>(LargestK(worst)));
  }
  if (s.scales.group_k > size_t{1} << 30)
    return Error("scales: group_k is %zu, allowed is 0 ... 2^30", s.scales.group_k);
  return {};
}

inline Status SpecOf(const PackedHeader& h, PackSpec* spec) {
  if (std::memcmp(h.magic, "lutrapk", 8) != 0) return Error("Map: these bytes are not packed weights of lutra");
  if (h.version != PackedHeader::kVersion) {
    return Error("Map: version is %u, this lutra reads %u: pack the weights again", h.version, PackedHeader::kVersion);
  }
  if (h.scale_type > uint8_t{2} || h.super_type > uint8_t{8} || h.per_tensor > 1 || h.has_offset > 1 || h.map > 1 ||
      h.unit > static_cast<uint8_t>(Unit::kTriple)) {
    return Error("Map: scale_type %u, super_type %u, per_tensor %u, has_offset %u, map %u or unit %u is out of range",
                 h.scale_type, h.super_type, h.per_tensor, h.has_offset, h.map, h.unit);
  }
  for (const uint8_t byte : h.transform) {
    if (byte != 0) return Error("Map: the weights want an activation transform that this version does not know");
  }
  if (h.reserved != 0 || h.super_type != 0) return Error("Map: reserved bytes are not zero");
  FormatInfo f;
  f.id = h.format_id;
  std::memcpy(f.name.data(), h.name, sizeof(h.name));
  f.bits = h.bits;
  std::memcpy(f.planes.data(), h.planes, sizeof(h.planes));
  f.map = static_cast<lutra::Map>(h.map);
  f.zero_x2 = h.zero_x2;
  f.codes = h.codes;
  *spec = {f,
           {h.group_k, static_cast<DType>(h.scale_type), h.per_tensor != 0, h.has_offset != 0, h.super_k,
            static_cast<DType>(h.super_type)},
           h.n,
           h.segment_k,
           h.segments,
           static_cast<Unit>(h.unit)};
  const Status status = CheckSpec(*spec);
  if (!status.ok()) return Error("Map: %s", status.message());
  return {};
}

// More than any memory has; a layout whose sections saturate at it adds up without overflow.
inline constexpr size_t kTooManyBytes = SIZE_MAX / 8;

// Of a spec that CheckSpec accepts. `bytes` is at least kTooManyBytes where memory could never hold it.
inline PackedLayout LayoutOf(const PackSpec& s) {
  PackedLayout l;
  l.panels = (s.n + kPanelRows - 1) / kPanelRows;
  l.blocks_per_segment = (s.segment_k + BlockKOf(s.unit) - 1) / BlockKOf(s.unit);
  l.blocks = l.blocks_per_segment * s.segments;
  l.groups_per_segment = s.scales.group_k == 0 ? 1 : (s.segment_k + s.scales.group_k - 1) / s.scales.group_k;
  l.groups = s.scales.group_k == 0 ? 1 : l.groups_per_segment * s.segments;
  l.panel_bytes = l.blocks * BlockBytesOf(s.unit, s.format);
  l.scale_panel_bytes = l.groups * kPanelRows * SizeOf(s.scales.type);
  const auto section = [&](size_t count, size_t each, size_t at) {
    size_t size = 0;
    if (__builtin_mul_overflow(count, each, &size) || size > kTooManyBytes) size = kTooManyBytes;
    return RoundUp(at + size, 64);
  };
  l.codes_at = sizeof(PackedHeader);
  l.scales_at = section(l.panels, l.panel_bytes, l.codes_at);
  l.offsets_at = section(l.panels, l.scale_panel_bytes, l.scales_at);
  l.table_at = s.scales.has_offset ? section(l.panels, l.scale_panel_bytes, l.offsets_at) : l.offsets_at;
  l.bytes = s.format.map == Map::kTable ? section(size_t{1} << s.format.bits, sizeof(float), l.table_at) : l.table_at;
  return l;
}

// Byte and shift of plane field (row, k) inside a block, for a plane of b bits that begins at `plane_at`.
struct FieldAt {
  size_t byte;
  unsigned shift;
};
constexpr FieldAt FieldOf(size_t plane_at, unsigned b, size_t row, size_t k) {
  const size_t unit_k = 32 / b, in_unit = k % unit_k;
  return {plane_at + k / unit_k * 128 + row * 4 + in_unit % 4, static_cast<unsigned>(in_unit / 4) * b};
}

// The codes of a triple, by sign << 4 | index. Where there is no such triple: of three values of 0.
struct TripleCodes {
  uint8_t of[32][3] = {};
};
constexpr TripleCodes MakeTripleCodes() {
  TripleCodes codes;
  for (auto& none : codes.of) none[0] = none[1] = none[2] = 1;
  for (int i = 0; i < 27; ++i) {
    uint8_t* triple = codes.of[i < 13 ? 16 | (13 - i) : i - 13];
    triple[0] = static_cast<uint8_t>(i / 9);
    triple[1] = static_cast<uint8_t>(i / 3 % 3);
    triple[2] = static_cast<uint8_t>(i % 3);
  }
  return codes;
}
inline constexpr TripleCodes kTripleCodes = MakeTripleCodes();
// sign << 4 | index of triple t of a row.
constexpr unsigned TripleIn(const uint8_t* block, size_t row, size_t t) {
  const uint8_t* eight = block + t / 8 * 160 + row;
  const unsigned sign = eight[0] >> (7 - t % 8) & 1u, index = eight[32 + t % 8 / 2 * 32] >> (t % 2 * 4) & 15u;
  return sign << 4 | index;
}

inline unsigned CodeIn(const uint8_t* block, const FormatInfo& f, Unit unit, size_t row, size_t k) {
  unsigned code = 0, done = 0;
  if (unit == Unit::kByteRow) {
    const uint8_t* at = block + row / 16 * 64 + k / 8 * 16 + row % 16;
    for (unsigned p = 0; p < f.bits; ++p) code |= (unsigned{at[size_t{128} * p]} >> k % 8 & 1u) << p;
    return code;
  }
  if (unit == Unit::kTriple) return kTripleCodes.of[TripleIn(block, row, k % 32)][k / 32];
  size_t plane_at = 0;
  for (const unsigned b : f.planes) {
    if (b == 0) break;
    const FieldAt at = FieldOf(plane_at, b, row, k);
    code |= (unsigned{block[at.byte]} >> at.shift & ((1u << b) - 1)) << done;
    done += b;
    plane_at += size_t{128} * b;
  }
  return code;
}

}  // namespace internal

// The size of the blob of a spec, for the caller's arena (64-byte aligned). Fails on a bad spec.
inline size_t PackedBytes(const PackSpec& spec) {
  const Status status = internal::CheckSpec(spec);
  if (!status.ok()) Fail("PackedBytes: %s", status.message());
  const size_t bytes = internal::LayoutOf(spec).bytes;
  if (bytes >= internal::kTooManyBytes) {
    Fail("PackedBytes: n = %zu rows of k = %zu do not fit into memory", spec.n, spec.segment_k * spec.segments);
  }
  return bytes;
}

// Writes header, table and zeros into `blob`. Then PackRows fills it, in any order, from any thread. A table of 2^bits
// finite values is needed for Map::kTable only. A bad spec, size, alignment or table is an error; nothing is written.
Status BeginPack(const PackSpec& spec, std::span<std::byte> blob, const float* table = nullptr);

// Packs rows n0 ... n0 + rows.n of a begun blob; n0 is a multiple of 32, and so is rows.n unless they are the last.
// Different panels may be packed at the same time. Fails on anything that does not match the blob's spec, or on a code
// that the format does not use, or a scale that Scales::type does not hold; nothing is written then.
void PackRows(std::span<std::byte> blob, size_t n0, const CodedMatrix& rows, Context& context);

// All of it at once, into new memory (so not with Share). segments, unit: see PackSpec.
PackedBuffer Pack(const CodedMatrix& rows, Context& context, size_t segments = 1, Unit unit = Unit::kLane32);

}}  // namespace lutra::LUTRA_NS

#include "lutra/weights/pack.h"
#include "lutra/weights/read.h"
