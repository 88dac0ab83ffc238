#include "safetensors.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

namespace {

using nlohmann::json;

constexpr uintmax_t kLargestFile = uintmax_t{1} << 30;
constexpr uint64_t kLargestHeader = 8 << 20;
constexpr int kDeepest = 4;  // {"name": {"shape": [1]}} needs three

// Bytes of an element, 0 for a type that the format does not have.
size_t SizeOfDtype(const std::string& dtype) {
  for (const char* one : {"U8", "I8", "BOOL", "F8_E4M3", "F8_E5M2"}) {
    if (dtype == one) return 1;
  }
  for (const char* two : {"F16", "BF16", "I16", "U16"}) {
    if (dtype == two) return 2;
  }
  if (dtype == "F32" || dtype == "I32" || dtype == "U32") return 4;
  return dtype == "F64" || dtype == "I64" || dtype == "U64" ? 8 : 0;
}

std::string Text(const std::vector<size_t>& shape) {
  std::string text = "[";
  for (const size_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

}  // namespace

void Safetensors::Throw(const std::string& what) const { throw std::runtime_error(path_ + ": " + what); }

Safetensors::Safetensors(const std::string& path) : path_(path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) Throw("no such file");
  if (!std::filesystem::is_regular_file(path, error)) Throw("not a regular file");
  const uintmax_t size = std::filesystem::file_size(path, error);
  if (error || size < 8 || size > kLargestFile) {
    Throw("has " + std::to_string(error ? 0 : size) + " bytes, allowed are 8 ... 2^30");
  }
  file_.resize(static_cast<size_t>(size));
  std::ifstream in(path, std::ios::binary);
  if (!in.read(file_.data(), static_cast<std::streamsize>(size))) Throw("cannot be read");

  uint64_t header_size = 0;
  for (int i = 7; i >= 0; --i) header_size = header_size << 8 | static_cast<uint8_t>(file_[static_cast<size_t>(i)]);
  if (header_size > std::min<uint64_t>(kLargestHeader, size - 8)) {
    Throw("its header has " + std::to_string(header_size) + " bytes, allowed are at most " +
          std::to_string(std::min<uint64_t>(kLargestHeader, size - 8)));
  }
  data_at_ = 8 + static_cast<size_t>(header_size);
  const size_t data_size = file_.size() - data_at_;

  // The parser would keep the last of two equal names, and nest as deep as the file likes.
  std::vector<std::set<std::string>> names(kDeepest + 2);
  const auto check = [&](int depth, json::parse_event_t event, json& value) {
    if (depth > kDeepest) Throw("its header is nested deeper than " + std::to_string(kDeepest));
    const auto d = static_cast<size_t>(depth);
    if (event == json::parse_event_t::object_start) names[d + 1].clear();
    if (event == json::parse_event_t::key && !names[d].insert(value.get<std::string>()).second) {
      Throw("its header has two entries \"" + value.get<std::string>() + "\"");
    }
    return true;
  };
  json header;
  try {
    header = json::parse(file_.begin() + 8, file_.begin() + static_cast<std::ptrdiff_t>(data_at_), check);
  } catch (const json::parse_error& e) {
    Throw("its header is not JSON from byte " + std::to_string(e.byte) + " on");
  }
  if (!header.is_object()) Throw("its header is not a JSON object");

  for (const auto& [name, entry] : header.items()) {
    if (!entry.is_object()) Throw("\"" + name + "\" is not a JSON object");
    if (name == "__metadata__") {
      for (const auto& [key, value] : entry.items()) {
        if (!value.is_string()) Throw("metadata \"" + key + "\" is not a text");
        metadata_[key] = value.get<std::string>();
      }
      continue;
    }
    if (entry.size() != 3 || !entry.contains("dtype") || !entry.contains("shape") || !entry.contains("data_offsets")) {
      Throw("\"" + name + "\" must have dtype, shape and data_offsets");
    }
    Tensor t;
    const json &dtype = entry["dtype"], &shape = entry["shape"], &offsets = entry["data_offsets"];
    if (!dtype.is_string() || SizeOfDtype(dtype.get<std::string>()) == 0)
      Throw("\"" + name + "\" has an unknown dtype");
    t.dtype = dtype.get<std::string>();
    size_t bytes = SizeOfDtype(t.dtype);
    if (!shape.is_array()) Throw("\"" + name + "\" has a shape that is not a list");
    for (const json& dimension : shape) {
      if (!dimension.is_number_unsigned()) Throw("\"" + name + "\" has a dimension that is not a size");
      t.shape.push_back(dimension.get<size_t>());
      if (__builtin_mul_overflow(bytes, t.shape.back(), &bytes)) Throw("\"" + name + "\" has too many elements");
    }
    if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
        !offsets[1].is_number_unsigned()) {
      Throw("\"" + name + "\" has data_offsets that are not two sizes");
    }
    t.begin = offsets[0].get<size_t>();
    t.end = offsets[1].get<size_t>();
    if (t.begin > t.end || t.end > data_size) {
      Throw("\"" + name + "\" has bytes " + std::to_string(t.begin) + " ... " + std::to_string(t.end) +
            ", the file has " + std::to_string(data_size));
    }
    if (t.end - t.begin != bytes) {
      Throw("\"" + name + "\" has " + std::to_string(t.end - t.begin) + " bytes, its shape needs " +
            std::to_string(bytes));
    }
    tensors_.emplace(name, std::move(t));
  }

