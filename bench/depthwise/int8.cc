// Depthwise convolution of i8 images by i8 taps to i8, stride 1, same padding, against direct convolution in f32.
// Multiply-adds count every tap of every output, also those in the padding.
#include "bench/depthwise/conv_run.h"

namespace bench { namespace {

class IntRun {
 public:
  IntRun(const ConvRunShape& s, lutra::Layout layout, lutra::Context& context)
      : s_(s),
        layout_(layout),
        context_(&context),
        taps_(Fill(s.k * s.k * s.c, 1)),
        in_(Fill(s.h * s.h * s.c, 2)),
        out_(in_.size()),
        scale_(s.c, 0.02f / static_cast<float>(s.k)),
        kernel_(Taps(), {}, Quant()),
        plan_(kernel_, s.h, s.h, layout) {
    epilogue_.out_zero = -3;
  }
  void operator()() { lutra::DepthwiseConv2d(plan_, View(In()), View(out_.data()), *context_, epilogue_); }
  void Check() {
    (*this)();
    std::vector<int8_t> want(out_.size());
    lutra::reference::DepthwiseConv2d(Taps(), {}, Quant(), View(In()), View(want.data()), epilogue_);
    if (out_ != want) throw std::runtime_error("WRONG: an output differs from the reference");
  }
  Piece AsPiece(const std::string& name) {
    return {name, macs(), [this] { (*this)(); }};
  }
  double macs() const { return static_cast<double>(s_.h * s_.h * s_.c * s_.k * s_.k); }

 private:
  static std::vector<int8_t> Fill(size_t count, uint64_t seed) {
    Random random(seed);
    std::vector<int8_t> v(count);
    for (int8_t& x : v) x = static_cast<int8_t>(random.Next() >> 32);
    return v;
  }
  lutra::ConstImageView Taps() const { return lutra::Nhwc(taps_.data(), 1, s_.k, s_.k, s_.c); }
  lutra::ConvQuant Quant() const { return {5, scale_.data(), nullptr}; }
  template <class T>
  std::conditional_t<std::is_const_v<T>, lutra::ConstImageView, lutra::ImageView> View(T* data) const {
    return layout_ == lutra::Layout::kNhwc ? lutra::Nhwc(data, 1, s_.h, s_.h, s_.c)
                                           : lutra::Nchw(data, 1, s_.c, s_.h, s_.h);
  }
  const int8_t* In() const { return in_.data(); }

  ConvRunShape s_;
  lutra::Layout layout_;
  lutra::Context* context_;
  std::vector<int8_t> taps_, in_, out_;
  std::vector<float> scale_;
  lutra::DepthwiseKernel kernel_;
  lutra::DepthwisePlan plan_;
  lutra::Epilogue epilogue_;
};

void Add(const ConvRunShape& s, lutra::Layout layout, bool all) {
  const bool nhwc = layout == lutra::Layout::kNhwc;
  const std::string name = Format("int8/%zux%zux%zu/K:%zu/%s", s.h, s.h, s.c, s.k, nhwc ? "nhwc" : "nchw");
  Register(name, all, [=](Bench& b) {
    IntRun run(s, layout, b.context);
    run.Check();
    Row row;
    row.op = run.AsPiece("lutra");
    row.bounds.push_back(b.Against(Limit::kDot, run.macs()));
    row.bounds.push_back(b.Against(Limit::kPair, run.macs()));
    row.note = Format("target=%s", lutra::TargetName(b.context.last_target()));
    lutra::Context alone;
    std::unique_ptr<IntRun> other;
    std::unique_ptr<ConvRun> floats;
    if (all) {
      alone.set_target(Flags().target);
      other = std::make_unique<IntRun>(s, layout, alone);
      row.rivals.push_back(other->AsPiece("1thread"));
    } else {
      floats = std::make_unique<ConvRun>(s, layout, lutra::ConvAlgo::kDirect, alone);
      floats->Check();
      row.rivals.push_back(floats->AsPiece("f32"));
    }
    b.Time(std::move(row));
  });
}

[[maybe_unused]] const bool registered = [] {
  constexpr ConvRunShape kShapes[] = {{112, 32, 3}, {56, 96, 3},  {14, 384, 3}, {56, 96, 5},
                                      {56, 96, 7},  {28, 192, 7}, {14, 384, 7}, {56, 96, 9}};
  for (const ConvRunShape& s : kShapes) {
    Add(s, lutra::Layout::kNhwc, false);
    Add(s, lutra::Layout::kNhwc, true);
    Add(s, lutra::Layout::kNchw, false);
  }
  return true;
}();

}}  // namespace bench
