// XNNPACK, depthwise convolution in NHWC, its own layout.
#include <pthreadpool.h>
#include <xnnpack.h>

#include <cmath>
#include <stdexcept>

#include "bench/peers/peer.h"

namespace bench {
namespace {

void Check(xnn_status status, const char* what) {
  if (status != xnn_status_success) throw std::runtime_error(std::string("XNNPACK: ") + what + " failed");
}

class Xnnpack : public ConvPeer {
 public:
  Xnnpack(const ConvShape& s, size_t threads) : pool_(threads > 1 ? pthreadpool_create(threads) : nullptr) {
    Check(xnn_initialize(nullptr), "initialize");
    const auto n = [](size_t v) { return static_cast<uint32_t>(v); };
    out_.resize(s.h * s.w * s.c);
    in_.assign(s.in, s.in + out_.size());
    in_.resize(in_.size() + XNN_EXTRA_BYTES);
    Check(xnn_create_convolution2d_nhwc_f32(n((s.kh - 1) / 2), n(s.kw / 2), n(s.kh / 2), n((s.kw - 1) / 2), n(s.kh),
                                            n(s.kw), 1, 1, 1, 1, n(s.c), 1, 1, s.c, s.c, s.taps, nullptr, -INFINITY,
                                            INFINITY, XNN_FLAG_DEPTHWISE_CONVOLUTION, nullptr, nullptr, &op_),
          "create");
    size_t bytes = 0, alignment = 0;
    Check(xnn_reshape_convolution2d_nhwc_f32(op_, 1, s.h, s.w, &bytes, &alignment, nullptr, nullptr, pool_), "reshape");
    workspace_.resize(bytes + 64);
    char* at = workspace_.data() + (64 - reinterpret_cast<uintptr_t>(workspace_.data()) % 64);
    Check(xnn_setup_convolution2d_nhwc_f32(op_, at, in_.data(), out_.data()), "setup");
  }
  ~Xnnpack() override {
    xnn_delete_operator(op_);
    if (pool_ != nullptr) pthreadpool_destroy(pool_);
  }
  std::string name() const override { return "xnnpack"; }
  void Run() override { Check(xnn_run_operator(op_, pool_), "run"); }
  void Output(std::vector<float>* y) override { *y = out_; }

 private:
  pthreadpool_t pool_;
  xnn_operator_t op_ = nullptr;
  std::vector<float> in_, out_;
  std::vector<char> workspace_;
};

}  // namespace

std::unique_ptr<ConvPeer> XnnpackConv(const ConvShape& shape, size_t threads) {
  return std::make_unique<Xnnpack>(shape, threads);
}

}  // namespace bench
