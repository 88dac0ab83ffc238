#include "net.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <stdexcept>

#include "fashion_mnist.h"

namespace {

constexpr size_t kSide1 = 14, kSide2 = 7;         // of a picture in the two stages
constexpr float kMean = 0.2860f, kStd = 0.3530f;  // of the training pictures
constexpr float kEps = 1e-5f;                     // of all norms
constexpr size_t kMostChannels = 4096;

void Need(bool ok, const std::string& what) {
  if (!ok) throw std::runtime_error("the model " + what);
}

// What is left of a batch norm after the folding: its convolution's taps are multiplied by `scale`.
struct Fold {
  std::vector<float> scale, bias;
};
Fold FoldBatchNorm(const Safetensors& model, const std::string& name, size_t channels) {
  Fold fold{model.Floats(name + ".bn.weight", {channels}), model.Floats(name + ".bn.bias", {channels})};
  const std::vector<float> mean = model.Floats(name + ".bn.mean", {channels});
  const std::vector<float> var = model.Floats(name + ".bn.var", {channels});
  for (size_t c = 0; c < channels; ++c) {
    Need(var[c] >= 0, "has a negative variance in \"" + name + ".bn.var\"");
    fold.scale[c] /= std::sqrt(var[c] + kEps);
    fold.bias[c] -= mean[c] * fold.scale[c];
  }
  return fold;
}

// v with 12 significant bits, half of a float's. Products of two such numbers are exact, so a convolution gives the
// same bits whether or not the target has fused multiply-adds.
float Half(float v) {
  const uint32_t bits = std::bit_cast<uint32_t>(v);
  return std::bit_cast<float>((bits + 0x7ff + (bits >> 12 & 1)) & ~0xfffu);  // to nearest, ties to even
}

}  // namespace

// ---------------------------------------------------------------- loading

Net::Linear Net::LoadLinear(const Safetensors& model, const std::string& name, size_t out, size_t in) {
  const std::vector<float> weight = model.Floats(name + ".weight", {out, in});
  lutra::Context context;  // the calling thread
  Linear layer;
  layer.weight = lutra::QuantizeWeights<lutra::Ternary>(lutra::View(weight.data(), out, in), {.per_tensor = true},
                                                        lutra::Fit::kAbsMean, context);
  layer.bias = model.Floats(name + ".bias", {out});
  linear_weights_ += weight.size();
  packed_bytes_ += layer.weight.bytes().size();
  return layer;
}

Net::Block Net::LoadBlock(const Safetensors& model, const std::string& name, const std::vector<std::string>& convs,
                          size_t channels, size_t side) {
  Block block;
  block.identity = channels;
  for (const std::string& conv : convs) {
    const std::string full = name + "." + conv;
    const std::vector<size_t>& shape = model.Shape(full + ".weight");  // [C, 1, KH, KW]
    Need(shape.size() == 4 && shape[0] > 0 && shape[0] <= block.identity && shape[2] % 2 == 1 && shape[3] % 2 == 1 &&
             shape[2] <= 4 * side && shape[3] <= 4 * side,
         "has taps of a wrong shape in \"" + full + ".weight\"");
    const size_t c = shape[0], h = shape[2], w = shape[3];
    std::vector<float> taps = model.Floats(full + ".weight", {c, 1, h, w});
    Fold fold = FoldBatchNorm(model, full, c);
    for (size_t i = 0; i < taps.size(); ++i) taps[i] = Half(taps[i] * fold.scale[i / (h * w)]);
    const lutra::DepthwiseKernel kernel(lutra::Nchw(taps.data(), 1, c, h, w));
    // Direct: sums in one order on every target.
    lutra::DepthwisePlan plan(kernel, side, side, lutra::Layout::kNhwc, lutra::ConvAlgo::kDirect);
    block.convs.push_back({std::move(plan), std::move(fold.bias)});
    block.identity -= c;
  }
  const std::vector<size_t>& hidden = model.Shape(name + ".fc1.weight");
  Need(hidden.size() == 2 && hidden[0] > 0 && hidden[0] <= kMostChannels,
       "has a wrong shape in \"" + name + ".fc1.weight\"");
  block.fc1 = LoadLinear(model, name + ".fc1", hidden[0], channels);
  block.fc2 = LoadLinear(model, name + ".fc2", channels, hidden[0]);
  block.gamma = model.Floats(name + ".gamma", {channels});
  most_hidden_ = std::max(most_hidden_, side * side * hidden[0]);
  return block;
}

