// oneDNN, depthwise convolution in whatever layout it likes best; reorders are not timed.
#include <omp.h>

#include <dnnl.hpp>

#include "bench/peers/peer.h"

namespace bench {
namespace {

using dnnl::memory;
using Tag = memory::format_tag;

class OneDnn : public ConvPeer {
 public:
  OneDnn(const ConvShape& s, size_t threads)
      : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_), threads_(threads) {
    omp_set_num_threads(static_cast<int>(threads));
    const auto n = [](size_t v) { return static_cast<memory::dim>(v); };
    const memory::dims image = {1, n(s.c), n(s.h), n(s.w)}, taps = {n(s.c), 1, 1, n(s.kh), n(s.kw)};
    const auto f32 = memory::data_type::f32;
    const memory::desc any_image(image, f32, Tag::any), any_taps(taps, f32, Tag::any);
    const memory::dims pad = {n((s.kh - 1) / 2), n((s.kw - 1) / 2)}, pad_end = {n(s.kh / 2), n(s.kw / 2)};
    const dnnl::convolution_forward::primitive_desc conv(engine_, dnnl::prop_kind::forward_inference,
                                                         dnnl::algorithm::convolution_direct, any_image, any_taps,
                                                         any_image, memory::dims{1, 1}, pad, pad_end);
    in_ = memory(conv.src_desc(), engine_);
    taps_ = memory(conv.weights_desc(), engine_);
    out_ = memory(conv.dst_desc(), engine_);
    nhwc_ = memory::desc(image, f32, Tag::nhwc);
    memory in(nhwc_, engine_, const_cast<float*>(s.in));
    dnnl::reorder(in, in_).execute(stream_, in, in_);
    memory hwc({taps, f32, Tag::hwigo}, engine_, const_cast<float*>(s.taps));
    dnnl::reorder(hwc, taps_).execute(stream_, hwc, taps_);
    conv_ = dnnl::convolution_forward(conv);
    stream_.wait();
  }
  std::string name() const override { return "onednn"; }
  void Run() override {
    omp_set_num_threads(static_cast<int>(threads_));
    conv_.execute(stream_, {{DNNL_ARG_SRC, in_}, {DNNL_ARG_WEIGHTS, taps_}, {DNNL_ARG_DST, out_}});
    stream_.wait();
  }
  void Output(std::vector<float>* y) override {
    memory out(nhwc_, engine_, y->data());
    dnnl::reorder(out_, out).execute(stream_, out_, out);
    stream_.wait();
  }

 private:
  dnnl::engine engine_;
  dnnl::stream stream_;
  size_t threads_;
  memory in_, taps_, out_;
  memory::desc nhwc_;
  dnnl::convolution_forward conv_;
};

}  // namespace

std::unique_ptr<ConvPeer> OneDnnConv(const ConvShape& shape, size_t threads) {
  return std::make_unique<OneDnn>(shape, threads);
}

}  // namespace bench
