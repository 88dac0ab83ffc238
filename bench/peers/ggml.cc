// ggml's own matrix multiplication through its CPU backend: TQ2_0 for ternary weights, TQ1_0 (1.69 bits) beside
// our 1.67, Q4_0 (repacked where the backend does so) for 4 bit in groups of 32.
#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml.h>

#include <algorithm>
#include <cstring>

#include "bench/gemm/cases.h"
#include "bench/peers/peer.h"

namespace bench {
namespace {

class Ggml : public GemmPeer {
 public:
  Ggml(const GemmRun& run, ggml_type type, size_t threads) : run_(run) {
    const GemmCase& c = run.shape();
    static const bool loaded = (ggml_backend_load_all(), true);
    (void)loaded;
    backend_ = ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, nullptr);
    if (backend_ == nullptr) throw std::runtime_error("ggml has no CPU backend");
    ggml_backend_dev_t device = ggml_backend_get_device(backend_);
    ggml_backend_reg_t registry = ggml_backend_dev_backend_reg(device);
    const auto set_threads = reinterpret_cast<ggml_backend_set_n_threads_t>(
        ggml_backend_reg_get_proc_address(registry, "ggml_backend_set_n_threads"));
    if (set_threads != nullptr) set_threads(backend_, static_cast<int>(threads));

    const std::vector<float> weights = Weights();
    std::vector<uint8_t> quantised(ggml_row_size(type, static_cast<int64_t>(c.k)) * c.n);
    ggml_quantize_chunk(type, weights.data(), quantised.data(), 0, static_cast<int64_t>(c.n), static_cast<int64_t>(c.k),
                        nullptr);
    const size_t copies = !c.cold         ? 1
                          : Flags().smoke ? 2
                                          : std::min<size_t>(1000, (size_t{512} << 20) / quantised.size());

    context_ = ggml_init({ggml_tensor_overhead() * (2 * copies + 8), nullptr, true});
    ggml_tensor* x = ggml_new_tensor_2d(context_, GGML_TYPE_F32, static_cast<int64_t>(c.k), static_cast<int64_t>(c.m));
    std::vector<ggml_tensor*> w;
    for (size_t i = 0; i < copies; ++i) {
      w.push_back(ggml_new_tensor_2d(context_, type, static_cast<int64_t>(c.k), static_cast<int64_t>(c.n)));
    }
    buffers_.push_back(AllocateWeights(device, registry, type, w));
    for (ggml_tensor* t : w) ggml_backend_tensor_set(t, quantised.data(), 0, quantised.size());
    graph_context_ =
        ggml_init({(ggml_tensor_overhead() + ggml_graph_overhead_custom(8, false)) * (copies + 2), nullptr, true});
    for (ggml_tensor* t : w) {
      ggml_cgraph* graph = ggml_new_graph_custom(graph_context_, 8, false);
      y_.push_back(ggml_mul_mat(graph_context_, t, x));
      ggml_build_forward_expand(graph, y_.back());
      graphs_.push_back(graph);
    }
    buffers_.push_back(ggml_backend_alloc_ctx_tensors(context_, backend_));  // x
    buffers_.push_back(ggml_backend_alloc_ctx_tensors(graph_context_, backend_));
    ggml_backend_tensor_set(x, run.x().data(), 0, run.x().size() * sizeof(float));
  }
  ~Ggml() override {
    for (ggml_backend_buffer_t b : buffers_) ggml_backend_buffer_free(b);
    ggml_free(graph_context_);
    ggml_free(context_);
    ggml_backend_free(backend_);
  }
  std::string name() const override { return "ggml"; }
  const float* Run() override {
    ggml_backend_graph_compute(backend_, graphs_[next_]);
    const float* y = static_cast<const float*>(ggml_get_data(y_[next_]));
    next_ = (next_ + 1) % graphs_.size();
    return y;
  }

 private:
  std::vector<float> Weights() const {
    const GemmCase& c = run_.shape();
    std::vector<float> all(c.n * c.k);
    for (size_t i = 0; i < all.size(); ++i) all[i] = run_.Weight(i / c.k, i % c.k);
    return all;
  }
  // In the backend's repacking buffer where it has one that takes the type, else in its plain one.
  ggml_backend_buffer_t AllocateWeights(ggml_backend_dev_t device, ggml_backend_reg_t registry, ggml_type type,
                                        const std::vector<ggml_tensor*>& w) {
    std::vector<ggml_backend_buffer_type_t> types;
    const auto extra = reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(
        ggml_backend_reg_get_proc_address(registry, "ggml_backend_dev_get_extra_bufts"));
    if (extra != nullptr && type == GGML_TYPE_Q4_0) {
      for (ggml_backend_buffer_type_t* t = extra(device); t != nullptr && *t != nullptr; ++t) {
        if (std::strstr(ggml_backend_buft_name(*t), "REPACK") != nullptr) types.push_back(*t);
      }
    }
    types.push_back(ggml_backend_dev_buffer_type(device));
    const size_t alignment = 64;
    const size_t pitch = (ggml_backend_buft_get_alloc_size(types[0], w[0]) + alignment - 1) / alignment * alignment;
    ggml_backend_buffer_t buffer = ggml_backend_buft_alloc_buffer(types[0], pitch * w.size() + alignment);
    if (buffer == nullptr) throw std::runtime_error("ggml: no memory");
    ggml_backend_buffer_set_usage(buffer, GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    auto* base = static_cast<char*>(ggml_backend_buffer_get_base(buffer));
    for (size_t i = 0; i < w.size(); ++i) ggml_backend_tensor_alloc(buffer, w[i], base + i * pitch);
    return buffer;
  }

  const GemmRun& run_;
  ggml_backend_t backend_ = nullptr;
  ggml_context* context_ = nullptr;
  ggml_context* graph_context_ = nullptr;
  std::vector<ggml_tensor*> y_;
  std::vector<ggml_cgraph*> graphs_;
  std::vector<ggml_backend_buffer_t> buffers_;
  size_t next_ = 0;
};

}  // namespace

std::unique_ptr<GemmPeer> GgmlGemm(const GemmRun& run, size_t threads) {
  const GemmCase& c = run.shape();
  if (c.format == lutra::Ternary::info && c.group == 0 && c.k % 256 == 0) {
    return std::make_unique<Ggml>(run, c.unit == lutra::Unit::kTriple ? GGML_TYPE_TQ1_0 : GGML_TYPE_TQ2_0, threads);
  }
  if (c.format == lutra::Int4::info && c.group == 32 && c.k % 32 == 0) {
    return std::make_unique<Ggml>(run, GGML_TYPE_Q4_0, threads);
  }
  return nullptr;
}

}  // namespace bench
