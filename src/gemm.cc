// The compiled mode of lutra/gemm.h: the driver, and the kernels that serve all formats.
#define LUTRA_BUILDS_GEMM
#include "lutra/gemm.h"

#include "formats.h"

namespace lutra { inline namespace LUTRA_NS { namespace internal { namespace {

// Static storage: the list is what every call with an empty list sees.
constexpr auto kAll = AllFormats::kInfos;

FormatKernels PickAny(const FormatInfo& format, int64_t target) { return AllFormats::Pick(format, target); }
Named NamedOr(std::span<const FormatInfo> list, unsigned modes) {
  return {list.empty() ? std::span<const FormatInfo>(kAll) : list, modes};
}

}}}}  // namespace lutra::LUTRA_NS::internal

namespace lutra { inline namespace LUTRA_API_NS {

void GemmListed(std::span<const GemmCall> calls, Context& context, std::span<const FormatInfo> list, unsigned modes) {
  internal::RunGemm(calls, context, internal::NamedOr(list, modes), &internal::PickAny,
                    internal::PickCommon<HWY_TARGETS, internal::kAnyX>(context.target()));
}
Explanation ExplainListed(const GemmCall& call, const Context& context, std::span<const FormatInfo> list,
                          unsigned modes) {
  return internal::ExplainGemm(call, context, internal::NamedOr(list, modes), &internal::PickAny,
                               internal::TargetOf<HWY_TARGETS>(context.target()));
}

}}  // namespace lutra::LUTRA_API_NS
