// Sums as large as they get, by every integer algorithm that takes the call: long K, constant activations, weights
// beyond 2^31 codes. The wanted numbers are products, worked out here.
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "lutra/weights/quantize.h"
#include "support/gemm_compare.h"

namespace lutra { namespace testing { namespace {

// Algorithms that make integer sums and accept the call on this target.
std::vector<GemmAlgo> IntegerAlgos(GemmCall call, const Context& context) {
  std::vector<GemmAlgo> algos;
  for (size_t i = 1; i < std::size(internal::kGemmAlgoNames); ++i) {
    call.algo = static_cast<GemmAlgo>(i);
    if (call.algo == GemmAlgo::kTile || call.algo == GemmAlgo::kByteTable) continue;  // floats; rounded
    if (Explain<>(call, context).algo == call.algo) algos.push_back(call.algo);
  }
  return algos;
}

class Extremes : public ::testing::TestWithParam<FormatInfo> {};
INSTANTIATE_TEST_SUITE_P(All, Extremes, ::testing::ValuesIn(kFormats),
                         [](const auto& test) { return std::string(test.param.name.data()); });

// Four kinds of rows on each side: all low, all high, and the two in turn, so that some sums have no term that is not
// the largest.
constexpr size_t kKinds = 4;
template <class T>
T Entry(size_t kind, size_t k, T low, T high) {
  return kind < 2 ? (kind == 0 ? low : high) : (kind + k) % 2 == 0 ? low : high;
}

TEST_P(Extremes, SumsOfLongRowsAreExact) {
  const FormatInfo& f = GetParam();
  const bool integer = f.zero_x2 % 2 == 0;
  Context serial;
  for (const size_t k : Sizes{4096, 6912, 65536}) {
    for (const size_t group : Sizes{0, 128}) {
      const size_t groups = group == 0 ? 1 : k / group;
      std::vector<uint8_t> codes(kKinds * k);
      std::vector<int8_t> x(kKinds * k);
      for (size_t r = 0; r < kKinds; ++r) {
        for (size_t i = 0; i < k; ++i) {
          codes[r * k + i] = Entry<uint8_t>(r, i, 0, static_cast<uint8_t>(f.codes - 1));
          x[r * k + i] = Entry<int8_t>(r, i, -128, 127);
        }
      }
      const std::vector<float> ones(kKinds * groups, 1.0f);
      CodedMatrix coded;
      coded.format = f;
      coded.scales.group_k = group;
      coded.n = kKinds;
      coded.k = k;
      coded.codes = codes.data();
      coded.code_stride = k;
      coded.scale = View(ones.data(), kKinds, groups);
      std::vector<PackedBuffer> packed;
      packed.push_back(Pack(coded, serial));
      packed.push_back(Pack(coded, serial, 1, Unit::kByteRow));
      if (internal::IsTernary(f)) packed.push_back(Pack(coded, serial, 1, Unit::kTriple));
      std::vector<std::byte> memory(ActivationBytes(kKinds, k));
      const Activations xq = ImportInt8(View(x.data(), kKinds, k), {ones.data(), kKinds}, memory, serial);

      float wanted[kKinds * kKinds];
      int32_t wanted_sums[kKinds * kKinds];
      for (size_t m = 0; m < kKinds; ++m) {
        for (size_t n = 0; n < kKinds; ++n) {
          int64_t all = 0, span = 0;
          float sum = 0;  // spans ascending, each rounded to float: docs/numerics.md
          for (size_t i = 0; i < k; ++i) {
            span += x[m * k + i] * (2 * codes[n * k + i] - f.zero_x2);
            if ((i + 1) % (k / groups) != 0) continue;
            sum += static_cast<float>(span) * 0.5f;
            all += span;
            span = 0;
          }
          wanted[m * kKinds + n] = sum;
          wanted_sums[m * kKinds + n] = static_cast<int32_t>(all / 2);
        }
      }
      for (const std::string& target : TargetNames()) {
        TargetContext context(target);
        for (const PackedBuffer& w : packed) {
          float y[kKinds * kKinds];
          int32_t sums[kKinds * kKinds];
          GemmCall call;
          call.xq = &xq;
          call.w = w;
          call.y = View(y, kKinds, kKinds);
          const std::vector<GemmAlgo> algos = IntegerAlgos(call, context);
          ASSERT_GE(algos.size(), call.w.unit() == Unit::kTriple && group != 0 ? 1u : 2u);
          for (const GemmAlgo algo : algos) {
            const std::string where = target + ' ' + NameOfAlgo(algo) + " K " + std::to_string(k);
            call.algo = algo;
            call.y = View(y, kKinds, kKinds);
            std::fill(std::begin(y), std::end(y), std::nanf(""));
            Gemm<>(std::span<const GemmCall>(&call, 1), context);
            context.Check();
            for (size_t i = 0; i < std::size(y); ++i) {
              ASSERT_EQ(y[i], wanted[i]) << where << " group " << group << " y " << i;
            }
            if (!integer) continue;
            call.y = View(sums, kKinds, kKinds);
            std::fill(std::begin(sums), std::end(sums), -1);
            Gemm<>(std::span<const GemmCall>(&call, 1), context);
            for (size_t i = 0; i < std::size(y); ++i) ASSERT_EQ(sums[i], wanted_sums[i]) << where << " i32 " << i;
          }
        }
      }
    }
  }
}

// Constant activations by constant weights, quantised by the library: 16-bit sums of a whole row would wrap.
TEST(ConstantActivations, KeepEveryOutput) {
  constexpr size_t kM = 2, kN = 5;
  Context serial;
  for (const size_t k : Sizes{4096, 6912}) {
    for (const float value : {0.37f, -0.37f}) {
      const std::vector<float> w(kN * k, 0.02f), x(kM * k, value);
      const PackedBuffer packed = QuantizeWeights<Ternary>(View(w.data(), kN, k), {}, Fit::kAbsMean, serial);
      for (const std::string& target : TargetNames()) {
        TargetContext context(target);
        ActivationBuffer buffer;
        const Activations& xq = buffer.Quantize(View(x.data(), kM, k), context);
        std::vector<float> y(kM * kN);
        GemmCall call;
        call.xq = &xq;
        call.w = packed;
        call.y = View(y.data(), kM, kN);
        for (const GemmAlgo algo : IntegerAlgos(call, context)) {
          call.algo = algo;
          std::fill(y.begin(), y.end(), 0.0f);
          Gemm<>(std::span<const GemmCall>(&call, 1), context);
          context.Check();
          const double want = static_cast<double>(k) * double{value} * double{0.02f};
          for (const float v : y) {
            EXPECT_NEAR(static_cast<double>(v), want, 1e-5 * std::fabs(want)) << target << ' ' << NameOfAlgo(algo);
          }
        }
      }
    }
  }
}

size_t AvailableMiB() {
  std::ifstream info("/proc/meminfo");
  std::string word;
  size_t kib = 0;
  while (info >> word) {
    if (word == "MemAvailable:" && info >> kib) return kib / 1024;
  }
  return 0;
}

// Panels take turns in their code, so an index that wraps at 2^31 reads another number.
TEST(BeyondTwoToThe31Codes, OneRowOfXMeetsTheRightPanels) {
  constexpr size_t kN = 32768 + 32, kK = 65536, kMiB = 1800;
  if (AvailableMiB() < kMiB) GTEST_SKIP() << "needs " << kMiB << " MiB, available are " << AvailableMiB();
  const auto seconds_of = [&](size_t n, const std::vector<int8_t>& row, bool all_algos) {
    PackSpec pack{Ternary::info, {}, n, kK, 1};
    pack.scales.per_tensor = true;
    PackedBuffer blob = PackedBuffer::Allocate(PackedBytes(pack));
    EXPECT_TRUE(BeginPack(pack, blob.bytes()).ok());
    const PackedLayout layout = internal::LayoutOf(pack);
    const float one = 1.0f;
    std::memcpy(blob.bytes().data() + layout.scales_at, &one, sizeof(one));
    for (size_t p = 0; p < layout.panels; ++p) {
      std::memset(blob.bytes().data() + layout.codes_at + p * layout.panel_bytes, static_cast<int>(p % 3 * 0x55),
                  layout.panel_bytes);
    }
    Context context;
    std::vector<std::byte> memory(ActivationBytes(1, kK));
    const Activations xq = ImportInt8(View(row.data(), 1, kK), {&one, 1}, memory, context);
    std::vector<int32_t> y(n);
    GemmCall call;
    call.xq = &xq;
    call.w = blob;
    call.y = View(y.data(), 1, n);
    double longest = 0;
    for (const GemmAlgo algo : IntegerAlgos(call, context)) {
      if (algo == GemmAlgo::kIntLanes && all_algos) continue;  // seconds
      const auto begin = std::chrono::steady_clock::now();
      call.algo = algo;
      std::fill(y.begin(), y.end(), 7);
      Gemm<>(std::span<const GemmCall>(&call, 1), context);
      const auto end = std::chrono::steady_clock::now();
      if (algo != GemmAlgo::kIntLanes) longest = std::max(longest, std::chrono::duration<double>(end - begin).count());
      int64_t sum = 0;
      for (const int8_t v : row) sum += v;
      for (size_t i = 0; i < n; ++i) {
        const int64_t want = (static_cast<int64_t>(i / kPanelRows % 3) - 1) * sum;
        if (y[i] != want) {
          ADD_FAILURE() << NameOfAlgo(algo) << " y[" << i << "] is " << y[i] << ", must be " << want;
          break;
        }
      }
    }
    return longest;
  };
  const std::vector<int8_t> row(kK, 127);
  const double estimate = seconds_of(64, row, false) * static_cast<double>(kN) / 64;
  if (estimate > 3) GTEST_SKIP() << "would take " << estimate << " s on this machine";
  seconds_of(kN, row, true);
}

}}}  // namespace lutra::testing
