// Front door: one pass over an image whose channel ranges go different ways (InceptionNeXt, MixConv, PConv, shifts).
#pragma once
#include <algorithm>
#include <span>

#include "lutra/depthwise.h"

namespace lutra { inline namespace v0 {

// Channels [begin, end): convolved by `plan` (whose c is end - begin), or, without a plan, moved by the shift:
// out[y, x] = in[y - shift_h, x - shift_w], zero where that lies outside; shift 0, 0 is the identity. The epilogue's
// channels count from `begin`.
struct Branch {
  size_t begin = 0, end = 0;
  const DepthwisePlan* plan = nullptr;
  int shift_h = 0, shift_w = 0;
  Epilogue epilogue = {};
};

}}  // namespace lutra::v0

namespace lutra { inline namespace LUTRA_API_NS {

// Runs all branches in one parallel region. Together they must cover each channel of `out` exactly once. All plans have
// the layout that the views have. in is f32, bf16 or f16; or i8 or u8 where all plans' taps are i8, and branches
// without a plan are then identities to an out of the same type. in and out share no element, or are the same view:
// then an identity without epilogue costs nothing, every plan must be in_place_ok(), and shifts are refused. Per branch
// the rules of DepthwiseConv2d hold.
LUTRA_INLINE void ChannelSplit(std::span<const Branch> branches, const ConstImageView& in, const ImageView& out,
                               Context& context);

}}  // namespace lutra::LUTRA_API_NS

#if !defined(LUTRA_COMPILED) || defined(LUTRA_BUILDS)
namespace lutra { inline namespace LUTRA_API_NS {

LUTRA_INLINE void ChannelSplit(std::span<const Branch> branches, const ConstImageView& in, const ImageView& out,
                               Context& context) {
  const char* const what = "ChannelSplit";
  depthwise::CheckIo(what, in, out);
  constexpr size_t kMost = Context::kJobBytes / sizeof(depthwise::DepthwiseBranch);
  static_assert(kMost >= 64);
  if (branches.size() > kMost) Fail("ChannelSplit: %zu branches, at most %zu are possible", branches.size(), kMost);
  if (in.c != out.c) Fail("ChannelSplit: in.c is %zu, out.c is %zu, they must be equal", in.c, out.c);
  size_t covered = 0;
  for (size_t i = 0; i < branches.size(); ++i) {
    const Branch& b = branches[i];
    if (b.begin > b.end || b.end > out.c) {
      Fail("ChannelSplit: branch %zu has channels [%zu, %zu), they must lie inside 0 ... %zu", i, b.begin, b.end,
           out.c);
    }
    for (size_t k = 0; k < i; ++k) {
      if (b.begin < branches[k].end && branches[k].begin < b.end) {
        Fail("ChannelSplit: branches %zu and %zu both have channel %zu", k, i, std::max(b.begin, branches[k].begin));
      }
    }
    covered += b.end - b.begin;
  }
  if (covered != out.c) Fail("ChannelSplit: the branches have %zu channels, out.c is %zu", covered, out.c);

  auto* const prepared = reinterpret_cast<depthwise::DepthwiseBranch*>(context.job_memory());
  size_t count = 0;
  for (const Branch& b : branches) {
    auto* const slot = new (prepared + count) depthwise::DepthwiseBranch();
    const ConstImageView from = Channels(in, b.begin, b.end);
    const ImageView to = Channels(out, b.begin, b.end);
    if (b.plan != nullptr) {
      if (b.shift_h != 0 || b.shift_w != 0) {
        Fail("ChannelSplit: branch with channels [%zu, %zu) has a plan and a shift of %d, %d; one of them is possible",
             b.begin, b.end, b.shift_h, b.shift_w);
      }
      depthwise::PrepareConv<HWY_TARGETS>(what, *b.plan, from, to, b.epilogue, context, slot);
    } else {
      depthwise::PrepareShift<HWY_TARGETS>(what, from, to, b.shift_h, b.shift_w, b.epilogue, context, slot);
    }
    count += slot->tasks != 0;
  }
  const bool in_turn = depthwise::CutTogether({prepared, count});
  depthwise::RunBranches({prepared, count}, in_turn, context);
}

}}  // namespace lutra::LUTRA_API_NS
#endif
