// The whole library, without the bridges to Eigen and to Highway's thread pool.
#pragma once
#include "lutra/activations.h"
#include "lutra/channel_split.h"
#include "lutra/depthwise.h"
#include "lutra/depthwise/merge.h"
#include "lutra/gemm.h"
#include "lutra/targets.h"
#include "lutra/weights/bcq.h"
#include "lutra/weights/file.h"
#include "lutra/weights/quantize.h"
