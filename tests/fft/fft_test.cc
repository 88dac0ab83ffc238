// Codelets, passes and lengths on every target against discrete Fourier transforms in double.
//
// Error bound. All values that a codelet computes on its way are sums of inputs times factors of modulus 1 (or parts of
// such), so none is larger than S = sum |x|, and each rounding adds at most u S, u = 2^-24. No path from an input to an
// output passes more than kDepth = 12 roundings, a rounded constant counted as one and a complex product, which mixes
// the errors of re and im, as three (the longest: radix 9, 3 + 4 + 3 and two constants). So |error| <= 12 u S. Without
// FMA each MulAdd rounds once more: 24. A second factor sees the first's errors through a sum of moduli 1, and inputs
// whose moduli add up to at most S: the bounds add.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstring>
#include <limits>
#include <map>
#include <numeric>
#include <vector>

#include "lutra/dispatch.h"
#include "lutra/fft/pass.h"
#include "lutra/fft/twiddles.h"
#include "support/guarded.h"
#include "support/random.h"
#include "support/targets.h"

namespace lutra { inline namespace LUTRA_NS { namespace fft {

using internal::TableIndex;  // for the dispatch macros
LUTRA_DISPATCHED_T(FirstOf, FirstPassesFor)
LUTRA_DISPATCHED_T(SecondOf, SecondPassesFor)
LUTRA_DISPATCHED_T(AcrossOf, AcrossPassesFor)
LUTRA_DISPATCHED(LanesOf, FftLanes)

}}}  // namespace lutra::LUTRA_NS::fft

namespace lutra { namespace testing { namespace {

using Point = std::complex<double>;
using Points = std::vector<Point>;
constexpr double kEps = 0x1p-24;

// sum over j of x[j] e^(sign 2 pi i j k / n), for one k.
Point DftAt(const Points& x, size_t k, int sign) {
  Point sum = 0;
  for (size_t j = 0; j < x.size(); ++j) {
    const double turn = static_cast<double>(j * k % x.size()) / static_cast<double>(x.size());
    sum += x[j] * std::polar(1.0, sign * fft::kTurn * turn);
  }
  return sum;
}
double SizeOfAll(const Points& x) {
  double s = 0;
  for (const Point& p : x) s += std::abs(p);
  return s;
}

// Slots of one target, all lanes random.
class Slots {
 public:
  Slots(size_t count, size_t lanes) : lanes_(lanes), floats_(count * 2 * lanes + 16) {
    for (float& v : floats_) v = std::numeric_limits<float>::quiet_NaN();
  }
  float* data() {  // of 64 bytes
    const auto at = reinterpret_cast<uintptr_t>(floats_.data());
    return floats_.data() + (64 - at % 64) % 64 / sizeof(float);
  }
  char* bytes() { return reinterpret_cast<char*>(data()); }
  float& re(size_t slot, size_t lane) { return data()[slot * 2 * lanes_ + lane]; }
  float& im(size_t slot, size_t lane) { return data()[slot * 2 * lanes_ + lanes_ + lane]; }
  Point At(size_t slot, size_t lane) { return {double{re(slot, lane)}, double{im(slot, lane)}}; }
  void Set(size_t slot, size_t lane, Point p) {
    re(slot, lane) = static_cast<float>(p.real());
    im(slot, lane) = static_cast<float>(p.imag());
  }
  size_t count() const { return floats_.size() / (2 * lanes_); }

 private:
  size_t lanes_;
  std::vector<float> floats_;
};

class Fft : public ::testing::TestWithParam<std::string> {
 protected:
  Fft() : context_(GetParam()), lanes_(fft::LanesOf<HWY_TARGETS>(context_.get().target())()) {}
  fft::FirstPasses First(int r) { return fft::FirstOf<void, HWY_TARGETS>(context_.get().target())(r); }
  fft::SecondPasses Second(int r) { return fft::SecondOf<void, HWY_TARGETS>(context_.get().target())(r); }
  fft::AcrossPasses AcrossParts(int r) { return fft::AcrossOf<void, HWY_TARGETS>(context_.get().target())(r); }
  ptrdiff_t SlotBytes() const { return static_cast<ptrdiff_t>(2 * lanes_ * sizeof(float)); }
  double Depth() const { return HasFma(GetParam()) ? 12 : 24; }

