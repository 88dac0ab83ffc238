// One translation unit of a program or shared library; -DUNIT=name says which function it offers.
#ifdef REVERSE
#include <lutra/depthwise.h>
#include <lutra/gemm.h>
#else
#include <lutra/lutra.h>
#endif

#include "check.h"

UnitReport UNIT();
UnitReport UNIT() { return CheckUnit(); }
#ifdef MAIN
int main() {
  const UnitReport r = UNIT();
  std::printf("%d targets, best %s: %d wrong\n", r.targets, r.best, r.bad);
  return r.bad != 0;
}
#endif
