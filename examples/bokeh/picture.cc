#include "picture.h"

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_NO_STDIO
#define STBI_NO_HDR
#define STBI_NO_LINEAR
#include <stb/stb_image.h>
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#include <stb/stb_image_write.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>

namespace {

constexpr size_t kMostPixels = 100'000'000;

// IEC 61966-2-1.
double LinearOf(double s) { return s <= 0.04045 ? s / 12.92 : std::pow((s + 0.055) / 1.055, 2.4); }
double SrgbOf(double v) { return v <= 0.0031308 ? v * 12.92 : 1.055 * std::pow(v, 1 / 2.4) - 0.055; }

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error(path + ": cannot be read: " + std::strerror(errno));
  try {
    return {std::istreambuf_iterator<char>(in), {}};
  } catch (const std::ios_base::failure&) {  // a folder
    throw std::runtime_error(path + ": cannot be read");
  }
}

// stb fills what a JPEG file lacks with grey: its scan must have an end. Inside of a scan neither marker can occur.
bool IsCutJpeg(const std::string& bytes) {
  if (bytes.compare(0, 2, "\xff\xd8") != 0) return false;
  const size_t scan = bytes.rfind("\xff\xda");
  return scan == std::string::npos || bytes.find("\xff\xd9", scan) == std::string::npos;
}

}  // namespace

Picture ReadPicture(const std::string& path) {
  const std::string bytes = ReadFile(path);
  if (bytes.empty()) throw std::runtime_error(path + ": is empty, needed is a PNG or JPEG file");
  if (bytes.size() > INT32_MAX) throw std::runtime_error(path + ": is larger than 2 GB");
  const auto* data = reinterpret_cast<const stbi_uc*>(bytes.data());
  const int size = static_cast<int>(bytes.size());
  int width = 0, height = 0, channels = 0;
  if (stbi_info_from_memory(data, size, &width, &height, &channels) == 0) {
    throw std::runtime_error(path + ": is not a PNG or JPEG file (" + std::string(stbi_failure_reason()) + ")");
  }
  Picture picture;
  picture.width = static_cast<size_t>(width);
  picture.height = static_cast<size_t>(height);
  const size_t pixels = picture.width * picture.height;
  if (pixels == 0 || pixels > kMostPixels) {
    throw std::runtime_error(path + ": has " + std::to_string(width) + " x " + std::to_string(height) +
                             " pixels, allowed are 1 ... " + std::to_string(kMostPixels));
  }
  if (IsCutJpeg(bytes)) throw std::runtime_error(path + ": is cut off");
  const std::unique_ptr<stbi_uc, void (*)(void*)> rgb(stbi_load_from_memory(data, size, &width, &height, &channels, 3),
                                                      &stbi_image_free);
  if (rgb == nullptr) {
    throw std::runtime_error(path + ": is damaged or cut off (" + std::string(stbi_failure_reason()) + ")");
  }

  std::array<float, 256> linear;
  for (size_t i = 0; i < linear.size(); ++i) linear[i] = static_cast<float>(LinearOf(static_cast<double>(i) / 255));
  picture.planes.resize(3 * pixels);
  for (size_t i = 0; i < 3 * pixels; ++i) picture.planes[i % 3 * pixels + i / 3] = linear[rgb.get()[i]];
  return picture;
}

std::string EncodePng(const Picture& picture) {
  const size_t pixels = picture.width * picture.height;
  std::vector<uint8_t> rgb(3 * pixels);
  for (size_t i = 0; i < rgb.size(); ++i) {
    const double v = std::clamp(double{picture.planes[i % 3 * pixels + i / 3]}, 0.0, 1.0);
    rgb[i] = static_cast<uint8_t>(std::lround(255 * SrgbOf(v)));
  }
  std::string png;
  const auto append = [](void* to, void* data, int size) {
    static_cast<std::string*>(to)->append(static_cast<const char*>(data), static_cast<size_t>(size));
  };
  const int width = static_cast<int>(picture.width), height = static_cast<int>(picture.height);
  if (stbi_write_png_to_func(append, &png, width, height, 3, rgb.data(), width * 3) == 0) {
    throw std::runtime_error("no memory for the picture");
  }
  return png;
}
