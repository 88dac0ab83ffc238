// Reads a safetensors file: 8 bytes of header size, a JSON header, the tensors. Trusts nothing in it.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

class Safetensors {
 public:
  // Reads and checks the whole file. Throws std::runtime_error with one line that says what is wrong.
  explicit Safetensors(const std::string& path);

  // The shape of a tensor. Throws where there is none of this name.
  const std::vector<size_t>& Shape(const std::string& name) const { return Find(name).shape; }

  // The values of a tensor of this type and shape. Throws where it is another one, or has values that are not finite.
  std::vector<float> Floats(const std::string& name, const std::vector<size_t>& shape) const;
  std::vector<uint8_t> Bytes(const std::string& name, const std::vector<size_t>& shape) const;

  // A text of the header's __metadata__; "unknown" where there is none, or it is no short line of ASCII.
  std::string Metadata(const std::string& key) const;

 private:
  struct Tensor {
    std::string dtype;
    std::vector<size_t> shape;
    size_t begin = 0, end = 0;  // bytes of data_
  };
  [[noreturn]] void Throw(const std::string& what) const;
  const Tensor& Find(const std::string& name) const;
  const uint8_t* Checked(const std::string& name, const char* dtype, const std::vector<size_t>& shape) const;

  std::string path_, file_;
  size_t data_at_ = 0;
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::string> metadata_;
};
