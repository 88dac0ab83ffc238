#include <lutra/targets.h>

#include <cstdio>

int main() {
  for (const lutra::Target& target : lutra::Targets()) std::puts(target.name);
  return lutra::Targets().size == 0;
}
