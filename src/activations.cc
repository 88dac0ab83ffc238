// The compiled mode of lutra/activations.h and lutra/targets.h.
#define LUTRA_BUILDS_ACTIVATIONS
#define LUTRA_BUILDS_TARGETS
#include "lutra/activations.h"
#include "lutra/targets.h"
