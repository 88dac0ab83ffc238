// Memory shared by copies: what kernels and plans own. std::shared_ptr would do, but its out-of-line functions could be
// merged with those of a unit built for another CPU.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

#include "lutra/core/status.h"

namespace lutra { inline namespace v0 {

class SharedBytes {
 public:
  LUTRA_MEMBER SharedBytes() = default;
  // Zeroed, aligned to 64 bytes.
  LUTRA_MEMBER explicit SharedBytes(size_t bytes) {
    const size_t total = kHeader + (bytes + 63) / 64 * 64;
    void* const p = std::aligned_alloc(64, total);
    if (p == nullptr) Fail("lutra: no memory for %zu bytes", bytes);
    __builtin_memset(p, 0, total);
    head_ = new (p) Head{1, bytes};
  }
  LUTRA_MEMBER SharedBytes(const SharedBytes& other) : head_(other.head_) {
    if (head_ != nullptr) head_->owners.fetch_add(1, std::memory_order_relaxed);
  }
  LUTRA_MEMBER SharedBytes(SharedBytes&& other) noexcept : head_(other.head_) { other.head_ = nullptr; }
  LUTRA_MEMBER SharedBytes& operator=(SharedBytes other) noexcept {
    Head* const mine = head_;
    head_ = other.head_;
    other.head_ = mine;
    return *this;
  }
  LUTRA_MEMBER ~SharedBytes() {
    if (head_ != nullptr && head_->owners.fetch_sub(1, std::memory_order_acq_rel) == 1) std::free(head_);
  }

  LUTRA_MEMBER void* data() const { return head_ == nullptr ? nullptr : reinterpret_cast<char*>(head_) + kHeader; }
  LUTRA_MEMBER size_t bytes() const { return head_ == nullptr ? 0 : head_->bytes; }

 private:
  struct Head {
    std::atomic<size_t> owners;
    size_t bytes;
  };
  static constexpr size_t kHeader = 64;
  static_assert(sizeof(Head) <= kHeader);
  Head* head_ = nullptr;
};

}}  // namespace lutra::v0
