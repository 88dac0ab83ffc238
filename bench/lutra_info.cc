// What a bug report needs: version, targets, compiler, flags, CPU, and what the CPU can do.
//   lutra_info [TARGET]
#include <cstdio>

#include "bench/machine.h"
#include "bench/probe.h"
#include "lutra/core/version.h"

int main(int argc, char** argv) {
  const int64_t target = bench::TargetByName(argc > 1 ? argv[1] : "");
  std::printf("lutra    %s\n", LUTRA_VERSION_STRING);
  std::printf("CPU      %s\n", bench::CpuModel().c_str());
  std::printf("targets  %s\n", bench::TargetsText().c_str());
  std::printf("built    %s\n", bench::CompilerText().c_str());
  std::fflush(stdout);
  std::printf("probe    %s\n", bench::ProbeText(target).c_str());
}
