// Front door: which SIMD targets this build and this CPU have, and how to force one.
#pragma once
#include <string_view>

#include "lutra/core/context.h"

namespace lutra { inline namespace v0 {

struct Target {
  int64_t id = 0;             // Highway's bit
  const char* name = "none";  // "AVX3_DL", "AVX2", "SSE4", "SSE2", "NEON", ...
};
struct TargetList {
  Target targets[32];
  size_t size = 0;
  LUTRA_MEMBER const Target* begin() const { return targets; }
  LUTRA_MEMBER const Target* end() const { return targets + size; }
};

}}  // namespace lutra::v0

namespace lutra { inline namespace LUTRA_API_NS {

// The targets that are built into this unit (compiled mode: into the library) and that this CPU runs, best first.
LUTRA_INLINE TargetList Targets();

// The name of a target bit, for instance of Context::last_target().
LUTRA_INLINE const char* TargetName(int64_t id);

// Makes every op that uses `context` run on the named target, exactly as Targets() spells it; "" is the best one again.
// An unknown or unsupported name is an error that lists the names, and changes nothing.
LUTRA_INLINE Status ForceTarget(Context& context, std::string_view name);

}}  // namespace lutra::LUTRA_API_NS

#if !defined(LUTRA_COMPILED) || defined(LUTRA_BUILDS_TARGETS)
#include "lutra/dispatch.h"

namespace lutra { inline namespace LUTRA_NS { namespace internal {

template <int64_t kTargets>
TargetList ListTargets() {
  TargetList list;
  for (int64_t rest = UsableTargets<kTargets>(); rest != 0; rest &= rest - 1) {
    const int64_t id = rest & -rest;  // lower bits are better targets
    list.targets[list.size++] = {id, hwy::TargetName(id)};
  }
  return list;
}

}}}  // namespace lutra::LUTRA_NS::internal

namespace lutra { inline namespace LUTRA_API_NS {

LUTRA_INLINE TargetList Targets() { return internal::ListTargets<HWY_TARGETS>(); }

LUTRA_INLINE const char* TargetName(int64_t id) { return id == 0 ? "none" : hwy::TargetName(id); }

LUTRA_INLINE Status ForceTarget(Context& context, std::string_view name) {
  if (name.empty()) {
    context.set_target(0);
    return {};
  }
  char names[160] = {};
  for (const Target& t : Targets()) {
    if (name == t.name) {
      context.set_target(t.id);
      return {};
    }
    internal::Append(names, sizeof(names), " %s", t.name);
  }
  return Error("ForceTarget: name is \"%.*s\", this CPU and build have:%s", static_cast<int>(name.size()), name.data(),
               names);
}

}}  // namespace lutra::LUTRA_API_NS
#endif
