#include "fashion_mnist.h"

#include <zlib.h>

#include <filesystem>
#include <memory>
#include <stdexcept>

namespace {

// An idx file: 0, 0, the type (8: unsigned bytes), the rank, then the sizes as big-endian words, then the bytes.
std::vector<uint8_t> ReadIdx(const std::string& folder, const std::string& name, std::vector<size_t>* sizes) {
  std::error_code error;
  std::string path = folder + "/" + name + ".gz";
  if (!std::filesystem::exists(path, error)) path = folder + "/" + name;
  if (!std::filesystem::is_regular_file(path, error)) {
    throw std::runtime_error(folder + ": has neither " + name + ".gz nor " + name +
                             " (they come with the Debian package dataset-fashion-mnist)");
  }
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), &gzclose_r);  // reads both kinds
  if (!file) throw std::runtime_error(path + ": cannot be read");
  const auto read = [&](uint8_t* to, size_t bytes) {
    const int got = gzread(file.get(), to, static_cast<unsigned>(bytes));
    int error_code = Z_OK;
    gzerror(file.get(), &error_code);  // also where the file ends too early, which gzread alone does not tell
    if (got < 0 || error_code != Z_OK) throw std::runtime_error(path + ": its compressed data are damaged");
    return static_cast<size_t>(got);
  };

  uint8_t start[4 + 3 * 4];
  const size_t rank = sizes->size(), start_bytes = 4 + 4 * rank;
  if (read(start, start_bytes) != start_bytes || start[0] != 0 || start[1] != 0 || start[2] != 8 || start[3] != rank) {
    throw std::runtime_error(path + ": does not begin like an idx file of bytes of " + std::to_string(rank) +
                             (rank == 1 ? " dimension" : " dimensions"));
  }
  size_t bytes = 1;
  for (size_t i = 0; i < rank; ++i) {
    const uint8_t* s = start + 4 + 4 * i;
    (*sizes)[i] = size_t{s[0]} << 24 | size_t{s[1]} << 16 | size_t{s[2]} << 8 | s[3];
    if ((*sizes)[i] == 0 || (*sizes)[i] > 1'000'000 || (bytes *= (*sizes)[i]) > 1'000'000'000) {
      throw std::runtime_error(path + ": dimension " + std::to_string(i) + " is " + std::to_string((*sizes)[i]) +
                               ", allowed are 1 ... 1,000,000 and 1,000,000,000 bytes in all");
    }
  }
  std::vector<uint8_t> data(bytes);
  const size_t got = read(data.data(), bytes);
  uint8_t more = 0;
  if (got != bytes || read(&more, 1) != 0) {
    throw std::runtime_error(path + ": has " +
                             (got != bytes ? std::to_string(got) : "more than " + std::to_string(got)) +
                             " bytes of data, its sizes need " + std::to_string(bytes));
  }
  return data;
}

}  // namespace

Pictures LoadTestPictures(const std::string& folder) {
  Pictures p;
  std::vector<size_t> sizes(3), labels(1);
  p.pixels = ReadIdx(folder, "t10k-images-idx3-ubyte", &sizes);
  p.labels = ReadIdx(folder, "t10k-labels-idx1-ubyte", &labels);
  if (sizes[1] != kSide || sizes[2] != kSide || sizes[0] != labels[0]) {
    throw std::runtime_error(folder + ": has " + std::to_string(sizes[0]) + " pictures of " + std::to_string(sizes[1]) +
                             " x " + std::to_string(sizes[2]) + " and " + std::to_string(labels[0]) +
                             " labels, needed are as many of each and 28 x 28");
  }
  for (const uint8_t label : p.labels) {
    if (label >= kClasses) {
      throw std::runtime_error(folder + ": has a label " + std::to_string(label) + ", allowed are 0 ... 9");
    }
  }
  return p;
}
