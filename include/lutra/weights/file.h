// Packed weights as files: saved so that no reader ever sees half of one, and mapped so that they are used in place.
// POSIX only.
//
//   MappedFile file;                                        // must outlive the matrix
//   PackedMatrix w;
//   Status status = MappedFile::Open("layer.lutra", &file);
//   if (status.ok()) status = PackedMatrix::Map(file.bytes(), &w);
#pragma once
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lutra/weights/packed.h"

namespace lutra { inline namespace v0 {

// A file in memory, read-only, from a page boundary. Pages are read when they are touched, and shared by all processes
// that map the file. Who truncates a file under a mapping crashes its readers (SavePacked replaces, it does not
// truncate).
class MappedFile {
 public:
  MappedFile() = default;
  LUTRA_MEMBER MappedFile(MappedFile&& other) noexcept : data_(other.data_), size_(other.size_) {
    other.data_ = nullptr;
    other.size_ = 0;
  }
  LUTRA_MEMBER MappedFile& operator=(MappedFile&& other) noexcept {
    void* const data = data_;
    const size_t size = size_;
    data_ = other.data_;
    size_ = other.size_;
    other.data_ = data;
    other.size_ = size;
    return *this;
  }
  LUTRA_MEMBER ~MappedFile() {
    if (data_ != nullptr) munmap(data_, size_);
  }

  // Maps the regular file `path`. *out, and what it mapped before, changes on success only. The contents are not
  // looked at: PackedMatrix::Map does that.
  static Status Open(const char* path, MappedFile* out);

  LUTRA_MEMBER std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

}}  // namespace lutra::v0

namespace lutra {
inline namespace LUTRA_NS {
namespace internal {

// strerror_r comes in two kinds.
inline const char* ErrorText(int, const char* buffer) { return buffer; }
inline const char* ErrorText(const char* text, const char*) { return text; }
// The path comes last, so that a long one cuts nothing else off.
inline Status FileError(const char* what, int error, const char* path) {
  char buffer[128] = "unknown error";
  return Error("%s: %s: path is %s", what, ErrorText(strerror_r(error, buffer, sizeof(buffer)), buffer), path);
}

// Closes a file descriptor where a function returns early.
struct FileCloser {
  int fd;
  ~FileCloser() {
    if (fd >= 0) ::close(fd);
  }
};

// All of `bytes` to disk; 0 or errno.
inline int WriteAll(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const size_t most = size_t{1} << 30;
    const ssize_t n = ::write(fd, bytes.data(), bytes.size() < most ? bytes.size() : most);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n < 0 ? errno : EIO;
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return ::fsync(fd) == 0 ? 0 : errno;
}

inline Status MapFile(const char* path, void** data, size_t* size) {
  if (path == nullptr) return Error("Open: path is null");
  // Non-blocking: a pipe must not wait for its writer.
  const FileCloser file{::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) return FileError("Open", errno, path);
  struct stat info;
  if (::fstat(file.fd, &info) != 0) return FileError("Open", errno, path);
  if (S_ISDIR(info.st_mode)) return FileError("Open", EISDIR, path);
  if (!S_ISREG(info.st_mode)) return Error("Open: not a regular file: path is %s", path);
  if (info.st_size == 0) return Error("Open: the file is empty: path is %s", path);
  *size = static_cast<size_t>(info.st_size);
  *data = ::mmap(nullptr, *size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  return *data == MAP_FAILED ? FileError("Open", errno, path) : Status();
}

}  // namespace internal

// Writes a blob to `path`, replacing a file of that name (a symbolic link too, not its target). The blob is checked
// first, by Map and Verify; bytes behind it are not written. It goes to a new file beside `path`, to disk, then takes
// the name: readers see the old file or the whole new one, and on any error the old one stays and nothing is left.
inline Status SavePacked(std::span<const std::byte> blob, const char* path) {
  if (path == nullptr) return Error("SavePacked: path is null");
  PackedMatrix matrix;
  Status status = PackedMatrix::Map(blob, &matrix);
  if (status.ok()) status = matrix.Verify();
  if (!status.ok()) return Error("SavePacked: blob: %s", status.message());
  PackedHeader header;
  std::memcpy(&header, blob.data(), sizeof(header));

  const std::string target(path);
  std::string part;
  int fd = -1;
  for (int i = 0; fd < 0 && i < 100; ++i) {
    part = target + ".part-" + std::to_string(::getpid()) + "-" + std::to_string(i);
    fd = ::open(part.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 && errno != EEXIST) break;
  }
  if (fd < 0) return internal::FileError("SavePacked", errno, path);
  int error = internal::WriteAll(fd, blob.first(static_cast<size_t>(header.bytes)));
  if (::close(fd) != 0 && error == 0) error = errno;
  if (error == 0 && ::rename(part.c_str(), path) != 0) error = errno;
  if (error != 0) {
    ::unlink(part.c_str());
    return internal::FileError("SavePacked", error, path);
  }
  // The new name to disk too. Not every file system can; the file is complete either way.
  const size_t slash = target.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : target.substr(0, slash + 1);
  const internal::FileCloser directory{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (directory.fd >= 0) ::fsync(directory.fd);
  return {};
}

}  // namespace LUTRA_NS

inline namespace v0 {

LUTRA_MEMBER Status MappedFile::Open(const char* path, MappedFile* out) {
  MappedFile file;
  void* data = nullptr;
  size_t size = 0;
  const Status status = internal::MapFile(path, &data, &size);
  if (!status.ok()) return status;
  file.data_ = data;
  file.size_ = size;
  *out = static_cast<MappedFile&&>(file);
  return {};
}

}  // namespace v0
}  // namespace lutra
