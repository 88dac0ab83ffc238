// Saving and mapping: what comes back, and what is left where something goes wrong.
#include "lutra/weights/file.h"

#include <gtest/gtest.h>

#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "weights/coded.h"

namespace lutra { namespace {
namespace fs = std::filesystem;
using testing::Coded;
using testing::Of;

class PackedFile : public ::testing::Test {
 protected:
  PackedFile() : packed_(Pack(Coded(Of<Ternary>(), {}, 70, 100), context_)) {
    std::string name = (fs::temp_directory_path() / "lutra_file_test_XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp: no folder " + name);
    folder_ = name;
  }
  ~PackedFile() override { fs::remove_all(folder_); }

  std::string Path(const char* name) const { return (folder_ / name).string(); }
  std::string Write(const char* name, std::span<const std::byte> bytes) const {
    std::ofstream file(Path(name), std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return Path(name);
  }
  size_t Entries() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  static std::string MessageOfOpen(const std::string& path) {
    MappedFile file;
    const Status status = MappedFile::Open(path.c_str(), &file);
    EXPECT_TRUE(file.bytes().empty());
    return status.message();
  }

  Context context_;
  PackedBuffer packed_;
  fs::path folder_;
};

TEST_F(PackedFile, RoundTripIsUsedInPlace) {
  const std::string path = Path("w.lutra");
  Status status = SavePacked(packed_.bytes(), path.c_str());
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(Entries(), 1u);
  EXPECT_EQ(fs::file_size(path), packed_.bytes().size());

  MappedFile file;
  status = MappedFile::Open(path.c_str(), &file);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_TRUE(std::equal(file.bytes().begin(), file.bytes().end(), packed_.bytes().begin(), packed_.bytes().end()));
  PackedMatrix w;
  status = PackedMatrix::Map(file.bytes(), &w);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_TRUE(w.Verify().ok());
  EXPECT_EQ(reinterpret_cast<const std::byte*>(w.Codes(0)), file.bytes().data() + sizeof(PackedHeader));

  MappedFile moved = std::move(file);
  EXPECT_TRUE(file.bytes().empty());
  EXPECT_EQ(reinterpret_cast<const std::byte*>(w.Codes(0)), moved.bytes().data() + sizeof(PackedHeader));
}

TEST_F(PackedFile, ReplacesAFileAndKeepsItsOldReaders) {
  const std::string path = Path("w.lutra");
  ASSERT_TRUE(SavePacked(packed_.bytes(), path.c_str()).ok());
  MappedFile old, next;
  ASSERT_TRUE(MappedFile::Open(path.c_str(), &old).ok());
  const PackedBuffer other = Pack(Coded(Of<Int4>(), {}, 3, 8), context_);
  ASSERT_TRUE(SavePacked(other.bytes(), path.c_str()).ok());
  ASSERT_TRUE(MappedFile::Open(path.c_str(), &next).ok());
  EXPECT_EQ(next.bytes().size(), other.bytes().size());
  EXPECT_TRUE(std::equal(old.bytes().begin(), old.bytes().end(), packed_.bytes().begin(), packed_.bytes().end()));
  EXPECT_EQ(Entries(), 1u);
  // Open replaces what an object mapped before; on an error it does not.
  EXPECT_FALSE(MappedFile::Open(Path("missing").c_str(), &next).ok());
  EXPECT_EQ(next.bytes().size(), other.bytes().size());
  ASSERT_TRUE(MappedFile::Open(path.c_str(), &old).ok());
  EXPECT_EQ(old.bytes().size(), other.bytes().size());
}

TEST_F(PackedFile, BytesBehindTheBlobAreNotWritten) {
  PackedBuffer longer = PackedBuffer::Allocate(packed_.bytes().size() + 100);
  std::memcpy(longer.bytes().data(), packed_.bytes().data(), packed_.bytes().size());
  ASSERT_TRUE(SavePacked(longer.bytes(), Path("w").c_str()).ok());
  EXPECT_EQ(fs::file_size(Path("w")), packed_.bytes().size());
}

TEST_F(PackedFile, SaveRefusesWhatIsNotABlobAndWritesNothing) {
  const std::string path = Path("w");
  EXPECT_EQ(std::string(SavePacked({}, path.c_str()).message()),
            "SavePacked: blob: Map: the blob has 0 bytes, its header alone has 128");
  std::byte& code = packed_.bytes()[sizeof(PackedHeader)];
  code |= std::byte{3};
  EXPECT_EQ(std::string(SavePacked(packed_.bytes(), path.c_str()).message()),
            "SavePacked: blob: Verify: code of row 0, segment 0, k 0 is 3, ternary allows 0 ... 2");
  EXPECT_EQ(std::string(SavePacked(packed_.bytes(), nullptr).message()), "SavePacked: path is null");
  EXPECT_EQ(Entries(), 0u);
}

TEST_F(PackedFile, SaveSaysWhyItCannotAndLeavesNothing) {
  const auto message = [&](const std::string& path) {
    return std::string(SavePacked(packed_.bytes(), path.c_str()).message());
  };
  const std::string missing = Path("missing/w");
  EXPECT_EQ(message(missing), "SavePacked: No such file or directory: path is " + missing);
  fs::create_directory(Path("taken"));
  EXPECT_EQ(message(Path("taken")), "SavePacked: Is a directory: path is " + Path("taken"));
  EXPECT_EQ(message(""), "SavePacked: No such file or directory: path is ");
  EXPECT_NE(message(std::string(5000, 'x')).find("File name too long"), std::string::npos);
  EXPECT_NE(message("/proc/w"), "");
  EXPECT_EQ(Entries(), 1u);
}

TEST_F(PackedFile, AFullDiskLeavesTheOldFile) {
  const std::string path = Path("w");
  ASSERT_TRUE(SavePacked(packed_.bytes(), path.c_str()).ok());
  const PackedBuffer larger = Pack(Coded(Of<Int8>(), {}, 100, 200), context_);
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{packed_.bytes().size() + 10, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const Status status = SavePacked(larger.bytes(), path.c_str());
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(std::string(status.message()), "SavePacked: File too large: path is " + path);
  EXPECT_EQ(Entries(), 1u);
  EXPECT_EQ(fs::file_size(path), packed_.bytes().size());
}

TEST_F(PackedFile, OpenSaysWhyItCannot) {
  EXPECT_EQ(MessageOfOpen(Path("missing")), "Open: No such file or directory: path is " + Path("missing"));
  EXPECT_EQ(MessageOfOpen(folder_.string()), "Open: Is a directory: path is " + folder_.string());
  EXPECT_EQ(MessageOfOpen(Write("empty", {})), "Open: the file is empty: path is " + Path("empty"));
  EXPECT_EQ(MessageOfOpen("/dev/null"), "Open: not a regular file: path is /dev/null");
  ASSERT_EQ(mkfifo(Path("pipe").c_str(), 0600), 0);
  EXPECT_EQ(MessageOfOpen(Path("pipe")), "Open: not a regular file: path is " + Path("pipe"));
  fs::create_symlink("loop", Path("loop"));
  EXPECT_EQ(MessageOfOpen(Path("loop")), "Open: Too many levels of symbolic links: path is " + Path("loop"));
  if (geteuid() != 0) {  // root may read everything
    fs::permissions(Write("secret", packed_.bytes()), fs::perms::none);
    EXPECT_EQ(MessageOfOpen(Path("secret")), "Open: Permission denied: path is " + Path("secret"));
  }
  MappedFile file;
  EXPECT_EQ(std::string(MappedFile::Open(nullptr, &file).message()), "Open: path is null");
}

TEST_F(PackedFile, TruncatedFilesAndGarbageAreAStatus) {
  const auto map = [&](const std::string& path) {
    MappedFile file;
    PackedMatrix w;
    Status status = MappedFile::Open(path.c_str(), &file);
    if (status.ok()) status = PackedMatrix::Map(file.bytes(), &w);
    return std::string(status.message());
  };
  const size_t whole = packed_.bytes().size();
  for (const size_t size : {size_t{1}, size_t{127}, size_t{128}, whole / 2, whole - 1}) {
    EXPECT_NE(map(Write("cut", packed_.bytes().first(size))), "") << size;
  }
  EXPECT_EQ(map(Write("whole", packed_.bytes())), "");
  const std::vector<std::byte> garbage(4096, std::byte{'x'});
  EXPECT_EQ(map(Write("garbage", garbage)), "Map: these bytes are not packed weights of lutra");
}

}}  // namespace lutra
