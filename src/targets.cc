// The compiled mode of lutra/targets.h.
#include "lutra/targets.h"
