// Packing of f32 weights: each fit by a format of integers, of half-integers, of a small and of a large table, and
// planes of signs. Bytes are those of f32 read; of_copy compares with a copy of them.
#include <cmath>
#include <stdexcept>

#include "bench/gemm/cases.h"
#include "lutra/weights/bcq.h"

namespace bench { namespace {

// 256 levels, denser around zero.
struct Codebook8 {
  static constexpr lutra::FormatInfo info = lutra::TableFormat(0x8002, "codebook8", 8, 256);
  static constexpr float Decode(unsigned code) {
    const float x = static_cast<float>(static_cast<int>(code) - 128) / 128.0f;
    return x * (0.25f + 0.75f * (x < 0 ? -x : x));
  }
};

struct NamedFit {
  lutra::Fit fit;
  const char* name;
};
constexpr NamedFit kFits[] = {{lutra::Fit::kAbsMax, "absmax"},
                              {lutra::Fit::kAbsMean, "absmean"},
                              {lutra::Fit::kAbsMedian, "absmedian"},
                              {lutra::Fit::kSignMean, "signmean"},
                              {lutra::Fit::kMinMax, "minmax"}};

// No code of the first row's would have been nearer to its weight.
template <class Format>
void Check(const std::vector<float>& w, const lutra::PackedMatrix& packed, lutra::Fit fit) {
  if (!packed.Verify().ok()) throw std::runtime_error("WRONG: packed weights do not pass Verify");
  if (fit == lutra::Fit::kSignMean) return;
  for (size_t k = 0; k < packed.k(); ++k) {
    const size_t group_k = packed.scales().group_k, group = group_k == 0 ? 0 : k / group_k;
    const double scale{packed.ScaleOf(0, group)}, offset{packed.OffsetOf(0, group)};
    const auto distance = [&](unsigned code) {
      return std::fabs(double{Format::Decode(code)} * scale + offset - double{w[k]});
    };
    const double got = distance(packed.Code(0, k));
    for (unsigned code = 0; code < Format::info.codes; ++code) {
      if (got > distance(code) + 1e-6 * std::fabs(double{w[k]})) {
        throw std::runtime_error(
            bench::Format("WRONG: code %u of w[0, %zu], %u is nearer", packed.Code(0, k), k, code));
      }
    }
  }
}

template <class Format>
void Add(size_t group_k) {
  for (const NamedFit& fit : kFits) {
    for (const bool all : {false, true}) {
      if (fit.fit == lutra::Fit::kMinMax && Format::info.map == lutra::Map::kTable) continue;
      if (all && fit.fit != lutra::Fit::kAbsMedian) continue;
      const std::string group = group_k == 0 ? "" : bench::Format("_g%zu", group_k);
      Register(bench::Format("pack/%s%s/%s", Format::info.name.data(), group.c_str(), fit.name), all, [=](Bench& b) {
        const size_t n = 512, k = 2560;
        Random random(n);
        std::vector<float> w(n * k), copy(n * k);
        for (float& v : w) v = 0.02f * random.Normal();
        lutra::Scales scales;
        scales.per_tensor = group_k == 0;
        scales.group_k = group_k;
        scales.has_offset = fit.fit == lutra::Fit::kMinMax;
        const lutra::ConstMatrixView view = lutra::View(static_cast<const float*>(w.data()), n, k);
        const auto run = [=](lutra::Context& context) {
          return lutra::QuantizeWeights<Format>(view, scales, fit.fit, context);
        };
        const lutra::PackedBuffer packed = run(b.context);
        Check<Format>(w, packed, fit.fit);
        Row row;
        row.bytes = true;
        row.op = {"lutra", static_cast<double>(n * k * sizeof(float)), [&] { (void)run(b.context); }};
        row.bounds.push_back({CopyPiece(b.team, w.data(), copy.data(), w.size() * sizeof(float)), row.op.work});
        b.Time(std::move(row));
      });
    }
  }
}

// Planes of signs: the planes of the first row are as near to it as the fit may leave them.
void AddBcq(size_t planes, size_t group_k, lutra::BcqFit fit) {
  for (const bool all : {false, true}) {
    const char* name = fit == lutra::BcqFit::kGreedy ? "greedy" : "alternating";
    Register(bench::Format("pack/bcq%zu_g%zu/%s", planes, group_k, name), all, [=](Bench& b) {
      const size_t n = 512, k = 2560;
      Random random(n);
      std::vector<float> w(n * k), copy(n * k);
      for (float& v : w) v = 0.02f * random.Normal();
      lutra::BcqSpec spec;
      spec.planes = planes;
      spec.group_k = group_k;
      spec.fit = fit;
      const lutra::ConstMatrixView view = lutra::View(static_cast<const float*>(w.data()), n, k);
      const lutra::PackedBuffer packed = lutra::QuantizeBcq(view, spec, b.context);
      const lutra::PackedMatrix m = packed;
      if (!m.Verify().ok()) throw std::runtime_error("WRONG: packed weights do not pass Verify");
      double error = 0, square = 0;
      for (size_t i = 0; i < k; ++i) {
        double sum = 0;
        for (size_t p = 0; p < planes; ++p) {
          sum += (m.Code(0, p * k + i) - 0.5) * double{m.ScaleOf(0, p * m.groups_per_segment() + i / group_k)};
        }
        error += (sum - double{w[i]}) * (sum - double{w[i]});
        square += double{w[i]} * double{w[i]};
      }
      // Each plane of a normal distribution leaves 1 - 2 / pi of the squares, later ones less well fitted.
      if (error > square * std::pow(0.45, static_cast<double>(planes))) throw std::runtime_error("WRONG: a poor fit");
      Row row;
      row.bytes = true;
      row.op = {"lutra", static_cast<double>(n * k * sizeof(float)),
                [&] { (void)lutra::QuantizeBcq(view, spec, b.context); }};
      row.bounds.push_back({CopyPiece(b.team, w.data(), copy.data(), w.size() * sizeof(float)), row.op.work});
      b.Time(std::move(row));
    });
  }
}

[[maybe_unused]] const bool registered = [] {
  for (const lutra::BcqFit fit : {lutra::BcqFit::kGreedy, lutra::BcqFit::kAlternating}) {
    AddBcq(2, 128, fit);
    AddBcq(3, 128, fit);
  }
  Add<lutra::Ternary>(0);
  Add<lutra::Int1>(0);
  Add<lutra::Int4>(32);
  Add<lutra::Int4>(128);
  Add<lutra::Int8>(128);
  Add<Codebook4>(64);
  Add<Codebook8>(128);
  return true;
}();

}}  // namespace bench
