// Scratch of just the bytes that an op says it needs, although every Context has more.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstring>

#include "lutra/core/context.h"

#if defined(__SANITIZE_ADDRESS__)
#define LUTRA_TEST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LUTRA_TEST_ASAN 1
#endif
#endif
#ifdef LUTRA_TEST_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace lutra { namespace testing {

// While it lives, the first worker's scratch behind its first `bytes`: what is written there shows in Kept(), and ASan
// stops what reads or writes there.
class OnlyScratch {
 public:
  OnlyScratch(Context& context, size_t bytes)
      : behind_(context.scratch(0) + bytes), size_(context.scratch_per_worker() - bytes) {
    std::memset(behind_, kCanary, Watched());
    Guard(true);
  }
  ~OnlyScratch() { Guard(false); }
  OnlyScratch(const OnlyScratch&) = delete;
  OnlyScratch& operator=(const OnlyScratch&) = delete;

  bool Kept() const {
    Guard(false);
    return std::all_of(behind_, behind_ + Watched(), [](std::byte b) { return b == std::byte{kCanary}; });
  }

 private:
  static constexpr unsigned char kCanary = 0xA5;
  size_t Watched() const { return std::min(size_, size_t{64} << 10); }
  void Guard([[maybe_unused]] bool on) const {
#ifdef LUTRA_TEST_ASAN
    on ? ASAN_POISON_MEMORY_REGION(behind_, size_) : ASAN_UNPOISON_MEMORY_REGION(behind_, size_);
#endif
  }

  std::byte* behind_;
  size_t size_;
};

}}  // namespace lutra::testing