  // Every byte belongs to exactly one tensor.
  std::vector<const Tensor*> order;
  for (const auto& [name, t] : tensors_) order.push_back(&t);
  std::sort(order.begin(), order.end(),
            [](auto* a, auto* b) { return std::pair(a->begin, a->end) < std::pair(b->begin, b->end); });
  size_t at = 0;
  for (const Tensor* t : order) {
    if (t->begin != at) Throw("its tensors overlap or leave a gap at byte " + std::to_string(std::min(at, t->begin)));
    at = t->end;
  }
  if (at != data_size) Throw("has " + std::to_string(data_size - at) + " bytes behind its last tensor");
}

const Safetensors::Tensor& Safetensors::Find(const std::string& name) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) Throw("has no tensor \"" + name + "\"");
  return it->second;
}

const uint8_t* Safetensors::Checked(const std::string& name, const char* dtype,
                                    const std::vector<size_t>& shape) const {
  const Tensor& t = Find(name);
  if (t.dtype != dtype || t.shape != shape) {
    Throw("\"" + name + "\" is " + t.dtype + " " + Text(t.shape) + ", must be " + dtype + " " + Text(shape));
  }
  return reinterpret_cast<const uint8_t*>(file_.data()) + data_at_ + t.begin;
}

std::vector<float> Safetensors::Floats(const std::string& name, const std::vector<size_t>& shape) const {
  const uint8_t* from = Checked(name, "F32", shape);
  const Tensor& t = Find(name);
  std::vector<float> values((t.end - t.begin) / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), from, t.end - t.begin);
  for (const float v : values) {
    if (!std::isfinite(v)) Throw("\"" + name + "\" has a value that is not finite");
  }
  return values;
}

std::vector<uint8_t> Safetensors::Bytes(const std::string& name, const std::vector<size_t>& shape) const {
  const uint8_t* from = Checked(name, "U8", shape);
  const Tensor& t = Find(name);
  return {from, from + (t.end - t.begin)};
}

std::string Safetensors::Metadata(const std::string& key) const {
  const auto it = metadata_.find(key);
  if (it == metadata_.end() || it->second.size() > 40) return "unknown";
  const bool plain = std::all_of(it->second.begin(), it->second.end(), [](char c) { return c >= 32 && c < 127; });
  return plain ? it->second : "unknown";
}