Net::Net(const Safetensors& model) {
  const std::vector<size_t>&stem = model.Shape("stem.weight"), &down = model.Shape("down.weight");
  Need(stem.size() == 4 && stem[0] > 0 && stem[0] <= kMostChannels, "has a wrong shape in \"stem.weight\"");
  Need(down.size() == 2 && down[0] > 0 && down[0] <= kMostChannels, "has a wrong shape in \"down.weight\"");
  Need(model.Metadata("activation") == "relu", "has another activation than relu");
  channels_ = stem[0];
  channels2_ = down[0];

  const std::vector<float> taps = model.Floats("stem.weight", {channels_, 1, 4, 4});
  const Fold fold = FoldBatchNorm(model, "stem", channels_);
  stem_.resize(taps.size());
  for (size_t c = 0; c < channels_; ++c) {
    for (size_t t = 0; t < 16; ++t) stem_[t * channels_ + c] = taps[c * 16 + t] * fold.scale[c];
  }
  stem_bias_ = fold.bias;
  for (const char* name : {"stage1.0", "stage1.1"}) {
    stage1_.push_back(LoadBlock(model, name, {"conv3x3", "conv1xk", "convkx1"}, channels_, kSide1));
  }
  down_ = LoadLinear(model, "down", channels2_, 4 * channels_);
  for (const char* name : {"stage2.0", "stage2.1"}) {
    stage2_.push_back(LoadBlock(model, name, {"conv"}, channels2_, kSide2));
  }
  norm_ = model.Floats("head.norm.weight", {channels2_});
  norm_bias_ = model.Floats("head.norm.bias", {channels2_});
  head_ = LoadLinear(model, "head", kClasses, channels2_);

  // Pixel (y, x) is part (y % 2, x % 2) of piece (y / 2, x / 2); the four parts of a piece lie side by side.
  for (size_t pixel = 0; pixel < kBatch * kSide1 * kSide1; ++pixel) {
    const size_t picture = pixel / (kSide1 * kSide1), y = pixel / kSide1 % kSide1, x = pixel % kSide1;
    const size_t piece = (picture * kSide2 + y / 2) * kSide2 + x / 2;
    piece_of_pixel_.push_back(static_cast<int32_t>(piece * 4 + y % 2 * 2 + x % 2));
  }
}

Workspace Net::MakeWorkspace() const {
  Workspace work;
  const size_t stage1 = kBatch * kSide1 * kSide1 * channels_, stage2 = kBatch * kSide2 * kSide2 * channels2_;
  work.x.resize(std::max(stage1, stage2));
  work.mixed.resize(std::max(stage1, stage2));
  work.hidden.resize(kBatch * most_hidden_);
  work.pieces.resize(stage1);
  work.pooled.resize(kBatch * channels2_);
  return work;
}

// ---------------------------------------------------------------- running

void Net::Run(const uint8_t* pictures, size_t n, float* logits, Workspace& work) const {
  if (n > kBatch) throw std::invalid_argument("Net::Run: n is above kBatch");
  const lutra::ImageView x1 = lutra::Nhwc(work.x.data(), n, kSide1, kSide1, channels_);
  RunStem(pictures, x1);
  RunBlock(stage1_[0], x1, lutra::Pixels(x1), work);
  // The last block of the stage stores its pixels where the next layer wants them: [piece of 2 x 2][part][channel].
  const size_t pixels = n * kSide1 * kSide1;
  RunBlock(stage1_[1], x1, lutra::View(work.pieces.data(), pixels, channels_), work, piece_of_pixel_.data());

  const lutra::ImageView x2 = lutra::Nhwc(work.x.data(), n, kSide2, kSide2, channels2_);
  RunLinear(down_, lutra::View(work.pieces.data(), pixels / 4, 4 * channels_), lutra::Pixels(x2), work);
  for (const Block& block : stage2_) RunBlock(block, x2, lutra::Pixels(x2), work);

  const lutra::MatrixView pooled = lutra::View(work.pooled.data(), n, channels2_);
  RunNorm(x2, pooled);
  RunLinear(head_, pooled, lutra::View(logits, n, kClasses), work);
}

