// Direct depthwise convolution of bf16 images, to bf16 and to f32, against the same values in f32; stride 1, same
// padding, a bias. Multiply-adds count every tap of every output, also those in the padding.
#include "bench/depthwise/conv_run.h"

namespace bench { namespace {

class StorageRun {
 public:
  StorageRun(const ConvRunShape& s, lutra::Layout layout, lutra::Context& context)
      : s_(s),
        layout_(layout),
        context_(&context),
        taps_(s.k * s.k * s.c),
        bias_(s.c, 0.5f),
        wide_(s.h * s.h * s.c),
        wide_out_(wide_.size()),
        in_(wide_.size()),
        out_(wide_.size()),
        plan_(lutra::DepthwiseKernel(lutra::Nhwc(Filled(&taps_), 1, s.k, s.k, s.c)), s.h, s.h, layout,
              lutra::ConvAlgo::kDirect) {
    Filled(&wide_);
    for (size_t i = 0; i < in_.size(); ++i) {
      in_[i] = lutra::ToBF16(wide_[i]);
      wide_[i] = lutra::ToFloat(in_[i]);
    }
    context = lutra::Context(context.executor(), plan_.scratch_per_worker(false, lutra::DType::kBF16));
    context.set_target(Flags().target);
    epilogue_.bias = bias_.data();
  }
  template <class In, class Out>
  Piece AsPiece(const std::string& name, const std::vector<In>& in, std::vector<Out>* out) {
    return {name, macs(), [this, &in, out] {
              lutra::DepthwiseConv2d(plan_, View(in.data()), View(out->data()), *context_, epilogue_);
            }};
  }
  void Add(Row* row) {
    Piece f32 = AsPiece("f32", wide_, &wide_out_);
    f32.run();
    const std::vector<float> want = wide_out_;
    row->op = AsPiece("lutra", in_, &out_);
    row->op.run();
    for (size_t i = 0; i < want.size(); ++i) {
      if (out_[i].bits != lutra::ToBF16(want[i]).bits) throw std::runtime_error("WRONG: bf16 to bf16");
    }
    Piece to_f32 = AsPiece("to_f32", in_, &wide_out_);
    to_f32.run();
    if (wide_out_ != want) throw std::runtime_error("WRONG: bf16 to f32");
    row->rivals.push_back(std::move(f32));
    row->rivals.push_back(std::move(to_f32));
  }
  double macs() const { return static_cast<double>(s_.h * s_.h * s_.c * s_.k * s_.k); }

 private:
  static const float* Filled(std::vector<float>* v) {
    Random random(v->size());
    for (float& x : *v) x = random.Normal();
    return v->data();
  }
  template <class T>
  std::conditional_t<std::is_const_v<T>, lutra::ConstImageView, lutra::ImageView> View(T* data) const {
    return layout_ == lutra::Layout::kNhwc ? lutra::Nhwc(data, 1, s_.h, s_.h, s_.c)
                                           : lutra::Nchw(data, 1, s_.c, s_.h, s_.h);
  }

  ConvRunShape s_;
  lutra::Layout layout_;
  lutra::Context* context_;
  std::vector<float> taps_, bias_, wide_, wide_out_;
  std::vector<lutra::BF16> in_, out_;
  lutra::DepthwisePlan plan_;
  lutra::Epilogue epilogue_;
};

void Add(const ConvRunShape& s, lutra::Layout layout) {
  const bool nhwc = layout == lutra::Layout::kNhwc;
  Register(Format("bf16/%zux%zux%zu/K:%zu/%s", s.h, s.h, s.c, s.k, nhwc ? "nhwc" : "nchw"), false, [=](Bench& b) {
    StorageRun run(s, layout, b.context);
    Row row;
    run.Add(&row);
    row.bounds.push_back(b.Against(Limit::kFma, run.macs()));
    row.note = Format("target=%s", lutra::TargetName(b.context.last_target()));
    b.Time(std::move(row));
  });
}

[[maybe_unused]] const bool registered = [] {
  for (const ConvRunShape& s : {ConvRunShape{56, 96, 3}, {14, 384, 3}, {56, 96, 7}, {28, 192, 7}}) {
    Add(s, lutra::Layout::kNhwc);
    Add(s, lutra::Layout::kNchw);
  }
  return true;
}();

}}  // namespace bench
