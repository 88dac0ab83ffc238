// Direct depthwise convolution, f32, same padding: squares, bands, stride 2, dilation. Multiply-adds count every tap of
// every output, also those in the padding. vs_dense: the rate over that of the same taps with stride 1 and dilation 1;
// vs_spread: over that of 16 more channels, whose pixels are not a power of two apart.
#include "bench/depthwise/conv_run.h"

namespace bench { namespace {

constexpr lutra::Layout kNhwc = lutra::Layout::kNhwc, kNchw = lutra::Layout::kNchw;

std::string NameOf(const ConvRunShape& s, lutra::Layout layout) {
  const std::string taps = s.k == s.kw ? Format("%zu", s.k) : Format("%zux%zu", s.k, s.kw);
  std::string name =
      Format("direct/%zux%zux%zu/K:%s/%s", s.h, s.h, s.c, taps.c_str(), layout == kNhwc ? "nhwc" : "nchw");
  if (s.stride != 1) name += Format("/stride:%zu", s.stride);
  if (s.dil != 1) name += Format("/dilation:%zu", s.dil);
  return name;
}

void Add(const ConvRunShape& s, lutra::Layout layout, bool all, bool spread = false) {
  Register(NameOf(s, layout), all, [=](Bench& b) {
    ConvRun run(s, layout, lutra::ConvAlgo::kDirect, b.context);
    run.Check();
    Row row;
    row.op = run.AsPiece("lutra");
    row.bounds.push_back(b.Against(Limit::kFma, run.macs()));
    row.note = Format("target=%s", lutra::TargetName(b.context.last_target()));
    std::vector<std::unique_ptr<OwnRun>> others;
    const auto beside = [&](const char* name, const ConvRunShape& shape, lutra::Layout its_layout) {
      others.push_back(std::make_unique<OwnRun>(shape, its_layout, lutra::ConvAlgo::kDirect));
      row.rivals.push_back(others.back()->run.AsPiece(name));
    };
    if (all) beside("1thread", s, layout);
    if (!all && layout == kNchw) beside("nhwc", s, kNhwc);
    if (!all && (s.stride != 1 || s.dil != 1)) beside("dense", {s.h, s.c, s.k, s.kw}, layout);
    if (spread) beside("spread", {s.h, s.c + 16, s.k}, layout);
    std::vector<std::unique_ptr<ConvPeer>> peers;
    if (layout == kNhwc) peers = run.Peers(b.team.workers(), &row);
    b.Time(std::move(row));
  });
}

[[maybe_unused]] const bool registered = [] {
  constexpr ConvRunShape kShapes[] = {{56, 96, 3},     {56, 96, 5},    {56, 96, 7},   {28, 192, 7},    {14, 384, 7},
                                      {7, 768, 7},     {56, 96, 9},    {56, 128, 13}, {7, 1024, 13},   {14, 512, 27},
                                      {28, 256, 29},   {56, 128, 31},  {56, 96, 51},  {56, 96, 1, 11}, {56, 96, 11, 1},
                                      {56, 96, 1, 21}, {56, 96, 21, 1}};
  for (const ConvRunShape& s : kShapes) {
    Add(s, kNhwc, false);
    Add(s, kNhwc, true);
    Add(s, kNchw, false);
  }
  constexpr ConvRunShape kPowersOfTwo[] = {{28, 256, 5}, {14, 512, 3}, {14, 512, 7}, {7, 1024, 3}, {7, 1024, 7}};
  for (const ConvRunShape& s : kPowersOfTwo) Add(s, kNhwc, false, true);
  constexpr size_t kSteps[][2] = {{2, 1}, {1, 2}, {1, 3}};  // stride, dilation
  for (const auto& [stride, dil] : kSteps) {
    for (const size_t k : {size_t{3}, size_t{5}, size_t{7}}) {
      for (const lutra::Layout layout : {kNhwc, kNchw}) Add({56, 96, k, k, stride, dil}, layout, false);
    }
  }
  return true;
}();

}}  // namespace bench
