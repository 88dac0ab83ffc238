// Which machine, which compiler, which flags: what every figure needs beside it.
#pragma once
#include <string>

namespace bench {

std::string CpuModel();      // "AMD EPYC 7763, family 25 model 1, cores: 2"
std::string CompilerText();  // "GCC 12.2.0, Release: -O3 -DNDEBUG"
std::string TargetsText();   // "AVX3_DL AVX2 SSE4 SSE2", best first
// Highway's bit of a target's name, 0 for ""; ends the program with a message that lists the names.
int64_t TargetByName(const std::string& name);

}  // namespace bench
