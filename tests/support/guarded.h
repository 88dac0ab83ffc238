// Memory that faults where code strays: data that ends at an inaccessible page, or begins right after one.
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace lutra { namespace testing {

enum class Edge { kEnd, kBegin };  // which side of the data touches the inaccessible page

// `bytes` bytes filled with a canary. The byte past the end (kEnd) or before the begin (kBegin) faults; the other side
// is checked by CanariesIntact(). Any size, also 0. With kEnd the data is as aligned as its size.
class GuardedBytes {
 public:
  static constexpr unsigned char kCanary = 0xA5;

  explicit GuardedBytes(size_t bytes, Edge edge = Edge::kEnd) : bytes_(bytes) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    usable_ = (bytes + page - 1) / page * page + (bytes % page == 0 ? page : 0);  // at least one byte for canaries
    mapped_ = usable_ + 2 * page;
    void* const p = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) std::abort();
    base_ = static_cast<unsigned char*>(p);
    inside_ = base_ + page;
    if (mprotect(inside_, usable_, PROT_READ | PROT_WRITE) != 0) std::abort();
    std::memset(inside_, kCanary, usable_);
    data_ = edge == Edge::kEnd ? inside_ + usable_ - bytes : inside_;
  }
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;
  ~GuardedBytes() { munmap(base_, mapped_); }

  unsigned char* data() const { return data_; }
  size_t size() const { return bytes_; }
  bool CanariesIntact() const {
    for (const unsigned char* p = inside_; p != inside_ + usable_; ++p) {
      if ((p < data_ || p >= data_ + bytes_) && *p != kCanary) return false;
    }
    return true;
  }

 private:
  size_t bytes_, usable_ = 0, mapped_ = 0;
  unsigned char *base_ = nullptr, *inside_ = nullptr, *data_ = nullptr;
};

// `count` elements of T in guarded memory.
template <class T>
class GuardedBuffer {
 public:
  explicit GuardedBuffer(size_t count, Edge edge = Edge::kEnd) : bytes_(count * sizeof(T), edge) {}
  T* data() const { return reinterpret_cast<T*>(bytes_.data()); }
  size_t size() const { return bytes_.size() / sizeof(T); }
  T& operator[](size_t i) const { return data()[i]; }
  T* begin() const { return data(); }
  T* end() const { return data() + size(); }
  bool CanariesIntact() const { return bytes_.CanariesIntact(); }
  void FillCanary() const { std::memset(bytes_.data(), GuardedBytes::kCanary, bytes_.size()); }

 private:
  GuardedBytes bytes_;
};

}}  // namespace lutra::testing
