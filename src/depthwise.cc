// The compiled mode of lutra/depthwise.h and lutra/channel_split.h.
#include "lutra/channel_split.h"
