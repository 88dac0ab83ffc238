// Direct depthwise convolution, f32, stride 1, same padding. Multiply-adds count every tap of every output, also those
// in the padding.
#include "bench/depthwise/conv_run.h"

namespace bench { namespace {

void Add(const ConvRunShape& s, lutra::Layout layout, bool all) {
  const bool nhwc = layout == lutra::Layout::kNhwc;
  const std::string name = Format("direct/%zux%zux%zu/K:%zu/%s", s.h, s.h, s.c, s.k, nhwc ? "nhwc" : "nchw");
  Register(name, all, [=](Bench& b) {
    ConvRun run(s, layout, lutra::ConvAlgo::kDirect, b.context);
    run.Check();
    Row row;
    row.op = run.AsPiece("lutra");
    row.bounds.push_back(b.Against(Limit::kFma, run.macs()));
    row.note = Format("target=%s", lutra::TargetName(b.context.last_target()));
    std::unique_ptr<ConvRun> other;
    lutra::Context alone;
    if (all || !nhwc) {
      other = std::make_unique<ConvRun>(s, all ? layout : lutra::Layout::kNhwc, lutra::ConvAlgo::kDirect, alone);
      other->Check();
      row.rivals.push_back(other->AsPiece(all ? "1thread" : "nhwc"));
    }
    std::vector<std::unique_ptr<ConvPeer>> peers;
    if (nhwc) peers = run.Peers(b.team.workers(), &row);
    b.Time(std::move(row));
  });
}

[[maybe_unused]] const bool registered = [] {
  constexpr ConvRunShape kShapes[] = {{56, 96, 3},   {56, 96, 5},   {56, 96, 7},   {28, 192, 7},  {14, 384, 7},
                                      {7, 768, 7},   {56, 96, 9},   {56, 128, 13}, {7, 1024, 13}, {14, 512, 27},
                                      {28, 256, 29}, {56, 128, 31}, {56, 96, 51}};
  for (const ConvRunShape& s : kShapes) {
    Add(s, lutra::Layout::kNhwc, false);
    Add(s, lutra::Layout::kNhwc, true);
    Add(s, lutra::Layout::kNchw, false);
  }
  return true;
}();

}}  // namespace bench
