// The 10,000 test pictures of Fashion-MNIST, from the files of the Debian package dataset-fashion-mnist.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

inline constexpr size_t kSide = 28, kPixels = kSide * kSide, kClasses = 10;
inline constexpr const char* kClassNames[kClasses] = {"T-shirt", "Trouser", "Pullover", "Dress", "Coat",
                                                      "Sandal",  "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};

struct Pictures {
  std::vector<uint8_t> pixels;  // [count][28][28], 255 is white
  std::vector<uint8_t> labels;  // [count], below kClasses
  size_t count() const { return labels.size(); }
};

// Reads t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, with .gz or without, from a folder. Throws
// std::runtime_error with one line that says what is wrong.
Pictures LoadTestPictures(const std::string& folder);
