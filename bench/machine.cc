#include "bench/machine.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "bench/team.h"
#include "lutra/targets.h"

namespace bench {

std::string CpuModel() {
  std::string model = "unknown CPU", family, number;
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line) && !line.empty();) {  // the first core's
    const size_t colon = line.find(':');
    if (colon == std::string::npos || colon + 2 > line.size()) continue;
    const std::string key = line.substr(0, line.find_first_of("\t:")), value = line.substr(colon + 2);
    if (key == "model name") model = value;
    if (key == "cpu family") family = value;
    if (key == "model") number = value;
  }
  char text[200];
  std::snprintf(text, sizeof(text), "%s, family %s model %s, cores: %zu", model.c_str(), family.c_str(), number.c_str(),
                CoreCount());
  return text;
}

std::string CompilerText() {
#if defined(__clang__)
  const std::string compiler = "Clang " __clang_version__;
#else
  const std::string compiler = "GCC " __VERSION__;
#endif
  return compiler + ", " LUTRA_BENCH_FLAGS;
}

std::string TargetsText() {
  std::string text;
  for (const lutra::Target& t : lutra::Targets()) {
    if (!text.empty()) text += ' ';
    text += t.name;
  }
  return text;
}

int64_t TargetByName(const std::string& name) {
  lutra::Context context;
  const lutra::Status status = lutra::ForceTarget(context, name);
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.message());
    std::exit(2);
  }
  return context.target();
}

}  // namespace bench
