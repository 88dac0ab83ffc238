// The compiled mode of lutra/activations.h.
#define LUTRA_BUILDS_ACTIVATIONS
#include "lutra/activations.h"