// BitLinear: rows of x to 8 bits, each with a scale of its own, then the exact product with the ternary weights.
void Net::RunLinear(const Linear& layer, lutra::ConstMatrixView x, lutra::MatrixView y, Workspace& work,
                    lutra::Epilogue epilogue) const {
  epilogue.bias = layer.bias.data();
  lutra::Gemm<lutra::Ternary>(work.quantised.Quantize(x, work.context), layer.weight, y, work.context, epilogue);
}

// y = x + gamma * fc2(relu(fc1(mixer(x)))); y may be x.
void Net::RunBlock(const Block& block, const lutra::ImageView& x, lutra::MatrixView y, Workspace& work,
                   const int32_t* y_row) const {
  const size_t pixels = x.n * x.h * x.w, c = x.c;
  const lutra::ImageView mixed = lutra::Nhwc(work.mixed.data(), x.n, x.h, x.w, c);
  const float* from = static_cast<const float*>(x.data);
  float* to = work.mixed.data();
  for (size_t i = 0; i < pixels; ++i, from += c, to += c) {
    std::copy(from, from + block.identity, to);
    std::transform(from + block.identity, from + c, to + block.identity, Half);
  }
  std::array<lutra::Branch, 4> branches;
  size_t used = 0, begin = block.identity;
  if (begin > 0) branches[used++] = {.begin = 0, .end = begin};
  for (const Conv& conv : block.convs) {
    const size_t end = begin + conv.plan.c();
    branches[used++] = {.begin = begin, .end = end, .plan = &conv.plan, .epilogue = {.bias = conv.bias.data()}};
    begin = end;
  }
  lutra::ChannelSplit({branches.data(), used}, mixed, mixed, work.context);  // in place: the identity costs nothing

  const lutra::MatrixView hidden = lutra::View(work.hidden.data(), pixels, block.fc1.bias.size());
  RunLinear(block.fc1, lutra::Pixels(mixed), hidden, work, {.act = lutra::Act::kRelu});
  RunLinear(block.fc2, hidden, y, work,
            {.mul = lutra::View(block.gamma.data(), pixels, c, 0),  // one row for all pixels
             .residual = lutra::Pixels(x),
             .y_row = y_row});
}

// A dense convolution of one channel is none of lutra's jobs: 16 taps, channels side by side; the border is the mean
// grey, which is 0.
void Net::RunStem(const uint8_t* pictures, const lutra::ImageView& x) const {
  float padded[30][30] = {};
  float* out = static_cast<float*>(x.data);
  for (size_t n = 0; n < x.n; ++n) {
    for (size_t i = 0; i < kPixels; ++i) {
      padded[i / kSide + 1][i % kSide + 1] = (static_cast<float>(pictures[n * kPixels + i]) / 255.0f - kMean) / kStd;
    }
    for (size_t pixel = 0; pixel < kSide1 * kSide1; ++pixel, out += channels_) {
      std::copy(stem_bias_.begin(), stem_bias_.end(), out);
      for (size_t t = 0; t < 16; ++t) {
        const float v = padded[pixel / kSide1 * 2 + t / 4][pixel % kSide1 * 2 + t % 4];
        for (size_t c = 0; c < channels_; ++c) out[c] += v * stem_[t * channels_ + c];
      }
    }
  }
}

// The mean over the pixels of a picture, then the layer norm of its channels.
void Net::RunNorm(const lutra::ConstImageView& x, lutra::MatrixView y) const {
  const size_t pixels = x.h * x.w;
  const float* from = static_cast<const float*>(x.data);
  float* out = static_cast<float*>(y.data);
  for (size_t n = 0; n < x.n; ++n, out += x.c) {
    std::fill(out, out + x.c, 0.0f);
    for (size_t i = 0; i < pixels; ++i, from += x.c) {
      for (size_t c = 0; c < x.c; ++c) out[c] += from[c];
    }
    float mean = 0, var = 0;
    for (size_t c = 0; c < x.c; ++c) mean += out[c] /= static_cast<float>(pixels);
    mean /= static_cast<float>(x.c);
    for (size_t c = 0; c < x.c; ++c) var += (out[c] - mean) * (out[c] - mean);
    const float scale = 1.0f / std::sqrt(var / static_cast<float>(x.c) + kEps);
    for (size_t c = 0; c < x.c; ++c) out[c] = (out[c] - mean) * scale * norm_[c] + norm_bias_[c];
  }
}
