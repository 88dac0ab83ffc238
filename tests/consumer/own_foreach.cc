// A user's own foreach_target unit. Alone it has nothing to do with lutra; with -DKERNELS it calls lutra's vector
// helpers beside its own; with -DFRONT_DOOR it also uses the front doors; -DWRONG is the order that can't work, and
// must say so.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE OWN_FILE
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#if defined(KERNELS) || defined(FRONT_DOOR)
#include "lutra/kernels-inl.h"
#endif

HWY_BEFORE_NAMESPACE();
namespace user { namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
inline int Sum(const int* x, size_t n) {
  const hn::ScalableTag<int> d;
  auto sum = hn::Zero(d);
  for (size_t i = 0; i < n; i += hn::Lanes(d)) sum = hn::Add(sum, hn::LoadN(d, x + i, n - i));
#ifdef KERNELS
  const hn::ScalableTag<float> df;
  const auto relu = lutra::HWY_NAMESPACE::Activate(df, hn::Set(df, -1.0f), lutra::Act::kRelu);
  if (hn::ReduceSum(df, relu) != 0.0f) return -1;
#endif
  return hn::ReduceSum(d, sum);
}
}}  // namespace user::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#if defined(FRONT_DOOR) || defined(WRONG)
#include <lutra/lutra.h>

#include "check.h"
#endif
#include "report.h"

namespace user {
HWY_EXPORT(Sum);
}
UnitReport UNIT();
UnitReport UNIT() {
  const int x[5] = {1, 2, 3, 4, 5};
#ifdef FRONT_DOOR
  UnitReport report = CheckUnit();
#else
  UnitReport report;
  report.best = "own";
#endif
  report.bad += HWY_DYNAMIC_DISPATCH(user::Sum)(x, 5) != 15;
  return report;
}
#endif
