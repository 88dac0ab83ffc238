// What a unit of a program says about itself. Plain data: it crosses units.
#pragma once
#include <cstdint>

struct UnitReport {
  int bad = 0;            // wrong outputs, or ops that did not run on the target that was asked for
  uint64_t hash = 0;      // of all outputs, the same for every target; 0: the unit runs no op
  const char* best = "";  // the unit's best target
  int targets = 0;
};
