// Arbitrary bytes as a packed blob, in memory that ends where they end: Map, Verify, Rows, Ks and DecodeRow stay
// inside, and DecodeRow gives what Code, ScaleOf and OffsetOf give.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "lutra/weights/packed.h"

namespace {

void Require(bool ok) {
  if (!ok) std::abort();
}

void ReadRow(const lutra::PackedMatrix& w, size_t row) {
  std::vector<float> out(w.k());
  w.DecodeRow(row, out.data());
  for (size_t k = 0; k < w.k(); k += 1 + k / 4) {
    const size_t group = lutra::internal::GroupOf(w, k);
    float value = lutra::internal::ValueOf(w.format(), w.table(), w.Code(row, k)) * w.ScaleOf(row, group);
    if (w.scales().has_offset) value = value + w.OffsetOf(row, group);
    Require(std::memcmp(&value, &out[k], sizeof(value)) == 0 || (std::isnan(value) && std::isnan(out[k])));
  }
}

void Read(const lutra::PackedMatrix& w) {
  (void)w.Verify().ok();
  if (w.n() == 0 || w.k() > size_t{1} << 20) return;
  for (size_t row = 0; row < w.n() && row < 40; ++row) ReadRow(w, row);
  ReadRow(w, w.n() - 1);
}

void Run(const uint8_t* data, size_t size, bool repair) {
  void* memory = nullptr;
  Require(posix_memalign(&memory, 64, size == 0 ? 1 : size) == 0);
  if (size != 0) std::memcpy(memory, data, size);
  if (repair && size >= sizeof(lutra::PackedHeader)) {
    // What no fuzzer guesses: the name of the format and the size that belongs to the shape.
    lutra::PackedHeader h;
    std::memcpy(&h, memory, sizeof(h));
    std::memcpy(h.magic, "lutrapk", 8);
    h.version = lutra::PackedHeader::kVersion;
    h.n %= 128;
    h.segment_k %= 1024;
    h.segments %= 16;
    h.super_k = h.reserved = 0;
    h.super_type = 0;
    h.format_id |= 0x8000;
    std::memset(h.name, 0, sizeof(h.name));
    std::memset(h.transform, 0, sizeof(h.transform));
    h.bytes = 0;
    lutra::PackSpec spec;
    if (lutra::internal::SpecOf(h, &spec).ok()) h.bytes = lutra::internal::LayoutOf(spec).bytes;
    std::memcpy(memory, &h, sizeof(h));
  }
  lutra::PackedMatrix w;
  if (lutra::PackedMatrix::Map({static_cast<const std::byte*>(memory), size}, &w).ok()) {
    Read(w);
    if (w.n() > 32) Read(w.Rows(32, w.n()));
    const size_t group = w.scales().group_k == 0 ? 1 : w.scales().group_k;
    if (w.segments() > 1) {
      Read(w.Ks(w.segment_k(), w.k()));
    } else if (w.block_k() * group < w.k()) {
      Read(w.Ks(w.block_k() * group, w.k()));
    }
  }
  std::free(memory);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Run(data, size, /*repair=*/false);
  Run(data, size, /*repair=*/true);
  return 0;
}
