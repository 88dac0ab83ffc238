// Photographs in linear light, from files and to files.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

struct Picture {
  size_t height = 0, width = 0;
  std::vector<float> planes;  // red, green, blue: [3][height][width], 0 is black, 1 white

  double megapixels() const { return static_cast<double>(height * width) / 1e6; }
};

// A PNG or JPEG file, its transparency and its rotation left out. Throws std::runtime_error with one line that says
// what is wrong.
Picture ReadPicture(const std::string& path);

// The bytes of a PNG file of 8 bits a channel.
std::string EncodePng(const Picture& picture);
