// The compiled mode of lutra/activations.h.
#include "lutra/activations.h"
