// Definitions of lutra/weights/packed.h: what reads a packed matrix, and trusts nothing in it.
#pragma once
#include "lutra/weights/packed.h"

LUTRA_EXACT_BEGIN
namespace lutra {
inline namespace LUTRA_NS { namespace internal {

// Unit::kByteRow: each byte keeps its own bit, then turns it into 0 or 1.
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

// Unit::kTriple.
inline void UnpackTriples(const uint8_t* block, size_t row, uint8_t* codes) {
  for (size_t t = 0; t < kTripleBlockK / 3; ++t) {
    const uint8_t* triple = kTripleCodes.of[TripleIn(block, row, t)];
    for (size_t i = 0; i < 3; ++i) codes[32 * i + t] = triple[i];
  }
}
// A row's codes of one block from its lanes.
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

}}  // namespace LUTRA_NS::internal

inline namespace v0 {

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
