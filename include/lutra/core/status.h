// Errors. Bad data (files, blobs) is returned as a Status. A caller's mistake goes through Fail(), before anything is
// written. Messages name the argument, its value and what is allowed.
#pragma once
#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#if defined(__cpp_exceptions)
#include <stdexcept>
#endif

#include "lutra/core/version.h"

namespace lutra { inline namespace v0 {

// The outcome of reading data that lutra did not make. Holds its message itself: no allocation.
class [[nodiscard]] Status {
 public:
  Status() = default;  // success
  LUTRA_MEMBER bool ok() const { return message_[0] == '\0'; }
  // Empty on success. Valid as long as this Status.
  LUTRA_MEMBER const char* message() const { return message_; }
  // For code that makes a Status: at least `kCapacity` bytes, zero-terminated.
  LUTRA_MEMBER char* buffer() { return message_; }
  static constexpr int kCapacity = 256;

 private:
  char message_[kCapacity] = {};
};

// Called with the message of a caller's mistake. May throw, longjmp or abort. If it returns, lutra throws
// std::invalid_argument where the unit has exceptions and aborts where it has none.
using FailHandler = void (*)(const char* message);

namespace detail {
inline std::atomic<FailHandler> g_fail_handler{nullptr};
}

}}  // namespace lutra::v0

namespace lutra { inline namespace LUTRA_NS {

// Replaces the handler of the whole process, nullptr restores the default. Thread-safe. Returns the previous one.
inline FailHandler SetFailHandler(FailHandler handler) { return detail::g_fail_handler.exchange(handler); }

// A failed Status with a printf-style message, cut to Status::kCapacity.
[[gnu::format(printf, 1, 2)]] inline Status Error(const char* format, ...) {
  Status status;
  va_list args;
  va_start(args, format);
  std::vsnprintf(status.buffer(), static_cast<size_t>(Status::kCapacity), format, args);
  va_end(args);
  if (status.ok()) {
    std::snprintf(status.buffer(), static_cast<size_t>(Status::kCapacity), "lutra: unknown error");
  }
  return status;
}

namespace internal {

// Appends to the zero-terminated `text`, cut to `capacity`.
[[gnu::format(printf, 3, 4)]] inline void Append(char* text, size_t capacity, const char* format, ...) {
  const size_t used = std::strlen(text);
  va_list args;
  va_start(args, format);
  std::vsnprintf(text + used, capacity - used, format, args);
  va_end(args);
}

}  // namespace internal

// Reports a caller's mistake; see FailHandler.
[[noreturn, gnu::cold, gnu::noinline, gnu::format(printf, 1, 2)]] inline void Fail(const char* format, ...) {
  char message[512];
  va_list args;
  va_start(args, format);
  std::vsnprintf(message, sizeof(message), format, args);
  va_end(args);
  if (const FailHandler handler = detail::g_fail_handler.load()) handler(message);
#if defined(__cpp_exceptions)
  throw std::invalid_argument(message);
#else
  std::fprintf(stderr, "lutra: %s\n", message);
  std::abort();
#endif
}

}}  // namespace lutra::LUTRA_NS
