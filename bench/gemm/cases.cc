#include "bench/gemm/cases.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "bench/peers/peer.h"
#include "lutra/gemm/reference.h"

namespace bench {
namespace {

// Rows and columns of the sampled outputs: first, last and a few between.
std::vector<size_t> Sample(size_t count, size_t most) {
  std::vector<size_t> at;
  for (size_t i = 0; i < most && i < count; ++i) {
    at.push_back(count <= most ? i : i + 1 == most ? count - 1 : i * (count / most) + i % 7 % (count / most));
  }
  return at;
}

[[noreturn]] void Wrong(size_t m, size_t n, double got, double want) {
  throw std::runtime_error(Format("WRONG: y[%zu, %zu] is %.9g, the reference says %.9g", m, n, got, want));
}

}  // namespace

double GemmCase::weight_bytes() const {
  const double bits = unit == lutra::Unit::kTriple ? 5.0 / 3.0 : format.bits;
  const double codes = static_cast<double>(n) * static_cast<double>(k) * bits / 8;
  return group == 0 ? codes : codes + 2.0 * static_cast<double>(n * groups());
}

std::string GemmCase::Name() const {
  std::string kind = group == 0 ? format.name.data() : Format("%s_g%zu", format.name.data(), group);
  if (act.bits != 8) kind += Format("_a%d%s", act.bits, act.is_signed ? "" : "u");
  if (x_type != lutra::DType::kF32) kind += Format("_%sx", NameOf(x_type));
  return Format("%s/%zux%zu/M:%zu/%s", kind.c_str(), n, k, m, cold ? "dram" : "cache");
}

lutra::ActSpec BitsOf(int bits, bool is_signed, bool planes) {
  lutra::ActSpec spec;
  spec.bits = bits;
  spec.is_signed = is_signed;
  spec.planes = planes;
  spec.fit = is_signed && (bits == 1 || bits == 4) ? lutra::ActFit::kAbsMean : lutra::ActFit::kAbsMax;
  return spec;
}

std::shared_ptr<const GemmWeights> WeightsOf(const GemmCase& c) {
  static std::shared_ptr<const GemmWeights> last;
  static GemmCase of;
  if (last != nullptr && of.format == c.format && of.group == c.group && of.n == c.n && of.k == c.k &&
      of.unit == c.unit) {
    return last;
  }
  last = nullptr;
  auto made = std::make_shared<GemmWeights>();
  Random random(c.n * 31 + c.k);
  made->codes.resize(c.n * c.k);
  for (uint8_t& code : made->codes) code = static_cast<uint8_t>(random.Below(c.format.codes));
  const size_t groups = c.groups();
  made->scales.resize(c.group == 0 ? 1 : c.n * groups);
  for (float& s : made->scales) s = static_cast<float>(1 + random.Below(64)) * 0x1p-9f;  // exact in 16 bits

  lutra::CodedMatrix coded;
  coded.format = c.format;
  coded.scales.group_k = c.group;
  coded.scales.per_tensor = c.group == 0;
  coded.scales.type = c.group == 0 ? lutra::DType::kF32 : lutra::DType::kF16;
  coded.n = c.n;
  coded.k = c.k;
  coded.codes = made->codes.data();
  coded.code_stride = c.k;
  coded.scale = lutra::View(made->scales.data(), c.group == 0 ? 1 : c.n, groups);
  static constexpr auto kCodebook = lutra::TableOf<Codebook4>();
  if (c.format.map == lutra::Map::kTable) coded.table = kCodebook.data();
  lutra::Context context;
  made->packed = lutra::Pack(coded, context, 1, c.unit);
  of = c;
  last = made;
  return made;
}

GemmRun::GemmRun(const GemmCase& c, lutra::Context& context, std::span<std::byte> cold)
    : case_(c), context_(&context), algo_(c.algo), weights_(WeightsOf(c)) {
  Random random(c.m * 17 + c.k);
  x_.resize(c.m * c.k);
  for (float& v : x_) v = c.input == Input::kConstant ? 1.0f : random.Normal();
  for (size_t m = 0; m < c.m && c.input == Input::kOutlier; ++m) x_[m * c.k + m % c.k] *= 100.0f;
  for (size_t i = 0; i < x_.size() && c.x_type != lutra::DType::kF32; ++i) {
    x16_.push_back(c.x_type == lutra::DType::kBF16 ? lutra::ToBF16(x_[i]).bits : lutra::ToF16(x_[i]).bits);
    x_[i] = lutra::LoadFloat(x16_.data(), c.x_type, static_cast<ptrdiff_t>(i));
  }
  y_.resize(c.m * c.n);
  if (!c.cold) {
    copies_.push_back(weights_->packed.matrix());
    return;
  }
  const size_t bytes = weights_->packed.bytes().size(), pitch = (bytes + 63) / 64 * 64;
  const std::span<std::byte> memory = cold.empty() ? ColdMemory() : cold;
  const size_t most = Flags().smoke ? 2 : memory.size() / pitch;
  for (size_t i = 0; i < most; ++i) {
    std::memcpy(memory.data() + i * pitch, weights_->packed.bytes().data(), bytes);
    lutra::PackedMatrix copy;
    const lutra::Status status = lutra::PackedMatrix::Map(memory.subspan(i * pitch, bytes), &copy);
    if (!status.ok()) throw std::runtime_error(status.message());
    copies_.push_back(copy);
  }
}

lutra::GemmCall GemmRun::Call() {
  const lutra::ConstMatrixView x = lutra::View(static_cast<const float*>(x_.data()), case_.m, case_.k);
  lutra::GemmCall call;
  if (case_.float_x) {
    call.x = x;
    if (!x16_.empty()) call.x.data = x16_.data();
    call.x.type = case_.x_type;
  } else {
    call.xq = &activations_.Quantize(x, *context_, case_.act);
  }
  call.w = copies_[next_];
  next_ = next_ + 1 == copies_.size() ? 0 : next_ + 1;
  call.y = lutra::View(y_.data(), case_.m, case_.n);
  call.algo = algo_;
  return call;
}

lutra::GemmAlgo GemmRun::Algo() {
  const lutra::GemmCall call = Call();
  const bool own = case_.format != Codebook4::info;
  return (own ? lutra::Explain<>(call, *context_) : lutra::Explain<Codebook4>(call, *context_)).algo;
}

void GemmRun::Run(const lutra::GemmCall& call) {
  const std::span<const lutra::GemmCall> calls(&call, 1);
  if (case_.format == Codebook4::info) {
    lutra::Gemm<Codebook4>(calls, *context_);
  } else {
    lutra::Gemm<>(calls, *context_);
  }
}
void GemmRun::operator()() { Run(Call()); }

void GemmRun::Check() {
  std::fill(y_.begin(), y_.end(), std::numeric_limits<float>::quiet_NaN());
  const lutra::GemmCall call = Call();
  Run(call);
  for (size_t i = 0; i < y_.size(); ++i) {
    if (std::isnan(y_[i])) Wrong(i / case_.n, i % case_.n, y_[i], 0);
  }
  for (const size_t m : Sample(case_.m, 5)) {
    for (const size_t n : Sample(case_.n, 24)) {
      const float got = y_[m * case_.n + n];
      const bool own_order = algo_ == lutra::GemmAlgo::kFloatTable || algo_ == lutra::GemmAlgo::kBf16Dot;
      if (own_order || (!case_.float_x && algo_ != lutra::GemmAlgo::kTile)) {
        const float want = lutra::reference::Sum({call, n}, algo_, m);
        if (std::memcmp(&got, &want, sizeof(got)) != 0) Wrong(m, n, got, want);
      } else {  // docs/numerics.md 3.4: equal with FMA, within a bound without
        const float want = lutra::reference::Float({call, n}, m);
        double size = 0;
        for (size_t k = 0; k < case_.k; ++k) size += std::fabs(double{x_[m * case_.k + k]} * double{Weight(n, k)});
        const size_t longest = case_.group == 0 ? case_.k : case_.group;
        const auto roundings = static_cast<double>(longest + 2 * case_.groups() + 2);
        if (!(std::fabs(double{got} - double{want}) <= 2.0 * roundings * 0x1p-24 * size)) {
          Wrong(m, n, got, want);
        }
      }
    }
  }
}

Piece GemmRun::AsPiece(const std::string& name) {
  return {name, case_.macs(), [this] { (*this)(); }, !case_.cold};
}

double GemmRun::Error() {
  (*this)();
  return ErrorOf(y_.data());
}

double GemmRun::ErrorOf(const float* got) const {
  double error = 0, size = 0;
  for (const size_t m : Sample(case_.m, 5)) {
    for (const size_t n : Sample(case_.n, 24)) {
      double want = 0;
      for (size_t k = 0; k < case_.k; ++k) want += double{x_[m * case_.k + k]} * double{Weight(n, k)};
      const double off = double{got[m * case_.n + n]} - want;
      error += off * off;
      size += want * want;
    }
  }
  return std::sqrt(error / size);  // NaN where `got` has one
}

void RegisterGemm(const std::string& op, const GemmCase& c, bool all_threads, const GemmCase* rounded) {
  const bool has_rounded = rounded != nullptr;
  const GemmCase other = has_rounded ? *rounded : GemmCase();
  Register(op + "/" + c.Name(), all_threads, [=](Bench& b) {
    // Weights in another unit beside those of int_dot: each has a half of what no cache holds.
    const bool other_unit = c.unit == lutra::Unit::kTriple;
    const std::span<std::byte> cold = c.cold ? ColdMemory() : std::span<std::byte>();
    const std::span<std::byte> own = other_unit ? cold.first(cold.size() / 2 / 64 * 64) : cold;
    GemmRun run(c, b.context, own);
    if (run.Algo() == lutra::GemmAlgo::kAuto) {  // forced, and not of this CPU or target: a row without figures
      for (auto _ : b.state) b.state.SetIterationTime(0);
      return b.state.SetLabel("cannot run here");
    }
    run.Check();
    Row row;
    row.op = run.AsPiece("lutra");
    row.note = Format("target=%s", run.target());
    row.traffic = c.cold || c.m == 1 ? c.weight_bytes() : 0;
    b.state.counters["bits"] = 8 * c.weight_bytes() / static_cast<double>(c.n * c.k);
    if (c.float_x) {
      if (c.algo == lutra::GemmAlgo::kBf16Dot) row.bounds.push_back(b.Against(Limit::kBf16, c.macs()));
      row.bounds.push_back(b.Against(Limit::kFma, c.macs()));
    } else {
      Bound dot = b.Against(Limit::kDot, c.macs());
      if (dot.piece.work != 0) row.bounds.push_back(std::move(dot));
      row.bounds.push_back(b.Against(Limit::kPair, c.macs()));
    }
    if (c.cold) row.bounds.insert(row.bounds.begin(), b.Against(Limit::kDram, c.weight_bytes()));

    std::unique_ptr<GemmRun> second, single;
    if (has_rounded) {
      second = std::make_unique<GemmRun>(other, b.context);
      second->Check();
      row.rivals.push_back(second->AsPiece("rounded"));
    }
    std::unique_ptr<Team> one;
    lutra::Context alone;
    if (all_threads) {  // the same on one thread: vs_1thread is what the others are worth
      alone.set_target(Flags().target);
      single = std::make_unique<GemmRun>(c, alone, own);
      single->Check();
      row.rivals.push_back(single->AsPiece("1thread"));
    }
    std::unique_ptr<GemmRun> dots;
    if (c.act.planes || other_unit || c.algo == lutra::GemmAlgo::kRegisterTable) {  // on the same codes
      GemmCase by_dots = c;
      by_dots.algo = lutra::GemmAlgo::kIntDot;
      by_dots.act.planes = false;
      by_dots.unit = lutra::Unit::kLane32;
      dots = std::make_unique<GemmRun>(by_dots, b.context, cold.subspan(other_unit ? own.size() : 0));
      if (dots->Algo() == by_dots.algo) {  // SSE2 has none
        dots->Check();
        row.rivals.push_back(dots->AsPiece("int_dot"));
      }
    }
    std::unique_ptr<GemmRun> exact;
    if (c.algo == lutra::GemmAlgo::kByteTable) {  // of the same weights, after each other
      exact = std::make_unique<GemmRun>(c, b.context, own);
      exact->Force(lutra::GemmAlgo::kShuffleTable);
      exact->Check();
      row.rivals.push_back(exact->AsPiece("shuffle_table"));
    }
    std::unique_ptr<GemmRun> tile;
    if (c.algo == lutra::GemmAlgo::kFloatTable || c.algo == lutra::GemmAlgo::kBf16Dot) {
      GemmCase by_tile = c;
      by_tile.algo = lutra::GemmAlgo::kTile;
      by_tile.unit = lutra::Unit::kLane32;  // the same weights as they are packed for that one
      tile = std::make_unique<GemmRun>(by_tile, b.context);
      tile->Check();
      row.rivals.push_back(tile->AsPiece("tile"));
    }
    std::unique_ptr<GemmRun> full;
    if (c.x_type != lutra::DType::kF32) {
      GemmCase by_f32 = c;
      by_f32.x_type = lutra::DType::kF32;
      full = std::make_unique<GemmRun>(by_f32, b.context);
      full->Check();
      row.rivals.push_back(full->AsPiece("f32x"));
    }
    std::vector<std::unique_ptr<GemmPeer>> peers;  // they know 8 bits alone
    if (c.act.bits == 8) peers = GemmPeers(run, b.team.workers());
    for (const auto& peer : peers) {
      const double error = run.ErrorOf(peer->Run());
      if (!(error < 0.03)) {
        row.note += Format(" %s=wrong", peer->name().c_str());
        continue;
      }
      row.rivals.push_back({peer->name(), c.macs(), [&peer] { peer->Run(); }, !c.cold});
    }
    b.Time(std::move(row));
  });
}

}  // namespace bench
