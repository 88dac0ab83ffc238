// Definitions of lutra/weights/packed.h: what packs.
#pragma once
#include <atomic>

#include "lutra/weights/packed.h"

LUTRA_EXACT_BEGIN
namespace lutra {
inline namespace LUTRA_NS {
namespace internal {

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

}  // namespace v0
}  // namespace lutra
LUTRA_EXACT_END