  // Byte offsets of the time points of length l, `step` bytes apart; `unused` from point `used` on.
  static std::vector<int32_t> Index(const fft::Length& l, ptrdiff_t step, int used, ptrdiff_t unused = -1) {
    std::vector<int32_t> index;
    for (int a = 0; a < l.second; ++a) {
      for (int b = 0; b < l.first; ++b) {
        const int t = l.TimeOf(a, b);
        index.push_back(static_cast<int32_t>(t < used ? t * step : unused));
      }
    }
    return index;
  }

  // `rows` rows of `used` real points (row after row, lanes side by side) to column order: slot f * rows + row.
  void Forward(const fft::Length& l, const float* in, int used, size_t rows, Slots* columns) {
    const auto index = Index(l, SlotBytes() / 2, used);
    const ptrdiff_t work_row = static_cast<ptrdiff_t>(fft::kWorkPitch) * SlotBytes(),
                    step = static_cast<ptrdiff_t>(rows) * SlotBytes(),
                    work_step = static_cast<ptrdiff_t>(fft::WorkBytes(l, true, lanes_));
    Slots work(fft::WorkBytes(l, true, lanes_) * rows / static_cast<size_t>(SlotBytes()), lanes_);
    const auto first = First(l.first);
    const auto second = Second(l.second);
    const size_t groups = static_cast<size_t>(l.second), pairs = static_cast<size_t>((l.first - 1) / 2);
    char *const out = columns->bytes(), *const middle = out + (l.second / 2 + 1) * step,
                *const last = middle + static_cast<ptrdiff_t>(pairs) * l.second * step;
    first.row_forward({reinterpret_cast<const char*>(in), work.bytes(), index.data(), nullptr, 0, 0,
                       used * SlotBytes() / 2, work_step, 0, groups, rows});
    second.row_forward_real({work.bytes(), out, nullptr, nullptr, step, 0, work_step, SlotBytes(), 0, 1, rows});
    second.row_forward({work.bytes() + work_row, middle, nullptr, nullptr, step, step * l.second, work_step,
                        SlotBytes(), 0, pairs, rows});
    if (l.first % 2 == 0) {
      second.row_forward_real(
          {work.bytes() + l.first / 2 * work_row, last, nullptr, nullptr, step, 0, work_step, SlotBytes(), 0, 1, rows});
    }
  }
  // The way back.
  void Back(const fft::Length& l, Slots* columns, int used, size_t rows, float* out) {
    const auto index = Index(l, SlotBytes() / 2, used);
    const ptrdiff_t work_row = static_cast<ptrdiff_t>(fft::kWorkPitch) * SlotBytes(),
                    step = static_cast<ptrdiff_t>(rows) * SlotBytes(),
                    work_step = static_cast<ptrdiff_t>(fft::WorkBytes(l, true, lanes_));
    Slots work(fft::WorkBytes(l, true, lanes_) * rows / static_cast<size_t>(SlotBytes()), lanes_);
    const auto first = First(l.first);
    const auto second = Second(l.second);
    const size_t groups = static_cast<size_t>(l.second), pairs = static_cast<size_t>((l.first - 1) / 2);
    char *const in = columns->bytes(), *const middle = in + (l.second / 2 + 1) * step,
                *const last = middle + static_cast<ptrdiff_t>(pairs) * l.second * step;
    second.row_back_real({in, work.bytes(), nullptr, nullptr, step, 0, SlotBytes(), work_step, 0, 1, rows});
    second.row_back({middle, work.bytes() + work_row, nullptr, nullptr, step, step * l.second, SlotBytes(), work_step,
                     0, pairs, rows});
    if (l.first % 2 == 0) {
      second.row_back_real(
          {last, work.bytes() + l.first / 2 * work_row, nullptr, nullptr, step, 0, SlotBytes(), work_step, 0, 1, rows});
    }
    first.row_back({work.bytes(), reinterpret_cast<char*>(out), index.data(), nullptr, 0, 0, work_step,
                    used * SlotBytes() / 2, 0, groups, rows});
  }
  // Columns of `used` points and a slot behind them for outputs that nobody wants, in place: circular convolution with
  // what `spectrum` is the transform of (times 1 / N).
  void Convolve(const fft::Length& l, Slots* columns, int used, size_t count, const float* spectrum) {
    const auto index = Index(l, SlotBytes(), used), back = Index(l, SlotBytes(), used, used * SlotBytes());
    const ptrdiff_t step = (used + 1) * SlotBytes(),
                    work_step = static_cast<ptrdiff_t>(fft::WorkBytes(l, false, lanes_));
    Slots work(fft::WorkBytes(l, false, lanes_) * count / static_cast<size_t>(SlotBytes()), lanes_);
    const size_t groups = static_cast<size_t>(l.second), firsts = static_cast<size_t>(l.first);
    First(l.first).column_forward(
        {columns->bytes(), work.bytes(), index.data(), nullptr, 0, 0, step, work_step, 0, groups, count});
    Second(l.second).column_middle({work.bytes(), work.bytes(), nullptr, spectrum, 0, 0, work_step, work_step,
                                    static_cast<ptrdiff_t>(2 * fft::kSpectrumLanes) * l.size, firsts, count});
    First(l.first).column_back(
        {work.bytes(), columns->bytes(), back.data(), nullptr, 0, 0, work_step, step, 0, groups, count});
  }
  // Kernels of `count` transforms of one lane each for the middle: [transform][second-order frequency]{16 re, 16 im}.
  static std::vector<float> Spectrum(const fft::Length& l, const std::vector<Points>& kernels) {
    constexpr size_t kLanes = fft::kSpectrumLanes;
    const size_t n = static_cast<size_t>(l.size), count = kernels.size() / kLanes;
    std::vector<float> s(count * n * 2 * kLanes + 16);
    for (size_t i = 0; i < kernels.size(); ++i) {
      float* to = s.data() + i / kLanes * n * 2 * kLanes + i % kLanes;
      for (int b = 0; b < l.first; ++b) {
        for (int a = 0; a < l.second; ++a, to += 2 * kLanes) {
          const Point v = DftAt(kernels[i], static_cast<size_t>(l.FrequencyOf(a, b)), -1) / double(l.size);
          to[0] = static_cast<float>(v.real());
          to[kLanes] = static_cast<float>(v.imag());
        }
      }
    }
    return s;
  }

