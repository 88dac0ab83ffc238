// Batches of eight images beside one, each by what kAuto takes: f32, stride 1, same padding, warm. Multiply-adds count
// every tap of every output; vs_1image is the rate over that of one image.
#include "bench/depthwise/conv_run.h"

namespace bench { namespace {

void Add(const ConvRunShape& one, lutra::Layout layout, bool all) {
  const char* const name = layout == lutra::Layout::kNhwc ? "nhwc" : "nchw";
  Register(Format("batch/8x%zux%zux%zu/K:%zu/%s", one.h, one.h, one.c, one.k, name), all, [=](Bench& b) {
    ConvRunShape s = one;
    s.n = 8;
    ConvRun run(s, layout, lutra::ConvAlgo::kAuto, b.context);
    run.Check();
    Row row;
    row.op = run.AsPiece("lutra");
    row.bounds.push_back(b.Against(Limit::kFma, run.macs()));
    OwnRun other(all ? s : one, layout, lutra::ConvAlgo::kAuto);
    row.rivals.push_back(other.run.AsPiece(all ? "1thread" : "1image"));
    row.note = Format("target=%s chosen=%s", lutra::TargetName(b.context.last_target()),
                      run.plan().algo() == lutra::ConvAlgo::kFft ? "fft" : "direct");
    b.Time(std::move(row));
  });
}

[[maybe_unused]] const bool registered = [] {
  constexpr ConvRunShape kShapes[] = {{56, 96, 3},   {56, 96, 7},   {28, 192, 7},  {14, 384, 7},
                                      {7, 768, 7},   {56, 128, 13}, {7, 1024, 13}, {14, 512, 27},
                                      {28, 256, 29}, {56, 128, 31}, {56, 96, 51}};
  for (const ConvRunShape& s : kShapes) {
    for (const lutra::Layout layout : {lutra::Layout::kNhwc, lutra::Layout::kNchw}) {
      Add(s, layout, false);
      Add(s, layout, true);
    }
  }
  return true;
}();

}}  // namespace bench
