// The compiled mode of lutra/targets.h.
#define LUTRA_BUILDS_TARGETS
#include "lutra/targets.h"
