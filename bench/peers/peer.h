// Other libraries that do the same, behind one small interface. CMake links those that it finds; the lists are empty
// where there are none, or where a library does not take the shape.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "bench/harness.h"

namespace bench {

class GemmRun;

class GemmPeer {
 public:
  virtual ~GemmPeer() = default;
  virtual std::string name() const = 0;  // "ggml"
  // One multiplication of the same f32 activations by the same weights, in the peer's best layout, prepared before.
  // Returns y [m, n].
  virtual const float* Run() = 0;
};
// May throw away what a constructor finds it can't do.
std::vector<std::unique_ptr<GemmPeer>> GemmPeers(const GemmRun& run, size_t threads);

std::unique_ptr<GemmPeer> GgmlGemm(const GemmRun& run, size_t threads);         // ggml.cc; null: not this shape
std::unique_ptr<GemmPeer> OnnxRuntimeGemm(const GemmRun& run, size_t threads);  // onnxruntime.cc

// A depthwise convolution with stride 1 and same padding, f32.
struct ConvShape {
  size_t h = 0, w = 0, c = 0, kh = 0, kw = 0;
  const float* in = nullptr;    // [h][w][c]
  const float* taps = nullptr;  // [kh][kw][c]
};
class ConvPeer {
 public:
  virtual ~ConvPeer() = default;
  virtual std::string name() const = 0;
  virtual void Run() = 0;                          // in the peer's own best layout
  virtual void Output(std::vector<float>* y) = 0;  // [h][w][c]
};
std::vector<std::unique_ptr<ConvPeer>> ConvPeers(const ConvShape& shape, size_t threads);

// InceptionNeXt's mixer: the first channels as they are, then `branch` channels each by 3x3, 1x11 and 11x1.
struct InceptionShape {
  static constexpr size_t kSizes[3][2] = {{3, 3}, {1, 11}, {11, 1}};
  size_t h = 0, w = 0, c = 0, branch = 0;
  const float* in = nullptr;  // [h][w][c]
  const float* taps[3] = {};  // [kh][kw][branch]
};
std::vector<std::unique_ptr<ConvPeer>> InceptionPeers(const InceptionShape& shape, size_t threads);

std::unique_ptr<ConvPeer> OnnxRuntimeInception(const InceptionShape& shape, size_t threads);
std::unique_ptr<ConvPeer> OneDnnConv(const ConvShape& shape, size_t threads);
std::unique_ptr<ConvPeer> XnnpackConv(const ConvShape& shape, size_t threads);
std::unique_ptr<ConvPeer> OnnxRuntimeConv(const ConvShape& shape, size_t threads);

}  // namespace bench