  TargetContext context_;
  size_t lanes_;
};

TEST(FftLadder, FactorsAreCoprimeAndNumbersAreAllOnce) {
  int previous = 0;
  for (const fft::Length& l : fft::kLadder) {
    EXPECT_GT(l.size, previous);
    previous = l.size;
    EXPECT_EQ(l.size, l.first * l.second);
    EXPECT_EQ(std::gcd(l.first, l.second), 1);
    EXPECT_NE(std::find(std::begin(fft::kFirstFactors), std::end(fft::kFirstFactors), l.first),
              std::end(fft::kFirstFactors));
    EXPECT_NE(std::find(std::begin(fft::kSecondFactors), std::end(fft::kSecondFactors), l.second),
              std::end(fft::kSecondFactors));
    EXPECT_LE(static_cast<size_t>(l.second), fft::kWorkPitch);
    std::vector<int> times(static_cast<size_t>(l.size)), frequencies(times), halves(times);
    for (int a = 0; a < l.second; ++a) {
      for (int b = 0; b < l.first; ++b) {
        ++times[static_cast<size_t>(l.TimeOf(a, b))];
        ++frequencies[static_cast<size_t>(l.FrequencyOf(a, b))];
      }
    }
    int half = 0;
    fft::ForHalf(l, [&](int a, int b, bool alone) {
      const int f = l.FrequencyOf(a, b);
      ++half;
      ++halves[static_cast<size_t>(f)];
      EXPECT_EQ(alone, f == 0 || 2 * f == l.size) << l.size << ' ' << f;
      if (!alone) ++halves[static_cast<size_t>(l.size - f)];
    });
    EXPECT_EQ(half, l.Half());
    const std::vector<int> once(times.size(), 1);
    EXPECT_EQ(times, once) << l.size;
    EXPECT_EQ(frequencies, once) << l.size;
    EXPECT_EQ(halves, once) << l.size;
  }
  EXPECT_EQ(fft::LengthFor(0)->size, 1);
  EXPECT_EQ(fft::LengthFor(11)->size, 12);
  EXPECT_EQ(fft::LengthFor(12)->size, 12);
  EXPECT_EQ(fft::LengthFor(fft::kMostPoints)->size, fft::kMostPoints);
  EXPECT_EQ(fft::LengthFor(fft::kMostPoints + 1), nullptr);
}

TEST(FftLadder, CirclesNumberAllTimesAndFrequenciesOnce) {
  int previous = 0;
  for (size_t i = 0; i < fft::kCircles; ++i) {
    const fft::Circle c = fft::CircleAt(i);
    const int size = c.Size();
    EXPECT_GT(size, previous);
    previous = size;
    EXPECT_EQ(std::gcd(c.part.size, c.parts), 1);
    EXPECT_TRUE(c.parts == 1 || std::find(std::begin(fft::kAcrossFactors), std::end(fft::kAcrossFactors), c.parts) !=
                                    std::end(fft::kAcrossFactors));
    EXPECT_EQ(fft::CircleOf(size).parts, c.parts);
    EXPECT_EQ(fft::CircleOf(size).part.size, c.part.size);
    const std::vector<int> once(static_cast<size_t>(size), 1);
    std::vector<int> times(once.size()), frequencies(times), halves(times);
    for (int p = 0; p < c.parts; ++p) {
      for (int a = 0; a < c.part.second; ++a) {
        for (int b = 0; b < c.part.first; ++b) {
          const int t = c.TimeOf(a, b, p), f = c.FrequencyOf(a, b, p);
          ++times[static_cast<size_t>(t)];
          ++frequencies[static_cast<size_t>(f)];
          // e^(-2 pi i t f / N) is the product of the factors' own.
          for (int q = 0; q < c.parts; ++q) {
            const int g = c.FrequencyOf(a, b, q);
            EXPECT_EQ(g % c.part.second, a);
            EXPECT_EQ(g % c.part.first, b);
            EXPECT_EQ(g % c.parts, q);
          }
        }
      }
      fft::ForHalf(c.part, [&](int a, int b, bool alone) {
        const int f = c.FrequencyOf(a, b, p);
        ++halves[static_cast<size_t>(f)];
        if (!alone) ++halves[static_cast<size_t>((size - f) % size)];
      });
    }
    EXPECT_EQ(times, once) << size;
    EXPECT_EQ(frequencies, once) << size;
    EXPECT_EQ(halves, once) << size;
  }
  EXPECT_EQ(previous, fft::kMostCircle);
}

TEST_P(Fft, AcrossPartsStaysInsideTheErrorBound) {
  Random random{5};
  for (const int parts : fft::kAcrossFactors) {
    const auto n = static_cast<size_t>(parts);
    const size_t groups = 3, batch = 2;  // [batch][part][group]
    Slots in(n * groups * batch, lanes_);
    for (const bool back : {false, true}) {
      Slots out(n * groups * batch, lanes_);
      for (size_t i = 0; i < n * groups * batch; ++i) {
        for (size_t lane = 0; lane < lanes_; ++lane) {
          in.Set(i, lane, {double{random.Float()}, double{random.Float()}});
          out.Set(i, lane, in.At(i, lane));
        }
      }
      const auto step = static_cast<ptrdiff_t>(groups) * SlotBytes();
      const auto passes = AcrossParts(parts);
      (back ? passes.back : passes.forward)(
          {nullptr, out.bytes(), nullptr, nullptr, step, SlotBytes(), 0, step * parts, 0, groups, batch});
      for (size_t m = 0; m < batch; ++m) {
        for (size_t g = 0; g < groups; ++g) {
          for (size_t lane = 0; lane < lanes_; ++lane) {
            Points x(n);
            for (size_t i = 0; i < n; ++i) x[i] = in.At((m * n + i) * groups + g, lane);
            for (size_t k = 0; k < n; ++k) {
              const Point want = DftAt(x, k, back ? 1 : -1), got = out.At((m * n + k) * groups + g, lane);
              ASSERT_LE(std::abs(got - want), Depth() * kEps * SizeOfAll(x)) << parts << ' ' << k;
            }
          }
        }
      }
    }
  }
}

TEST(FftTwiddles, AreRoundedOnce) {
  for (int n = 1; n <= 150; ++n) {
    for (int j = -n; j <= 2 * n; ++j) {
      const fft::UnitVector u = fft::UnitAt(j, n);
      const double x = fft::kTurn * j / n;  // rounded twice, below 16: off by 2^-49 at most
      EXPECT_NEAR(u.cos, std::cos(x), 3e-15) << j << '/' << n;
      EXPECT_NEAR(u.sin, std::sin(x), 3e-15) << j << '/' << n;
    }
  }
  EXPECT_EQ(fft::kTurns<12>.cos[3], 0.0f);
  EXPECT_EQ(fft::kTurns<12>.sin[1], 0.5f);
}

// The ladder, and each codelet alone: as a first factor, and as a second.
std::vector<fft::Length> AllLengths() {
  std::vector<fft::Length> all(std::begin(fft::kLadder), std::end(fft::kLadder));
  for (const int r : fft::kFirstFactors) all.push_back({r, r, 1});
  for (const int r : fft::kSecondFactors) all.push_back({r, 1, r});
  return all;
}
double TwoDepths(const fft::Length& l, double depth) { return l.first == 1 || l.second == 1 ? depth : 2 * depth; }

TEST_P(Fft, RowsForwardAndBackStayInsideTheErrorBound) {
  Random random{1};
  for (const fft::Length& l : AllLengths()) {
    const auto half = static_cast<size_t>(l.Half());
    const double bound = TwoDepths(l, Depth()) * kEps;
    for (const int used : {l.size, (2 * l.size + 2) / 3}) {
      const size_t rows = l.size % 2 == 0 ? 1 : 3, points = static_cast<size_t>(used);
      const GuardedBuffer<float> in(rows * points * lanes_), out(in.size());
      for (float& v : in) v = random.Float();
      Slots columns(half * rows, lanes_);
      Forward(l, in.data(), used, rows, &columns);
      for (size_t row = 0; row < rows; ++row) {
        for (size_t lane = 0; lane < lanes_; ++lane) {
          Points x(static_cast<size_t>(l.size));
          for (size_t i = 0; i < points; ++i) x[i] = double{in[(row * points + i) * lanes_ + lane]};
          size_t slot = row;
          fft::ForHalf(l, [&](int a, int b, bool) {
            const Point want = DftAt(x, static_cast<size_t>(l.FrequencyOf(a, b)), -1);
            EXPECT_LE(std::abs(columns.At(slot, lane) - want), bound * SizeOfAll(x)) << l.size << ' ' << a << ' ' << b;
            slot += rows;
          });
        }
      }
      Points scaled(half * rows * lanes_);
      for (size_t row = 0; row < rows; ++row) {
        for (size_t lane = 0; lane < lanes_; ++lane) {
          size_t slot = row;
          fft::ForHalf(l, [&](int, int, bool alone) {
            columns.Set(slot, lane, columns.At(slot, lane) * ((alone ? 1.0 : 2.0) / l.size));
            scaled[slot * lanes_ + lane] = columns.At(slot, lane);
            slot += rows;
          });
        }
      }
      Back(l, &columns, used, rows, out.data());
      for (size_t row = 0; row < rows; ++row) {
        for (size_t lane = 0; lane < lanes_; ++lane) {
          double size = 0;
          for (size_t f = 0; f < half; ++f) size += std::abs(scaled[(f * rows + row) * lanes_ + lane]);
          for (size_t t = 0; t < points; ++t) {
            double want = 0;
            size_t slot = row;
            fft::ForHalf(l, [&](int a, int b, bool) {
              const double turn = fft::kTurn * static_cast<double>(t) * l.FrequencyOf(a, b) / l.size;
              want += (scaled[slot * lanes_ + lane] * std::polar(1.0, turn)).real();
              slot += rows;
            });
            const double got = double{out[(row * points + t) * lanes_ + lane]};
            ASSERT_LE(std::fabs(got - want), bound * size) << l.size << " = " << l.first << " x " << l.second;
            ASSERT_NEAR(got, double{in[(row * points + t) * lanes_ + lane]}, 1e-5);
          }
        }
      }
      ASSERT_TRUE(out.CanariesIntact());
    }
  }
}

// Forward, times the kernel's spectrum, back. With sizes X = sum |x| and K = sum |kernel|, N times: forward is off by
// D u X at each frequency, the product adds 4 roundings (re and im mixed, the spectrum rounded once) of X K / N, and
// back adds D u of the sum of all: (2 D + 4) u X K.
TEST_P(Fft, ColumnsConvolveInsideTheErrorBound) {
  Random random{2};
  for (const fft::Length& l : AllLengths()) {
    const auto n = static_cast<size_t>(l.size);
    for (const int used : {l.size, (l.size + 1) / 2}) {
      const size_t count = 2, points = static_cast<size_t>(used);
      const size_t pitch = points + 1;
      Slots columns(count * pitch, lanes_), in(count * pitch, lanes_);
      std::vector<Points> kernels(count * fft::kSpectrumLanes, Points(n));
      for (Points& k : kernels) {
        for (Point& p : k) p = {double{random.Float()}, double{random.Float()}};
      }
      for (size_t slot = 0; slot < count * pitch; ++slot) {
        for (size_t lane = 0; lane < lanes_; ++lane) {
          in.Set(slot, lane, {double{random.Float()}, double{random.Float()}});
          columns.Set(slot, lane, in.At(slot, lane));
        }
      }
      std::vector<float> spectrum = Spectrum(l, kernels);
      GuardedBuffer<float> aligned(spectrum.size());
      float* const at = aligned.data() + (64 - reinterpret_cast<uintptr_t>(aligned.data()) % 64) % 64 / sizeof(float);
      std::copy(spectrum.begin(), spectrum.end() - 16, at);
      Convolve(l, &columns, used, count, at);
      for (size_t i = 0; i < count; ++i) {
        for (size_t lane = 0; lane < lanes_; ++lane) {
          const Points& k = kernels[i * fft::kSpectrumLanes + lane];
          Points x(n);
          for (size_t t = 0; t < points; ++t) x[t] = in.At(i * pitch + t, lane);
          const double bound = (2 * TwoDepths(l, Depth()) + 4) * kEps * SizeOfAll(x) * SizeOfAll(k);
          for (size_t t = 0; t < points; ++t) {
            Point want = 0;
            for (size_t s = 0; s < n; ++s) want += x[s] * k[(t + n - s) % n];
            ASSERT_LE(std::abs(columns.At(i * pitch + t, lane) - want), bound) << l.size << " point " << t;
          }
        }
      }
    }
  }
}

// Rows forward, columns convolved, rows back, of one image; lanes beside a loud or broken one keep their bits, and all
// targets with FMA give the same.
TEST_P(Fft, ALaneDependsOnNothingElse) {
  static std::map<int, std::vector<float>> first_seen;  // by length, of targets with FMA
  for (const fft::Length& l : fft::kLadder) {
    const auto n = static_cast<size_t>(l.size);
    const size_t rows = 2;
    std::vector<float> quiet;
    for (const float loud : {1.0f, 1e30f, std::numeric_limits<float>::quiet_NaN()}) {
      Random random{static_cast<uint64_t>(l.size)};
      const GuardedBuffer<float> in(rows * n * lanes_), out(in.size());
      for (size_t i = 0; i < rows * n; ++i) {
        const float value[2] = {random.Float(), random.Float()};  // of even and of odd lanes
        for (size_t lane = 0; lane < lanes_; ++lane) in[i * lanes_ + lane] = value[lane % 2] * (lane == 1 ? loud : 1);
      }
      Slots columns(static_cast<size_t>(l.Half()) * rows, lanes_);
      Forward(l, in.data(), l.size, rows, &columns);
      Back(l, &columns, l.size, rows, out.data());
      std::vector<float> got;
      for (size_t i = 0; i < rows * n; ++i) {
        for (size_t lane = 0; lane < lanes_; lane += 2) {
          ASSERT_EQ(std::memcmp(&out[i * lanes_ + lane], &out[i * lanes_], sizeof(float)), 0) << l.size;
        }
        got.push_back(out[i * lanes_]);
      }
      if (quiet.empty()) quiet = got;
      ASSERT_EQ(std::memcmp(got.data(), quiet.data(), got.size() * sizeof(float)), 0) << l.size << ' ' << loud;
    }
    if (!HasFma(GetParam())) continue;
    auto& seen = first_seen[l.size];
    if (seen.empty()) seen = quiet;
    ASSERT_EQ(seen, quiet) << l.size;
  }
}

// Targets without this room have slots of no lanes.
std::vector<std::string> FftTargetNames() {
  std::vector<std::string> names;
  for (const Target& t : Targets()) {
    if (fft::LanesOf<HWY_TARGETS>(t.id)() != 0) names.emplace_back(t.name);
  }
  return names;
}
INSTANTIATE_TEST_SUITE_P(All, Fft, ::testing::ValuesIn(FftTargetNames()), NameOfTarget);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Fft);  // where no target has it

}}}  // namespace lutra::testing
