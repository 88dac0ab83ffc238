// Definitions of lutra/weights/packed.h.
#pragma once
#include <atomic>

#include "lutra/weights/packed.h"

LUTRA_EXACT_BEGIN
namespace lutra {
inline namespace LUTRA_NS {
namespace internal {

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

// What is left of a value in storage of `type`.
inline float RoundTo(float v, DType type) {
  return type == DType::kBF16 ? ToFloat(ToBF16(v)) : type == DType::kF16 ? ToFloat(ToF16(v)) : v;
}

inline void CheckCoded(const char* what, const CodedMatrix& c, const PackSpec& s, const PackedLayout& l) {
  if (c.format != s.format)
    Fail("%s: rows.format is %s, the blob holds %s", what, c.format.name.data(), s.format.name.data());
  if (c.scales != s.scales) Fail("%s: rows.scales differ from those of the blob", what);
  if (c.k != s.segment_k * s.segments)
    Fail("%s: rows.k is %zu, the blob holds k = %zu", what, c.k, s.segment_k * s.segments);
  if (c.n == 0) return;
  if (c.codes == nullptr && c.k != 0) Fail("%s: rows.codes is null", what);
  if (c.code_stride < c.k && c.n > 1)
    Fail("%s: rows.code_stride is %zu, must be at least k = %zu", what, c.code_stride, c.k);
  const size_t rows = s.scales.per_tensor ? 1 : c.n;
  const auto check = [&](const char* name, const ConstMatrixView& v) {
    if (!IsFloat(v.type)) Fail("%s: rows.%s.type is %s, allowed are f32, bf16, f16", what, name, NameOf(v.type));
    if (v.rows != rows || v.cols != l.groups) {
      Fail("%s: rows.%s is %zu x %zu, must be %zu x %zu", what, name, v.rows, v.cols, rows, l.groups);
    }
    char label[64];
    std::snprintf(label, sizeof(label), "%s: rows.%s", what, name);
    CheckMatrix(label, v, false);
  };
  check("scale", c.scale);
  if (s.scales.has_offset) check("offset", c.offset);
  const auto check_finite = [&](const char* name, const ConstMatrixView& v) {
    for (size_t row = 0; row < v.rows; ++row) {
      for (size_t g = 0; g < v.cols; ++g) {
        const float value =
            LoadFloat(v.data, v.type, static_cast<ptrdiff_t>(row) * v.row_stride + static_cast<ptrdiff_t>(g));
        if (!IsFinite(RoundTo(value, s.scales.type))) {
          Fail("%s: rows.%s at row %zu, group %zu is %g, which %s does not hold", what, name, row, g, double{value},
               NameOf(s.scales.type));
        }
      }
    }
  };
  check_finite("scale", c.scale);
  if (s.scales.has_offset) check_finite("offset", c.offset);
  CheckedSize(what, c.n, c.code_stride);
  for (size_t row = 0; row < c.n; ++row) {
    const uint8_t* codes = c.codes + row * c.code_stride;
    uint8_t most = 0;
    for (size_t k = 0; k < c.k; ++k) most = codes[k] > most ? codes[k] : most;
    if (most >= s.format.codes) {
      Fail("%s: rows.codes of row %zu hold %d, %s allows 0 ... %d", what, row, most, s.format.name.data(),
           s.format.codes - 1);
    }
  }
}

// Unit::kByteRow: eight codes at a time; the product gathers their bits, lowest k first, in its top byte.
inline void PackByteRow(const uint8_t* codes, const FormatInfo& f, size_t row, uint8_t* block) {
  uint8_t* at = block + row / 16 * 64 + row % 16;
  for (size_t k = 0; k < kBlockK; k += 8, at += 16) {
    uint64_t eight;
    std::memcpy(&eight, codes + k, 8);
    for (unsigned p = 0; p < f.bits; ++p) {
      const uint64_t bits = eight >> p & 0x0101010101010101u;
      at[size_t{128} * p] = static_cast<uint8_t>(bits * 0x0102040810204080u >> 56);
    }
  }
}
// And back: each byte keeps its own bit, then turns it into 0 or 1.
inline void UnpackByteRow(const uint8_t* block, const FormatInfo& f, size_t row, uint8_t* codes) {
  const uint8_t* at = block + row / 16 * 64 + row % 16;
  for (size_t k = 0; k < kBlockK; k += 8, at += 16) {
    uint64_t eight = 0;
    for (unsigned p = 0; p < f.bits; ++p) {
      const uint64_t own = at[size_t{128} * p] * 0x0101010101010101u & 0x8040201008040201u;
      eight |= ((own + 0x7F7F7F7F7F7F7F7Fu) >> 7 & 0x0101010101010101u) << p;
    }
    std::memcpy(codes + k, &eight, 8);
  }
}

// Unit::kTriple: 96 codes, all of them 0, 1 or 2.
inline void PackTriples(const uint8_t* codes, size_t row, uint8_t* block) {
  for (size_t t = 0; t < kTripleBlockK / 3; ++t) {
    const int number = 9 * codes[t] + 3 * codes[32 + t] + codes[64 + t] - 13;
    const unsigned index = static_cast<unsigned>(number < 0 ? -number : number);
    uint8_t* eight = block + t / 8 * 160 + row;
    uint8_t* indices = eight + 32 + t % 8 / 2 * 32;
    if (t % 8 == 0) *eight = 0;
    *eight = static_cast<uint8_t>(*eight | (number < 0 ? 1u : 0u) << (7 - t % 8));
    *indices = static_cast<uint8_t>(t % 2 == 0 ? index : *indices | index << 4);
  }
}
// And back.
inline void UnpackTriples(const uint8_t* block, size_t row, uint8_t* codes) {
  for (size_t t = 0; t < kTripleBlockK / 3; ++t) {
    const uint8_t* triple = kTripleCodes.of[TripleIn(block, row, t)];
    for (size_t i = 0; i < 3; ++i) codes[32 * i + t] = triple[i];
  }
}
// The code that padding of k has: its bits are zero.
constexpr uint8_t PaddingCode(Unit unit) { return unit == Unit::kTriple ? 1 : 0; }

// A row's codes of one block to its lanes: four codes at a time, byte by byte, as the units are drawn.
inline void PackBlockRow(const uint8_t* codes, const FormatInfo& f, Unit layout, size_t row, uint8_t* block) {
  if (layout == Unit::kByteRow) return PackByteRow(codes, f, row, block);
  if (layout == Unit::kTriple) return PackTriples(codes, row, block);
  unsigned done = 0;
  uint8_t* unit = block + row * 4;
  for (const unsigned b : f.planes) {
    if (b == 0) break;
    const uint32_t mask = ((1u << b) - 1) * 0x01010101u;
    for (size_t u = 0; u < b; ++u, unit += 128) {
      uint32_t lane = 0;
      for (unsigned shift = 0; shift < 8; shift += b, codes += 4) {
        uint32_t four;
        std::memcpy(&four, codes, 4);
        lane |= (four >> done & mask) << shift;
      }
      std::memcpy(unit, &lane, 4);
    }
    codes -= kBlockK;
    done += b;
  }
}

// And back.
inline void UnpackBlockRow(const uint8_t* block, const FormatInfo& f, Unit layout, size_t row, uint8_t* codes) {
  if (layout == Unit::kByteRow) return UnpackByteRow(block, f, row, codes);
  if (layout == Unit::kTriple) return UnpackTriples(block, row, codes);
  unsigned done = 0;
  const uint8_t* unit = block + row * 4;
  std::memset(codes, 0, kBlockK);
  for (const unsigned b : f.planes) {
    if (b == 0) break;
    const uint32_t mask = ((1u << b) - 1) * 0x01010101u;
    for (size_t u = 0; u < b; ++u, unit += 128) {
      uint32_t lane;
      std::memcpy(&lane, unit, 4);
      for (unsigned shift = 0; shift < 8; shift += b, codes += 4) {
        uint32_t four;
        std::memcpy(&four, codes, 4);
        four |= (lane >> shift & mask) << done;
        std::memcpy(codes, &four, 4);
      }
    }
    codes -= kBlockK;
    done += b;
  }
}

inline void StoreFloat(float v, std::byte* data, DType type, size_t i) {
  if (type == DType::kF32) reinterpret_cast<float*>(data)[i] = v;
  if (type == DType::kBF16) reinterpret_cast<BF16*>(data)[i] = ToBF16(v);
  if (type == DType::kF16) reinterpret_cast<F16*>(data)[i] = ToF16(v);
}

// One panel: rows first ... of `c` (fewer than 32 at the end), into blob parts of its own.
inline void PackPanel(const CodedMatrix& c, const PackSpec& s, const PackedLayout& l, size_t first, uint8_t* codes,
                      std::byte* scales, std::byte* offsets) {
  const size_t rows = c.n - first < kPanelRows ? c.n - first : kPanelRows;
  std::memset(codes, 0, l.panel_bytes);
  std::memset(scales, 0, l.scale_panel_bytes);
  if (offsets != nullptr) std::memset(offsets, 0, l.scale_panel_bytes);
  const size_t block_k = BlockKOf(s.unit), block_bytes = BlockBytesOf(s.unit, s.format);
  for (size_t block = 0; block < l.blocks; ++block) {
    const size_t segment = block / l.blocks_per_segment, k = block % l.blocks_per_segment * block_k;
    const size_t left = s.segment_k - k;
    for (size_t row = 0; row < rows; ++row) {
      const uint8_t* from = c.codes + (first + row) * c.code_stride + segment * s.segment_k + k;
      uint8_t tail[kMostBlockK];
      if (left < block_k) {
        std::memset(tail, PaddingCode(s.unit), block_k);
        std::memcpy(tail, from, left);
        from = tail;
      }
      PackBlockRow(from, s.format, s.unit, row, codes + block * block_bytes);
    }
  }
  for (size_t row = 0; row < rows; ++row) {
    const size_t scale_row = s.scales.per_tensor ? 0 : first + row;
    for (size_t g = 0; g < l.groups; ++g) {
      const auto at = [&](const ConstMatrixView& v) {
        return LoadFloat(v.data, v.type, static_cast<ptrdiff_t>(scale_row) * v.row_stride + static_cast<ptrdiff_t>(g));
      };
      StoreFloat(at(c.scale), scales, s.scales.type, g * kPanelRows + row);
      if (offsets != nullptr) StoreFloat(at(c.offset), offsets, s.scales.type, g * kPanelRows + row);
    }
  }
}

}  // namespace internal

inline Status BeginPack(const PackSpec& spec, std::span<std::byte> blob, const float* table) {
  const Status status = internal::CheckSpec(spec);
  if (!status.ok()) return Error("BeginPack: %s", status.message());
  const PackedLayout l = internal::LayoutOf(spec);
  if (blob.size() < l.bytes) return Error("BeginPack: blob has %zu bytes, the spec needs %zu", blob.size(), l.bytes);
  if (reinterpret_cast<uintptr_t>(blob.data()) % 64 != 0) {
    return Error("BeginPack: blob begins at an address that is not a multiple of 64");
  }
  if (spec.format.map == Map::kTable && table == nullptr) {
    return Error("BeginPack: table is null, format %s needs %d values", spec.format.name.data(),
                 spec.format.MaxPattern() + 1);
  }
  for (int c = 0; spec.format.map == Map::kTable && c <= spec.format.MaxPattern(); ++c) {
    if (!IsFinite(table[c])) return Error("BeginPack: table[%d] is %g, must be finite", c, double{table[c]});
  }
  std::memset(blob.data(), 0, l.bytes);
  PackedHeader h{};
  std::memcpy(h.magic, "lutrapk", 8);
  h.version = PackedHeader::kVersion;
  h.format_id = spec.format.id;
  h.bits = spec.format.bits;
  h.map = static_cast<uint8_t>(spec.format.map);
  std::memcpy(h.planes, spec.format.planes.data(), sizeof(h.planes));
  h.unit = static_cast<uint8_t>(spec.unit);
  h.zero_x2 = spec.format.zero_x2;
  h.codes = spec.format.codes;
  std::memcpy(h.name, spec.format.name.data(), sizeof(h.name));
  h.n = spec.n;
  h.segment_k = spec.segment_k;
  h.segments = spec.segments;
  h.group_k = spec.scales.group_k;
  h.super_k = spec.scales.super_k;
  h.scale_type = static_cast<uint8_t>(spec.scales.type);
  h.per_tensor = spec.scales.per_tensor;
  h.has_offset = spec.scales.has_offset;
  h.bytes = l.bytes;
  std::memcpy(blob.data(), &h, sizeof(h));
  if (spec.format.map == Map::kTable) {
    std::memcpy(blob.data() + l.table_at, table, sizeof(float) * (size_t{1} << spec.format.bits));
  }
  return {};
}

namespace internal {

// PackRows, and how many of its tasks the executor ran in this call.
inline size_t PackSome(std::span<std::byte> blob, size_t n0, const CodedMatrix& rows, Context& context) {
  PackedMatrix all;
  const Status status = PackedMatrix::Map(blob, &all);
  if (!status.ok()) Fail("PackRows: blob: %s", status.message());
  const PackSpec spec{all.format(), all.scales(), all.n(), all.segment_k(), all.segments(), all.unit()};
  const PackedLayout l = internal::LayoutOf(spec);
  if (n0 % kPanelRows != 0 || n0 > spec.n || rows.n > spec.n - n0 ||
      (rows.n % kPanelRows != 0 && n0 + rows.n != spec.n)) {
    Fail("PackRows: n0 is %zu with %zu rows; n0 must be a multiple of 32, the rows too or end at n = %zu", n0, rows.n,
         spec.n);
  }
  CheckCoded("PackRows", rows, spec, l);
  if (all.table() != nullptr && rows.table != nullptr &&
      std::memcmp(rows.table, all.table(), sizeof(float) << spec.format.bits) != 0) {
    Fail("PackRows: rows.table differs from the blob's");
  }
  struct Job {
    const CodedMatrix* rows;
    const PackSpec* spec;
    const PackedLayout* l;
    std::byte* blob;
    size_t panel0;
    mutable std::atomic<size_t> done{0};
  };
  const Job job{&rows, &spec, &l, blob.data(), n0 / kPanelRows};
  const auto task = [](const void* p, size_t i, size_t) {
    const Job& j = *static_cast<const Job*>(p);
    const PackedLayout& at = *j.l;
    const size_t panel = j.panel0 + i;
    PackPanel(*j.rows, *j.spec, at, i * kPanelRows,
              reinterpret_cast<uint8_t*>(j.blob) + at.codes_at + panel * at.panel_bytes,
              j.blob + at.scales_at + panel * at.scale_panel_bytes,
              j.spec->scales.has_offset ? j.blob + at.offsets_at + panel * at.scale_panel_bytes : nullptr);
    j.done.fetch_add(1);
  };
  context.executor().run(context.executor(), (rows.n + kPanelRows - 1) / kPanelRows, task, &job);
  return job.done.load();
}

}  // namespace internal

inline void PackRows(std::span<std::byte> blob, size_t n0, const CodedMatrix& rows, Context& context) {
  internal::PackSome(blob, n0, rows, context);
}

inline PackedBuffer Pack(const CodedMatrix& rows, Context& context, size_t segments, Unit unit) {
  if (segments == 0 || rows.k % segments != 0)
    Fail("Pack: segments is %zu, must divide rows.k = %zu", segments, rows.k);
  const PackSpec spec{rows.format, rows.scales, rows.n, rows.k / segments, segments, unit};
  PackedBuffer buffer = PackedBuffer::Allocate(PackedBytes(spec));
  const Status status = BeginPack(spec, buffer.bytes(), rows.table);
  if (!status.ok()) Fail("Pack: %s", status.message());
  const size_t panels = (rows.n + kPanelRows - 1) / kPanelRows;
  const size_t done = internal::PackSome(buffer.bytes(), 0, rows, context);
  if (done != panels) {
    Fail("Pack: context ran %zu of %zu tasks; with Share every thread would get a part of its own", done, panels);
  }
  return buffer;
}

}  // namespace LUTRA_NS

inline namespace v0 {

LUTRA_MEMBER PackedBuffer PackedBuffer::Allocate(size_t size) {
  PackedBuffer buffer;
  if (size >= internal::kTooManyBytes) Fail("PackedBuffer: no memory for %zu bytes", size);
  const size_t whole = (size + 63) / 64 * 64;
  buffer.data_ = static_cast<std::byte*>(std::aligned_alloc(64, whole == 0 ? 64 : whole));
  if (buffer.data_ == nullptr) Fail("PackedBuffer: no memory for %zu bytes", size);
  buffer.size_ = size;
  return buffer;
}

LUTRA_MEMBER PackedMatrix PackedBuffer::matrix() const {
  PackedMatrix m;
  if (size_ == 0) return m;
  const Status status = PackedMatrix::Map(bytes(), &m);
  if (!status.ok()) Fail("PackedBuffer: %s", status.message());
  return m;
}

LUTRA_MEMBER Status PackedMatrix::Map(std::span<const std::byte> blob, PackedMatrix* out) {
  PackedHeader h;
  if (blob.size() < sizeof(h))
    return Error("Map: the blob has %zu bytes, its header alone has %zu", blob.size(), sizeof(h));
  std::memcpy(&h, blob.data(), sizeof(h));
  PackSpec spec;
  const Status status = internal::SpecOf(h, &spec);
  if (!status.ok()) return status;
  const PackedLayout l = internal::LayoutOf(spec);
  if (h.bytes != l.bytes || blob.size() < l.bytes) {
    return Error("Map: the blob has %zu bytes and says %llu, its shape needs %zu", blob.size(),
                 static_cast<unsigned long long>(h.bytes), l.bytes);
  }
  if (reinterpret_cast<uintptr_t>(blob.data()) % 64 != 0) {
    return Error("Map: the blob begins at an address that is not a multiple of 64");
  }
  PackedMatrix m;
  m.format_ = spec.format;
  m.scales_ = spec.scales;
  m.unit_ = spec.unit;
  m.n_ = spec.n;
  m.segment_k_ = spec.segment_k;
  m.segments_ = spec.segments;
  m.groups_per_segment_ = l.groups_per_segment;
  m.panel_bytes_ = l.panel_bytes;
  m.scale_panel_bytes_ = l.scale_panel_bytes;
  m.codes_ = reinterpret_cast<const uint8_t*>(blob.data()) + l.codes_at;
  m.scale_ = blob.data() + l.scales_at;
  m.offset_ = spec.scales.has_offset ? blob.data() + l.offsets_at : nullptr;
  m.table_ = spec.format.map == lutra::Map::kTable ? reinterpret_cast<const float*>(blob.data() + l.table_at) : nullptr;
  *out = m;
  return {};
}

LUTRA_MEMBER unsigned PackedMatrix::Code(size_t row, size_t k) const {
  const size_t block = k / segment_k_ * blocks_per_segment() + k % segment_k_ / block_k();
  return internal::CodeIn(Codes(row / kPanelRows) + block * block_bytes(), format_, unit_, row % kPanelRows,
                          k % segment_k_ % block_k());
}
LUTRA_MEMBER float PackedMatrix::ScaleOf(size_t row, size_t group) const {
  return LoadFloat(PanelScales(row / kPanelRows), scales_.type,
                   static_cast<ptrdiff_t>(group * kPanelRows + row % kPanelRows));
}
LUTRA_MEMBER float PackedMatrix::OffsetOf(size_t row, size_t group) const {
  if (offset_ == nullptr) return 0.0f;
  return LoadFloat(PanelOffsets(row / kPanelRows), scales_.type,
                   static_cast<ptrdiff_t>(group * kPanelRows + row % kPanelRows));
}

}  // namespace v0

inline namespace LUTRA_NS { namespace internal {

// The value of a code before scales.
inline float ValueOf(const FormatInfo& f, const float* table, unsigned code) {
  return f.map == Map::kTable ? table[code] : static_cast<float>(2 * static_cast<int>(code) - f.zero_x2) * 0.5f;
}
// The group of scales that belongs to k.
inline size_t GroupOf(const PackedMatrix& w, size_t k) {
  const size_t group_k = w.scales().group_k;
  return group_k == 0 ? 0 : k / w.segment_k() * w.groups_per_segment() + k % w.segment_k() / group_k;
}

inline void DecodeRowOf(const PackedMatrix& w, size_t row, float* out) {
  if (row >= w.n()) Fail("DecodeRow: row is %zu, the matrix has %zu", row, w.n());
  const size_t group_k = w.scales().group_k == 0 ? kBlockK : w.scales().group_k;  // any will do for whole rows
  const size_t block_k = w.block_k();
  for (size_t segment = 0; segment < (w.segment_k() == 0 ? 0 : w.segments()); ++segment) {
    const uint8_t* block = w.Codes(row / kPanelRows) + segment * w.blocks_per_segment() * w.block_bytes();
    float scale = 0.0f, offset = 0.0f;
    uint8_t codes[kMostBlockK];
    for (size_t k = 0, next_group = 0; k < w.segment_k(); ++k) {
      if (k == next_group) {
        const size_t group = GroupOf(w, segment * w.segment_k() + k);
        scale = w.ScaleOf(row, group);
        offset = w.OffsetOf(row, group);
        next_group += group_k;
      }
      if (k % block_k == 0) {
        UnpackBlockRow(block, w.format(), w.unit(), row % kPanelRows, codes);
        block += w.block_bytes();
      }
      const float scaled = ValueOf(w.format(), w.table(), codes[k % block_k]) * scale;
      *out++ = w.scales().has_offset ? scaled + offset : scaled;
    }
  }
}

inline Status VerifyTable(const PackedMatrix& w) {
  const size_t values = size_t{1} << w.format().bits;
  for (size_t c = 0; c < values; ++c) {
    if (!IsFinite(w.table()[c])) return Error("Verify: table[%zu] is not finite", c);
  }
  for (size_t c = values; c % 16 != 0; ++c) {  // up to the next multiple of 64 bytes
    if (std::bit_cast<uint32_t>(w.table()[c]) != 0) return Error("Verify: the padding of the table is not zero");
  }
  return {};
}
inline Status VerifyScales(const PackedMatrix& w, size_t panel) {
  for (size_t g = 0; g < w.groups(); ++g) {
    for (size_t row = panel * kPanelRows; row < (panel + 1) * kPanelRows; ++row) {
      const float scale = w.ScaleOf(row, g), offset = w.OffsetOf(row, g);
      if (!IsFinite(scale) || !IsFinite(offset))
        return Error("Verify: scale or offset of row %zu, group %zu is not finite", row, g);
      if (row >= w.n() && (scale != 0.0f || offset != 0.0f)) return Error("Verify: padding row %zu has a scale", row);
      if (row < w.n() && w.scales().per_tensor && (scale != w.ScaleOf(0, g) || offset != w.OffsetOf(0, g))) {
        return Error("Verify: scale or offset of row %zu differs from row 0, the format has one per tensor", row);
      }
    }
  }
  return {};
}
// Whether each of a row's triples in a block is one: of segment `segment`, from k0.
inline Status VerifyTriples(const uint8_t* block, size_t row, size_t all_row, size_t segment, size_t k0) {
  for (size_t t = 0; t < kTripleBlockK / 3; ++t) {
    const unsigned triple = TripleIn(block, row, t), index = triple & 15u;
    if (index > 13 || triple == 16) {
      return Error("Verify: triple of row %zu, segment %zu, k %zu has index %u, allowed are 0 ... 13 and no sign at 0",
                   all_row, segment, k0 + t, index);
    }
  }
  return {};
}
inline Status VerifyBlock(const PackedMatrix& w, size_t panel, size_t segment, size_t k0) {
  const FormatInfo& f = w.format();
  const size_t rows = w.n() - panel * kPanelRows, columns = w.segment_k() - k0, block_k = w.block_k();
  if (f.codes == f.MaxPattern() + 1 && rows >= kPanelRows && columns >= block_k) return {};  // any bits will do
  const uint8_t* block = w.Codes(panel) + (segment * w.blocks_per_segment() + k0 / block_k) * w.block_bytes();
  const uint8_t padding = PaddingCode(w.unit());
  for (size_t row = 0; row < kPanelRows; ++row) {
    if (w.unit() == Unit::kTriple) {
      const Status status = VerifyTriples(block, row, panel * kPanelRows + row, segment, k0);
      if (!status.ok()) return status;
    }
    uint8_t codes[kMostBlockK], most = 0;
    UnpackBlockRow(block, f, w.unit(), row, codes);
    for (size_t k = 0; k < block_k; ++k) most = codes[k] > most ? codes[k] : most;
    if (most == 0 && padding == 0) continue;
    if (most < f.codes && row < rows && columns >= block_k) continue;
    for (size_t k = 0; k < block_k; ++k) {
      const unsigned code = codes[k];
      if (row >= rows || k >= columns) {
        if (code == padding) continue;
        return Error("Verify: padding at row %zu, segment %zu, k %zu holds code %u", panel * kPanelRows + row, segment,
                     k0 + k, code);
      }
      if (code >= f.codes) {
        return Error("Verify: code of row %zu, segment %zu, k %zu is %u, %s allows 0 ... %d", panel * kPanelRows + row,
                     segment, k0 + k, code, f.name.data(), f.codes - 1);
      }
    }
  }
  return {};
}

// Its time is bounded by the bytes it reads: shapes without any are not looped over.
inline Status VerifyPacked(const PackedMatrix& w) {
  Status status = w.format().map == Map::kTable && w.table() != nullptr ? VerifyTable(w) : Status();
  const size_t panels = w.groups() == 0 ? 0 : w.panels(), segments = w.segment_k() == 0 ? 0 : w.segments();
  for (size_t panel = 0; panel < panels && status.ok(); ++panel) {
    status = VerifyScales(w, panel);
    for (size_t segment = 0; segment < segments; ++segment) {
      for (size_t k = 0; k < w.segment_k() && status.ok(); k += w.block_k()) {
        status = VerifyBlock(w, panel, segment, k);
      }
    }
  }
  return status;
}

}}  // namespace LUTRA_NS::internal

inline namespace v0 {

LUTRA_MEMBER void PackedMatrix::DecodeRow(size_t row, float* out) const { internal::DecodeRowOf(*this, row, out); }
LUTRA_MEMBER Status PackedMatrix::Verify() const { return internal::VerifyPacked(*this); }

LUTRA_MEMBER PackedMatrix PackedMatrix::Rows(size_t begin, size_t end) const {
  if (begin > end || end > n_ || begin % kPanelRows != 0 || (end % kPanelRows != 0 && end != n_)) {
    Fail("Rows: [%zu, %zu) must begin and end at multiples of 32 (or at n = %zu)", begin, end, n_);
  }
  PackedMatrix m = *this;
  m.n_ = end - begin;
  m.codes_ += begin / kPanelRows * panel_bytes_;
  m.scale_ += begin / kPanelRows * scale_panel_bytes_;
  if (m.offset_ != nullptr) m.offset_ += begin / kPanelRows * scale_panel_bytes_;
  return m;
}

LUTRA_MEMBER PackedMatrix PackedMatrix::Ks(size_t begin, size_t end) const {
  const size_t group = scales_.group_k;
  const bool whole = segments_ > 1;
  const auto fits = [&](size_t v) {
    return whole ? segment_k_ == 0 || v % segment_k_ == 0 : v % block_k() == 0 && (group == 0 || v % group == 0);
  };
  if (begin > end || end > k() || !fits(begin) || (end != k() && !fits(end))) {
    Fail("Ks: [%zu, %zu) must begin and end at multiples of %s (or at k = %zu)", begin, end,
         whole                    ? "segment_k"
         : unit_ == Unit::kTriple ? "96 and of group_k"
                                  : "32 and of group_k",
         k());
  }
  PackedMatrix m = *this;
  const size_t segment = segment_k_ == 0 ? 0 : begin / segment_k_;
  m.codes_ += (whole ? segment * blocks_per_segment() : begin / block_k()) * block_bytes();
  const size_t first_group = group == 0 ? 0 : whole ? segment * groups_per_segment_ : begin / group;
  const size_t skip = first_group * kPanelRows * SizeOf(scales_.type);
  m.scale_ += skip;
  if (m.offset_ != nullptr) m.offset_ += skip;
  if (whole) {
    if (segment_k_ != 0) m.segments_ = (end - begin) / segment_k_;
  } else {
    m.segment_k_ = end - begin;
    if (group != 0) m.groups_per_segment_ = (m.segment_k_ + group - 1) / group;
  }
  return m;
}

}  // namespace v0
}  // namespace lutra
LUTRA_EXACT_END
