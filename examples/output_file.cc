#include "output_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <stdexcept>

OutputFile::OutputFile(std::string path) : path_(std::move(path)) {
  part_ = path_ + "." + std::to_string(getpid()) + ".part";
  std::error_code error;
  if (std::filesystem::exists(path_, error) && !std::filesystem::is_regular_file(path_, error)) {
    throw std::runtime_error(path_ + ": exists and is not a regular file");
  }
  std::FILE* file = path_.empty() ? nullptr : std::fopen(part_.c_str(), "wbx");
  if (file == nullptr) {
    throw std::runtime_error("\"" + path_ + "\" cannot be written: " + std::strerror(path_.empty() ? ENOENT : errno));
  }
  std::fclose(file);
  std::remove(part_.c_str());
}

void OutputFile::Write(std::string_view bytes) const {
  std::FILE* file = std::fopen(part_.c_str(), "wbx");
  bool ok = file != nullptr && std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  if (file != nullptr) ok = std::fclose(file) == 0 && ok;
  if (ok) ok = std::rename(part_.c_str(), path_.c_str()) == 0;
  if (ok) return;
  const int reason = errno;
  if (file != nullptr) std::remove(part_.c_str());
  throw std::runtime_error(path_ + " cannot be written: " + std::strerror(reason));
}
