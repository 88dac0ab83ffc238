// ONNX Runtime's CPU provider: MatMulNBits with int8 compute, depthwise Conv, and InceptionNeXt's mixer as a graph.
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <stdexcept>

#include "bench/gemm/cases.h"
#include "bench/peers/peer.h"

namespace bench {
namespace {

// A graph of f32 nodes with one input "x" and one output "y".
class Graph {
 public:
  using Shape = std::vector<int64_t>;

  Ort::OpAttr Int(const char* name, int64_t v) { return {name, &v, 1, ORT_OP_ATTR_INT}; }
  Ort::OpAttr Ints(const char* name, const Shape& v) {
    return {name, v.data(), static_cast<int>(v.size()), ORT_OP_ATTR_INTS};
  }
  template <class T>
  void Constant(const std::string& name, const Shape& shape, std::vector<T> data) {
    if (data.size() * sizeof(T) < 128) {  // the graph wants small ones in memory of its own
      Ort::AllocatorWithDefaultOptions allocator;
      Ort::Value value = Ort::Value::CreateTensor<T>(allocator, shape.data(), shape.size());
      std::copy(data.begin(), data.end(), value.GetTensorMutableData<T>());
      graph_.AddInitializer(name, value, false);
      return;
    }
    auto held = std::make_shared<std::vector<T>>(std::move(data));
    kept_.push_back(held);
    Ort::Value value = Ort::Value::CreateTensor<T>(cpu_, held->data(), held->size(), shape.data(), shape.size());
    graph_.AddInitializer(name, value, true);
  }
  void Node(const char* op, const char* domain, const std::vector<std::string>& in, const std::vector<std::string>& out,
            std::vector<Ort::OpAttr> attributes) {
    Ort::Node node(op, domain, out[0] + "_node", in, out, attributes);
    graph_.AddNode(node);
  }
  void Finish(const Shape& x, const Shape& y, size_t threads) {
    std::vector<Ort::ValueInfo> in, out;
    in.push_back(Info("x", x));
    out.push_back(Info("y", y));
    graph_.SetInputs(in);
    graph_.SetOutputs(out);
    Ort::Model model({{"", 18}, {"com.microsoft", 1}, {"com.microsoft.nchwc", 1}});
    model.AddGraph(graph_);
    Ort::SessionOptions options;
    options.SetIntraOpNumThreads(static_cast<int>(threads));
    options.SetInterOpNumThreads(1);
    options.SetGraphOptimizationLevel(ORT_ENABLE_ALL);
    static Ort::Env env(ORT_LOGGING_LEVEL_ERROR, "lutra");
    session_ = Ort::Session(env, model, options);
    in_.resize(Count(x));
    out_.resize(Count(y));
    binding_ = Ort::IoBinding(session_);
    x_ = Ort::Value::CreateTensor<float>(cpu_, in_.data(), in_.size(), x.data(), x.size());
    y_ = Ort::Value::CreateTensor<float>(cpu_, out_.data(), out_.size(), y.data(), y.size());
    binding_.BindInput("x", x_);
    binding_.BindOutput("y", y_);
  }
  void Run() { session_.Run(Ort::RunOptions{nullptr}, binding_); }
  std::vector<float>& in() { return in_; }
  const std::vector<float>& out() const { return out_; }

 private:
  static size_t Count(const Shape& shape) {
    size_t count = 1;
    for (const int64_t d : shape) count *= static_cast<size_t>(d);
    return count;
  }
  static Ort::ValueInfo Info(const char* name, const Shape& shape) {
    const Ort::TensorTypeAndShapeInfo tensor(ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, shape);
    const Ort::TypeInfo type = Ort::TypeInfo::CreateTensorInfo(tensor.GetConst());
    return Ort::ValueInfo(name, type.GetConst());
  }

  Ort::MemoryInfo cpu_ = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  std::vector<std::shared_ptr<void>> kept_;
  Ort::Graph graph_;
  Ort::Session session_{nullptr};
  Ort::IoBinding binding_{nullptr};
  Ort::Value x_{nullptr}, y_{nullptr};
  std::vector<float> in_, out_;
};

class OrtGemm : public GemmPeer {
 public:
  OrtGemm(const GemmRun& run, size_t threads) {
    const GemmCase& c = run.shape();
    const size_t bits = c.format.bits, block = c.group == 0 ? 128 : c.group, blocks = c.k / block;
    const int shift = c.format == lutra::Ternary::info ? 1 : 0;  // its zero point is 2 for two bits
    std::vector<uint8_t> codes(c.n * c.k * bits / 8);
    for (size_t i = 0; i < c.n * c.k; ++i) {
      const auto code = static_cast<unsigned>(run.weights().codes[i] + shift);
      codes[i * bits / 8] = static_cast<uint8_t>(codes[i * bits / 8] | code << i * bits % 8);
    }
    std::vector<float> scales(c.n * blocks);
    for (size_t i = 0; i < scales.size(); ++i) scales[i] = run.weights().scales[c.group == 0 ? 0 : i];
    const auto n = [](size_t v) { return static_cast<int64_t>(v); };
    graph_.Constant<uint8_t>("b", {n(c.n), n(blocks), n(block * bits / 8)}, std::move(codes));
    graph_.Constant<float>("s", {n(c.n * blocks)}, std::move(scales));
    std::vector<Ort::OpAttr> attributes;
    attributes.push_back(graph_.Int("K", n(c.k)));
    attributes.push_back(graph_.Int("N", n(c.n)));
    attributes.push_back(graph_.Int("bits", n(bits)));
    attributes.push_back(graph_.Int("block_size", n(block)));
    attributes.push_back(graph_.Int("accuracy_level", 4));
    graph_.Node("MatMulNBits", "com.microsoft", {"x", "b", "s"}, {"y"}, std::move(attributes));
    graph_.Finish({n(c.m), n(c.k)}, {n(c.m), n(c.n)}, threads);
    graph_.in() = run.x();
  }
  std::string name() const override { return "onnxruntime"; }
  const float* Run() override {
    graph_.Run();
    return graph_.out().data();
  }

