// One program of units that were built differently: all must be right, each on all the targets that its own flags
// allow, and all with the same bits. The argument rotates the order of the first calls, since whoever is first might
// leave its tables or functions to the others.
#include <cstdio>
#include <cstdlib>

#include "report.h"

#define UNIT(name) UnitReport name();
#include "units.inc"
#undef UNIT
#define UNIT(name) {#name, &name},
static const struct {
  const char* name;
  UnitReport (*run)();
} kUnits[] = {
#include "units.inc"
};

int main(int argc, char** argv) {
  constexpr size_t kCount = sizeof(kUnits) / sizeof(kUnits[0]);
  const size_t first = argc > 1 ? static_cast<size_t>(std::atoi(argv[1])) : 0;
  uint64_t hash = 0;
  int bad = 0;
  for (size_t i = 0; i < kCount; ++i) {
    const auto& unit = kUnits[(first + i) % kCount];
    const UnitReport r = unit.run();
    std::printf("%-24s %d targets, best %-8s hash %016llx, %d wrong\n", unit.name, r.targets, r.best,
                static_cast<unsigned long long>(r.hash), r.bad);
    bad += r.bad;
    if (r.hash == 0) continue;
    bad += hash != 0 && r.hash != hash;
    hash = r.hash;
  }
  return bad != 0;
}
