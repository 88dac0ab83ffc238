// A file that appears whole or not at all.
#pragma once
#include <string>
#include <string_view>

class OutputFile {
 public:
  // Finds out at once whether `path` can be written, before the work is done. Leaves nothing there. Throws
  // std::runtime_error with one line that says what is wrong.
  explicit OutputFile(std::string path);

  // Writes to a file beside it, then renames. On an error nothing is left and what was at `path` stays.
  void Write(std::string_view bytes) const;

 private:
  std::string path_, part_;
};