 private:
  Graph graph_;
};

// [h][w][c] <-> [c][h][w]
void ToPlanes(const float* from, size_t pixels, size_t c, float* to) {
  for (size_t p = 0; p < pixels; ++p) {
    for (size_t k = 0; k < c; ++k) to[k * pixels + p] = from[p * c + k];
  }
}
void FromPlanes(const float* from, size_t pixels, size_t c, float* to) {
  for (size_t p = 0; p < pixels; ++p) {
    for (size_t k = 0; k < c; ++k) to[p * c + k] = from[k * pixels + p];
  }
}

class OrtConv : public ConvPeer {
 public:
  OrtConv(const ConvShape& s, size_t threads) : shape_(s) {
    const auto n = [](size_t v) { return static_cast<int64_t>(v); };
    std::vector<float> taps(s.c * s.kh * s.kw);
    ToPlanes(s.taps, s.kh * s.kw, s.c, taps.data());
    graph_.Constant<float>("w", {n(s.c), 1, n(s.kh), n(s.kw)}, std::move(taps));
    std::vector<Ort::OpAttr> attributes;
    attributes.push_back(graph_.Int("group", n(s.c)));
    attributes.push_back(graph_.Ints("kernel_shape", {n(s.kh), n(s.kw)}));
    attributes.push_back(graph_.Ints("pads", {n((s.kh - 1) / 2), n((s.kw - 1) / 2), n(s.kh / 2), n(s.kw / 2)}));
    graph_.Node("Conv", "", {"x", "w"}, {"y"}, std::move(attributes));
    const Graph::Shape image = {1, n(s.c), n(s.h), n(s.w)};
    graph_.Finish(image, image, threads);
    ToPlanes(s.in, s.h * s.w, s.c, graph_.in().data());
  }
  std::string name() const override { return "onnxruntime"; }
  void Run() override { graph_.Run(); }
  void Output(std::vector<float>* y) override {
    FromPlanes(graph_.out().data(), shape_.h * shape_.w, shape_.c, y->data());
  }

 private:
  ConvShape shape_;
  Graph graph_;
};

// Channels split in four: as they are, 3x3, 1x11, 11x1.
class OrtInception : public ConvPeer {
 public:
  OrtInception(const InceptionShape& s, size_t threads) : shape_(s) {
    const auto n = [](size_t v) { return static_cast<int64_t>(v); };
    const size_t g = s.branch, rest = s.c - 3 * g;
    graph_.Constant<int64_t>("sizes", {4}, {n(rest), n(g), n(g), n(g)});
    std::vector<Ort::OpAttr> axis, axis2;
    axis.push_back(graph_.Int("axis", 1));
    axis2.push_back(graph_.Int("axis", 1));
    graph_.Node("Split", "", {"x", "sizes"}, {"x0", "x1", "x2", "x3"}, std::move(axis));
    for (int i = 0; i < 3; ++i) {
      const size_t kh = InceptionShape::kSizes[i][0], kw = InceptionShape::kSizes[i][1];
      std::vector<float> taps(g * kh * kw);
      ToPlanes(s.taps[i], kh * kw, g, taps.data());
      const std::string digit = std::to_string(i + 1);
      graph_.Constant<float>("w" + digit, {n(g), 1, n(kh), n(kw)}, std::move(taps));
      std::vector<Ort::OpAttr> attributes;
      attributes.push_back(graph_.Int("group", n(g)));
      attributes.push_back(graph_.Ints("kernel_shape", {n(kh), n(kw)}));
      attributes.push_back(graph_.Ints("pads", {n(kh / 2), n(kw / 2), n(kh / 2), n(kw / 2)}));
      graph_.Node("Conv", "", {"x" + digit, "w" + digit}, {"y" + digit}, std::move(attributes));
    }
    graph_.Node("Concat", "", {"x0", "y1", "y2", "y3"}, {"y"}, std::move(axis2));
    const Graph::Shape image = {1, n(s.c), n(s.h), n(s.w)};
    graph_.Finish(image, image, threads);
    ToPlanes(s.in, s.h * s.w, s.c, graph_.in().data());
  }
  std::string name() const override { return "onnxruntime"; }
  void Run() override { graph_.Run(); }
  void Output(std::vector<float>* y) override {
    FromPlanes(graph_.out().data(), shape_.h * shape_.w, shape_.c, y->data());
  }

 private:
  InceptionShape shape_;
  Graph graph_;
};

}  // namespace

std::unique_ptr<GemmPeer> OnnxRuntimeGemm(const GemmRun& run, size_t threads) {
  const GemmCase& c = run.shape();
  const bool known = c.format == lutra::Ternary::info || c.format == lutra::Int2::info || c.format == lutra::Int4::info;
  if (!known || c.cold || c.k % (c.group == 0 ? 128 : c.group) != 0) return nullptr;
  return std::make_unique<OrtGemm>(run, threads);
}
std::unique_ptr<ConvPeer> OnnxRuntimeConv(const ConvShape& shape, size_t threads) {
  return std::make_unique<OrtConv>(shape, threads);
}
std::unique_ptr<ConvPeer> OnnxRuntimeInception(const InceptionShape& shape, size_t threads) {
  return std::make_unique<OrtInception>(shape, threads);
}

}  // namespace bench
