// Quantisation of activations: bytes of f32 read, and what it costs beside a multiplication by ternary weights.
#include <stdexcept>

#include "bench/gemm/cases.h"
#include "lutra/gemm/reference.h"

namespace bench { namespace {

void CheckRow(const std::vector<float>& x, const lutra::Activations& got, size_t row) {
  std::vector<int8_t> want(got.k);
  const float* from = x.data() + row * got.k;
  const float scale = lutra::reference::QuantizeRow(from, got.k, lutra::reference::MostOf(from, got.k, got.spec.fit),
                                                    got.spec, want.data());
  if (scale != got.Scale(row, 0) || std::memcmp(want.data(), got.Row(row), got.k) != 0) {
    throw std::runtime_error(Format("WRONG: row %zu differs from the reference", row));
  }
}

void Add(size_t m, size_t k, const lutra::ActSpec& spec, const char* name, bool all) {
  Register(Format("quantize/%s/M:%zu/K:%zu", name, m, k), all, [=](Bench& b) {
    GemmCase c{lutra::Ternary::info, 0, 2560, k, m};
    c.act = spec;
    GemmRun gemm(c, b.context);
    gemm.Check();
    const lutra::ConstMatrixView x = lutra::View(gemm.x().data(), m, k);
    std::vector<std::byte> memory(lutra::ActivationBytes(m, k, spec));
    const lutra::Activations got = lutra::Quantize(x, spec, memory, b.context);
    CheckRow(gemm.x(), got, 0);
    CheckRow(gemm.x(), got, m - 1);
    Row row;
    row.bytes = true;
    row.op = {"lutra", static_cast<double>(m * k * sizeof(float)),
              [&] { (void)lutra::Quantize(x, spec, memory, b.context); }};
    row.bounds.push_back(b.Against(Limit::kL2, row.op.work));
    row.rivals.push_back(gemm.AsPiece("gemm"));  // the call that includes it, N = 2560
    row.rivals.back().work = row.op.work;
    row.note = Format("target=%s", gemm.target());
    b.Time(std::move(row));
  });
}

[[maybe_unused]] const bool registered = [] {
  for (const bool all : {false, true}) {
    for (const size_t m : {size_t{1}, size_t{8}, size_t{128}}) {
      Add(m, 2560, {}, "f32", all);
      Add(m, 2560, BitsOf(4, true, false), "f32_to_int4", all);
    }
  }
  return true;
}();

}}  // namespace bench
