// What each unit of these programs does: both ops on every target it has, against their definitions, and a hash of all
// outputs. All values are small integers, so results are exact and the hash is the same in every unit, mode, target.
// Internal linkage throughout: units have different flags.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "lutra/depthwise.h"
#include "lutra/gemm.h"
#include "lutra/targets.h"
#include "lutra/weights/pack.h"
#include "report.h"

namespace {

class Checker {
 public:
  explicit Checker(lutra::Context& context) : context_(context) {}

  // x * w^T for ternary weights, M from a single row to more than a tile, K around the length that 16-bit sums hold.
  void Gemm(size_t m, size_t n, size_t k) {
    std::vector<float> x(m * k), y(m * n, -77.0f);
    std::vector<uint8_t> codes(n * k);
    for (float& v : x) v = static_cast<float>(static_cast<int>(Random() % 255) - 127);
    for (size_t i = 0; i < m && k > 0; ++i) x[i * k] = 127.0f;  // the scale of every row is 1
    for (uint8_t& c : codes) c = static_cast<uint8_t>(Random() % 3);
    const float one = 1.0f;
    lutra::CodedMatrix coded;
    coded.format = lutra::Ternary::info;
    coded.scales.per_tensor = true;
    coded.n = n;
    coded.k = k;
    coded.codes = codes.data();
    coded.code_stride = k;
    coded.scale = lutra::View(&one, 1, 1);
    const lutra::PackedBuffer w = lutra::Pack(coded, context_);
    lutra::ActivationBuffer xq;
    xq.Quantize(lutra::View(x.data(), m, k), context_);
    lutra::Gemm<lutra::Ternary>(xq, w, lutra::View(y.data(), m, n), context_);
    Ran("Gemm");
    for (size_t i = 0; i < m * n; ++i) {
      float want = 0.0f;
      for (size_t j = 0; j < k; ++j) want += x[i / n * k + j] * static_cast<float>(codes[i % n * k + j] - 1);
      Compare("Gemm", y[i], want);
    }
  }

  // A k x k convolution of an image with odd sizes, zero padding.
  void Depthwise(size_t k, size_t h, size_t w, size_t c) {
    std::vector<float> in(h * w * c), taps(k * k * c), out(h * w * c, -77.0f);
    for (float& v : in) v = static_cast<float>(Random() % 16);
    for (float& v : taps) v = static_cast<float>(static_cast<int>(Random() % 16) - 8);
    const lutra::DepthwiseKernel kernel(lutra::Nhwc(taps.data(), 1, k, k, c));
    const lutra::DepthwisePlan plan(kernel, h, w, lutra::Layout::kNhwc, lutra::ConvAlgo::kDirect);
    lutra::DepthwiseConv2d(plan, lutra::Nhwc(in.data(), 1, h, w, c), lutra::Nhwc(out.data(), 1, h, w, c), context_);
    Ran("DepthwiseConv2d");
    for (size_t i = 0; i < out.size(); ++i) {
      const size_t channel = i % c, col = i / c % w, row = i / c / w;
      float want = 0.0f;
      for (size_t tap = 0; tap < k * k; ++tap) {
        const size_t y = row + tap / k - k / 2, x = col + tap % k - k / 2;  // wraps to huge left of and above 0
        if (y < h && x < w) want += taps[tap * c + channel] * in[(y * w + x) * c + channel];
      }
      Compare("DepthwiseConv2d", out[i], want);
    }
  }

  int bad() const { return bad_; }
  uint64_t hash() const { return hash_; }

 private:
  uint32_t Random() { return (state_ = state_ * 1664525u + 1013904223u) >> 8; }
  void Ran(const char* op) {
    if (context_.target() == 0 || context_.last_target() == context_.target()) return;
    Report(op, "ran on another target");
  }
  void Compare(const char* op, float got, float want) {
    uint32_t bits;
    std::memcpy(&bits, &got, sizeof(bits));
    hash_ = (hash_ ^ bits) * 0x100000001B3u;  // FNV-1a by words
    if (!(got == want)) Report(op, "has a wrong output");
  }
  void Report(const char* op, const char* what) {
    if (bad_++ == 0) std::printf("%s on %s: %s\n", op, lutra::TargetName(context_.target()), what);
  }

  lutra::Context& context_;
  uint32_t state_ = 1;
  uint64_t hash_ = 0xCBF29CE484222325u;
  int bad_ = 0;
};

// Both ops with the context's executor and target.
[[maybe_unused]] Checker CheckOps(lutra::Context& context) {
  constexpr size_t kRows[] = {1, 2, 5}, kLengths[] = {1, 255, 256, 257, 1000}, kTaps[] = {1, 3, 7};
  Checker check(context);
  for (const size_t m : kRows) {
    for (const size_t k : kLengths) check.Gemm(m, 37, k);
  }
  for (const size_t k : kTaps) check.Depthwise(k, 9, 11, 19);
  return check;
}

[[maybe_unused]] UnitReport CheckUnit() {
  UnitReport report;
  const lutra::TargetList targets = lutra::Targets();
  report.best = targets.size == 0 ? "none" : targets.begin()->name;
  report.bad += targets.size == 0;
  for (const lutra::Target& target : targets) {
    lutra::Context context;
    report.bad += !lutra::ForceTarget(context, target.name).ok();
    const Checker check = CheckOps(context);
    if (report.targets++ != 0 && check.hash() != report.hash) {
      std::printf("%s differs from %s\n", target.name, report.best);
      ++report.bad;
    }
    report.hash = check.hash();
    report.bad += check.bad();
  }
  return report;
}

}  // namespace
