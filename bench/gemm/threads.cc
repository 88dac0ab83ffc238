// The two ways to give a multiplication more than one thread, on the threads of one pool: the executor of the pool,
// whose tasks go to whoever is free, and a call for each thread with Share(ith, nth), whose parts are fixed. vs_pool is
// the former's time over the latter's.
#include <stdexcept>

#include "bench/gemm/cases.h"
#include "lutra/thread_pool.h"

namespace bench { namespace {

class OnPool {
 public:
  OnPool(size_t m, size_t n, size_t k, size_t threads) : x_(m * k), shared_(m * n), pooled_(m * n) {
    const GemmCase c{lutra::Ternary::info, 0, n, k, m};
    weights_ = WeightsOf(c);
    Random random(m);
    for (float& v : x_) v = random.Normal();
    lutra::Context serial;
    activations_ = &memory_.Quantize(lutra::View(static_cast<const float*>(x_.data()), m, k), serial);
    const Unpinned any_core;
    pool_ = std::make_unique<hwy::ThreadPool>(threads);
    from_pool_ = lutra::Context(lutra::PoolExecutor(*pool_));
    for (size_t i = 0; i < pool_->NumWorkers(); ++i) shares_.emplace_back(lutra::Share(i, pool_->NumWorkers()));
    for (lutra::Context& context : shares_) context.set_target(Flags().target);
    from_pool_.set_target(Flags().target);
    Shared();
    Pooled();
    std::vector<float> alone(m * n);
    Multiply(serial, &alone);
    if (shared_ != alone || pooled_ != alone) throw std::runtime_error("WRONG: y depends on who computes it");
  }
  void Shared() {
    pool_->Run(0, shares_.size(), [&](uint64_t i, size_t) { Multiply(shares_[static_cast<size_t>(i)], &shared_); });
  }
  void Pooled() { Multiply(from_pool_, &pooled_); }

 private:
  void Multiply(lutra::Context& context, std::vector<float>* y) {
    const size_t m = activations_->m;
    lutra::Gemm<>(*activations_, weights_->packed, lutra::View(y->data(), m, y->size() / m), context);
  }

  std::shared_ptr<const GemmWeights> weights_;
  std::vector<float> x_, shared_, pooled_;
  lutra::ActivationBuffer memory_;
  const lutra::Activations* activations_ = nullptr;
  std::unique_ptr<hwy::ThreadPool> pool_;
  lutra::Context from_pool_;
  std::vector<lutra::Context> shares_;
};

[[maybe_unused]] const bool registered = [] {
  for (const Shape& s : {Shape{2560, 2560}, Shape{6912, 2560}}) {
    for (const size_t m : {size_t{1}, size_t{8}, size_t{128}}) {
      Register(Format("threads/share/ternary/%zux%zu/M:%zu", s.n, s.k, m), true, [=](Bench& b) {
        OnPool both(m, s.n, s.k, b.team.workers() - 1);
        Row row;
        row.op = {"lutra", static_cast<double>(m * s.n * s.k), [&] { both.Shared(); }};
        row.rivals.push_back({"pool", row.op.work, [&] { both.Pooled(); }});
        b.Time(std::move(row));
      });
    }
  }
  return true;
}();

}}  // namespace bench
