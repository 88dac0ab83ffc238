// -fno-exceptions -fno-rtti: a caller's mistake reaches the handler, which leaves by longjmp, and nothing was written.
#include <lutra/lutra.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>

#include "check.h"

namespace {
std::jmp_buf g_back;
char g_message[256];
void Handler(const char* message) {
  std::snprintf(g_message, sizeof(g_message), "%s", message);
  std::longjmp(g_back, 1);
}
}  // namespace

int main() {
  const UnitReport r = CheckUnit();
  std::printf("%d targets, best %s: %d wrong\n", r.targets, r.best, r.bad);
  const float taps[9] = {}, in[16] = {};
  float out[9] = {};
  const lutra::DepthwiseKernel kernel(lutra::Nhwc(taps, 1, 3, 3, 1));
  const lutra::DepthwisePlan plan(kernel, 4, 4, lutra::Layout::kNhwc);
  lutra::Context context;
  lutra::SetFailHandler(Handler);
  if (setjmp(g_back) == 0) {
    lutra::DepthwiseConv2d(plan, lutra::Nhwc(in, 1, 4, 4, 1), lutra::Nhwc(out, 1, 3, 3, 1), context);
    std::puts("a wrong shape was accepted");
    return 1;
  }
  std::puts(g_message);
  return r.bad != 0 || std::strncmp(g_message, "DepthwiseConv2d:", 16) != 0;
}
