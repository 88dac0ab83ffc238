// An InceptionNeXt-style network for Fashion-MNIST: depthwise convolutions mix the pixels, ternary linear layers
// (BitNet b1.58) mix the channels. train.py holds the same network in PyTorch.
//
//   28 x 28       stem: 4x4 convolution of stride 2
//   14 x 14 x C   two blocks, mixer: channels split into identity | 3x3 | 1xK | Kx1
//    7 x 7 x D    pieces of 2 x 2 pixels through a linear layer, then two blocks, mixers: 13x13 and 7x7
//   10            mean over the pixels, layer norm, linear
//
// A block is   x = x + gamma * fc2(relu(fc1(mixer(x)))).
#pragma once
#include <string>
#include <vector>

#include "lutra/lutra.h"
#include "safetensors.h"

// Threads share a Net; each needs memory of its own to run it.
struct Workspace {
  lutra::Context context;
  lutra::ActivationBuffer quantised;
  std::vector<float> x, mixed, hidden, pieces, pooled;
};

class Net {
 public:
  static constexpr size_t kBatch = 16;  // pictures of a step: few enough that the caches hold their activations

  // Folds the batch norms into the convolutions, packs the linear layers in 2 bits a weight and plans the convolutions.
  // Throws std::exception where the model is not such a network.
  explicit Net(const Safetensors& model);

  Workspace MakeWorkspace() const;

  // logits [n, 10] of n pictures of 28 x 28 bytes, n <= kBatch.
  void Run(const uint8_t* pictures, size_t n, float* logits, Workspace& work) const;

  size_t linear_weights() const { return linear_weights_; }  // how many weights the linear layers have
  size_t packed_bytes() const { return packed_bytes_; }      // and what they take, scales and headers included

 private:
  struct Linear {
    lutra::PackedBuffer weight;
    std::vector<float> bias;
  };
  struct Conv {  // with its batch norm
    lutra::DepthwisePlan plan;
    std::vector<float> bias;
  };
  struct Block {
    size_t identity;          // channels that the mixer leaves alone
    std::vector<Conv> convs;  // each takes the channels behind those of the one before
    Linear fc1, fc2;
    std::vector<float> gamma;
  };

  Linear LoadLinear(const Safetensors& model, const std::string& name, size_t out, size_t in);
  Block LoadBlock(const Safetensors& model, const std::string& name, const std::vector<std::string>& convs,
                  size_t channels, size_t side);
  void RunStem(const uint8_t* pictures, const lutra::ImageView& x) const;
  void RunLinear(const Linear& layer, lutra::ConstMatrixView x, lutra::MatrixView y, Workspace& work,
                 lutra::Epilogue epilogue = {}) const;
  void RunBlock(const Block& block, const lutra::ImageView& x, lutra::MatrixView y, Workspace& work,
                const int32_t* y_row = nullptr) const;
  void RunNorm(const lutra::ConstImageView& x, lutra::MatrixView y) const;

  size_t channels_ = 0, channels2_ = 0, most_hidden_ = 0, linear_weights_ = 0, packed_bytes_ = 0;
  std::vector<float> stem_, stem_bias_, norm_, norm_bias_;  // stem_ is [4 * 4][channels]
  std::vector<Block> stage1_, stage2_;
  Linear down_, head_;
  std::vector<int32_t> piece_of_pixel_;
};
